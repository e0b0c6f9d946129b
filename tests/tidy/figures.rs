//! Fields of `Stats` that something counts, fields of `Options` that something reads.

use super::source::{Kind, Source, Token, group_end};

/// A field of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) owner: String,
    pub(crate) name: String,
    /// Words of the field's type.
    pub(crate) kind: Vec<String>,
    pub(crate) path: String,
    pub(crate) line: usize,
}

/// Methods that change a figure.
const COUNTING: &[&str] = &["add", "record", "set", "raise", "push", "merge"];

/// The fields of every public structure whose name ends so.
pub(crate) fn fields(sources: &[Source], suffix: &str) -> Vec<Field> {
    let mut found = Vec::new();
    for source in sources {
        let code = &source.code;
        for at in 0..code.len() {
            let Some(name) = code.get(at + 1).and_then(Token::word) else { continue };
            if code[at].is("struct") && name.ends_with(suffix) && is_public(code, at) {
                found.extend(fields_of(source, name, at + 2));
            }
        }
    }
    found
}

fn is_public(code: &[Token], at: usize) -> bool {
    at > 0 && (code[at - 1].is("pub") || code[at - 1].sign(')'))
}

fn fields_of(source: &Source, owner: &str, from: usize) -> Vec<Field> {
    let code = &source.code;
    let mut at = from;
    while at < code.len() && !code[at].sign('{') {
        if code[at].sign(';') || code[at].sign('(') {
            return Vec::new();
        }
        at += 1;
    }
    let end = group_end(code, at) - 1;
    let mut found = Vec::new();
    at += 1;
    while at < end {
        // Attributes and visibility stand before the name.
        while code[at].sign('#') {
            at = group_end(code, at + 1);
        }
        if code[at].is("pub") {
            at += 1;
            if code[at].sign('(') {
                at = group_end(code, at);
            }
        }
        let (name, line) = (code[at].word().unwrap_or_default().to_owned(), code[at].line);
        at += 1;
        let mut kind = Vec::new();
        let mut angles = 0i32;
        while at < end && !(code[at].sign(',') && angles == 0) {
            match &code[at].kind {
                Kind::Word(word) => kind.push(word.clone()),
                Kind::Sign('<') => angles += 1,
                Kind::Sign('>') => angles -= 1,
                Kind::Sign('(' | '[' | '{') => {
                    let close = group_end(code, at);
                    kind.extend(code[at..close].iter().filter_map(Token::word).map(str::to_owned));
                    at = close - 1;
                }
                _ => {}
            }
            at += 1;
        }
        at += 1;
        let (owner, path) = (owner.to_owned(), source.path.clone());
        found.push(Field { owner, name, kind, path, line });
    }
    found
}

/// Types of figures.
const FIGURES: &[&str] = &["Counter", "Gauge", "Histogram"];

/// Figures that stand where the catalogue does not look for them: in a structure that is not a
/// `Stats`, in another file than `stats.rs`, or in no structure at all.
pub(crate) fn homeless(sources: &[Source]) -> Vec<String> {
    let is_figure = |words: &[String]| words.iter().any(|word| FIGURES.contains(&&**word));
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| room_of(&source.path) != "base") {
        let code = &source.code;
        let in_stats = source.path.ends_with("/stats.rs");
        for at in 0..code.len() {
            let name = code.get(at + 1).and_then(Token::word).unwrap_or_default();
            let at_home = in_stats && name.ends_with("Stats");
            if code[at].is("struct") && !at_home {
                let lost = fields_of(source, name, at + 2).into_iter();
                found.extend(lost.filter(|field| is_figure(&field.kind)).map(|field| {
                    let Field { owner, name, path, line, .. } = field;
                    format!("src/{path}:{line}: the catalogue does not know {owner}.{name}")
                }));
            }
            // `static TURNS: Counter`, also in `thread_local!`; a lifetime is no word.
            let kind = code.get(at + 3).and_then(Token::word).unwrap_or_default();
            if code[at].is("static") && FIGURES.contains(&kind) {
                let (path, line) = (&source.path, code[at].line);
                found.push(format!("src/{path}:{line}: the catalogue does not know {name}"));
            }
        }
    }
    found
}

/// Fields of `Stats` structures that nothing adds to. Where structures have fields of one name,
/// there have to be as many places that count.
pub(crate) fn uncounted(sources: &[Source]) -> Vec<String> {
    let all = fields(sources, "Stats");
    let namesakes = |name: &str| all.iter().filter(|field| field.name == name).count();
    all.iter()
        // A part that is itself such a structure is looked at on its own.
        .filter(|field| !field.kind.iter().any(|word| word.ends_with("Stats")))
        .filter(|field| {
            let places: usize = sources.iter().map(|source| counts(source, &field.name)).sum();
            places < namesakes(&field.name)
        })
        .map(|field| {
            let Field { owner, name, path, line, .. } = field;
            format!("src/{path}:{line}: nothing counts {owner}.{name}")
        })
        .collect()
}

