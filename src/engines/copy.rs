//! The engine `copy`: read a block into memory, send it. The measure of the others.
//!
//! Reads are inline and block the turn when the disk does. Behind each one the file is asked
//! whether it is still the version that was promised. It never declines.

use super::contract::{Body, BodyError, Engine, Progress, Step, head_bytes, head_pool};
use crate::base::Instant;
use crate::cache::{Proof, Verdict};
use crate::limits::{BODY_BLOCK_BYTES, BODY_HEAD_ROOM};
use crate::ring::{Completion, Io, Lease, Op, Outgoing, Pool, Scarce, Start, Wake};

#[derive(Debug)]
pub(super) struct Copy {
    body: Body,
    /// Which pool the buffer is of that the head came in.
    head_pool: Option<Pool>,
    /// Bytes of the span that were read.
    read: u64,
    /// What was read and is not known yet to be of the version, and how many bytes.
    unproven: Option<(Lease, u32)>,
    proof: Proof,
    /// Whether that was asked.
    asking: bool,
    /// What was read and is to be sent, and how many bytes of it are of the file.
    ready: Option<(Outgoing, u64)>,
    spare: Option<Lease>,
    /// Bytes of the file in the send under way.
    sending: Option<u64>,
    parked: Option<Op>,
    progress: Progress,
}

impl Copy {
    pub(super) fn new(body: Body) -> Self {
        Self {
            head_pool: head_pool(&body.head),
            body,
            read: 0,
            unproven: None,
            proof: Proof::default(),
            asking: false,
            ready: None,
            spare: None,
            sending: None,
            parked: None,
            progress: Progress::default(),
        }
    }

    fn next_op(&mut self, io: &mut dyn Io) -> Option<Op> {
        if let Some(op) = self.parked.take() {
            return Some(op);
        }
        if self.sending.is_some() || self.asking {
            return None;
        }
        if self.unproven.is_some() {
            self.asking = true;
            return Some(Proof::ask(&self.body.version));
        }
        let socket = self.body.socket.clone();
        if head_bytes(&self.body.head) > BODY_HEAD_ROOM as u64 {
            self.sending = Some(0);
            let bytes = self.body.head.take().expect("it has a length");
            return Some(Op::Send { socket, bytes, more: true });
        }
        if let Some((bytes, body)) = self.ready.take() {
            self.sending = Some(body);
            let more = self.body.more || self.read < self.body.count;
            return Some(Op::Send { socket, bytes, more });
        }
        let buffer = self.spare.take().or_else(|| io.lease(Pool::Body))?;
        let count = (self.body.count - self.read).min(BODY_BLOCK_BYTES as u64) as u32;
        let start = BODY_HEAD_ROOM as u32;
        Some(Op::Pread {
            file: self.body.version.file.clone(),
            offset: self.body.offset + self.read,
            buffer,
            range: start..start + count,
            look: None,
        })
    }

    /// Takes in what the file says of the block that waits for it.
    fn take_proof(&mut self, answer: &Completion, now: Instant) -> Option<Step> {
        self.asking = false;
        match self.proof.take(&self.body.version, answer, now) {
            Verdict::Open => {}
            Verdict::Fails(fault) => return Some(Step::Failed(fault.into())),
            Verdict::Holds => {
                let (buffer, count) = self.unproven.take().expect("it was read before");
                self.take_read(buffer, count);
            }
        }
        None
    }

    /// Takes in a block, with the head before it.
    fn take_read(&mut self, mut buffer: Lease, count: u32) {
        self.read += u64::from(count);
        self.progress.copied += u64::from(count);
        let mut start = BODY_HEAD_ROOM;
        let end = start + count as usize;
        if let Some(head) = self.body.head.take() {
            start -= head.len();
            buffer[start..BODY_HEAD_ROOM].copy_from_slice(head.bytes());
        }
        self.ready = Some((Outgoing::leased(buffer, start..end), u64::from(count)));
    }

    fn take(&mut self, completion: Completion, now: Instant) -> Option<Step> {
        if let Some(Op::Stat { .. }) = completion.op {
            return self.take_proof(&completion, now);
        }
        match (completion.op, completion.result) {
            (Some(Op::Pread { .. }), Ok(0)) => Some(Step::Failed(BodyError::Truncated)),
            (Some(Op::Pread { buffer, .. }), Ok(count)) => {
                self.unproven = Some((buffer, count));
                self.proof = Proof::default();
                None
            }
            (Some(Op::Send { mut bytes, more, socket }), Ok(count)) => {
                let body = self.sending.take().expect("a send was under way");
                let of_head = (bytes.len() as u64 - body).min(u64::from(count));
                self.progress.head += of_head;
                self.progress.body += u64::from(count) - of_head;
                self.progress.copied += u64::from(count) - of_head;
                bytes.advance(count as usize);
                if bytes.is_empty() {
                    // A head that went alone may lie in a buffer of another size.
                    self.spare = bytes.into_lease().filter(|_| body > 0);
                } else {
                    self.sending = Some(body - (u64::from(count) - of_head));
                    self.parked = Some(Op::Send { socket, bytes, more });
                }
                (self.progress.body == self.body.count).then_some(Step::Finished)
            }
            (Some(Op::Pread { .. }), Err(errno)) => Some(Step::Failed(BodyError::Read(errno))),
            (Some(Op::Send { .. }), Err(errno)) => Some(Step::Failed(BodyError::Send(errno))),
            (other, _) => unreachable!("the engine starts nothing else than {other:?}"),
        }
    }
}

impl Engine for Copy {
    fn step(&mut self, wake: Wake, io: &mut dyn Io) -> Step {
        if let Wake::Done(completion) = wake
            && let Some(step) = self.take(completion, io.now())
        {
            return step;
        }
        loop {
            let reads = self.sending.is_none() && self.ready.is_none() && self.parked.is_none();
            let reads = reads && self.unproven.is_none();
            if reads && io.allowance(self.body.count, self.read > 0) == 0 {
                return Step::Yielded;
            }
            let Some(op) = self.next_op(io) else { return Step::Waiting };
            match io.start(op) {
                Start::Executed(completion) => {
                    if let Some(step) = self.take(completion, io.now()) {
                        return step;
                    }
                }
                Start::Submitted(_) => return Step::Waiting,
                Start::Blocked(op, _) => {
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
        u32::from((self.sending.is_some() || self.asking) && self.parked.is_none())
    }

    fn holds(&self, scarce: Scarce) -> bool {
        // A head that is too long for the room before a block is sent as it came.
        let sends_head = self.sending == Some(0);
        let moves_block = !sends_head && (self.sending.is_some() || self.parked.is_some());
        let has_block = self.ready.is_some() || self.spare.is_some() || self.unproven.is_some();
        let has_head = sends_head || self.body.head.is_some();
        scarce == Scarce::Buffer(Pool::Body) && (moves_block || has_block)
            || has_head && self.head_pool.map(Scarce::Buffer) == Some(scarce)
    }

    fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    fn give_back(self: Box<Self>) -> Body {
        unreachable!("the copy engine never declines")
    }
}
