//! Who gives way: entries for others when the table is full, and files that are only kept open for
//! those that find no descriptor.
//!
//! What gives way is closed with the next entry into the kernel, and what starved is opened again
//! after it, a bounded number of times.

use rustix::io::Errno;

use super::freshness::Trust;
use super::load::Part;
use super::open_files::OpenFiles;
use crate::base::{Instant, Key};

/// Parts that found no descriptor.
#[derive(Debug, Default)]
pub(super) struct Starved {
    /// They are opened again when those that gave way are closed.
    parts: Vec<(Key, Part)>,
    /// The turn in which entries last gave way for want of descriptors.
    gave_way: Option<Instant>,
}

impl OpenFiles {
    /// Whether something waits for descriptors to be closed, for which it has to be woken in the
    /// next turn.
    pub fn is_starved(&self) -> bool {
        !self.starved.parts.is_empty()
    }

    /// There was no descriptor for a part. Files that are only kept open for later give way, and it
    /// is tried again when they are closed, with the next entry into the kernel.
    pub(super) fn starve(&mut self, key: Key, part: Part, errno: Errno, now: Instant) {
        self.stats.starved.add(1);
        let gave_way = self.give_way(now);
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let load = entry.load.as_mut().expect("its operation was in flight");
        if gave_way && load.may_try_again() {
            load.pending += 1;
            self.starved.parts.push((key, part));
        } else {
            load.fail(part, errno);
        }
    }

    /// Opens what starved in an earlier turn: what gave way was closed with the entry into this
    /// one.
    pub(super) fn feed_the_starved(&mut self, now: Instant) {
        if self.starved.gave_way == Some(now) {
            return;
        }
        for (key, part) in std::mem::take(&mut self.starved.parts) {
            let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
            entry.load.as_mut().expect("it waits for this part").pending -= 1;
            self.open(key, part);
        }
    }

    /// Puts out half of the entries, which are only kept for later, for want of descriptors. Says
    /// whether there was one in this turn: many that starve at once cost no more than one.
    pub fn give_way(&mut self, now: Instant) -> bool {
        if self.starved.gave_way == Some(now) {
            return true;
        }
        let wanted = self.entries.len().div_ceil(2);
        let some = (0..wanted).take_while(|_| self.evict(now)).count() > 0;
        if some {
            self.starved.gave_way = Some(now);
        }
        some
    }

    /// Puts out one entry that is not being loaded and was not used since the hand last passed.
    pub(super) fn evict(&mut self, now: Instant) -> bool {
        if self.loads.count() == self.entries.len() {
            return false;
        }
        for _ in 0..2 * self.entries.len() + 1 {
            let Some(key) = self.hand.pop() else {
                self.hand = self.entries.keys().collect();
                continue;
            };
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let awaited = entry.load.is_some() || entry.settled == now;
            if awaited || std::mem::take(&mut entry.used) {
                continue;
            }
            let entry = self.entries.remove(key).expect("it was just there");
            self.roots[usize::from(entry.tree.0)].names.remove(&entry.name);
            if let Trust::Watched(node) = entry.trust {
                self.watches.release(node);
            }
            self.stats.evicted.add(1);
            self.note_levels();
            return true;
        }
        false
    }
}
