//! What is asked of the cache, and what it answers.

use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::tree::Tree;
use super::version::{Name, OpenDirectory};
use crate::base::Instant;
use crate::ring::Owner;

/// What the cache may use and how it opens. Counts are for one worker.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Entries at most, at least 1.
    pub entries_max: usize,
    /// How long an entry is good whose directories are not watched.
    pub valid: Duration,
    /// Directories that are watched at most.
    pub watches_max: usize,
    /// Bytes of small bodies that are kept in memory at most.
    pub hot_bytes: u64,
    /// Whether precompressed neighbours are looked for.
    pub precompressed: bool,
    /// Whether a neighbour that is older than its original is passed over.
    pub fresh_only: bool,
    /// Bytes from which a file is also opened with O_DIRECT; none where no file is.
    pub direct_from: Option<u64>,
    /// Whether symbolic links beneath the root are followed.
    pub follow_links: bool,
    /// Whether files are hashed for their entity tags.
    pub content_tags: bool,
    /// Bytes from which a file that was hashed leaves nothing in the page cache that was not there
    /// before; none where every file does.
    pub drop_from: Option<u64>,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Found {
    /// A regular file.
    File(Rc<Name>),
    /// A directory.
    Directory(OpenDirectory),
    /// Nothing that is served: no such name, a link that leaves the root, a device, a FIFO.
    Nothing,
    /// Something that this process may not read.
    Forbidden,
    /// It could not be found out now: descriptors, memory or the disk failed.
    Unavailable(Errno),
}

impl Found {
    /// The mount that it lies on; where that is not known, a number that stands for the tree's.
    pub(super) fn mount(&self, tree: Tree) -> u64 {
        match self {
            Self::File(name) => name.original.facts.mount,
            Self::Directory(directory) => directory.facts.mount,
            Self::Nothing | Self::Forbidden | Self::Unavailable(_) => u64::MAX - u64::from(tree.0),
        }
    }
}

/// Who asks, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whom to wake.
    pub owner: Owner,
    /// When the request began: what was found out since is fresh enough for it.
    pub since: Instant,
    /// The clock.
    pub now: Instant,
    /// Whether the request was looked at before, and has its hits and misses counted.
    pub again: bool,
}

/// The answer to a lookup.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is known.
    Known(Found),
    /// It is being found out, on the mount of this number as far as that is known beforehand; the
    /// waiter is woken with `Ready`.
    Waiting(u64),
    /// So many names are being found out that there is no room for one more; try later.
    Full,
}
