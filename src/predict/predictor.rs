//! One stream of reads and what it will ask for.

use super::credit::{Credit, Foresight, PROOF};
use super::pattern::{Cycle, History, Hop, Pattern, Read};
use crate::limits::{PREDICT_STRAYS_MAX, PREDICTED_MAX};

/// What the reads of one stream will be: their pattern by vote, and the offsets that come next.
///
/// A stream is what one reader asks of one file. Two readers of a file are two streams; mixed in
/// one predictor they would hide each other's pattern.
///
/// Whoever reads ahead tells it every read that was asked for ([`observe`](Self::observe)), takes
/// the offsets that are worth reading now ([`predict`](Self::predict)), and says in the end what
/// became of each: used, late (still on its way when it was asked for) or wasted.
///
/// ```
/// use pitcrew::predict::{Pattern, Predictor};
/// let mut predictor = Predictor::new();
/// for offset in [0, 4096, 8192] {
///     predictor.observe(offset, 4096);
/// }
/// assert_eq!(predictor.pattern(), Pattern::Sequential);
/// // At first it is careful; each read that it has foreseen lets it look further ahead.
/// let ahead: Vec<u64> = predictor.predict(16, 1 << 20).collect();
/// assert_eq!(ahead, [12_288, 16_384]);
/// predictor.observe(12_288, 4096);
/// predictor.note_used(1);
/// assert_eq!(predictor.predict(16, 1 << 20).collect::<Vec<_>>(), [20_480, 24_576]);
/// assert_eq!(predictor.outlook(), [16_384, 20_480, 24_576]);
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    history: History,
    track: Option<Track>,
    credit: Credit,
    tally: Tally,
}

/// What was predicted for a stream, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reads that were asked for.
    pub reads: u64,
    /// Offsets that were predicted.
    pub predicted: u64,
    /// Of them, those that were there when they were asked for.
    pub used: u64,
    /// Of them, those that were still on their way when they were asked for.
    pub late: u64,
    /// Of them, those that were given up before anybody asked for them.
    pub wasted: u64,
}

impl Tally {
    /// The share of the reads that had been predicted, in time or late: 0 to 1.
    ///
    /// ```
    /// use pitcrew::predict::Tally;
    /// let tally = Tally { reads: 8, predicted: 7, used: 5, late: 1, wasted: 1 };
    /// assert_eq!(tally.hit_rate(), 0.75);
    /// assert_eq!(Tally::default().hit_rate(), 0.0);
    /// ```
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        if self.reads == 0 { 0.0 } else { (self.used + self.late) as f64 / self.reads as f64 }
    }
}

/// A pattern that is being followed, from the last read that fitted it.
#[derive(Clone, Copy, Debug)]
struct Track {
    course: Course,
    /// The last read that fitted.
    at: Read,
    /// Predictions beyond it that nobody has asked for yet.
    ahead: usize,
    /// Reads since then that did not fit.
    strays: u32,
    /// Reads that did, since the track was found.
    run: u32,
}

#[derive(Clone, Copy, Debug)]
enum Course {
    Straight(Hop),
    Round(Cycle),
}

