//! Paths as they occur in code: imports with groups, and paths inside expressions.

use super::source::{Kind, Source, Token};

/// A path from the root of a crate: `["std", "fs", "File"]`, or within this crate
/// `["crate", "http", "Range"]`, however it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// Names a path of the code can begin with that matter to some rule.
const ROOTS: [&str; 10] =
    ["crate", "super", "self", "pitcrew", "std", "core", "rustix", "libc", "io_uring", "socket2"];

/// Stands for the root of a path with more `super` than there are modules.
pub(crate) const ABOVE_THE_CRATE: &str = "above the crate";

/// All paths of a file that begin at a root, with `super` and `self` resolved.
pub(crate) fn paths(source: &Source) -> Vec<Named> {
    paths_in(&source.code, &source.module())
}

fn paths_in(code: &[Token], file_module: &[String]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut module = file_module.to_vec();
    // Depth of braces at which each inline module closes.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < code.len() {
        match &code[at].kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
                depth -= 1;
            }
            Kind::Word(word) if word == "mod" && opens_module(code, at) => {
                module.push(code[at + 1].word().unwrap_or_default().to_owned());
                inline.push(depth + 1);
            }
            Kind::Word(word) if ROOTS.contains(&word.as_str()) && begins_path(code, at) => {
                let mut written = Vec::new();
                let end = tree(code, at, &mut Vec::new(), &mut written);
                for (path, line) in written {
                    found.push(Named { path: resolve(&module, path), line });
                }
                at = end.max(at + 1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn opens_module(code: &[Token], at: usize) -> bool {
    code.get(at + 2).is_some_and(|token| token.sign('{'))
}

/// A root word begins a path when a `::` follows, or when it is imported as it is, and when it is
/// not itself inside a path or a field.
fn begins_path(code: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).map(|index| &code[index]);
    if before.is_some_and(|token| token.kind == Kind::PathSign || token.sign('.')) {
        return false;
    }
    let followed = code.get(at + 1).is_some_and(|token| token.kind == Kind::PathSign);
    followed || before.is_some_and(|token| token.is("use"))
}

/// Reads a path or a tree of them from `at`, pushes each leaf with its line, and gives the index
/// behind it.
fn tree(
    code: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let depth = prefix.len();
    while let Some(token) = code.get(at) {
        match &token.kind {
            Kind::Word(word) => {
                prefix.push(word.clone());
                at += 1;
                if code.get(at).is_some_and(|next| next.kind == Kind::PathSign)
                    && code.get(at + 1).is_some_and(|next| {
                        next.word().is_some() || next.sign('{') || next.sign('*')
                    })
                {
                    at += 1;
                    continue;
                }
                leaves.push((prefix.clone(), token.line));
                if code.get(at).is_some_and(|next| next.is("as")) && in_use(code, at) {
                    at += 2;
                }
                break;
            }
            Kind::Sign('*') => {
                prefix.push("*".to_owned());
                leaves.push((prefix.clone(), token.line));
                at += 1;
                break;
            }
            Kind::Sign('{') => {
                at += 1;
                while at < code.len() && !code[at].sign('}') {
                    let before = at;
                    at = tree(code, at, prefix, leaves);
                    if code.get(at).is_some_and(|next| next.sign(',')) {
                        at += 1;
                    }
                    if at == before {
                        break;
                    }
                }
                at += 1;
                break;
            }
            _ => break,
        }
    }
    prefix.truncate(depth);
    at
}

/// Whether `as` renames an import and does not cast a value: the statement began with `use`.
fn in_use(code: &[Token], at: usize) -> bool {
    code[..at]
        .iter()
        .rev()
        .take_while(|token| !token.sign(';') && !token.sign(')'))
        .any(|token| token.is("use"))
}

/// Turns `super`, `self` and this crate's own name into a path from `crate`.
fn resolve(module: &[String], path: Vec<String>) -> Vec<String> {
    let mut segments = path.into_iter().peekable();
    let mut base: Option<Vec<String>> = None;
    while let Some(segment) = segments.peek() {
        match segment.as_str() {
            "crate" | "pitcrew" => base = Some(vec!["crate".to_owned()]),
            "self" => {
                base.get_or_insert_with(|| rooted(module));
            }
            "super" => {
                let above = base.get_or_insert_with(|| rooted(module));
                above.pop();
                if above.is_empty() {
                    above.push(ABOVE_THE_CRATE.to_owned());
                }
            }
            _ => break,
        }
        segments.next();
    }
    let mut resolved = base.unwrap_or_default();
    // A `self` at the end of a group names what stands before it.
    resolved.extend(segments.filter(|segment| segment != "self"));
    resolved
}

fn rooted(module: &[String]) -> Vec<String> {
    std::iter::once("crate".to_owned()).chain(module.iter().cloned()).collect()
}
