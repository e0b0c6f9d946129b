//! How long the page cache keeps what is read into it: seen, not assumed.
//!
//! Reading a file into the page cache pays only if it is still there when it is asked for next.
//! Some of the bodies that were read so are looked at again, at ages that double, without being
//! touched; how old those were that were gone tells how long the others stay. Until one was seen to
//! go, everything is taken to stay.
//!
//! ```text
//! read -> 250 ms there? -> 500 ms there? -> 1 s there? -> ... -> an hour: not looked at any more
//!              |                |               |
//!              +----------------+---------------+--> gone: it was kept as long as it was last seen
//! ```
//!
//! What was asked for again meanwhile tells nothing: that has kept it there.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::stats::Stats;
use super::version::Version;
use crate::base::Instant;
use crate::limits::{
    TENURE_AGE_MAX, TENURE_AGE_MIN, TENURE_APART, TENURE_SAMPLES_MAX, TENURE_TRIES_ONE_IN,
};
use crate::ring::Io;

/// See the module.
#[derive(Debug)]
pub struct Tenure {
    samples: Vec<Sample>,
    /// When the last one was taken, and which is looked at next.
    taken: Instant,
    next: usize,
    /// How long things stay; none as long as nothing was seen to go.
    stays: Option<Duration>,
    /// How often the answer was that something would not stay.
    refused: u32,
    stats: Arc<Stats>,
}

/// A body that was read into the page cache.
#[derive(Debug)]
struct Sample {
    version: Weak<Version>,
    offset: u64,
    since: Instant,
    /// The age at which it was last seen to be there, and that at which it is looked at next.
    seen: Duration,
    due: Duration,
}

impl Tenure {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        Self {
            samples: Vec::new(),
            taken: Instant::default(),
            next: 0,
            stays: None,
            refused: 0,
            stats,
        }
    }

    /// Whether what is asked for once in `interval` is worth being read into the page cache. Now
    /// and then the answer is yes all the same, so that it is noticed when things stay longer.
    pub fn keeps(&mut self, interval: Duration, io: &mut dyn Io) -> bool {
        self.look(io);
        if self.stays.is_none_or(|stays| interval <= stays) {
            return true;
        }
        self.refused += 1;
        self.refused.is_multiple_of(TENURE_TRIES_ONE_IN)
    }

    /// Takes note that a body is being read into the page cache, from an offset on.
    pub fn note(&mut self, version: &Rc<Version>, offset: u64, io: &dyn Io) {
        let now = io.now();
        let apart = self.samples.is_empty() || now.since(self.taken) >= TENURE_APART;
        if self.samples.len() < TENURE_SAMPLES_MAX && apart {
            self.taken = now;
            let (seen, due) = (Duration::ZERO, TENURE_AGE_MIN);
            let version = Rc::downgrade(version);
            self.samples.push(Sample { version, offset, since: now, seen, due });
        }
    }

    /// Looks at one sample, if its time has come.
    fn look(&mut self, io: &mut dyn Io) {
        if self.samples.is_empty() {
            return;
        }
        self.next = (self.next + 1) % self.samples.len();
        let sample = &mut self.samples[self.next];
        let age = io.now().since(sample.since);
        if age < sample.due {
            return;
        }
        let version = sample.version.upgrade();
        let untouched =
            |version: &Rc<Version>| version.last_asked().is_none_or(|asked| asked <= sample.since);
        let there = version.filter(untouched).and_then(|version| {
            let end = version.facts.size.min(sample.offset + 1);
            version.is_in_page_cache(sample.offset..end, true, io).ok().flatten()
        });
        match there {
            Some(true) => {
                self.stats.page_cache_kept.add(1);
                self.stays = self.stays.map(|stays| stays.max(age));
                (sample.seen, sample.due) = (age, 2 * age);
                if age < TENURE_AGE_MAX {
                    return;
                }
            }
            Some(false) => {
                self.stats.page_cache_lost.add(1);
                let seen = sample.seen;
                self.stays = Some(self.stays.map_or(seen, |stays| stays.min((stays + seen) / 2)));
            }
            // It has been asked for since, the file is known no longer, or nobody tells of it.
            None => {}
        }
        self.samples.swap_remove(self.next);
    }
}
