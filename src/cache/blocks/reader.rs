//! The cache of blocks as its worker has it, and as one who reads from it.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::block::BlockId;
use super::{BlockOptions, Inner, Loan, Origin, block};
use crate::base::Instant;
use crate::cache::proof::ReadFault;
use crate::cache::stats::Stats;
use crate::cache::version::Version;
use crate::ring::{Io, Owner, Wake};

/// The blocks of one worker, see the module.
#[derive(Clone, Debug)]
pub struct Blocks(Rc<RefCell<Inner>>);

/// The answer to who asks for a part of a block.
#[derive(Debug)]
pub enum Answer {
    /// It is there.
    Ready(Loan),
    /// It is being read; who asked is woken with `Ready`. See [`BlockReader::wait`].
    Waiting,
    /// There was no buffer for it for as long as anybody waits for one, or too many wait.
    Exhausted,
    /// It cannot be had.
    Failed(ReadFault),
}

impl Blocks {
    /// An empty cache.
    pub fn new(options: BlockOptions, stats: Arc<Stats>) -> Self {
        Self(Rc::new(RefCell::new(Inner::new(options, stats))))
    }

    /// The cache for one owner; none where nothing is kept.
    pub fn reader(&self, owner: Owner) -> Option<BlockReader> {
        let options = self.0.borrow().options;
        let block_bytes = options.block_bytes;
        (options.blocks_max > 0).then(|| BlockReader { blocks: self.clone(), owner, block_bytes })
    }

    /// Whether `pump` has something to start.
    pub fn has_work(&self) -> bool {
        self.0.borrow().has_work()
    }

    /// Starts what was asked for.
    pub fn pump(&self, io: &mut dyn Io) {
        self.0.borrow_mut().pump(io);
    }

    /// Takes in a wake of the cache's own operations.
    pub fn wake(&self, wake: Wake, io: &mut dyn Io) {
        self.0.borrow_mut().wake(wake, io);
    }

    /// The next owner who gets another answer now.
    pub fn next_woken(&self) -> Option<Owner> {
        self.0.borrow_mut().woken.pop()
    }

    /// Whether the blocks of a span are there, or on their way, as far as some of them tell.
    pub fn keeps(&self, version: &Version, span: Range<u64>) -> bool {
        self.0.borrow().keeps(version, &span)
    }

    /// Whether somebody waits for a buffer already.
    pub fn is_short(&self) -> bool {
        self.0.borrow().starved
    }

    /// Lets go of the blocks of a file that was replaced or removed. Those that are being sent give
    /// way as any other.
    pub fn forget(&self, version: &Version) {
        self.0.borrow_mut().forget(version);
    }

    /// Lets go of every block that nobody sends; how many stay.
    pub fn clear(&self) -> usize {
        self.0.borrow_mut().clear()
    }
}

/// Somebody waits for a block, until this goes: then it is not read for them any more.
#[derive(Debug)]
pub struct Wait {
    reader: BlockReader,
    id: BlockId,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let BlockReader { blocks, owner, .. } = &self.reader;
        blocks.0.borrow_mut().leave(self.id, *owner);
    }
}

/// Blocks are read ahead for a body, until this goes: those of which the read has not begun then
/// are not read for it any more.
#[derive(Debug)]
pub struct Ahead {
    reader: BlockReader,
    version: Rc<Version>,
    /// Those that may wait to be read.
    indices: Range<u64>,
}

impl Ahead {
    /// Has the blocks of a span read that will be asked for next, so many at most.
    pub fn read(&mut self, span: Range<u64>, blocks_max: usize, now: Instant) {
        let BlockReader { blocks, owner, block_bytes } = &self.reader;
        let mut inner = blocks.0.borrow_mut();
        self.indices.start = span.start / *block_bytes as u64;
        for (index, need) in block::parts(span, *block_bytes).take(blocks_max) {
            if !inner.read_ahead(&self.version, index, need, Origin::Ahead(*owner), now) {
                return;
            }
            self.indices.end = self.indices.end.max(index + 1);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let BlockReader { blocks, owner, .. } = &self.reader;
        let mut inner = blocks.0.borrow_mut();
        for index in self.indices.clone() {
            inner.leave_ahead(BlockId::of(&self.version, index), *owner);
        }
    }
}

/// What one owner reads through.
#[derive(Clone, Debug)]
pub struct BlockReader {
    blocks: Blocks,
    owner: Owner,
    block_bytes: usize,
}

impl BlockReader {
    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Takes note of a span that will be asked for from its begin, and reads ahead what a pattern
    /// says.
    pub fn begin(&self, version: &Rc<Version>, offset: u64, count: u64, io: &dyn Io) {
        self.blocks.0.borrow_mut().foresee(self.owner, version, offset..offset + count, io);
    }

    /// A part of a block, for who began to wait for it at `since`.
    pub fn ask(
        &self,
        version: &Rc<Version>,
        index: u64,
        need: Range<u32>,
        since: Instant,
        now: Instant,
    ) -> Answer {
        self.blocks.0.borrow_mut().ask(version, index, need, self.owner, since, now)
    }

    /// For who was told to wait for a block, and keeps this as long as it does.
    pub fn wait(&self, version: &Version, index: u64) -> Wait {
        Wait { reader: self.clone(), id: BlockId::of(version, index) }
    }

    /// For a body of a version of a file that has its next blocks read ahead, and keeps this as
    /// long as it does.
    pub fn ahead(&self, version: &Rc<Version>) -> Ahead {
        Ahead { reader: self.clone(), version: Rc::clone(version), indices: 0..0 }
    }

    /// How long a read of a mount takes, smoothed; zero before the first.
    pub fn latency(&self, mount: u64) -> Duration {
        self.blocks.0.borrow().latencies.of(mount)
    }
}
