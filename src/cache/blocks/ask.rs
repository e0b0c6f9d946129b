//! Asking for a block, waiting for it, and having it read before anybody asks.

use std::ops::Range;
use std::rc::Rc;

use super::block::{self, BlockId, Loan, union};
use super::reader::Answer;
use super::{Entry, Inner, Origin, State};
use crate::base::Instant;
use crate::cache::version::Version;
use crate::eviction::Policy;
use crate::limits::{DIRECT_AHEAD_SHARE, DIRECT_WAIT, KEPT_LOOKS_MAX};
use crate::ring::Owner;

impl Inner {
    /// A part of a block, for who has waited for it since a time.
    pub(super) fn ask(
        &mut self,
        version: &Rc<Version>,
        index: u64,
        need: Range<u32>,
        waiter: Owner,
        since: Instant,
        now: Instant,
    ) -> Answer {
        self.forget_what_passes(now);
        let id = BlockId::of(version, index);
        let want = block::aligned(&need, version);
        let has_room = self.has_room_for(version.facts.mount, false);
        let Some(entry) = self.entries.get_mut(&id) else {
            self.stats.block_misses.add(1);
            if !self.asked.have_room_for(version.facts.mount) {
                self.stats.block_exhausted.add(1);
                return Answer::Exhausted;
            }
            self.queue(id, version, want, Origin::Asked, now);
            self.entries.get_mut(&id).expect("it was just queued").waiters.push(waiter);
            return Answer::Waiting;
        };
        let (first, bytes) = (entry.origin, u64::from(entry.want.end - entry.want.start));
        match &entry.state {
            State::Ready(block) if block.has(&need) => {
                let loan = Loan::new(Rc::clone(block), &self.freed);
                entry.origin = Origin::Asked;
                // It was asked for again only if it was before, and by somebody else: one body, or
                // one connection that asks part by part, passes over each block once.
                let last = entry.last.replace(waiter);
                if since == now && first == Origin::Asked && last != Some(waiter) {
                    self.policy.touch(&id);
                }
                // Who has waited was counted when it began to, and has what was read for it.
                if since == now {
                    self.stats.block_hits.add(1);
                    let credit = entry.unpaid.min(need.end - need.start);
                    entry.unpaid -= credit;
                    self.foresight.pay_back(u64::from(credit));
                }
                self.note_asked(first, bytes, false);
                return Answer::Ready(loan);
            }
            State::Failed(fault) => return Answer::Failed(*fault),
            State::Ready(_) => {
                // It was read in part, for another range. If what was read on trust has paid so
                // far, it is read whole; else parts asked for at random would cost whole blocks.
                self.stats.block_misses.add(1);
                // Who waited for the part that is there comes in this turn, too: read again without
                // it, two who want other parts would take the block from each other for ever.
                let kept = if entry.since == now { entry.want.clone() } else { want.clone() };
                let want = union(&kept, &want);
                self.note_gone(first);
                let all = block::whole(version, index, self.options.block_bytes);
                let more = (all.end - all.start) - (want.end - want.start);
                let trusts = self.foresight.spend_beside(u64::from(more), waiter, version);
                self.policy.remove(&id);
                self.entries.remove(&id);
                self.held -= 1;
                self.queue(id, version, if trusts { all } else { want }, Origin::Asked, now);
                let entry = self.entries.get_mut(&id).expect("it was just queued");
                entry.unpaid = if trusts { more } else { 0 };
                entry.waiters.push(waiter);
            }
            State::Queued(place) => {
                let place = *place;
                // Who waits for a mount that has its share would only wait elsewhere.
                // The time of a read that it has waited for before is the disk's.
                if now.since(since.max(entry.queued)) >= DIRECT_WAIT && has_room {
                    self.stats.block_exhausted.add(1);
                    self.leave(id, waiter);
                    return Answer::Exhausted;
                }
                entry.origin = Origin::Asked;
                entry.want = union(&entry.want, &want);
                if first != Origin::Asked {
                    // Nothing was read for it yet, so nothing was foreseen in time.
                    entry.since = now;
                    self.unasked -= 1;
                    self.coming.end(place.mount);
                    self.ahead.remove(place);
                    entry.state = State::Queued(self.asked.push(place.mount, id));
                }
                self.wait_for(id, waiter);
            }
            State::Reading => {
                if first != Origin::Asked {
                    self.coming.end(entry.mount());
                }
                entry.origin = Origin::Asked;
                let comes = entry.want.start <= need.start && need.end <= entry.want.end;
                // The read under way goes on to it.
                entry.want = union(&entry.want, &want);
                let more = u64::from(entry.want.end - entry.want.start) - bytes;
                self.wait_for(id, waiter);
                self.foresight.earn(more);
                if comes {
                    self.note_asked(first, bytes, true);
                } else {
                    self.note_gone(first);
                }
            }
        }
        Answer::Waiting
    }

