//! The order of the house, held by machine: layers, doors to the kernel, unsafe code, leftovers,
//! sizes, and figures and options that nothing uses.
//!
//! Each rule has a test over the tree and a test over a small bad example, so that the rule can
//! be seen to fail.

#[path = "tidy/figures.rs"]
mod figures;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/operations.rs"]
mod operations;
#[path = "tidy/paths.rs"]
mod paths;
mod quarantine;
#[allow(unreachable_pub)] // other test programs pass it on
#[path = "common/skip.rs"]
mod skip;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use source::{Kind, Source, Token, exempt_test_files, is_root, read_tree};

/// The only files in which `unsafe` may stand, below `src`. Each has its reasons at each block.
const UNSAFE_FILES: &[&str] = &[
    "ring/buffer.rs",
    "ring/handle.rs",
    "ring/transfer_queue.rs",
    "ring/uring.rs",
    "sys/inherited.rs",
    "sys/lock.rs",
    "sys/mapping.rs",
    "sys/probe.rs",
    "sys/quarantine.rs",
    "sys/residency.rs",
    "sys/signal.rs",
    "techniques/posix_aio/control.rs",
    "techniques/posix_aio/signal.rs",
    "techniques/residency.rs",
];

/// The same outside of `src`: tests do what a program that was taken over would do, or one that has
/// a bug.
const UNSAFE_TESTS: &[&str] = &[
    "tests/cold_disks/pinned.rs",
    "tests/confined.rs",
    "tests/freed_memory.rs",
    "tests/techniques.rs",
];

/// Lines of a file before its tests. STYLE asks for about 400; this is where it has to be split.
const LINES_MAX: usize = 450;

/// Columns of a line, in characters.
const COLUMNS_MAX: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tree() -> Vec<Source> {
    read_tree(&root().join("src"))
}

/// What else is written in Rust: tests, fuzz targets, the load test.
fn others() -> Vec<Source> {
    let trees = ["tests", "loadtest/src"].into_iter();
    let sources = trees.flat_map(|directory| {
        let sources = read_tree(&root().join(directory)).into_iter();
        sources.map(move |mut one| {
            one.path = format!("{directory}/{}", one.path);
            one
        })
    });
    sources.collect()
}

