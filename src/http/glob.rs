//! Globs over the path of a target: `*` stands for any bytes within one segment, `**` for any
//! bytes at all, and `/**/` also for a single slash.
//!
//! A glob begins with a slash and is compared with the whole path, decoded and without dot
//! segments, so that no second spelling of a path gets around a rule. Nothing else is special:
//! the signs that mean something to a shell are refused, because who writes them expects it.
//!
//! Matching takes no memory and goes back to the last `*` and the last `**` only, which is enough:
//! where an earlier one could have taken more, the later one can take the same.

use std::fmt;

/// Bytes of a glob at most: longer than any sensible path of a rule.
const GLOB_BYTES_MAX: usize = 1024;

/// A control byte, which a path may have and a glob may not.
const UNNAMED: u8 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    tokens: Box<[Token]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<[u8]>),
    /// `*`
    Within,
    /// `**`
    Across,
    /// `**/` behind a slash: nothing, or anything that ends in a slash.
    Directories,
}

/// Why a text is no glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// It does not begin with a slash.
    Relative,
    /// It is longer than any path.
    TooLong,
    /// Three stars or more in a row.
    Stars,
    /// A sign that shells and others give a meaning.
    Sign(char),
    /// A control byte.
    Control,
    /// A percent escape, which a decoded path does not have.
    Escape,
    /// An empty segment or a dot segment, which no path has.
    Segment,
}

impl fmt::Display for GlobError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => out.write_str("a glob begins with a slash; '/**/' is any directory"),
            Self::TooLong => write!(out, "a glob has at most {GLOB_BYTES_MAX} bytes"),
            Self::Stars => out.write_str("a glob has one star or two in a row"),
            Self::Sign(sign) => write!(
                out,
                "'{sign}' means nothing in a glob; use * and **, and a list for alternatives"
            ),
            Self::Control => out.write_str("a glob cannot hold a control character"),
            Self::Escape => {
                out.write_str("a glob is compared with the decoded path; write the character")
            }
            Self::Segment => {
                out.write_str("no path has an empty segment or a dot segment, so it never matches")
            }
        }
    }
}

