//! One block, its name, and the loan of it to who sends it.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use crate::base::WallClock;
use crate::cache::version::Version;
use crate::ring::{Facts, Kept, Lease};

/// Which file, as it was when it was opened: another version is another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    size: u64,
    modified: WallClock,
    changed: WallClock,
}

impl Identity {
    pub(super) fn of(facts: &Facts) -> Self {
        let Facts { device, inode, size, modified, changed, .. } = *facts;
        Self { device, inode, size, modified, changed }
    }
}

/// Which block of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    pub(super) file: Identity,
    pub(super) index: u64,
}

impl BlockId {
    pub(super) fn of(version: &Version, index: u64) -> Self {
        Self { file: Identity::of(&version.facts), index }
    }
}

/// Bytes of a file, as they were read.
#[derive(Debug)]
pub(super) struct Block {
    lease: Lease,
    /// The part that was read.
    valid: Range<u32>,
}

impl Block {
    pub(super) fn new(lease: Lease, valid: Range<u32>) -> Self {
        assert!(valid.end as usize <= lease.len(), "what was read lies in the buffer");
        Self { lease, valid }
    }

    pub(super) fn has(&self, need: &Range<u32>) -> bool {
        self.valid.start <= need.start && need.end <= self.valid.end
    }

    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }
}

/// A block in the hands of one who sends it: as long as there is one, it is not evicted.
#[derive(Debug)]
pub struct Loan {
    block: Option<Rc<Block>>,
    freed: Rc<Cell<bool>>,
}

impl Loan {
    pub(super) fn new(block: Rc<Block>, freed: &Rc<Cell<bool>>) -> Self {
        Self { block: Some(block), freed: Rc::clone(freed) }
    }
}

impl Kept for Loan {
    fn bytes(&self) -> &[u8] {
        &self.block.as_ref().expect("it is there until the loan ends").lease
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // The block first: who looks because it was freed finds it free.
        self.block = None;
        self.freed.set(true);
    }
}

/// The part of a block that has to be read to have another: it begins and ends on the alignment.
pub(super) fn aligned(need: &Range<u32>, version: &Version) -> Range<u32> {
    let unit = version.direct.as_ref().map_or(1, |direct| direct.offset);
    need.start / unit * unit..need.end.next_multiple_of(unit)
}

/// Both parts of a block, and what lies between them.
pub(super) fn union(one: &Range<u32>, other: &Range<u32>) -> Range<u32> {
    one.start.min(other.start)..one.end.max(other.end)
}

/// All of a block that lies in the file.
pub(super) fn whole(version: &Version, index: u64, block_bytes: usize) -> Range<u32> {
    let left = version.facts.size.saturating_sub(index * block_bytes as u64);
    aligned(&(0..left.min(block_bytes as u64) as u32), version)
}

/// The blocks that a span of a file lies in, and which part of each.
pub(super) fn parts(
    span: Range<u64>,
    block_bytes: usize,
) -> impl Iterator<Item = (u64, Range<u32>)> {
    indices(&span, block_bytes).map(move |index| (index, part(index, &span, block_bytes)))
}

/// The blocks that a span of a file lies in.
pub(super) fn indices(span: &Range<u64>, block_bytes: usize) -> Range<u64> {
    let bytes = block_bytes as u64;
    span.start / bytes..span.end.div_ceil(bytes)
}

/// Which part of a block a span has.
pub(super) fn part(index: u64, span: &Range<u64>, block_bytes: usize) -> Range<u32> {
    let start = index * block_bytes as u64;
    let from = span.start.max(start) - start;
    let to = span.end.min(start + block_bytes as u64) - start;
    from as u32..to as u32
}
