//! Where the bytes of a file are, and how that is asked: what is not known to be in memory is never
//! read by the loop, see `reactor/mounts.rs`.

/// Where the bytes of a read come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Past the page cache: the file was opened with O_DIRECT.
    Direct,
    /// The same, of a part of which it is not known yet where on the disk it is: that is left to a
    /// thread of the kernel, as what tells it may have to be read before.
    Unmapped,
    /// The page cache, which was just found to have them.
    Memory,
    /// The page cache, which may have to get them from the disk. That is left to a thread of the
    /// kernel: whoever begins a read waits for a place in the queue of the device, and for what
    /// tells where on it the bytes are.
    Disk,
    /// The same, where it was found to lack some of them.
    Cold,
    /// The page cache, which has them, but not what comes behind. Where the kernel has marked a
    /// page of these, who touches it has that read, and waits as for `Disk`.
    Edge,
}

/// How the page cache is asked for a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// By a read that does not wait, of what was found there before: most likely it begins nothing.
    /// Where nothing else tells, it has the kernel begin to read from the disk what is not there.
    Seen,
    /// By what begins nothing and touches no page; it cannot tell of files of another user.
    Quiet,
    /// The same by the kernel's count of pages alone: those on their way are there, too.
    Cached,
    /// By its count of pages alone, which is no access: it tells that some are not there, or
    /// nothing.
    Counted,
    /// By a mapping, as must be where reads cannot be told not to block.
    Mapped,
}