impl Glob {
    /// Reads a glob.
    ///
    /// # Errors
    ///
    /// [`GlobError`] for a text that would not match what its writer expects.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitcrew::http::glob::Glob;
    /// # fn main() -> Result<(), pitcrew::http::glob::GlobError> {
    /// let glob = Glob::new("/assets/**/*.js")?;
    /// assert!(glob.matches(b"assets/app.js") && glob.matches(b"assets/a/b/app.js"));
    /// assert!(!glob.matches(b"assets/app.css"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(text: &str) -> Result<Self, GlobError> {
        let rest = text.strip_prefix('/').ok_or(GlobError::Relative)?;
        if text.len() > GLOB_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        if text.contains("***") {
            return Err(GlobError::Stars);
        }
        if let Some(sign) = text.chars().find(|sign| "?[]{}\\".contains(*sign)) {
            return Err(GlobError::Sign(sign));
        }
        if text.chars().any(char::is_control) {
            return Err(GlobError::Control);
        }
        let escape = |after: &str| {
            after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        };
        if text.split('%').skip(1).any(escape) {
            return Err(GlobError::Escape);
        }
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if matches!(segment, "." | "..") || segment.is_empty() && !last {
                return Err(GlobError::Segment);
            }
        }
        Ok(Self { text: text.into(), tokens: tokens(rest.as_bytes()) })
    }

    /// The glob as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path, when it stands for one path only; without its first slash.
    pub fn literal(&self) -> Option<&[u8]> {
        match &*self.tokens {
            [] => Some(b""),
            [Token::Literal(path)] => Some(path),
            _ => None,
        }
    }

    /// The directory with its slash, when it stands for everything beneath one; without its first
    /// slash.
    pub fn directory(&self) -> Option<&[u8]> {
        match &*self.tokens {
            [Token::Across] => Some(b""),
            [Token::Literal(path), Token::Across] if path.ends_with(b"/") => Some(path),
            _ => None,
        }
    }

    /// A path that it stands for, without its first slash. Where it has stars, there is a name
    /// that no glob can name.
    pub fn sample(&self) -> Vec<u8> {
        let mut path = Vec::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => path.extend_from_slice(literal),
                Token::Within | Token::Across => path.push(UNNAMED),
                Token::Directories => {}
            }
        }
        path
    }

    /// Whether it stands for a path; without its first slash, decoded.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut token = 0;
        let mut at = 0;
        // The token behind the last star, and where that star has ended so far.
        let mut within = None;
        let mut across = None;
        loop {
            match self.tokens.get(token) {
                None if at == path.len() => return true,
                Some(Token::Across) if token + 1 == self.tokens.len() => return true,
                Some(Token::Literal(literal)) if path[at..].starts_with(literal) => {
                    at += literal.len();
                    token += 1;
                    continue;
                }
                Some(Token::Within) => {
                    token += 1;
                    within = Some((token, at));
                    continue;
                }
                Some(Token::Across | Token::Directories) => {
                    token += 1;
                    across = Some((token, at));
                    within = None;
                    continue;
                }
                None | Some(Token::Literal(_)) => {}
            }
            if let Some((behind, end)) = within
                && path.get(end).is_some_and(|byte| *byte != b'/')
            {
                (token, at) = (behind, end + 1);
                within = Some((token, at));
            } else if let Some((behind, end)) = across
                && let Some(longer) = self.longer(behind, end, path)
            {
                (token, at) = (behind, longer);
                across = Some((token, at));
                within = None;
            } else {
                return false;
            }
        }
    }

    /// Where the `**` before a token ends next, when it takes more.
    fn longer(&self, behind: usize, end: usize, path: &[u8]) -> Option<usize> {
        let rest = &path[end..];
        match self.tokens[behind - 1] {
            Token::Directories => memchr::memchr(b'/', rest).map(|slash| end + slash + 1),
            _ => (!rest.is_empty()).then_some(end + 1),
        }
    }

    /// Whether it surely stands for every path that the other stands for. That it does not say so
    /// of every pair for which it is true is no harm: it is for hints.
    pub fn covers(&self, other: &Self) -> bool {
        let (mine, theirs) = (signs(&self.tokens), signs(&other.tokens));
        // One row for each rest of mine, from the last; in it, whether it covers a rest of theirs.
        let mut later: Vec<bool> = (0..=theirs.len()).map(|at| at == theirs.len()).collect();
        for sign in mine.iter().rev() {
            let mut row = vec![false; theirs.len() + 1];
            for at in (0..=theirs.len()).rev() {
                let next = theirs.get(at);
                row[at] = match sign {
                    Sign::Byte(_) => next == Some(sign) && later[at + 1],
                    Sign::Across => later[at] || next.is_some() && row[at + 1],
                    Sign::Within => {
                        let taken = match next {
                            Some(Sign::Byte(byte)) => *byte != b'/',
                            Some(Sign::Within) => true,
                            _ => false,
                        };
                        later[at] || taken && row[at + 1]
                    }
                    Sign::Directories => {
                        let ends = |sign: &Sign| matches!(sign, Sign::Byte(b'/'));
                        let whole = |end: &usize| {
                            ends(&theirs[end - 1]) || theirs[end - 1] == Sign::Directories
                        };
                        later[at] || (at + 1..=theirs.len()).filter(whole).any(|end| later[end])
                    }
                };
            }
            later = row;
        }
        later[0]
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn tokens(text: &[u8]) -> Box<[Token]> {
    let mut tokens = Vec::new();
    let mut literal = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let starts_segment = at == 0 || text[at - 1] == b'/';
        let (token, bytes) = match &text[at..] {
            [b'*', b'*', b'/', ..] if starts_segment => (Token::Directories, 3),
            [b'*', b'*', ..] => (Token::Across, 2),
            [b'*', ..] => (Token::Within, 1),
            rest => {
                literal.push(rest[0]);
                at += 1;
                continue;
            }
        };
        if !literal.is_empty() {
            tokens.push(Token::Literal(std::mem::take(&mut literal).into()));
        }
        tokens.push(token);
        at += bytes;
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal.into()));
    }
    tokens.into()
}

/// A glob byte by byte, for [`Glob::covers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Byte(u8),
    Within,
    Across,
    Directories,
}

