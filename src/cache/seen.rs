//! Which parts of a file somebody was seen to be in all of, and nothing of them was missed since.
//!
//! A bit for each part, up to the last one that was seen, so that a file that is only begun takes
//! little. Of a file of up to 16 MiB a part is a sixty-fourth; of a longer one it is as much as one
//! operation warms, so that one of them is enough for a bit.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::base::Instant;
use crate::limits::{SEEN_PARTS_MAX, SEEN_PARTS_MIN, WARM_BYTES};

const BITS: u64 = u64::BITS as u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    words: RefCell<Vec<u64>>,
    /// When the last of them was.
    last: Cell<Instant>,
}

/// Bytes of a part of a file of this size.
fn part_bytes(size: u64) -> u64 {
    let longest = size.div_ceil(SEEN_PARTS_MIN).clamp(1, WARM_BYTES);
    longest.max(size.div_ceil(SEEN_PARTS_MAX))
}

/// The parts that a range touches.
fn touched(range: &Range<u64>, size: u64) -> Range<u64> {
    let bytes = part_bytes(size);
    let first = range.start / bytes;
    first..range.end.div_ceil(bytes).max(first + 1)
}

/// The parts of which a range has all; the last one ends with the file.
fn covered(range: &Range<u64>, size: u64) -> Range<u64> {
    let bytes = part_bytes(size);
    let end = if range.end >= size { size.div_ceil(bytes) } else { range.end / bytes };
    range.start.div_ceil(bytes)..end
}

/// The words that some parts are in, and the bits of each that are theirs.
fn words(parts: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let end = if parts.is_empty() { parts.start / BITS } else { parts.end.div_ceil(BITS) };
    (parts.start / BITS..end).map(move |word| {
        let begun = parts.start.saturating_sub(word * BITS);
        let ended = (parts.end - word * BITS).min(BITS);
        (word as usize, (u64::MAX << begun) & (u64::MAX >> (BITS - ended)))
    })
}

impl Seen {
    /// Whether all of a part of a file of this size was, and memory has not been short since.
    pub(super) fn has(&self, part: &Range<u64>, size: u64, pressed: Instant) -> bool {
        let seen = self.words.borrow();
        let is_set = |(word, bits)| seen.get(word).is_some_and(|seen: &u64| seen & bits == bits);
        self.last.get() > pressed && words(touched(part, size)).all(is_set)
    }

    /// Somebody is in a part, and was in all of a `whole` around it.
    pub(super) fn note(
        &self,
        part: &Range<u64>,
        whole: &Range<u64>,
        size: u64,
        now: Instant,
        pressed: Instant,
    ) {
        let mut seen = self.words.borrow_mut();
        if self.last.replace(now) <= pressed {
            seen.clear();
        }
        // What lies farther off was noted when somebody was there, and may have been missed since.
        let (near, whole) = (touched(part, size), covered(whole, size));
        let fresh = near.start.max(whole.start)..near.end.min(whole.end);
        for (word, bits) in words(fresh) {
            if seen.len() <= word {
                seen.resize(word + 1, 0);
            }
            seen[word] |= bits;
        }
    }

    /// Forgets a part and all that comes behind it.
    pub(super) fn miss(&self, part: &Range<u64>, size: u64) {
        let first = touched(part, size).start;
        let mut seen = self.words.borrow_mut();
        seen.truncate((first / BITS) as usize + 1);
        if let Some(word) = seen.get_mut((first / BITS) as usize) {
            *word &= (1 << (first % BITS)) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(10);
    const NEVER: Instant = Instant::from_nanoseconds(0);
    const MIB: u64 = 1 << 20;

    fn mega(number: u64) -> Range<u64> {
        number * MIB..(number + 1) * MIB
    }

    fn seen_of(size: u64, ranges: &[Range<u64>]) -> Seen {
        let seen = Seen::default();
        ranges.iter().for_each(|range| seen.note(range, range, size, NEVER + STEP, NEVER));
        seen
    }

    #[test]
    fn what_was_there_is_remembered_until_it_is_missed_or_memory_is_short() {
        let (size, now) = (64 * MIB, NEVER + STEP);
        let seen = seen_of(size, &[0..2 * MIB, mega(63)]);
        let has = |number, pressed| seen.has(&mega(number), size, pressed);
        assert_eq!([0, 1, 2, 62, 63].map(|one| has(one, NEVER)), [true, true, false, false, true]);
        assert!(!seen.has(&(0..3 * MIB), size, NEVER) && !has(0, now));
        seen.miss(&mega(1), size);
        assert_eq!([0, 1, 63].map(|one| has(one, NEVER)), [true, false, false]);
        seen.note(&mega(63), &mega(63), size, now, NEVER);
        // Of what was there before memory was short, nothing is known.
        seen.note(&mega(5), &mega(5), size, now + STEP, now);
        assert_eq!([0, 5, 63].map(|one| has(one, now)), [false, true, false]);
    }

    #[test]
    fn a_file_of_any_size_has_parts_and_not_too_many() {
        for size in [1, 63, 65, 4096, 16 * MIB, (16 * MIB) + 1, 1 << 34, (1 << 34) + 1, 1 << 62] {
            let seen = seen_of(size, std::slice::from_ref(&(0..size)));
            assert!(seen.has(&(0..size), size, NEVER), "{size}");
            assert!(seen.words.borrow().len() as u64 <= SEEN_PARTS_MAX / BITS, "{size}");
            assert!(seen.has(&(size - 1..size), size, NEVER), "{size}");
        }
    }

    /// A client that has read a piece of a part has not seen the rest of it.
    #[test]
    fn a_part_was_seen_when_somebody_was_in_all_of_it() {
        let size = 64 * MIB + 1;
        let parts = |ranges: &[Range<u64>]| {
            let seen = seen_of(size, ranges);
            let words = seen.words.borrow();
            (words.first().copied().unwrap_or(0), words.len())
        };
        assert_eq!(parts(&[1..WARM_BYTES, 5 * MIB..5 * MIB + 4096]), (0, 0));
        assert_eq!(parts(&[0..WARM_BYTES, 2 * WARM_BYTES..3 * WARM_BYTES]), (5, 1));
        assert_eq!(parts(&[WARM_BYTES / 2..3 * WARM_BYTES + 1, 0..1]), (6, 1));
        assert_eq!(parts(&[64 * MIB..size, 0..1]), (0, 5), "the last part ends with the file");
    }

    #[test]
    fn only_what_lies_near_is_new() {
        let size = 64 * MIB;
        let seen = seen_of(size, &[mega(0), mega(1)]);
        seen.miss(&mega(0), size);
        // Two pieces of a part are one, and what was missed before it stays so.
        let (from, half) = (2 * MIB, 2 * MIB + WARM_BYTES / 2);
        seen.note(&(half..from + WARM_BYTES), &(0..from + WARM_BYTES), size, NEVER + STEP, NEVER);
        assert!(seen.has(&(from..from + WARM_BYTES), size, NEVER));
        assert!(!seen.has(&mega(1), size, NEVER) && !seen.has(&mega(0), size, NEVER));
    }
}
