//! Rust source as tokens: enough of the language to see imports, items and fields.
//!
//! Comments and the insides of literals are gone, so that a word in a sentence is never taken for
//! code. Items under `#[cfg(test)]` can be taken out.

use std::fs;
use std::path::Path;

/// One word, sign or literal, and its line, counted from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(String),
    /// One sign; `::` alone is kept together, because every path needs it.
    Sign(char),
    PathSign,
    Number,
    /// Any other one.
    Literal,
}

impl Token {
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    pub(crate) fn sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// One file below `src`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path below `src`, such as `http/range.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// All tokens.
    pub(crate) all: Vec<Token>,
    /// The tokens that are not under `#[cfg(test)]`.
    pub(crate) code: Vec<Token>,
    /// Modules declared under `#[cfg(test)]` whose body is another file.
    test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let all = tokens(text);
        let (code, test_modules) = without_tests(&all);
        Self { path: path.to_owned(), text: text.to_owned(), all, code, test_modules }
    }

    /// The path of modules that the file is, such as `["http", "range"]`; empty for the roots.
    pub(crate) fn module(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        if is_root(&self.path) {
            return Vec::new();
        }
        stem.split('/').map(str::to_owned).collect()
    }

    /// The room: the first segment of the module path, or the name of the root file.
    pub(crate) fn room(&self) -> String {
        let module = self.module();
        module.first().cloned().unwrap_or_else(|| self.path.trim_end_matches(".rs").to_owned())
    }

    /// Whether all of the file is for tests.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.code.is_empty() && !self.all.is_empty()
    }

    /// Lines before the first item under `#[cfg(test)]` that is a module with a body.
    pub(crate) fn lines_before_tests(&self) -> usize {
        test_module_line(&self.all).map_or_else(|| self.text.lines().count(), |line| line - 1)
    }
}

/// Whether a file is the root of a crate.
pub(crate) fn is_root(path: &str) -> bool {
    matches!(path, "lib.rs" | "main.rs")
}

/// All files below `directory`, ordered by path. Files that are modules under `#[cfg(test)]` have
/// no code but tests.
pub(crate) fn read_tree(directory: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    gather(directory, "", &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    exempt_test_files(&mut found);
    found
}

/// Takes the code away from files that only tests are made of.
pub(crate) fn exempt_test_files(sources: &mut [Source]) {
    let mut test_modules = Vec::new();
    for source in &*sources {
        for name in &source.test_modules {
            let mut module = source.module();
            module.push(name.clone());
            test_modules.push(module);
        }
    }
    for source in sources {
        let module = source.module();
        if test_modules.iter().any(|test| module.starts_with(test)) {
            source.code.clear();
        }
    }
}

fn gather(directory: &Path, prefix: &str, into: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let entry = entry.expect("the entry can be read");
        let name = entry.file_name().into_string().expect("names here are UTF-8");
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if entry.file_type().expect("the entry has a type").is_dir() {
            gather(&entry.path(), &path, into);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("the file is UTF-8");
            into.push(Source::new(&path, &text));
        }
    }
}

/// Cuts text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0, line: 1, found: Vec::new() };
    while lexer.at < chars.len() {
        lexer.step();
    }
    lexer.found
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn advance(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == '\n' {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.found.push(Token { kind, line });
    }

    fn step(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.advance(1);
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => {
                self.string();
                self.push(Kind::Literal, line);
            }
            ('\'', _) => self.quote(line),
            (':', ':') => {
                self.advance(2);
                self.push(Kind::PathSign, line);
            }
            (digit, _) if digit.is_ascii_digit() => {
                self.number();
                self.push(Kind::Number, line);
            }
            (first, _) if first.is_alphabetic() || first == '_' => self.word(line),
            (space, _) if space.is_whitespace() => self.advance(1),
            (sign, _) => {
                self.advance(1);
                self.push(Kind::Sign(sign), line);
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.advance(2);
                }
                ('*', '/') => {
                    depth -= 1;
                    self.advance(2);
                }
                _ => self.advance(1),
            }
            if depth == 0 || self.at >= self.chars.len() {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.advance(1);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            self.advance(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.advance(1);
    }

    /// A character, or a lifetime, which is no token of interest.
    fn quote(&mut self, line: usize) {
        if self.peek(1) == '\\' {
            self.advance(3);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.advance(1);
            }
            self.advance(1);
        } else if self.peek(2) == '\'' {
            self.advance(3);
        } else {
            self.advance(1);
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.advance(1);
            }
            return;
        }
        self.push(Kind::Literal, line);
    }

    fn number(&mut self) {
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.advance(1);
        }
        // A fraction, but neither a range nor a method or field of a number.
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.advance(1);
            self.number();
        }
    }

    fn word(&mut self, line: usize) {
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.advance(1);
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let prefix = matches!(word.as_str(), "r" | "b" | "c" | "br" | "cr");
        match self.peek(0) {
            '"' if prefix && !word.contains('r') => {
                self.string();
                self.push(Kind::Literal, line);
            }
            '\'' if word == "b" => self.quote(line),
            '"' | '#' if prefix && word.contains('r') && self.raw_string() => {
                self.push(Kind::Literal, line);
            }
            '#' if word == "r" => {
                self.advance(1);
                self.word(line);
            }
            _ => self.push(Kind::Word(word), line),
        }
    }

    /// Skips `"..."` or `#"..."#` behind the `r`; false when it is a raw identifier.
    fn raw_string(&mut self) -> bool {
        let mut hashes = 0;
        while self.peek(hashes) == '#' {
            hashes += 1;
        }
        if self.peek(hashes) != '"' {
            return false;
        }
        self.advance(hashes + 1);
        while self.at < self.chars.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') {
                break;
            }
            self.advance(1);
        }
        self.advance(hashes + 1);
        true
    }
}