/// Fails with every finding, one a line.
fn nothing(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

// --- layers ------------------------------------------------------------------------------------

#[test]
fn imports_follow_the_table_of_layers() {
    let found = tree().iter().flat_map(layers::wrong_imports).collect();
    nothing("an import is not an edge of the table of rooms", found);
}

#[test]
fn the_table_of_layers_has_no_circle() {
    // Lowest first: a room may import only what stands above it in the table.
    for (index, room) in layers::ROOMS.iter().enumerate() {
        let below: Vec<&str> = layers::ROOMS[..index].iter().map(|room| room.name).collect();
        let of = room.only.as_ref().map_or(&[][..], |only| only.of);
        for target in room.may.iter().chain(of) {
            assert!(below.contains(target), "`{}` imports `{target}` from above", room.name);
        }
    }
}

fn imports(path: &str, text: &str) -> Vec<String> {
    layers::wrong_imports(&Source::new(path, text))
}

#[test]
fn an_import_that_points_up_is_seen_in_every_form() {
    for text in [
        "use crate::server;",
        "use crate::server::Worker;",
        "use crate::{base::Slab, server::Worker};",
        "use crate::{self as root, base::{Slab, Key}, server::{Worker as W, Other}};",
        "use super::super::server::Worker;",
        "use super::{super::server::Worker, other};",
        "use self::super::super::server::Worker;",
        "fn work() { use crate::server::Worker; }",
        "fn work() { crate::server::start(1) }",
        "fn work(on: &crate::server::Worker<'_>) {}",
        "fn work() -> u32 { super::super::server::LIMIT as u32 }",
        "mod inner { use super::super::super::server::Worker; }",
        "macro_rules! make { () => { $crate::server::Worker } }",
        "use crate::*;",
        "use crate::nowhere::Thing;",
        "use super::super::super::server::Worker;",
        "#[cfg(not(test))] use crate::server::Worker;",
        "pub(in crate::server) fn work() {}",
    ] {
        assert!(!imports("http/range.rs", text).is_empty(), "not seen: {text}");
    }
    assert!(!imports("telemetry/mod.rs", "use crate::ring::Reactor;").is_empty());
    assert!(!imports("config/mod.rs", "use crate::engines::{Options, Engine};").is_empty());
    assert!(!imports("attic/mod.rs", "").is_empty(), "a room without a row");
    assert!(!imports("main.rs", "use pitcrew::attic::Thing;").is_empty());
}

#[test]
fn an_import_that_the_table_allows_is_let_through() {
    for text in [
        "use crate::base::{Key, Slab};",
        "use crate::{base::{Slab, Key as K}, limits};",
        "use super::Status; use super::super::limits::HEAD;",
        "use crate::http::Status;",
        "// use crate::server::Worker;\n/* crate::server */ /// crate::server\nfn work() {}",
        "const WORDS: &str = \"use crate::server::Worker;\";",
        "const RAW: &str = r#\"a \" crate::server \"#; const BYTE: u8 = b'\"';",
        "#[cfg(test)] mod tests { use crate::server::Worker; }",
        "#[cfg(test)] use crate::server::Worker;",
        "struct S { #[cfg(test)] seen: T<crate::server::A, u8>, } impl S { fn f() {} }",
        "#[cfg(test)] pub(crate) const fn helped() { crate::server::start() }",
        "mod inner { use super::super::Status; mod deeper { use super::super::super::Status; } }",
        "pub(crate) fn work() {}",
        "fn quote(c: char) -> bool { c == '\\'' || c == '{' } fn life<'a>(x: &'a str) {}",
    ] {
        assert_eq!(imports("http/range.rs", text), Vec::<String>::new(), "{text}");
    }
    let stats = "use crate::ring::{self, Stats}; use crate::cache::stats::Part;";
    assert_eq!(imports("telemetry/mod.rs", "use crate::ring::RingStats;"), Vec::<String>::new());
    assert_eq!(imports("telemetry/mod.rs", stats).len(), 1, "only the bare room is refused");
    assert_eq!(imports("main.rs", "fn main() { pitcrew::cli::run() }"), Vec::<String>::new());
}

#[test]
fn files_that_only_tests_use_are_exempt() {
    let mut sources = vec![
        Source::new("http/mod.rs", "#[cfg(test)]\nmod helped;\nmod plain;"),
        Source::new("http/helped.rs", "use crate::server::Worker;"),
        Source::new("http/plain.rs", "use crate::server::Worker;"),
    ];
    exempt_test_files(&mut sources);
    assert!(layers::wrong_imports(&sources[1]).is_empty());
    assert!(!layers::wrong_imports(&sources[2]).is_empty());
}

// --- doors to the kernel -----------------------------------------------------------------------

#[test]
fn only_named_rooms_call_the_kernel() {
    let found = tree().iter().flat_map(layers::wrong_kernel_calls).collect();
    nothing("a room above the ring calls the kernel", found);
}

#[test]
fn a_call_to_the_kernel_is_seen_in_every_form() {
    let calls = |path: &str, text: &str| layers::wrong_kernel_calls(&Source::new(path, text));
    for text in [
        "use rustix::fs::openat;",
        "use std::fs;",
        "use std::{fs, io};",
        "use std::{io, fs::File as F};",
        "fn read() { let _ = std::fs::read(\"x\"); }",
        "fn read() { rustix::io::read(fd, &mut bytes); }",
        "use std::os::unix::fs::FileExt;",
        "use std::{net::{SocketAddr, TcpStream}};",
        "use io_uring::IoUring;",
    ] {
        assert!(!calls("connection/body.rs", text).is_empty(), "not seen: {text}");
        assert!(calls("sys/files.rs", text).is_empty(), "{text}");
    }
    let plain = "use rustix::io::Errno; use std::net::SocketAddr; use std::os::fd::OwnedFd;
        fn fs() { self.fs.read() }";
    assert!(calls("connection/body.rs", plain).is_empty());
}

#[test]
fn only_named_rooms_start_threads() {
    nothing(
        "a thread is started outside of server, ring, access_log and lab",
        tree().iter().flat_map(layers::wrong_threads).collect(),
    );
}

#[test]
fn a_started_thread_is_seen_in_every_form() {
    let threads = |path: &str, text: &str| layers::wrong_threads(&Source::new(path, text));
    for text in [
        "fn start() { std::thread::spawn(work); }",
        "use std::thread; fn start() { thread::spawn(work); }",
        "use std::thread::{self, Builder};",
        "use std::{thread::spawn};",
        "fn start() { thread::Builder::new(); thread::scope(|scope| ()); }",
    ] {
        assert!(!threads("cache/mod.rs", text).is_empty(), "not seen: {text}");
        assert!(threads("server/workers.rs", text).is_empty(), "{text}");
    }
    assert!(threads("cache/mod.rs", "use std::thread; fn f() { thread::sleep(x) }").is_empty());
}

// --- unsafe code and leftovers -----------------------------------------------------------------

#[test]
fn unsafe_stands_in_the_named_files_only() {
    let in_src = tree().iter().flat_map(|one| unsafe_beside(UNSAFE_FILES, one)).collect();
    nothing("unsafe code outside of the named files of src", in_src);
    let others = others();
    assert!(others.len() > 100, "tests and load test are not where they were");
    let elsewhere = others.iter().flat_map(|one| unsafe_beside(UNSAFE_TESTS, one)).collect();
    nothing("unsafe code outside of the named tests", elsewhere);
}

#[test]
fn every_file_named_for_unsafe_has_some() {
    let idle = |names: &[&str], sources: &[Source]| -> Vec<String> {
        let has_some = |name: &&&str| {
            sources.iter().any(|one| one.path == **name && !unsafe_beside(&[], one).is_empty())
        };
        names.iter().filter(|name| !has_some(name)).map(ToString::to_string).collect()
    };
    nothing("a file is on the list of unsafe ones for nothing", idle(UNSAFE_FILES, &tree()));
    nothing("a test is on the list of unsafe ones for nothing", idle(UNSAFE_TESTS, &others()));
}

/// The compiler asks for them where the lints of this workspace hold, as they do not in the fuzz
/// targets.
#[test]
fn every_unsafe_block_of_a_test_has_its_reason() {
    nothing("an unsafe block without its reason", others().iter().flat_map(unreasoned).collect());
}

/// The places of unsafe code in a file, unless it is one of those named.
fn unsafe_beside(named: &[&str], source: &Source) -> Vec<String> {
    if named.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let tokens = source.all.iter().filter(|token| token.is("unsafe"));
    tokens.map(|token| format!("{}:{}", source.path, token.line)).collect()
}

/// The places of unsafe code without a comment right above that says why it is right.
fn unreasoned(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().map(str::trim).collect();
    let has_reason = |line: usize| {
        let mut above = lines[..line - 1].iter().rev().take_while(|line| line.starts_with("//"));
        above.any(|line| line.starts_with("// SAFETY: "))
    };
    let tokens = source.all.iter().filter(|token| token.is("unsafe") && !has_reason(token.line));
    tokens.map(|token| format!("{}:{}", source.path, token.line)).collect()
}

#[test]
fn unsafe_is_seen_in_code_and_not_in_words() {
    let found = |text: &str| unsafe_beside(&["a.rs"], &Source::new("http/mod.rs", text)).len();
    assert!(unsafe_beside(&["a.rs"], &Source::new("a.rs", "unsafe {}")).is_empty());
    assert_eq!(found("fn f() { unsafe { g() } }\nunsafe impl Send for T {}"), 2);
    assert_eq!(found("#[cfg(test)] mod tests { fn f() { unsafe { g() } } }"), 1);
    assert_eq!(
        found("// unsafe\n/// unsafe\nconst A: &str = \"unsafe\"; const unsafe_b: u8 = 1;"),
        0
    );
}

#[test]
fn an_unsafe_block_without_its_reason_is_seen() {
    let found = |text: &str| unreasoned(&Source::new("tests/a.rs", text));
    assert!(found("// SAFETY: it is\n// long.\nlet x = unsafe { f() };").is_empty());
    let without = "// SAFETY: of another\nlet y = 1;\n// Plain.\nlet x = unsafe { f() };";
    assert_eq!(found(without), ["tests/a.rs:4"]);
    assert_eq!(found("unsafe { f() }"), ["tests/a.rs:1"]);
}

/// Test programs without the allocator that finds writes to freed memory.
fn unwatched(programs: &[(String, String)]) -> Vec<String> {
    let has_it =
        |text: &str| text.lines().any(|line| matches!(line, "mod quarantine;" | "mod common;"));
    let without = programs.iter().filter(|(_, text)| !has_it(text));
    without.map(|(path, _)| format!("tests/{path}")).collect()
}

#[test]
fn every_program_looks_for_writes_to_freed_memory() {
    let is_program = |path: &str| match path.split_once('/') {
        None => path.ends_with(".rs"),
        Some((_, file)) => file == "main.rs",
    };
    let sources = read_tree(&root().join("tests")).into_iter();
    let programs = sources.filter(|one| is_program(&one.path)).map(|one| (one.path, one.text));
    let programs: Vec<_> = programs.collect();
    assert!(programs.len() > 30, "the programs are not where they were");
    nothing("a test program without `mod quarantine` or `mod common`", unwatched(&programs));
    let allocator = "#[global_allocator]\nstatic ALLOCATOR: ";
    for (path, condition) in [
        ("src/main.rs", "#[cfg(debug_assertions)]\n"),
        ("src/lib.rs", "#[cfg(all(test, debug_assertions, not(miri)))]\n"),
        ("tests/quarantine/mod.rs", "#[cfg(debug_assertions)]\n"),
        ("loadtest/src/main.rs", "#[cfg(all(test, debug_assertions))]\n"),
    ] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        assert!(text.contains(&format!("{condition}{allocator}")), "{path} has no allocator");
    }
    let common = std::fs::read_to_string(root().join("tests/common/mod.rs")).unwrap();
    assert!(common.contains("\nmod quarantine;\n"), "what all tests have is without it");
}

