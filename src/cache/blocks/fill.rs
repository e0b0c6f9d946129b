//! One read of one block: the bytes, however short the reads are, then the facts of the file.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::Entry;
use super::block::{Block, BlockFault, BlockId};
use crate::base::{Instant, WallClock};
use crate::cache::version::Version;
use crate::limits::CHANGED_LOOKS;
use crate::ring::{Ask, Completion, Facts, Io, Lease, Op, Via};

#[derive(Debug)]
pub(super) struct Fill {
    id: BlockId,
    version: Rc<Version>,
    /// What is to be read, in bytes of the block, aligned.
    want: Range<u32>,
    /// Where the file ends in the block, if it does.
    end: u32,
    /// Where what was read ends.
    filled: u32,
    started: Instant,
    /// The buffer, while no operation has it.
    buffer: Option<Lease>,
    /// An operation that found the ring busy.
    parked: Option<Op>,
    /// How often the facts told other times and the same size.
    doubts: u32,
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
    pub(super) result: Result<Block, BlockFault>,
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
        let (filled, buffer) = (want.start, Some(buffer));
        Self {
            id,
            version,
            want,
            end,
            filled,
            started: now,
            buffer,
            parked: None,
            doubts: 0,
            block_bytes,
        }
    }

    pub(super) fn id(&self) -> BlockId {
        self.id
    }

    pub(super) fn mount(&self) -> u64 {
        self.version.facts.mount
    }

    /// What is read of the file itself.
    fn target(&self) -> u32 {
        self.want.end.min(self.end)
    }

    /// The next operation.
    pub(super) fn take_op(&mut self, io: &dyn Io) -> Op {
        if let Some(op) = self.parked.take() {
            return op;
        }
        let direct = self.version.direct.as_ref().expect("only what can be read so is asked for");
        let file = direct.file.clone();
        if self.filled >= self.target() {
            return Op::stat(file, Ask::Mount);
        }
        let start = self.filled / direct.offset * direct.offset;
        let offset = self.id.index * self.block_bytes as u64 + u64::from(start);
        let buffer = self.buffer.take().expect("the buffer is here between two reads");
        let part = offset..offset + u64::from(self.want.end - start);
        let via = self.version.direct_via(&part, io);
        Op::Read { file, offset, buffer, range: start..self.want.end, via }
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
                            return self.fails(BlockFault::Truncated, now);
                        }
                        self.filled = filled;
                        Stage::GoesOn(self)
                    }
                    Err(errno) => self.fails(BlockFault::Read(errno), now),
                }
            }
            Some(Op::Stat { facts, .. }) => match completion.result {
                Ok(_) => self.ends(&facts, now, wall),
                Err(errno) => self.fails(BlockFault::Read(errno), now),
            },
            other => unreachable!("a read starts nothing else than {other:?}"),
        }
    }

    /// What was read of a file that is longer now, as a log is, is right as far as anybody can
    /// tell, and so it is when only the inode has changed, as by a rename over it. Neither is kept,
    /// nor what was changed so lately that another change might bear the same time.
    fn ends(mut self, facts: &Facts, now: Instant, wall: WallClock) -> Stage {
        let told = &self.version.facts;
        if facts.size < told.size {
            return self.fails(BlockFault::Truncated, now);
        }
        if facts.size == told.size && facts.modified != told.modified {
            // A write that appends has the time changed before the size: in between it looks like
            // one in place.
            self.doubts += 1;
            if self.doubts < CHANGED_LOOKS {
                return Stage::GoesOn(self);
            }
            return self.fails(BlockFault::Changed, now);
        }
        let unchanged = self.version.is_still(facts) && self.version.is_settled(wall);
        let lease = self.buffer.take().expect("the last read is over");
        let block = Block::new(lease, self.want.start..self.filled.min(self.end));
        let (took, mount) = (now.since(self.started), self.mount());
        Stage::Ends(self.id, End { result: Ok(block), unchanged, took, mount })
    }

    fn fails(self, fault: BlockFault, now: Instant) -> Stage {
        let (took, mount) = (now.since(self.started), self.mount());
        Stage::Ends(self.id, End { result: Err(fault), unchanged: false, took, mount })
    }
}

impl BlockFault {
    /// Whether the file system refuses such reads altogether: O_DIRECT, or this alignment.
    pub fn refuses(self) -> Option<Errno> {
        match self {
            Self::Read(errno @ (Errno::INVAL | Errno::OPNOTSUPP)) => Some(errno),
            _ => None,
        }
    }
}
