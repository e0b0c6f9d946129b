//! The table of operations: how they get in, run, are cancelled and taken out.

use std::time::Duration;

use rustix::io::Errno;

use super::{FLUSHES_MAX, InFlight, JOBS, NONE, Owner, Reactor};
use crate::base::Key;
use crate::ring::handle::Socket;
use crate::ring::io::{Kernel, Wait};
use crate::ring::job::Job;
use crate::ring::op::{Completion, Obstacle, Op, Start, Ticket, Wake};
use crate::ring::stats::Technique;

impl<K: Kernel> Reactor<K> {
    /// Puts an operation into the table and the queue.
    pub(super) fn submit(&mut self, owner: Owner, op: Op) -> Start {
        if let Op::Job(job) = &op
            && !self.jobs.have_room_for(job)
        {
            self.stats.jobs_refused.add(1);
            self.starve(owner, JOBS);
            return Start::Busy(op);
        }
        if !self.mounts.have_room_for(&op) {
            return self.wait_for_mount(owner, op);
        }
        self.note_submission(owner, &op);
        let operation = InFlight {
            owner,
            op: Some(op),
            started: self.now,
            next: NONE,
            previous: NONE,
            cancelled: false,
        };
        let key = match self.operations.insert(operation) {
            Ok(key) => key,
            Err(operation) => {
                self.stats.busy.add(1);
                self.wake_next_turn(owner);
                return Start::Busy(operation.op.expect("it was just put there"));
            }
        };
        self.link(key);
        let operation = self.operations.get_mut(key).expect("it was just put in");
        let op = operation.op.as_mut().expect("it was just put there");
        match op {
            Op::Send { socket, .. } | Op::SendMsg { socket, .. } => socket.send_begins(),
            Op::Job(job) => self.jobs.begins(job),
            _ => {}
        }
        self.mounts.begins(op);
        self.queue(key);
        Start::Submitted(Ticket(key))
    }

    /// Puts an operation of the table into the kernel's queue.
    pub(super) fn queue(&mut self, key: Key) {
        for _ in 0..=FLUSHES_MAX {
            let operation = self.operations.get_mut(key).expect("a flush takes nothing out");
            let op = operation.op.as_mut().expect("a flush takes nothing out");
            let apart = self.mounts.is_apart(op)
                || match op {
                    // The last close of a file system that was unmounted while it was in use
                    // ends it, and waits for its disk.
                    Op::Close { mount, .. } if self.closing.files_of(*mount) == 0 => *mount != 0,
                    Op::Close { raw, mount } => *mount != 0 && self.kernel.is_unlinked(*raw),
                    _ => false,
                };
            if self.kernel.submit(key.to_bits(), op, apart).is_ok() {
                return;
            }
            self.flush();
        }
        unreachable!("a queue that is emptied again and again has room");
    }

