//! Which parts of a file were found in the page cache, and when: the kernel is not asked again for
//! a short time.
//!
//! Several parts, since clients that download one file are at several places of it.

use std::cell::RefCell;
use std::ops::Range;

use crate::base::Instant;
use crate::limits::{RESIDENCY_KEPT, RESIDENCY_PARTS_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ResidentParts(RefCell<Vec<Part>>);

#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    since: Instant,
}

impl Part {
    /// Whether it is still taken to be there.
    fn is_good(&self, now: Instant, pressed: Instant) -> bool {
        now.since(self.since) < RESIDENCY_KEPT && self.since > pressed
    }

    /// Whether nothing lies between it and another one.
    fn meets(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

impl ResidentParts {
    /// Up to where the file is there from an offset on, as far as is known.
    pub(super) fn until(&self, offset: u64, now: Instant, pressed: Instant) -> Option<u64> {
        let parts = self.0.borrow();
        let part = parts.iter().find(|part| (part.start..part.end).contains(&offset))?;
        part.is_good(now, pressed).then_some(part.end)
    }

    /// Takes note of a part that was found there just now. Parts that meet are one, for as long as
    /// the older is good; beyond so many of them the oldest is forgotten.
    pub(super) fn note(&self, found: Range<u64>, now: Instant, pressed: Instant) {
        let mut whole = Part { start: found.start, end: found.end, since: now };
        let mut parts = self.0.borrow_mut();
        parts.retain(|part| {
            let meets = part.is_good(now, pressed) && part.meets(&whole);
            if meets {
                let within = whole.start <= part.start && part.end <= whole.end;
                whole.start = whole.start.min(part.start);
                whole.end = whole.end.max(part.end);
                whole.since = if within { whole.since } else { whole.since.min(part.since) };
            }
            !meets && part.is_good(now, pressed)
        });
        if parts.len() == RESIDENCY_PARTS_MAX {
            let oldest = (0..parts.len()).min_by_key(|index| parts[*index].since);
            oldest.map(|index| parts.swap_remove(index));
        }
        parts.push(whole);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(10);
    const NEVER: Instant = Instant::from_nanoseconds(0);

    fn start() -> Instant {
        NEVER + STEP
    }

    #[test]
    fn parts_are_known_where_they_were_found_and_for_a_while() {
        let parts = ResidentParts::default();
        let now = start();
        parts.note(100..200, now, NEVER);
        parts.note(500..600, now + STEP, NEVER);
        let until = |offset, now| parts.until(offset, now, NEVER);
        assert_eq!(until(99, now), None);
        assert_eq!(until(100, now), Some(200));
        assert_eq!(until(199, now), Some(200));
        assert_eq!(until(200, now), None);
        assert_eq!(until(550, now), Some(600));
        let later = now + RESIDENCY_KEPT;
        assert_eq!((until(150, later), until(550, later)), (None, Some(600)));
        assert_eq!(parts.until(550, later, later), None, "memory has been short since");
    }

    #[test]
    fn parts_that_meet_are_as_old_as_the_oldest() {
        let parts = ResidentParts::default();
        let now = start();
        parts.note(0..100, now, NEVER);
        parts.note(200..300, now + STEP, NEVER);
        parts.note(100..200, now + STEP * 2, NEVER);
        let late = now + RESIDENCY_KEPT - STEP;
        assert_eq!(parts.until(0, late, NEVER), Some(300));
        assert_eq!(parts.until(250, now + RESIDENCY_KEPT, NEVER), None);
        // What is found whole once more is new.
        parts.note(0..300, late, NEVER);
        assert_eq!(parts.until(0, now + RESIDENCY_KEPT, NEVER), Some(300));
    }

    #[test]
    fn as_many_as_are_allowed_are_known_and_the_oldest_goes() {
        let parts = ResidentParts::default();
        let now = start();
        for number in 0..=RESIDENCY_PARTS_MAX as u64 {
            parts.note(number * 10..number * 10 + 5, now + STEP * number as u32 / 100, NEVER);
        }
        let now = now + STEP;
        assert_eq!(parts.until(0, now, NEVER), None);
        assert_eq!(parts.until(10, now, NEVER), Some(15));
        assert_eq!(parts.0.borrow().len(), RESIDENCY_PARTS_MAX);
    }
}
