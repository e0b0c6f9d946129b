//! Two looks at the figures, and what they mean: rates, shares and percentiles of what passed
//! between them. It reads no clock: the time between is that of the server.

use std::collections::BTreeMap;

use super::ask::Told;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct View {
    pub version: String,
    pub engine: String,
    pub ring_setup: String,
    pub workers: u64,
    pub uptime: f64,
    /// In a second.
    pub requests: f64,
    /// In a second.
    pub bytes: f64,
    pub open: u64,
    pub budget: u64,
    /// Of the answers between the two looks; none if there was none.
    pub latency: Option<Percentiles>,
    /// Of the bytes between the two looks, else of all, what was not copied.
    pub not_copied: f64,
    pub lanes: Vec<Lane>,
    /// Techniques that were not used.
    pub idle: usize,
    pub engines: Vec<EngineLane>,
    pub ring: Ring,
    /// Name, part and all, of what was asked at all.
    pub hits: Vec<(String, u64, u64)>,
    /// Name and count, those that are none left out but for phases.
    pub phases: Vec<(String, u64)>,
    pub farewells: Vec<(String, u64)>,
    pub refusals: Vec<(String, u64)>,
    pub log: Log,
}

/// Percentiles, in the unit of their histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
}

/// One technique that is in use.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub name: String,
    /// Of all bytes since the start.
    pub share: f64,
    pub bytes: u64,
    /// In a second.
    pub speed: f64,
    /// In a second.
    pub operations: f64,
    pub short: u64,
    pub would_block: u64,
    pub errors: u64,
    /// Whether there were errors between the two looks.
    pub failing: bool,
    /// The shortest and the 99th percentile, in nanoseconds; none if none was timed.
    pub best: Option<u64>,
    pub p99: Option<u64>,
    /// Bytes a second in the last race of the lab.
    pub lap: Option<u64>,
}

/// One engine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EngineLane {
    pub name: String,
    pub chosen: bool,
    /// In a second.
    pub speed: f64,
    pub bytes: u64,
    pub responses: u64,
    pub declined: u64,
    pub failed: u64,
    /// How often the processor copied each byte.
    pub copies: Option<f64>,
}

/// The ring, and the turns of the workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ring {
    /// Entries of a call, between the two looks.
    pub batch: Option<Percentiles>,
    /// Entries of a call, since the start.
    pub batch_mean: Option<f64>,
    /// Calls in a second.
    pub calls: f64,
    pub in_flight: u64,
    pub overflow: u64,
    /// The longest turn, in nanoseconds.
    pub stall: u64,
    pub stalls: u64,
    /// The 99th percentile of turns between the two looks, in nanoseconds.
    pub turn: Option<Percentiles>,
}

/// The access log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    pub records: u64,
    pub dropped: u64,
    /// Missing in one sink, all sinks together.
    pub missing: u64,
    pub failures: u64,
}

impl View {
    /// What passed from one look to the next. Where they are of different lives of the server, or
    /// the same look, nothing did.
    pub(super) fn between(before: &Told, now: &Told) -> Self {
        let passed = now.uptime() - before.uptime();
        let before = if passed > 0.0 { before } else { now };
        let both = Both { before, now, seconds: if passed > 0.0 { passed } else { 1.0 } };
        let (lanes, idle) = both.lanes();
        Self {
            version: now.text("server.version").to_owned(),
            engine: now.text("server.engine").to_owned(),
            ring_setup: now.text("server.ring_setup").to_owned(),
            workers: now.number("server.workers"),
            uptime: now.uptime(),
            requests: both.rate("connections.requests"),
            bytes: both.rate("connections.bytes"),
            open: now.number("connections.open"),
            budget: now.number("connections.budget"),
            latency: both.recent("connections.latency_ns"),
            not_copied: both.not_copied(),
            lanes,
            idle,
            engines: both.engines(),
            ring: both.ring(),
            hits: both.hits(),
            phases: tally(now, "phases", true),
            farewells: tally(now, "farewells", false),
            refusals: tally(now, "refusals", false),
            log: log(now),
        }
    }
}

struct Both<'a> {
    before: &'a Told,
    now: &'a Told,
    seconds: f64,
}