    /// Runs an inline operation now.
    pub(super) fn execute(&mut self, owner: Owner, mut op: Op) -> Start {
        let (socket, is_stat) = match &op {
            Op::Sendfile { socket, .. } | Op::SpliceOut { socket, .. } => (Some(socket), false),
            Op::Stat { .. } => (None, true),
            _ => (None, false),
        };
        if socket.is_some_and(|socket| socket.sends_in_flight() > 0) {
            self.stats.busy.add(1);
            self.wake_next_turn(owner);
            return Start::Busy(op);
        }
        let sends_file = matches!(op, Op::Sendfile { .. } | Op::SpliceIn { .. });
        let moves_body =
            matches!(op, Op::Sendfile { .. } | Op::SpliceOut { .. } | Op::Pread { .. });
        self.transfers += u32::from(sends_file);
        let technique = Technique::of(&op);
        self.inline_count = self.inline_count.wrapping_add(1);
        let timed = is_stat || self.inline_count.is_multiple_of(16);
        let before = if timed { self.kernel.now() } else { self.now };
        let head = head_bytes(&op);
        if let Op::Resident { file, look, .. } | Op::Pread { file, look: Some(look), .. } = &mut op
        {
            *look = self.mounts.allows(*look, file.mount());
        }
        let result = self.kernel.execute(&mut op);
        match (&op, result) {
            (Op::Resident { file, look, .. }, Ok(0))
            | (Op::Pread { file, look: Some(look), .. }, Err(Errno::AGAIN)) => {
                self.mounts.missed(*look, file.mount());
            }
            // The rest may be on its way by now.
            (Op::Pread { file, range, look: Some(look), .. }, Ok(count))
                if (count as usize) < range.len() =>
            {
                self.mounts.missed(*look, file.mount());
            }
            _ => {}
        }
        if socket_takes(&op, result)
            && let Some(state) = self.owners.get_mut(owner)
        {
            state.rested = Duration::ZERO;
        }
        if let (Ok(count), true) = (result, moves_body) {
            self.spend(owner, count);
        }
        let took = timed.then(|| self.kernel.now().since(before));
        self.stats.count(technique, result, took);
        let head_sent = head - head_bytes(&op);
        if head > 0 {
            let result = if head_sent > 0 { Ok(head_sent as u32) } else { result };
            self.stats.count((Technique::Send, head as u64), result.or(Err(Errno::AGAIN)), None);
        }
        match (result, &mut op) {
            (Err(Errno::AGAIN), Op::Sendfile { socket, .. }) => {
                let socket = socket.clone();
                self.wake_when_writable(owner, socket);
                Start::Blocked(op, Obstacle::SocketFull)
            }
            (Err(Errno::AGAIN), Op::SpliceOut { socket, pipe, .. }) => {
                if pipe.held() == 0 {
                    return Start::Blocked(op, Obstacle::PipeEmpty);
                }
                let socket = socket.clone();
                self.wake_when_writable(owner, socket);
                Start::Blocked(op, Obstacle::SocketFull)
            }
            (Err(Errno::AGAIN), Op::SpliceIn { .. } | Op::Tee { .. } | Op::PutIn { .. }) => {
                Start::Blocked(op, Obstacle::PipeFull)
            }
            (Ok(count), Op::SpliceIn { pipe, .. }) => {
                pipe.put_in(count);
                executed(op, result)
            }
            (Ok(count), Op::SpliceOut { pipe, .. }) => {
                pipe.took_out(count);
                executed(op, result)
            }
            (Ok(_), Op::Stat { file, facts, .. }) => {
                let (file, facts) = (file.clone(), **facts);
                self.meet(&file, &facts);
                executed(op, result)
            }
            _ => executed(op, result),
        }
    }

    /// What follows from the last event of an operation, for the reactor itself.
    pub(super) fn ended(&mut self, op: &Op, result: Result<u32, Errno>) {
        self.leave_mount(op, result);
        match (op, result) {
            (Op::Stat { file, facts, .. }, Ok(_)) => self.meet(file, facts),
            (Op::Job(Job::Mount { mount, changes, kind, noting, .. }), _) => {
                self.know_mount(*mount, *changes, (*kind, *noting));
            }
            _ => {}
        }
    }

