//! The engine `splice`: from the page cache into a pipe, from the pipe to the socket.
//!
//! The pipe comes from a pool and goes back empty. A step moves bytes within the turn's budget.
//! splice(2) blocks on pages that are not in memory. It will not win races; it is the engine
//! whose bytes can be observed on their way.

use rustix::io::Errno;

use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_bytes};
use crate::ring::{Completion, Io, NoPipe, Obstacle, Op, PipeLease, Start, Wake};

#[derive(Debug)]
pub(super) struct Splice {
    body: Body,
    head_bytes: u64,
    /// The pipe, while no operation has it.
    pipe: Option<PipeLease>,
    /// Bytes of the file that went into the pipe.
    taken_in: u64,
    parked: Option<Op>,
    submitted: bool,
    progress: Progress,
}

impl Splice {
    pub(super) fn new(body: Body) -> Self {
        Self {
            head_bytes: head_bytes(&body.head),
            body,
            pipe: None,
            taken_in: 0,
            parked: None,
            submitted: false,
            progress: Progress::default(),
        }
    }

    fn next_op(&mut self, io: &mut dyn Io) -> Result<Op, Step> {
        if self.pipe.is_none() {
            self.pipe = Some(io.pipe().map_err(|none| match none {
                NoPipe::Later => Step::Waiting,
                NoPipe::Refused => Step::Declined(Decline::NoPipe),
            })?);
        }
        let pipe = self.pipe.take().expect("it was just put there");
        let held = pipe.held();
        if held == 0 {
            let count = (self.body.count - self.taken_in)
                .min(u64::from(*io.budget()))
                .min(u64::from(pipe.capacity())) as u32;
            if count == 0 {
                self.pipe = Some(pipe);
                return Err(Step::Yielded);
            }
            return Ok(Op::SpliceIn {
                file: self.body.version.file.clone(),
                offset: self.body.offset + self.taken_in,
                pipe,
                count,
            });
        }
        Ok(Op::SpliceOut {
            pipe,
            socket: self.body.socket.clone(),
            head: self.body.head.take(),
            count: held,
            more: self.body.more || self.taken_in < self.body.count,
        })
    }

    fn take(&mut self, completion: Completion, io: &mut dyn Io) -> Option<Step> {
        match completion.op {
            Some(Op::SpliceIn { pipe, .. }) => {
                self.pipe = Some(pipe);
                match completion.result {
                    Ok(0) => Some(Step::Failed(BodyError::Truncated)),
                    Ok(count) => {
                        self.taken_in += u64::from(count);
                        None
                    }
                    Err(errno @ (Errno::INVAL | Errno::NOSYS)) if self.taken_in == 0 => {
                        Some(Step::Declined(Decline::Unsupported(errno)))
                    }
                    Err(errno) => Some(Step::Failed(BodyError::Read(errno))),
                }
            }
            Some(Op::SpliceOut { pipe, head, .. }) => {
                self.pipe = Some(pipe);
                self.progress.head = self.head_bytes - head_bytes(&head);
                self.body.head = head;
                match completion.result {
                    Ok(count) => {
                        self.progress.body += u64::from(count);
                        self.progress.not_copied += u64::from(count);
                        assert!(self.progress.body <= self.taken_in, "out comes what went in");
                        let budget = io.budget();
                        *budget = budget.saturating_sub(count);
                        (self.progress.body == self.body.count).then_some(Step::Finished)
                    }
                    Err(errno) => Some(Step::Failed(BodyError::Send(errno))),
                }
            }
            other => unreachable!("the engine starts nothing else than {other:?}"),
        }
    }
}

impl Engine for Splice {
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
            let op = match self.parked.take() {
                Some(op) => op,
                None => match self.next_op(io) {
                    Ok(op) => op,
                    Err(step) => return step,
                },
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
                // The pipe is empty when it is filled: it is the file that says so, as one of a
                // file system in user space may.
                Start::Blocked(_, Obstacle::PipeFull) => {
                    return Step::Failed(BodyError::Read(Errno::AGAIN));
                }
                Start::Blocked(op, obstacle) => {
                    assert_eq!(obstacle, Obstacle::SocketFull, "only a full pipe is emptied");
                    if let Op::SpliceOut { head, .. } = &op {
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