#[test]
fn a_program_that_does_not_look_is_seen() {
    let program = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let programs = [
        program("one.rs", "mod common;\n"),
        program("two.rs", "// mod quarantine;\nmod other;\n"),
        program("three/main.rs", "#[path = \"../quarantine/mod.rs\"]\nmod quarantine;\n"),
    ];
    assert_eq!(unwatched(&programs), ["tests/two.rs"]);
}

#[test]
fn no_unwrap_and_no_leftovers() {
    let found = tree().iter().flat_map(leftovers).collect();
    nothing("unwrap outside of tests, or something unfinished", found);
}

fn leftovers(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = |line: usize, what: &str| {
        found.push(format!("src/{}:{line}: {what}", source.path));
    };
    for window in source.code.windows(3) {
        let [before, word, after] = window else { continue };
        if before.sign('.') && word.is("unwrap") && after.sign('(') {
            seen(word.line, ".unwrap()");
        }
    }
    for pair in source.all.windows(2) {
        if let Some(name @ ("todo" | "unimplemented" | "dbg")) = pair[0].word()
            && pair[1].sign('!')
        {
            seen(pair[0].line, &format!("{name}!"));
        }
    }
    for (index, line) in source.text.lines().enumerate() {
        if ["FIXME", "XXX:", "TODO"].iter().any(|mark| line.contains(mark)) {
            seen(index + 1, "a note that something is unfinished");
        }
    }
    found
}

