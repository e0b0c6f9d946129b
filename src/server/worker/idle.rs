//! Connections that wait for a request, in the order in which they began to. Where there is no
//! place for another connection, who has waited for the longest gives up its own.

use super::{Role, Worker};
use crate::base::Instant;
use crate::connection::Farewell;
use crate::limits::GIVE_WAY_FOR_GOOD_AFTER;
use crate::ring::Kernel;

/// No index of an owner.
const NONE: u32 = u32::MAX;

/// A list whose links lie by the index of the owner, so that each step costs the same however many
/// there are.
#[derive(Debug)]
pub(super) struct Idle {
    links: Vec<Link>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    behind: u32,
    /// Since when it waits; none if it does not.
    since: Option<Instant>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { links: Vec::new(), first: NONE, last: NONE }
    }
}

impl Idle {
    /// Takes note that one waits from now on, or not.
    pub(super) fn note(&mut self, index: u32, since: Option<Instant>) {
        self.take_out(index);
        let Some(since) = since else { return };
        let at = index as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, Link { before: NONE, behind: NONE, since: None });
        }
        self.links[at] = Link { before: self.last, behind: NONE, since: Some(since) };
        match self.last {
            NONE => self.first = index,
            last => self.links[last as usize].behind = index,
        }
        self.last = index;
    }

    fn take_out(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize) else { return };
        if link.since.take().is_none() {
            return;
        }
        let Link { before, behind, .. } = *link;
        match before {
            NONE => self.first = behind,
            before => self.links[before as usize].behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.links[behind as usize].before = before,
        }
    }

    /// Who waits, and since when: the longest first.
    fn in_order(&self) -> impl Iterator<Item = (u32, Instant)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            let index = std::mem::replace(&mut next, link.behind);
            Some((index, link.since?))
        })
    }
}

impl<K: Kernel> Worker<K> {
    /// Ends the connection that has waited for a request for the longest, if it is long enough.
    pub(super) fn end_longest_idle(&mut self) -> bool {
        self.end_idle(false)
    }

    /// The same for want of a descriptor, without which who waits in the queue cannot even be told
    /// to come again: while the worker drains, one goes at once if that it asks once more is all
    /// that it is kept for. A request that is on its way is then answered by a reset, so a place
    /// among the connections is no reason for that.
    pub(super) fn free_descriptor(&mut self) -> bool {
        self.end_idle(self.drain_until.is_some())
    }

    fn end_idle(&mut self, kept_go: bool) -> bool {
        let now = self.reactor.now();
        let may_go = |(index, since): &(u32, Instant)| {
            now.since(*since) >= GIVE_WAY_FOR_GOOD_AFTER || kept_go && self.is_kept_for_more(*index)
        };
        // Nobody behind the first has waited longer.
        let looks = if kept_go { usize::MAX } else { 1 };
        let Some((index, _)) = self.idle.in_order().take(looks).find(may_go) else { return false };
        let owner = self.reactor.owner_at(index).expect("who ends is not listed any more");
        self.end(owner, Farewell::Crowded);
        true
    }

    fn is_kept_for_more(&self, index: u32) -> bool {
        matches!(&self.roles[index as usize], Role::Connection(one) if one.is_kept_for_more())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_began_to_wait_first_is_first() {
        let mut idle = Idle::default();
        let at = |milliseconds| Instant::default() + Duration::from_millis(milliseconds);
        assert_eq!(idle.in_order().next(), None);
        for (index, since) in [(4, 1), (0, 2), (7, 3), (0, 4)] {
            idle.note(index, Some(at(since)));
        }
        assert_eq!(idle.in_order().next(), Some((4, at(1))));
        idle.note(4, None);
        idle.note(4, None);
        assert_eq!(idle.in_order().next(), Some((7, at(3))));
        idle.note(7, Some(at(5)));
        assert_eq!(idle.in_order().next(), Some((0, at(4))));
        idle.note(0, None);
        assert_eq!(idle.in_order().next(), Some((7, at(5))));
        idle.note(7, None);
        assert_eq!(idle.in_order().next(), None);
        idle.note(100, None);
        idle.note(2, Some(at(6)));
        assert_eq!(idle.in_order().next(), Some((2, at(6))));
    }

    /// Against a list that is searched.
    #[test]
    fn any_order_is_kept() {
        let mut random = crate::base::Random::new(3);
        let (mut idle, mut expected) = (Idle::default(), Vec::new());
        for step in 0..5000 {
            let index = random.below(20) as u32;
            expected.retain(|(other, _)| *other != index);
            let since =
                (random.below(3) > 0).then(|| Instant::default() + Duration::from_secs(step));
            expected.extend(since.map(|since| (index, since)));
            idle.note(index, since);
            assert_eq!(idle.in_order().next(), expected.first().copied());
        }
    }
}
