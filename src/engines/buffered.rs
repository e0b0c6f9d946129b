//! Bodies that pass through registered buffers: the engine `uring`, and what `direct` does without
//! blocks.
//!
//! The ring reads a block while it sends the one before. Where `auto` has chosen `uring`, what the
//! page cache has is read inline, without waiting: the ring is for what it lacks. `uring` reads
//! through the page cache, `direct` past it: its reads begin and end on the alignment that the file
//! system asks for, and what was not asked for is trimmed. A head that fits goes into the room
//! before the block, so that both leave in one send. Behind each read the file is asked whether it
//! is still the version that was promised, so that no byte of another one leaves.
//!
//! ```text
//! buffer:  | room for a head (4096) | block (64 KiB) |
//!                        [ head ][ skipped ][ bytes ]   the head moves up to the bytes
//! ```

use std::ops::Range;

use rustix::io::Errno;

use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_pool};
use super::left_behind::LeftBehind;
use super::residency::{inline_look, via_page_cache};
use crate::base::Instant;
use crate::cache::{Proof, Verdict};
use crate::limits::{BODY_BLOCK_BYTES, BODY_HEAD_ROOM, FORGET_BYTES};
use crate::ring::{
    Completion, File, Io, Lease, Look, Op, Outgoing, Pool, Scarce, Start, Via, Wake,
};

/// What bodies are read from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    /// Of offsets and lengths, in bytes.
    pub(super) alignment: u64,
    /// Whether it is read past the page cache, for the count of techniques.
    pub(super) direct: bool,
}

/// A block that was read.
#[derive(Debug)]
struct Block {
    bytes: Outgoing,
    /// How many of them, at the end, are of the file.
    body: u64,
}

#[derive(Debug)]
pub(super) struct Buffered {
    body: Body,
    /// Which pool the buffer is of of a head that is sent alone.
    head_pool: Option<Pool>,
    /// What is read; none where the file has nothing of the kind.
    source: Option<Source>,
    /// Bytes of the span that were read.
    read: u64,
    /// The block that waits for the one before it to be sent.
    ready: Option<Block>,
    /// What a short send has left.
    rest: Option<Block>,
    /// A buffer that was sent and can be read to.
    spare: Option<Lease>,
    /// Whether a block is being read, or waits to be proven.
    reading: bool,
    /// What was read and is not known yet to be of the version, and how many bytes of the buffer.
    unproven: Option<(Lease, u32)>,
    proof: Proof,
    /// Whether the ring was asked for that.
    asking: bool,
    /// Whether the page cache was found to lack a part of what is read next.
    missed: bool,
    /// Bytes of the head and of the file in the send under way.
    sending: Option<u64>,
    parked: Option<Op>,
    /// From where on the page cache still has what was read, of a body that is to leave nothing;
    /// none as long as all was there before.
    left_behind: Option<LeftBehind>,
    /// How the body ends as soon as the kernel has nothing of it any more.
    end: Option<Step>,
    progress: Progress,
}

impl Buffered {
    pub(super) fn new(body: Body, source: Option<Source>) -> Self {
        let left_behind = body.trail.last();
        Self {
            head_pool: None,
            body,
            source,
            read: 0,
            ready: None,
            rest: None,
            spare: None,
            reading: false,
            unproven: None,
            proof: Proof::default(),
            asking: false,
            missed: false,
            sending: None,
            parked: None,
            left_behind,
            end: None,
            progress: Progress::default(),
        }
    }

    /// What of the block's room the next read fills, and how many bytes at its front are only
    /// there for the alignment.
    fn next_range(&self, alignment: u64) -> (Range<u32>, u64) {
        let offset = self.body.offset + self.read;
        let skipped = offset % alignment;
        let wanted = (skipped + self.body.count - self.read).next_multiple_of(alignment);
        let bytes = wanted.min(BODY_BLOCK_BYTES as u64) as u32;
        let start = BODY_HEAD_ROOM as u32;
        (start..start + bytes, skipped)
    }

