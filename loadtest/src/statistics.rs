//! Medians, spreads, and what is more than noise.

use serde::Serialize;

/// The middle of some values and where their middle half lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// A quarter of the values is below.
    pub(crate) low: f64,
    /// Half of the values are below.
    pub(crate) median: f64,
    /// Three quarters are below.
    pub(crate) high: f64,
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
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }

    /// How far these ratios of equals lie from one: what noise does.
    pub(crate) fn noise(&self) -> f64 {
        (self.low - 1.0).abs().max((self.high - 1.0).abs())
    }

    /// Whether these ratios tell more than twice the noise.
    pub(crate) fn is_beyond(&self, noise: f64) -> bool {
        (self.median - 1.0).abs() > 2.0 * noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_is_found_between_values() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([2.0]), Some(Spread { low: 2.0, median: 2.0, high: 2.0 }));
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, f64::NAN]).unwrap();
        assert_eq!(spread, Spread { low: 1.75, median: 2.5, high: 3.25 });
    }

    #[test]
    fn a_ratio_within_twice_the_noise_of_equals_is_no_result() {
        let equals = Spread { low: 0.98, median: 1.0, high: 1.01 };
        assert!((equals.noise() - 0.02).abs() < 1e-9);
        let ratio = |median: f64| Spread { low: median, median, high: median };
        assert!(!ratio(0.97).is_beyond(equals.noise()));
        assert!(ratio(0.95).is_beyond(equals.noise()));
        assert!(ratio(1.05).is_beyond(equals.noise()));
    }
}
