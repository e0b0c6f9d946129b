//! All figures at one moment, added up over the workers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::catalogue::CATALOGUE;
use super::figure::{Figure, Kind, Source};
use crate::access_log::Stats as LogStats;
use crate::base::{Histogram, Percentiles};
use crate::cache::Stats as CacheStats;
use crate::connection::Stats as ConnectionStats;
use crate::engines::Stats as EnginesStats;
use crate::resource::Stats as ResourceStats;
use crate::ring::Stats as RingStats;

/// The version of the JSON: it changes when a name goes away or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

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
}

/// What is told of the server beside its figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The engine that was asked for.
    pub engine: &'a str,
    /// How the rings were set up.
    pub ring_setup: &'a str,
    /// Time since the start.
    pub uptime: Duration,
}

/// The value of a figure, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Percentiles(Percentiles),
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
    /// The member `server`.
    server: Json,
    /// Every figure, in the order of the catalogue.
    series: Vec<Series>,
}

/// Reads the figures of all workers.
///
/// It takes no lock and stops nobody: a worker that counts meanwhile is seen before or after.
pub fn snapshot(shards: &[Shard], about: &About<'_>) -> Snapshot {
    let mut series = Vec::new();
    // Without a worker every label is still there, with zeros.
    let nobody = [Shard::default()];
    let read = if shards.is_empty() { &nobody } else { shards };
    for figure in CATALOGUE {
        add_up(figure, read, &mut series);
    }
    let server = json!({
        "name": "pitcrew",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": about.uptime.as_millis() as f64 / 1000.0,
        "engine": about.engine,
        "workers": shards.len(),
        "ring_setup": about.ring_setup,
    });
    Snapshot { server, series }
}

/// Appends the series of one figure, one for each label.
fn add_up(figure: &'static Figure, shards: &[Shard], series: &mut Vec<Series>) {
    let first = series.len();
    let mut histograms: Vec<Vec<&Histogram>> = Vec::new();
    for (turn, shard) in shards.iter().enumerate() {
        let mut index = 0;
        (figure.read)(shard, &mut |label, source| {
            if turn == 0 {
                let value = Value::Number(0);
                series.push(Series { figure, label: label.into_owned(), value });
                histograms.push(Vec::new());
            }
            let number = match source {
                Source::Counter(counter) => counter.read(),
                Source::Gauge(gauge) => gauge.read(),
                Source::Sum(sum) => sum,
                Source::Histogram(histogram) => {
                    histograms[index].push(histogram);
                    0
                }
            };
            // Every worker gives the same labels in the same order: they come from tables.
            if let Value::Number(sum) = &mut series[first + index].value {
                *sum = sum.wrapping_add(number);
            }
            index += 1;
        });
        assert_eq!(first + index, series.len(), "workers differ in their labels");
    }
    if figure.kind == Kind::Histogram {
        for (one, parts) in series[first..].iter_mut().zip(histograms) {
            one.value = Value::Percentiles(Histogram::merged(parts));
        }
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
    /// let told = snapshot(&shards, &About::default());
    /// assert_eq!(told.value("cache.hits"), Some(Value::Number(3)));
    /// assert_eq!(told.value("cache.his"), None);
    /// ```
    pub fn value(&self, path: &str) -> Option<Value> {
        let found = self.series.iter().find(|one| one.members().eq(path.split('.')));
        found.map(|one| one.value)
    }

    /// The answer of `/telemetry`: the object that the module describes, and a line's end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut all = Map::new();
        all.insert("version".to_owned(), SCHEMA_VERSION.into());
        all.insert("server".to_owned(), self.server.clone());
        for one in &self.series {
            let mut members: Vec<&str> = one.members().collect();
            let last = members.pop().expect("a series has a group");
            let mut at = &mut all;
            for member in members {
                let below = at.entry(member).or_insert_with(|| Json::Object(Map::new()));
                at = below.as_object_mut().expect("a group is no figure, by a test");
            }
            at.insert(last.to_owned(), one.value.to_json());
        }
        let mut text = format!("{:#}", Json::Object(all)).into_bytes();
        text.push(b'\n');
        text
    }
}

