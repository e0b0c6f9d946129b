//! Hit ratios of the block cache's policy and of plain LRU, on the same traces. The table is
//! printed with `cargo test --test eviction -- --nocapture`.

use pitcrew::cache::eviction::{Lru, S3Fifo, hit_ratio};
use pitcrew::ring::simulated::Random;

const NAMES: usize = 10_000;
const REQUESTS: usize = 200_000;

/// Requests whose frequency falls with the rank (Zipf, exponent 1).
fn zipf(seed: u64) -> Vec<u64> {
    let mut sums = Vec::with_capacity(NAMES);
    let mut sum = 0.0;
    for rank in 1..=NAMES {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut random = Random::new(seed);
    let mut draw = || {
        let at = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        sums.partition_point(|bound| *bound < at) as u64
    };
    (0..REQUESTS).map(|_| draw()).collect()
}

/// The same, with a large file read through from time to time.
fn zipf_and_scans(seed: u64) -> Vec<u64> {
    let mut trace = Vec::new();
    for (number, key) in zipf(seed).into_iter().enumerate() {
        trace.push(key);
        if number % 10_000 == 9_999 {
            let first = (NAMES * (1 + number / 10_000)) as u64;
            trace.extend(first..first + 2_000);
        }
    }
    trace
}

/// A set that is a little larger than the cache, again and again.
fn round_and_round() -> Vec<u64> {
    (0..REQUESTS as u64).map(|number| number % 1_200).collect()
}

#[test]
fn it_keeps_more_of_what_comes_again_than_an_lru() {
    let traces = [
        ("Zipf", zipf(1)),
        ("Zipf with scans", zipf_and_scans(2)),
        ("loop of 1200", round_and_round()),
    ];
    println!("{:<16} {:>8} {:>8} {:>8}", "trace", "entries", "S3-FIFO", "LRU");
    for (name, trace) in &traces {
        for entries in [100, 500, 1000] {
            let ours = hit_ratio(&mut S3Fifo::new(entries), entries, trace.iter().copied());
            let lru = hit_ratio(&mut Lru::new(), entries, trace.iter().copied());
            println!("{name:<16} {entries:>8} {:>7.1}% {:>7.1}%", 100.0 * ours, 100.0 * lru);
            assert!(ours >= lru, "{name} with {entries}: {ours} and {lru}");
        }
    }
    let scans = &traces[1].1;
    let ours = hit_ratio(&mut S3Fifo::new(500), 500, scans.iter().copied());
    let lru = hit_ratio(&mut Lru::new(), 500, scans.iter().copied());
    assert!(ours > lru + 0.03, "a scan washes the LRU out, and not this: {ours} and {lru}");
}