#[test]
fn unwrap_and_leftovers_are_seen() {
    let found = |text: &str| leftovers(&Source::new("http/mod.rs", text)).len();
    assert_eq!(found("fn f() { g().unwrap(); h()\n  .unwrap() }"), 2);
    assert_eq!(found("fn f() { todo!() } fn g() { unimplemented!(\"x\"); dbg!(x); }"), 3);
    assert_eq!(found("// FIXME later\n"), 1);
    assert_eq!(found("#[cfg(test)] mod tests { fn f() { g().unwrap() } }"), 0);
    assert_eq!(found("/// g().unwrap()\nfn f() { g().unwrap_or(1); }"), 0);
}

// --- files -------------------------------------------------------------------------------------

#[test]
fn every_file_belongs_to_the_crate() {
    nothing("no mod declaration leads to a file", unreached(&tree()));
}

/// Files that no chain of `mod name;` from a root leads to.
fn unreached(sources: &[Source]) -> Vec<String> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&Source> = sources.iter().filter(|source| is_root(&source.path)).collect();
    while let Some(source) = next.pop() {
        if !reached.insert(&source.path) {
            continue;
        }
        for module in declared(source) {
            let (file, directory) = (format!("{module}.rs"), format!("{module}/mod.rs"));
            next.extend(sources.iter().filter(|one| one.path == file || one.path == directory));
        }
    }
    let files = sources.iter().map(|source| source.path.as_str());
    files.filter(|path| !reached.contains(path)).map(|path| format!("src/{path}")).collect()
}