/// The tokens without the items under `#[cfg(test)]`, and the names of modules among those items
/// whose body is another file.
fn without_tests(all: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut code = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < all.len() {
        match attribute(all, at) {
            Some(end) if is_test_attribute(&all[at..end]) => {
                let after = item_end(all, end);
                let item = &all[end..after];
                if let Some(position) = item.iter().position(|token| token.is("mod"))
                    && item.get(position + 2).is_some_and(|token| token.sign(';'))
                    && let Some(name) = item[position + 1].word()
                {
                    modules.push(name.to_owned());
                }
                at = after;
            }
            _ => {
                code.push(all[at].clone());
                at += 1;
            }
        }
    }
    (code, modules)
}

/// The line of the first `#[cfg(test)] mod name {`.
fn test_module_line(all: &[Token]) -> Option<usize> {
    let mut at = 0;
    while at < all.len() {
        if let Some(end) = attribute(all, at)
            && is_test_attribute(&all[at..end])
        {
            let after = item_end(all, end);
            let item = &all[end..after];
            let module = item.iter().take_while(|token| !token.sign('{')).any(|t| t.is("mod"));
            if module && item.last().is_some_and(|token| token.sign('}')) {
                return Some(all[at].line);
            }
            at = after;
        } else {
            at += 1;
        }
    }
    None
}

/// The end of the attribute that begins here, `#[...]` but not `#![...]`.
fn attribute(all: &[Token], at: usize) -> Option<usize> {
    let begins = all.get(at)?.sign('#') && all.get(at + 1)?.sign('[');
    begins.then(|| group_end(all, at + 1))
}

fn is_test_attribute(attribute: &[Token]) -> bool {
    let cfg = attribute.get(2).is_some_and(|token| token.is("cfg"));
    let has = |word: &str| attribute.iter().any(|token| token.is(word));
    cfg && has("test") && !has("not")
}

/// The index behind the item that begins here.
fn item_end(all: &[Token], from: usize) -> usize {
    let mut at = from;
    while let Some(end) = attribute(all, at) {
        at = end;
    }
    const BY_SEMICOLON: [&str; 6] = ["use", "const", "static", "let", "type", "extern"];
    const BY_BLOCK: [&str; 8] =
        ["mod", "fn", "struct", "enum", "impl", "trait", "union", "macro_rules"];
    // The words before the name say what the item is: a `const fn` is a function.
    let mut first = at;
    if all.get(first).is_some_and(|token| token.is("pub")) {
        first += 1;
        if all.get(first).is_some_and(|token| token.sign('(')) {
            first = group_end(all, first);
        }
    }
    let rest = all.get(first..).unwrap_or_default();
    let before_signs = rest.iter().take_while(|token| !matches!(token.kind, Kind::Sign(_)));
    let leading: Vec<&str> = before_signs.filter_map(Token::word).collect();
    let keyword = leading.iter().find(|word| {
        BY_BLOCK.contains(word) || (BY_SEMICOLON.contains(word) && !leading.contains(&"fn"))
    });
    let (ends_by_block, ends_by_comma) = match keyword {
        Some(word) => (BY_BLOCK.contains(word), false),
        None => (true, true),
    };
    while at < all.len() {
        match all[at].kind {
            Kind::Sign('{' | '(' | '[') => {
                let block = all[at].sign('{');
                at = group_end(all, at);
                if block && ends_by_block && !ends_by_comma {
                    return at;
                }
            }
            Kind::Sign('}' | ')' | ']') => return at,
            Kind::Sign(';') => return at + 1,
            Kind::Sign(',') if ends_by_comma => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The index behind the closing sign of the group that opens here.
pub(crate) fn group_end(all: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    let mut at = open;
    while at < all.len() {
        match all[at].kind {
            Kind::Sign('{' | '(' | '[') => depth += 1,
            Kind::Sign('}' | ')' | ']') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}
