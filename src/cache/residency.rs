//! Which parts of a file were found in the page cache, and when: the kernel is not asked again for
//! a short time.
//!
//! Several parts, since clients that download one file are at several places of it.
//!
//! Where the kernel has read a file ahead it has marked a page, and who touches that has more read
//! ahead, unless it is there. So of each part there are two questions: whether it is there, and
//! whether it may be touched without anything beginning. It may where all is there that such a read
//! would bring, up to the end of the file, or where a thread has read through it.
//!
//! For longer, and more roughly, it is remembered what was there when it was last looked at: of a
//! file of another user nothing else is looked at (see `ring/reactor/mounts.rs`).

use std::cell::RefCell;
use std::ops::Range;

use super::seen::Seen;
use crate::base::Instant;
use crate::limits::{RESIDENCY_KEPT, RESIDENCY_PARTS_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ResidentParts {
    /// Those that may be touched.
    parts: Parts,
    /// Those that are there, or on their way.
    followed: Parts,
    seen: Seen,
}

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
    /// Up to where the file may be touched from an offset on, as far as is known.
    pub(super) fn until(&self, offset: u64, now: Instant, pressed: Instant) -> Option<u64> {
        self.parts.until(offset, now, pressed)
    }

    /// Up to where it is there from an offset on, or on its way, as far as is known.
    pub(super) fn cached_until(&self, offset: u64, now: Instant, pressed: Instant) -> Option<u64> {
        let until = |parts: &Parts| parts.until(offset, now, pressed);
        until(&self.parts).max(until(&self.followed))
    }

    /// Takes note of a part of which all is there, or on its way.
    pub(super) fn cached(&self, part: Range<u64>, now: Instant, pressed: Instant) {
        self.followed.note(part, now, pressed);
    }

    /// Whether all of a part of a file of this size was there when it was last looked at, as far as
    /// is known, and memory has not been short since.
    pub(super) fn was_seen(&self, part: &Range<u64>, size: u64, pressed: Instant) -> bool {
        self.seen.has(part, size, pressed)
    }

    /// Takes note of a part of a file of this size that may be touched.
    pub(super) fn found(&self, part: Range<u64>, size: u64, now: Instant, pressed: Instant) {
        let whole = self.parts.note(part.clone(), now, pressed);
        self.seen.note(&part, &whole, size, now, pressed);
    }

    /// Takes note of a part of which something is not there. What comes behind it has most likely
    /// gone, too, and a read of the part has it read ahead, with marks.
    pub(super) fn missed(&self, part: &Range<u64>, size: u64) {
        self.seen.miss(part, size);
    }
}

/// Parts that are known for a short time.
#[derive(Debug, Default)]
struct Parts(RefCell<Vec<Part>>);

impl Parts {
    fn until(&self, offset: u64, now: Instant, pressed: Instant) -> Option<u64> {
        let parts = self.0.borrow();
        let part = parts.iter().find(|part| (part.start..part.end).contains(&offset))?;
        part.is_good(now, pressed).then_some(part.end)
    }

    /// Takes note of a part for a short time. Parts that meet are one, for as long as the older is
    /// good, and that is told; beyond so many of them the oldest is forgotten.
    fn note(&self, found: Range<u64>, now: Instant, pressed: Instant) -> Range<u64> {
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
        whole.start..whole.end
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
        let parts = Parts::default();
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
    fn what_is_there_may_not_be_touched_for_that() {
        let parts = ResidentParts::default();
        let (now, size) = (start(), 64 << 20);
        parts.cached(0..2 << 20, now, NEVER);
        parts.found(5 << 20..6 << 20, size, now, NEVER);
        let until = |mega: u64| parts.until(mega << 20, now, NEVER);
        let cached_until = |mega: u64| parts.cached_until(mega << 20, now, NEVER);
        assert_eq!((until(0), cached_until(0)), (None, Some(2 << 20)));
        assert_eq!((until(5), cached_until(5)), (Some(6 << 20), Some(6 << 20)));
        assert_eq!(cached_until(3), None);
    }

    #[test]
    fn parts_that_meet_are_as_old_as_the_oldest() {
        let parts = Parts::default();
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
        let parts = Parts::default();
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