    fn next_read(&mut self, buffer: Lease, io: &mut dyn Io) -> Op {
        let source = self.source.as_ref().expect("a body without a source is declined");
        let (file, alignment, direct) = (source.file.clone(), source.alignment, source.direct);
        let (range, skipped) = self.next_range(alignment);
        let offset = self.body.offset + self.read - skipped;
        let bytes = u64::from(range.end - range.start);
        let part = offset..offset + bytes;
        if direct {
            let via = self.body.version.direct_via(&part, io);
            return Op::Read { file, offset, buffer, range, via };
        }
        self.body.version.learn_of_changes(io);
        if let Some(look) = self.inline_look(&part, io) {
            return Op::Pread { file, offset, buffer, range, look: Some(look) };
        }
        let via = match std::mem::take(&mut self.missed) {
            true => Via::Cold,
            false => self.page_cache_or_disk(part, io),
        };
        Op::Read { file, offset, buffer, range, via }
    }

    /// How the page cache is asked for what is read next, if that is to be read inline.
    fn inline_look(&self, part: &Range<u64>, io: &mut dyn Io) -> Option<Look> {
        let Body { version, inline, passes, .. } = &self.body;
        if !*inline || *passes || self.missed || version.is_access_due(io) {
            return None;
        }
        inline_look(version, part, io)
    }

    /// Whether the page cache has what is read next.
    fn page_cache_or_disk(&mut self, part: Range<u64>, io: &mut dyn Io) -> Via {
        let Body { version, passes, .. } = &self.body;
        // On a mount that may block every read is left to a thread: why ask.
        let asks = !io.mount_kind(version.facts.mount).may_block()
            || *passes && self.left_behind.is_none();
        let offset = part.start;
        let via = if asks { via_page_cache(version, part, *passes, io) } else { Via::Disk };
        if *passes && self.left_behind.is_none() && !matches!(via, Via::Memory | Via::Edge) {
            // What follows a cold part is read ahead by the kernel, on behalf of this body too.
            let left_behind = LeftBehind::from(offset);
            self.body.trail.note(left_behind);
            self.left_behind = Some(left_behind);
        }
        via
    }

    /// Takes in a block that was read, with the head before it if that is still to be sent.
    fn take_read(&mut self, mut buffer: Lease, result: Result<u32, Errno>) -> Option<Step> {
        let alignment = self.source.as_ref().map_or(1, |source| source.alignment);
        let (_, skipped) = self.next_range(alignment);
        // What comes past the page cache is written by the device.
        let copies = self.source.as_ref().is_some_and(|source| !source.direct);
        let count = match result {
            Ok(count) => u64::from(count),
            // EINVAL: the file system refuses O_DIRECT after all, or this alignment.
            Err(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) if self.read == 0 && !copies => {
                return Some(Step::Declined(Decline::Unsupported(errno)));
            }
            Err(errno) => return Some(Step::Failed(BodyError::Read(errno))),
        };
        let count = count.saturating_sub(skipped).min(self.body.count - self.read);
        if count == 0 {
            return Some(Step::Failed(BodyError::Truncated));
        }
        self.read += count;
        self.progress.copied += if copies { count } else { 0 };
        let mut start = BODY_HEAD_ROOM + skipped as usize;
        let end = start + count as usize;
        if let Some(head) = self.body.head.take_if(|head| head.len() <= BODY_HEAD_ROOM) {
            let before = start - head.len();
            buffer[before..start].copy_from_slice(head.bytes());
            start = before;
        }
        self.ready = Some(Block { bytes: Outgoing::leased(buffer, start..end), body: count });
        None
    }

    /// Takes in the end of a read. What it brought waits to be proven, if it is not `known` to be
    /// of the version.
    fn take_unproven(
        &mut self,
        buffer: Lease,
        result: Result<u32, Errno>,
        known: bool,
    ) -> Option<Step> {
        match result {
            Ok(count @ 1..) if !known => {
                self.unproven = Some((buffer, count));
                self.proof = Proof::default();
                None
            }
            result => {
                self.reading = false;
                self.take_read(buffer, result)
            }
        }
    }

    /// Takes in what the file says of the block that waits for it.
    fn take_proof(&mut self, answer: &Completion, now: Instant) -> Option<Step> {
        self.asking = false;
        match self.proof.take(&self.body.version, answer, now) {
            Verdict::Open => None,
            Verdict::Fails(fault) => Some(Step::Failed(fault.into())),
            Verdict::Holds => {
                let (buffer, count) = self.unproven.take().expect("it was read before");
                self.reading = false;
                self.take_read(buffer, Ok(count))
            }
        }
    }

