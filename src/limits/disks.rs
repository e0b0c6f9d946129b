//! Bounds of what waits for disks, and of what is known of them.

use std::time::Duration;

/// Operations on files of one mount that may block, of one worker: opens and stats, reads, and
/// closes each. Each one that hangs is a thread of the kernel; a disk that is merely slow is kept
/// busy by as many.
pub const BLOCKING_OPERATIONS_MAX: u32 = 16;

/// Opens and stats of one worker on a mount that answers at once while names are cached: those of
/// a turn. The ones that miss are a thread of the kernel each.
pub const NAME_OPERATIONS_MAX: u32 = 64;

/// Reads of files of one worker on a mount that does not block, past the page cache or out of it:
/// enough to keep a fast disk busy in blocks. Half of the body buffers that reads of other mounts
/// leave is the bound if that is less, so that disks that hang leave some to the next one.
pub const READ_OPERATIONS_MAX: u32 = 256;

/// The same of reads of what is not known to be in the page cache, of all workers: each is a thread
/// of the kernel that waits for the disk. As many as a disk of the SATA kind takes at once, and
/// half of what the shallowest queues before one hold: what is read out of the page cache may begin
/// to read ahead. Each worker has one at least. As many more read what is there, but not what comes
/// behind.
pub const COLD_READS_MAX: u32 = 32;

/// Looks at what was seen in the page cache, of all workers, that were in vain, and may have begun
/// to read from the disk of a mount that has not answered since. Further ones begin nothing: where
/// the queue of a device is full, who begins a read waits, for as long as it hangs.
pub const COLD_LOOKS_MAX: u32 = 16;

/// Mounts whose kind and share is kept apart. All further ones are taken together for one that
/// may block.
pub const MOUNTS_MAX: usize = 64;

/// Devices of one mount that are told apart: file systems with subvolumes and layers show some.
pub const MOUNT_DEVICES_MAX: usize = 4;

/// Threads that the kernel may keep for one ring: some mounts that hang with all that they may,
/// and room for the others.
pub const RING_THREADS_MAX: u32 = 512;

const _: () = assert!(RING_THREADS_MAX >= 4 * (4 * BLOCKING_OPERATIONS_MAX));
const _: () = assert!(RING_THREADS_MAX >= 4 * (NAME_OPERATIONS_MAX + 2 * COLD_READS_MAX));

/// Owners that are woken for each operation of a mount that ends: more than one, as some have
/// found what they wanted elsewhere.
pub const MOUNT_WAKES: usize = 4;

/// How long a turn may take before it counts as a stall: ten times what a turn of the greatest
/// budget takes, and less than a client notices.
pub const STALL: Duration = Duration::from_millis(10);

/// Alignment in bytes that O_DIRECT is tried with where the file system does not tell: a page,
/// which is more than any disk asks for. What refuses it says so at the first read.
pub const DIRECT_ALIGNMENT_UNTOLD: u32 = 4096;

const _: () = assert!(COLD_LOOKS_MAX < COLD_READS_MAX, "most looks are followed by a read");

// residency

/// Bytes that are brought into the page cache by one operation: at 100 MiB/s they take 2.5 ms, and
/// a slow socket takes as long to send them.
pub const WARM_BYTES: u64 = 256 * 1024;

/// Bytes that one body has brought into the page cache ahead of what was sent: the next part
/// is read while this one is.
pub const WARM_AHEAD_BYTES: u64 = 4 * WARM_BYTES;

/// Bytes that are read ahead of what is asked for where the kernel does not tell: what btrfs begins
/// with, which has no device of its own, and as much as most who raise it for an array of disks.
pub const READ_AHEAD_UNTOLD: u64 = 4 << 20;

/// How long what the kernel has told of it is taken to be so: who changes it does so once.
pub const READ_AHEAD_KEPT: Duration = Duration::from_secs(60);

/// Bytes behind a part beyond which nobody asks whether they are there, as it takes too long: a
/// thread reads the part.
pub const REACH_MAX: u64 = 64 << 20;

/// Bytes of which the page cache is asked at once whether it has what comes behind a part: some ten
/// microseconds.
pub const FOLLOWED_BYTES: u64 = 1 << 20;

/// How long after a read the next one is not noted (24 hours with relatime, mount(8)), as far as
/// the server relies on it: its clock and the kernel's need not agree.
pub const ACCESS_KEPT: Duration = Duration::from_secs(23 * 3600);

/// How far ahead a change lies that is one of the future: the clock of files is finer than that of
/// a turn, which is read once in it, so a change of this moment may seem to be, too.
pub const FUTURE_MIN: Duration = Duration::from_secs(1);

