//! The engine `sendfile`: from the page cache to the socket inside the kernel.
//!
//! The head goes out held back (MSG_MORE) with the first bytes of the file. A step sends within
//! the turn's budget, then yields; a full socket is waited for by a one-shot poll. Nothing is sent
//! that is not in the page cache, see `residency.rs`, and nothing of a file that was seen to be
//! another version than was promised, see `guard.rs`.

use rustix::io::Errno;

use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_bytes, head_pool};
use super::guard::Guard;
use super::residency::Residency;
use crate::limits::FULL_WITHOUT_PROGRESS_MAX;
use crate::ring::{Completion, Io, Op, Outgoing, Scarce, Start, Wake};

#[derive(Debug)]
pub(super) struct Sendfile {
    body: Body,
    /// Bytes that the head had at the start.
    head_bytes: u64,
    residency: Residency,
    guard: Guard,
    /// How often the transfer took nothing from a socket that said it had room.
    full_in_vain: u32,
    progress: Progress,
}

impl Sendfile {
    pub(super) fn new(body: Body) -> Self {
        Self {
            head_bytes: head_bytes(&body.head),
            residency: Residency::of(&body),
            body,
            guard: Guard::default(),
            full_in_vain: 0,
            progress: Progress::default(),
        }
    }

    fn left(&self) -> u64 {
        self.body.count - self.progress.body
    }

    /// Bytes that can be sent now: within the budget, and in the page cache.
    fn next_count(&mut self, io: &mut dyn Io) -> Result<u32, Step> {
        if let Some(step) = self.residency.ending() {
            return Err(self.residency.end(step, io));
        }
        let begun = self.progress.body > 0;
        let count = self.left().min(u64::from(io.allowance(self.body.count, begun))) as u32;
        if count == 0 {
            return Err(Step::Yielded);
        }
        if let Some(error) = self.guard.lets_look(&self.body.version, io) {
            return Err(self.residency.end(Step::Failed(error), io));
        }
        let offset = self.body.offset + self.progress.body;
        self.residency.resident(&self.body, offset, count, begun, io)
    }

    fn next_op(&mut self, count: u32) -> Op {
        Op::Sendfile {
            socket: self.body.socket.clone(),
            head: self.body.head.take(),
            file: self.body.version.file.clone(),
            offset: self.body.offset + self.progress.body,
            count,
            more: self.body.more || u64::from(count) < self.left(),
        }
    }

    /// Whether the client has acknowledged all that the socket took: then it cannot be full.
    fn has_nothing_queued(&self, io: &mut dyn Io) -> bool {
        match io.start(Op::Unacknowledged { socket: self.body.socket.clone() }) {
            Start::Executed(completion) => completion.result == Ok(0),
            Start::Submitted(_) | Start::Blocked(..) | Start::Busy(_) => false,
        }
    }

    /// Counts what a transfer did; says how the body ends if it does.
    fn take(&mut self, completion: Completion, io: &mut dyn Io) -> Option<Step> {
        let Some(Op::Sendfile { head, .. }) = completion.op else {
            unreachable!("the engine starts nothing else")
        };
        self.progress.head = self.head_bytes - head_bytes(&head);
        self.body.head = head;
        match completion.result {
            Ok(0) => Some(Step::Failed(BodyError::Truncated)),
            Ok(count) => {
                self.progress.body += u64::from(count);
                self.progress.not_copied += u64::from(count);
                assert!(self.progress.body <= self.body.count, "no more is sent than asked");
                (self.left() == 0).then(|| {
                    let error = self.guard.lets_end(&self.body.version, io);
                    error.map_or(Step::Finished, Step::Failed)
                })
            }
            // EINVAL, ENOSYS: the file or the socket does not know the call.
            Err(errno @ (Errno::INVAL | Errno::NOSYS)) if self.progress.body == 0 => {
                Some(Step::Declined(Decline::Unsupported(errno)))
            }
            Err(errno) => Some(Step::Failed(BodyError::of_transfer(errno))),
        }
    }
}

impl Engine for Sendfile {
    fn step(&mut self, wake: Wake, io: &mut dyn Io) -> Step {
        let writable = matches!(wake, Wake::Writable);
        if let Wake::Done(completion) = wake {
            let warmed = self.residency.take(&self.body, &completion, io);
            assert!(warmed, "nothing else of it is submitted than what is warmed");
        }
        self.full_in_vain = if writable { self.full_in_vain + 1 } else { 0 };
        loop {
            let count = match self.next_count(io) {
                Ok(count) => count,
                Err(step) => return step,
            };
            if let Some(error) = self.guard.lets_begin(&self.body.version, io) {
                return self.residency.end(Step::Failed(error), io);
            }
            let op = self.next_op(count);
            match io.start(op) {
                Start::Executed(completion) => {
                    self.full_in_vain = 0;
                    if let Some(step) = self.take(completion, io) {
                        return self.residency.end(step, io);
                    }
                }
                // Pages may go while the client is waited for: the next try looks again.
                Start::Blocked(Op::Sendfile { head, .. }, _) => {
                    let sent = self.head_bytes - head_bytes(&head);
                    if sent > self.progress.head {
                        self.full_in_vain = 0;
                    }
                    self.progress.head = sent;
                    self.body.head = head;
                    if self.full_in_vain > FULL_WITHOUT_PROGRESS_MAX {
                        self.full_in_vain = 0;
                        if self.has_nothing_queued(io) {
                            // It is the file that says so, as one of a file system in user space
                            // may.
                            let error = BodyError::Read(Errno::AGAIN);
                            return self.residency.end(Step::Failed(error), io);
                        }
                    }
                    return Step::Blocked;
                }
                Start::Busy(Op::Sendfile { head, .. }) => {
                    self.body.head = head;
                    return Step::Waiting;
                }
                other => unreachable!("a transfer is inline: {other:?}"),
            }
        }
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn in_flight(&self) -> u32 {
        self.residency.in_flight()
    }

    fn holds(&self, scarce: Scarce) -> bool {
        head_pool(&self.body.head).map(Scarce::Buffer) == Some(scarce)
    }

    fn head(&mut self) -> Option<&mut Outgoing> {
        self.body.head.as_mut()
    }

    fn give_back(self: Box<Self>) -> Body {
        assert_eq!(self.progress.body, 0, "a body is declined before its first byte");
        self.body
    }
}
