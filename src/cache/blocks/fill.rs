//! One read of one block: the bytes, however short the reads are, then the facts of the file.
//!
//! Who asks for another part of the block meanwhile has that read, too, and what lies between: each
//! byte once, and before anybody is told that anything is there.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::Entry;
use super::block::{Block, BlockId, union};
use crate::base::{Instant, WallClock};
use crate::cache::proof::{Proof, ReadFault, Verdict};
use crate::cache::version::Version;
use crate::ring::{Ask, Completion, Facts, Io, Lease, Op, Via};

#[derive(Debug)]
pub(super) struct Fill {
    id: BlockId,
    version: Rc<Version>,
    /// What is to be read in all, in bytes of the block, aligned.
    want: Range<u32>,
    /// What was read of it, in one piece.
    had: Range<u32>,
    /// The piece that is being read, which lies at one of its ends.
    piece: Range<u32>,
    /// Where the file ends in the block, if it does.
    end: u32,
    /// Where what was read of the piece ends.
    filled: u32,
    started: Instant,
    /// The buffer, while no operation has it.
    buffer: Option<Lease>,
    /// An operation that found the ring busy.
    parked: Option<Op>,
    proof: Proof,
    /// Whether a piece that somebody else wants could not be read.
    failed: bool,
    block_bytes: usize,
}

/// How a read goes on.
#[derive(Debug)]
pub(super) enum Stage {
    /// With another operation.
    GoesOn(Fill),
    /// It is done.
    Ends(BlockId, End),
}

/// What a read came to.
#[derive(Debug)]
pub(super) struct End {
    pub(super) result: Result<Block, ReadFault>,
    /// Whether the file is still the one that the block is named after.
    pub(super) unchanged: bool,
    pub(super) took: Duration,
    pub(super) mount: u64,
}

impl Fill {
    pub(super) fn new(
        id: BlockId,
        entry: &Entry,
        buffer: Lease,
        block_bytes: usize,
        now: Instant,
    ) -> Self {
        assert_eq!(buffer.len(), block_bytes, "a buffer of the pool is a block");
        let version = entry.version.clone().expect("what is to be read has its file");
        let left = version.facts.size.saturating_sub(id.index * block_bytes as u64);
        let end = left.min(block_bytes as u64) as u32;
        let want = entry.want.start..entry.want.end.min(block_bytes as u32);
        assert!(want.start < want.end && want.start < end, "something is read");
        Self {
            id,
            version,
            had: want.start..want.start,
            piece: want.clone(),
            filled: want.start,
            want,
            end,
            started: now,
            buffer: Some(buffer),
            parked: None,
            proof: Proof::default(),
            failed: false,
            block_bytes,
        }
    }

    /// More of the block is wanted. It is read behind what is being read.
    pub(super) fn extend(&mut self, want: &Range<u32>) {
        if !self.failed {
            self.want = union(&self.want, &(want.start..want.end.min(self.block_bytes as u32)));
        }
    }

    pub(super) fn id(&self) -> BlockId {
        self.id
    }

    pub(super) fn mount(&self) -> u64 {
        self.version.facts.mount
    }

    /// Turns to the next piece when one is there; false when all is.
    fn has_more(&mut self) -> bool {
        if self.filled < self.piece.end.min(self.end) {
            return true;
        }
        self.had = union(&self.had, &self.piece);
        let (before, behind) = (self.want.start..self.had.start, self.had.end..self.want.end);
        let next = [behind, before].into_iter().find(|piece| piece.start < piece.end.min(self.end));
        let Some(next) = next else { return false };
        (self.filled, self.piece) = (next.start, next);
        true
    }

    /// The next operation.
    pub(super) fn take_op(&mut self, io: &mut dyn Io) -> Op {
        if let Some(op) = self.parked.take() {
            return op;
        }
        let goes_on = self.has_more();
        let direct = self.version.direct.as_ref().expect("only what can be read so is asked for");
        let file = direct.file.clone();
        if !goes_on {
            return Op::stat(file, Ask::Mount);
        }
        let start = self.filled / direct.offset * direct.offset;
        let offset = self.id.index * self.block_bytes as u64 + u64::from(start);
        let buffer = self.buffer.take().expect("the buffer is here between two reads");
        let part = offset..offset + u64::from(self.piece.end - start);
        let via = self.version.direct_via(&part, io);
        Op::Read { file, offset, buffer, range: start..self.piece.end, via }
    }

    /// The operation could not be started now.
    pub(super) fn put_back(&mut self, op: Op) {
        self.parked = Some(op);
    }

    /// Takes in the end of an operation.
    pub(super) fn take(mut self, completion: Completion, now: Instant, wall: WallClock) -> Stage {
        match completion.op {
            Some(Op::Read { offset, buffer, range, via, .. }) => {
                self.buffer = Some(buffer);
                match completion.result {
                    Ok(count) => {
                        if via == Via::Unmapped {
                            let part = offset..offset + u64::from(range.end - range.start);
                            self.version.note_mapped(&part, wall);
                        }
                        let filled = range.start + count;
                        if filled <= self.filled {
                            // Nothing more is there, although there should be.
                            return self.lacks_a_piece(ReadFault::Truncated, now);
                        }
                        self.filled = filled;
                        Stage::GoesOn(self)
                    }
                    Err(errno) => self.lacks_a_piece(ReadFault::Read(errno), now),
                }
            }
            Some(Op::Stat { facts, .. }) => match completion.result {
                // Those who want more have come while the facts were asked.
                Ok(_) if self.has_more() => Stage::GoesOn(self),
                Ok(_) => self.ends(&facts, now, wall),
                Err(errno) => self.fails(ReadFault::Read(errno), now),
            },
            other => unreachable!("a read starts nothing else than {other:?}"),
        }
    }

    /// What was read of a file that is longer now, as a log is, is right as far as anybody can
    /// tell, and so it is when only the inode has changed, as by a rename over it. Neither is kept,
    /// nor what was changed so lately that another change might bear the same time.
    fn ends(mut self, facts: &Facts, now: Instant, wall: WallClock) -> Stage {
        match self.proof.judge(&self.version, facts) {
            Verdict::Holds => {}
            Verdict::Open => return Stage::GoesOn(self),
            Verdict::Fails(fault) => return self.fails(fault, now),
        }
        let unchanged = self.version.is_still(facts) && self.version.is_settled(wall);
        let lease = self.buffer.take().expect("the last read is over");
        let block = Block::new(lease, self.had.start..self.had.end.min(self.end));
        let (took, mount) = (now.since(self.started), self.mount());
        Stage::Ends(self.id, End { result: Ok(block), unchanged, took, mount })
    }

    /// A piece could not be read. Who asked for those before it gets them; who wants this one asks
    /// again, and has a read of its own.
    fn lacks_a_piece(mut self, fault: ReadFault, now: Instant) -> Stage {
        if self.had.is_empty() {
            return self.fails(fault, now);
        }
        (self.failed, self.want, self.piece) = (true, self.had.clone(), self.had.clone());
        self.filled = self.had.end;
        Stage::GoesOn(self)
    }

    fn fails(self, fault: ReadFault, now: Instant) -> Stage {
        let (took, mount) = (now.since(self.started), self.mount());
        Stage::Ends(self.id, End { result: Err(fault), unchanged: false, took, mount })
    }
}

impl ReadFault {
    /// Whether the file system refuses such reads altogether: O_DIRECT, or this alignment.
    pub fn refuses(self) -> Option<Errno> {
        match self {
            Self::Read(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) => Some(errno),
            _ => None,
        }
    }
}
