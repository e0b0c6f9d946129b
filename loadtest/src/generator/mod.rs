//! Who asks for the files.
//!
//! | generator | file |
//! | --- | --- |
//! | `wrk` | `wrk.rs`: as fast as it can, one file or several by popularity |
//! | `oha` | `oha.rs`: at a rate; an answer late because the one before was late counts so |
//! | `walk` | `walk.rs`: every file once, in random order |
//! | `idle` | `idle.rs`: connections that are idle after one request |

mod idle;
mod oha;
mod walk;
mod wrk;

use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::{LOOK, Process};
use crate::scenario::{Generator, Scenario};
use crate::site::Site;

pub(crate) use idle::Idlers;

/// What a generator got.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Load {
    /// Answers that were whole.
    pub(crate) requests: u64,
    /// Bytes received, heads included where the generator counts them.
    pub(crate) bytes: u64,
    /// Seconds from the first request to the last answer.
    pub(crate) seconds: f64,
    /// Answers that were errors, and connections that broke or were too slow.
    pub(crate) errors: u64,
    /// Requests that were due in that time, sent or not, where a rate was asked for.
    #[serde(default)]
    pub(crate) due: Option<u64>,
    /// Microseconds from a request to its whole answer: half of them were faster. Not a number, as
    /// the next one, where the generator does not know.
    pub(crate) p50_us: f64,
    /// Ninety-nine hundredths were faster.
    pub(crate) p99_us: f64,
    /// The share of its core that the generator used.
    #[serde(default)]
    pub(crate) busy: f64,
}

/// What a generator is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) scenario: &'a Scenario,
    pub(crate) site: &'a Site,
    pub(crate) seconds: u64,
    /// The number of the round: orders differ by round, and are the same for all servers in it.
    pub(crate) number: u32,
    /// The core of the generator.
    pub(crate) core: usize,
    pub(crate) scratch: &'a Path,
    pub(crate) interrupted: &'a AtomicBool,
}

/// Asks as the scenario says. What a generator leaves open is closed with the second value.
pub(crate) fn run(task: &Task<'_>) -> io::Result<(Load, Option<Idlers>)> {
    match task.scenario.generator {
        Generator::Wrk => wrk::run(task).map(|load| (load, None)),
        Generator::Oha => oha::run(task).map(|load| (load, None)),
        Generator::Walk => walk::run(task).map(|load| (load, None)),
        Generator::Idle => idle::run(task).map(|(load, idlers)| (load, Some(idlers))),
    }
}

impl Load {
    /// The part of what was due that was answered; all of it where no rate was asked for.
    pub(crate) fn kept(&self) -> f64 {
        self.due.map_or(1.0, |due| self.requests as f64 / due.max(1) as f64)
    }
}

impl Task<'_> {
    /// Waits for a generator that is a program, and says which share of its core it used.
    fn wait_for(&self, process: &mut Process) -> io::Result<f64> {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(self.seconds + 15);
        let mut busy = 0.0;
        while process.ended()?.is_none() {
            self.check()?;
            if Instant::now() > end {
                return Err(process.fault("does not end"));
            }
            busy = process.busy(begin);
            std::thread::sleep(LOOK);
        }
        Ok(busy)
    }

    fn check(&self) -> io::Result<()> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
            false => Ok(()),
        }
    }
}

/// Processor time of this program.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Two places in some times, in microseconds: the middle, and the ninety-ninth hundredth.
fn percentiles(laps: &mut [Duration]) -> (f64, f64) {
    laps.sort_unstable();
    let at = |share: usize| {
        let place = (laps.len() * share / 100).min(laps.len().saturating_sub(1));
        laps.get(place).map_or(0.0, |lap| lap.as_secs_f64() * 1e6)
    };
    (at(50), at(99))
}
