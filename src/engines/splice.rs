//! The engine `splice`: from the page cache into a pipe, from the pipe to the socket.
//!
//! The pipe comes from a pool and goes back empty. A step moves bytes within the turn's budget.
//! What is in the pipe can be doubled into a tap by tee(2) before it goes on; when the tap has no
//! room, the body goes on without it.
//! Nothing goes into the pipe that is not in the page cache, see `residency.rs`, and no pipe is
//! held while the disk is waited for: one that hangs would keep all of them. It will not win races;
//! it is the engine whose bytes can be observed on their way. Nothing is moved of a file that was
//! seen to be another version than was promised, see `guard.rs`.

use rustix::io::Errno;

use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_bytes, head_pool};
use super::guard::Guard;
use super::residency::Residency;
use crate::ring::{Completion, Io, NoPipe, Obstacle, Op, Outgoing, PipeLease, Scarce, Start, Wake};

#[derive(Debug)]
pub(super) struct Splice {
    body: Body,
    head_bytes: u64,
    /// The pipe, while no operation has it.
    pipe: Option<PipeLease>,
    /// Bytes of the file that went into the pipe.
    taken_in: u64,
    /// Bytes in the pipe that are in the tap, too, and may go on.
    doubled: u32,
    residency: Residency,
    guard: Guard,
    /// What waits for the socket: its bytes are in the pipe.
    parked: Option<Op>,
    progress: Progress,
}

impl Splice {
    pub(super) fn new(body: Body) -> Self {
        Self {
            head_bytes: head_bytes(&body.head),
            residency: Residency::of(&body),
            body,
            pipe: None,
            taken_in: 0,
            doubled: 0,
            guard: Guard::default(),
            parked: None,
            progress: Progress::default(),
        }
    }

    fn next_op(&mut self, io: &mut dyn Io) -> Result<Op, Step> {
        let pipe = match self.pipe.take() {
            Some(pipe) if pipe.held() > 0 => pipe,
            empty => return self.fill(empty, io),
        };
        let held = pipe.held();
        // A tee begins at the oldest byte: what was doubled has to go before more is.
        let count = match &self.body.tap {
            Some(tap) if self.doubled == 0 => {
                return Ok(Op::Tee { from: pipe, to: tap.clone(), count: held });
            }
            Some(_) => self.doubled,
            None => held,
        };
        Ok(Op::SpliceOut {
            pipe,
            socket: self.body.socket.clone(),
            head: self.body.head.take(),
            count,
            more: self.body.more || self.taken_in < self.body.count,
        })
    }

    /// The next part of the file into a pipe. If the part is not in the page cache the pipe goes
    /// home.
    fn fill(&mut self, empty: Option<PipeLease>, io: &mut dyn Io) -> Result<Op, Step> {
        if let Some(step) = self.residency.ending() {
            return Err(self.residency.end(step, io));
        }
        let capacity = empty.as_ref().map_or(u32::MAX, PipeLease::capacity);
        let left = self.body.count - self.taken_in;
        let begun = self.taken_in > 0;
        let allowance = io.allowance(self.body.count, begun);
        let count = left.min(u64::from(capacity.min(allowance))) as u32;
        if count == 0 {
            self.pipe = empty;
            return Err(Step::Yielded);
        }
        if let Some(error) = self.guard.lets_look(&self.body.version, io) {
            return Err(self.residency.end(Step::Failed(error), io));
        }
        let offset = self.body.offset + self.taken_in;
        let count = self.residency.resident(&self.body, offset, count, begun, io)?;
        let pipe = match empty.map_or_else(|| io.pipe(), Ok) {
            Ok(pipe) => pipe,
            Err(NoPipe::Later) => return Err(Step::Waiting),
            Err(NoPipe::Refused) if begun => {
                // The one that it had has been closed by somebody else.
                return Err(self.residency.end(Step::Failed(BodyError::Read(Errno::MFILE)), io));
            }
            Err(NoPipe::Refused) => {
                return Err(self.residency.end(Step::Declined(Decline::NoPipe), io));
            }
        };
        let count = count.min(pipe.capacity());
        Ok(Op::SpliceIn { file: self.body.version.file.clone(), offset, pipe, count })
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
            Some(Op::Tee { from, .. }) => {
                self.pipe = Some(from);
                match completion.result {
                    Ok(count @ 1..) => {
                        self.doubled = count;
                        self.progress.tapped += u64::from(count);
                    }
                    // Nobody empties it any more.
                    Ok(0) | Err(_) => self.untap(),
                }
                None
            }
            Some(Op::SpliceOut { pipe, head, .. }) => {
                self.pipe = Some(pipe);
                self.progress.head = self.head_bytes - head_bytes(&head);
                self.body.head = head;
                match completion.result {
                    Ok(count) => {
                        self.progress.body += u64::from(count);
                        self.doubled = self.doubled.saturating_sub(count);
                        self.progress.not_copied += u64::from(count);
                        assert!(self.progress.body <= self.taken_in, "out comes what went in");
                        (self.progress.body == self.body.count).then(|| {
                            let error = self.guard.lets_end(&self.body.version, io);
                            error.map_or(Step::Finished, Step::Failed)
                        })
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
            let warmed = self.residency.take(&self.body, &completion, io);
            assert!(warmed, "nothing else of it is submitted than what is warmed");
        }
        loop {
            let op = match self.parked.take() {
                Some(op) => op,
                None => match self.next_op(io) {
                    Ok(op) => op,
                    Err(step) => return step,
                },
            };
            if let Some(error) = self.guard.lets_begin(&self.body.version, io) {
                return self.residency.end(Step::Failed(error), io);
            }
            match io.start(op) {
                Start::Executed(completion) => {
                    if let Some(step) = self.take(completion, io) {
                        return self.residency.end(step, io);
                    }
                }
                Start::Submitted(_) => unreachable!("a transfer is inline"),
                // The body does not wait for its mirror.
                Start::Blocked(Op::Tee { from, .. }, _) => {
                    self.pipe = Some(from);
                    self.untap();
                }
                // The pipe is empty when it is filled: it is the file that says so, as one of a
                // file system in user space may.
                Start::Blocked(_, Obstacle::PipeFull) => {
                    return self.residency.end(Step::Failed(BodyError::Read(Errno::AGAIN)), io);
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

    fn untap(&mut self) {
        self.body.tap = None;
        self.doubled = 0;
    }

    fn in_flight(&self) -> u32 {
        self.residency.in_flight()
    }

    fn holds(&self, scarce: Scarce) -> bool {
        let head = match &self.parked {
            Some(Op::SpliceOut { head, .. }) => head,
            _ => &self.body.head,
        };
        match scarce {
            // Whatever is parked has it.
            Scarce::Pipe => self.pipe.is_some() || self.parked.is_some(),
            Scarce::Buffer(pool) => head_pool(head) == Some(pool),
        }
    }

    fn head(&mut self) -> Option<&mut Outgoing> {
        self.body.head.as_mut()
    }

    fn give_back(self: Box<Self>) -> Body {
        assert_eq!(self.progress.body, 0, "a body is declined before its first byte");
        self.body
    }
}