/// Bytes up to which a file has no more pieces on the disk than its inode has room for: four, of a
/// page or more each. Of a longer one it may have to be read where they are.
pub const UNMAPPED_BYTES_MAX: u64 = 4 * 4096;

/// Bytes of a file of which it is known together where they are: what tells of the pieces of a
/// mebibyte is one block of the disk at most, however many they are. Of a file of more than 64 MiB
/// a sixty-fourth is taken for as much.
pub const MAPPED_BYTES: u64 = 1 << 20;

/// Parts of a file of which that is remembered: the bits of a word.
pub const MAPPED_PARTS: u64 = 64;

/// How often in a row a part that was just warmed may be found missing before it is taken to be
/// there: somebody else lets go of it all the time, and the body has to go on. On a mount that may
/// block it never is.
pub const WARMED_IN_VAIN_MAX: u32 = 8;

/// Bytes behind the socket from which warmed pages of a body that is to leave nothing are dropped:
/// as many as a socket holds at most by default (tcp_wmem), since those cannot be.
pub const FORGET_BEHIND_BYTES: u64 = 4 << 20;

/// Bytes that are dropped in one call, of what went through buffers: each call costs a thread of
/// the kernel.
pub const FORGET_BYTES: u64 = 1 << 20;

/// Bytes of the largest piece of a page cache (a folio), which is kept or dropped whole: a huge
/// page, where pages have 4 KiB.
pub const FOLIO_BYTES_MAX: u64 = 2 << 20;

/// Files that the process keeps mapped to be told which of their pages are in memory: a quarter of
/// the mappings that it may have (vm.max_map_count). Of others a read of each page tells, which
/// takes sixteen calls in place of one for 64 KiB.
pub const MAPPED_FILES_MAX: usize = 16 << 10;

/// Parts that a file is divided into at least to remember of each whether it was found in the page
/// cache, unless they are longer than what one operation warms: a client that reads in small pieces
/// has seen one soon.
pub const SEEN_PARTS_MIN: u64 = 64;

/// As many at most: 8 KiB for a file, of which 16 GiB have parts of the length of one operation.
pub const SEEN_PARTS_MAX: u64 = 1 << 16;

/// How long a part that was found in the page cache is taken to be there.
pub const RESIDENCY_KEPT: Duration = Duration::from_millis(250);

/// Parts of one file that are known to be there: clients that download it are at as many places.
/// With one part alone, 64 downloads of four files cost the server a sixth more. As many are known
/// to be on their way at least.
pub const RESIDENCY_PARTS_MAX: usize = 16;

/// Files of one worker of which it is remembered when they were asked for: a mebibyte, of which as
/// much is occupied as there are files.
pub const RECALLED_FILES_MAX: usize = 128 << 10;

/// Requests before this one for a file that was closed meanwhile from which on it is read into the
/// page cache: of a set of files that are asked for at random a few are asked for twice in a short
/// time.
pub const RECALLED_ASKS_MIN: u32 = 2;

/// Requests for a file in the block cache from which on it is read into the page cache, too: one
/// more read of the disk, and from there it is sent without a copy.
pub const MOVED_ASKS_MIN: u32 = 4;

/// Bytes of a span in the block cache of which the page cache is asked whether it has all: some
/// thirty microseconds four times a second, where a copy takes milliseconds.
pub const KNOWN_RESIDENT_BYTES_MAX: u64 = 16 << 20;

/// Files of one worker that wait to be read so, one after the other.
pub const MOVED_FILES_MAX: usize = 16;

/// Age at which something that was read into the page cache is first looked for there again: below
/// it, what is asked for again is as good as asked for at once.
pub const TENURE_AGE_MIN: Duration = RESIDENCY_KEPT;

/// Age beyond which it is not looked at any more: what is asked for more rarely is hardly known.
pub const TENURE_AGE_MAX: Duration = Duration::from_secs(3600);

/// Least time from one that is looked for again to the next, so that a burst is not all that is
/// known.
pub const TENURE_APART: Duration = Duration::from_millis(10);

/// How many a worker looks for again at most: each is one short call now and then.
pub const TENURE_SAMPLES_MAX: usize = 32;

/// One in so many bodies that the page cache is not thought to keep is read into it all the same:
/// of those that a busy server reads it shows within seconds that they are kept now. Each takes a
/// thread of the kernel, so that three in a hundred cost two to five.
pub const TENURE_TRIES_ONE_IN: u32 = 128;

/// Times that a transfer may take nothing from a socket that has just said it has room.
pub const FULL_WITHOUT_PROGRESS_MAX: u32 = 64;