/// The modules that a file declares, as paths below `src` without their ending.
fn declared(source: &Source) -> Vec<String> {
    let mut module = source.module();
    let mut closes = Vec::new();
    let mut depth = 0;
    let mut found = Vec::new();
    for (at, token) in source.all.iter().enumerate() {
        match token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                if closes.last() == Some(&depth) {
                    closes.pop();
                    module.pop();
                }
                depth -= 1;
            }
            Kind::Word(_) if token.is("mod") => {
                let Some(name) = source.all.get(at + 1).and_then(Token::word) else { continue };
                match source.all.get(at + 2) {
                    Some(end) if end.sign(';') => {
                        let mut path = module.clone();
                        path.push(name.to_owned());
                        found.push(path.join("/"));
                    }
                    Some(open) if open.sign('{') => {
                        module.push(name.to_owned());
                        closes.push(depth + 1);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_forgotten_file_is_seen() {
    let sources = [
        Source::new("lib.rs", "pub mod http; mod one { mod two; }"),
        Source::new("main.rs", ""),
        Source::new("http/mod.rs", "mod range; #[cfg(test)] mod proofs; // mod stray;"),
        Source::new("http/range.rs", ""),
        Source::new("http/proofs.rs", ""),
        Source::new("http/stray.rs", ""),
        Source::new("one/two.rs", ""),
        Source::new("one/three.rs", ""),
    ];
    assert_eq!(unreached(&sources), ["src/http/stray.rs", "src/one/three.rs"]);
}

#[test]
fn files_and_lines_keep_their_size() {
    let mut found: Vec<String> = tree().iter().filter_map(too_long).collect();
    for directory in ["src", "tests", "loadtest/src"] {
        for source in read_tree(&root().join(directory)) {
            found.extend(wide_lines(Path::new(directory), &source));
        }
    }
    nothing("a file or a line is too long", found);
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.lines_before_tests();
    (lines > LINES_MAX && !source.is_for_tests()).then(|| {
        format!(
            "src/{}: {lines} lines before its tests, more than {LINES_MAX}: split it by \
            meaning",
            source.path
        )
    })
}

fn wide_lines(directory: &Path, source: &Source) -> Vec<String> {
    let place = directory.join(&source.path);
    let lines = source.text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.chars().count()))
        .filter(|(_, columns)| *columns > COLUMNS_MAX)
        .map(|(line, columns)| format!("{}:{line}: {columns} columns", place.display()))
        .collect()
}

#[test]
fn long_files_and_wide_lines_are_seen() {
    let long = "fn f() {}\n".repeat(LINES_MAX + 1);
    assert!(too_long(&Source::new("http/mod.rs", &long)).is_some());
    let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(too_long(&Source::new("http/mod.rs", &tests)).is_none());
    let helper = format!("#[cfg(test)]\nfn helper() {{}}\n{long}");
    assert!(too_long(&Source::new("http/mod.rs", &helper)).is_some());
    let wide = format!("{}\n{}\n", "x".repeat(COLUMNS_MAX), "ä".repeat(COLUMNS_MAX + 1));
    let source = Source::new("http/mod.rs", &wide);
    assert_eq!(wide_lines(Path::new("src"), &source).len(), 1);
}

// --- figures and options -----------------------------------------------------------------------

#[test]
fn every_figure_is_counted() {
    nothing("a figure that nothing counts", figures::uncounted(&tree()));
}

#[test]
fn every_figure_is_where_the_catalogue_looks() {
    nothing("a figure that is counted and not in the catalogue", figures::homeless(&tree()));
}

#[test]
fn a_figure_outside_of_the_catalogue_is_seen() {
    let sources = [
        Source::new("ring/stats.rs", "pub struct Stats { pub turns: Counter }"),
        Source::new("ring/stats.rs", "struct Desk { laps: Vec<Gauge> }"),
        Source::new("ring/turn.rs", "pub struct TurnStats { pub laps: [Histogram; 2] }"),
        Source::new("ring/other.rs", "static LAPS: Counter = x; struct Lap { turns: u64 }"),
        Source::new("base/counter.rs", "pub struct Pair { one: Counter }"),
    ];
    assert_eq!(
        figures::homeless(&sources),
        [
            "src/ring/stats.rs:1: the catalogue does not know Desk.laps",
            "src/ring/turn.rs:1: the catalogue does not know TurnStats.laps",
            "src/ring/other.rs:1: the catalogue does not know LAPS",
        ]
    );
}

#[test]
fn a_figure_that_only_a_namesake_counts_is_seen() {
    let sources = [
        Source::new("ring/stats.rs", "pub struct Stats { pub bytes: Counter }"),
        Source::new("cache/stats.rs", "pub struct Stats { pub bytes: Counter }"),
        Source::new("ring/turn.rs", "fn f() { s.bytes.add(1) }"),
    ];
    assert_eq!(figures::uncounted(&sources).len(), 2);
}

#[test]
fn every_option_is_read() {
    nothing("an option that nothing reads", figures::unread(&tree()));
}

#[test]
fn a_figure_that_nothing_counts_is_seen() {
    let stats = "
        pub struct Stats {
            /// Said.
            #[doc(hidden)]
            pub turns: Counter,
            pub(crate) peaks: [Counter; 4],
            pub laps: Histogram<u64, 3>,
            pub idle: Counter,
            pub parts: PartStats,
        }
        pub struct PartStats { pub best: Gauge }";
    let code = "fn f(s: &Stats) {
        s.turns.add(1); s.peaks(1)[2].raise(3); s.laps += 1;
        let lent = if x { &self.stats.best } else { y };
        let i = s.idle.read(); if s.idle == 2 {} let x = Stats { idle: 3 };
    }";
    let told = "fn f(stats: &Stats) { tell(&stats.idle); }";
    let sources = [
        Source::new("ring/stats.rs", stats),
        Source::new("ring/turn.rs", code),
        Source::new("telemetry/mod.rs", told),
    ];
    let found = figures::uncounted(&sources);
    assert_eq!(found, ["src/ring/stats.rs:8: nothing counts Stats.idle"]);
}

#[test]
fn an_option_that_nothing_reads_is_seen() {
    let options = "#[derive(Debug)]
        pub struct Options {
            pub depth: u32,
            pub unused: u32,
            pub taken: Vec<(u8, u8)>,
            pub guard: bool,
        }
        impl Default for Options { fn default() -> Self { Self { unused: x.unused } } }
        impl Options { fn check(&self) -> bool { self.unused == 1 } }";
    let sources = [
        Source::new("ring/options.rs", options),
        Source::new("config/mod.rs", "fn f(o: &Options) { o.unused = o.unused; }"),
        Source::new("ring/turn.rs", "fn f(o: Options) { let Options { taken, .. } = o; o.depth }"),
        Source::new("ring/arm.rs", "fn f(o: Options) { match x { _ if o.guard => 1, _ => 2 } }"),
        Source::new("ring/other.rs", "#[cfg(test)] mod tests { fn f() { o.unused } }"),
    ];
    let found = figures::unread(&sources);
    assert_eq!(found, ["src/ring/options.rs:4: nothing reads Options.unused"]);
}

/// The files with the options that an operator sets.
const WITH_DEFAULTS: &[&str] = &["access_log/options.rs", "server/options.rs"];

#[test]
fn every_default_has_its_reason_in_limits() {
    let sources: Vec<_> =
        tree().into_iter().filter(|one| WITH_DEFAULTS.contains(&one.path.as_str())).collect();
    assert_eq!(sources.len(), WITH_DEFAULTS.len(), "the options are not where they were");
    let found = sources.iter().flat_map(figures::bare_defaults).collect();
    nothing("a default is a bare number", found);
}

#[test]
fn a_bare_default_is_seen() {
    let found = |text: &str| figures::bare_defaults(&Source::new("server/options.rs", text)).len();
    let with = |value: &str| {
        found(&format!("impl Default for Options {{ fn default() -> Self {{ {value} }} }}"))
    };
    for (value, count) in [
        ("Self { connections: 16_384, rate: 0 }", 2),
        ("Self { memory: 64 << 20 }", 2),
        ("Self { time: Duration::from_secs(10) }", 1),
        ("Self { time: HEAD_TIMEOUT, path: \"/1\".into(), on: true, at: None }", 0),
    ] {
        assert_eq!(with(value), count, "{value}");
    }
    assert_eq!(found("impl Options { fn f() { 1 } } impl Default for Other { fn f() { 2 } }"), 1);
}

// --- operations --------------------------------------------------------------------------------

#[test]
fn every_operation_is_started_by_somebody() {
    nothing("an operation of the ring is idle", operations::unstarted(&tree()));
}

#[test]
fn a_ring_is_permitted_what_it_is_asked_for() {
    let sources = tree();
    let file = |path: &str| sources.iter().find(|one| one.path == path).expect(path);
    let asks = [file("ring/uring.rs"), file("ring/entry.rs")];
    let found = operations::wrongly_permitted(file("ring/restrictions.rs"), &asks);
    nothing("the restrictions of a ring are not what it does", found);
}

#[test]
fn an_idle_operation_and_a_wrong_permission_are_seen() {
    let op = "pub enum Op {
            /// Said.
            Send { socket: Socket, more: bool },
            SendZc { #[doc(hidden)] socket: Socket },
            Stat { file: File },
            Job(Job),
        }
        impl Op { fn stat(file: File) -> Self { Self::Stat { file } } }";
    let code = "fn f(op: Op) {
            start(Op::Send { socket, more: 0..1 == x });
            match op { Op::SendZc { socket } => 1, Op::SendZc { .. } | Op::Job(_) => 2, _ => 3 }
            if let Op::Job(job) = op {}
            let _ = matches!(done.op, Some(Op::SendZc { .. }));
        }";
    let kernel = "fn f() { g(Op::SendZc { socket }, Op::Job(job)) }";
    let sources = [
        Source::new("ring/op.rs", op),
        Source::new("connection/sending.rs", code),
        Source::new("ring/simulated/state.rs", kernel),
        Source::new("ring/other.rs", "#[cfg(test)] mod tests { fn f() { g(Op::Job(job)) } }"),
    ];
    let found = operations::unstarted(&sources);
    assert_eq!(found, ["nobody starts Op::SendZc", "nobody starts Op::Job"]);
    let permits = Source::new("ring/restrictions.rs", "f(opcode::Send::CODE, opcode::Nop::CODE)");
    let asks = Source::new("ring/uring.rs", "f(opcode::Send::new(fd), opcode::AcceptMulti::new())");
    assert_eq!(
        operations::wrongly_permitted(&permits, &[&asks]),
        [
            "opcode::Nop is permitted and never asked for",
            "opcode::Accept is asked for and not permitted",
        ]
    );
}

