//! The access log of a schedule: its threads run on the schedule, too, and what they write is held
//! against what the worker has handed on.
//!
//! - each sink has every record once and in order, or a line in its place that says how many are
//!   missing
//! - no line is made up, and a line that is torn is followed by a word of what is missing
//! - a mirrored body has the digest of the file that was sent
//! - there is one record for each answer, or it is counted as dropped

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pitcrew::access_log::options::{Archive, Full, Glob, Mirror, Place, Rotation, Template};
use pitcrew::access_log::simulated::{History, Threads, Troubles};
use pitcrew::access_log::{Log, Options, ledger};
use pitcrew::ring::simulated::{Random, Simulated, World};
use pitcrew::ring::{Reactor, Tap};
use pitcrew::telemetry::Shard;
use serde_json::Value;

use super::requests::Content;

/// Steps of the threads after the worker has ended, at most.
const STEPS_MAX: u64 = 200_000;

/// The threads of the log, and the pipe that they read from.
pub(crate) struct Records {
    pub(crate) threads: Threads,
    pipe: usize,
    raw: u32,
    sinks: Vec<Place>,
}

/// What became of the records of a schedule, so that a suite that tests nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Steps of the threads, and troubles that they met.
    pub(crate) steps: u64,
    pub(crate) troubles: u64,
    /// Records that sinks have, and those of which they say that they miss them.
    pub(crate) written: u64,
    pub(crate) missing: u64,
    /// Lines that are torn, with a word about it behind them.
    pub(crate) torn: u64,
    /// Digests of whole files.
    pub(crate) digests: u64,
}

/// A log with a pipe of this world, and its other side.
pub(crate) fn access_log(
    random: &mut Random,
    world: &World,
    reactor: &mut Reactor<Simulated>,
    shard: &Shard,
) -> (Log, Records) {
    let (raw, pipe) = world.pipe(*random.pick(&[4096, 16_384, 1 << 20]));
    let (writer, reader) = ledger();
    let mirrors = random.chance(500);
    let mut sinks = vec![
        Place::Stdout,
        Place::Path("access.log".into()),
        Place::Path("other.log".into()),
        Place::Program("reader".to_owned()),
    ];
    random.shuffle(&mut sinks);
    sinks.truncate(1 + random.below(3) as usize);
    let options = Arc::new(Options {
        sinks,
        format: Template::parse("json").unwrap(),
        full: *random.pick(Full::ALL),
        wait: Duration::from_millis(*random.pick(&[1, 50, 1000])),
        buffer: *random.pick(&[400, 2000, 65_536]),
        flush: Duration::from_millis(*random.pick(&[0, 10, 100])),
        rotation: Rotation {
            size: *random.pick(&[0, 0, 1000, 5000]),
            every: Duration::from_secs(*random.pick(&[0, 0, 1, 60])),
            archive: *random.pick(Archive::ALL),
            ..Rotation::default()
        },
        mirror: Mirror {
            paths: if mirrors { vec![Glob::new("/**").unwrap()] } else { Vec::new() },
            ..Mirror::default()
        },
        ..Options::default()
    });
    let tap = Tap::from(reactor.take_in(raw));
    let log = Log::new(Arc::clone(&options), tap, writer, Arc::clone(&shard.access_log));
    let (seed, between) = (random.next(), *random.pick(&[4096, 8192, 1 << 20]));
    let stats = &shard.access_log;
    let threads = Threads::new(world, seed, &options, (pipe, reader), between, stats);
    if random.chance(600) {
        threads.set_troubles(Troubles::some(random));
    }
    (log, Records { threads, pipe, raw, sinks: options.sinks.clone() })
}

impl Records {
    /// The worker has ended: its end of the pipe is closed, and the threads come to their end.
    pub(crate) fn finish(&self, world: &World) {
        self.threads.set_troubles(Troubles::NONE);
        world.end_with(self.raw);
        let mut steps = 0;
        while !self.threads.have_ended() {
            if !self.threads.run() {
                world.pass(Duration::from_millis(5));
            }
            steps += 1;
            assert!(steps < STEPS_MAX, "the log comes to no end: {:?}", self.threads);
        }
    }

