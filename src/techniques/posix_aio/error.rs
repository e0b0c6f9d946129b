//! The errors of POSIX AIO, and requests that come back with one.

use std::fmt;

use rustix::io::Errno;

use super::{LIST_MAX, Request};

/// Why an asynchronous operation did not start, did not succeed or is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AioError {
    /// EINPROGRESS: the result was asked for before the operation was done.
    InProgress,
    /// ECANCELED: the operation was cancelled before it ran.
    Cancelled,
    /// The time was over before an operation was done, or a signal came.
    TimedOut,
    /// EAGAIN: the C library has no memory, or no thread, to queue the operation. It did not run.
    NotQueued,
    /// EBADF: the descriptor is not open for this direction.
    BadDescriptor,
    /// The descriptor is neither a regular file nor a block device.
    NotAFile,
    /// A read or write without a byte of memory.
    EmptyBuffer,
    /// An offset above `i64::MAX`.
    OffsetTooLarge {
        /// The offset, in bytes.
        offset: u64,
    },
    /// A list without operations.
    EmptyList,
    /// A list of more than [`LIST_MAX`] operations.
    ListTooLong {
        /// The number of operations.
        count: usize,
    },
    /// A sync in a list: lio_listio takes reads and writes only.
    SyncInList,
    /// The real-time signal with this number above SIGRTMIN does not exist.
    NoSuchSignal {
        /// The number above SIGRTMIN.
        number: u8,
    },
    /// The program has a handler of its own for the signal, or ignores it.
    SignalInUse,
    /// Any other error number.
    Kernel(Errno),
}

impl AioError {
    /// The error number; EINVAL for what was refused before the C library was asked.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            AioError::InProgress => Errno::INPROGRESS,
            AioError::Cancelled => Errno::CANCELED,
            AioError::TimedOut => Errno::TIMEDOUT,
            AioError::NotQueued => Errno::AGAIN,
            AioError::BadDescriptor => Errno::BADF,
            AioError::NotAFile => Errno::SPIPE,
            AioError::SignalInUse => Errno::BUSY,
            AioError::EmptyBuffer
            | AioError::OffsetTooLarge { .. }
            | AioError::EmptyList
            | AioError::ListTooLong { .. }
            | AioError::SyncInList
            | AioError::NoSuchSignal { .. } => Errno::INVAL,
            AioError::Kernel(errno) => errno,
        }
    }
}

impl From<Errno> for AioError {
    fn from(errno: Errno) -> AioError {
        match errno {
            Errno::CANCELED => AioError::Cancelled,
            Errno::AGAIN => AioError::NotQueued,
            Errno::BADF => AioError::BadDescriptor,
            other => AioError::Kernel(other),
        }
    }
}

impl fmt::Display for AioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AioError::InProgress => f.write_str("the operation is still in progress"),
            AioError::Cancelled => f.write_str("the operation was cancelled"),
            AioError::TimedOut => f.write_str("nothing was done in the time given"),
            AioError::NotQueued => f.write_str("the operation could not be queued (EAGAIN)"),
            AioError::BadDescriptor => {
                f.write_str("the descriptor was not opened for this direction (EBADF)")
            }
            AioError::NotAFile => f.write_str("neither a regular file nor a block device"),
            AioError::EmptyBuffer => f.write_str("the memory is empty"),
            AioError::OffsetTooLarge { offset } => {
                write!(f, "the offset {offset} is larger than a file can be ({})", i64::MAX)
            }
            AioError::EmptyList => f.write_str("the list of operations is empty"),
            AioError::ListTooLong { count } => {
                write!(f, "{count} operations in a list; it takes at most {LIST_MAX}")
            }
            AioError::SyncInList => f.write_str("a list takes reads and writes, no sync"),
            AioError::NoSuchSignal { number } => {
                write!(f, "there is no real-time signal SIGRTMIN+{number}")
            }
            AioError::SignalInUse => f.write_str("the signal is in use for something else"),
            AioError::Kernel(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for AioError {}

/// A request that was not started, and why.
#[derive(Debug)]
pub struct NotStarted<M> {
    /// The reason.
    pub error: AioError,
    /// The request, with its memory.
    pub request: Request<M>,
}

impl<M> fmt::Display for NotStarted<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operation was not started: {}", self.error)
    }
}

impl<M: fmt::Debug> std::error::Error for NotStarted<M> {}

/// Requests none of which was started, and why.
#[derive(Debug)]
pub struct NotListed<M> {
    /// The reason.
    pub error: AioError,
    /// The requests, with their memory, in the order they came.
    pub requests: Vec<Request<M>>,
}

impl<M> fmt::Display for NotListed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations were not started: {}", self.requests.len(), self.error)
    }
}

impl<M: fmt::Debug> std::error::Error for NotListed<M> {}
