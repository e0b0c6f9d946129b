//! All figures at one moment, added up over the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::catalogue::CATALOGUE;
use super::figure::{Figure, Source};
use super::stats::Stats;
use crate::access_log::Stats as LogStats;
use crate::base::Spread;
use crate::broker::Stats as BrokerStats;
use crate::cache::Stats as CacheStats;
use crate::connection::Stats as ConnectionStats;
use crate::engines::Stats as EnginesStats;
use crate::resource::Stats as ResourceStats;
use crate::ring::Stats as RingStats;

/// The figures of one worker, which goes on writing them.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Of its ring.
    pub ring: Arc<RingStats>,
    /// Of its open files.
    pub cache: Arc<CacheStats>,
    /// Of its listings.
    pub resource: Arc<ResourceStats>,
    /// Of its engines.
    pub engines: Arc<EnginesStats>,
    /// Of its connections.
    pub connections: Arc<ConnectionStats>,
    /// Of its access log.
    pub access_log: Arc<LogStats>,
    /// Of what the broker was asked for, counted in one shard only.
    pub broker: Arc<BrokerStats>,
    /// Of the configurations that the server took, counted in one shard only.
    pub configuration: Arc<Stats>,
    left: Arc<AtomicBool>,
}

impl Shard {
    /// Nobody counts here any more: its counters stand, and its levels are nothing.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// Somebody counts here again.
    pub fn take_up(&self) {
        self.left.store(false, Ordering::Release);
    }

    /// The longest turn of its worker, in nanoseconds.
    pub fn longest_turn(&self) -> u64 {
        self.ring.turn.worst()
    }

    /// Whether nobody counts here now.
    pub fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }
}

/// What is told of the server beside its figures.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The engine that was asked for.
    pub engine: &'static str,
    /// How the rings were set up.
    pub ring_setup: &'static str,
    /// How many threads serve.
    pub workers: usize,
    /// Memory that the process may have, in bytes; 0 where that is not known.
    pub memory_limit: u64,
    /// The longest turn of each worker, in nanoseconds.
    pub longest_turns: Vec<u64>,
    /// Time since the start.
    pub uptime: Duration,
    /// What the process gave up, layer by layer, and what its rings did.
    pub sandbox: Arc<[Held]>,
    /// What the techniques did when they were last raced on this machine.
    pub laps: Arc<[Lap]>,
}

/// What became of a layer of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The layer, as the log names it.
    pub layer: &'static str,
    /// Why it is not applied; none when it is.
    pub missing: Option<String>,
    /// What it leaves free, where the kernel is older than what is asked of it.
    pub free: Vec<String>,
}

/// What a technique did in its last race.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lap {
    /// The technique, as the race names it.
    pub technique: String,
    /// Bytes that it moved in a second.
    pub bytes_per_second: u64,
    /// When the race began, in seconds since 1970.
    pub measured_at: u64,
    /// Where: the name of the machine, its processor and its kernel.
    pub machine: String,
}

/// The value of a figure, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Spread(Spread),
}

/// A value with its name.
#[derive(Debug)]
pub struct Series {
    /// The row of the catalogue.
    pub figure: &'static Figure,
    /// Its label, empty if it has none.
    pub label: String,
    /// What was read.
    pub value: Value,
}

/// What [`snapshot`] read.
#[derive(Debug)]
pub struct Snapshot {
    /// What is told beside the figures.
    pub about: About,
    /// Every figure, in the order of the catalogue.
    series: Vec<Series>,
}

/// Reads the figures of all workers.
///
/// It takes no lock and stops nobody: a worker that counts meanwhile is seen before or after.
pub fn snapshot(shards: &[Shard], about: About) -> Snapshot {
    let mut taking = Taking::default();
    let mut all = usize::MAX;
    while !taking.go_on(shards, &mut all) {}
    taking.end(about)
}

/// A snapshot that is taken in pieces.
#[derive(Debug, Default)]
pub(super) struct Taking {
    /// The row of the catalogue and the shard that are read next.
    figure: usize,
    shard: usize,
    /// Where the series of this row begin.
    first: usize,
    /// Part and whole of a share, over the workers that were read.
    share: (u64, u64),
    series: Vec<Series>,
}

impl Taking {
    /// Reads on until as many counts were read as are left, or to the end, which it says. One
    /// figure of one worker is read whole.
    pub(super) fn go_on(&mut self, shards: &[Shard], left: &mut usize) -> bool {
        let nobody = [Shard::default()];
        // Without a worker every label is still there, with zeros.
        let shards = if shards.is_empty() { &nobody } else { shards };
        while let Some(figure) = CATALOGUE.get(self.figure) {
            if *left == 0 {
                return false;
            }
            if self.shard == 0 {
                self.first = self.series.len();
                self.share = (0, 0);
            }
            *left = left.saturating_sub(self.read(figure, &shards[self.shard]));
            self.shard += 1;
            if self.shard == shards.len() {
                self.shard = 0;
                self.figure += 1;
            }
        }
        true
    }