    /// Whether the blocks of a span are there, or on their way. Of a long one some are looked at.
    pub(super) fn keeps(&self, version: &Version, span: &Range<u64>) -> bool {
        let indices = block::indices(span, self.options.block_bytes);
        let (first, count) = (indices.start, indices.end - indices.start);
        let looks = count.min(KEPT_LOOKS_MAX);
        let keeps = |look: u64| {
            // Evenly, with the first and the last.
            let index = first + look * (count - 1) / looks.saturating_sub(1).max(1);
            let need = block::part(index, span, self.options.block_bytes);
            match self.entries.get(&BlockId::of(version, index)).map(|entry| &entry.state) {
                Some(State::Ready(block)) => block.has(&need),
                Some(State::Queued(_) | State::Reading) => true,
                Some(State::Failed(_)) | None => false,
            }
        };
        looks > 0 && (0..looks).all(keeps)
    }

    fn wait_for(&mut self, id: BlockId, waiter: Owner) {
        let entry = self.entries.get_mut(&id).expect("the caller has it");
        if !entry.waiters.contains(&waiter) {
            self.stats.block_shared.add(u64::from(!entry.waiters.is_empty()));
            entry.waiters.push(waiter);
        }
    }

    /// What nobody had asked for is asked for: in time, or while it is still on its way.
    pub(super) fn note_asked(&mut self, first: Origin, bytes: u64, late: bool) {
        match first {
            Origin::Asked => return,
            Origin::Ahead(_) => self.foresight.earn(bytes),
            Origin::Foreseen(stream) => {
                let used = if late { &self.stats.foreseen_late } else { &self.stats.foreseen_used };
                used.add(1);
                self.foresight.came_true(stream, bytes, late);
            }
        }
        self.unasked -= 1;
    }

    /// Somebody waits no longer. What nobody waits for and nobody has begun to read is dropped.
    pub(super) fn leave(&mut self, id: BlockId, waiter: Owner) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(at) = entry.waiters.iter().position(|other| *other == waiter) else { return };
        entry.waiters.swap_remove(at);
        if entry.waiters.is_empty() && matches!(entry.state, State::Queued(_)) {
            self.drop_queued(id);
        }
    }

    /// A body comes to a block no more. What was to be read ahead for it alone is dropped.
    pub(super) fn leave_ahead(&mut self, id: BlockId, owner: Owner) {
        let ahead = |entry: &Entry| {
            entry.origin == Origin::Ahead(owner) && matches!(entry.state, State::Queued(_))
        };
        if self.entries.get(&id).is_some_and(ahead) {
            self.drop_queued(id);
        }
    }

    fn queue(
        &mut self,
        id: BlockId,
        version: &Rc<Version>,
        want: Range<u32>,
        origin: Origin,
        now: Instant,
    ) {
        let asked = origin == Origin::Asked;
        let lines = if asked { &mut self.asked } else { &mut self.ahead };
        let state = State::Queued(lines.push(version.facts.mount, id));
        if !asked {
            self.unasked += 1;
            self.coming.begin(version.facts.mount);
            let share = self.options.blocks_max / DIRECT_AHEAD_SHARE;
            assert!(self.unasked <= share, "what is asked for has the rest of the pool");
        }
        let entry = Entry {
            state,
            origin,
            version: Some(Rc::clone(version)),
            want,
            unpaid: 0,
            since: now,
            queued: now,
            waiters: Vec::new(),
            last: None,
        };
        self.entries.insert(id, entry);
    }

    /// Has a block read that nobody has asked for, if there is room for such ones.
    pub(super) fn read_ahead(
        &mut self,
        version: &Rc<Version>,
        index: u64,
        need: Range<u32>,
        origin: Origin,
        now: Instant,
    ) -> bool {
        let id = BlockId::of(version, index);
        if let Some(entry) = self.entries.get_mut(&id) {
            if let (Origin::Ahead(_), Origin::Ahead(_)) = (entry.origin, origin) {
                // The body that came to it last needs it for longest.
                entry.origin = origin;
            }
            return true;
        }
        // What is not kept would be gone when it is asked for.
        let share = self.options.blocks_max / DIRECT_AHEAD_SHARE;
        let has_room = self.coming.leave_room(version.facts.mount, share);
        if version.is_unkept() || self.unasked >= share || !has_room {
            return false;
        }
        self.queue(id, version, block::aligned(&need, version), origin, now);
        true
    }
}
