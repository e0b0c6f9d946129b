//! What the cache counts.

use crate::base::{Counter, Gauge};

/// Figures of one worker's cache of open files.
#[derive(Debug, Default)]
pub struct Stats {
    /// Lookups answered from memory at once. One that waited is none, though its answer is there
    /// when it is looked at again.
    pub hits: Counter,
    /// Lookups of names that were not known.
    pub misses: Counter,
    /// Lookups of names whose entry was too old.
    pub revalidations: Counter,
    /// Lookups answered with what was open while its revalidation did not come back.
    pub served_unproven: Counter,
    /// Revalidations that found another file than before.
    pub replaced: Counter,
    /// Entries put out to make room.
    pub evicted: Counter,
    /// Lookups refused because every entry was being loaded.
    pub refused: Counter,
    /// Opens that found no descriptor.
    pub starved: Counter,
    /// Answers whose body was in memory.
    pub hot_hits: Counter,
    /// Bodies that were put into memory.
    pub hot_kept: Counter,
    /// Bodies that gave way to others.
    pub hot_evicted: Counter,
    /// Bytes of bodies in memory.
    pub hot_bytes: Gauge,
    /// Bytes of bodies in memory at most.
    pub hot_bytes_max: Gauge,
    /// Bodies that were read into the page cache, looked at later, and still there.
    pub page_cache_kept: Counter,
    /// The same, and gone.
    pub page_cache_lost: Counter,
    /// Bytes of files that were asked for often, read there although the block cache had them.
    pub page_cache_brought: Counter,
    /// Files of which it is remembered when they were asked for.
    pub recalled: Gauge,
    /// The same at most.
    pub recalled_max: Gauge,
    /// Directories that are watched.
    pub watches: Gauge,
    /// Directories that may be watched, absent ones and links that are known among them.
    pub watches_max: Gauge,
    /// Directories and links that could not be watched.
    pub watches_refused: Counter,
    /// What watched directories have told.
    pub notices: Counter,
    /// How often something they told was lost, and nothing counted that was known before.
    pub notices_lost: Counter,
    /// Entries whose directories, or what links lead to, are not watched.
    pub unwatched: Gauge,
    /// Entries now.
    pub entries: Gauge,
    /// Entries at most.
    pub entries_max: Gauge,
    /// Blocks that were there when they were asked for.
    pub block_hits: Counter,
    /// Blocks that had to be read when they were asked for.
    pub block_misses: Counter,
    /// Those that somebody else was waiting for already.
    pub block_shared: Counter,
    /// Blocks read ahead for a body under way.
    pub block_ahead: Counter,
    /// Those of them that went without having been asked for.
    pub block_ahead_wasted: Counter,
    /// Reads of blocks that failed.
    pub block_failures: Counter,
    /// Blocks put out to make room.
    pub block_evicted: Counter,
    /// Bodies that found no buffer for a block for so long that they went on without one.
    pub block_exhausted: Counter,
    /// Bytes of buffers that hold blocks or are being filled.
    pub block_bytes: Gauge,
    /// Bytes of buffers at most.
    pub block_bytes_max: Gauge,
    /// Blocks read because a pattern between requests said so.
    pub foreseen: Counter,
    /// Those of them that were there when they were asked for.
    pub foreseen_used: Counter,
    /// Those that were asked for while they were still being read.
    pub foreseen_late: Counter,
    /// Those that went without having been asked for.
    pub foreseen_wasted: Counter,
}

impl Stats {
    /// Blocks that were there, and all that were asked for.
    pub fn block_hit_share(&self) -> (u64, u64) {
        let hits = self.block_hits.read();
        (hits, hits + self.block_misses.read())
    }

    /// Predictions that came true, and all whose fate is known.
    pub fn foreseen_share(&self) -> (u64, u64) {
        let true_ones = self.foreseen_used.read() + self.foreseen_late.read();
        (true_ones, true_ones + self.foreseen_wasted.read())
    }
}
