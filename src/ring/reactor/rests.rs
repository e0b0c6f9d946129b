//! Waits for sockets whose peer has ended its side, and which are full.
//!
//! A poll of the ring for room to write completes when the peer has ended its side, room or not:
//! the kernel adds POLLRDHUP itself. Polling such a socket again would turn without end, so its
//! owner rests in place of it, longer each time, and tries again; what is moved then makes the
//! next rest a short one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rustix::io::Errno;

use super::{Kernel, Owner, Reactor, Wake};
use crate::base::{Instant, Key};
use crate::limits::{WRITE_REST_MAX, WRITE_REST_MIN};

/// Room to write, an error, or the end of both sides: a try tells what it is (poll(2)).
const WRITABLE: u32 = 0x4 | 0x8 | 0x10;

/// Who rests, and until when.
#[derive(Debug, Default)]
pub(super) struct Rests(BinaryHeap<Reverse<(Instant, u64)>>);

impl Rests {
    /// How long until the next one ends.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        self.0.peek().map(|Reverse((until, _))| until.since(now))
    }
}

/// Whether a poll says more than that the peer has ended its side.
pub(super) fn says_writable(events: Result<u32, Errno>) -> bool {
    events.is_err() || events.is_ok_and(|events| events & WRITABLE != 0)
}

impl<K: Kernel> Reactor<K> {
    /// Lets an owner rest that would find its socket full; not one that is retired.
    pub(super) fn rest(&mut self, owner: Owner) -> bool {
        let Some(state) = self.owners.get_mut(owner) else { return false };
        if state.retired {
            return false;
        }
        assert!(state.waits_to_write, "it was polled for this owner");
        state.rested = (state.rested * 2).clamp(WRITE_REST_MIN, WRITE_REST_MAX);
        self.rests.0.push(Reverse((self.now + state.rested, owner.to_bits())));
        self.stats.write_rests.add(1);
        true
    }

    /// Wakes those who have rested.
    pub(super) fn end_rests(&mut self) {
        while self.rests.0.peek().is_some_and(|Reverse((until, _))| *until <= self.now) {
            let Some(Reverse((_, owner))) = self.rests.0.pop() else { return };
            let owner = Key::from_bits(owner);
            if let Some(state) = self.owners.get_mut(owner) {
                state.waits_to_write = false;
                self.wakes.push_back((owner, Wake::Writable));
            }
        }
    }
}
