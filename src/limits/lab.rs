//! Bounds of the lab.

use std::time::Duration;

/// Bytes of the file that the lab makes: some times what a processor caches, and read in a tenth
/// of a second, so that a lap sees it more than once.
pub const LAB_SIZE: u64 = 256 << 20;

/// Bytes of a FILE that are raced when no size is given: what is read for its checksums first.
pub const LAB_SIZE_MAX: u64 = 1 << 30;

/// The most blocks of a file that is raced: 16 bytes of checksums for each are kept in memory.
pub const LAB_BLOCKS_MAX: u64 = 1 << 26;

/// Bytes of one operation: a page, where techniques differ most, and what fio takes.
pub const LAB_BLOCK_BYTES: usize = 4096;

/// The largest block: one operation of a lap with the deepest queue then keeps 4 GiB in flight.
pub const LAB_BLOCK_BYTES_MAX: usize = 16 << 20;

/// Time of each lap in each round: two hundred thousand operations of the fastest.
pub const LAB_RUNTIME: Duration = Duration::from_millis(100);

/// Rounds: the fewest whose whole range holds the median in 98 of 100 cases.
pub const LAB_ROUNDS: u32 = 7;

/// The most rounds.
pub const LAB_ROUNDS_MAX: u32 = 1000;

/// The deepest queue of a lap.
pub const LAB_DEPTH_MAX: u32 = 256;

/// Operations in flight of the laps with several, when none is said.
pub const LAB_DEPTH: u32 = 32;

/// The most threads of a lap with several.
pub const LAB_THREADS_MAX: usize = 8;

/// Of a warm file as much has to be in memory, in thousandths.
pub const LAB_WARM_PER_MILLE: u32 = 990;

/// Of a cold file at most as much.
pub const LAB_COLD_PER_MILLE: u32 = 10;

/// What the caches of devices hold: a smaller file may come out of them when it is cold.
pub const LAB_DEVICE_CACHE_BYTES: u64 = 4 << 30;

/// Bytes that the receiver of a lap to a socket takes at once.
pub const LAB_RECEIVE_BYTES: usize = 256 << 10;

/// How long a lap to a socket may stay without progress.
pub const LAB_SOCKET_PATIENCE: Duration = Duration::from_secs(30);

/// How long a ring is asked for again that seems to find no memory: the kernel takes those before
/// it down within some hundredths of a second.
pub const LAB_RING_PATIENCE: Duration = Duration::from_millis(500);

/// Time between two such attempts.
pub const LAB_RING_PAUSE: Duration = Duration::from_millis(5);

/// The largest body whose send is measured: sendfile is ahead well below it.
pub const LAB_SEND_BYTES_MAX: u64 = 1 << 20;

/// The largest cold body that is measured.
pub const LAB_COLD_BYTES_MAX: u64 = 8 << 20;

/// Entries of the caches whose policies are compared: a twentieth of the names that are asked for.
pub const LAB_CACHE_ENTRIES: usize = 500;

const _: () = assert!(LAB_SIZE_MAX / 512 <= LAB_BLOCKS_MAX);
