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
        self.close_listeners(Door::Site);
        // Whoever reads the figures, or whether it is ready, can do so to the end; where others
        // serve, they answer that.
        if self.has_successors() {
            self.close_listeners(Door::Telemetry);
        }
        for owner in self.connections() {
            self.reactor.wake(owner, Wake::Turn);
        }
        if self.has_successors() {
            self.count_by_address();
        }
    }

    /// Has the listeners of a door take in what is queued and close, if they do not already.
    fn close_listeners(&mut self, door: Door) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.door != door || std::mem::replace(&mut listener.closing, true) {
                continue;
            }
            let (owner, accepting) = (listener.owner, listener.accepting);
            if accepting {
                self.reactor.cancel_all(owner);
            } else {
                self.accept_the_rest(index, false);
            }
        }
    }

    /// Whether all have finished that have begun. At the end of the server the figures can be read
    /// until the site has; whoever came for them by then, also to the queue, is answered, too, in
    /// the time that the drain has.
    pub(super) fn has_drained(&mut self) -> bool {
        if self.drain_until.is_none() || self.open > 0 || !self.is_closed(Door::Site) {
            return false;
        }
        self.close_listeners(Door::Telemetry);
        self.open_for_telemetry == 0 && self.is_closed(Door::Telemetry)
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

    /// The time to finish is over.
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
    fn has_successors(&self) -> bool {
        self.control.state() == State::Retiring
    }

    /// Whether nobody can come by this door any more.
    fn is_closed(&self, door: Door) -> bool {
        let mut of_door = self.listeners.iter().filter(|listener| listener.door == door);
        of_door.all(|listener| listener.socket.is_none() && !listener.accepting)
    }
}
