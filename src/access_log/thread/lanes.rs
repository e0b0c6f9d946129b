//! Several sinks: each piece is doubled by tee(2) into the pipe of each, which a thread of its own
//! empties.
//!
//! A pipe that has no room gets what fits. Its sink goes on later, in a new line that says how
//! many records it has missed; the others have them. Only then is the piece read into memory, to
//! count what the sink got.
//!
//! Where a full log is waited for, a pipe gets that time once and not for each piece, and the
//! others have the piece before it begins. Only a pipe that was read empty is given the time anew:
//! a reader that sleeps, or takes each piece at the last moment, would else hold up every sink each
//! time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::intake::{Piece, Place};
use super::plumbing::{End, Plumbing};
use super::{Feed, GAP};
use crate::access_log::escape::Escape;
use crate::access_log::ledger::{self, Entry, Kind, ledger};
use crate::access_log::marker;
use crate::access_log::options::{Full, Options};
use crate::access_log::stats::Stats;
use crate::limits::LOG_END;

/// The pipe of one sink.
struct Lane<P: Plumbing> {
    pipe: P::End,
    ledger: ledger::Writer,
    /// Records that it misses and was not told of.
    missing: u64,
    /// Whether what it has ends in the middle of a line.
    torn: bool,
    /// For how long it was waited for since its pipe was last seen empty.
    waited: Duration,
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
        let (torn, waited) = (false, Duration::ZERO);
        self.lanes.push(Lane { pipe, ledger: entering, missing: 0, torn, waited });
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
        for (number, at) in &mut short {
            // What was in memory from the start has not been tried yet.
            if *at == 0 {
                self.lanes[*number].write(bytes, at, escape);
            }
        }
        while self.options.full == Full::Wait && self.wait(&short, bytes.len()) {
            for (number, at) in short.iter_mut().filter(|(_, at)| *at < bytes.len()) {
                self.lanes[*number].write(bytes, at, escape);
            }
        }
        for (number, at) in short {
            let missing = self.lanes[number].enter(bytes, at, records, escape);
            self.stats.sink(number).missing.add(missing);
        }
    }

    /// Waits until a lane that has not the whole of a piece may have room, all at once; says
    /// whether there is one that is still waited for.
    fn wait(&mut self, short: &[(usize, usize)], length: usize) -> bool {
        let bound = self.options.wait;
        let (lanes, mut awaited) = (&self.lanes, Vec::new());
        awaited.extend(short.iter().filter(|(_, at)| *at < length).map(|(number, _)| *number));
        awaited.retain(|number| lanes[*number].waited < bound);
        let left = awaited.iter().map(|number| bound - lanes[*number].waited).min();
        let Some(left) = left else { return false };
        let began = self.plumbing.now();
        if awaited.iter().any(|number| lanes[*number].ledger.room() < 2) {
            // Nothing tells when there is room.
            self.plumbing.sleep(GAP.min(left));
        } else {
            let pipes: Vec<_> = awaited.iter().map(|number| &lanes[*number].pipe).collect();
            self.plumbing.wait_for_pipes(&pipes, left);
        }
        for number in awaited {
            self.lanes[number].waited += self.plumbing.now().saturating_duration_since(began);
        }
        true
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
                if lane.ledger.room() < 2 {
                    // Nothing tells when there is room.
                    self.plumbing.sleep(GAP.min(left));
                } else {
                    self.plumbing.wait_for_pipes(&[&lane.pipe], left);
                }
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

    /// Whoever has emptied the pipe reads again.
    fn look(&mut self) {
        if !self.waited.is_zero() && self.pipe.held() == Ok(0) {
            self.waited = Duration::ZERO;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::io::ioctl_fionread;

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

    fn waiting(wait: Duration) -> Arc<Options> {
        Arc::new(Options { full: Full::Wait, wait, ..Options::default() })
    }

    /// Lanes, the first of which holds one line, and where a line comes from.
    struct Scene {
        lanes: Lanes<Real>,
        slow: Feed,
        quick: Feed,
        source: OwnedFd,
        filling: OwnedFd,
        line: Vec<u8>,
    }

    impl Scene {
        fn new(wait: Duration, stats: &Arc<Stats>) -> Self {
            let mut lanes = Lanes::new(&waiting(wait), stats, &Real::new(None, 2));
            let (slow, quick) = (lanes.add().unwrap(), lanes.add().unwrap());
            rustix::pipe::fcntl_setpipe_size(&slow.pipe, 4096).unwrap();
            let (source, filling) = rustix::pipe::pipe().unwrap();
            let line = [&[b'x'; 2999][..], b"\n"].concat();
            Self { lanes, slow, quick, source, filling, line }
        }

        fn put(&mut self, piped: bool) {
            let place = if piped {
                rustix::io::write(&self.filling, &self.line).unwrap();
                Place::Piped { left: self.line.len(), total: self.line.len() }
            } else {
                Place::Bytes { bytes: self.line.clone(), at: 0 }
            };
            assert!(self.lanes.put(&mut Piece { place, records: 1 }, &self.source));
        }

        fn waited(&self) -> [Duration; 2] {
            [0, 1].map(|number| self.lanes.lanes[number].waited)
        }
    }

    /// What is there, and how many records it says it has.
    fn read(feed: &mut Feed) -> (Vec<u8>, u32) {
        let (mut got, mut records) = (Vec::new(), 0);
        while let Some(entry) = feed.ledger.take() {
            read_exactly(&feed.pipe, &mut got, entry.length as usize).unwrap();
            records += entry.records;
        }
        (got, records)
    }

    #[test]
    fn a_sink_that_was_waited_for_in_vain_holds_the_others_up_no_more() {
        let stats = Arc::new(Stats::default());
        let bound = Duration::from_millis(1);
        let mut scene = Scene::new(bound, &stats);
        scene.put(true);
        scene.put(true);
        let waited = scene.waited();
        assert!(waited[0] >= bound && waited[1].is_zero());
        for number in 0..30 {
            scene.put(number % 2 == 0);
        }
        assert_eq!(scene.waited(), waited, "it was not waited for again");
        assert_eq!((read(&mut scene.quick).1, read(&mut scene.slow).1), (32, 1));
        assert_eq!(stats.sink(0).missing.read(), 31);
        // It was read empty, so it has its time again.
        scene.put(true);
        assert!(scene.waited()[0].is_zero());
        let (got, records) = read(&mut scene.slow);
        assert!(records == 1 && got.ends_with(&scene.line) && got.len() > scene.line.len());
    }

    #[test]
    fn a_sink_that_takes_each_piece_late_holds_the_others_up_for_one_bound_in_all() {
        let stats = Arc::new(Stats::default());
        // It takes each piece within this, however busy the machine is.
        let mut scene = Scene::new(Duration::from_secs(1 << 30), &stats);
        let (pipe, line) = (scene.slow.pipe.try_clone().unwrap(), scene.line.len());
        let (asking, asked) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            // A line goes when the next is being put, and one stays: it is never empty.
            while asked.recv().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
                read_exactly(&pipe, &mut Vec::new(), line).unwrap();
            }
        });
        scene.put(true);
        let mut waits = 0;
        while waits < 3 {
            let before = scene.waited()[0];
            asking.send(()).unwrap();
            scene.put(true);
            // It took the piece, which gives back nothing of the time.
            assert!(scene.waited()[0] >= before);
            waits += u32::from(scene.waited()[0] > before);
            assert_eq!(ioctl_fionread(&scene.slow.pipe), Ok(line as u64), "it has one line");
        }
        drop(asking);
        reading.join().unwrap();
        assert_eq!(stats.sink(0).missing.read(), 0);
        // The time that it took in all is all that it gets.
        let waited = scene.waited()[0];
        scene.lanes.options = waiting(waited);
        scene.put(true);
        assert_eq!(scene.waited()[0], waited, "it was not waited for again");
        assert_eq!(stats.sink(0).missing.read(), 1);
        read_exactly(&scene.slow.pipe, &mut Vec::new(), line).unwrap();
        scene.put(true);
        assert!(scene.waited()[0].is_zero());
        assert_eq!((stats.sink(0).missing.read(), stats.sink(1).missing.read()), (1, 0));
    }
}
