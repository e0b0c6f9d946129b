//! Jobs: what helper threads do while the ring goes on.

#![allow(clippy::unwrap_used)]

#[path = "jobs/freshness.rs"]
mod freshness;
#[path = "jobs/hangs.rs"]
mod hangs;
#[path = "jobs/helpers.rs"]
mod helpers;
#[path = "jobs/hot.rs"]
mod hot;
#[path = "jobs/tenure.rs"]
mod tenure;
#[path = "jobs/worker.rs"]
mod worker;
