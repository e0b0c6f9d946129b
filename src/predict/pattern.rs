//! The pattern in the last reads of a stream, by vote.

use crate::limits::{PREDICT_HISTORY, PREDICT_PERIOD_MAX};

/// How the reads of a stream follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// In no way that would tell the next one.
    #[default]
    None,
    /// Each begins where the one before it ends.
    Sequential,
    /// Each begins so many bytes after the begin of the one before it, or before it.
    Strided(i64),
    /// The same offsets come again after so many reads.
    Repeated(usize),
}

/// One read that was asked for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) offset: u64,
    pub(super) count: u32,
}

impl Read {
    fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.count))
    }
}

/// The way from one read to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// To its end, however long it was.
    Next,
    /// By so many bytes, from begin to begin.
    By(i64),
}

impl Hop {
    /// None if the distance is more than any file is long.
    fn between(from: Read, to: Read) -> Option<Hop> {
        if to.offset == from.end() && from.count > 0 {
            return Some(Hop::Next);
        }
        let distance = i128::from(to.offset) - i128::from(from.offset);
        i64::try_from(distance).ok().map(Hop::By)
    }
}

/// Hops in a row that are a pattern, whatever came before them.
const RUN: usize = 3;

/// Hops that agree, or offsets that come again, before either is called a pattern.
const EVIDENCE_MIN: usize = 2;

/// The last reads, the youngest last.
#[derive(Clone, Debug)]
pub(super) struct History {
    reads: [Read; PREDICT_HISTORY],
    count: usize,
}

impl History {
    pub(super) const fn new() -> Self {
        Self { reads: [Read { offset: 0, count: 0 }; PREDICT_HISTORY], count: 0 }
    }

    pub(super) fn push(&mut self, read: Read) {
        if self.count == self.reads.len() {
            self.reads.copy_within(1.., 0);
            self.count -= 1;
        }
        self.reads[self.count] = read;
        self.count += 1;
    }

    fn reads(&self) -> &[Read] {
        &self.reads[..self.count]
    }

    /// The last hop, if it has the majority of the votes, or if the last ones are all the same.
    pub(super) fn hop(&self) -> Option<Hop> {
        let mut hops = self.reads().windows(2).rev().map(|pair| Hop::between(pair[0], pair[1]));
        // To stay in one place is a round of one read, and no stride.
        let last = hops.next()?.filter(|&last| last != Hop::By(0))?;
        let (mut votes, mut run, mut broken) = (1, 1, false);
        for hop in hops {
            let agrees = hop == Some(last);
            votes += usize::from(agrees);
            broken |= !agrees;
            run += usize::from(!broken);
        }
        let majority = votes >= EVIDENCE_MIN && 2 * votes > self.count - 1;
        (majority || run >= RUN).then_some(last)
    }

    /// The offsets that come again and again, the one that is due next first.
    pub(super) fn cycle(&self) -> Option<Cycle> {
        let reads = self.reads();
        let comes_again = |period: usize| {
            let proof = period.max(EVIDENCE_MIN);
            reads.len() >= period + proof
                && (reads.len() - proof..reads.len())
                    .all(|at| reads[at].offset == reads[at - period].offset)
        };
        let period = (1..=PREDICT_PERIOD_MAX).find(|&period| comes_again(period))?;
        let mut offsets = [0; PREDICT_PERIOD_MAX];
        for (offset, read) in offsets.iter_mut().zip(&reads[reads.len() - period..]) {
            *offset = read.offset;
        }
        Some(Cycle { offsets, period })
    }
}

/// Offsets that repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    offsets: [u64; PREDICT_PERIOD_MAX],
    pub(super) period: usize,
}

impl Cycle {
    /// The offset of the read that is `steps` further than the one before the first.
    pub(super) fn at(&self, steps: usize) -> u64 {
        self.offsets[(steps - 1) % self.period]
    }

    /// Goes on by so many reads.
    pub(super) fn advance(&mut self, steps: usize) {
        self.offsets[..self.period].rotate_left(steps % self.period);
    }
}
