//! What lies unread in the pipe of a reader: the records that are lost with it when it ends.
//!
//! The kernel tells how many bytes of a pipe nobody has read (FIONREAD), also when nobody is left
//! who could, for as long as our end is open. Which lines these are is known from what was written,
//! so what goes into a pipe is read into memory first and not spliced. What the reader had read and
//! not worked through cannot be known, but for a line of which it got a part: that one is lost.
//!
//! Where another process writes into the same FIFO, its bytes are taken for ours if they lie behind
//! them, and the count is the most that it can be.

use std::collections::VecDeque;

use crate::access_log::escape::Escape;
use crate::access_log::marker;
use crate::limits::LOG_UNREAD_LINES;

/// What is lost with some lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Records.
    pub(super) records: u64,
    /// Records of which a lost line said that they are missing, and which were counted then.
    pub(super) told: u64,
}

/// One line that was written, or some of the oldest.
#[derive(Debug)]
struct Line {
    bytes: u64,
    lost: Lost,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unread {
    lines: VecDeque<Line>,
    /// Bytes of these, and of the beginning of a line whose end is still to be written. Whoever
    /// gives that up counts it.
    bytes: u64,
}

impl Lost {
    /// With one line, of a piece that has records or none.
    pub(super) fn of(line: &[u8], has_records: bool, escape: Escape) -> Self {
        if !line.ends_with(b"\n") {
            // It goes on nowhere: it is not among the records of its piece, and was counted.
            return Self::default();
        }
        match marker::missing_in(line, escape) {
            Some(told) => Self { records: 0, told },
            // In a piece without records it is the end of a line that was torn before.
            None => Self { records: has_records.into(), told: 0 },
        }
    }

    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.told += other.told;
    }
}

impl Unread {
    /// A piece was written from one place in it to another.
    pub(super) fn wrote(
        &mut self,
        piece: &[u8],
        (from, to): (usize, usize),
        has_records: bool,
        escape: Escape,
    ) {
        assert!(from <= to && to <= piece.len(), "a part of the piece was written");
        let mut start = memchr::memrchr(b'\n', &piece[..from]).map_or(0, |end| end + 1);
        for end in memchr::memchr_iter(b'\n', &piece[from..to]) {
            let line = &piece[start..=from + end];
            self.push(line.len(), Lost::of(line, has_records, escape));
            start += line.len();
        }
        if to == piece.len() && start < to {
            self.push(to - start, Lost::of(&piece[start..], has_records, escape));
        }
        self.bytes += (to - from) as u64;
    }

    fn push(&mut self, bytes: usize, lost: Lost) {
        if self.lines.len() == LOG_UNREAD_LINES
            && let Some(oldest) = self.lines.pop_front()
            && let Some(next) = self.lines.front_mut()
        {
            next.bytes += oldest.bytes;
            next.lost.add(oldest.lost);
        }
        self.lines.push_back(Line { bytes: bytes as u64, lost });
    }

    /// Forgets the lines that were read whole.
    pub(super) fn settle(&mut self, unread: u64) {
        while let Some(line) = self.lines.front()
            && self.bytes - line.bytes >= unread
        {
            self.bytes -= line.bytes;
            self.lines.pop_front();
        }
    }

    /// What is lost with so many bytes.
    pub(super) fn lost(mut self, unread: u64) -> Lost {
        self.settle(unread);
        let mut lost = Lost::default();
        self.lines.iter().for_each(|line| lost.add(line.lost));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: &[u8] = b"first\nsecond\n# pitcrew: missing records: 17\nthird\n";

    fn whole() -> Unread {
        let mut unread = Unread::default();
        unread.wrote(PIECE, (0, PIECE.len()), true, Escape::Text);
        unread
    }

    #[test]
    fn a_line_is_lost_when_a_byte_of_it_is() {
        let lost = |unread| {
            let lost = whole().lost(unread);
            (lost.records, lost.told)
        };
        assert_eq!(lost(0), (0, 0));
        assert_eq!((lost(1), lost(6)), ((1, 0), (1, 0)));
        assert_eq!((lost(7), lost(37)), ((1, 17), (1, 17)));
        assert_eq!((lost(38), lost(44)), ((2, 17), (2, 17)));
        assert_eq!((lost(45), lost(50)), ((3, 17), (3, 17)));
        // Others may have written there before us.
        assert_eq!(lost(1000), (3, 17));
    }

    #[test]
    fn it_does_not_matter_in_which_parts_a_piece_was_written_and_read() {
        for cut in 0..=PIECE.len() {
            for read in 0..=cut {
                let mut unread = Unread::default();
                unread.wrote(PIECE, (0, cut), true, Escape::Text);
                unread.settle((cut - read) as u64);
                unread.wrote(PIECE, (cut, PIECE.len()), true, Escape::Text);
                let left = (PIECE.len() - read) as u64;
                assert_eq!(unread.lost(left), whole().lost(left), "{cut}, {read}");
            }
        }
    }

    #[test]
    fn who_gives_up_a_torn_line_has_counted_it() {
        let mut unread = Unread::default();
        unread.wrote(PIECE, (0, 8), true, Escape::Text);
        assert_eq!(unread.lost(8).records, 1, "the second is still to be written");
        // A sink that took a part of a batch goes on in a new line.
        let mut unread = Unread::default();
        unread.wrote(b"first\nsec", (0, 9), true, Escape::Text);
        unread.wrote(b"\n# pitcrew: missing records: 1\n", (0, 31), false, Escape::Text);
        assert_eq!(unread.lost(40), Lost { records: 1, told: 1 });
    }

    #[test]
    fn of_more_lines_than_it_keeps_the_oldest_are_kept_together() {
        let (mut unread, count) = (Unread::default(), LOG_UNREAD_LINES + 5);
        let piece = b"\n".repeat(count);
        unread.wrote(&piece, (0, count), true, Escape::Text);
        assert_eq!(unread.lines.len(), LOG_UNREAD_LINES);
        unread.settle(count as u64 - 1);
        assert_eq!(unread.lost(count as u64 - 1).records, count as u64);
    }
}
