//! The whole worker on the simulated kernel: connections, cache, engines, reactor, as they are, and
//! the threads of the access log.
//!
//! A schedule is made of a seed: the files, the clients with their requests and manners, the
//! budgets of the worker, and the faults. For each one it is checked that
//! - every byte that a client read is of the right answer to its next request: the bytes of one
//!   version of the file, whole, or cut short with the connection; never padded, never mixed
//! - clients that behave, and meet no fault that spoils an answer, get every answer whole
//! - the counters add up with what the kernel has moved
//! - each sink of the access log, whose threads run on the schedule, too, has every record once, or
//!   says how many it misses, whatever befalls the places that it writes to
//! - when the worker has drained, nothing is in flight, every buffer, pipe and descriptor is
//!   home, and it came to its end in a bounded number of turns
//!
//! A failing schedule names its seed. `PITCREW_SEED=<seed>` runs that one alone, `PITCREW_LONG=1`
//! runs a hundred times as many, `PITCREW_FROM=<seed>` begins there.

#![allow(clippy::unwrap_used)]

mod answers;
mod client;
#[path = "../quarantine/mod.rs"]
mod quarantine;
mod records;
mod requests;
mod schedule;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Schedules of a usual run.
const SCHEDULES: u64 = 10_000;
/// Failures after which the rest is not run.
const FAILURES_MAX: u64 = 5;
/// How many times as many there are in a long one.
const LONG: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_schedule_keeps_what_is_promised() {
    if let Some(seed) = number("PITCREW_SEED") {
        println!("{:#?}", schedule::run(seed));
        return;
    }
    let first = number("PITCREW_FROM").unwrap_or(0);
    let long = number("PITCREW_LONG").is_some_and(|long| long > 0);
    let end = first + if long { SCHEDULES * LONG } else { SCHEDULES };
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(0);
    let work = || {
        let mut total = schedule::Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || failed.load(Ordering::Relaxed) >= FAILURES_MAX {
                return total;
            }
            match std::panic::catch_unwind(|| schedule::run(seed)) {
                Ok(summary) => total.add(&summary),
                Err(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("again: PITCREW_SEED={seed} cargo test --test simulation");
                }
            }
        }
    };
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get());
    let total = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut total = schedule::Summary::default();
        for worker in workers {
            total.add(&worker.join().unwrap());
        }
        total
    });
    assert_eq!(failed.into_inner(), 0, "schedules have failed, see above");
    println!("{total:#?}");
    println!("{} schedules took {:.1?}, {threads} at a time", total.schedules, begun.elapsed());
    if end - first >= SCHEDULES {
        total.assert_wide();
    }
}
