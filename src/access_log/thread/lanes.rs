//! Several sinks: each piece is doubled by tee(2) into the pipe of each, which a thread of its own
//! empties.
//!
//! A pipe that has no room gets what fits. Its sink goes on later, in a new line that says how
//! many records it has missed; the others have them. Only then is the piece read into memory, to
//! count what the sink got.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Feed;
use super::intake::{Piece, Place};
use crate::access_log::ledger::{self, Entry, Kind};
use crate::access_log::marker;
use crate::access_log::options::{Full, Options};
use crate::access_log::stats::Stats;
use crate::techniques::pipe::{SpliceFlags, splice_out, tee};

/// The pipe of one sink.
struct Lane {
    pipe: OwnedFd,
    ledger: ledger::Writer,
    /// Records that it misses and was not told of.
    missing: u64,
    /// Whether what it has ends in the middle of a line.
    torn: bool,
}

/// See the module.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    options: Arc<Options>,
    stats: Arc<Stats>,
    /// Where bytes go that every sink has.
    nowhere: Option<OwnedFd>,
}

impl Lanes {
    pub(super) fn new(options: &Arc<Options>, stats: &Arc<Stats>) -> Self {
        let nowhere = std::fs::File::options().write(true).open("/dev/null").ok();
        Self {
            lanes: Vec::new(),
            options: Arc::clone(options),
            stats: Arc::clone(stats),
            nowhere: nowhere.map(OwnedFd::from),
        }
    }

    /// A pipe for the next sink: its other side.
    pub(super) fn add(&mut self) -> io::Result<Feed> {
        let (pipe, ledger, feed) = Feed::open()?;
        self.lanes.push(Lane { pipe, ledger, missing: 0, torn: false });
        Ok(feed)
    }

    /// Doubles a piece into every pipe. It is always done: what finds no room is counted.
    pub(super) fn put(&mut self, piece: &mut Piece, pipe: &OwnedFd) -> bool {
        let Piece { place, records } = piece;
        let short: Vec<(usize, usize)> = match place {
            Place::Piped { left, .. } => {
                let count = *left;
                let taken = self.each(|lane| lane.tee(pipe, count, *records));
                if taken.iter().all(|taken| *taken == count) && self.discard(pipe, count) {
                    return true;
                }
                taken.into_iter().enumerate().filter(|(_, taken)| *taken < count).collect()
            }
            Place::Bytes { .. } => (0..self.lanes.len()).map(|number| (number, 0)).collect(),
        };
        piece.take_in(pipe);
        let Place::Bytes { bytes, .. } = &piece.place else { unreachable!("it was just taken in") };
        for (number, taken) in short {
            self.finish(number, bytes, taken, piece.records);
        }
        true
    }

    /// Tells each lane what it misses, then asks it to take; how many bytes each took.
    fn each(&mut self, mut take: impl FnMut(&mut Lane) -> usize) -> Vec<usize> {
        let escape = self.options.format.escape();
        let lanes = self.lanes.iter_mut();
        lanes.map(|lane| if lane.tell_missing(escape) { take(lane) } else { 0 }).collect()
    }

    /// Gives a lane the rest of a piece of which it has `taken` bytes, and counts what it misses.
    fn finish(&mut self, number: usize, bytes: &[u8], taken: usize, records: u32) {
        let escape = self.options.format.escape();
        let lane = &mut self.lanes[number];
        let mut at = taken;
        let until = match self.options.full {
            Full::Wait => Some(Instant::now() + self.options.wait),
            // What was in memory from the start has not been tried yet.
            Full::Drop => None,
        };
        if taken == 0 || until.is_some() {
            loop {
                if lane.ledger.room() > 1 && lane.tell_missing(escape) {
                    at += rustix::io::write(&lane.pipe, &bytes[at..]).unwrap_or(0);
                }
                if at == bytes.len() || !until.is_some_and(|until| lane.wait(until)) {
                    break;
                }
            }
        }
        let (got, left) = bytes.split_at(at);
        let cut = got.len() - got.iter().rev().take_while(|byte| **byte != b'\n').count();
        let count = |bytes: &[u8]| -> u64 {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            lines.map(|line| marker::records_of_line(line, escape)).sum()
        };
        let missing = if left.is_empty() { 0 } else { count(&bytes[cut..]) };
        if at > 0 {
            lane.torn = cut < at && !left.is_empty();
            let got = u64::from(records).saturating_sub(missing) as u32;
            let length = at as u32;
            lane.ledger.enter(Entry { kind: Kind::Records, length, records: got });
        }
        lane.missing += missing;
        self.stats.sink(number).missing.add(missing);
    }

