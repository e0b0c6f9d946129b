//! The keys of limits and times.

use std::time::Duration;

use toml::Value;

use super::{HOUR, PATIENCE};
use crate::config::key::{Key, Section};
use crate::config::shapes::{as_usize, count};
use crate::config::written::show_time;
use crate::server::options::Beyond;

pub(super) const CONNECTIONS: Key = Key::one(
    Section::Limits,
    "connections",
    "COUNT",
    "Open connections at most, in all workers [default: 16384]",
    |all, written, _| {
        all.server.connections = as_usize(written.count(1..=1_000_000)?);
        Ok(())
    },
    |all| count(all.server.connections as u64),
);

pub(super) const CONNECTIONS_BEYOND: Key = Key::one(
    Section::Limits,
    "connections-beyond",
    "WHAT",
    "What becomes of connections beyond that: refuse (503) or wait (in the kernel's queue) \
     [default: refuse]",
    |all, written, _| {
        all.server.connections_beyond = written.choice("choice", &Beyond::ALL, Beyond::name)?;
        Ok(())
    },
    |all| Value::from(all.server.connections_beyond.name()),
);

pub(super) const REQUESTS_PER_CONNECTION: Key = Key::one(
    Section::Limits,
    "requests-per-connection",
    "COUNT",
    "Requests that one connection may carry; 0 is no limit [default: 0]",
    |all, written, _| {
        let most = i64::MAX.unsigned_abs();
        written.count(0..=most).map(|count| all.server.requests_per_connection = count)
    },
    |all| count(all.server.requests_per_connection),
);

pub(super) const HEAD_TIMEOUT: Key = Key::one(
    Section::Limits,
    "head-timeout",
    "TIME",
    "Time for a request head to come [default: 10s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.head_timeout = time),
    |all| Value::from(show_time(all.server.head_timeout)),
);

pub(super) const BODY_TIMEOUT: Key = Key::one(
    Section::Limits,
    "body-timeout",
    "TIME",
    "Time for a request body to come [default: 10s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.body_timeout = time),
    |all| Value::from(show_time(all.server.body_timeout)),
);

pub(super) const IDLE_TIMEOUT: Key = Key::one(
    Section::Limits,
    "idle-timeout",
    "TIME",
    "Time that a connection may stay without a request [default: 75s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.idle_timeout = time),
    |all| Value::from(show_time(all.server.idle_timeout)),
);

pub(super) const SEND_TIMEOUT: Key = Key::one(
    Section::Limits,
    "send-timeout",
    "TIME",
    "Time that an answer may stay without progress [default: 30s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.send_timeout = time),
    |all| Value::from(show_time(all.server.send_timeout)),
);

pub(super) const DRAIN_TIMEOUT: Key = Key::one(
    Section::Limits,
    "drain-timeout",
    "TIME",
    "Time that connections get to finish at the end; 0 closes them at once [default: 30s]",
    |all, written, _| {
        written.time(Duration::ZERO..=HOUR).map(|time| all.server.drain_timeout = time)
    },
    |all| Value::from(show_time(all.server.drain_timeout)),
);