    /// Drops from the page cache what was read, when it is enough for a call, or at the end.
    fn forget(&mut self, io: &mut dyn Io) {
        let Some(left_behind) = &mut self.left_behind else { return };
        let until = self.body.offset + self.read;
        let least = if self.end.is_some() { 1 } else { FORGET_BYTES };
        left_behind.forget(&self.body.version, until, least, io);
        self.body.trail.note(*left_behind);
    }

    fn take_send(&mut self, bytes: Outgoing, result: Result<u32, Errno>) -> Option<Step> {
        let body = self.sending.take().expect("a send was under way");
        let mut bytes = bytes;
        match result {
            Ok(count) => {
                // The head, if there is one, lies before the bytes of the file.
                let head = bytes.len() as u64 - body;
                let of_head = head.min(u64::from(count));
                self.progress.head += of_head;
                self.progress.body += u64::from(count) - of_head;
                self.progress.copied += u64::from(count) - of_head;
                assert!(self.progress.body <= self.read, "what is sent was read");
                bytes.advance(count as usize);
                if bytes.is_empty() {
                    // A head that went alone may lie in a buffer of another size.
                    let again = body > 0 && self.read < self.body.count;
                    self.spare = bytes.into_lease().filter(|_| again);
                } else {
                    let left = body - (u64::from(count) - of_head);
                    self.rest = Some(Block { bytes, body: left });
                }
                let sent = self.progress.body == self.body.count;
                sent.then_some(Step::Finished)
            }
            Err(errno) => Some(Step::Failed(BodyError::Send(errno))),
        }
    }

    fn send(&mut self, block: Block) -> Op {
        self.sending = Some(block.body);
        let more = self.body.more || self.ready.is_some() || self.read < self.body.count;
        Op::Send { socket: self.body.socket.clone(), bytes: block.bytes, more }
    }

    fn take(&mut self, completion: Completion, io: &dyn Io) -> Option<Step> {
        if let Some(Op::Stat { .. }) = completion.op {
            return self.take_proof(&completion, io.now());
        }
        // What the ring has read was read by the begin of the turn.
        let known = completion.ticket.is_some() && self.body.version.is_proven(io.now());
        match (completion.op, completion.result) {
            (Some(Op::Pread { offset, buffer, range, .. }), Err(Errno::AGAIN)) => {
                self.body.version.note_missed(&(offset..offset + range.len() as u64));
                (self.reading, self.missed) = (false, true);
                self.spare = Some(buffer);
                None
            }
            // Nobody tells, for now or of this file: the ring reads it, as it was seen lately.
            (Some(Op::Pread { buffer, .. }), Err(Errno::PERM | Errno::OPNOTSUPP)) => {
                (self.reading, self.body.inline) = (false, false);
                self.spare = Some(buffer);
                None
            }
            (Some(Op::Pread { offset, buffer, range, .. }), Ok(count)) => {
                if count as usize == range.len() {
                    self.body.version.note_resident(offset..offset + u64::from(count), io);
                }
                self.take_unproven(buffer, Ok(count), known)
            }
            // It is there from now on, but on file systems that may keep nothing.
            (
                Some(Op::Read { offset, buffer, via: Via::Cold | Via::Disk | Via::Edge, .. }),
                Ok(count @ 1..),
            ) => {
                self.body.version.note_access(io.wall());
                let keeps = !io.mount_kind(self.body.version.facts.mount).may_block();
                if keeps && !self.body.passes {
                    self.body.version.note_resident(offset..offset + u64::from(count), io);
                }
                self.take_unproven(buffer, Ok(count), known)
            }
            (Some(Op::Read { offset, buffer, range, via: Via::Unmapped, .. }), Ok(count)) => {
                let part = offset..offset + range.len() as u64;
                self.body.version.note_mapped(&part, io.wall());
                self.take_unproven(buffer, Ok(count), known)
            }
            (Some(Op::Read { buffer, .. } | Op::Pread { buffer, .. }), result) => {
                self.take_unproven(buffer, result, known)
            }
            (Some(Op::Send { bytes, .. }), result) => self.take_send(bytes, result),
            (other, _) => unreachable!("the engine starts nothing else than {other:?}"),
        }
    }

