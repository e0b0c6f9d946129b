//! Bounds of what the budgets of memory take.

/// Memory for heads by default, in bytes: 1024 heads at one moment, one for each sixteenth
/// connection, 170 of the greatest size, 1024 small answers, and as much for the heads of those who
/// wait for a disk: thousands of a common size.
pub const HEAD_BUFFERS: usize = 16 << 20;
/// Memory for bodies by default, in bytes: 480 bodies at once that are read into one buffer while
/// another is sent.
pub const BODY_BUFFERS: usize = 64 << 20;
/// Memory for blocks of files by default, in bytes: a thousand of them, and with the other budgets
/// no more than half of a machine of 1 GiB.
pub const DIRECT_CACHE: usize = 256 << 20;
/// Bytes of such a block by default: so many that a disk spends most of a read on moving bytes, and
/// so few that the rest of a block which nobody asks for costs little.
pub const DIRECT_BLOCK: usize = 256 << 10;
/// Memory for listings by default, in bytes: three of the most entries that one may have, or
/// thousands of a common size.
pub const LISTING_MEMORY: u64 = 64 << 20;

/// Memory for heads that one worker needs at least, in bytes: four heads of the greatest size.
pub const HEAD_SHARE_MIN: u64 = 64 << 10;
/// Memory for bodies that one worker needs at least, in bytes: a few buffers of a useful size.
pub const BODY_SHARE_MIN: u64 = 256 << 10;
/// Memory for listings at least, in bytes: some pages of a common size.
pub const LISTING_MEMORY_MIN: u64 = 1 << 20;

/// Memory for small hot files with the engine `auto`, in bytes: thousands of them, and less than a
/// tenth of what the other budgets come to.
pub const HOT_CACHE_OF_AUTO: u64 = 32 << 20;

/// Into how many parts the memory that a process may have is divided for each budget that nobody
/// has set: it takes one at most. All of them together take half; the other half is for the page
/// cache, for sockets and for the program itself.
pub const HEAD_BUFFERS_PART: u64 = 32;
/// See [`HEAD_BUFFERS_PART`]: bodies on their way need the most after the blocks.
pub const BODY_BUFFERS_PART: u64 = 8;
/// See [`HEAD_BUFFERS_PART`]: the larger the cache, the fewer reads.
pub const DIRECT_CACHE_PART: u64 = 4;
/// See [`HEAD_BUFFERS_PART`].
pub const LISTING_MEMORY_PART: u64 = 16;
/// See [`HEAD_BUFFERS_PART`].
pub const HOT_CACHE_PART: u64 = 32;

/// Memory that was freed and is kept by builds with debug assertions, in bytes: a few hundred
/// buffers of the usual sizes, and little beside what a test may have.
pub const QUARANTINE_BYTES: usize = 32 << 20;
/// The same, in blocks: those of some thousand requests, and 24 bytes each for their table.
pub const QUARANTINE_BLOCKS: usize = 64 << 10;
/// The largest block that is kept, in bytes: a few of them must not push out all others.
pub const QUARANTINE_BLOCK_MAX: usize = 1 << 20;
/// Parts of what is kept: as many threads free memory at once without looking for another.
pub const QUARANTINE_WARDS: usize = 8;

const _: () = assert!(QUARANTINE_BLOCK_MAX <= QUARANTINE_BYTES / QUARANTINE_WARDS);

const _: () = {
    // In 32nds.
    let heads_and_hot = 32 / HEAD_BUFFERS_PART + 32 / HOT_CACHE_PART;
    let others = 32 / BODY_BUFFERS_PART + 32 / DIRECT_CACHE_PART + 32 / LISTING_MEMORY_PART;
    assert!(heads_and_hot + others <= 16, "budgets leave half of the memory");
};
