//! What connections count.

use crate::base::{Counter, Gauge, Histogram};
use crate::http::refusal::Refusal;
use crate::http::status::Status;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The client closed, and nothing was owed to it.
    Complete,
    /// The answer said that the connection closes: asked for, or after a refusal.
    Closed,
    /// The client reset the connection or went away while something was owed to it.
    ClientAbort,
    /// A file could not be sent to its promised length, or was written to before it was sent.
    Truncated,
    /// No request came in time.
    Idle,
    /// The head of a request was not whole in time.
    HeadTimeout,
    /// The body of a request was not whole in time.
    BodyTimeout,
    /// The client took no bytes for too long.
    SendTimeout,
    /// The server shuts down.
    Shutdown,
    /// There were too many connections.
    TooMany,
    /// There were too many connections of its address.
    AddressTooMany,
    /// The head of a request came too slowly.
    HeadSlow,
    /// The client took the answer too slowly.
    SendSlow,
    /// A trusted proxy did not begin with a header of the PROXY protocol.
    ProxyHeader,
    /// Others needed its place, or the buffer that it held, while nothing came or went.
    Crowded,
    /// It had carried as many requests as it may.
    RequestsMax,
    /// A file was not read from its disk in time: its client had taken all there was.
    DiskTimeout,
    /// A file could not be read: its disk, or the file system, told an error.
    DiskError,
}

impl Farewell {
    /// All farewells, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Complete,
        Self::Closed,
        Self::ClientAbort,
        Self::Truncated,
        Self::Idle,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::SendTimeout,
        Self::Shutdown,
        Self::TooMany,
        Self::AddressTooMany,
        Self::HeadSlow,
        Self::SendSlow,
        Self::ProxyHeader,
        Self::Crowded,
        Self::RequestsMax,
        Self::DiskTimeout,
        Self::DiskError,
    ];

    /// The name in telemetry and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Closed => "closed",
            Self::ClientAbort => "client_abort",
            Self::Truncated => "truncated",
            Self::Idle => "idle",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::SendTimeout => "send_timeout",
            Self::Shutdown => "shutdown",
            Self::TooMany => "too_many",
            Self::AddressTooMany => "address_too_many",
            Self::HeadSlow => "head_slow",
            Self::SendSlow => "send_slow",
            Self::ProxyHeader => "proxy_header",
            Self::Crowded => "crowded",
            Self::RequestsMax => "requests_max",
            Self::DiskTimeout => "disk_timeout",
            Self::DiskError => "disk_error",
        }
    }

    /// Whether the last answer was a whole one that said so, and nothing went wrong.
    pub(super) const fn is_orderly(self) -> bool {
        matches!(self, Self::Closed | Self::RequestsMax)
    }
}

/// What an open connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A request.
    Idle,
    /// The rest of a request head.
    Head,
    /// The body of a request, which is read away.
    RequestBody,
    /// What its target stands for.
    Resolving,
    /// A buffer.
    Starved,
    /// The socket, to take bytes from memory.
    Sending,
    /// The engine, to send a part of a file.
    Body,
    /// The client, to close after the last answer.
    Linger,
    /// The time at which a limit of bandwidth allows the next part.
    Paused,
    /// The socket, holding nothing for it.
    Standing,
}

impl Stage {
    /// All stages, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Idle,
        Self::Head,
        Self::RequestBody,
        Self::Resolving,
        Self::Starved,
        Self::Sending,
        Self::Body,
        Self::Linger,
        Self::Paused,
        Self::Standing,
    ];

    /// The name in telemetry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head",
            Self::RequestBody => "request_body",
            Self::Resolving => "resolving",
            Self::Starved => "starved",
            Self::Sending => "sending",
            Self::Body => "body",
            Self::Linger => "linger",
            Self::Paused => "paused",
            Self::Standing => "standing",
        }
    }
}

/// Codes of statuses lie below this (RFC 9110 section 15).
const STATUS_CODES: usize = 600;