// --- bad times ---------------------------------------------------------------------------------

/// The rows of the table of faults whose last cell is not made of pairs of a file and a test in it.
fn unproven(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let has_test = |file: &str, test: &str| {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines
            .windows(2)
            .any(|two| two[0] == "#[test]" && two[1].starts_with(&format!("fn {test}(")))
    };
    let is_proven = |row: &str| {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let (between, words): (Vec<_>, Vec<_>) =
            cell.split('`').enumerate().partition(|(at, _)| at % 2 == 0);
        let is_list = between.iter().all(|(_, text)| matches!(text.trim(), "" | ","));
        let all = words.chunks(2).all(|pair| match pair {
            [(_, file), (_, test)] => has_test(file, test),
            _ => false,
        });
        is_list && !words.is_empty() && all
    };
    rows.filter(|row| !is_proven(row)).map(str::to_owned).collect()
}

#[test]
fn every_fault_of_the_table_has_its_test() {
    let table = std::fs::read_to_string(root().join("tests/FAULTS.md")).unwrap();
    assert!(table.lines().count() > 30, "the rows are not where they were");
    nothing("a row without its test", unproven(&table));
}

#[test]
fn a_row_without_its_test_is_seen() {
    let head = "| fault | made | must | test |\n| --- | --- | --- | --- |\n";
    let right = "`tests/tidy.rs` `every_fault_of_the_table_has_its_test`";
    let wrong = ["`tests/tidy.rs` `no_such_test`", "`tests/none.rs` `root`", "`tests/tidy.rs`", ""];
    let beside_right = wrong.iter().take(3).map(|wrong| format!("{right}, {wrong}"));
    let in_words = format!("{right} and more");
    for cell in wrong.iter().map(ToString::to_string).chain(beside_right).chain([in_words]) {
        assert_eq!(unproven(&format!("{head}| a | b | c | {cell} |\n")).len(), 1, "{cell}");
    }
    for cell in [right.to_owned(), format!("{right}, {right}")] {
        assert!(unproven(&format!("{head}| a | b | c | {cell} |\n")).is_empty(), "{cell}");
    }
}

