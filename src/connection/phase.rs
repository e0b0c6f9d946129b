//! The phases of a connection.
//!
//! ```text
//!              +---------------------- the next request -----------------------+
//!              v                                                               |
//! Awaiting(Head) -> Reading(Head) -> Parsing -> Resolving -> Parsing -> Sending -> Body
//!      ^                  |           |   |                     |          |        |
//!      +---- no bytes ----+           |   +-> Starved -> Parsing+          +-- end -+
//!                                     v                                        v
//!                 Awaiting(Body) <-> Reading(Body)    Awaiting(Linger) <-> Reading(Linger)
//! ```
//!
//! While an answer is owed: Sending, Body -> Pausing -> Sending, Body (a limit of bandwidth), and
//! Body -> Standing -> Body (others need what it holds for a client that takes nothing).
//!
//! Every phase may end the connection; the reason is a [`super::Farewell`].

use super::stats::Stage;
use crate::base::Instant;
use crate::engines::{Engine, Kind};
use crate::http::body::Discard;
use crate::ring::Pool;

/// Where a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// It waits until bytes have come, or for a buffer to read them to.
    Awaiting(Purpose),
    /// The kernel reads bytes.
    Reading(Purpose),
    /// What was read is looked at, or what is owed is sent.
    Parsing,
    /// What the target stands for is being found out.
    Resolving,
    /// A buffer for an answer is waited for.
    Starved,
    /// The kernel sends bytes. With the pool of the buffer that some of them lie in, if they do.
    Sending(Option<Pool>),
    /// An engine sends a part of a file.
    Body(Box<dyn Engine>, Kind),
    /// The next part of an answer may not be sent yet.
    Pausing,
    /// What was held for a client that takes nothing was given back; its socket is waited for.
    Standing,
}

impl Phase {
    /// What the connection is counted as waiting for; `idle` says that nothing of a request has
    /// come.
    pub(super) fn stage(&self, poll: Poll, idle: bool) -> Stage {
        match self {
            Self::Awaiting(Purpose::Head | Purpose::Body(_)) if poll.is_starved() => Stage::Starved,
            Self::Awaiting(purpose) | Self::Reading(purpose) => match purpose {
                Purpose::Head if idle => Stage::Idle,
                Purpose::Head => Stage::Head,
                Purpose::Body(_) => Stage::RequestBody,
                Purpose::Linger(_) => Stage::Linger,
            },
            Self::Resolving => Stage::Resolving,
            Self::Starved => Stage::Starved,
            Self::Parsing | Self::Sending(_) => Stage::Sending,
            Self::Body(..) => Stage::Body,
            Self::Pausing => Stage::Paused,
            Self::Standing => Stage::Standing,
        }
    }
}

/// Whether the socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poll {
    No,
    Armed,
    /// There is something to read.
    Fired,
    /// The same, and since then no buffer to read it to.
    Starved(Instant),
}

impl Poll {
    pub(super) fn has_fired(self) -> bool {
        matches!(self, Self::Fired | Self::Starved(_))
    }

    pub(super) fn is_starved(self) -> bool {
        matches!(self, Self::Starved(_))
    }
}

/// What bytes are read for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The head of a request.
    Head,
    /// The body of a request, to be thrown away.
    Body(Discard),
    /// To be thrown away after the last answer; so many more at most.
    Linger(u64),
}
