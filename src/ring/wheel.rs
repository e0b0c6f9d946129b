//! A timer wheel for deadlines that are mostly moved and seldom reached.
//!
//! Setting a later deadline costs nothing: the entry in the wheel stays where it is and is moved
//! when its slot comes up. An owner has one valid entry, at the tick it remembers; others of it
//! are stale and dropped in passing.

use std::time::Duration;

use crate::base::{Instant, Key};

/// How finely deadlines are told apart. Time-outs of servers are seconds.
const TICK: Duration = Duration::from_millis(64);
/// Ticks once round. What lies further ahead waits in the last slot and is put in again.
const SLOTS: usize = 1024;

/// A tick since the origin of the clock.
pub(super) type Tick = u64;

#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<(Key, Tick)>>,
    occupied: [u64; SLOTS / 64],
    /// The last tick that was taken out.
    now: Tick,
}

impl Wheel {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; SLOTS / 64],
            now: tick(now),
        }
    }

    /// The tick at which a deadline is surely past.
    pub(super) fn tick_of(&self, at: Instant) -> Tick {
        (tick(at) + 1).max(self.now + 1)
    }

    /// Puts an entry at a tick, or as far ahead as the wheel reaches; says where.
    pub(super) fn insert(&mut self, key: Key, at: Tick) -> Tick {
        let at = at.clamp(self.now + 1, self.now + SLOTS as Tick - 1);
        let slot = at as usize % SLOTS;
        self.slots[slot].push((key, at));
        self.occupied[slot / 64] |= 1 << (slot % 64);
        at
    }

    /// Takes out all entries that are due by now.
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<(Key, Tick)>) {
        let target = tick(now);
        // A clock that jumped far ahead passes each slot once.
        let steps = target.saturating_sub(self.now).min(SLOTS as Tick);
        for step in 1..=steps {
            let slot = (self.now + step) as usize % SLOTS;
            if self.occupied[slot / 64] & 1 << (slot % 64) != 0 {
                due.append(&mut self.slots[slot]);
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.now = self.now.max(target);
    }

    /// How long until the next slot with an entry comes up; none when the wheel is empty.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let from = (self.now + 1) as usize % SLOTS;
        let distance = (0..=SLOTS / 64).find_map(|step| {
            let word = (from / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (from % 64);
            } else if step == SLOTS / 64 {
                bits &= !(u64::MAX << (from % 64));
            }
            let slot = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then_some((slot + SLOTS - from) % SLOTS)
        })?;
        let due = (self.now + 1 + distance as Tick).saturating_mul(TICK.as_nanos() as u64);
        Some(Instant::from_nanoseconds(due).since(now))
    }
}

fn tick(at: Instant) -> Tick {
    at.nanoseconds() / TICK.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { index: 3, generation: 1 };

    fn at(millis: u64) -> Instant {
        Instant::from_nanoseconds(millis * 1_000_000)
    }

    fn due(wheel: &mut Wheel, now: Instant) -> Vec<(Key, Tick)> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due
    }

    #[test]
    fn an_entry_comes_up_after_its_deadline_and_not_before() {
        for deadline in [1, 63, 64, 65, 1000, 60_000] {
            let mut wheel = Wheel::new(at(0));
            let tick = wheel.tick_of(at(deadline));
            wheel.insert(KEY, tick);
            assert!(due(&mut wheel, at(deadline - 1)).is_empty(), "{deadline}");
            let wait = wheel.next(at(deadline)).expect("one entry");
            assert!(wait <= TICK, "{deadline}: {wait:?}");
            assert_eq!(due(&mut wheel, at(deadline) + wait).len(), 1, "{deadline}");
            assert_eq!(wheel.next(at(deadline)), None);
        }
    }

    #[test]
    fn what_lies_beyond_the_wheel_waits_in_its_last_slot() {
        let mut wheel = Wheel::new(at(0));
        let far = wheel.tick_of(at(10_000_000));
        let placed = wheel.insert(KEY, far);
        assert!(placed < far);
        assert_eq!(due(&mut wheel, at(64 * 1024)), [(KEY, placed)]);
    }

    #[test]
    fn a_clock_that_jumps_brings_up_everything_once() {
        let mut wheel = Wheel::new(at(0));
        for millis in [100, 5_000, 50_000] {
            let tick = wheel.tick_of(at(millis));
            wheel.insert(KEY, tick);
        }
        assert_eq!(due(&mut wheel, at(1_000_000_000)).len(), 3);
        assert!(due(&mut wheel, at(2_000_000_000)).is_empty());
    }
}
