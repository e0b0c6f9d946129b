//! Clients of every manner for a while, and reloads from engine to engine, rotations and changes of
//! files meanwhile; at the end memory, descriptors, pipes, buffers and what is in flight are where
//! they were.
//!
//! It runs for some seconds, or for as long as is asked:
//!
//! ```text
//! PITCREW_SOAK_SECONDS=3600 cargo test --release --test soak -- --nocapture
//! ```

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{ENGINES, Launch, Pattern, Scratch, Server, eventually, figure, get};
use pitcrew::limits::QUARANTINE_BYTES;
use pitcrew::ring::simulated::Random;
use rustix::process::Signal;

const LARGE_BYTES: u64 = 3 << 20;
const SMALL_SEED: u64 = 11;
const LARGE_SEED: u64 = 12;
const CLIENTS: u64 = 6;
/// What an allocator may keep of what was given back, for threads that ended with a reload, too. It
/// is the same for a run of any length, so what leaks a little with each visit shows in a long one.
/// What is counted has no room at all: buffers, and what is in flight.
const KEPT_BYTES: u64 = 48 << 20;
/// A build with debug assertions keeps so much of what was freed.
const QUARANTINE: u64 = if cfg!(debug_assertions) { QUARANTINE_BYTES as u64 } else { 0 };
/// Files of the site that may be open then and were not before: the cache keeps what was asked for
/// last, and it is another choice each time.
const OPEN_FILES: usize = 4;

const WORKERS: u64 = 2;
/// Pipes that a worker keeps for bodies that come one by one: the one, and that of a body which
/// ended a moment ago.
const PIPES_OF_ONE_CLIENT: u64 = 2 * WORKERS;
/// The engine at the start and at the end.
const FIRST: &str = "splice";

fn seconds() -> u64 {
    match std::env::var("PITCREW_SOAK_SECONDS") {
        Ok(text) => text.parse().expect("PITCREW_SOAK_SECONDS is a number of seconds"),
        Err(_) => 5,
    }
}

/// What a process holds.
#[derive(Clone, Debug)]
struct Held {
    resident_bytes: u64,
    descriptors: usize,
    pipes: u64,
    leased_bytes: u64,
    in_flight: u64,
    connections: u64,
}