    /// Adds one figure of one worker, and says how many counts that took.
    fn read(&mut self, figure: &'static Figure, shard: &Shard) -> usize {
        let (first, first_shard) = (self.first, self.shard == 0);
        let mut index = first;
        let mut reads = 0;
        (figure.read)(shard, &mut |label, source| {
            if first_shard {
                let value = match source {
                    Source::Histogram(_) => Value::Spread(Spread::default()),
                    _ => Value::Number(0),
                };
                self.series.push(Series { figure, label: label.into_owned(), value });
            }
            // Every worker gives the same labels in the same order: they come from tables.
            let number = match (source, &mut self.series[index].value) {
                (Source::Histogram(histogram), Value::Spread(spread)) => {
                    spread.add(histogram);
                    reads += Spread::READS;
                    index += 1;
                    return;
                }
                (Source::Counter(counter), _) => counter.read(),
                (Source::Gauge(_), _) if shard.is_left() => 0,
                (Source::Gauge(gauge), _) => gauge.read(),
                (Source::Sum(sum), _) => sum,
                (Source::Share(part, whole), value) => {
                    let share = &mut self.share;
                    *share = (share.0.wrapping_add(part), share.1.wrapping_add(whole));
                    *value = Value::Number(share.0.saturating_mul(100) / share.1.max(1));
                    reads += 2;
                    index += 1;
                    return;
                }
                (Source::Histogram(_), Value::Number(_)) => {
                    unreachable!("a row is of one kind")
                }
            };
            if let Value::Number(sum) = &mut self.series[index].value {
                *sum = sum.wrapping_add(number);
            }
            reads += 1;
            index += 1;
        });
        assert_eq!(index, self.series.len(), "workers differ in their labels");
        reads
    }

    pub(super) fn end(self, about: About) -> Snapshot {
        assert_eq!(self.figure, CATALOGUE.len(), "a snapshot is taken to its end");
        Snapshot { about, series: self.series }
    }
}

impl Snapshot {
    /// Every figure, in the order of the catalogue.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The value at a path, such as `techniques.sendfile.bytes`.
    ///
    /// ```
    /// use pitcrew::telemetry::{About, Shard, Value, snapshot};
    ///
    /// let shards = [Shard::default(), Shard::default()];
    /// shards[0].cache.hits.add(1);
    /// shards[1].cache.hits.add(2);
    /// let told = snapshot(&shards, About::default());
    /// assert_eq!(told.value("cache.hits"), Some(&Value::Number(3)));
    /// assert_eq!(told.value("cache.his"), None);
    /// ```
    pub fn value(&self, path: &str) -> Option<&Value> {
        let found = self.series.iter().find(|one| one.members().eq(path.split('.')));
        found.map(|one| &one.value)
    }
}

impl Series {
    /// The names that lead to it.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        let parts = [self.figure.group, &self.label, self.figure.name];
        parts.into_iter().filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_all_workers_together() {
        let shards = [Shard::default(), Shard::default()];
        shards[0].cache.foreseen_used.add(1);
        shards[1].cache.foreseen_wasted.add(2);
        shards[1].cache.foreseen_late.add(1);
        let told = snapshot(&shards, About::default());
        assert_eq!(told.value("predictor.hit_percent"), Some(&Value::Number(50)));
        assert_eq!(told.value("direct_cache.hit_percent"), Some(&Value::Number(0)));
    }

    #[test]
    fn a_snapshot_in_pieces_reads_a_bounded_part_of_many_workers_at_once() {
        let shards = vec![Shard::default(); 64];
        shards.iter().for_each(|shard| shard.cache.hits.add(1));
        let mut taking = Taking::default();
        let mut pieces = 0;
        loop {
            let before = (taking.figure, taking.shard);
            let mut left = 1000;
            let done = taking.go_on(&shards, &mut left);
            pieces += 1;
            let rows = (taking.figure - before.0) * 64 + taking.shard - before.1.min(taking.shard);
            assert!(rows <= 1000 + 64, "{rows} rows of workers in one piece");
            if done {
                break;
            }
        }
        assert!(pieces > 100, "{pieces}");
        // The shards share their figures here.
        let told = taking.end(About::default());
        assert_eq!(told.value("cache.hits"), Some(&Value::Number(64 * 64)));
    }
}
