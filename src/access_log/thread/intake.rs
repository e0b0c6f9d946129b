//! One feed: from entries of the ledger to pieces that a sink takes.
//!
//! What can stay in the pipe stays there and is spliced. Only a line that two entries share, one
//! that is given a digest, and a word of the log itself are read into memory.

use std::sync::Arc;

use super::mirror::Mirrors;
use super::plumbing::{End, Plumbing};
use super::unread::Lost;
use super::{Feed, Out, read_exactly};
use crate::access_log::escape::Escape;
use crate::access_log::ledger::{Kind, Reader};
use crate::access_log::options::Options;

/// Lines on their way to a sink.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) place: Place,
    /// Records that end in it.
    pub(super) records: u32,
}

#[derive(Debug)]
pub(super) enum Place {
    /// Still in the pipe: so many bytes of so many.
    Piped { left: usize, total: usize },
    /// In memory, from `at` on.
    Bytes { bytes: Vec<u8>, at: usize },
}

impl Piece {
    pub(super) fn is_done(&self) -> bool {
        match &self.place {
            Place::Piped { left, .. } => *left == 0,
            Place::Bytes { bytes, at } => *at == bytes.len(),
        }
    }

    /// Whether a part of it is written already.
    pub(super) fn is_begun(&self) -> bool {
        match &self.place {
            Place::Piped { left, total } => left < total,
            Place::Bytes { at, .. } => *at > 0,
        }
    }

    pub(super) fn advance(&mut self, count: usize) {
        match &mut self.place {
            Place::Piped { left, .. } => *left -= count,
            Place::Bytes { at, .. } => *at += count,
        }
    }

    /// Reads what is left of it into memory.
    pub(super) fn take_in(&mut self, pipe: &impl End) {
        if let Place::Piped { left, .. } = self.place {
            let mut bytes = Vec::new();
            // Its bytes were entered after they went in, so they are there.
            if read_exactly(pipe, &mut bytes, left).is_err() {
                bytes.clear();
            }
            self.place = Place::Bytes { bytes, at: 0 };
        }
    }

    /// Gives up a line of which a part was written to a place that is gone; says what that loses.
    /// Where what comes next `goes_on` behind it, one that lacks its end alone is kept for that.
    pub(super) fn skip_torn_line(
        &mut self,
        pipe: &impl End,
        escape: Escape,
        goes_on: bool,
    ) -> Lost {
        if !self.is_begun() {
            return Lost::default();
        }
        let was_spliced = matches!(self.place, Place::Piped { .. });
        self.take_in(pipe);
        let Place::Bytes { bytes, at } = &mut self.place else {
            unreachable!("it was just taken in")
        };
        let lacks_its_end = bytes[*at..].starts_with(b"\n");
        if *at > 0 && bytes[*at - 1] == b'\n' || goes_on && lacks_its_end {
            return Lost::default();
        }
        let start = memchr::memrchr(b'\n', &bytes[..*at]).map_or(0, |end| end + 1);
        let end = memchr::memchr(b'\n', &bytes[*at..]).map_or(bytes.len(), |end| *at + end + 1);
        let lost = if was_spliced {
            // The beginning of the line is not there any more, but only records are spliced.
            Lost { records: bytes[start..end].ends_with(b"\n").into(), told: 0 }
        } else {
            Lost::of(&bytes[start..end], self.records > 0, escape)
        };
        *at = end;
        self.records -= lost.records as u32;
        lost
    }
}

/// What a feed passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// There was nothing.
    Nothing,
    /// One or several pieces.
    Some,
    /// The sink takes no more now.
    Stopped,
}

/// Pieces that one feed passes on before the next has its turn.
const PIECES_MAX: usize = 64;

/// A feed, and what was taken out of it and is not written yet.
pub(super) struct Intake<P: Plumbing> {
    pub(super) pipe: P::End,
    ledger: Reader,
    pending: Option<Piece>,
    /// The beginning of a line whose end is still to come, and records before it.
    carry: Vec<u8>,
    carried: u32,
    digests: bool,
}

impl<P: Plumbing> Intake<P> {
    pub(super) fn new(feed: Feed<P::End>, options: &Arc<Options>) -> Self {
        Self {
            pipe: feed.pipe,
            ledger: feed.ledger,
            pending: None,
            carry: Vec::new(),
            carried: 0,
            digests: options.format.tells_mirror(),
        }
    }

