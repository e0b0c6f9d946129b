//! Several sinks: each piece is doubled by tee(2) into the pipe of each, which a thread of its own
//! empties.
//!
//! A pipe that has no room gets what fits. Its sink goes on later, in a new line that says how
//! many records it has missed; the others have them. Only then is the piece read into memory, to
//! count what the sink got.
//!
//! Where a full log is waited for, a pipe gets that time once, and the others have the piece before
//! it begins. A pipe that was full for all of it is waited for again only after it was emptied: a
//! reader that sleeps would else hold up each piece, for every sink.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::intake::{Piece, Place};
use super::plumbing::{End, Plumbing};
use super::{Feed, GAP};
use crate::access_log::escape::Escape;
use crate::access_log::ledger::{self, Entry, Kind, ledger};
use crate::access_log::marker;
use crate::access_log::options::{Full, Options};
use crate::access_log::stats::Stats;
use crate::limits::LOG_END;

/// Whether a sink is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Its pipe has taken no piece whole since.
    Full {
        since: Instant,
    },
    /// It was waited for in vain, and its pipe was not empty since.
    GivenUp,
}

/// The pipe of one sink.
struct Lane<P: Plumbing> {
    pipe: P::End,
    plumbing: P,
    ledger: ledger::Writer,
    /// Records that it misses and was not told of.
    missing: u64,
    /// Whether what it has ends in the middle of a line.
    torn: bool,
    state: State,
}

/// See the module.
pub(super) struct Lanes<P: Plumbing> {
    lanes: Vec<Lane<P>>,
    options: Arc<Options>,
    stats: Arc<Stats>,
    plumbing: P,
}

impl<P: Plumbing> Lanes<P> {
    pub(super) fn new(options: &Arc<Options>, stats: &Arc<Stats>, plumbing: &P) -> Self {
        let (options, stats) = (Arc::clone(options), Arc::clone(stats));
        Self { lanes: Vec::new(), options, stats, plumbing: plumbing.clone() }
    }

    /// A pipe for the next sink: its other side.
    pub(super) fn add(&mut self) -> io::Result<Feed<P::End>> {
        let (pipe, outlet) = self.plumbing.pipe()?;
        let (entering, reader) = ledger();
        let plumbing = self.plumbing.clone();
        let (missing, torn, state) = (0, false, State::Open);
        self.lanes.push(Lane { pipe, plumbing, ledger: entering, missing, torn, state });
        Ok(Feed { pipe: outlet, ledger: reader })
    }

    /// Doubles a piece into every pipe. It is always done: what finds no room is counted.
    pub(super) fn put(&mut self, piece: &mut Piece, pipe: &P::End) -> bool {
        self.lanes.iter_mut().for_each(Lane::look);
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
        self.finish(short, bytes, piece.records);
        true
    }

    /// Tells each lane what it misses, then asks it to take; how many bytes each took.
    fn each(&mut self, mut take: impl FnMut(&mut Lane<P>) -> usize) -> Vec<usize> {
        let escape = self.options.format.escape();
        let lanes = self.lanes.iter_mut();
        lanes.map(|lane| if lane.tell_missing(escape) { take(lane) } else { 0 }).collect()
    }

    /// Gives each lane the rest of a piece of which it has so many bytes.
    fn finish(&mut self, mut short: Vec<(usize, usize)>, bytes: &[u8], records: u32) {
        let escape = self.options.format.escape();
        let began = self.plumbing.now();
        for (number, at) in &mut short {
            let lane = &mut self.lanes[*number];
            // What was in memory from the start has not been tried yet.
            if *at == 0 {
                lane.write(bytes, at, escape);
            }
            lane.rate(*at == bytes.len(), began);
        }
        for (number, at) in &mut short {
            let lane = &mut self.lanes[*number];
            while self.options.full == Full::Wait
                && *at < bytes.len()
                && lane.wait(self.options.wait)
            {
                lane.write(bytes, at, escape);
                lane.rate(*at == bytes.len(), began);
            }
        }
        for (number, at) in short {
            let missing = self.lanes[number].enter(bytes, at, records, escape);
            self.stats.sink(number).missing.add(missing);
        }
    }

    /// Tells each lane what it misses at the end, for a bounded time.
    pub(super) fn end(&mut self) {
        let (escape, until) = (self.options.format.escape(), self.plumbing.now() + LOG_END);
        for lane in &mut self.lanes {
            while !lane.tell_missing(escape) {
                let left = until.saturating_duration_since(self.plumbing.now());
                if left.is_zero() {
                    break;
                }
                lane.wait_for_room(left);
            }
        }
    }

    /// Throws away what every lane has; says whether that was done.
    fn discard(&self, pipe: &P::End, count: usize) -> bool {
        let mut left = count;
        while left > 0 {
            match self.plumbing.discard(pipe, left) {
                Ok(moved @ 1..) => left -= moved,
                Ok(0) | Err(_) => break,
            }
        }
        assert!(left == 0 || left == count, "/dev/null takes all or nothing");
        left == 0
    }
}

impl<P: Plumbing> Lane<P> {
    fn tee(&mut self, from: &P::End, count: usize, records: u32) -> usize {
        if self.ledger.room() < 2 {
            return 0;
        }
        let taken = from.tee(&self.pipe, count).unwrap_or(0);
        if taken == count {
            self.rate(true, self.plumbing.now());
            let length = count as u32;
            self.ledger.enter(Entry { kind: Kind::Records, length, records });
        }
        taken
    }