impl Predictor {
    /// For a stream that has not read yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            history: History::new(),
            track: None,
            credit: Credit::new(),
            tally: Tally { reads: 0, predicted: 0, used: 0, late: 0, wasted: 0 },
        }
    }

    /// Takes note of a read of `count` bytes at `offset` that was asked for.
    pub fn observe(&mut self, offset: u64, count: u32) {
        let read = Read { offset, count };
        self.history.push(read);
        self.tally.reads += 1;
        let foresight = self.track.as_mut().map_or(Foresight::None, |track| track.follow(read));
        self.credit.earn(foresight);
        if foresight == Foresight::None {
            self.look_for_another(read);
        }
    }

    /// Keeps to the track over single strays, as of a reader that looks something up in between.
    fn look_for_another(&mut self, read: Read) {
        let round = self.history.cycle().map(Course::Round);
        if let Some(course) = round.or_else(|| self.history.hop().map(Course::Straight)) {
            self.track = Some(Track { course, at: read, ahead: 0, strays: 0, run: 0 });
        } else if self.track.is_some_and(|track| track.strays > PREDICT_STRAYS_MAX) {
            self.track = None;
        }
    }

    /// How the reads follow each other now.
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        match self.track.map(|track| track.course) {
            None => Pattern::None,
            Some(Course::Straight(Hop::Next)) => Pattern::Sequential,
            Some(Course::Straight(Hop::By(stride))) => Pattern::Strided(stride),
            Some(Course::Round(cycle)) => Pattern::Repeated(cycle.period),
        }
    }

    /// Whether so many reads in a row have kept to the pattern that chance does not explain them.
    pub(crate) fn is_proved(&self) -> bool {
        self.track.is_some_and(|track| track.run >= PROOF && track.strays == 0)
    }

    /// The offsets to read now, each for as many bytes as the last read had: at most `most`, all
    /// below `end`, the length of the file, the nearest in time first. Each is given out once.
    ///
    /// It is empty without a pattern, after a read that did not fit, when [`PREDICTED_MAX`] are
    /// ahead already, and when too many came to nothing lately.
    pub fn predict(&mut self, most: usize, end: u64) -> impl ExactSizeIterator<Item = u64> + use<> {
        let mut offsets = [0; PREDICTED_MAX];
        let mut count = 0;
        if let Some(track) = &mut self.track
            && track.strays == 0
        {
            let most = most.min(self.credit.predictions());
            while count < most
                && let Some(offset) = track.predict(end)
            {
                offsets[count] = offset;
                count += 1;
            }
        }
        self.credit.spend(count);
        self.tally.predicted += count as u64;
        offsets.into_iter().take(count)
    }

    /// Every offset that was predicted and not asked for yet, at most [`PREDICTED_MAX`], the
    /// nearest in time first. A stream that left its pattern has none.
    #[must_use]
    pub fn outlook(&self) -> Vec<u64> {
        let Some(track) = &self.track else { return Vec::new() };
        (1..=track.ahead).filter_map(|steps| track.step(steps)).collect()
    }

    /// Takes note of predictions that were there when they were asked for.
    pub fn note_used(&mut self, count: u64) {
        self.tally.used += count;
    }

    /// Takes note of predictions that were on their way when they were asked for.
    pub fn note_late(&mut self, count: u64) {
        self.tally.late += count;
    }

    /// Takes note of predictions that were given up. The fewer of them are made.
    pub fn note_wasted(&mut self, count: u64) {
        self.tally.wasted += count;
        self.credit.spend(usize::try_from(count).unwrap_or(usize::MAX));
    }

    /// Leaves the pattern: what was predicted is no longer expected. It is found anew with the
    /// next read.
    pub fn leave(&mut self) {
        self.track = None;
    }

    /// What was predicted so far, and what became of it.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

impl Default for Predictor {
    fn default() -> Self {
        Self::new()
    }
}

impl Track {
    /// Whether the read is the next one or one of those that were predicted; if so, goes there.
    /// One that comes out of its order is as good.
    fn follow(&mut self, read: Read) -> Foresight {
        let within = (self.ahead + 1).min(self.steps_max());
        let Some(steps) = (1..=within).find(|&steps| self.step(steps) == Some(read.offset)) else {
            self.strays += 1;
            return Foresight::None;
        };
        let predicted = steps <= self.ahead;
        self.run = self.run.saturating_add(1);
        if let Course::Round(cycle) = &mut self.course {
            cycle.advance(steps);
        }
        // Offsets that were computed with another length of read are no longer those that come.
        let same =
            self.at.count == read.count || !matches!(self.course, Course::Straight(Hop::Next));
        self.ahead = if same { self.ahead.saturating_sub(steps) } else { 0 };
        self.at = read;
        self.strays = 0;
        if predicted { Foresight::Predicted } else { Foresight::Seen { run: self.run } }
    }

    /// The next offset that was not predicted yet.
    fn predict(&mut self, end: u64) -> Option<u64> {
        if self.ahead == self.steps_max() {
            return None;
        }
        let offset = self.step(self.ahead + 1).filter(|&offset| offset < end)?;
        self.ahead += 1;
        Some(offset)
    }

    /// Beyond one round there is nothing new.
    fn steps_max(&self) -> usize {
        match self.course {
            Course::Straight(_) => PREDICTED_MAX,
            Course::Round(cycle) => cycle.period,
        }
    }

    /// The offset of the read so many steps from the last one; none beyond what offsets express.
    fn step(&self, steps: usize) -> Option<u64> {
        let stride = match self.course {
            Course::Round(cycle) => return Some(cycle.at(steps)),
            Course::Straight(Hop::Next) => i64::from(self.at.count),
            Course::Straight(Hop::By(stride)) => stride,
        };
        self.at.offset.checked_add_signed(stride.checked_mul(steps as i64)?)
    }
}

#[cfg(test)]
mod tests;
