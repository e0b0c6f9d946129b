//! What an owner sees of the reactor.

use super::{Owner, PIPES, Reactor};
use crate::base::{Instant, WallClock};
use crate::ring::buffer::Lease;
use crate::ring::handle::Socket;
use crate::ring::io::{Io, Kernel, NoPipe, Pool};
use crate::ring::mount::MountKind;
use crate::ring::op::{Ask, Deadline, Op, Start, Ticket};
use crate::ring::pipe::PipeLease;

/// An owner's view of a reactor.
#[derive(Debug)]
pub struct OwnerIo<'a, K: Kernel> {
    pub(super) reactor: &'a mut Reactor<K>,
    pub(super) owner: Owner,
}

impl<K: Kernel> Io for OwnerIo<'_, K> {
    fn start(&mut self, op: Op) -> Start {
        let state = self.reactor.owners.get(self.owner);
        assert!(state.is_some_and(|state| !state.retired), "a retired owner starts nothing");
        match op {
            Op::Pread { .. }
            | Op::Sendfile { .. }
            | Op::SpliceIn { .. }
            | Op::SpliceOut { .. }
            | Op::Resident { .. }
            | Op::Tee { .. }
            | Op::PutIn { .. }
            | Op::Notices { .. }
            | Op::Unwatch { .. }
            | Op::Peer { .. }
            | Op::Unacknowledged { .. }
            | Op::Reset { .. } => self.reactor.execute(self.owner, op),
            Op::Stat { ask: Ask::Here, ref file, .. } => match self.mount_kind(file.mount()) {
                // Nobody here knows, or may have to ask others.
                MountKind::Foreign | MountKind::Unproven => Start::Busy(op),
                _ => self.reactor.execute(self.owner, op),
            },
            Op::Stat { ask: Ask::Behind, ref file, .. } => match self.mount_kind(file.mount()) {
                MountKind::Foreign | MountKind::Unproven => self.reactor.submit(self.owner, op),
                _ => self.reactor.execute(self.owner, op),
            },
            Op::Stat { ask: Ask::Mount, ref file, .. } if self.reactor.answers_at_once(file) => {
                self.reactor.execute(self.owner, op)
            }
            Op::Forget { .. } => self.reactor.leave_to_itself(op),
            _ => self.reactor.submit(self.owner, op),
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.reactor.cancel_operation(ticket.0);
    }

    fn abandon(&mut self, ticket: Ticket) {
        self.reactor.abandon(ticket);
    }

    fn deadline(&mut self, at: Option<(Deadline, Instant)>) {
        let Some(state) = self.reactor.owners.get_mut(self.owner) else { return };
        state.deadline = at;
        state.due = false;
        if let Some((_, at)) = at {
            let tick = self.reactor.wheel.tick_of(at);
            if state.wheel.is_none_or(|placed| tick < placed) {
                state.wheel = Some(self.reactor.wheel.insert(self.owner, tick));
            }
        }
    }

    fn wait_to_write(&mut self, socket: Socket) {
        self.reactor.wake_when_writable(self.owner, socket);
    }

    fn lease(&mut self, pool: Pool) -> Option<Lease> {
        let lease = self.lease_if_free(pool);
        if lease.is_none() {
            self.reactor.starve(self.owner, pool as usize);
        }
        lease
    }

    fn lease_if_free(&mut self, pool: Pool) -> Option<Lease> {
        let lease = self.reactor.pools[pool as usize].lease();
        if lease.is_none() {
            self.reactor.stats.pool(pool).waits.add(1);
        }
        lease
    }

    fn is_short(&self, pool: Pool) -> bool {
        self.reactor.pools[pool as usize].is_short()
    }

    fn pipe(&mut self) -> Result<PipeLease, NoPipe> {
        let reactor = &mut *self.reactor;
        if let Some(pipe) = reactor.pipes.lease() {
            return Ok(pipe);
        }
        if reactor.pipes.may_grow() {
            match reactor.kernel.open_pipe(reactor.options.pipe_bytes, &reactor.closing) {
                Ok(pipe) => return Ok(reactor.pipes.adopt(pipe)),
                Err(_) => reactor.pipes.was_refused(),
            }
        }
        if reactor.pipes.open() == 0 {
            return Err(NoPipe::Refused);
        }
        reactor.starve(self.owner, PIPES);
        Err(NoPipe::Later)
    }

    fn allowance(&mut self, body: u64, begun: bool) -> u32 {
        self.reactor.allow(self.owner, body, begun)
    }

    fn mount_kind(&self, mount: u64) -> MountKind {
        self.reactor.mount_kind(mount)
    }

    fn notes_access(&self, mount: u64) -> bool {
        self.reactor.mounts.notes_access(mount)
    }

    fn reach(&self, mount: u64) -> u64 {
        self.reactor.mounts.reach(mount)
    }

    fn pressed(&self) -> Instant {
        self.reactor.pressed
    }

    fn now(&self) -> Instant {
        self.reactor.now
    }

    fn wall(&self) -> WallClock {
        self.reactor.wall
    }
}
