//! Medians, their intervals, and what is more than noise.

use serde::Serialize;

/// How the interval of a [`Spread`] is called wherever it is shown.
pub(crate) const INTERVAL: &str = "95 % interval of the median";

/// The part of all runs in which the median may lie outside of its interval.
const MISSES: f64 = 0.05;
/// From so many rounds on, the binomial law is taken for a normal one.
const MANY: usize = 500;

/// The middle of some values, and where the median of whatever they were taken from lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The lower end of the 95 % interval of the median, one of the values itself. Under six
    /// values there is no such interval, and this is the least of them.
    pub(crate) low: f64,
    /// Half of the values are below.
    pub(crate) median: f64,
    /// The upper end of the interval; under six values the greatest.
    pub(crate) high: f64,
    /// A quarter of the values is below the first, three quarters are below the second.
    pub(crate) middle_half: [f64; 2],
    /// How many values there were.
    pub(crate) rounds: usize,
}

impl Spread {
    /// Of some values; none if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return None;
        }
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        let outside = outside(sorted.len());
        Some(Self {
            low: sorted[outside],
            median: at(0.5),
            high: sorted[sorted.len() - 1 - outside],
            middle_half: [at(0.25), at(0.75)],
            rounds: sorted.len(),
        })
    }

    /// How far the middle half of these ratios of equals lies from one: what noise does.
    pub(crate) fn noise(&self) -> f64 {
        let [low, high] = self.middle_half;
        (low - 1.0).abs().max((high - 1.0).abs())
    }

    /// Whether these ratios tell of a difference: they lie more than twice the noise from one, and
    /// one is outside of their interval.
    pub(crate) fn is_beyond(&self, noise: f64) -> bool {
        (self.median - 1.0).abs() > 2.0 * noise && !self.contains(1.0)
    }

    /// Whether a value lies in the interval.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// How many values on each side lie outside of the interval. Whatever the law of the values, each
/// is above the median with a chance of a half, so their number there follows the binomial law.
fn outside(rounds: usize) -> usize {
    let count = rounds as f64;
    if rounds > MANY {
        return ((count - 1.96 * count.sqrt() - 1.0) / 2.0) as usize;
    }
    let mut chance = 0.5f64.powi(rounds as i32);
    let (mut misses, mut outside) = (chance, 0);
    loop {
        chance *= (rounds - outside) as f64 / (outside + 1) as f64;
        misses += chance;
        if 2.0 * misses > MISSES {
            return outside;
        }
        outside += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_is_found_between_values() {
        assert_eq!(Spread::of([]), None);
        let one = Spread { low: 2.0, median: 2.0, high: 2.0, middle_half: [2.0, 2.0], rounds: 1 };
        assert_eq!(Spread::of([2.0]), Some(one));
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, f64::NAN]).unwrap();
        assert_eq!(spread.middle_half, [1.75, 3.25]);
        assert_eq!((spread.low, spread.median, spread.high, spread.rounds), (1.0, 2.5, 4.0, 4));
    }

    #[test]
    fn the_interval_is_that_of_the_tables_of_order_statistics() {
        // Conover, Practical Nonparametric Statistics, table A3: ranks for a level of 95 %.
        for (rounds, rank) in [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (30, 10)]
        {
            assert_eq!(outside(rounds) + 1, rank, "{rounds}");
        }
        assert!(outside(501).abs_diff(outside(500)) <= 1);
        let spread = Spread::of((1..=9).map(f64::from)).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 5.0, 8.0));
    }

    #[test]
    fn a_ratio_within_twice_the_noise_of_equals_is_no_result() {
        let spread =
            |low, median, high| Spread { low, median, high, middle_half: [low, high], rounds: 8 };
        let equals = spread(0.98, 1.0, 1.01);
        assert!((equals.noise() - 0.02).abs() < 1e-9);
        let ratio = |median: f64| spread(median, median, median);
        assert!(!ratio(0.97).is_beyond(equals.noise()));
        assert!(ratio(0.95).is_beyond(equals.noise()));
        assert!(ratio(1.05).is_beyond(equals.noise()));
        // Far enough, but the rounds do not agree on which side.
        assert!(!spread(0.8, 0.95, 1.01).is_beyond(equals.noise()));
    }
}