    /// Throws away what every lane has; says whether that was done.
    fn discard(&self, pipe: &OwnedFd, count: usize) -> bool {
        let Some(nowhere) = &self.nowhere else { return false };
        let mut left = count;
        while left > 0 {
            match splice_out(pipe, nowhere, None, left, SpliceFlags::empty()) {
                Ok(moved @ 1..) => left -= moved,
                Ok(0) | Err(_) => break,
            }
        }
        assert!(left == 0 || left == count, "/dev/null takes all or nothing");
        left == 0
    }
}

impl Lane {
    fn tee(&mut self, from: &OwnedFd, count: usize, records: u32) -> usize {
        if self.ledger.room() < 2 {
            return 0;
        }
        let taken = tee(from, &self.pipe, count, SpliceFlags::NONBLOCK).unwrap_or(0);
        if taken == count {
            let length = count as u32;
            self.ledger.enter(Entry { kind: Kind::Records, length, records });
        }
        taken
    }

    /// Says in its pipe what it misses; says whether it is up to date.
    fn tell_missing(&mut self, escape: crate::access_log::escape::Escape) -> bool {
        if self.missing == 0 {
            return true;
        }
        if self.ledger.room() < 2 {
            return false;
        }
        let mut line = Vec::new();
        if self.torn {
            line.push(b'\n');
        }
        marker::put_marker(&mut line, escape, self.missing);
        // So short a write is taken whole or not at all (PIPE_BUF).
        if rustix::io::write(&self.pipe, &line).is_err() {
            return false;
        }
        let length = line.len() as u32;
        self.ledger.enter(Entry { kind: Kind::Records, length, records: 0 });
        (self.missing, self.torn) = (0, false);
        true
    }

    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let time = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let fd = self.pipe.as_fd();
        matches!(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&time)), Ok(1..))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access_log::thread::read_exactly;

    #[test]
    fn a_sink_that_took_a_part_of_a_batch_goes_on_in_a_new_line_with_what_it_misses() {
        let (options, stats) = (Arc::new(Options::default()), Arc::new(Stats::default()));
        let mut lanes = Lanes::new(&options, &stats);
        let mut feed = lanes.add().unwrap();
        // One page: a part of the batch fits.
        rustix::pipe::fcntl_setpipe_size(&feed.pipe, 4096).unwrap();
        let (source, filling) = rustix::pipe::pipe().unwrap();
        let batch: String = (0..100).map(|number| format!("{number:>90}\n")).collect();
        rustix::io::write(&filling, batch.as_bytes()).unwrap();
        let place = Place::Piped { left: batch.len(), total: batch.len() };
        assert!(lanes.put(&mut Piece { place, records: 100 }, &source));
        let mut got = Vec::new();
        read_exactly(&feed.pipe, &mut got, feed.ledger.take().unwrap().length as usize).unwrap();
        assert!(batch.as_bytes().starts_with(&got) && !got.ends_with(b"\n"));
        let whole = got.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(stats.sink(0).missing.read(), 100 - whole);

        let place = Place::Bytes { bytes: b"the next\n".to_vec(), at: 0 };
        assert!(lanes.put(&mut Piece { place, records: 1 }, &source));
        let mut expected = b"\n".to_vec();
        marker::put_marker(&mut expected, options.format.escape(), 100 - whole);
        expected.extend_from_slice(b"the next\n");
        let mut behind = Vec::new();
        while let Some(entry) = feed.ledger.take() {
            read_exactly(&feed.pipe, &mut behind, entry.length as usize).unwrap();
        }
        assert_eq!(behind.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
