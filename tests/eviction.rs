//! Hit ratios of the block cache's policy and of plain LRU, on the same traces. `pitcrew lab` shows
//! them too.

mod quarantine;

use pitcrew::eviction::traces::Trace;
use pitcrew::eviction::{Lru, S3Fifo, hit_ratio};

#[test]
fn it_keeps_more_of_what_comes_again_than_an_lru() {
    for trace in Trace::ALL {
        let requests = trace.requests(1);
        for entries in [100, 500, 1000] {
            let ours = hit_ratio(&mut S3Fifo::new(entries), entries, requests.iter().copied());
            let lru = hit_ratio(&mut Lru::new(), entries, requests.iter().copied());
            assert!(ours >= lru, "{} with {entries}: {ours} and {lru}", trace.name());
            if trace == Trace::ZipfAndScans && entries == 500 {
                assert!(ours > lru + 0.03, "a scan washes the LRU out: {ours} and {lru}");
            }
        }
    }
}
