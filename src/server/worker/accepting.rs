//! How a worker accepts: as fast as connections come, or, where those beyond the limit are to wait
//! in the kernel's queue, one at a time and none while there are as many as may be. Who has been
//! idle for the longest makes room (`idle.rs`).

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::{Role, Worker, place};
use crate::connection::{Connection, Door, Farewell};
use crate::limits::{ACCEPT_RETRY, TELEMETRY_CONNECTIONS_MAX, TURNED_AWAY_MAX};
use crate::ring::{Completion, Deadline, Descriptor, Io, Kernel, Op, Socket, Start, Wake};
use crate::server::options::Beyond;

impl<K: Kernel> Worker<K> {
    pub(super) fn listen(&mut self, index: usize, wake: Wake) {
        let listener = &mut self.listeners[index];
        let (mut somebody_waits, mut found_nobody) = (false, false);
        match wake {
            Wake::Done(Completion { op: Some(Op::Readable { .. }), result, .. }) => {
                listener.watched = false;
                somebody_waits = result.is_ok();
            }
            Wake::Done(Completion { result, handle, more, .. }) => {
                listener.accepting = more;
                // One that was given up may bring somebody still, and is closed all the same.
                listener.accepting &= listener.socket.is_some();
                match (result, handle) {
                    (Ok(_), Some(handle)) => {
                        let door = listener.door;
                        self.welcome(handle, door);
                    }
                    (Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM), _) => {
                        return self.starve(index);
                    }
                    (Err(Errno::INVAL), _) => return self.finds_it_shut(index),
                    // It has tried, and was cancelled while it waited for more.
                    (Err(Errno::CANCELED | Errno::AGAIN), _) => found_nobody = true,
                    // It has ended with a connection, or the client went away before it was
                    // accepted: there may be more.
                    _ => {}
                }
            }
            _ => {}
        }
        let listener = &mut self.listeners[index];
        listener.starved = false;
        let was_held = std::mem::take(&mut listener.held);
        if listener.accepting {
            return;
        }
        if listener.closing {
            return self.accept_the_rest(index, found_nobody);
        }
        let once = self.beyond == Beyond::Wait && listener.door == Door::Site;
        if once && self.open >= self.connections_max {
            let made_room = somebody_waits && self.end_longest_idle();
            if !made_room {
                self.shard.connections.accepts_held.add(u64::from(!was_held));
                return self.hold(index, somebody_waits);
            }
        }
        let listener = &mut self.listeners[index];
        let Some(socket) = listener.socket.clone() else { return };
        let (owner, op) = (listener.owner, Op::Accept { listener: socket, once });
        let started = self.reactor.io(owner).start(op);
        // A busy ring wakes the listener in the next turn, which comes here again.
        self.listeners[index].accepting = matches!(started, Start::Submitted(_));
    }

    /// Accepts nothing before a connection ends. Who waits for that in the queue is seen by a poll;
    /// where nobody is idle for long enough to give up its place, a slow clock looks again.
    fn hold(&mut self, index: usize, somebody_waits: bool) {
        let listener = &mut self.listeners[index];
        listener.held = true;
        let owner = listener.owner;
        if somebody_waits {
            self.accept_later(index);
        } else if !listener.watched
            && let Some(socket) = listener.socket.clone()
        {
            // A busy ring wakes the listener in the next turn, which comes here again.
            let started = self.reactor.io(owner).start(Op::Readable { socket });
            self.listeners[index].watched = matches!(started, Start::Submitted(_));
        }
    }

    /// There is no descriptor for a connection. Files that are only kept open for later give way
    /// at once, then who has been idle for the longest; without any, trying again would find the
    /// same: whoever frees a descriptor says so, and a slow clock is the fall-back.
    fn starve(&mut self, index: usize) {
        self.shard.connections.accepts_starved.add(1);
        let gave_way = self.cache.give_way(self.reactor.now()) || self.free_descriptor();
        let listener = &mut self.listeners[index];
        listener.starved = true;
        if gave_way {
            // They are closed with the next entry into the kernel.
            let owner = listener.owner;
            self.reactor.wake_next_turn(owner);
        } else {
            self.accept_later(index);
        }
    }

    /// Somebody has shut the listener down, which may be shared with other processes: trying again
    /// at once would find the same, all the time. One that closes has no queue to take in if it
    /// still is the next time.
    fn finds_it_shut(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        if listener.closing && std::mem::replace(&mut listener.shut, true) {
            listener.socket = None;
            return;
        }
        self.accept_later(index);
    }

    /// Tries again by the clock.
    fn accept_later(&mut self, index: usize) {
        let at = self.reactor.now() + ACCEPT_RETRY;
        let owner = self.listeners[index].owner;
        self.reactor.io(owner).deadline(Some((Deadline::Retry, at)));
    }

    fn welcome(&mut self, handle: Descriptor, door: Door) {
        self.shard.connections.accepted.add(1);
        let fits = match door {
            Door::Site => self.open < self.connections_max + TURNED_AWAY_MAX,
            Door::Telemetry => self.open_for_telemetry < TELEMETRY_CONNECTIONS_MAX,
        };
        let owner = if fits { self.reactor.register() } else { None };
        let Some(owner) = owner else {
            // So many are being told already that this one gets the close alone.
            self.shard.connections.farewells(Farewell::TooMany).add(1);
            return;
        };
        // When the listener closes, nobody accepts later what would wait in its queue.
        let waits = self.beyond == Beyond::Wait && self.drain_until.is_none();
        let full = door == Door::Site && self.open >= self.connections_max;
        let turned_away = full && !waits && !self.end_longest_idle();
        match door {
            Door::Site => self.open += 1,
            Door::Telemetry => self.open_for_telemetry += 1,
        }
        let open = (self.open + self.open_for_telemetry) as u64;
        self.shard.connections.open.set(open);
        self.shard.connections.open_max.raise(open);
        let mut connection = Box::new(Connection::new(Socket::from(handle), door));
        // Nothing else is told by it, so no order with anything is needed.
        connection.set_number(self.numbered.fetch_add(1, Ordering::Relaxed) + 1);
        if turned_away {
            connection.turn_away();
        }
        place(&mut self.roles, owner, Role::Connection(connection));
        self.step(owner, Wake::Begin);
    }
}
