#![doc = include_str!("ARCHITECTURE.md")]

pub mod access_log;
pub mod base;
pub mod batch;
pub mod broker;
pub mod cache;
pub mod cli;
pub mod config;
pub mod connection;
pub mod doctor;
pub mod engines;
pub mod eviction;
pub mod http;
pub mod lab;
pub mod limits;
pub mod predict;
pub mod resource;
pub mod ring;
pub mod sandbox;
pub mod server;
pub mod sys;
pub mod techniques;
pub mod telemetry;
pub mod watch;

// Miri knows freed memory by itself.
#[cfg(all(test, debug_assertions, not(miri)))]
#[global_allocator]
static ALLOCATOR: sys::Quarantine = sys::Quarantine;
