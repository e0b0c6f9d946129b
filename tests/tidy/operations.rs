//! Operations of the ring: each is one that somebody starts, and a ring may be asked for no others.

use std::collections::BTreeSet;

use super::source::{Source, Token, group_end};

/// Where operations are carried out and counted, and none is started.
fn carries_out(path: &str) -> bool {
    matches!(path, "ring/inline.rs" | "ring/stats.rs" | "ring/uring.rs")
        || path.starts_with("ring/simulated/")
}

/// Operations that nobody starts.
pub(crate) fn unstarted(sources: &[Source]) -> Vec<String> {
    let starters: Vec<_> = sources.iter().filter(|one| !carries_out(&one.path)).collect();
    let nobody = |name: &String| !starters.iter().any(|source| makes(source, name));
    let all = sources.iter().flat_map(operations);
    all.filter(nobody).map(|name| format!("nobody starts Op::{name}")).collect()
}

/// The variants of `Op`.
fn operations(source: &Source) -> Vec<String> {
    let code = &source.code;
    let is_it = |at: &usize| code[*at].is("enum") && code.get(at + 1).is_some_and(|t| t.is("Op"));
    let Some(open) = (0..code.len()).find(is_it).map(|at| at + 2) else { return Vec::new() };
    let end = group_end(code, open) - 1;
    let mut found = Vec::new();
    let mut at = open + 1;
    while at < end {
        if let Some(name) = code[at].word() {
            found.push(name.to_owned());
        }
        let opens = code[at].sign('{') || code[at].sign('(') || code[at].sign('[');
        at = if opens { group_end(code, at) } else { at + 1 };
    }
    found
}

/// Whether code makes an operation of this name, and does not only look at one.
fn makes(source: &Source, name: &str) -> bool {
    let code = &source.code;
    let own = source.path == "ring/op.rs";
    let sign = |at: usize, sign: char| code.get(at).is_some_and(|token| token.sign(sign));
    let is_made = |at: &usize| {
        let at = *at;
        let named = code[at].is("Op") || own && code[at].is("Self");
        if !named || !code.get(at + 2).is_some_and(|token| token.is(name)) {
            return false;
        }
        let open = at + 3;
        if !sign(open, '{') && !sign(open, '(') {
            return false;
        }
        let behind = group_end(code, open);
        // A pattern leaves out fields, or is matched with something.
        let leaves_out = sign(behind - 2, '.') && sign(behind - 3, '.');
        let matched = sign(behind, '=') || sign(behind, '|');
        let guarded = code.get(behind).is_some_and(|token| token.is("if"));
        !leaves_out && !matched && !guarded
    };
    (0..code.len()).any(|at| is_made(&at))
}

/// What a ring is permitted and never asked for, and what it is asked for and not permitted.
pub(crate) fn wrongly_permitted(restrictions: &Source, asks: &[&Source]) -> Vec<String> {
    let permitted = opcodes(restrictions, "CODE");
    let asked: BTreeSet<_> = asks.iter().flat_map(|source| opcodes(source, "new")).collect();
    let of = |names: &BTreeSet<String>, others: &BTreeSet<String>, what: &str| -> Vec<String> {
        names.difference(others).map(|name| format!("opcode::{name} is {what}")).collect()
    };
    let idle = of(&permitted, &asked, "permitted and never asked for");
    let refused = of(&asked, &permitted, "asked for and not permitted");
    [idle, refused].concat()
}

/// The operations of which code names an item, as `opcode::Send::CODE`.
fn opcodes(source: &Source, item: &str) -> BTreeSet<String> {
    let code = &source.code;
    let word = |at: usize| code.get(at).and_then(Token::word);
    let named = (0..code.len()).filter(|at| word(*at) == Some("opcode"));
    let with_item = named.filter(|at| word(at + 4) == Some(item));
    let names = with_item.filter_map(|at| word(at + 2));
    // One that goes on is the same operation with a flag.
    names.map(|name| name.trim_end_matches("Multi").to_owned()).collect()
}
