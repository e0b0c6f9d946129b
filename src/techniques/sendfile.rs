//! sendfile(2): bytes of a file to a socket or another file, without passing through the program.
//!
//! The source must be a file that can be mapped (no socket, no pipe). The output may be anything
//! since Linux 2.6.33. Bytes are sent as they are when the device or network takes them: later
//! changes of the file show in what a slow reader receives. On pages that are not in memory the
//! call waits for the disk, also when the output is non-blocking; ask [`super::positional::probe`]
//! first.

use std::os::fd::AsFd;

use rustix::io::retry_on_intr;

use super::{Error, Stopped, Transfer, call_count, check_offset, resume};

/// Moves up to `count` bytes from `from` at `*offset` to `to`, and advances `*offset` by the
/// answer. 0 means the end of the file (or a count of 0).
///
/// The file's own offset is neither used nor moved. One call moves at most 2 GiB less a page.
///
/// # Errors
///
/// [`Error::OffsetTooLarge`] before the kernel is asked; [`Error::WouldBlock`] when a
/// non-blocking socket is full; [`Error::BadDescriptor`]; [`Error::Kernel`] with EINVAL when the
/// source cannot be mapped, the count is above `isize::MAX`, or the output was opened with
/// O_APPEND, EPIPE and ECONNRESET when the reader is gone, EOVERFLOW, EIO. `*offset` is
/// unchanged then.
///
/// ```
/// use pitcrew::techniques::sendfile;
/// use std::io::Read;
/// use std::os::unix::net::UnixStream;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::NamedTempFile::new()?;
/// # let path = scratch.path();
/// std::fs::write(path, "0123456789")?;
/// let file = std::fs::File::open(path)?;
/// let (socket, mut peer) = UnixStream::pair()?;
/// let mut offset = 4;
/// assert_eq!(sendfile::sendfile(&file, &mut offset, &socket, 3)?, 3);
/// assert_eq!(offset, 7);
/// let mut got = [0; 3];
/// peer.read_exact(&mut got)?;
/// assert_eq!(&got, b"456");
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn sendfile(
    from: impl AsFd,
    offset: &mut u64,
    to: impl AsFd,
    count: usize,
) -> Result<usize, Error> {
    check_offset(*offset)?;
    let (from, to) = (from.as_fd(), to.as_fd());
    Ok(retry_on_intr(|| rustix::fs::sendfile(to, from, Some(&mut *offset), count))?)
}

/// As [`sendfile`], but from the file's own offset, which moves.
///
/// # Errors
///
/// As for [`sendfile`].
///
/// ```
/// use pitcrew::techniques::sendfile;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (std::fs::File::open("Cargo.toml")?, tempfile::tempfile()?);
/// let first = sendfile::sendfile_here(&from, &to, 8)?;
/// let second = sendfile::sendfile_here(&from, &to, 8)?;
/// assert_eq!((first, second, to.metadata()?.len()), (8, 8, 16));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn sendfile_here(from: impl AsFd, to: impl AsFd, count: usize) -> Result<usize, Error> {
    let (from, to) = (from.as_fd(), to.as_fd());
    Ok(retry_on_intr(|| rustix::fs::sendfile(to, from, None, count))?)
}

/// Moves `count` bytes, resuming short calls, until the count is reached or the file ends.
///
/// `*offset` always stands after the last byte moved, also when it stops.
///
/// # Errors
///
/// As for [`sendfile`], with the bytes that were moved before.
///
/// ```
/// use pitcrew::techniques::sendfile;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (std::fs::File::open("Cargo.toml")?, tempfile::tempfile()?);
/// let sent = sendfile::sendfile_all(&from, &mut 0, &to, u64::MAX)?;
/// assert_eq!(sent.bytes, from.metadata()?.len());
/// # Ok(())
/// # }
/// ```
pub fn sendfile_all(
    from: impl AsFd,
    offset: &mut u64,
    to: impl AsFd,
    count: u64,
) -> Result<Transfer, Stopped> {
    let (from, to) = (from.as_fd(), to.as_fd());
    resume(count, |done| sendfile(from, offset, to, call_count(count - done)))
}