impl Both<'_> {
    fn grown(&self, path: &str) -> u64 {
        self.now.number(path).saturating_sub(self.before.number(path))
    }

    fn rate(&self, path: &str) -> f64 {
        self.grown(path) as f64 / self.seconds
    }

    /// Percentiles of what a histogram recorded in between.
    fn recent(&self, path: &str) -> Option<Percentiles> {
        let path = format!("{path}.buckets");
        let old = self.before.at(&path);
        let grown =
            self.now.at(&path).as_object().into_iter().flatten().filter_map(|(most, all)| {
                let more = all.as_u64()?.saturating_sub(old[most.as_str()].as_u64().unwrap_or(0));
                Some((most.parse::<u64>().ok()?, more)).filter(|(_, more)| *more > 0)
            });
        // By value: the names of a JSON object are in the order of their letters.
        let grown: BTreeMap<u64, u64> = grown.collect();
        let total: u64 = grown.values().sum();
        let find = |percent: u64| {
            let mut seen = 0;
            let found = grown.iter().find(|(_, more)| {
                seen += **more;
                seen * 100 >= total * percent
            });
            found.map(|(most, _)| *most)
        };
        Some(Percentiles { p50: find(50)?, p90: find(90)?, p99: find(99)? })
    }

    fn not_copied(&self) -> f64 {
        let paths = ["bytes.not_copied", "bytes.copied"];
        let lately = paths.map(|path| self.grown(path));
        let parts = if lately == [0, 0] { paths.map(|path| self.now.number(path)) } else { lately };
        match parts[0] + parts[1] {
            0 => 0.0,
            all => parts[0] as f64 / all as f64,
        }
    }

    /// Techniques in use, by bytes; and how many are not.
    fn lanes(&self) -> (Vec<Lane>, usize) {
        let names = self.now.labels("techniques");
        let of = |name: &str, figure: &str| self.now.number(&format!("techniques.{name}.{figure}"));
        let moved: u64 = names.iter().map(|name| of(name, "bytes")).sum();
        let used = names.iter().filter(|name| of(name, "operations") > 0);
        let mut lanes: Vec<Lane> = used
            .map(|name| {
                let path = |figure: &str| format!("techniques.{name}.{figure}");
                let timed = of(name, "latency_ns.count") > 0;
                let lap = self.now.number(&format!("laps.{name}.bytes_per_second"));
                Lane {
                    name: (*name).to_owned(),
                    share: if moved > 0 { of(name, "bytes") as f64 / moved as f64 } else { 0.0 },
                    bytes: of(name, "bytes"),
                    speed: self.rate(&path("bytes")),
                    operations: self.rate(&path("operations")),
                    short: of(name, "short"),
                    would_block: of(name, "would_block"),
                    errors: of(name, "errors"),
                    failing: self.grown(&path("errors")) > 0,
                    best: timed.then(|| of(name, "latency_ns.best")),
                    p99: timed.then(|| of(name, "latency_ns.p99")),
                    lap: Some(lap).filter(|lap| *lap > 0),
                }
            })
            .collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.bytes));
        let idle = names.len() - lanes.len();
        (lanes, idle)
    }

    fn engines(&self) -> Vec<EngineLane> {
        let chosen = self.now.text("server.engine");
        let names = self.now.labels("engines");
        let mut all: Vec<EngineLane> = names
            .into_iter()
            .map(|name| {
                let path = |figure: &str| format!("engines.{name}.{figure}");
                let of = |figure: &str| self.now.number(&path(figure));
                let bytes = of("bytes");
                EngineLane {
                    name: name.to_owned(),
                    chosen: name == chosen,
                    speed: self.rate(&path("bytes")),
                    bytes,
                    responses: of("responses"),
                    declined: of("declined"),
                    failed: of("failed"),
                    copies: (bytes > 0).then(|| of("copied_bytes") as f64 / bytes as f64),
                }
            })
            .collect();
        all.sort_by_key(|lane| (!lane.chosen, std::cmp::Reverse(lane.bytes)));
        all
    }

    fn ring(&self) -> Ring {
        let enters = self.now.number("ring.enters");
        let submissions = self.now.number("ring.submissions") as f64;
        Ring {
            batch: self.recent("ring.batch"),
            batch_mean: (enters > 0).then(|| submissions / enters as f64),
            calls: self.rate("ring.enters"),
            in_flight: self.now.number("ring.in_flight"),
            overflow: self.now.number("ring.overflow"),
            stall: self.now.number("ring.turn_ns.worst"),
            stalls: self.now.number("ring.stalls"),
            turn: self.recent("ring.turn_ns"),
        }
    }

    /// Whatever is hit or missed, or was used or fetched in vain, by the names of the figures.
    fn hits(&self) -> Vec<(String, u64, u64)> {
        let rates: [(&str, &[&str]); 2] =
            [("hits", &["misses", "revalidations"]), ("used", &["wasted"])];
        let mut found = Vec::new();
        for group in self.now.labels("") {
            for (good, others) in rates {
                let has = |name: &str| self.now.at(&format!("{group}.{name}")).is_u64();
                if !has(good) || !has(others[0]) {
                    continue;
                }
                let part = self.now.number(&format!("{group}.{good}"));
                let others = others.iter().map(|name| self.now.number(&format!("{group}.{name}")));
                let all = others.sum::<u64>() + part;
                if all > 0 {
                    found.push((group.to_owned(), part, all));
                }
            }
        }
        found
    }
}