    /// See the module.
    pub(crate) fn check(&self, world: &World, shard: &Shard, site: &[Content]) -> Tally {
        let stats = &shard.access_log;
        assert_eq!(world.pipe_holds(self.pipe), 0, "the pipe of the worker is empty");
        let mut handed_on = world.written_to_pipe(self.pipe);
        // A line that was torn when the worker gave up was told nobody, and counted as dropped.
        let whole = memchr::memrchr(b'\n', &handed_on).map_or(0, |end| end + 1);
        let tail = String::from_utf8_lossy(&handed_on[whole..]);
        // The word about those that are missing is none of them, and may be what was torn.
        let gave_up = !begins_as(&tail, MISSING);
        handed_on.truncate(whole);
        let handed_on: Vec<_> = lines(&handed_on).map(Line::read).collect();
        let (records, told) = totals(&handed_on);
        let answers: u64 = shard.connections.by_status().map(|(_, count)| count.read()).sum();
        let (made, dropped) = (stats.records.read(), stats.dropped.read());
        let lost_at_end = made - records;
        assert!(answers <= made + dropped && made + dropped - answers == lost_at_end);
        assert!(!gave_up || lost_at_end > 0, "a torn line is one that is lost");
        assert!(told <= dropped && (lost_at_end > 0 || records + told <= answers));
        if dropped == told {
            assert_eq!(records + told, answers, "one record for each answer");
        }
        check_records(&handed_on, shard, dropped > 0);
        let (steps, troubles) = self.threads.counts();
        let mut tally = Tally { steps, troubles, ..Tally::default() };
        for (number, history) in self.threads.histories().iter().enumerate() {
            let has = check_sink(history, &handed_on, site, &mut tally);
            let taken = stats.sink(number);
            assert_eq!(taken.records.read(), has.written, "sink {number} counts what it took");
            assert!(taken.missing.read() >= records - has.written, "and what it misses");
            // The end does not wait for a program that is left alone for long.
            let untold = records + told - has.written - has.missing;
            let may_be = if matches!(self.sinks[number], Place::Program(_)) { records } else { 0 };
            assert!(
                untold <= may_be && untold <= taken.missing.read(),
                "sink {number} does not tell of {untold} records: {}",
                String::from_utf8_lossy(&history.bytes)
            );
        }
        tally
    }
}

