//! The bytes that laps have to deliver, and how what they deliver is compared with them.
//!
//! A pass beside the timed one compares each block by checksum. In the timed pass a mark of each
//! block is compared, its first and its last eight bytes, which costs some nanoseconds: enough to
//! see that blocks are the right ones at the right places while the clock runs.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// What the blocks of the file are.
#[derive(Debug, Default)]
pub(super) struct Reference {
    sums: Vec<u64>,
    marks: Vec<u64>,
}

impl Reference {
    pub(super) fn push(&mut self, block: &[u8]) {
        self.sums.push(xxh3_64(block));
        self.marks.push(mark(block));
    }
}

/// Both ends of a block in one word. A block has 512 bytes at least.
#[inline]
fn mark(block: &[u8]) -> u64 {
    let first = block.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    let last = block.last_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    // Not a plain sum: the ends of many blocks are alike, as in a run of one byte.
    first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ last
}

/// How closely an inspector looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Nothing,
    Marks,
    Sums,
}

/// Looks at each block that a lap delivers.
#[derive(Clone, Debug)]
pub(super) struct Inspector {
    reference: Arc<Reference>,
    depth: Depth,
    wrong: Option<u64>,
    checked: u64,
}

impl Inspector {
    pub(super) fn new(reference: Arc<Reference>, depth: Depth) -> Self {
        Self { reference, depth, wrong: None, checked: 0 }
    }

    /// Looks at one block; `index` is its number in the file.
    #[inline]
    pub(super) fn block(&mut self, index: u64, bytes: &[u8]) {
        let at = index as usize;
        let right = match self.depth {
            Depth::Nothing => return,
            Depth::Marks => self.reference.marks.get(at) == Some(&mark(bytes)),
            Depth::Sums => self.reference.sums.get(at) == Some(&xxh3_64(bytes)),
        };
        self.compared(index, right);
    }

    /// Takes in that somebody else has compared a block.
    pub(super) fn compared(&mut self, index: u64, right: bool) {
        self.checked += 1;
        if !right {
            self.wrong.get_or_insert(index);
        }
    }

    /// Whether it looks at anything, so that a lap may spare what only serves it.
    pub(super) fn looks(&self) -> bool {
        self.depth != Depth::Nothing
    }

    /// Whether it compares checksums.
    pub(super) fn by_sums(&self) -> bool {
        self.depth == Depth::Sums
    }

    /// Another one for the same file that has seen nothing, for a thread.
    pub(super) fn fork(&self) -> Self {
        Self { reference: self.reference.clone(), depth: self.depth, wrong: None, checked: 0 }
    }

    /// Takes in what another one has seen.
    pub(super) fn join(&mut self, other: &Self) {
        self.checked += other.checked;
        self.wrong = self.wrong.or(other.wrong);
    }

    /// The number of the first block that was wrong.
    pub(super) fn wrong(&self) -> Option<u64> {
        self.wrong
    }

    /// Blocks looked at.
    pub(super) fn checked(&self) -> u64 {
        self.checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspector(depth: Depth) -> Inspector {
        let mut reference = Reference::default();
        for number in 0..4u8 {
            reference.push(&[number; 512]);
        }
        Inspector::new(Arc::new(reference), depth)
    }

    #[test]
    fn one_wrong_byte_in_the_middle_is_seen_by_sums_and_at_an_end_by_marks() {
        for (depth, place) in [(Depth::Sums, 250), (Depth::Sums, 0), (Depth::Marks, 511)] {
            let mut inspector = inspector(depth);
            inspector.block(1, &[1; 512]);
            assert_eq!(inspector.wrong(), None);
            let mut bytes = [2; 512];
            bytes[place] ^= 0x10;
            inspector.block(2, &bytes);
            inspector.block(3, &[0; 512]);
            assert_eq!((inspector.wrong(), inspector.checked()), (Some(2), 3));
        }
    }

    #[test]
    fn a_block_at_another_place_or_of_another_length_is_wrong() {
        for depth in [Depth::Sums, Depth::Marks] {
            let mut swapped = inspector(depth);
            swapped.block(3, &[1; 512]);
            assert_eq!(swapped.wrong(), Some(3));
            let mut beyond = inspector(depth);
            beyond.block(4, &[1; 512]);
            let mut all = inspector(depth);
            all.join(&beyond);
            assert_eq!((all.wrong(), all.checked()), (Some(4), 1));
        }
        let mut short = inspector(Depth::Sums);
        short.block(1, &[1; 511]);
        assert_eq!(short.wrong(), Some(1));
    }
}
