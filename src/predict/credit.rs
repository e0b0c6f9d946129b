//! What a predictor may spend on what nobody has asked for.

use crate::limits::{PREDICT_READS_PER_CREDIT, PREDICTED_MAX};

/// What a read of a pattern earns once it was predicted, or the pattern has proved itself: the
/// prediction that it cost and one more, so that such a stream is read ahead further with every
/// read.
const PROVED_EARNS: i32 = 2 * PARTS;

/// What it earns before: runs that end soon are not worth reading ahead.
const SEEN_EARNS: i32 = PARTS / 4;

/// Reads in a row that prove a pattern.
pub(super) const PROOF: u32 = 3;

/// What there is before the first read, in predictions: enough to prove a pattern.
const AT_START: i32 = 2;

/// Parts of a prediction that are counted; a read at random earns one.
const PARTS: i32 = PREDICT_READS_PER_CREDIT as i32;

/// The most that can be owed for predictions that came to nothing: two foreseen reads pay it.
const DEBT_MAX: i32 = 4 * PARTS;

/// How a read stands to what was foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foresight {
    /// Not at all.
    None,
    /// It is the next one of the pattern, as so many before it in a row, itself included.
    Seen { run: u32 },
    /// It was predicted.
    Predicted,
}

/// A number of predictions that may still be made, in parts; below 0 when too many were wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credit(i32);

impl Credit {
    pub(super) const fn new() -> Self {
        Self(AT_START * PARTS)
    }

    pub(super) fn earn(&mut self, read: Foresight) {
        let earned = match read {
            Foresight::None => 1,
            Foresight::Seen { run } if run < PROOF => SEEN_EARNS,
            Foresight::Seen { .. } | Foresight::Predicted => PROVED_EARNS,
        };
        self.0 = (self.0 + earned).min(PREDICTED_MAX as i32 * PARTS);
    }

    /// Whole predictions that may be made.
    pub(super) fn predictions(self) -> usize {
        usize::try_from(self.0 / PARTS).unwrap_or(0)
    }

    /// Pays for predictions that are made, or for those that came to nothing.
    pub(super) fn spend(&mut self, predictions: usize) {
        let parts = i32::try_from(predictions).unwrap_or(i32::MAX).saturating_mul(PARTS);
        self.0 = self.0.saturating_sub(parts).max(-DEBT_MAX);
    }
}