impl Series {
    /// The names that lead to it.
    fn members(&self) -> impl Iterator<Item = &str> {
        let parts = [self.figure.group, &self.label, self.figure.name];
        parts.into_iter().filter(|part| !part.is_empty())
    }
}

impl Value {
    fn to_json(self) -> Json {
        match self {
            Self::Number(number) => number.into(),
            Self::Percentiles(told) => json!({
                "count": told.count,
                "sum": told.sum,
                "best": told.best,
                "p50": told.p50,
                "p90": told.p90,
                "p99": told.p99,
                "worst": told.worst,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Kind as Engine;
    use crate::http::status::Status;
    use crate::ring::{Pool, Technique};

    fn told(shards: &[Shard]) -> Json {
        let about = About {
            engine: "splice",
            ring_setup: "deferred",
            uptime: Duration::from_micros(12_345_678),
        };
        serde_json::from_slice(&snapshot(shards, &about).to_json()).unwrap()
    }

    #[test]
    fn figures_of_workers_are_added_up_and_histograms_are_merged() {
        let shards = [Shard::default(), Shard::default()];
        for (shard, turn) in shards.iter().zip([5, 70]) {
            shard.ring.technique(Technique::Sendfile).bytes.add(10);
            shard.ring.turn.record(turn);
            shard.connections.open.set(4);
            shard.connections.responses(Status::NotFound).add(2);
            shard.engines.engine(Engine::Direct).declined.add(1);
            shard.ring.pool(Pool::Body).budget_bytes.set(1 << 20);
        }
        let told = told(&shards);
        assert_eq!(told["server"]["workers"], 2);
        assert_eq!(told["techniques"]["sendfile"]["bytes"], 20);
        assert_eq!(told["bytes"], json!({ "copied": 0, "not_copied": 20 }));
        assert_eq!(told["connections"]["open"], 8);
        assert_eq!(told["responses"]["404"], 4);
        assert_eq!(told["engines"]["direct"]["declined"], 2);
        assert_eq!(told["pools"]["body"]["budget_bytes"], 2 << 20);
        let turn = &told["ring"]["turn_ns"];
        assert_eq!(
            (&turn["count"], &turn["best"], &turn["worst"]),
            (&2.into(), &5.into(), &70.into())
        );
    }

    #[test]
    fn every_label_is_there_before_anything_is_counted() {
        for shards in [vec![], vec![Shard::default()]] {
            let told = told(&shards);
            assert_eq!(told["server"]["workers"], shards.len());
            assert_eq!(told["server"]["uptime_seconds"], 12.345);
            for technique in Technique::ALL {
                assert_eq!(told["techniques"][technique.name()]["operations"], 0);
            }
            for engine in Engine::ALL {
                assert_eq!(told["engines"][engine.name()]["responses"], 0);
            }
            for status in Status::ALL {
                assert_eq!(told["responses"][status.code().to_string()], 0);
            }
            assert_eq!(told["refusals"]["head_too_long"], 0);
            assert_eq!(told["farewells"]["client_abort"], 0);
            assert_eq!(told["ring"]["batch"]["p99"], 0);
        }
    }

    #[test]
    fn every_series_is_in_the_json_at_its_path() {
        let shot = snapshot(&[Shard::default()], &About::default());
        let told: Json = serde_json::from_slice(&shot.to_json()).unwrap();
        for one in shot.series() {
            let at = one.members().try_fold(&told, |at, member| at.get(member));
            assert_eq!(at, Some(&one.value.to_json()), "{:?} {}", one.figure, one.label);
        }
        let groups: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        for figure in CATALOGUE {
            assert!(groups.contains(&figure.group));
        }
        assert_eq!(told["version"], SCHEMA_VERSION);
    }
}
