//! The access log of a schedule: the test plays the log thread, and checks that there is one record
//! for each answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pitcrew::access_log::options::{Full, Glob, Mirror, Place, Template};
use pitcrew::access_log::{Kind, Log, Options, Reader, ledger};
use pitcrew::ring::simulated::{Random, Simulated, World};
use pitcrew::ring::{Reactor, Tap};
use pitcrew::telemetry::Shard;
use serde_json::Value;

/// What came out of the log pipe.
pub(crate) struct Records {
    ledger: Reader,
    pipe: usize,
    text: Vec<u8>,
    /// Bytes of bodies by their numbers, and the word of their records.
    bodies: HashMap<u32, u64>,
    records: u64,
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
    let options = Options {
        sinks: vec![Place::Stdout],
        format: Template::parse("json").unwrap(),
        full: *random.pick(Full::ALL),
        wait: Duration::from_millis(*random.pick(&[1, 50, 1000])),
        buffer: *random.pick(&[400, 2000, 65_536]),
        flush: Duration::from_millis(*random.pick(&[0, 10, 100])),
        mirror: Mirror {
            paths: if mirrors { vec![Glob::new("/**").unwrap()] } else { Vec::new() },
            ..Mirror::default()
        },
        ..Options::default()
    };
    let tap = Tap::from(reactor.take_in(raw));
    let log = Log::new(Arc::new(options), tap, writer, Arc::clone(&shard.access_log));
    let records =
        Records { ledger: reader, pipe, text: Vec::new(), bodies: HashMap::new(), records: 0 };
    (log, records)
}

impl Records {
    /// Takes out what was entered, as the log thread does.
    pub(crate) fn read(&mut self, world: &World) {
        while let Some(entry) = self.ledger.take() {
            let bytes = world.empty_pipe(self.pipe, entry.length as usize);
            assert_eq!(bytes.len(), entry.length as usize, "what is entered is in the pipe");
            self.records += u64::from(entry.records);
            match entry.kind {
                Kind::Body { stream } => {
                    *self.bodies.entry(stream).or_default() += bytes.len() as u64;
                    continue;
                }
                Kind::Records => assert_eq!(bytes.last(), Some(&b'\n'), "lines are whole"),
                Kind::Torn => {}
                Kind::Mirrored { stream, .. } if bytes.is_empty() => {
                    self.bodies.remove(&stream);
                }
                Kind::Mirrored { stream, .. } => {
                    let body = self.bodies.remove(&stream).expect("a body comes before its record");
                    // The record says how much of it was mirrored.
                    self.text.extend_from_slice(&bytes);
                    let line = self.text.split(|byte| *byte == b'\n').rev().nth(1).unwrap();
                    let record: Value = serde_json::from_slice(line).unwrap();
                    let word = record["mirror"].as_str().unwrap();
                    let told = word.split([':', '-']).nth(2).unwrap();
                    assert_eq!(told.parse::<u64>().unwrap() + 1, body, "{word}");
                    let whole = word.starts_with("complete:");
                    let sent = record["body_bytes"].as_u64() == Some(body);
                    assert_eq!(whole, sent && record["body_owed"] == body, "{record}");
                    continue;
                }
            }
            self.text.extend_from_slice(&bytes);
        }
    }

    /// One record for each answer, or a word that it is missing.
    pub(crate) fn check(&self, shard: &Shard) {
        let stats = &shard.access_log;
        let answers: u64 = shard.connections.by_status().map(|(_, count)| count.read()).sum();
        let (mut records, mut missing) = (0, 0);
        let mut by_status: HashMap<u64, u64> = HashMap::new();
        let lines = self.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            let line: Value = serde_json::from_slice(line).unwrap();
            if let Some(count) = line["missing"].as_u64() {
                missing += count;
                continue;
            }
            records += 1;
            *by_status.entry(line["status"].as_u64().unwrap()).or_default() += 1;
            let of = |name: &str| line[name].as_u64().unwrap();
            assert!(of("body_bytes") <= of("body_owed") && of("body_bytes") <= of("bytes"));
            if line["farewell"] == "complete" {
                assert_eq!(of("body_bytes"), of("body_owed"), "{line}");
            }
        }
        assert_eq!(records + missing, answers, "one record for each answer");
        assert_eq!(self.records, records, "the ledger knows how many");
        assert_eq!((stats.records.read(), stats.dropped.read()), (records, missing));
        assert!(self.bodies.is_empty() || missing > 0, "every body has a record");
        for (status, count) in shard.connections.by_status() {
            let told = by_status.get(&u64::from(status.code())).copied().unwrap_or(0);
            assert!(told <= count.read() && (missing > 0 || told == count.read()));
        }
    }
}