impl Held {
    fn by(server: &Server) -> Self {
        let of_process = Path::new("/proc").join(server.id().to_string());
        let status = fs::read_to_string(of_process.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let told = server.telemetry();
        let pools = told["pools"].as_object().unwrap();
        // Blocks are kept, within their budget.
        let passing = pools.iter().filter(|(name, _)| *name != "block");
        Self {
            resident_bytes: kib * 1024,
            descriptors: fs::read_dir(of_process.join("fd")).unwrap().count(),
            pipes: figure(&told, &["pipes", "open"]),
            leased_bytes: passing.map(|(_, pool)| pool["leased_bytes"].as_u64().unwrap()).sum(),
            in_flight: figure(&told, &["ring", "in_flight"]),
            connections: figure(&told, &["connections", "open"]),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.resident_bytes >> 20;
        write!(out, "{mib} MiB resident, {} descriptors, {} pipes", self.descriptors, self.pipes)?;
        write!(out, ", {} bytes leased, {} in flight", self.leased_bytes, self.in_flight)
    }
}

/// One thing that a client does, chosen by chance. What it is not sure to get is not looked at.
fn visit(server: &Server, random: &mut Random) {
    let mut wire = server.connect();
    match random.below(9) {
        0 => {
            wire.send(&get("/small.bin", ""));
            let body = wire.response().unwrap().body;
            assert_eq!(body, Pattern::new(SMALL_SEED).bytes(0, 1000));
        }
        1 => {
            wire.send(&get("/large.bin", ""));
            let (_, digest, fault) = wire.hashed().unwrap();
            let whole = Pattern::new(LARGE_SEED).digest(0, LARGE_BYTES);
            assert_eq!((digest, fault), (whole, None));
        }
        2 => {
            let from = random.below(LARGE_BYTES - 70_000);
            let range = format!("Range: bytes={from}-{}\r\n", from + 65_535);
            wire.send(&get("/large.bin", &range));
            let body = wire.response().unwrap().body;
            assert!(body == Pattern::new(LARGE_SEED).bytes(from, 65_536), "a range from {from}");
        }
        3 => {
            wire.send(&get("/large.bin", "Range: bytes=0-9,100-109,2000000-2099999\r\n"));
            assert_eq!(wire.response().unwrap().status, 206);
        }
        4 => {
            wire.send(&get("/large.bin", ""));
            let _ = wire.head();
            wire.reset();
        }
        5 => wire.send(b"GET /small.bin HTTP/1.1\r\nHost: half a head"),
        6 => {
            wire.send(b"NONSENSE\n\n");
            assert_eq!(wire.response().unwrap().status, 400);
        }
        7 => {
            wire.send(&[get("/small.bin", ""), get("/missing", ""), get("/dir/", "")].concat());
            for status in [200, 404, 200] {
                let answer = wire.response().unwrap();
                assert_eq!(answer.status, status);
                if answer.says_close() {
                    // Its worker retires: what follows is asked for again by whoever wants it.
                    break;
                }
            }
        }
        _ => {
            // Changed all the time: whole, cut, or not there.
            wire.send(&get("/changing.bin", "Connection: close\r\n"));
            let _ = wire.rest();
        }
    }
}

/// What goes on beside the clients.
fn disturb(server: &Server, scratch: &Scratch, round: u64) {
    let changing = scratch.join("root/changing.bin");
    match round % 4 {
        0 => drop(scratch.pattern("root/changing.bin", round, 700_000)),
        1 => OpenOptions::new().write(true).open(&changing).unwrap().set_len(5000).unwrap(),
        2 => {
            let other = scratch.pattern("root/other.bin", round, 300_000);
            fs::rename(other, &changing).unwrap();
        }
        _ => {
            // A client that waits for it may hold it open.
            let _ = fs::remove_file(&changing);
        }
    }
    match round % 8 {
        3 => {
            let log = scratch.join("access.log");
            fs::rename(&log, scratch.join("access.log.1")).unwrap();
            server.signal(Signal::USR1);
            eventually("a new log", || log.exists().then_some(()));
        }
        7 => reload(server, scratch, ENGINES[(round / 8) as usize % ENGINES.len()]),
        _ => {}
    }
}

/// The configuration with an engine.
fn configure(scratch: &Scratch, engine: &str) -> PathBuf {
    let (root, log) = (scratch.join("root"), scratch.join("access.log"));
    let text = format!(
        "root = {root:?}\nlisten = [\"127.0.0.1:0\"]\nworkers = {WORKERS}\nlisting = true\n\
         head-timeout = \"1s\"\naccess-log = [{log:?}]\nengine = {engine:?}\n"
    );
    let place = scratch.join("pitcrew.toml");
    fs::write(&place, text).unwrap();
    place
}

fn reload(server: &Server, scratch: &Scratch, engine: &str) {
    let before = server.figure(&["configuration", "reloads"]);
    configure(scratch, engine);
    server.signal(Signal::HUP);
    server.figure_until(&["configuration", "reloads"], |count| count > before);
}

/// Clients and changes for so long; how many visits there were.
fn shake(server: &Server, scratch: &Scratch, time: Duration, seed: u64) -> u64 {
    let (ended, visits) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (ended, visits) = (&ended, &visits);
            scope.spawn(move || {
                let mut random = Random::new(seed * CLIENTS + client);
                while !ended.load(Ordering::Relaxed) {
                    visit(server, &mut random);
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let until = Instant::now() + time;
        let mut round = 0;
        while Instant::now() < until {
            disturb(server, scratch, round);
            round += 1;
            thread::sleep(Duration::from_millis(50));
        }
        ended.store(true, Ordering::Relaxed);
    });
    reload(server, scratch, FIRST);
    // One by one, so that as much is kept for the next each time.
    let mut random = Random::new(seed);
    (0..40).for_each(|_| visit(server, &mut random));
    visits.load(Ordering::Relaxed)
}

/// Once nobody is there any more but who asks, and what they had is home: twice in a row, as what
/// was given up may be in flight a moment longer.
fn at_rest(server: &Server) -> Held {
    let mut before = None;
    eventually("everything is home", || {
        let held = Held::by(server);
        let counts = (held.descriptors, held.pipes, held.leased_bytes, held.in_flight);
        let settled = held.connections <= 1 && before.replace(counts) == Some(counts);
        settled.then_some(held)
    })
}

#[test]
fn whatever_comes_everything_returns_to_its_start() {
    let scratch = Scratch::new();
    scratch.pattern("root/small.bin", SMALL_SEED, 1000);
    scratch.pattern("root/large.bin", LARGE_SEED, LARGE_BYTES);
    scratch.write("root/dir/a", "a");
    scratch.write("root/changing.bin", "");
    let configuration = configure(&scratch, FIRST);
    let server = Launch::new(&["--config", configuration.to_str().unwrap()]).start();
    // What is allocated once is there before it is looked at first.
    shake(&server, &scratch, Duration::from_secs(2), 1);
    let before = at_rest(&server);
    assert!((1..=PIPES_OF_ONE_CLIENT).contains(&before.pipes), "bodies travel by pipes: {before}");
    let visits = shake(&server, &scratch, Duration::from_secs(seconds()), 2);
    let after = eventually("no more is held than at the start", || {
        let after = at_rest(&server);
        let home = after.leased_bytes <= before.leased_bytes
            && after.pipes <= PIPES_OF_ONE_CLIENT
            && after.in_flight <= before.in_flight
            && after.descriptors <= before.descriptors + OPEN_FILES
            && after.resident_bytes <= before.resident_bytes + KEPT_BYTES + QUARANTINE;
        if !home {
            thread::sleep(Duration::from_millis(100));
        }
        home.then_some(after)
    });
    println!("{visits} visits\nbefore: {before}\nafter:  {after}");
    assert!(visits > 50, "{visits} visits");
}
