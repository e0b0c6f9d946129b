//! What a connection is told of its limits.

use std::time::Duration;

use crate::engines::Kind;
use crate::http::head::HeadLimits;

/// Limits of a connection and how its bodies travel.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine that is tried first.
    pub engine: Kind,
    /// Bounds of a request head.
    pub head: HeadLimits,
    /// Requests on one connection; 0 is no limit.
    pub requests_max: u64,
    /// Time from the first byte of a head to its last.
    pub head_timeout: Duration,
    /// Time for the body of a request.
    pub body_timeout: Duration,
    /// Time without a request.
    pub idle_timeout: Duration,
    /// Time without progress of an answer.
    pub send_timeout: Duration,
}
