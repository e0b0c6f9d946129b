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
        let mut counts = [0u64; BUCKETS];
        let mut told = Percentiles { best: u64::MAX, ..Percentiles::default() };
        for one in all {
            for (sum, counter) in counts.iter_mut().zip(&*one.buckets) {
                *sum += counter.read();
            }
            told.sum = told.sum.wrapping_add(one.sum.read());
            told.best = told.best.min(one.least.read());
            told.worst = told.worst.max(one.most.read());
        }
        told.count = counts.iter().sum();
        if told.count == 0 {
            return Percentiles::default();
        }
        let at = |share: u64| {
            let rank = (told.count * share).div_ceil(100);
            let mut seen = 0;
            for (index, count) in counts.iter().enumerate() {
                seen += count;
                if seen >= rank {
                    return ceiling(index).clamp(told.best, told.worst);
                }
            }
            told.worst
        };
        (told.p50, told.p90, told.p99) = (at(50), at(90), at(99));
        told
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
