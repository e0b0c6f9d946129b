//! Buffers and pipes for those who wait for one: who holds some for a client that does nothing
//! gives them up.

use super::{Role, Worker};
use crate::base::Instant;
use crate::connection::Given;
use crate::limits::GIVE_WAY_LOOK;
use crate::ring::{Deadline, Io, Kernel, Owner, Scarce, Wake};

impl<K: Kernel> Worker<K> {
    /// Asks as many connections to give way as wait, the longest idle first.
    pub(super) fn relieve(&mut self) {
        let now = self.reactor.now();
        let all = Scarce::ALL.map(|scarce| (scarce, self.waiting_for(scarce)));
        if now < self.relief_at || all.iter().all(|(_, waiting)| *waiting == 0) {
            return;
        }
        self.relief_at = now + GIVE_WAY_LOOK;
        // Who has not idled for long enough has then.
        let again = Some((Deadline::Retry, self.relief_at));
        self.reactor.io(self.relief_owner).deadline(again);
        for (scarce, waiting) in all.into_iter().filter(|(_, waiting)| *waiting > 0) {
            let mut idle = self.idling_with(scarce, now);
            idle.sort_unstable_by_key(|(since, owner)| (*since, owner.index));
            // Who gives nothing is passed over, and not asked again for a while.
            let mut idle = idle.into_iter();
            let mut left = waiting;
            while left > 0
                && let Some((_, owner)) = idle.next()
            {
                left -= usize::from(self.take_from(owner, scarce));
            }
        }
    }

    fn waiting_for(&self, scarce: Scarce) -> usize {
        match scarce {
            Scarce::Buffer(pool) => self.reactor.starving(pool),
            Scarce::Pipe => self.reactor.starving_for_pipes(),
        }
    }

    fn idling_with(&self, scarce: Scarce, now: Instant) -> Vec<(Instant, Owner)> {
        let rate = self.options.bounds.head_rate;
        let idles = |(index, role): (usize, &Role)| {
            let Role::Connection(connection) = role else { return None };
            let since = connection.idles_with(scarce, rate, now)?;
            Some((since, self.reactor.owner_at(index as u32)?))
        };
        self.roles.iter().enumerate().filter_map(idles).collect()
    }

    /// Asks one; whether it gives something.
    fn take_from(&mut self, owner: Owner, scarce: Scarce) -> bool {
        match self.with(owner, |connection, cx| connection.gives_way(scarce, cx)) {
            None | Some(Given::Nothing) => return false,
            Some(Given::Done) => {}
            Some(Given::Cancel) => self.reactor.cancel_all(owner),
            Some(Given::GoesOn) => self.step(owner, Wake::Turn),
            Some(Given::Ends(farewell)) => self.end(owner, farewell),
        }
        true
    }
}
