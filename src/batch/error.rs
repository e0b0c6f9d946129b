//! Why a queue is not there, or does not do what it was asked for.

use std::fmt;

use rustix::io::Errno;

use crate::limits;
use crate::ring::{Buffer, TransferSetupFault};
use crate::sys::probe::{self, Blocked};

/// Why a queue could not be set up. Nothing of it is left: no descriptor, no mapping.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// A depth of 0, or above [`limits::BATCH_DEPTH_MAX`].
    Depth {
        /// The depth that was asked for.
        depth: u32,
    },
    /// Fewer transfers in flight than can be queued, or more than [`limits::BATCH_IN_FLIGHT_MAX`].
    InFlight {
        /// The number that was asked for.
        in_flight_max: u32,
    },
    /// Fewer places for completions than the depth, or more than
    /// [`limits::BATCH_IN_FLIGHT_MAX`].
    Completions {
        /// The number that was asked for.
        completions: u32,
    },
    /// Registered buffers of 0 bytes, or of no multiple of 4096, or none of them.
    Buffers {
        /// The bytes of each.
        bytes: usize,
        /// Their number.
        count: usize,
    },
    /// More than [`limits::BATCH_FILES_MAX`] registered files.
    Files {
        /// The number that was asked for.
        count: usize,
    },
    /// io_uring is not available, or not with these flags.
    Blocked(Blocked),
    /// The ring was there, and the kernel refused to register what was asked for.
    NotRegistered {
        /// What it was.
        what: Registration,
        /// ENOMEM: the limit of locked memory (`ulimit -l`). EFAULT: more than 1 GiB in all.
        error: std::io::Error,
    },
}

/// What is registered with a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Files.
    Files,
    /// Buffers.
    Buffers,
}

impl From<TransferSetupFault> for SetupError {
    fn from(fault: TransferSetupFault) -> Self {
        match fault {
            TransferSetupFault::Ring(error) => Self::Blocked(probe::explain(&error)),
            TransferSetupFault::Files(error) => {
                Self::NotRegistered { what: Registration::Files, error }
            }
            TransferSetupFault::Buffers(error) => {
                Self::NotRegistered { what: Registration::Buffers, error }
            }
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight_max = limits::BATCH_IN_FLIGHT_MAX;
        match self {
            Self::Depth { depth } => {
                write!(f, "a queue of {depth}; it takes 1 to {}", limits::BATCH_DEPTH_MAX)
            }
            Self::InFlight { in_flight_max: asked } => {
                write!(f, "{asked} in flight; the depth is the least, {in_flight_max} the most")
            }
            Self::Completions { completions } => {
                write!(
                    f,
                    "{completions} completions; the depth is the least, {in_flight_max} the most"
                )
            }
            Self::Buffers { bytes, count } => write!(
                f,
                "{count} registered buffers of {bytes} bytes; the bytes are a multiple of 4096, \
                 and there is at least one"
            ),
            Self::Files { count } => {
                write!(f, "{count} registered files; at most {} are", limits::BATCH_FILES_MAX)
            }
            Self::Blocked(blocked) => blocked.fmt(f),
            Self::NotRegistered { what: Registration::Files, error } => {
                write!(f, "the files could not be registered: {error}")
            }
            Self::NotRegistered { what: Registration::Buffers, error } => write!(
                f,
                "the buffers could not be registered: {error}; the limit of locked memory \
                 (ulimit -l) and 1 GiB in all are the bounds"
            ),
        }
    }
}

impl std::error::Error for SetupError {}

/// Why a queue did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// As many transfers are queued, or in flight, as the queue was set up for. Submit, or take
    /// completions.
    QueueFull,
    /// A transfer without a byte of memory.
    EmptyBuffer,
    /// A part of the memory that does not lie in it, or has more than [`u32::MAX`] bytes.
    NoSuchPart,
    /// An offset above `i64::MAX`, negative for the kernel.
    OffsetTooLarge {
        /// The offset, in bytes.
        offset: u64,
    },
    /// The completion queue overflowed: more has ended than it has room for. Nothing was
    /// submitted, and nothing is lost yet: take completions and submit again.
    Overflow,
    /// The kernel had no memory for completions that did not fit: these transfers are never seen
    /// to end, and their memory stays with the queue for good.
    CompletionsLost {
        /// How many.
        count: u32,
    },
    /// More completions were waited for than there can be.
    TooFew {
        /// The number that was waited for.
        asked: usize,
        /// Transfers in flight or done.
        there: usize,
    },
    /// The time was over before enough was done.
    TimedOut,
    /// The transfer is still queued or in flight.
    InProgress,
    /// The transfer was taken already, or is of another queue.
    Unknown,
    /// Any other error number.
    Kernel(Errno),
}

impl BatchError {
    /// The error number: the kernel's own, or the one that it has for the same mistake.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::QueueFull => Errno::AGAIN,
            Self::EmptyBuffer | Self::NoSuchPart | Self::OffsetTooLarge { .. } => Errno::INVAL,
            Self::TooFew { .. } => Errno::INVAL,
            Self::Overflow => Errno::BUSY,
            Self::CompletionsLost { .. } => Errno::NOMEM,
            Self::TimedOut => Errno::TIMEDOUT,
            Self::InProgress => Errno::INPROGRESS,
            Self::Unknown => Errno::NOENT,
            Self::Kernel(errno) => errno,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue is full; submit it or take completions"),
            Self::EmptyBuffer => f.write_str("the memory is empty"),
            Self::NoSuchPart => f.write_str("the part lies beyond the memory, or beyond 4 GiB"),
            Self::OffsetTooLarge { offset } => {
                write!(f, "the offset {offset} is larger than a file can be ({})", i64::MAX)
            }
            Self::Overflow => {
                f.write_str("the completion queue overflowed; take completions and submit again")
            }
            Self::CompletionsLost { count } => {
                write!(f, "the kernel had no memory for {count} completions, which are lost")
            }
            Self::TooFew { asked, there } => {
                write!(f, "{asked} completions were waited for, and only {there} can come")
            }
            Self::TimedOut => f.write_str("too little was done in the time given"),
            Self::InProgress => f.write_str("the transfer is still in progress"),
            Self::Unknown => f.write_str("no such transfer, or it was taken already"),
            Self::Kernel(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for BatchError {}

/// A transfer that was not queued, and why.
#[derive(Debug)]
pub struct NotQueued {
    /// The reason.
    pub error: BatchError,
    /// Its memory.
    pub buffer: Buffer,
}

impl fmt::Display for NotQueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the transfer was not queued: {}", self.error)
    }
}

impl std::error::Error for NotQueued {}
