//! After this file, that file.

use super::credit::{Credit, Foresight};

/// Which key follows which: a bounded memory of pairs that were seen often.
///
/// Keys are whatever numbers the caller knows its files by. For each key it keeps one successor
/// and its votes (the majority vote of Boyer and Moore): another one takes a vote away, and the
/// place when none is left. A table of fixed size holds the keys; a new one takes the place of
/// the weakest of its few neighbours.
///
/// ```
/// use pitcrew::predict::Successors;
/// let (page, style, other) = (1, 2, 3);
/// let mut successors = Successors::new(64);
/// assert_eq!(successors.predict(page), None);
/// for _visit in 0..2 {
///     successors.observe(page, style);
/// }
/// assert_eq!(successors.predict(page), Some(style));
/// assert_eq!(successors.predict(other), None);
/// ```
#[derive(Clone, Debug)]
pub struct Successors {
    places: Box<[Place]>,
    credit: Credit,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    successor: u64,
    /// 0 for an empty place.
    votes: u8,
}

/// Places in which one key may be.
const WAYS: usize = 4;

/// Votes from which on a successor is predicted.
const VOTES_MIN: u8 = 2;

/// The most votes of one successor: after as many others it is forgotten.
const VOTES_MAX: u8 = 8;

impl Successors {
    /// Room for `keys` keys, rounded up to a power of two, at least four. A key takes 24 bytes.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let places = vec![Place::default(); keys.max(WAYS).next_power_of_two()];
        Self { places: places.into(), credit: Credit::new() }
    }

    /// Takes note that somebody asked for `key` after `before`.
    pub fn observe(&mut self, before: u64, key: u64) {
        let places = self.neighbours(before);
        let known = places.iter().position(|place| place.votes > 0 && place.key == before);
        let weakest = || places.iter().enumerate().min_by_key(|(_, place)| place.votes);
        let Some(at) = known.or_else(|| weakest().map(|(at, _)| at)) else { return };
        let place = &mut places[at];
        let foreseen = known.is_some() && place.successor == key && place.votes >= VOTES_MIN;
        if known.is_some() && place.successor == key {
            place.votes = (place.votes + 1).min(VOTES_MAX);
        } else if place.votes > 1 {
            // Whoever holds the place keeps it, a vote poorer, also against another key: so a
            // flood of names that come once does not wash away what is known.
            place.votes -= 1;
        } else {
            *place = Place { key: before, successor: key, votes: 1 };
        }
        self.credit.earn(if foreseen { Foresight::Predicted } else { Foresight::None });
    }

    /// What follows `key`, if that was seen often enough and if it was right lately.
    pub fn predict(&mut self, key: u64) -> Option<u64> {
        if self.credit.predictions() == 0 {
            return None;
        }
        let places = self.neighbours(key);
        let place = places.iter().find(|place| place.votes >= VOTES_MIN && place.key == key)?;
        let successor = place.successor;
        self.credit.spend(1);
        Some(successor)
    }

    fn neighbours(&mut self, key: u64) -> &mut [Place] {
        // The multiplier of Fibonacci hashing: keys that are counted up are spread evenly.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let sets = self.places.len() / WAYS;
        let set = hash as usize % sets;
        &mut self.places[set * WAYS..][..WAYS]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_successor_outvotes_the_old_one() {
        let mut successors = Successors::new(8);
        (0..3).for_each(|_| successors.observe(1, 2));
        successors.observe(1, 3);
        assert_eq!(successors.predict(1), Some(2));
        (0..4).for_each(|_| successors.observe(1, 3));
        assert_eq!(successors.predict(1), Some(3));
    }

    #[test]
    fn a_flood_of_names_takes_no_known_pair_away() {
        let mut successors = Successors::new(64);
        for turn in 0..1000_u64 {
            successors.observe(1, 2);
            successors.observe(1000 + turn, 5000 + turn);
        }
        assert_eq!(successors.predict(1), Some(2));
    }

    #[test]
    fn wrong_predictions_end_when_the_credit_does() {
        let mut successors = Successors::new(64);
        (0..2).for_each(|_| successors.observe(1, 2));
        let made = (0..100).filter(|_| successors.predict(1).is_some()).count();
        assert_eq!(made, 2, "two to start with, and nothing was right since");
        successors.observe(1, 2);
        assert_eq!(successors.predict(1), Some(2), "it was right once more");
    }

    proptest! {
        #[test]
        fn what_is_predicted_was_seen_twice_and_any_chain_is_learnt(
            pairs in proptest::collection::vec((0_u64..30, 0_u64..6), 0..300),
            keys in 1_usize..64,
        ) {
            let mut successors = Successors::new(keys);
            let mut seen: HashMap<(u64, u64), u32> = HashMap::new();
            for &(before, key) in &pairs {
                successors.observe(before, key);
                *seen.entry((before, key)).or_default() += 1;
                if let Some(next) = successors.predict(before) {
                    prop_assert!(seen[&(before, next)] >= 2);
                }
            }
            // With room for all of it, a fixed order is known after three rounds.
            let mut successors = Successors::new(4096);
            for _ in 0..3 {
                (0..30).for_each(|key| successors.observe(key, key + 1));
            }
            for key in 0..30 {
                prop_assert_eq!(successors.predict(key), Some(key + 1));
                successors.observe(key, key + 1);
            }
        }
    }
}
