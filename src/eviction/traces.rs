//! Requests to try a policy on, always the same for a seed.

use crate::base::Random;

/// Different names in each.
pub const NAMES: usize = 10_000;
const REQUESTS: usize = 200_000;
/// A scan comes after so many requests, and is so long.
const SCAN_EVERY: usize = 10_000;
const SCAN: u64 = 2_000;
/// Names of the loop.
const LOOP: u64 = 1_200;

/// A kind of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Their frequency falls with the rank (Zipf, exponent 1).
    Zipf,
    /// The same, with a large file read through from time to time.
    ZipfAndScans,
    /// Some names again and again, in order: more than the cache holds.
    Loop,
}

impl Trace {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Zipf, Self::ZipfAndScans, Self::Loop];

    /// A name to show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::ZipfAndScans => "zipf with scans",
            Self::Loop => "loop",
        }
    }

    /// The names that are asked for, in their order.
    pub fn requests(self, seed: u64) -> Vec<u64> {
        match self {
            Self::Zipf => zipf(seed),
            Self::ZipfAndScans => with_scans(&zipf(seed)),
            Self::Loop => (0..REQUESTS as u64).map(|number| number % LOOP).collect(),
        }
    }
}

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

fn with_scans(requests: &[u64]) -> Vec<u64> {
    let mut trace = Vec::with_capacity(requests.len() * 6 / 5);
    for (number, part) in requests.chunks(SCAN_EVERY).enumerate() {
        trace.extend_from_slice(part);
        let first = (NAMES * (1 + number)) as u64;
        trace.extend(first..first + SCAN);
    }
    trace
}