fn signs(tokens: &[Token]) -> Vec<Sign> {
    let mut signs = Vec::new();
    for token in tokens {
        match token {
            Token::Literal(bytes) => signs.extend(bytes.iter().map(|byte| Sign::Byte(*byte))),
            Token::Within => signs.push(Sign::Within),
            Token::Across => signs.push(Sign::Across),
            Token::Directories => signs.push(Sign::Directories),
        }
    }
    signs
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &str, path: &str) -> bool {
        Glob::new(glob).unwrap().matches(path.strip_prefix('/').unwrap().as_bytes())
    }

    #[test]
    fn one_star_stays_in_its_segment() {
        assert!(matches("/*.js", "/app.js") && matches("/*.js", "/.js"));
        assert!(!matches("/*.js", "/a/app.js"));
        assert!(matches("/a/*/b", "/a/x/b"));
        assert!(!matches("/a/*/b", "/a/x/y/b"));
        assert!(!matches("/a/*/b", "/a/b"));
        assert!(matches("/*a*b", "/xaaxb"));
        assert!(matches("/", "/") && !matches("/", "/a"));
        assert!(matches("/a/", "/a/") && !matches("/a/", "/a"));
    }

    #[test]
    fn two_stars_cross() {
        assert!(matches("/**", "/") && matches("/**", "/a/b"));
        assert!(matches("/a/**", "/a/") && matches("/a/**", "/a/b/c"));
        assert!(!matches("/a/**", "/a") && !matches("/a/**", "/ab"));
        assert!(matches("/a**", "/a") && matches("/a**", "/a/b"));
        assert!(matches("/**/*.js", "/app.js") && matches("/**/*.js", "/a/b/app.js"));
        assert!(matches("/a/**/b", "/a/b") && matches("/a/**/b", "/a/x/y/b"));
        assert!(!matches("/a/**/b", "/a/xb"));
        assert!(matches("/**/a/*/b/**", "/x/a/a/q/b/z"));
    }

    #[test]
    fn what_would_not_mean_what_it_says_is_refused() {
        let fault = |text: &str| Glob::new(text).unwrap_err();
        assert_eq!(fault("*.js"), GlobError::Relative);
        assert_eq!(fault(""), GlobError::Relative);
        assert_eq!(fault("/***"), GlobError::Stars);
        assert_eq!(fault("/*.{js,css}"), GlobError::Sign('{'));
        assert_eq!(fault("/a?"), GlobError::Sign('?'));
        assert_eq!(fault("/a\n"), GlobError::Control);
        assert_eq!(fault("/a%20b"), GlobError::Escape);
        assert_eq!(fault("/a//b"), GlobError::Segment);
        assert_eq!(fault("/a/../b"), GlobError::Segment);
        assert_eq!(fault(&format!("/{}", "a".repeat(2000))), GlobError::TooLong);
        assert!(Glob::new("/100%").is_ok() && Glob::new("/caf\u{e9}/").is_ok());
    }

    #[test]
    fn what_covers_what() {
        let covers =
            |one: &str, other: &str| Glob::new(one).unwrap().covers(&Glob::new(other).unwrap());
        assert!(covers("/**", "/a/*/b") && covers("/**", "/**"));
        assert!(covers("/a/**", "/a/b") && covers("/a/**", "/a/**/c"));
        assert!(covers("/**/*.js", "/*.js") && covers("/**/*.js", "/a/**/*.js"));
        assert!(covers("/a/*", "/a/*.js"));
        assert!(!covers("/a/*", "/a/**") && !covers("/a/b", "/a/*"));
        assert!(!covers("/a/**", "/a"));
    }

    #[test]
    fn one_path_and_one_directory_are_known() {
        assert_eq!(Glob::new("/a/b").unwrap().literal(), Some(&b"a/b"[..]));
        assert_eq!(Glob::new("/").unwrap().literal(), Some(&b""[..]));
        assert_eq!(Glob::new("/a*").unwrap().literal(), None);
        assert_eq!(Glob::new("/a/**").unwrap().directory(), Some(&b"a/"[..]));
        assert_eq!(Glob::new("/**").unwrap().directory(), Some(&b""[..]));
        assert_eq!(Glob::new("/a**").unwrap().directory(), None);
    }

    /// The slow and obvious way, from what a glob says and without its tokens; of both the first
    /// slash is there.
    fn model(glob: &[u8], path: &[u8]) -> bool {
        let any = |rest: &[u8], ends: &dyn Fn(usize) -> bool| {
            (0..=path.len()).any(|end| ends(end) && model(rest, &path[end..]))
        };
        match glob {
            [] => path.is_empty(),
            // A slash, or two with anything between them; the second one stays for the rest.
            [b'/', b'*', b'*', rest @ ..] if rest.starts_with(b"/") => {
                any(rest, &|end| end == 0 || path[0] == b'/' && path.get(end) == Some(&b'/'))
            }
            [b'*', b'*', rest @ ..] => any(rest, &|_| true),
            [b'*', rest @ ..] => any(rest, &|end| !path[..end].contains(&b'/')),
            [byte, rest @ ..] => path.first() == Some(byte) && model(rest, &path[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn as_the_model_matches(
            glob in "/((a|b|\\*|\\*\\*|ab){1,3}/){0,3}(a|b|\\*|\\*\\*){0,3}",
            path in "([ab]{1,3}/){0,4}[ab]{0,3}",
        ) {
            if let Ok(glob) = Glob::new(&glob) {
                let expected = model(glob.text().as_bytes(), format!("/{path}").as_bytes());
                prop_assert_eq!(glob.matches(path.as_bytes()), expected);
                prop_assert!(glob.matches(&glob.sample()), "{}", glob);
            }
        }

        #[test]
        fn what_is_covered_is_matched(
            one in "/((a|b|\\*|\\*\\*){1,2}/){0,2}(a|b|\\*|\\*\\*){0,2}",
            other in "/((a|b|\\*|\\*\\*){1,2}/){0,2}(a|b|\\*|\\*\\*){0,2}",
            path in "([ab]{1,2}/){0,3}[ab]{0,2}",
        ) {
            if let (Ok(one), Ok(other)) = (Glob::new(&one), Glob::new(&other))
                && one.covers(&other) && other.matches(path.as_bytes())
            {
                prop_assert!(one.matches(path.as_bytes()));
            }
        }

        #[test]
        fn every_literal_matches_itself_alone(
            path in "[a-z/ .%\u{e9}-]{0,12}",
            other in "[a-c/]{0,4}",
        ) {
            if let Ok(glob) = Glob::new(&format!("/{path}")) {
                prop_assert!(glob.matches(path.as_bytes()));
                prop_assert_eq!(glob.matches(other.as_bytes()), path == other);
            }
        }
    }
}
