//! What a connection is told of its limits.

use std::sync::Arc;
use std::time::Duration;

use super::seats::Seats;
use crate::engines::{Kind, Thresholds};
use crate::http::forwarded::Trusted;
use crate::http::head::HeadLimits;
use crate::limits::GATHERED_ANSWERS_MAX;

/// Limits of a connection and how its bodies travel.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine that is tried first.
    pub engine: Kind,
    /// Where `auto` goes from one engine to another.
    pub thresholds: Thresholds,
    /// Whether answers show the engine of their body, and why it was chosen.
    pub server_timing: bool,
    /// Bytes from which a file leaves nothing in the page cache that was not there before it was
    /// sent; none where every file does.
    pub drop_from: Option<u64>,
    /// Bounds of a request head.
    pub head: HeadLimits,
    /// Requests on one connection; 0 is no limit.
    pub requests_max: u64,
    /// Time from the first byte of a head to its last, and to the first byte of the first.
    pub head_timeout: Duration,
    /// Time for the body of a request, from the end of its head.
    pub body_timeout: Duration,
    /// Time without a request, but for the first.
    pub idle_timeout: Duration,
    /// Time without progress of an answer.
    pub send_timeout: Duration,
    /// Further bounds.
    pub bounds: Bounds,
}

impl Options {
    /// No bounds but a time, which is given to each phase of a connection by itself.
    pub fn patient(engine: Kind, time: Duration) -> Self {
        Self {
            engine,
            thresholds: Thresholds::default(),
            server_timing: false,
            drop_from: None,
            head: HeadLimits::default(),
            requests_max: 0,
            head_timeout: time,
            body_timeout: time,
            idle_timeout: time,
            send_timeout: time,
            bounds: Bounds::default(),
        }
    }
}

/// What a client may take, and who it is taken for. By default there are no bounds but the depth.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Bytes a second at which a head must come; 0 is no limit.
    pub head_rate: u64,
    /// Bytes a second at which a client must take an answer; 0 is no limit.
    pub send_rate: u64,
    /// Bytes a second that a connection is sent at most; 0 is no limit.
    pub rate_limit: u64,
    /// Answers to pipelined requests that gather before they are sent.
    pub pipeline_depth: usize,
    /// Connections by address; none is no limit.
    pub seats: Option<Arc<Seats>>,
    /// Where they are counted once others serve in place of this worker, who may limit them. Till
    /// then the lock is not worth it.
    pub seats_later: Option<Arc<Seats>>,
    /// Proxies that are believed who their clients are.
    pub trusted: Arc<Trusted>,
    /// Whether they say so by the PROXY protocol.
    pub proxy_header: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head_rate: 0,
            send_rate: 0,
            rate_limit: 0,
            pipeline_depth: GATHERED_ANSWERS_MAX,
            seats: None,
            seats_later: None,
            trusted: Arc::default(),
            proxy_header: false,
        }
    }
}