/// Figures of one worker's connections.
#[derive(Debug)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Connections that may be open.
    pub budget: Gauge,
    /// The most connections that were open at once.
    pub open_max: Gauge,
    /// Requests whose head was whole and well-formed.
    pub requests: Counter,
    /// Requests that lay in the buffer behind another one.
    pub pipelined: Counter,
    /// Connections that are open, by what they wait for.
    stages: Vec<Gauge>,
    /// Answers that the kernel took whole, or that were cut, by status.
    responses: Vec<Counter>,
    /// Refusals by cause.
    refusals: Vec<Counter>,
    /// Ends of connections by cause.
    farewells: Vec<Counter>,
    /// Bytes that the kernel took, heads and bodies.
    pub bytes: Counter,
    /// Nanoseconds from the end of a request's head to the end of its answer.
    pub latency: Histogram,
    /// Accepts that failed because descriptors were used up.
    pub accepts_starved: Counter,
    /// Accepts that were put off until a connection ends.
    pub accepts_held: Counter,
    /// Parts of answers that waited for a limit of bandwidth.
    pub pauses: Counter,
    /// Bodies whose buffers were given to others, as their clients took nothing.
    pub given_way: Counter,
    /// Heads that were moved out of their buffers, as their disk was waited for.
    pub aside_heads: Counter,
    /// Heads for which there was no memory then.
    pub aside_refused: Counter,
    /// Bytes of heads that lie there.
    pub aside_bytes: Gauge,
    /// Bytes that may lie there.
    pub aside_budget_bytes: Gauge,
}

impl Default for Stats {
    fn default() -> Self {
        let counters = |count: usize| (0..count).map(|_| Counter::default()).collect();
        Self {
            accepted: Counter::default(),
            open: Gauge::default(),
            budget: Gauge::default(),
            open_max: Gauge::default(),
            stages: Stage::ALL.iter().map(|_| Gauge::default()).collect(),
            requests: Counter::default(),
            pipelined: Counter::default(),
            responses: counters(STATUS_CODES),
            refusals: counters(Refusal::ALL.len()),
            farewells: counters(Farewell::ALL.len()),
            bytes: Counter::default(),
            latency: Histogram::default(),
            accepts_starved: Counter::default(),
            accepts_held: Counter::default(),
            pauses: Counter::default(),
            given_way: Counter::default(),
            aside_heads: Counter::default(),
            aside_refused: Counter::default(),
            aside_bytes: Gauge::default(),
            aside_budget_bytes: Gauge::default(),
        }
    }
}

impl Stats {
    /// Takes note that a connection goes from one stage to another; none is outside.
    pub fn moves(&self, from: Option<Stage>, to: Option<Stage>) {
        let level = |stage: Stage| self.stages[stage as usize].read();
        if let Some(from) = from {
            self.stages[from as usize].set(level(from) - 1);
        }
        if let Some(to) = to {
            self.stages[to as usize].set(level(to) + 1);
        }
    }

    /// Answers with a status.
    pub fn responses(&self, status: Status) -> &Counter {
        &self.responses[usize::from(status.code())]
    }

    /// Refusals with a cause.
    pub fn refusals(&self, refusal: Refusal) -> &Counter {
        &self.refusals[refusal.index()]
    }

    /// Ends with a cause.
    pub fn farewells(&self, farewell: Farewell) -> &Counter {
        &self.farewells[farewell as usize]
    }

    /// Connections at every stage.
    pub fn by_stage(&self) -> impl Iterator<Item = (Stage, &Gauge)> {
        Stage::ALL.into_iter().zip(&self.stages)
    }

    /// Answers by every status that the server has.
    pub fn by_status(&self) -> impl Iterator<Item = (Status, &Counter)> {
        Status::ALL.iter().map(|&status| (status, self.responses(status)))
    }

    /// Refusals by every cause.
    pub fn by_refusal(&self) -> impl Iterator<Item = (Refusal, &Counter)> {
        Refusal::ALL.iter().map(|&refusal| (refusal, self.refusals(refusal)))
    }

    /// Ends by every cause.
    pub fn by_farewell(&self) -> impl Iterator<Item = (Farewell, &Counter)> {
        Farewell::ALL.into_iter().map(|farewell| (farewell, self.farewells(farewell)))
    }
}