/// Bugs that find no place any more, or not one alone, or that no test is to catch. They are
/// planted one after the other, as `tests/mutations/run` does it: a later one finds what those
/// before it have left.
fn misplaced(table: &str) -> Vec<String> {
    let table: toml::Table = table.parse().expect("it is TOML");
    let mutants = table["mutants"].as_array().expect("a list of bugs");
    let mut planted: HashMap<String, String> = HashMap::new();
    let is_wrong = |(number, mutant): &(usize, &toml::Value)| {
        let text = |key: &str| mutant[key].as_str().expect("each key is text");
        let read = |path: &String| std::fs::read_to_string(root().join(path)).unwrap_or_default();
        let file = planted.entry(text("file").to_owned()).or_insert_with_key(read);
        let (from, to) = (text("from"), text("to"));
        let has_place = file.matches(from).count() == 1;
        if has_place {
            *file = file.replace(from, &to.replace("MUTANT", &format!("crate::mutant({number})")));
        }
        let test = mutant["test"].as_array().expect("the words of a command");
        let program = test[0].as_str().expect("each is text");
        let places = [format!("tests/{program}.rs"), format!("tests/{program}/main.rs")];
        !has_place
            || !to.contains("MUTANT")
            || program != "lib" && !places.iter().any(|place| root().join(place).is_file())
    };
    let wrong = mutants.iter().enumerate().filter(is_wrong);
    wrong.map(|(_, mutant)| mutant["bug"].to_string()).collect()
}