    /// Says in its pipe what it misses; says whether it is up to date.
    fn tell_missing(&mut self, escape: Escape) -> bool {
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
        if self.pipe.write(&line).is_err() {
            return false;
        }
        let length = line.len() as u32;
        self.ledger.enter(Entry { kind: Kind::Records, length, records: 0 });
        (self.missing, self.torn) = (0, false);
        true
    }

    /// Writes what fits of a piece, behind what it was not told of.
    fn write(&mut self, bytes: &[u8], at: &mut usize, escape: Escape) {
        if self.ledger.room() > 1 && self.tell_missing(escape) {
            *at += self.pipe.write(&bytes[*at..]).unwrap_or(0);
        }
    }

    /// Enters how much of a piece it has, and counts what it misses.
    fn enter(&mut self, bytes: &[u8], at: usize, records: u32, escape: Escape) -> u64 {
        let (got, left) = bytes.split_at(at);
        let cut = got.len() - got.iter().rev().take_while(|byte| **byte != b'\n').count();
        let count = |bytes: &[u8]| -> u64 {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            lines.map(|line| marker::records_of_line(line, escape)).sum()
        };
        let missing = if left.is_empty() { 0 } else { count(&bytes[cut..]) };
        if at > 0 {
            self.torn = cut < at && !left.is_empty();
            let got = u64::from(records).saturating_sub(missing) as u32;
            self.ledger.enter(Entry { kind: Kind::Records, length: at as u32, records: got });
        }
        self.missing += missing;
        missing
    }

    /// Notes whether it took a piece whole.
    fn rate(&mut self, whole: bool, now: Instant) {
        match self.state {
            State::Full { .. } if whole => self.state = State::Open,
            State::Open if !whole => self.state = State::Full { since: now },
            _ => {}
        }
    }

    /// Whether it may have room now, for which it is waited until it was full for so long.
    fn wait(&mut self, bound: Duration) -> bool {
        let State::Full { since } = self.state else { return false };
        let left = (since + bound).saturating_duration_since(self.plumbing.now());
        if left.is_zero() {
            self.state = State::GivenUp;
            return false;
        }
        self.wait_for_room(left);
        true
    }

    fn wait_for_room(&self, time: Duration) {
        if self.ledger.room() < 2 {
            // Nothing tells when there is room.
            self.plumbing.sleep(GAP.min(time));
        } else {
            self.plumbing.wait_for_pipes(&[&self.pipe], time);
        }
    }

    /// Whoever has emptied the pipe reads again.
    fn look(&mut self) {
        if self.state == State::GivenUp && self.pipe.held() == Ok(0) {
            self.state = State::Open;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access_log::thread::read_exactly;
    use crate::access_log::thread::real::Real;

    #[test]
    fn a_sink_that_took_a_part_of_a_batch_goes_on_in_a_new_line_with_what_it_misses() {
        let (options, stats) = (Arc::new(Options::default()), Arc::new(Stats::default()));
        let mut lanes = Lanes::new(&options, &stats, &Real::new(None, 2));
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

    #[test]
    fn what_is_missing_at_the_end_is_told() {
        let (options, stats) = (Arc::new(Options::default()), Arc::new(Stats::default()));
        let mut lanes = Lanes::new(&options, &stats, &Real::new(None, 2));
        let mut feed = lanes.add().unwrap();
        lanes.lanes[0].missing = 7;
        lanes.end();
        let mut expected = Vec::new();
        marker::put_marker(&mut expected, options.format.escape(), 7);
        let mut got = Vec::new();
        read_exactly(&feed.pipe, &mut got, feed.ledger.take().unwrap().length as usize).unwrap();
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn a_sink_that_was_waited_for_in_vain_holds_the_others_up_no_more() {
        let waiting = |wait| Arc::new(Options { full: Full::Wait, wait, ..Options::default() });
        let stats = Arc::new(Stats::default());
        let mut lanes = Lanes::new(&waiting(Duration::from_millis(1)), &stats, &Real::new(None, 2));
        let (mut slow, mut quick) = (lanes.add().unwrap(), lanes.add().unwrap());
        rustix::pipe::fcntl_setpipe_size(&slow.pipe, 4096).unwrap();
        let (source, filling) = rustix::pipe::pipe().unwrap();
        let line = [&[b'x'; 2999][..], b"\n"].concat();
        let put = |lanes: &mut Lanes<Real>, piped: bool| {
            let place = if piped {
                rustix::io::write(&filling, &line).unwrap();
                Place::Piped { left: line.len(), total: line.len() }
            } else {
                Place::Bytes { bytes: line.clone(), at: 0 }
            };
            assert!(lanes.put(&mut Piece { place, records: 1 }, &source));
        };
        let read = |feed: &mut Feed| {
            let (mut got, mut records) = (Vec::new(), 0);
            while let Some(entry) = feed.ledger.take() {
                read_exactly(&feed.pipe, &mut got, entry.length as usize).unwrap();
                records += entry.records;
            }
            (got, records)
        };
        put(&mut lanes, true);
        put(&mut lanes, true);
        assert_eq!(lanes.lanes[0].state, State::GivenUp);
        // Whoever waited for it now would wait for ever.
        lanes.options = waiting(Duration::from_secs(1 << 30));
        for number in 0..30 {
            put(&mut lanes, number % 2 == 0);
        }
        assert_eq!((lanes.lanes[0].state, lanes.lanes[1].state), (State::GivenUp, State::Open));
        assert_eq!((read(&mut quick).1, read(&mut slow).1), (32, 1));
        assert_eq!(stats.sink(0).missing.read(), 31);
        put(&mut lanes, true);
        assert_eq!(lanes.lanes[0].state, State::Open);
        let (got, records) = read(&mut slow);
        assert!(records == 1 && got.ends_with(&line) && got.len() > line.len());
    }
}