    /// Whether there is something to start, as far as this body goes.
    fn has_more_to_start(&self) -> bool {
        let sends = self.sending.is_none() && (self.rest.is_some() || self.ready.is_some());
        sends || (!self.reading && self.ready.is_none() && self.read < self.body.count)
    }

    /// The next operation that can be started now.
    fn next_op(&mut self, io: &mut dyn Io) -> Option<Op> {
        if let Some(op) = self.parked.take() {
            return Some(op);
        }
        if self.unproven.is_some() && !self.asking {
            self.asking = true;
            return Some(Proof::ask(&self.body.version));
        }
        if self.sending.is_none() {
            if let Some(block) = self.rest.take() {
                return Some(self.send(block));
            }
            // A head too long for the room before a block goes first, alone; but not before the
            // first block was read: till then the body may be declined.
            let too_long = |head: &mut Outgoing| head.len() > BODY_HEAD_ROOM;
            if self.ready.is_some()
                && let Some(bytes) = self.body.head.take_if(too_long)
            {
                self.head_pool = bytes.pool();
                return Some(self.send(Block { bytes, body: 0 }));
            }
            if let Some(block) = self.ready.take() {
                return Some(self.send(block));
            }
        }
        if !self.reading && self.ready.is_none() && self.read < self.body.count {
            // A second buffer is a gain, not a need: while one is being sent, none is waited for.
            let buffer = self.spare.take().or_else(|| match self.sending {
                Some(_) => io.lease_if_free(Pool::Body),
                None => io.lease(Pool::Body),
            })?;
            self.reading = true;
            return Some(self.next_read(buffer, io));
        }
        None
    }
}

impl Engine for Buffered {
    fn step(&mut self, wake: Wake, io: &mut dyn Io) -> Step {
        if self.source.is_none() {
            return Step::Declined(Decline::NoDirect);
        }
        if let Wake::Done(completion) = wake {
            let step = self.take(completion, io);
            self.end = self.end.or(step);
            self.forget(io);
        }
        while self.end.is_none() {
            let moves = self.parked.is_none() && self.has_more_to_start();
            if moves && io.allowance(self.body.count, self.read > 0) == 0 {
                return Step::Yielded;
            }
            let Some(op) = self.next_op(io) else { break };
            match io.start(op) {
                Start::Submitted(_) => {}
                Start::Executed(completion) => self.end = self.take(completion, io),
                Start::Blocked(op, _) => {
                    self.parked = Some(op);
                    return Step::Blocked;
                }
                // What waits for its mount shall not keep a buffer from those of others.
                Start::Busy(Op::Read { .. }) => {
                    self.reading = false;
                    return Step::Waiting;
                }
                Start::Busy(op) => {
                    self.parked = Some(op);
                    return Step::Waiting;
                }
            }
        }
        if self.end.is_some() && !self.asking && self.unproven.take().is_some() {
            // Nobody wants to know any more.
            self.reading = false;
        }
        // What the kernel still sends or fills is waited for, so that nothing of this body comes
        // after its end.
        self.end.filter(|_| self.in_flight() == 0).unwrap_or(Step::Waiting)
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn in_flight(&self) -> u32 {
        let sending = self.sending.is_some();
        u32::from(self.reading) + u32::from(sending) - u32::from(self.parked.is_some())
    }

    fn holds(&self, scarce: Scarce) -> bool {
        // A head that is too long for the room before a block is sent as it came.
        let sends_head = self.sending.or(self.rest.as_ref().map(|rest| rest.body)) == Some(0);
        let sends_block = !sends_head && (self.sending.is_some() || self.rest.is_some());
        let has_block = self.reading || self.ready.is_some() || self.spare.is_some();
        let head_pool = if sends_head { self.head_pool } else { head_pool(&self.body.head) };
        scarce == Scarce::Buffer(Pool::Body) && (sends_block || has_block)
            || head_pool.map(Scarce::Buffer) == Some(scarce)
    }

    fn head(&mut self) -> Option<&mut Outgoing> {
        self.body.head.as_mut()
    }

    fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    fn give_back(self: Box<Self>) -> Body {
        // Nothing goes out before the first read, not even a long head.
        assert_eq!(self.progress, Progress::default(), "a body is declined before its first byte");
        self.body
    }
}
