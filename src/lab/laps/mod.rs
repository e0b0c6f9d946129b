//! The laps: one row each in a table, and how each is run.

mod aio;
mod copy;
mod depth;
mod read;
mod socket;
mod table;
mod write;

use std::time::Duration;

use super::course::Course;
use super::fault::LapError;
use super::inspect::Inspector;
use super::track::Track;
use crate::techniques::Error;

pub(super) use socket::{connection, thread_time};
#[cfg(test)]
pub(super) use table::row;
pub(super) use table::{Group, ROWS, Row};

/// Buffers that a block is scattered over or gathered from.
const PARTS: usize = 4;

/// What a lap counted while it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Operations that came to an end.
    pub operations: u64,
    /// Bytes that were moved.
    pub bytes: u64,
    /// Operations that moved fewer bytes than asked at first, and were resumed.
    pub short: u64,
    /// Calls to the kernel, or to the C library for POSIX AIO.
    pub calls: u64,
    /// Entries of the submission queue of a ring.
    pub entries: u64,
    /// Processor time of the lap that is not the technique's: the receiver's.
    pub aside: Duration,
}

impl Tally {
    /// One more operation of so many bytes.
    #[inline]
    fn operation(&mut self, bytes: usize) {
        self.operations += 1;
        self.bytes += bytes as u64;
    }

    fn join(&mut self, other: &Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.short += other.short;
        self.calls += other.calls;
        self.entries += other.entries;
        self.aside += other.aside;
    }
}

/// A technique, made ready to run once.
pub(super) trait Lap {
    /// Goes over the course. Bytes that come to memory are shown to the inspector.
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError>;

    /// Looks at what was left behind in a file, after the clock was stopped.
    fn look_back(&mut self, _: &Course, _: &mut Inspector) -> Result<(), LapError> {
        Ok(())
    }
}

/// What a row makes its lap of.
pub(super) struct Start<'t> {
    pub(super) track: &'t Track,
    /// Whether O_DIRECT was asked for.
    pub(super) direct: bool,
    /// Operations in flight.
    pub(super) depth: u32,
    /// Told apart from that of every other run, so that what an earlier one has written is never
    /// taken for its own.
    pub(super) nonce: u64,
}

/// Repeats a call until it has moved all of a block.
#[inline]
fn whole(
    tally: &mut Tally,
    doing: &'static str,
    length: usize,
    mut step: impl FnMut(usize) -> Result<usize, Error>,
) -> Result<(), LapError> {
    let mut done = 0;
    while done < length {
        tally.calls += 1;
        match step(done).map_err(LapError::plain(doing))? {
            0 => return Err(LapError::ended(doing)),
            moved => done += moved,
        }
        tally.short += u64::from(done < length);
    }
    tally.operation(length);
    Ok(())
}