/// A line of the log.
#[derive(Debug)]
enum Line<'a> {
    Record { text: &'a str, read: Box<Value> },
    Missing(u64),
    Torn(&'a str),
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Self {
        let text = std::str::from_utf8(line).expect("a log is text");
        let Ok(read) = serde_json::from_str::<Value>(text) else { return Self::Torn(text) };
        match read["missing"].as_u64() {
            Some(count) => Self::Missing(count),
            None => Self::Record { text, read: Box::new(read) },
        }
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Records, and how many are told to be missing.
fn totals(lines: &[Line<'_>]) -> (u64, u64) {
    lines.iter().fold((0, 0), |(records, missing), line| match line {
        Line::Record { .. } => (records + 1, missing),
        Line::Missing(count) => (records, missing + count),
        Line::Torn(text) => panic!("a worker tears no line: {text}"),
    })
}

/// What the worker says of its answers is true of each.
fn check_records(handed_on: &[Line<'_>], shard: &Shard, some_are_missing: bool) {
    let mut by_status: HashMap<u64, u64> = HashMap::new();
    for line in handed_on {
        let Line::Record { read: line, .. } = line else { continue };
        *by_status.entry(line["status"].as_u64().unwrap()).or_default() += 1;
        let of = |name: &str| line[name].as_u64().unwrap();
        assert!(of("body_bytes") <= of("body_owed") && of("body_bytes") <= of("bytes"));
        if line["farewell"] == "complete" {
            assert_eq!(of("body_bytes"), of("body_owed"), "{line}");
        }
        // The record says how much of the body was mirrored.
        let word = line["mirror"].as_str().unwrap_or("");
        if let Some(told) = word.split([':', '-']).nth(2) {
            let mirrored = told.parse::<u64>().unwrap() + 1;
            assert!(mirrored <= of("body_owed"), "{line}");
            let sent = mirrored == of("body_bytes");
            assert_eq!(word.starts_with("complete:"), sent && of("body_owed") == mirrored);
        }
    }
    for (status, count) in shard.connections.by_status() {
        let told = by_status.get(&u64::from(status.code())).copied().unwrap_or(0);
        assert!(told <= count.read() && (some_are_missing || told == count.read()));
    }
}

/// What a sink has.
#[derive(Clone, Copy, Debug, Default)]
struct Has {
    written: u64,
    missing: u64,
}

/// How a line begins that says how many are missing.
const MISSING: &str = "{\"missing\":";

/// Whether a line that is torn is one that says how many are missing. Of a shorter begin nobody
/// knows.
fn is_word_of_missing(text: &str) -> bool {
    text.len() > 2 && begins_as(text, MISSING)
}

/// Whether a text and another one are the same as far as both go.
fn begins_as(text: &str, other: &str) -> bool {
    text.bytes().zip(other.bytes()).all(|(one, other)| one == other)
}

/// A sink has what was handed on, once and in order, and no line is torn without a word about it.
fn check_sink(
    history: &History,
    handed_on: &[Line<'_>],
    site: &[Content],
    tally: &mut Tally,
) -> Has {
    let mut expected = handed_on.iter().filter_map(|line| match line {
        Line::Record { text, .. } => Some(*text),
        _ => None,
    });
    let (mut has, mut torn) = (Has::default(), None);
    let ends = history.breaks.iter().copied().chain([history.bytes.len()]);
    let mut start = 0;
    for end in ends {
        // A line that was begun before a break is not ended behind it.
        for line in lines(&history.bytes[start..end]) {
            let line = Line::read(line);
            // The word about it may be torn as well, and is said again then.
            let is_told = torn.is_none()
                || match &line {
                    Line::Missing(_) => true,
                    Line::Torn(text) => is_word_of_missing(text),
                    Line::Record { .. } => false,
                };
            assert!(is_told, "nothing says that this line is torn: {torn:?}");
            torn = None;
            match line {
                Line::Missing(count) => has.missing += count,
                Line::Record { text, read } => {
                    let (bare, digest) = without_digest(text);
                    assert!(expected.any(|one| one == bare), "made up, or out of order: {text}");
                    tally.digests += u64::from(check_digest(digest, &read, site));
                    has.written += 1;
                }
                Line::Torn(text) => {
                    let begins = ["{\"time\":\"", MISSING];
                    let right = begins.iter().any(|begin| begins_as(text, begin));
                    assert!(right, "no begin of a line: {text}");
                    // The word about one is no other line that is lost.
                    tally.torn += u64::from(torn.is_none() || !is_word_of_missing(text));
                    torn = Some(text.to_owned());
                }
            }
        }
        start = end;
    }
    assert_eq!(torn, None, "nothing says that this line is torn");
    tally.written += has.written;
    tally.missing += has.missing;
    has
}

/// A line without the digest that the log thread puts in, and the digest.
fn without_digest(text: &str) -> (Cow<'_, str>, Option<&str>) {
    const WORD: &str = "blake3=";
    const HEX: usize = 64;
    match text.rfind(WORD) {
        Some(at) if text[..at].ends_with(':') => {
            let end = at + WORD.len() + HEX;
            let bare = format!("{}{}", &text[..at], &text[end..]);
            (bare.into(), Some(&text[at + WORD.len()..end]))
        }
        _ => (text.into(), None),
    }
}

/// The digest of a whole file is that of one version of it, however far it had grown. Says whether
/// this is one.
fn check_digest(digest: Option<&str>, record: &Value, site: &[Content]) -> bool {
    let Some(digest) = digest else { return false };
    let target = record["target"].as_str().unwrap();
    let coded = record["coding"].as_str().is_some_and(|coding| coding == "gzip");
    let path = format!("{}{}", target.trim_start_matches('/'), if coded { ".gz" } else { "" });
    let whole = record["mirror"].as_str().unwrap().starts_with("complete:");
    let Some(file) = site.iter().find(|file| file.path == path) else { return false };
    if !whole || record["status"] != 200 {
        return false;
    }
    let owed = record["body_owed"].as_u64().unwrap() as usize;
    let is_right = file.versions.iter().any(|version| {
        let mut bytes = version[..owed.min(version.len())].to_vec();
        bytes.resize(owed, super::answers::GROWN);
        blake3::hash(&bytes).to_hex().as_str() == digest
    });
    assert!(is_right, "the digest of something else: {record}");
    true
}
