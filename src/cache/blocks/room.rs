//! Which read begins next, and in which buffer.

use std::rc::Rc;

use super::block::BlockId;
use super::{Inner, Origin, State};
use crate::eviction::Policy;
use crate::limits::{DIRECT_AHEAD_LEAVES, DIRECT_WAIT};
use crate::ring::{Deadline, Io, Lease, Pool};

impl Inner {
    /// The next block to read, which still waits then: one that was asked for, if there is any.
    pub(super) fn next_queued(&mut self) -> Option<BlockId> {
        self.next_of(false).or_else(|| self.next_of(true))
    }

    /// The first one whose mount has room: one that hangs holds up nobody else's, and those that
    /// wait for it are not looked at one by one.
    fn next_of(&mut self, ahead: bool) -> Option<BlockId> {
        loop {
            let lines = if ahead { &self.ahead } else { &self.asked };
            let (mount, id) = lines.first()?;
            if self.has_room_for(mount, ahead) {
                return Some(id);
            }
            let lines = if ahead { &mut self.ahead } else { &mut self.asked };
            lines.close(mount);
        }
    }

    /// A mount may have room again.
    pub(super) fn open_lines(&mut self) {
        self.asked.open();
        self.ahead.open();
    }

    /// A block that waits does so no longer.
    pub(super) fn leave_line(&mut self, id: BlockId) {
        let entry = &self.entries[&id];
        let State::Queued(place) = entry.state else {
            unreachable!("only who waits stands in one")
        };
        let asked = entry.origin == Origin::Asked;
        let lines = if asked { &mut self.asked } else { &mut self.ahead };
        lines.remove(place);
    }

    /// A mount gets half of the reads and buffers that those of others leave, and begins nothing
    /// while the ring has no room for it. What is read ahead leaves a part of that to what is
    /// asked for.
    pub(super) fn has_room_for(&self, mount: u64, ahead: bool) -> bool {
        let all = self.options.reads_max.min(self.options.blocks_max);
        let most = if ahead { most_ahead(all) } else { all };
        self.reads.leave_room(mount, most) && self.parked.iter().all(|fill| fill.mount() != mount)
    }

    /// Whether the account of what is foreseen pays for it, if it is that.
    pub(super) fn may_be_read(&mut self, id: BlockId) -> bool {
        let entry = &self.entries[&id];
        let bytes = u64::from(entry.want.end - entry.want.start);
        match entry.origin {
            Origin::Asked | Origin::Ahead(_) => true,
            Origin::Foreseen(stream) => self.foresight.spend(bytes, stream),
        }
    }

    /// A block that waits is not read. Whoever wants it can still ask for it.
    pub(super) fn drop_queued(&mut self, id: BlockId) {
        self.leave_line(id);
        let entry = self.entries.remove(&id).expect("it stood in a line");
        if entry.origin != Origin::Asked {
            self.unasked -= 1;
            self.coming.end(entry.mount());
        }
    }

    /// There is no buffer for it now.
    pub(super) fn miss_a_buffer(&mut self, id: BlockId, io: &mut dyn Io) {
        let entry = self.entries.get(&id).expect("it was just found");
        if entry.origin != Origin::Asked {
            return self.drop_queued(id);
        }
        let until = entry.since + DIRECT_WAIT;
        self.starved = true;
        // Somebody else may have what comes free first; whoever is told too early asks again.
        let _none = io.lease(Pool::Block).map(drop);
        let watched = std::mem::replace(&mut self.watches_time, true);
        if self.some_are_fresh {
            // In the next turn they may go.
            io.deadline(Some((Deadline::Retry, io.now())));
        } else if !watched {
            // One that has passed and is set anew before it was told would not be told.
            io.deadline(Some((Deadline::Retry, until)));
        }
    }

    /// A buffer: a free one, or that of a block which gives way.
    pub(super) fn buffer(&mut self, io: &mut dyn Io) -> Option<Lease> {
        if self.held < self.options.blocks_max
            && let Some(lease) = io.lease_if_free(Pool::Block)
        {
            self.held += 1;
            return Some(lease);
        }
        let (entries, now) = (&self.entries, io.now());
        self.some_are_fresh = false;
        let id = self.policy.evict(&mut |id| {
            let entry = &entries[id];
            let State::Ready(block) = &entry.state else { return false };
            // Those who waited for it come in the turn in which it was read.
            let fresh = entry.since == now;
            self.some_are_fresh |= fresh;
            !fresh && Rc::strong_count(block) == 1
        });
        let id = id?;
        let entry = self.entries.remove(&id).expect("the policy knows what is there");
        self.stats.block_evicted.add(1);
        self.note_gone(entry.origin);
        let State::Ready(block) = entry.state else { unreachable!("only what is there goes") };
        Some(Rc::into_inner(block).expect("nobody sends it").into_lease())
    }

    /// A block goes, or another part of it has to be read; if nobody has asked for what was read,
    /// it was read in vain.
    pub(super) fn note_gone(&mut self, origin: Origin) {
        if origin != Origin::Asked {
            self.unasked -= 1;
        }
        match origin {
            Origin::Asked => {}
            Origin::Ahead(_) => self.stats.block_ahead_wasted.add(1),
            Origin::Foreseen(stream) => {
                self.stats.foreseen_wasted.add(1);
                self.foresight.came_to_nothing(stream);
            }
        }
    }
}

/// Of so many reads, those that may be under way when one begins that nobody has asked for.
fn most_ahead(all: usize) -> usize {
    all - all / DIRECT_AHEAD_LEAVES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Shares;

    #[test]
    fn what_is_read_ahead_leaves_reads_to_what_is_asked_for() {
        let (mut reads, mut begun) = (Shares::default(), 0);
        while reads.leave_room(1, most_ahead(64)) {
            reads.begin(1);
            begun += 1;
        }
        while reads.leave_room(1, 64) {
            reads.begin(1);
        }
        assert_eq!((begun, reads.of(1)), (24, 32));
        assert_eq!([1, 2, 8].map(most_ahead), [1, 2, 6], "one can be read ahead in any case");
    }
}
