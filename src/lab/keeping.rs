//! What a cache keeps: the policy of the block cache beside plain LRU, on the same requests.
//! Nothing is read for it.

use serde::{Deserialize, Serialize};

use crate::eviction::traces::Trace;
use crate::eviction::{Lru, S3Fifo, hit_ratio};
use crate::limits::LAB_CACHE_ENTRIES;

/// Of one kind of requests, the share that a cache answers, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keeping {
    /// The requests.
    pub trace: String,
    /// Entries of the cache.
    pub entries: usize,
    /// With the policy of the block cache, S3-FIFO.
    pub s3_fifo: f64,
    /// With LRU, the policy that is best known.
    pub lru: f64,
}

/// Tries both on every kind of requests.
pub(super) fn measure(seed: u64) -> Vec<Keeping> {
    let entries = LAB_CACHE_ENTRIES;
    let measured = Trace::ALL.into_iter().map(|trace| {
        let requests = trace.requests(seed);
        let all = || requests.iter().copied();
        Keeping {
            trace: trace.name().to_owned(),
            entries,
            s3_fifo: hit_ratio(&mut S3Fifo::new(entries), entries, all()),
            lru: hit_ratio(&mut Lru::new(), entries, all()),
        }
    });
    measured.collect()
}
