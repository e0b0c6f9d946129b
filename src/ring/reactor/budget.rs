//! Buffers, pipes and room for jobs: who waits for them, and how many are out; and what a turn
//! has taken.

use std::time::Duration;

use super::{JOBS, Owner, PIPES, Reactor};
use crate::limits::STALL;
use crate::ring::buffer::Pages;
use crate::ring::io::{Kernel, Pool};
use crate::ring::op::Wake;

impl<K: Kernel> Reactor<K> {
    /// What is out: buffers by pool, and pipes that are leased.
    pub fn leased(&self) -> ([usize; Pool::ALL.len()], usize) {
        let buffers =
            std::array::from_fn(|pool| self.pools[pool].count() - self.pools[pool].free());
        (buffers, self.pipes.open() - self.pipes.idle())
    }

    /// Bytes of all buffers of a pool.
    pub fn pool_bytes(&self, pool: Pool) -> usize {
        let pool = &self.pools[pool as usize];
        pool.count() * pool.stride()
    }

    /// Pipes that are open, leased or not.
    pub fn pipes_open(&self) -> usize {
        self.pipes.open()
    }

    /// Owners that wait for a buffer of a pool.
    pub fn starving(&self, pool: Pool) -> usize {
        self.starved[pool as usize].len()
    }

    /// Owners that wait for a pipe.
    pub fn starving_for_pipes(&self) -> usize {
        self.starved[PIPES].len()
    }

    /// Lets an owner wait for a buffer, a pipe or room for a job.
    pub(super) fn starve(&mut self, owner: Owner, list: usize) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        if !std::mem::replace(&mut state.starves[list], true) {
            self.starved[list].push_back(owner);
        }
    }

    /// Wakes as many of those that wait for a buffer or a pipe as can be served, and everybody
    /// who waits for room for a job when one has ended: who fits depends on the mount.
    pub(super) fn feed_the_starved(&mut self) {
        for list in 0..self.starved.len() {
            let count = match self.pools.get(list) {
                Some(pool) => pool.free(),
                None if list == PIPES && self.pipes.grants() => self.pipes.idle().max(1),
                None if list == JOBS && self.jobs.one_has_ended() => usize::MAX,
                None => 0,
            };
            let count = count.min(self.starved[list].len());
            for owner in self.starved[list].drain(..count) {
                if let Some(state) = self.owners.get_mut(owner) {
                    state.starves[list] = false;
                }
                self.wakes.push_back((owner, Wake::Ready));
            }
        }
    }

    /// Counts a turn, from the end of one wait to the next.
    pub(super) fn note_turn(&mut self, took: Duration) {
        self.stats.turn.record(took.as_nanos() as u64);
        let sent_inline = std::mem::take(&mut self.transfers) > 0;
        if took >= STALL {
            self.stats.stalls.add(1);
            self.stats.stalls_sending.add(u64::from(sent_inline));
        }
    }

    pub(super) fn note_levels(&self) {
        self.stats.in_flight.set(self.operations.len() as u64);
        self.stats.jobs_in_flight.set(self.jobs.count() as u64);
        self.stats.pipes_open.set(self.pipes.open() as u64);
        self.stats.pipes_max.set(self.pipes.count_max() as u64);
        let registered = self.pools[Pool::Body as usize].is_registered();
        self.stats.registered.set(u64::from(registered));
        for (which, pool) in Pool::ALL.into_iter().zip(&self.pools) {
            let stats = self.stats.pool(which);
            let bytes = |count: usize| (count * pool.stride()) as u64;
            stats.budget_bytes.set(bytes(pool.count()));
            stats.leased_bytes.set(bytes(pool.count() - pool.free()));
            stats.leased_bytes_max.set(bytes(pool.most_leased()));
            let all = |is: bool| if is { bytes(pool.count()) } else { 0 };
            stats.registered_bytes.set(all(pool.is_registered()));
            stats.huge_bytes.set(all(pool.pages() == Pages::Huge));
            stats.huge_advised_bytes.set(all(pool.pages() == Pages::Advised));
        }
    }
}
