//! Bounds of the blocks of files that are kept, and of what is read ahead.

use std::time::Duration;

/// Blocks of one worker's cache at least: some being sent, some being read, and one to spare.
pub const DIRECT_BLOCKS_MIN: usize = 8;

/// The share of a cache of blocks that may hold what nobody has asked for yet: one in so many.
/// What was asked for is worth more, and a body under way needs its next blocks, not all of them.
pub const DIRECT_AHEAD_SHARE: usize = 4;

/// Blocks that one body has read ahead: with blocks of the usual size what a fast client takes
/// while a slow disk answers.
pub const DIRECT_AHEAD_MAX: usize = 16;

/// Reads of blocks that one worker has in flight: more than any disk works on at once.
pub const DIRECT_READS_MAX: usize = 64;

/// One in so many of them is left to blocks that were asked for by those that are read ahead.
pub const DIRECT_AHEAD_LEAVES: usize = 4;

/// Blocks that were asked for and wait to be read, of one worker, for all mounts together: some
/// two MiB. Who asks beyond that is served without.
pub const DIRECT_WAITING_MAX: usize = 8192;

/// Blocks of a span that are looked for to tell whether it is kept: some microseconds, and of a
/// span with more of them one in some tells of the others.
pub const KEPT_LOOKS_MAX: u64 = 64;

/// How often the facts of a file that was read must tell other times and the same size before it is
/// taken to be another one: an appending write shows so while it copies its first page. In a row
/// they take some 50 microseconds.
pub const CHANGED_LOOKS: u32 = 64;

/// How long a body waits for a buffer of the pool of blocks before it goes on without one.
pub const DIRECT_WAIT: Duration = Duration::from_millis(100);

/// Bytes that were asked for and read to be allowed one byte of a proved pattern that was not: less
/// than two in a hundred are read in vain.
pub const FORESEEN_BYTES_PER_BYTE: u64 = 64;

/// The same for one byte of a guess, which may be right by chance for ever. What is read in vain
/// takes the place of something in the cache, which is read once more: both are to stay below two
/// in a hundred, also where few files are asked for in any order.
pub const GUESSED_BYTES_PER_BYTE: u64 = 256;

/// Blocks that may be read on trust in patterns that have proved themselves before anything was
/// earned for them: one on its way while the one before it is sent. The first that comes true pays
/// for both, and no more than that is lost beyond what was earned.
pub const FORESEEN_DEBT_BLOCKS: u64 = 2;

/// Bytes of the begin of a file that comes after another which are read ahead, and the rest of
/// their last block: what a fast client takes while a slow disk answers for the first time. From
/// there on the body itself reads ahead, at the pace of its client.
pub const FORESEEN_BEGIN_BYTES: u64 = 1 << 20;

/// Streams of one worker whose pattern is looked for: those that asked last, some 100 KiB.
pub const FORESEEN_STREAMS_MAX: usize = 256;

/// Files of one worker of which it is known which comes next, some 100 KiB.
pub const FORESEEN_FILES_MAX: usize = 1024;

const _: () = assert!(FORESEEN_BYTES_PER_BYTE > 50, "less than two in a hundred");
const _: () = assert!(DIRECT_BLOCKS_MIN >= DIRECT_AHEAD_SHARE, "one may be read ahead");
