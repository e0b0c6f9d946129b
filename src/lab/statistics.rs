//! The median of some rounds, and an interval that holds it, without a guess of how they spread.

use serde::{Deserialize, Serialize};

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the rounds are at or below it.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The chance that the interval holds the true median, from 0 to 1.
    pub confidence: f64,
}

/// The least confidence that is asked for, where there are rounds enough for it.
const CONFIDENCE: f64 = 0.95;

/// The median, and the narrowest interval between two of the values that holds the true median
/// in 95 of 100 cases. Values fall on either side of a median like a coin, whatever their
/// distribution, so the chances are those of the binomial. With fewer than six values there is no
/// such interval; then it is all of them, and the confidence says how little that is.
///
/// ```
/// use pitcrew::lab::spread;
/// let told = spread(&[5.0, 1.0, 3.0, 2.0, 4.0, 7.0, 6.0]);
/// assert_eq!((told.median, told.low, told.high), (4.0, 1.0, 7.0));
/// assert_eq!(told.confidence, 1.0 - 2.0 / 128.0);
/// ```
pub fn spread(values: &[f64]) -> Spread {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let Some(last) = count.checked_sub(1) else { return Spread::default() };
    let median = (sorted[last / 2] + sorted[count / 2]) / 2.0;
    // Values cut off at each end, and the chance that the median lies beyond one of the rest.
    let (mut cut, mut beyond) = (0, 0.5f64.powi(count as i32));
    let mut term = beyond;
    while cut < last / 2 {
        term *= (count - cut) as f64 / (cut + 1) as f64;
        if 1.0 - 2.0 * (beyond + term) < CONFIDENCE {
            break;
        }
        beyond += term;
        cut += 1;
    }
    let confidence = (1.0 - 2.0 * beyond).max(0.0);
    Spread { median, low: sorted[cut], high: sorted[last - cut], confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables_of_the_sign_test() {
        // Pairs of order statistics and their confidence, as printed in tables.
        for (count, rank, confidence) in [
            (6, 1, 0.96875),
            (7, 1, 0.984375),
            (9, 2, 0.9609375),
            (10, 2, 0.978515625),
            (15, 4, 0.96484375),
        ] {
            let values: Vec<f64> = (1..=count).map(f64::from).collect();
            let told = spread(&values);
            assert_eq!((told.low, told.high), (f64::from(rank), f64::from(count + 1 - rank)));
            assert!((told.confidence - confidence).abs() < 1e-9, "{count}: {told:?}");
        }
    }

    #[test]
    fn few_values_say_how_little_they_tell() {
        assert_eq!(spread(&[]), Spread::default());
        let one = spread(&[3.0]);
        assert_eq!((one.median, one.low, one.high, one.confidence), (3.0, 3.0, 3.0, 0.0));
        let two = spread(&[2.0, 4.0]);
        assert_eq!((two.median, two.confidence), (3.0, 0.5));
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0]).confidence, 0.9375);
    }
}
