//! The figures as JSON, written group by group.

use serde_json::{Map, Value as Json, json};

use super::schema::VERSION as SCHEMA_VERSION;
use super::snapshot::{Held, Lap, Series, Snapshot, Value};

/// What writing one figure counts for, in counts that are read: its share of a piece.
const SERIES_COST: usize = 64;

impl Snapshot {
    /// The answer of `/telemetry`: the object that the room describes, and a line's end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let (mut next, mut all) = (0, usize::MAX);
        while !self.write_json(false, &mut next, &mut text, &mut all) {}
        text
    }

    /// Writes on from the series `next`, group by group, until the cost is what is `left`, or to
    /// the end, which it says. With `buckets` histograms have theirs.
    pub(super) fn write_json(
        &self,
        buckets: bool,
        next: &mut usize,
        text: &mut Vec<u8>,
        left: &mut usize,
    ) -> bool {
        if text.is_empty() {
            text.push(b'{');
            put(text, "version", &SCHEMA_VERSION.into());
            put(text, "server", &self.server());
            put(text, "laps", &self.laps());
        }
        while let Some(first) = self.series().get(*next) {
            if *left == 0 {
                return false;
            }
            let rest = &self.series()[*next..];
            let group = first.figure.group;
            let count = rest.iter().take_while(|one| one.figure.group == group).count();
            put(text, group, &to_object(&rest[..count], buckets));
            *next += count;
            *left = left.saturating_sub(count * SERIES_COST);
        }
        text.extend_from_slice(b"\n}\n");
        true
    }

    fn server(&self) -> Json {
        json!({
            "name": "pitcrew",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.about.uptime.as_millis() as f64 / 1000.0,
            "engine": self.about.engine,
            "workers": self.about.workers,
            "memory_limit_bytes": self.about.memory_limit,
            "longest_turn_ns": self.about.longest_turns,
            "ring_setup": self.about.ring_setup,
            "sandbox": self.sandbox(),
        })
    }

    fn sandbox(&self) -> Json {
        let one = |held: &Held| {
            let mut told = json!({ "applied": held.missing.is_none() });
            if let Some(why) = &held.missing {
                told["why"] = why.as_str().into();
            }
            if !held.free.is_empty() {
                told["free"] = held.free.clone().into();
            }
            (held.layer.to_owned(), told)
        };
        self.about.sandbox.iter().map(one).collect::<Map<_, _>>().into()
    }

    fn laps(&self) -> Json {
        let laps = self.about.laps.iter();
        let one = |lap: &Lap| {
            json!({
                "bytes_per_second": lap.bytes_per_second,
                "measured_at": lap.measured_at,
                "machine": lap.machine,
            })
        };
        laps.map(|lap| (lap.technique.clone(), one(lap))).collect::<Map<_, _>>().into()
    }
}

/// Appends one member of the object.
fn put(text: &mut Vec<u8>, name: &str, value: &Json) {
    if text.len() > 1 {
        text.push(b',');
    }
    // Names come from the catalogue and need no escape.
    let member = format!("\n\"{name}\": {value:#}").replace('\n', "\n  ");
    text.extend_from_slice(member.as_bytes());
}

/// The members of one group.
fn to_object(group: &[Series], buckets: bool) -> Json {
    let mut all = Map::new();
    for one in group {
        let mut members: Vec<&str> = one.members().skip(1).collect();
        let last = members.pop().expect("a series has a name in its group");
        let mut at = &mut all;
        for member in members {
            let below = at.entry(member).or_insert_with(|| Json::Object(Map::new()));
            at = below.as_object_mut().expect("a group is no figure, by a test");
        }
        at.insert(last.to_owned(), one.value.to_json(buckets));
    }
    all.into()
}

impl Value {
    fn to_json(&self, buckets: bool) -> Json {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Spread(spread) => {
                let told = spread.percentiles();
                let mut all = json!({
                    "count": told.count,
                    "sum": told.sum,
                    "best": told.best,
                    "p50": told.p50,
                    "p90": told.p90,
                    "p99": told.p99,
                    "worst": told.worst,
                });
                if buckets {
                    let each =
                        spread.buckets().map(|(most, count)| (most.to_string(), count.into()));
                    all["buckets"] = each.collect::<Map<_, _>>().into();
                }
                all
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{About, CATALOGUE, Lap, Shard, snapshot};
    use super::*;
    use crate::engines::Kind as Engine;
    use crate::http::status::Status;
    use crate::ring::{Pool, Technique};

    fn told(shards: &[Shard]) -> Json {
        let layer = |layer, missing: Option<&str>, free: &[&str]| Held {
            layer,
            missing: missing.map(str::to_owned),
            free: free.iter().map(|what| (*what).to_owned()).collect(),
        };
        let about = About {
            memory_limit: 1 << 30,
            sandbox: [layer("landlock", None, &["it connects"]), layer("seccomp", Some("no"), &[])]
                .into(),
            engine: "splice",
            ring_setup: "deferred",
            workers: shards.len(),
            longest_turns: shards.iter().map(Shard::longest_turn).collect(),
            uptime: Duration::from_micros(12_345_678),
            laps: [Lap {
                technique: "readv".to_owned(),
                bytes_per_second: 7,
                measured_at: 9,
                machine: "here".to_owned(),
            }]
            .into(),
        };
        serde_json::from_slice(&snapshot(shards, about).to_json()).unwrap()
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
        assert_eq!(
            told["laps"],
            json!({ "readv": { "bytes_per_second": 7, "measured_at": 9, "machine": "here" } })
        );
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
            assert_eq!(told["server"]["memory_limit_bytes"], 1 << 30);
            assert_eq!(told["server"]["uptime_seconds"], 12.345);
            let none_yet = vec![0; shards.len()];
            assert_eq!(told["server"]["longest_turn_ns"], Json::from(none_yet));
            for technique in Technique::ALL {
                assert_eq!(told["techniques"][technique.name()]["operations"], 0);
            }
            for engine in Engine::FIXED {
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
        let shot = snapshot(&[Shard::default()], About::default());
        let told: Json = serde_json::from_slice(&shot.to_json()).unwrap();
        for one in shot.series() {
            let at = one.members().try_fold(&told, |at, member| at.get(member));
            assert_eq!(at, Some(&one.value.to_json(false)), "{:?} {}", one.figure, one.label);
        }
        let groups: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        for figure in CATALOGUE {
            assert!(groups.contains(&figure.group));
        }
        assert_eq!(told["version"], SCHEMA_VERSION);
    }
}