/// How often code assigns or adds to a field of this name, directly, by the method that gives it
/// out, or by a reference that is taken to add to it.
fn counts(source: &Source, name: &str) -> usize {
    let code = &source.code;
    // The rooms that tell figures take references too, to read them.
    let tells = matches!(room_of(&source.path), "telemetry" | "server");
    let is_place = |at: &usize| {
        let at = *at;
        if !code[at].is(name) || !code[at - 1].sign('.') {
            return false;
        }
        let mut next = at + 1;
        while code.get(next).is_some_and(|token| token.sign('[') || token.sign('(')) {
            next = group_end(code, next);
        }
        let sign =
            |ahead: usize, sign: char| code.get(next + ahead).is_some_and(|token| token.sign(sign));
        let assigned = sign(0, '=') && !sign(1, '=');
        let added = sign(0, '+') && sign(1, '=');
        let method = sign(0, '.')
            && code.get(next + 1).and_then(Token::word).is_some_and(|w| COUNTING.contains(&w));
        assigned || added || method || (!tells && lent(code, at))
    };
    (1..code.len()).filter(is_place).count()
}

/// Whether `&` stands before the path of fields that ends here by `stats.name`.
fn lent(code: &[Token], at: usize) -> bool {
    if at < 2 || !code[at - 2].is("stats") {
        return false;
    }
    let path = code[..at].iter().rev();
    let mut before = path.skip_while(|token| token.word().is_some() || token.sign('.'));
    before.next().is_some_and(|token| token.sign('&'))
}

/// Fields of `Options` structures that nothing reads but their own methods and the rooms that fill
/// them in.
pub(crate) fn unread(sources: &[Source]) -> Vec<String> {
    fields(sources, "Options")
        .into_iter()
        .filter(|field| !matches!(room_of(&field.path), "config" | "cli"))
        .filter(|field| {
            !sources.iter().any(|source| {
                !matches!(room_of(&source.path), "config" | "cli")
                    && reads(&without_own_methods(&source.code, &field.owner), field)
            })
        })
        .map(|field| {
            let Field { owner, name, path, line, .. } = field;
            format!("src/{path}:{line}: nothing reads {owner}.{name}")
        })
        .collect()
}

/// The code without the methods of a structure, its check and its defaults above all.
fn without_own_methods(code: &[Token], owner: &str) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let header = code[at..].iter().take_while(|token| !token.sign('{') && !token.sign(';'));
        if code[at].is("impl") && header.clone().any(|token| token.is(owner)) {
            at = group_end(code, at + header.count());
        } else {
            kept.push(code[at].clone());
            at += 1;
        }
    }
    kept
}

/// Numbers that stand in the defaults of options: they belong to `limits`, with their unit and
/// their reason.
pub(crate) fn bare_defaults(source: &Source) -> Vec<String> {
    let code = &source.code;
    let begins = |at: &usize| {
        let words = ["impl", "Default", "for"];
        words
            .iter()
            .enumerate()
            .all(|(ahead, word)| code.get(at + ahead).is_some_and(|token| token.is(word)))
    };
    let mut found = Vec::new();
    for at in (0..code.len()).filter(begins) {
        let Some(open) = (at..code.len()).find(|at| code[*at].sign('{')) else { continue };
        let block = &code[open..group_end(code, open)];
        let numbers = block.iter().filter(|token| token.kind == Kind::Number);
        found.extend(numbers.map(|token| {
            format!("src/{}:{}: a default without a reason", source.path, token.line)
        }));
    }
    found
}

fn room_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

/// Whether code reads a field of this name, or takes the structure apart by a pattern with it.
fn reads(code: &[Token], field: &Field) -> bool {
    let by_dot = (1..code.len()).any(|at| {
        let assigned = code.get(at + 1).is_some_and(|token| token.sign('='))
            // `==` compares, and `=>` ends the guard of an arm.
            && !code.get(at + 2).is_some_and(|token| token.sign('=') || token.sign('>'));
        code[at].is(&field.name) && code[at - 1].sign('.') && !assigned
    });
    by_dot
        || (1..code.len()).any(|at| {
            code[at].sign('{')
                && code[at - 1].is(&field.owner)
                && code.get(group_end(code, at)).is_some_and(|token| token.sign('='))
                && code[at..group_end(code, at)].iter().any(|token| token.is(&field.name))
        })
}
