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
    /// Revalidations that found another file than before.
    pub replaced: Counter,
    /// Entries put out to make room.
    pub evicted: Counter,
    /// Lookups refused because every entry was being loaded.
    pub refused: Counter,
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
    /// Directories that are watched.
    pub watches: Gauge,
    /// Directories that may be watched, and absent ones that are known.
    pub watches_max: Gauge,
    /// Directories that could not be watched.
    pub watches_refused: Counter,
    /// What watched directories have told.
    pub notices: Counter,
    /// How often something they told was lost, and nothing counted that was known before.
    pub notices_lost: Counter,
    /// Entries whose directories are not watched.
    pub unwatched: Gauge,
    /// Entries now.
    pub entries: Gauge,
    /// Entries at most.
    pub entries_max: Gauge,
}
