//! Scatter reads and gather writes: one system call over many buffers.
//!
//! Buffers are filled and emptied in the order of the slice, each completely before the next.
//! Empty buffers among them are allowed and skipped. The descriptor's own offset is used and
//! moved; [`super::positional`] has the variants that leave it alone.
//!
//! Rests on readv(2) and writev(2). A call that is short ends anywhere, also in the middle of a
//! buffer; [`readv_all`] and [`writev_all`] go on from there.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::retry_on_intr;

use super::{Error, Stopped, Transfer, resume, some_written};

/// The largest number of buffers in one call: the kernel's `UIO_MAXIOV`, fixed since Linux 2.0.
pub const IOV_MAX: usize = 1024;

/// Reads into the buffers in turn; the answer is the bytes read, 0 at the end of the input.
///
/// # Errors
///
/// [`Error::NoBuffers`] and [`Error::TooManyBuffers`] (more than [`IOV_MAX`]) before the kernel is
/// asked; [`Error::WouldBlock`] on a non-blocking descriptor without input;
/// [`Error::BadDescriptor`]; otherwise [`Error::Kernel`] with what readv(2) lists.
///
/// ```
/// use pitcrew::techniques::vectored;
/// use std::io::IoSliceMut;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::NamedTempFile::new()?;
/// # let path = scratch.path();
/// std::fs::write(path, "GET /index.html")?;
/// let (mut method, mut space, mut rest) = ([0; 3], [0; 1], [0; 64]);
/// let mut buffers =
///     [IoSliceMut::new(&mut method), IoSliceMut::new(&mut space), IoSliceMut::new(&mut rest)];
/// let read = vectored::readv(std::fs::File::open(path)?, &mut buffers)?;
/// assert_eq!(read, 15);
/// assert_eq!((&method, &rest[..11]), (b"GET", &b"/index.html"[..]));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn readv(fd: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Error> {
    check_count(buffers.len())?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::readv(fd, buffers))?)
}

/// Writes the buffers in turn; the answer is the bytes that the kernel took.
///
/// # Errors
///
/// As for [`readv`]; further [`Error::Kernel`] with EPIPE for a connection that the reader
/// closed (the program also gets SIGPIPE unless it ignores it; Rust programs do), ENOSPC, EFBIG
/// and the others of writev(2).
///
/// ```
/// use pitcrew::techniques::vectored;
/// use std::io::IoSlice;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::NamedTempFile::new()?;
/// # let path = scratch.path();
/// let parts = [IoSlice::new(b"head\r\n\r\n"), IoSlice::new(b"body")];
/// assert_eq!(vectored::writev(std::fs::File::create(path)?, &parts)?, 12);
/// assert_eq!(std::fs::read(path)?, b"head\r\n\r\nbody");
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn writev(fd: impl AsFd, buffers: &[IoSlice<'_>]) -> Result<usize, Error> {
    check_count(buffers.len())?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::writev(fd, buffers))?)
}

/// Reads until all buffers are full or the input ends, resuming short reads in mid-buffer.
///
/// The slice is consumed: its elements are advanced past what was read, so after [`Stopped`]
/// they stand where the next read goes on (elements that are full are left behind, empty or not).
///
/// # Errors
///
/// As for [`readv`], with the bytes that were read before.
///
/// ```
/// use pitcrew::techniques::{Transfer, vectored};
/// use std::io::{IoSliceMut, Write};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"short")?;
/// drop(writer);
/// let (mut first, mut second) = ([0; 4], [0; 4]);
/// let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
/// // One call got five of eight bytes, the next one found the end of the input.
/// let read = vectored::readv_all(reader, &mut buffers)?;
/// assert_eq!(read, Transfer { bytes: 5, short_transfers: 1 });
/// # Ok(())
/// # }
/// ```
pub fn readv_all(fd: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> Result<Transfer, Stopped> {
    check_count(buffers.len()).map_err(Stopped::at_start)?;
    let wanted = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    let fd = fd.as_fd();
    let mut rest = buffers;
    resume(wanted, |_| {
        let read = readv(fd, rest)?;
        IoSliceMut::advance_slices(&mut rest, read);
        Ok(read)
    })
}

/// Writes until all buffers are taken, resuming short writes in mid-buffer.
///
/// The slice is consumed as by [`readv_all`].
///
/// # Errors
///
/// As for [`writev`], with the bytes that were written before; [`Error::NoProgress`] when the
/// output takes nothing and gives no reason.
///
/// ```
/// use pitcrew::techniques::vectored;
/// use std::io::IoSlice;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// let mut parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
/// let written = vectored::writev_all(&file, &mut parts)?;
/// assert_eq!((written.bytes, written.short_transfers), (7, 0));
/// # Ok(())
/// # }
/// ```
pub fn writev_all(fd: impl AsFd, buffers: &mut [IoSlice<'_>]) -> Result<Transfer, Stopped> {
    check_count(buffers.len()).map_err(Stopped::at_start)?;
    let wanted = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    let fd = fd.as_fd();
    let mut rest = buffers;
    resume(wanted, |_| {
        let written = some_written(writev(fd, rest)?)?;
        IoSlice::advance_slices(&mut rest, written);
        Ok(written)
    })
}

/// rustix passes at most `IOV_MAX` buffers on and is silent about the rest, so both ends of the
/// range are checked here.
pub(super) fn check_count(count: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::NoBuffers),
        1..=IOV_MAX => Ok(()),
        _ => Err(Error::TooManyBuffers { count }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_buffers_is_checked_at_both_ends() {
        assert_eq!(check_count(0), Err(Error::NoBuffers));
        assert_eq!(check_count(1), Ok(()));
        assert_eq!(check_count(IOV_MAX), Ok(()));
        let count = IOV_MAX + 1;
        assert_eq!(check_count(count), Err(Error::TooManyBuffers { count }));
    }
}
