//! The error of the thin calls: a small `Copy` value that always has an errno.

use std::fmt;

use rustix::io::Errno;

use super::Transfer;
use super::vectored::IOV_MAX;

/// Why one system call of this room did not happen or did not move a byte.
///
/// It is `Copy` and two words in size, so that the hot path can return and compare it freely.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, vectored};
/// let refused = vectored::readv(std::io::stdin(), &mut []).unwrap_err();
/// assert_eq!(refused, Error::NoBuffers);
/// assert_eq!(refused.errno(), Errno::INVAL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// EAGAIN: a non-blocking descriptor is full or empty, or the bytes are not in memory and the
    /// call was told not to wait for them. Try again when the descriptor is ready.
    WouldBlock,
    /// EBADF: the descriptor is closed, or is not open for reading or for writing, whichever the
    /// call needs; for splice and copy_file_range also an output that was opened with O_APPEND.
    BadDescriptor,
    /// A scatter or gather call without any buffer. The kernel was not asked.
    NoBuffers,
    /// A scatter or gather call with more than [`IOV_MAX`] buffers. The kernel was not asked.
    TooManyBuffers {
        /// The number of buffers in the call.
        count: usize,
    },
    /// An offset above `i64::MAX`, negative for the kernel, which was not asked.
    OffsetTooLarge {
        /// The offset, in bytes.
        offset: u64,
    },
    /// A write took none of the bytes that it was given, without an error. Only helpers that
    /// resume short transfers say this; they would loop for ever otherwise.
    NoProgress,
    /// Any other error number; the function's page says which ones to expect.
    Kernel(Errno),
}

impl Error {
    /// The error number: the kernel's own, or, for what was refused before the kernel was asked,
    /// the one that the kernel gives for the same mistake (EINVAL). [`Error::NoProgress`] is EIO.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Error::WouldBlock => Errno::AGAIN,
            Error::BadDescriptor => Errno::BADF,
            Error::NoBuffers | Error::TooManyBuffers { .. } | Error::OffsetTooLarge { .. } => {
                Errno::INVAL
            }
            Error::NoProgress => Errno::IO,
            Error::Kernel(errno) => errno,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        match errno {
            Errno::AGAIN => Error::WouldBlock,
            Errno::BADF => Error::BadDescriptor,
            other => Error::Kernel(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::WouldBlock => f.write_str("the operation would have to wait (EAGAIN)"),
            Error::BadDescriptor => {
                f.write_str("the descriptor is closed or was not opened for this direction (EBADF)")
            }
            Error::NoBuffers => f.write_str("no buffers were given; at least one is needed"),
            Error::TooManyBuffers { count } => {
                write!(f, "{count} buffers were given; one call takes at most {IOV_MAX}")
            }
            Error::OffsetTooLarge { offset } => {
                write!(f, "the offset {offset} is larger than a file can be ({})", i64::MAX)
            }
            Error::NoProgress => f.write_str("the output takes no more bytes"),
            Error::Kernel(errno) => write!(f, "{errno}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        match error {
            Error::WouldBlock | Error::BadDescriptor | Error::Kernel(_) => {
                std::io::Error::from_raw_os_error(error.errno().raw_os_error())
            }
            Error::NoProgress => std::io::Error::new(std::io::ErrorKind::WriteZero, error),
            Error::NoBuffers | Error::TooManyBuffers { .. } | Error::OffsetTooLarge { .. } => {
                std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
            }
        }
    }
}

/// A helper that resumes short transfers met an error; `done` is what it had moved before.
///
/// Go on from `done.bytes` after [`Error::WouldBlock`]; nothing that was moved is moved again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// What was moved before the error.
    pub done: Transfer,
    /// The error that ended the transfer.
    pub error: Error,
}

impl Stopped {
    /// Stopped before the first byte.
    pub(super) fn at_start(error: Error) -> Stopped {
        Stopped { done: Transfer::default(), error }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped after {} bytes: {}", self.done.bytes, self.error)
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_an_errno_and_a_sentence() {
        assert_eq!(Error::from(Errno::AGAIN), Error::WouldBlock);
        assert_eq!(Error::from(Errno::BADF), Error::BadDescriptor);
        assert_eq!(Error::from(Errno::IO), Error::Kernel(Errno::IO));
        for errno in [Errno::AGAIN, Errno::BADF, Errno::IO] {
            assert_eq!(Error::from(errno).errno(), errno);
        }
        let many = Error::TooManyBuffers { count: 2000 };
        assert_eq!(many.to_string(), "2000 buffers were given; one call takes at most 1024");
        assert_eq!(std::io::Error::from(many).kind(), std::io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_error_stays_small() {
        assert!(size_of::<Error>() <= 16);
    }
}
