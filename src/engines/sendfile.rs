//! The engine `sendfile`: from the page cache to the socket inside the kernel.
//!
//! The head goes out held back (MSG_MORE) with the first bytes of the file. A step sends within
//! the turn's budget, then yields; a full socket is waited for by a one-shot poll. sendfile(2)
//! blocks on pages that are not in memory.

use rustix::io::Errno;

use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_bytes};
use crate::ring::{Completion, Io, Op, Start, Wake};

#[derive(Debug)]
pub(super) struct Sendfile {
    body: Body,
    /// Bytes that the head had at the start.
    head_bytes: u64,
    parked: Option<Op>,
    submitted: bool,
    progress: Progress,
}

impl Sendfile {
    pub(super) fn new(body: Body) -> Self {
        Self {
            head_bytes: head_bytes(&body.head),
            body,
            parked: None,
            submitted: false,
            progress: Progress::default(),
        }
    }

    fn left(&self) -> u64 {
        self.body.count - self.progress.body
    }

    /// The next transfer, or none when the turn's budget is used up.
    fn next_op(&mut self, budget: u32) -> Option<Op> {
        let count = self.left().min(u64::from(budget)) as u32;
        (count > 0).then(|| Op::Sendfile {
            socket: self.body.socket.clone(),
            head: self.body.head.take(),
            file: self.body.version.file.clone(),
            offset: self.body.offset + self.progress.body,
            count,
            more: self.body.more || u64::from(count) < self.left(),
        })
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
                let budget = io.budget();
                *budget = budget.saturating_sub(count);
                (self.left() == 0).then_some(Step::Finished)
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
        if let Wake::Done(completion) = wake {
            assert!(self.submitted, "only what was submitted completes");
            self.submitted = false;
            if let Some(step) = self.take(completion, io) {
                return step;
            }
        }
        if self.submitted {
            return Step::Waiting;
        }
        loop {
            let budget = *io.budget();
            let Some(op) = self.parked.take().or_else(|| self.next_op(budget)) else {
                return Step::Yielded;
            };
            match io.start(op) {
                Start::Executed(completion) => {
                    if let Some(step) = self.take(completion, io) {
                        return step;
                    }
                }
                Start::Submitted(_) => {
                    self.submitted = true;
                    return Step::Waiting;
                }
                Start::Blocked(op, _) => {
                    if let Op::Sendfile { head, .. } = &op {
                        self.progress.head = self.head_bytes - head_bytes(head);
                    }
                    self.parked = Some(op);
                    return Step::Blocked;
                }
                Start::Busy(op) => {
                    self.parked = Some(op);
                    return Step::Waiting;
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn in_flight(&self) -> u32 {
        u32::from(self.submitted)
    }

    fn give_back(self: Box<Self>) -> Body {
        assert_eq!(self.progress.body, 0, "a body is declined before its first byte");
        self.body
    }
}
