//! Telemetry: what the server counts, by name, in one catalogue.
//!
//! Rooms keep plain `Stats` and know nothing of this one. A [`Shard`] holds those of one worker;
//! [`snapshot`] reads all shards and adds them up by the [`CATALOGUE`]; [`Snapshot::to_json`] and
//! [`Snapshot::to_text`] write them down. A [`Report`] does the same in pieces, between which a
//! worker serves its clients. [`page`] is the document that draws them. Nothing here locks or waits
//! for a worker: each figure is true for a moment, and two figures of one snapshot may be a turn
//! apart.
//!
//! # The JSON of `/telemetry`
//!
//! One object. `version` is [`SCHEMA_VERSION`]: it changes when a name is taken away or changes
//! its meaning, not when one is added. `server` says who counts:
//!
//! | name | value |
//! | --- | --- |
//! | `name`, `version` | `"pitcrew"` and its version |
//! | `uptime_seconds` | seconds since the start, to the millisecond |
//! | `engine` | the engine that was asked for |
//! | `workers` | how many threads serve |
//! | `memory_limit_bytes` | memory that the process may have; 0 where that is not known |
//! | `longest_turn_ns` | the longest turn of each worker, in nanoseconds: its longest stall |
//! | `ring_setup` | how the rings were set up: `deferred`, `cooperative` or `plain` |
//! | `sandbox` | each layer that was wanted: `applied`, `why` not, and what it leaves `free`; the
//! | | `broker`, where one was, and the `rings` have rows there, too |
//!
//! `laps` has the techniques that were raced on this machine, those that the server does not use
//! among them, each with `bytes_per_second`, `measured_at` (seconds since 1970) and `machine`; it
//! is empty unless `lab-results` names a result of the lab.
//!
//! Every other member is a group of figures. A figure stands at group, then label if the group
//! has one, then name, as its [`Figure::path`] says: `ring.enters`, `techniques.sendfile.bytes`,
//! `responses.404`. Every label is there from the start, with zeros. Counters and gauges are
//! whole numbers. A histogram is an object of `count`, `sum`, `best`, `p50`, `p90`, `p99` and
//! `worst`: `best` and `worst` are exact, percentiles are within an eighth, and all are zero
//! while `count` is. With `?buckets=true` it has `buckets`, too: the greatest value of each bucket
//! that is not empty, with the count in it. Names end in their unit, but for plain counts.
//!
//! Figures of several workers are added up. So are greatest levels (`connections.open_max`): the
//! sum is never below the level that was reached, and never above the bound. The worst of a
//! histogram is the worst of all workers.
//!
//! ```
//! use pitcrew::telemetry::{About, Shard, snapshot};
//!
//! let shard = Shard::default();
//! shard.cache.hits.add(3);
//! let about = About { engine: "sendfile", ring_setup: "deferred", ..About::default() };
//! let json = snapshot(&[shard], about).to_json();
//! let told: serde_json::Value = serde_json::from_slice(&json)?;
//! assert_eq!(told["version"], pitcrew::telemetry::SCHEMA_VERSION);
//! assert_eq!(told["server"]["engine"], "sendfile");
//! assert_eq!(told["cache"]["hits"], 3);
//! assert_eq!(told["techniques"]["sendfile"]["latency_ns"]["p99"], 0);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod catalogue;
mod figure;
mod json;
mod page;
mod prometheus;
mod report;
pub mod schema;
mod snapshot;
mod stats;

pub use catalogue::CATALOGUE;
pub use figure::{Figure, Kind, Unit};
pub use page::{POLICY, page};
pub use prometheus::{NAMES_BESIDE_THE_CATALOGUE, Text};
pub use report::{Form, Report};
pub use schema::VERSION as SCHEMA_VERSION;
pub use snapshot::{About, Held, Lap, Series, Shard, Snapshot, Value, snapshot};
pub use stats::Stats;
