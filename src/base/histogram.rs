//! A log-linear histogram with a bounded relative error.
//!
//! Each power of two is cut into eight equal steps, so a recorded value is known within one
//! eighth of itself. Values are whole numbers of whatever unit the owner names.

use super::counter::{Counter, Gauge};

const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
/// Values of up to 2^40 (eighteen minutes in nanoseconds) are told apart; above, they share
/// the last bucket.
const POWER_MAX: u32 = 40;
const BUCKETS: usize = (POWER_MAX - STEP_BITS + 1) as usize * STEPS;

/// Counts of values by magnitude, written by one thread.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Counter]>,
    least: Gauge,
    most: Gauge,
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        let least = Gauge::default();
        least.set(u64::MAX);
        Self {
            buckets: (0..BUCKETS).map(|_| Counter::default()).collect(),
            least,
            most: Gauge::default(),
            sum: Counter::default(),
        }
    }
}

/// What a histogram tells: all in the unit that was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Recorded values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The least value, exactly.
    pub best: u64,
    /// Half of the values are at or below this, within an eighth.
    pub p50: u64,
    /// Nine tenths are at or below this.
    pub p90: u64,
    /// Ninety-nine hundredths are at or below this.
    pub p99: u64,
    /// The greatest value, exactly.
    pub worst: u64,
}

impl Histogram {
    /// Records one value. Only the owning thread may call it.
    #[inline]
    pub fn record(&self, value: u64) {
        self.buckets[bucket(value)].add(1);
        self.sum.add(value);
        if value < self.least.read() {
            self.least.set(value);
        }
        self.most.raise(value);
    }

    /// The greatest value, 0 as long as there is none.
    pub fn worst(&self) -> u64 {
        self.most.read()
    }

    /// The percentiles of several histograms taken together, as of now.
    ///
    /// ```
    /// # use pitcrew::base::Histogram;
    /// let laps = Histogram::default();
    /// for lap in 1..=100 { laps.record(lap) }
    /// let told = Histogram::merged([&laps]);
    /// assert_eq!((told.count, told.best, told.worst), (100, 1, 100));
    /// assert!((50..=57).contains(&told.p50));
    /// ```
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Percentiles {
        let mut spread = Spread::default();
        all.into_iter().for_each(|one| spread.add(one));
        spread.percentiles()
    }
}

/// Values of several histograms taken together.
#[derive(Clone, PartialEq, Eq)]
pub struct Spread {
    counts: Box<[u64]>,
    least: u64,
    most: u64,
    sum: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), least: u64::MAX, most: 0, sum: 0 }
    }
}

impl std::fmt::Debug for Spread {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.percentiles().fmt(out)
    }
}

impl Spread {
    /// Counts that are read from a histogram to take it in.
    pub const READS: usize = BUCKETS + 3;

    /// Takes in the values of a histogram, as of now.
    pub fn add(&mut self, one: &Histogram) {
        for (sum, counter) in self.counts.iter_mut().zip(&*one.buckets) {
            *sum += counter.read();
        }
        self.sum = self.sum.wrapping_add(one.sum.read());
        self.least = self.least.min(one.least.read());
        self.most = self.most.max(one.most.read());
    }

    /// How many values are below a power of two, exactly: buckets begin and end there.
    ///
    /// ```
    /// # use pitcrew::base::{Histogram, Spread};
    /// let laps = Histogram::default();
    /// for lap in 0..100 { laps.record(lap) }
    /// let mut spread = Spread::default();
    /// spread.add(&laps);
    /// assert_eq!([spread.below(0), spread.below(6), spread.below(7)], [1, 64, 100]);
    /// ```
    pub fn below(&self, power: u32) -> u64 {
        let end = if power >= POWER_MAX { BUCKETS - 1 } else { bucket(1 << power) };
        self.counts[..end].iter().sum()
    }

    /// Buckets that are not empty, each with the greatest value that falls into it and how many
    /// did. The last one holds all that is greater, too.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(index, count)| (ceiling(index), *count))
    }

    /// What the values tell.
    pub fn percentiles(&self) -> Percentiles {
        let count: u64 = self.counts.iter().sum();
        if count == 0 {
            return Percentiles::default();
        }
        let at = |share: u64| {
            let rank = (u128::from(count) * u128::from(share)).div_ceil(100);
            let mut seen = 0;
            for (index, counted) in self.counts.iter().enumerate() {
                seen += u128::from(*counted);
                if seen >= rank {
                    return ceiling(index).clamp(self.least.min(self.most), self.most);
                }
            }
            self.most
        };
        let (p50, p90, p99) = (at(50), at(90), at(99));
        Percentiles { count, sum: self.sum, best: self.least, p50, p90, p99, worst: self.most }
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    if power >= POWER_MAX {
        return BUCKETS - 1;
    }
    let step = (value >> (power - STEP_BITS)) as usize & (STEPS - 1);
    (power - STEP_BITS + 1) as usize * STEPS + step
}

/// The greatest value that falls into a bucket.
fn ceiling(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let power = (index / STEPS) as u32 + STEP_BITS - 1;
    let step = (index % STEPS) as u64;
    ((STEPS as u64 + step + 1) << (power - STEP_BITS)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_an_eighth() {
        for power in 0..POWER_MAX {
            for value in [1u64 << power, (1 << power) + 1, (1 << power) * 3 / 2] {
                if value >= 1 << POWER_MAX {
                    continue;
                }
                let top = ceiling(bucket(value));
                assert!(top >= value, "{value} above its bucket's ceiling {top}");
                assert!(top - value <= value / 8, "{value} is told as {top}");
            }
        }
    }

    #[test]
    fn huge_values_share_the_last_bucket() {
        let histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(Histogram::merged([&histogram]).worst, u64::MAX);
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        assert_eq!(Histogram::merged([&Histogram::default()]), Percentiles::default());
    }
}
