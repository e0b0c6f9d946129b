//! The path of a request target, brought to the one form under which a file is looked up.
//!
//! The wire form is decoded exactly once, and dot segments are resolved before anything is opened,
//! so that raw and encoded forms of a path can never mean different files (RFC 3986 section
//! 6.2.2). The result has no leading slash, no empty segment, no `.` and no `..`: openat2 beneath
//! the root is the second lock on the same door, not the first.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What [`resolve`] found out about a path beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path ended in a slash or in a dot segment: it names a directory.
    pub directory: bool,
    /// There were empty segments (`//`), which are left out of the result.
    pub doubled: bool,
    /// There were dot segments, raw or encoded, which are resolved in the result.
    pub dotted: bool,
    /// A segment of the result begins with a dot and is not `.well-known` (RFC 8615).
    pub hidden: bool,
}

/// Why a path is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// It does not begin with a slash.
    Relative,
    /// A raw byte outside 0x21 to 0x7E, a raw backslash, `?` or `#`.
    Byte,
    /// A percent sign that two hex digits do not follow.
    Escape,
    /// An encoded NUL, which would end the name for the kernel.
    Nul,
    /// An encoded slash, which proxies and servers read differently.
    Slash,
    /// A dot segment that leaves the root.
    Climbs,
}

/// Resolves the path of a target, as it was on the wire and without its query, into `out`, which
/// is cleared first.
///
/// An empty path is the root: the absolute form may leave it out (RFC 9110 section 4.2.3). Empty
/// segments are dropped before dot segments are resolved, as the file system would do it, so
/// `/a//../b` is `b`.
///
/// # Errors
///
/// Any [`TargetError`]; `out` then holds nothing of use.
///
/// # Examples
///
/// ```
/// use pitcrew::http::target::{TargetError, resolve};
/// # fn main() -> Result<(), TargetError> {
/// let mut path = Vec::new();
/// let target = resolve(b"/docs/%2e%2e/caf%C3%A9/", &mut path)?;
/// assert_eq!(path, "caf\u{e9}".as_bytes());
/// assert!(target.directory && target.dotted && !target.hidden);
/// assert_eq!(resolve(b"/%2e%2e/etc", &mut path), Err(TargetError::Climbs));
/// # Ok(())
/// # }
/// ```
pub fn resolve(raw: &[u8], out: &mut Vec<u8>) -> Result<Target, TargetError> {
    out.clear();
    let mut target = Target::default();
    let Some((first, rest)) = raw.split_first() else {
        target.directory = true;
        return Ok(target);
    };
    if *first != b'/' {
        return Err(TargetError::Relative);
    }
    out.reserve(rest.len());
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() {
            target.directory = last;
            target.doubled |= !last;
            continue;
        }
        let start = out.len();
        if start > 0 {
            out.push(b'/');
        }
        let name = out.len();
        decode(segment, out)?;
        match &out[name..] {
            b"." => {
                out.truncate(start);
                target.dotted = true;
                target.directory = last;
            }
            b".." => {
                out.truncate(start);
                if start == 0 {
                    return Err(TargetError::Climbs);
                }
                out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
                target.dotted = true;
                target.directory = last;
            }
            _ => {}
        }
    }
    target.hidden = out.split(|byte| *byte == b'/').any(is_hidden);
    Ok(target)
}

/// Whether a file or directory of this name is kept from clients unless that is configured.
pub fn is_hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'.') && name != b".well-known"
}

/// Appends the origin form of a path and its query, for a Location field or a link.
///
/// It begins with exactly one slash, whatever the path, so that it can never name another host,
/// and holds only visible ASCII, so that it can never end a field line. `path` is decoded, with or
/// without leading slashes; `query` is as it was on the wire.
pub fn location(path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    let skipped = path.iter().take_while(|byte| **byte == b'/').count();
    out.push(b'/');
    encode(&path[skipped..], out);
    if let Some(query) = query {
        out.push(b'?');
        encode_query(query, out);
    }
}