    pub(super) fn wake_when_writable(&mut self, owner: Owner, socket: Socket) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        if state.waits_to_write {
            return;
        }
        state.waits_to_write = true;
        match self.submit(owner, Op::Writable { socket }) {
            Start::Submitted(_) => {}
            // The table is full; the owner comes again in the next turn and tries once more.
            _ => {
                if let Some(state) = self.owners.get_mut(owner) {
                    state.waits_to_write = false;
                }
            }
        }
    }

    pub(super) fn cancel_operation(&mut self, key: Key) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        if std::mem::replace(&mut operation.cancelled, true) {
            return;
        }
        // A close is never given up, and it ends by itself.
        if matches!(operation.op, Some(Op::Close { .. })) {
            return;
        }
        let mut queued = self.kernel.submit_cancel(key.to_bits());
        for _ in 0..FLUSHES_MAX {
            if queued.is_ok() {
                break;
            }
            self.flush();
            queued = self.kernel.submit_cancel(key.to_bits());
        }
        queued.expect("a queue that is emptied again and again has room");
    }

    /// Leaves an operation to the ring itself, and asks for its end.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        let key = ticket.0;
        if self.operations.get(key).is_none() {
            // It has come home, and its owner was not told yet.
            let tells =
                |wake: &Wake| matches!(wake, Wake::Done(done) if done.ticket == Some(ticket));
            return self.wakes.retain(|(_, wake)| !tells(wake));
        }
        self.cancel_operation(key);
        self.unlink(key);
        let operation = self.operations.get_mut(key).expect("a cancellation takes nothing out");
        operation.owner = self.itself;
        operation.previous = NONE;
        self.link(key);
    }

    /// Empties the submission queue in the middle of a turn. What completes is taken with the
    /// turn's own entry.
    pub(super) fn flush(&mut self) {
        let submitted = self.kernel.enter(Wait::Not, &mut self.early);
        self.stats.enters.add(1);
        // An error shows again, and is handled, at the entry of the next turn.
        self.stats.submissions.add(u64::from(submitted.unwrap_or(0)));
    }

    pub(super) fn link(&mut self, key: Key) {
        if self.keys.len() <= key.index as usize {
            self.keys.resize(key.index as usize + 1, key);
        }
        self.keys[key.index as usize] = key;
        let operation = self.operations.get(key).expect("it was just put in");
        let state = self.owners.get_mut(operation.owner).expect("an owner outlives what it owns");
        state.in_flight += 1;
        let next = std::mem::replace(&mut state.first, key.index);
        self.operations.get_mut(key).expect("it was just put in").next = next;
        if next != NONE {
            let next = self.keys[next as usize];
            self.operations.get_mut(next).expect("a listed operation is in flight").previous =
                key.index;
        }
    }

    pub(super) fn take_out(&mut self, key: Key) -> InFlight {
        self.unlink(key);
        self.operations.remove(key).expect("the caller found it")
    }

    /// Takes an operation out of the list of its owner.
    fn unlink(&mut self, key: Key) {
        let operation = self.operations.get(key).expect("the caller found it");
        let (owner, next, previous) = (operation.owner, operation.next, operation.previous);
        let state = self.owners.get_mut(owner).expect("an owner outlives what it owns");
        state.in_flight -= 1;
        if previous == NONE {
            state.first = next;
        } else {
            let previous = self.keys[previous as usize];
            self.operations.get_mut(previous).expect("a listed operation is in flight").next = next;
        }
        if next != NONE {
            let next = self.keys[next as usize];
            self.operations.get_mut(next).expect("a listed operation is in flight").previous =
                previous;
        }
    }

    pub(super) fn free_if_idle(&mut self, owner: Owner) {
        if self.owners.get(owner).is_some_and(|state| state.retired && state.in_flight == 0) {
            self.owners.remove(owner);
        }
    }

    pub(super) fn close_what_is_free(&mut self) {
        while let Some((raw, mount)) = self.closing.next() {
            if self.operations.len() == self.operations.count_max() {
                self.closing.keep(raw, mount);
                return;
            }
            let op = Op::Close { raw, mount };
            if !self.may_close(&op) {
                continue;
            }
            let Start::Submitted(_) = self.submit(self.itself, op) else {
                unreachable!("the table has room");
            };
        }
    }
}

/// Whether a socket has taken bytes of a file.
fn socket_takes(op: &Op, result: Result<u32, Errno>) -> bool {
    matches!(op, Op::Sendfile { .. } | Op::SpliceOut { .. }) && result.is_ok_and(|count| count > 0)
}

fn head_bytes(op: &Op) -> usize {
    match op {
        Op::Sendfile { head: Some(head), .. } | Op::SpliceOut { head: Some(head), .. } => {
            head.len()
        }
        _ => 0,
    }
}

/// Whether an operation that a signal interrupted before it did anything is made again, as
/// inline calls are.
pub(super) fn can_be_repeated(op: &Op) -> bool {
    matches!(
        op,
        Op::ReadHead { .. }
            | Op::Read { .. }
            | Op::Warm { .. }
            | Op::Send { .. }
            | Op::SendMsg { .. }
    )
}

fn executed(op: Op, result: Result<u32, Errno>) -> Start {
    Start::Executed(Completion { ticket: None, op: Some(op), result, handle: None, more: false })
}