#[test]
fn every_planted_bug_has_its_place() {
    let table = std::fs::read_to_string(root().join("tests/mutations/mutants.toml")).unwrap();
    nothing("a bug without its place", misplaced(&table));
}

#[test]
fn a_planted_bug_without_its_place_is_seen() {
    let text = |file: &str, from: &str, to: &str, test: &str| {
        let values =
            format!("file = '{file}'\nfrom = '{from}'\nto = '{to}'\ntest = ['{test}', '']");
        format!("[[mutants]]\nbug = '{to}'\n{values}\n")
    };
    let row =
        |file: &str, from: &str, to: &str, test: &str| misplaced(&text(file, from, to, test)).len();
    let (file, from, to) = ("Cargo.toml", "default-run", "MUTANT");
    assert_eq!(row(file, from, to, "tidy"), 0);
    assert_eq!(row("tests/none.rs", from, to, "tidy"), 1);
    assert_eq!(row(file, "version", to, "tidy"), 1);
    assert_eq!(row(file, from, "a bug", "tidy"), 1);
    assert_eq!(row(file, from, to, "none"), 1);
    let both = |from_later: &str| {
        let first = text(file, from, "MUTANT", "tidy");
        misplaced(&(first + &text(file, from_later, "MUTANT, later", "tidy")))
    };
    assert_eq!(both(from), ["\"MUTANT, later\""], "the first has taken its place");
    assert!(both("rust-version = \"").is_empty());
}
