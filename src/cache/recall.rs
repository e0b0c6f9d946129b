//! When files were last asked for, and how often, also of those that are not open any more: of a
//! site with more files than are kept open, most are opened anew for each request.
//!
//! ```text
//! hash of (device, inode) -> one set of four places -> tag | how often | when
//! ```
//!
//! A place that is needed is that of the file whose last request is the longest ago. Two files with
//! the same tag are taken for one: which engine moves a body is all that depends on it.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::stats::Stats;
use crate::base::Instant;
use crate::limits::RECALLED_FILES_MAX;
use crate::ring::Facts;

/// Places of a set.
const WAYS: usize = 4;
/// Nanoseconds of a tick: a tenth of a second, nearly. All that can be told apart lasts nine years.
const TICK_SHIFT: u32 = 26;
const TIME_BITS: u32 = 32;
const COUNT_BITS: u32 = 4;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TAG_SHIFT: u32 = TIME_BITS + COUNT_BITS;

/// See the module.
#[derive(Debug)]
pub struct Recall {
    hash: RandomState,
    /// Untouched memory costs nothing, so it grows with the files that are asked for.
    places: Box<[u64]>,
    /// Places that are taken.
    files: u64,
    stats: Arc<Stats>,
}

/// What is known of the requests for a file before this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The last one.
    pub last: Option<Instant>,
    /// How many there were, fifteen at most.
    pub count: u32,
}

impl Recall {
    /// Of no file yet.
    pub fn new(stats: Arc<Stats>) -> Self {
        let places = vec![0; RECALLED_FILES_MAX].into_boxed_slice();
        stats.recalled_max.set(RECALLED_FILES_MAX as u64);
        Self { hash: RandomState::default(), places, files: 0, stats }
    }

    /// Takes note that a file is asked for; what was known of it.
    pub fn ask(&mut self, facts: &Facts, now: Instant) -> Before {
        let hash = self.hash.hash_one((facts.device, facts.inode));
        let sets = self.places.len() / WAYS;
        let first = hash as usize % sets * WAYS;
        let set = &mut self.places[first..first + WAYS];
        let tag = hash >> TAG_SHIFT;
        let time = (now.since(Instant::default()).as_nanos() >> TICK_SHIFT) as u64;
        let time = time & ((1 << TIME_BITS) - 1);
        let is_it = |place: &&mut u64| **place != 0 && **place >> TAG_SHIFT == tag;
        let count_of = |place: u64| place >> TIME_BITS & COUNT_MAX;
        if let Some(place) = set.iter_mut().find(is_it) {
            let (count, ticks) = (count_of(*place), *place & ((1 << TIME_BITS) - 1));
            let more = (count + 1).min(COUNT_MAX);
            *place = tag << TAG_SHIFT | more << TIME_BITS | time;
            let last = Instant::default() + Duration::from_nanos(ticks << TICK_SHIFT);
            return Before { last: Some(last), count: count as u32 };
        }
        let oldest = set.iter_mut().min_by_key(|place| **place & ((1 << TIME_BITS) - 1));
        let oldest = oldest.expect("a set has places");
        if *oldest == 0 {
            self.files += 1;
            self.stats.recalled.set(self.files);
        }
        *oldest = tag << TAG_SHIFT | 1 << TIME_BITS | time;
        Before::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Facts {
        Facts { inode, device: (8, 1), ..Facts::default() }
    }

    #[test]
    fn requests_are_counted_and_the_last_is_known() {
        let mut recall = Recall::new(Arc::default());
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        assert_eq!(recall.ask(&file(1), at(100)), Before::default());
        assert_eq!(recall.ask(&file(2), at(101)), Before::default());
        let before = recall.ask(&file(1), at(160));
        assert_eq!(before.count, 1);
        let since = at(160).since(before.last.unwrap());
        assert!((60_000..60_100).contains(&since.as_millis()), "{since:?}");
        for expected in (2..=15).chain([15, 15]) {
            assert_eq!(recall.ask(&file(1), at(200)).count, expected);
        }
    }

    #[test]
    fn of_too_many_files_those_that_were_asked_for_last_are_known() {
        let mut recall = Recall::new(Arc::default());
        let at = |number: u64| Instant::default() + Duration::from_millis(100 * number);
        let all = 2 * RECALLED_FILES_MAX as u64;
        for number in 0..all {
            recall.ask(&file(number), at(number));
        }
        let mut known = |range: std::ops::Range<u64>| {
            let count = range.end - range.start;
            let known = range.filter(|number| recall.ask(&file(*number), at(all)).count > 0);
            100 * known.count() as u64 / count
        };
        // A set has four of the last on average, and room for as many.
        let last = known(all - RECALLED_FILES_MAX as u64 / 4..all);
        assert!(last > 90, "{last} in a hundred");
    }
}