    /// Whether nothing waits here to be passed on.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_none() && self.ledger.is_empty()
    }

    /// Passes on what is there.
    pub(super) fn pass_on(&mut self, out: &mut Out<P>, mirrors: &mut Mirrors) -> Passed {
        let mut passed = Passed::Nothing;
        for _ in 0..PIECES_MAX {
            if self.pending.is_none() && !self.take_next(mirrors) {
                return passed;
            }
            passed = Passed::Some;
            let Some(piece) = &mut self.pending else { continue };
            let done = match out {
                Out::Sink(sink) => sink.put(piece, &self.pipe),
                Out::Lanes(lanes) => lanes.put(piece, &self.pipe),
            };
            if !done {
                return Passed::Stopped;
            }
            self.pending = None;
        }
        passed
    }

    /// Takes the next entry; says whether there was one. A body makes no piece.
    fn take_next(&mut self, mirrors: &mut Mirrors) -> bool {
        let Some(entry) = self.ledger.take() else { return false };
        let length = entry.length as usize;
        match entry.kind {
            Kind::Body { stream } => mirrors.take(&self.pipe, stream, length),
            Kind::Torn => {
                let read = read_exactly(&self.pipe, &mut self.carry, length);
                debug_assert!(read.is_ok(), "what was entered is in the pipe");
                self.carried += entry.records;
            }
            Kind::Records if self.carry.is_empty() && entry.records > 0 => {
                let place = Place::Piped { left: length, total: length };
                self.pending = Some(Piece { place, records: entry.records });
            }
            Kind::Records => self.finish_line(length, entry.records, None),
            Kind::Mirrored { stream, hole } => {
                let word = mirrors.end_of(&self.pipe, stream);
                if length == 0 {
                    // No record tells of it.
                    return true;
                }
                let hole = hole.filter(|_| self.digests);
                self.finish_line(length, entry.records, hole.map(|hole| (hole as usize, word)));
            }
        }
        true
    }

    /// Makes a piece in memory of what was carried and what comes now.
    fn finish_line(&mut self, length: usize, records: u32, word: Option<(usize, String)>) {
        let mut bytes = std::mem::take(&mut self.carry);
        let read = read_exactly(&self.pipe, &mut bytes, length);
        debug_assert!(read.is_ok(), "what was entered is in the pipe");
        if let Some((hole, word)) = word {
            // The hole is counted from the start of its line, which is the last.
            let lines = &bytes[..bytes.len().saturating_sub(1)];
            let start = memchr::memrchr(b'\n', lines).map_or(0, |end| end + 1);
            let at = (start + hole).min(bytes.len());
            bytes.splice(at..at, word.into_bytes());
        }
        let records = records + std::mem::take(&mut self.carried);
        self.pending = Some(Piece { place: Place::Bytes { bytes, at: 0 }, records });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access_log::ledger::{Entry, ledger};
    use crate::access_log::stats::Stats;
    use crate::access_log::thread::real::Real;

    /// The piece that a log's bytes become, of which so many go to a place that is gone then.
    fn torn(bytes: &[u8], records: u32, went: usize, goes_on: bool) -> (Lost, u32) {
        let (pipe, filling) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&filling, bytes).unwrap();
        let (mut writer, reader) = ledger();
        let length = bytes.len() as u32;
        writer.enter(Entry { kind: Kind::Records, length, records });
        let (options, stats) = (Arc::new(Options::default()), Arc::new(Stats::default()));
        let mut intake: Intake<Real> = Intake::new(Feed { pipe, ledger: reader }, &options);
        assert!(intake.take_next(&mut Mirrors::none(&stats)));
        let mut piece = intake.pending.take().unwrap();
        if let Place::Piped { .. } = piece.place {
            read_exactly(&intake.pipe, &mut Vec::new(), went).unwrap();
        }
        piece.advance(went);
        let lost = piece.skip_torn_line(&intake.pipe, Escape::Json, goes_on);
        (lost, piece.records)
    }

    #[test]
    fn a_torn_word_of_the_log_is_no_record_and_what_it_told_is_told_again() {
        let word = b"{\"missing\":12}\n";
        for went in 1..word.len() {
            assert_eq!(torn(word, 0, went, false), (Lost { records: 0, told: 12 }, 0), "{went}");
            // Where the next line goes on behind it, all but its end tells as much.
            let told = if went + 1 == word.len() { 0 } else { 12 };
            assert_eq!(torn(word, 0, went, true), (Lost { records: 0, told }, 0), "{went}");
        }
    }

    #[test]
    fn a_torn_record_is_one_whatever_stands_in_it() {
        let record = b"{\"x\":{\"missing\":12}\n";
        for went in 1..record.len() {
            assert_eq!(torn(record, 1, went, false), (Lost { records: 1, told: 0 }, 0), "{went}");
            let records = u64::from(went + 1 < record.len());
            let left = (Lost { records, told: 0 }, 1 - records as u32);
            assert_eq!(torn(record, 1, went, true), left, "{went}");
        }
    }
}
