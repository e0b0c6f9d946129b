//! The end of a worker: it accepts nothing new, and what has begun may finish.

use super::{Role, Worker};
use crate::connection::{Door, Farewell};
use crate::ring::{Deadline, Io, Kernel, Op, Owner, Start, Wake};
use crate::server::control::State;

impl<K: Kernel> Worker<K> {
    /// Accepts nothing new and lets what has begun finish.
    pub(super) fn drain(&mut self) {
        let until = self.reactor.now() + self.drain_timeout;
        self.drain_until = Some(until);
        self.reactor.io(self.control_owner).deadline(Some((Deadline::Retry, until)));
        for index in 0..self.listeners.len() {
            // Whoever reads the figures, or whether it is ready, can do so to the end; where others
            // serve, they answer that.
            if self.listeners[index].door == Door::Telemetry && !self.has_successors() {
                continue;
            }
            let owner = self.listeners[index].owner;
            if self.listeners[index].accepting {
                self.reactor.cancel_all(owner);
            } else {
                self.accept_the_rest(index, false);
            }
        }
        for owner in self.connections() {
            self.reactor.wake(owner, Wake::Turn);
        }
        if self.has_successors() {
            self.count_by_address();
        }
    }

    /// Counts what is open by address, and what still comes, where that was not limited: it may be
    /// where the successors serve.
    fn count_by_address(&mut self) {
        let bounds = &mut self.options.bounds;
        let Some(seats) = bounds.seats_later.take() else { return };
        bounds.seats = Some(seats);
        for owner in self.connections() {
            self.with(owner, |connection, cx| connection.takes_a_seat(cx));
        }
    }

    fn connections(&self) -> Vec<Owner> {
        let roles = self.roles.iter().enumerate();
        let connections = roles.filter(|(_, role)| matches!(role, Role::Connection(_)));
        connections.filter_map(|(index, _)| self.reactor.owner_at(index as u32)).collect()
    }

    /// Takes in what is queued at a listener, then closes it: a close with connections queued
    /// resets them. A cancelled accept may have left some; one that begins takes all there are
    /// before its own cancel, which comes right behind it. So the listener closes when such a one
    /// was cancelled, or says that there is nobody. One that ended otherwise, with a connection,
    /// by its client's leaving or for want of a descriptor (`accepting.rs`), has left who stood
    /// behind, and is followed by another; so is one that a busy ring did not take. The time limit
    /// of the drain, or the end of everything else, ends that.
    pub(super) fn accept_the_rest(&mut self, index: usize, found_nobody: bool) {
        let listener = &mut self.listeners[index];
        if listener.last && found_nobody {
            listener.socket = None;
            return;
        }
        let Some(socket) = listener.socket.clone() else { return };
        let (owner, op) = (listener.owner, Op::Accept { listener: socket, once: false });
        // A busy ring wakes the listener in the next turn, which comes here again.
        let started = self.reactor.io(owner).start(op);
        let listener = &mut self.listeners[index];
        listener.accepting = matches!(started, Start::Submitted(_));
        listener.last |= listener.accepting;
        self.reactor.cancel_all(owner);
    }

    /// The time to finish is over, or all have finished.
    pub(super) fn give_up(&mut self) {
        if self.drain_until.is_none() {
            return;
        }
        for owner in self.connections() {
            self.end(owner, Farewell::Shutdown);
        }
        for listener in &mut self.listeners {
            listener.socket = None;
            listener.accepting = false;
        }
    }

    /// Whether others serve in its place while it finishes.
    pub(super) fn has_successors(&self) -> bool {
        self.control.state() == State::Retiring
    }

    pub(super) fn site_is_closed(&self) -> bool {
        let mut of_site = self.listeners.iter().filter(|listener| listener.door == Door::Site);
        of_site.all(|listener| listener.socket.is_none() && !listener.accepting)
    }
}
