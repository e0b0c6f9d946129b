//! Bounds of what is known and kept of files.

use std::time::Duration;

use super::JOBS_PER_MOUNT_MAX;

/// Names whose files are kept open by default: a site of some thousand files stays open as a whole,
/// and three descriptors of each, as large ones have, fit the limits that services are given.
pub const OPEN_FILES: usize = 4096;

/// How long a file that is kept open is served by default where nothing tells of changes: whoever
/// replaces it sees the new one at the next look, and a thousand requests in that time cost one.
pub const OPEN_FILES_VALID: Duration = Duration::from_secs(1);

/// Directories that are watched by default: half of the 8192 watches that every kernel gives a user
/// (fs.inotify.max_user_watches), so that other programs have some.
pub const WATCHES: usize = 4096;

/// Bytes from which a file is large by default, for what the page cache is to keep: parts of pages
/// are smaller and are asked for again soon, while films and archives are larger and push them out.
pub const PAGE_CACHE_DROP_FROM: u64 = 16 << 20;

/// Times that opens are tried again when a rename got in their way, for a name and all of its
/// neighbours together: some for each of them.
pub const OPEN_TRIES_MAX: u32 = 32;

/// Bytes of a file whose entity tag is made of its content: 64 MiB take some tens of
/// milliseconds out of memory and a second from a slow disk, during which no other file of the
/// mount is hashed. A larger file is known by its time of change and its size.
pub const CONTENT_TAG_BYTES_MAX: u64 = 64 << 20;

/// Files of one mount that one worker has at the helpers to be hashed: the next is there when one
/// is done, and other jobs find room.
pub const DIGESTS_AT_ONCE: usize = 4;

const _: () = assert!(DIGESTS_AT_ONCE < JOBS_PER_MOUNT_MAX);

/// Names that one worker finds out at once beyond those that its cache keeps: as many clients may
/// ask for names that are not known in one moment. Each holds one to twelve descriptors.
pub const LOADS_MAX: usize = 4096;

/// Of these, names on one mount, so that one that hangs leaves room for those of others. Who asks
/// beyond that is told to come again later.
pub const LOADS_PER_MOUNT_MAX: usize = LOADS_MAX / 4;

/// How long a name whose directories are watched is trusted without being looked up: no watch tells
/// of a file system that is mounted over one of them, and the list of mounts cannot be had
/// everywhere.
pub const WATCHED_VALID: Duration = Duration::from_secs(60);

/// How long a request waits to be told that a file which is open is still the one of its name: more
/// than a disk that works takes under load, some ten seeks, and less than a client would give up
/// for. What does not come home by then is taken to hang, and what is open stands in.
pub const LOOKUP_PATIENCE: Duration = Duration::from_millis(250);

/// Watches that one worker has helpers set up at once, and how many of them on one mount, so that
/// one that hangs leaves the rest.
pub const WATCH_JOBS_MAX: usize = 16;
/// See [`WATCH_JOBS_MAX`].
pub const WATCH_JOBS_PER_MOUNT_MAX: usize = WATCH_JOBS_MAX / 2;

/// Links that lead to one name at most where their way is watched, as in path_resolution(7).
pub const LINK_HOPS_MAX: u32 = 40;

/// Names that are looked up for those links at most: some for each link of a deployment, and few
/// enough to be remembered for every directory that is watched.
pub const LINK_NAMES_MAX: usize = 64;

/// How long nothing more is watched when the helpers had no room or a watch failed.
pub const WATCH_PAUSE: Duration = Duration::from_millis(100);

/// Notices of watched directories that a turn takes: as many as the kernel keeps by default
/// (fs.inotify.max_queued_events), in some milliseconds.
pub const NOTICES_MAX: usize = 16_384;

const _: () = assert!(WATCH_JOBS_MAX < JOBS_PER_MOUNT_MAX);

/// Bytes of a body that is kept in memory: sent with its head it costs less than a system call of
/// its own, and some thousand fit a small budget.
pub const HOT_BODY_BYTES_MAX: usize = 16 * 1024;

/// Bytes of such a body that is copied behind its head: both find room in the buffer of an answer,
/// and several of them in one send. Larger ones are gathered by the kernel from where they are.
pub const HOT_COPIED_BYTES_MAX: usize = 3 * 1024;

/// Bodies that one worker reads at once to keep them; of one mount half of what others leave.
pub const HOT_READS_MAX: usize = 16;

/// How long after its last change what was read of a file may be kept in memory: file systems tell
/// times in whole seconds, some in steps of two, and a change within the same step would not be
/// seen.
pub const SETTLED_COARSE: Duration = Duration::from_secs(3);

/// The same where the time has a fraction of a second: then its steps are ticks, of 10 ms at most.
pub const SETTLED_FINE: Duration = Duration::from_millis(100);

/// How long after a store through a shared mapping the kernel has written its page back, as it does
/// where nobody has set that otherwise (`vm.dirty_expire_centisecs`, 30 seconds, and
/// `vm.dirty_writeback_centisecs`, 5), with some time on top. Till then further stores into the
/// page change no time of the file; the first one after that does.
pub const WRITTEN_BACK: Duration = Duration::from_secs(40);