/// A group that is nothing but labels, the greatest first.
fn tally(now: &Told, group: &str, with_zeros: bool) -> Vec<(String, u64)> {
    let names = now.labels(group).into_iter();
    let all = names.map(|name| (name.to_owned(), now.number(&format!("{group}.{name}"))));
    let mut all: Vec<_> = all.filter(|(_, count)| with_zeros || *count > 0).collect();
    if !with_zeros {
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    }
    all
}

fn log(now: &Told) -> Log {
    let sinks = now.labels("log_sinks");
    let sum = |figure: &str| {
        sinks.iter().map(|sink| now.number(&format!("log_sinks.{sink}.{figure}"))).sum()
    };
    Log {
        records: now.number("access_log.records"),
        dropped: now.number("access_log.dropped"),
        missing: sum("missing"),
        failures: sum("failures"),
    }
}

#[cfg(test)]
pub(super) use tests::told;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engines::Kind as Engine;
    use crate::ring::Technique;
    use crate::telemetry::{About, Form, Report, Shard};

    /// What a server tells, by its own writer.
    pub(in crate::watch) fn told(shard: &Shard, seconds: u64) -> Told {
        let about = About {
            engine: "splice",
            ring_setup: "deferred",
            workers: 1,
            uptime: Duration::from_secs(seconds),
            ..About::default()
        };
        let mut report = Report::new(Form::Detailed, about);
        let text = report.go_on(std::slice::from_ref(shard), usize::MAX).expect("in one piece");
        Told::of(serde_json::from_slice(&text).expect("it is JSON"))
    }

    #[test]
    fn rates_and_percentiles_are_those_between_the_looks() {
        let shard = Shard::default();
        shard.connections.latency.record(5_000_000);
        shard.connections.requests.add(100);
        shard.ring.technique(Technique::Sendfile).operations.add(1);
        let before = told(&shard, 10);
        shard.connections.requests.add(50);
        shard.connections.bytes.add(4096);
        for _ in 0..10 {
            shard.connections.latency.record(100);
        }
        shard.ring.technique(Technique::Sendfile).bytes.add(300);
        shard.engines.engine(Engine::Splice).bytes.add(300);
        shard.cache.hits.add(3);
        shard.cache.misses.add(1);
        let view = View::between(&before, &told(&shard, 12));
        assert_eq!((view.requests, view.bytes), (25.0, 2048.0));
        let latency = view.latency.expect("ten answers");
        assert!((100..128).contains(&latency.p99), "{latency:?}");
        assert_eq!((view.lanes.len(), &*view.lanes[0].name), (1, "sendfile"));
        assert_eq!((view.lanes[0].share, view.lanes[0].speed), (1.0, 150.0));
        assert_eq!((&*view.engines[0].name, view.engines[0].chosen), ("splice", true));
        assert_eq!(view.not_copied, 1.0);
        assert!(view.hits.contains(&("cache".to_owned(), 3, 4)));
        assert!(!view.phases.is_empty() && view.farewells.is_empty());
    }

    #[test]
    fn a_server_that_was_started_anew_and_a_second_look_at_once_give_no_rates() {
        let shard = Shard::default();
        let old = told(&shard, 100);
        shard.connections.requests.add(50);
        let new = told(&shard, 1);
        assert_eq!(View::between(&old, &new).requests, 0.0);
        assert_eq!(View::between(&new, &new).requests, 0.0);
        assert_eq!(View::between(&Told::default(), &Told::default()), View::default());
    }

    /// What is read by a name that the server does not have would be 0 for ever.
    #[test]
    fn every_figure_that_is_read_is_one_that_the_server_has() {
        let source = include_str!("view.rs").split("#[cfg(test)]").next().expect("it has code");
        let shard = Shard::default();
        let told = told(&shard, 1);
        let mut seen = 0;
        for text in source.split('"').skip(1).step_by(2) {
            let group = text.split('.').next().unwrap_or_default();
            if !text.contains('.') || text.contains('{') || told.at(group).is_null() {
                continue;
            }
            seen += 1;
            assert!(!told.at(text).is_null(), "the server does not tell {text}");
        }
        assert!(seen >= 14, "{seen} figures");
        for group in ["techniques", "engines", "phases", "farewells", "refusals", "log_sinks"] {
            assert!(told.at(group).is_object(), "{group}");
        }
    }
}
