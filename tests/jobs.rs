//! What is slow beside the ring, and what it may hold up: helper threads, disks, the log,
//! clients that take their time.

#![allow(clippy::unwrap_used)]

#[path = "jobs/drains.rs"]
mod drains;
#[path = "jobs/freshness.rs"]
mod freshness;
#[path = "jobs/hangs.rs"]
mod hangs;
#[path = "jobs/helpers.rs"]
mod helpers;
#[path = "jobs/hot.rs"]
mod hot;
#[path = "jobs/in_place.rs"]
mod in_place;
#[path = "jobs/line.rs"]
mod line;
#[path = "jobs/log.rs"]
mod log;
mod quarantine;
#[path = "jobs/tenure.rs"]
mod tenure;
#[path = "jobs/worker.rs"]
mod worker;
