//! What a worker is made of.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::control::Control;
use super::options::{Beyond, Options};
use crate::access_log::Log;
use crate::cache::{self, Directory};
use crate::connection::{self, Bounds, Endpoint, Seats};
use crate::resource::{PageMemory, Site};
use crate::ring::{File, Kernel, Reactor, Socket};
use crate::telemetry::Shard;

/// What a worker is made of.
pub struct Parts<K: Kernel> {
    /// Its ring.
    pub reactor: Reactor<K>,
    /// The directories that are served, in the order of the site's.
    pub directories: Vec<Directory>,
    /// Who watches them; none looks names up by time.
    pub watcher: Option<File>,
    /// Its listeners.
    pub listeners: Vec<Socket>,
    /// Its listeners for telemetry alone.
    pub telemetry_listeners: Vec<Socket>,
    /// Becomes readable when the control says something new.
    pub bell: Socket,
    /// Fires when memory becomes short; none where that cannot be told.
    pub pressure: Option<Socket>,
    /// What it is told.
    pub control: Arc<Control>,
    /// The rules.
    pub site: Site,
    /// Its share of the cache of open files.
    pub cache: cache::Options,
    /// Its share of the blocks of files.
    pub blocks: cache::BlockOptions,
    /// Memory for listings, of all workers.
    pub listing_memory: Arc<PageMemory>,
    /// Limits of its connections.
    pub connection: connection::Options,
    /// Connections at most.
    pub connections_max: usize,
    /// What becomes of those that come beyond.
    pub beyond: Beyond,
    /// Time that connections get to finish when it drains.
    pub drain_timeout: Duration,
    /// Paths that are answered here.
    pub endpoint: Box<dyn Endpoint>,
    /// Where it counts.
    pub shard: Shard,
    /// Its side of the access log, if there is one.
    pub log: Option<Log>,
    /// How many connections have a number, in all workers of all configurations.
    pub numbered: Arc<AtomicU64>,
    /// Where numbers come from that nobody can foresee.
    pub nonce: Box<dyn FnMut() -> u128>,
}

impl<K: Kernel> std::fmt::Debug for Parts<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// What a client may take. `seats` are the connections by address, of all workers.
pub(super) fn bounds(options: &Options, seats: Arc<Seats>) -> Bounds {
    let limited = options.connections_per_address > 0;
    let (seats, seats_later) = if limited { (Some(seats), None) } else { (None, Some(seats)) };
    Bounds {
        head_rate: options.head_rate,
        send_rate: options.send_rate,
        rate_limit: options.rate_limit,
        pipeline_depth: options.pipeline_depth,
        seats,
        seats_later,
        trusted: Arc::new(options.trusted_proxies.clone()),
        proxy_header: options.proxy_protocol,
    }
}
