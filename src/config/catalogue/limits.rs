//! The keys of limits and times.

use std::time::Duration;

use toml::Value;

use super::{HOUR, PATIENCE};
use crate::config::Written;
use crate::config::address::trusted;
use crate::config::key::{Key, Section};
use crate::config::shapes::{as_usize, count, strings};
use crate::config::written::{show_size, show_time};
use crate::limits::LISTING_MEMORY_MIN;
use crate::server::options::Beyond;

pub(super) const LISTING_MEMORY: Key = Key::one(
    Section::Workers,
    "listing-memory",
    "SIZE",
    "Memory for listings on their way, in all workers; beyond it 503; less where memory is limited \
     [default: 64MiB]",
    |all, written, _| {
        all.server.listing_memory = written.size(LISTING_MEMORY_MIN..=1 << 40)?;
        Ok(())
    },
    |all| Value::from(show_size(all.server.listing_memory)),
);

pub(super) const PIPES: Key = Key::one(
    Section::Workers,
    "pipes",
    "COUNT",
    "Pipes of 256KiB for bodies of the engine splice, in all workers [default: 512]",
    |all, written, _| {
        all.server.pipes = as_usize(written.count(1..=65_536)?);
        Ok(())
    },
    |all| count(all.server.pipes as u64),
);

pub(super) const CONNECTIONS: Key = Key::one(
    Section::Limits,
    "connections",
    "COUNT",
    "Open connections at most, in all workers, each of which has an equal share [default: 16384]",
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

pub(super) const CONNECTIONS_PER_ADDRESS: Key = Key::one(
    Section::Limits,
    "connections-per-address",
    "COUNT",
    "Open connections of one address, or of one /64 of IPv6, at most, in all workers; 0 is no \
     limit [default: 0]",
    |all, written, _| {
        let most = u64::from(u32::MAX);
        all.server.connections_per_address = written.count(0..=most)? as u32;
        Ok(())
    },
    |all| count(all.server.connections_per_address.into()),
);

pub(super) const TRUSTED_PROXIES: Key = Key::one(
    Section::Limits,
    "trusted-proxies",
    "WHO",
    "Proxies that are believed who their clients are, for limits, log and telemetry-allow: an \
     address, a network or unix; repeatable [default: off]",
    |all, written, _| {
        all.server.trusted_proxies = trusted(&written.list("networks")?)?;
        Ok(())
    },
    |all| {
        let trusted = &all.server.trusted_proxies;
        let unix = trusted.unix.then(|| "unix".to_owned());
        strings(unix.into_iter().chain(trusted.networks.iter().map(ToString::to_string)))
    },
)
.many();

pub(super) const PROXY_PROTOCOL: Key = Key::one(
    Section::Limits,
    "proxy-protocol",
    "BOOL",
    "Trusted proxies begin each connection with a header of the PROXY protocol, version 1 or 2 \
     [default: false]",
    |all, written, _| written.boolean().map(|on| all.server.proxy_protocol = on),
    |all| Value::from(all.server.proxy_protocol),
)
.switch();

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

pub(super) const PIPELINE_DEPTH: Key = Key::one(
    Section::Limits,
    "pipeline-depth",
    "COUNT",
    "Answers to pipelined requests that gather before they are sent; further requests wait \
     [default: 64]",
    |all, written, _| {
        all.server.pipeline_depth = as_usize(written.count(1..=1024)?);
        Ok(())
    },
    |all| count(all.server.pipeline_depth as u64),
);

pub(super) const HEAD_TIMEOUT: Key = Key::one(
    Section::Limits,
    "head-timeout",
    "TIME",
    "Time for a request head to come, and for a first request to begin [default: 10s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.head_timeout = time),
    |all| Value::from(show_time(all.server.head_timeout)),
);

pub(super) const HEAD_RATE: Key = Key::one(
    Section::Limits,
    "head-rate",
    "SIZE",
    "Bytes a second at which a request head must come, once it has taken 5s; 0 is no limit \
     [default: 500B]",
    |all, written, _| written.size(0..=1 << 30).map(|bytes| all.server.head_rate = bytes),
    |all| Value::from(show_size(all.server.head_rate)),
);

pub(super) const BODY_TIMEOUT: Key = Key::one(
    Section::Limits,
    "body-timeout",
    "TIME",
    "Time for a request body to come, from the end of its head [default: 10s]",
    |all, written, _| written.time(PATIENCE).map(|time| all.server.body_timeout = time),
    |all| Value::from(show_time(all.server.body_timeout)),
);

pub(super) const IDLE_TIMEOUT: Key = Key::one(
    Section::Limits,
    "idle-timeout",
    "TIME",
    "Time that a connection may stay without a further request [default: 75s]",
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

pub(super) const SEND_RATE: Key = Key::one(
    Section::Limits,
    "send-rate",
    "SIZE",
    "Bytes a second at which a client must take an answer, over 30s; 0 is no limit \
     [default: 240B]",
    |all, written, _| written.size(0..=1 << 30).map(|bytes| all.server.send_rate = bytes),
    |all| Value::from(show_size(all.server.send_rate)),
);

pub(super) const RATE_LIMIT: Key = Key::one(
    Section::Limits,
    "rate-limit",
    "SIZE",
    "Bytes a second that one connection is sent at most; 0 is no limit [default: 0B]",
    |all, written, _| {
        all.server.rate_limit = rate_limit(written)?;
        Ok(())
    },
    |all| Value::from(show_size(all.server.rate_limit)),
);

/// A limit of bandwidth. Below a kilobyte a second a page would outlast every patience.
pub(in crate::config) fn rate_limit(written: &Written) -> Result<u64, String> {
    match written.size(0..=1 << 40)? {
        few @ 1..1024 => {
            Err(format!("{} a second is too few; write 1KiB or more, or 0", show_size(few)))
        }
        bytes => Ok(bytes),
    }
}

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