/// Appends a query as it was on the wire, but for what could end it or its line.
pub fn encode_query(query: &[u8], out: &mut Vec<u8>) {
    for piece in percent_encode(query, QUERY) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends a decoded path, percent-encoded; slashes stay. The result is also safe inside a quoted
/// HTML attribute.
pub fn encode(path: &[u8], out: &mut Vec<u8>) {
    for piece in percent_encode(path, PATH) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// What is encoded in a path: all but the unreserved characters of RFC 3986 section 2.3, slashes
/// and those delimiters that mean nothing in a path nor in HTML. A colon is encoded because a
/// relative link must not look like a scheme.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b'@');

/// What is encoded in a query: only what could end it, or the line. Escapes in it stay as they are.
const QUERY: &AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'#').add(b'"').add(b'<').add(b'>').add(b'\\');

/// Appends the decoded bytes of one segment.
fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), TargetError> {
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        match *byte {
            b'%' => {
                let high = bytes.next().and_then(hex);
                let low = bytes.next().and_then(hex);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(TargetError::Escape);
                };
                match high << 4 | low {
                    0 => return Err(TargetError::Nul),
                    b'/' => return Err(TargetError::Slash),
                    byte => out.push(byte),
                }
            }
            b'\\' | b'?' | b'#' => return Err(TargetError::Byte),
            byte @ 0x21..=0x7E => out.push(byte),
            _ => return Err(TargetError::Byte),
        }
    }
    Ok(())
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(raw: &str) -> Result<(Vec<u8>, Target), TargetError> {
        let mut out = b"left over".to_vec();
        resolve(raw.as_bytes(), &mut out).map(|target| (out, target))
    }

    fn path(raw: &str) -> String {
        String::from_utf8(of(raw).unwrap().0).unwrap()
    }

    /// RFC 9112 section 3.2.1.
    #[test]
    fn plain_paths_lose_their_slash() {
        assert_eq!(of("/a/b.txt"), Ok((b"a/b.txt".to_vec(), Target::default())));
        assert_eq!(of("/"), Ok((vec![], Target { directory: true, ..Target::default() })));
        assert_eq!(of(""), of("/"));
        assert_eq!(of("/a/"), Ok((b"a".to_vec(), Target { directory: true, ..Target::default() })));
    }

    /// RFC 3986 section 2.4: decoded once, never twice.
    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(path("/%61%2562"), "a%62");
        assert_eq!(path("/%252e%252e/a"), "%2e%2e/a");
        assert_eq!(path("/a%5Cb"), "a\\b");
        assert_eq!(of("/%ff%0a").unwrap().0, b"\xff\n");
    }

    /// RFC 3986 sections 2.1 and 5.2.4, RFC 9110 section 17.3.
    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (raw, error) in [
            ("a", TargetError::Relative),
            ("*", TargetError::Relative),
            ("/a\\b", TargetError::Byte),
            ("/a b", TargetError::Byte),
            ("/a\u{7f}", TargetError::Byte),
            ("/\u{e4}", TargetError::Byte),
            ("/a#b", TargetError::Byte),
            ("/a?b", TargetError::Byte),
            ("/%", TargetError::Escape),
            ("/%4", TargetError::Escape),
            ("/%4/1", TargetError::Escape),
            ("/%+1", TargetError::Escape),
            ("/%g1", TargetError::Escape),
            ("/a%00", TargetError::Nul),
            ("/a%2Fb", TargetError::Slash),
            ("/a%2fb", TargetError::Slash),
            ("/..", TargetError::Climbs),
            ("/../a", TargetError::Climbs),
            ("/a/../../b", TargetError::Climbs),
            ("/%2e%2E/a", TargetError::Climbs),
            ("//..", TargetError::Climbs),
            ("/./..", TargetError::Climbs),
        ] {
            assert_eq!(of(raw), Err(error), "{raw}");
        }
    }

    /// RFC 3986 section 5.2.4.
    #[test]
    fn dot_segments_are_resolved() {
        assert_eq!(path("/a/b/../c/./d"), "a/c/d");
        assert_eq!(path("/a/%2E%2e/b"), "b");
        assert_eq!(path("/a/.../b"), "a/.../b");
        assert!(of("/a/b/..").unwrap().1.directory);
        assert_eq!(path("/a/b/.."), "a");
        assert!(of("/a/.").unwrap().1.directory);
        assert!(!of("/a/../b").unwrap().1.directory);
        assert!(of("/a/./b").unwrap().1.dotted);
        assert_eq!(path("/a//../b"), "b");
    }

    /// RFC 3986 section 3.3: an empty segment names nothing here.
    #[test]
    fn double_slashes_collapse_and_are_told() {
        let (path, target) = of("//evil.example//a//").unwrap();
        assert_eq!(path, b"evil.example/a");
        assert!(target.doubled && target.directory);
        assert!(!of("/a/").unwrap().1.doubled);
    }

    /// RFC 8615 section 3: `.well-known` alone is for everybody.
    #[test]
    fn hidden_segments_are_told() {
        assert!(of("/.git/config").unwrap().1.hidden);
        assert!(of("/a/%2egit").unwrap().1.hidden);
        assert!(of("/.well-known/.a").unwrap().1.hidden);
        assert!(!of("/.well-known/acme").unwrap().1.hidden);
        assert!(!of("/.git/../a").unwrap().1.hidden);
        assert!(!of("/a.b").unwrap().1.hidden);
    }

    /// RFC 9110 section 10.2.2, RFC 9112 section 11.1.
    #[test]
    fn a_location_never_leaves_the_host_nor_the_line() {
        let of = |path: &[u8], query: Option<&[u8]>| {
            let mut out = Vec::new();
            location(path, query, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of(b"//evil.example/a", None), "/evil.example/a");
        assert_eq!(of(b"\\evil.example", None), "/%5Cevil.example");
        assert_eq!(of(b"a\r\nb: c", Some(b"x\r\ny=%41#z")), "/a%0D%0Ab%3A%20c?x%0D%0Ay=%41%23z");
        assert_eq!(of(b"", Some(b"")), "/?");
        assert_eq!(of("ä b/\"&'".as_bytes(), None), "/%C3%A4%20b/%22%26%27");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model {
    use super::*;
    use proptest::prelude::*;

    /// The slow and obvious way: decode into segments, then walk them.
    fn model(raw: &[u8]) -> Result<(Vec<Vec<u8>>, bool), ()> {
        if raw.is_empty() {
            return Ok((vec![], true));
        }
        if raw[0] != b'/' {
            return Err(());
        }
        let mut bytes = Vec::new();
        let mut at = 0;
        while at < raw.len() {
            match raw[at] {
                b'%' => {
                    let digits = raw.get(at + 1..at + 3).ok_or(())?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(());
                    }
                    let text = std::str::from_utf8(digits).map_err(|_| ())?;
                    let byte = u8::from_str_radix(text, 16).map_err(|_| ())?;
                    if byte == 0 || byte == b'/' {
                        return Err(());
                    }
                    bytes.push(byte);
                    at += 3;
                }
                b'\\' | b'?' | b'#' | 0..=0x20 | 0x7F.. => return Err(()),
                byte => {
                    bytes.push(byte);
                    at += 1;
                }
            }
        }
        let segments: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
        let mut walked: Vec<Vec<u8>> = Vec::new();
        for segment in &segments {
            match *segment {
                b"" | b"." => {}
                b".." => {
                    walked.pop().ok_or(())?;
                }
                name => walked.push(name.to_vec()),
            }
        }
        Ok((walked, matches!(*segments[segments.len() - 1], [] | [b'.'] | [b'.', b'.'])))
    }

    proptest! {
        /// RFC 3986 sections 2.4 and 5.2.4.
        #[test]
        fn as_the_model_resolves(
            raw in "/?((\\.|%2e|%2E|[abA%]|/|%41|%2f|%00|%5c|%ff|\\\\| |well-known){0,3}/){0,5}\
                [.a]{0,3}",
        ) {
            let mut out = Vec::new();
            let resolved = resolve(raw.as_bytes(), &mut out).map(|target| {
                let segments = if out.is_empty() { vec![] } else {
                    out.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
                };
                assert_eq!(target.hidden, segments.iter().any(|name| is_hidden(name)));
                (segments, target.directory)
            });
            prop_assert_eq!(resolved.map_err(|_| ()), model(raw.as_bytes()), "{}", raw);
        }

        #[test]
        fn any_bytes(raw in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            let resolved = resolve(&raw, &mut out).map(|target| target.directory);
            let segments = out.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
            if let Ok(directory) = resolved {
                let segments = if out.is_empty() { vec![] } else { segments };
                prop_assert_eq!(model(&raw), Ok((segments, directory)));
            } else {
                prop_assert!(model(&raw).is_err());
            }
        }

        /// What the server sends to is what it then reads, and nothing else.
        #[test]
        fn a_location_is_read_back(
            path in prop::collection::vec(1..=255u8, 0..30),
            query in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            let mut line = Vec::new();
            location(&path, query.as_deref(), &mut line);
            prop_assert!(line.iter().all(|byte| matches!(byte, 0x21..=0x7E)));
            prop_assert!(line[0] == b'/' && line.get(1) != Some(&b'/'));
            prop_assert!(!line.contains(&b'\\') && !line.contains(&b'#'));
            let end = line.iter().position(|byte| *byte == b'?').unwrap_or(line.len());
            let (mut one, mut two) = (Vec::new(), Vec::new());
            let read = resolve(&line[..end], &mut one);
            let mut plain = b"/".to_vec();
            for byte in &path {
                if *byte == b'/' { plain.push(b'/') } else {
                    plain.extend(format!("%{byte:02x}").bytes());
                }
            }
            let expected = resolve(&plain, &mut two);
            prop_assert_eq!(read.is_ok(), expected.is_ok());
            if read.is_ok() {
                prop_assert_eq!(one, two);
            }
        }
    }
}
