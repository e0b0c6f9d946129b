//! Positional reads and writes: the offset is an operand, the descriptor's own never moves.
//!
//! So any number of threads can use one descriptor at once, and one open file can serve many
//! transfers. Only seekable files have offsets: pipes and sockets give ESPIPE.
//!
//! Rests on pread(2), pwrite(2), preadv(2), preadv2(2) (RWF_NOWAIT since Linux 4.14). A file
//! opened with O_APPEND takes every pwrite at its end, whatever the offset (pwrite(2), BUGS).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::vectored::check_count;
use super::{Error, Stopped, Transfer, check_offset, resume, some_written};

/// Reads at `offset`; the answer is the bytes read, 0 at and after the end of the file.
///
/// # Errors
///
/// [`Error::OffsetTooLarge`] before the kernel is asked; [`Error::BadDescriptor`];
/// [`Error::Kernel`] with ESPIPE for pipes and sockets, EISDIR for directories, EINVAL for an
/// O_DIRECT descriptor whose alignment is not met (see [`super::direct`]), EIO.
///
/// ```
/// use pitcrew::techniques::positional;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::NamedTempFile::new()?;
/// # let path = scratch.path();
/// std::fs::write(path, "0123456789")?;
/// let file = std::fs::File::open(path)?;
/// let mut bytes = [0; 4];
/// assert_eq!(positional::pread(&file, &mut bytes, 3)?, 4);
/// assert_eq!(&bytes, b"3456");
/// assert_eq!(positional::pread(&file, &mut bytes, 8)?, 2);
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn pread(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
    check_offset(offset)?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::pread(fd, &mut *buffer, offset))?)
}

/// Writes at `offset`; the answer is the bytes that the kernel took.
///
/// # Errors
///
/// As for [`pread`]; further [`Error::Kernel`] with ENOSPC, EDQUOT, EFBIG, EPERM (sealed).
///
/// ```
/// use pitcrew::techniques::positional;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// assert_eq!(positional::pwrite(&file, b"tail", 4)?, 4);
/// assert_eq!(positional::pwrite(&file, b"head", 0)?, 4);
/// let mut bytes = [0; 8];
/// positional::pread(&file, &mut bytes, 0)?;
/// assert_eq!(&bytes, b"headtail");
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn pwrite(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Error> {
    check_offset(offset)?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset))?)
}

/// Scatter read at `offset`: [`super::vectored::readv`] that leaves the descriptor's offset alone.
///
/// # Errors
///
/// Those of [`super::vectored::readv`] and of [`pread`].
///
/// ```
/// use pitcrew::techniques::positional;
/// use std::io::IoSliceMut;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"-abcdef", 0)?;
/// let (mut left, mut right) = ([0; 2], [0; 4]);
/// let mut buffers = [IoSliceMut::new(&mut left), IoSliceMut::new(&mut right)];
/// assert_eq!(positional::preadv(&file, &mut buffers, 1)?, 6);
/// assert_eq!((&left, &right), (b"ab", b"cdef"));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn preadv(fd: impl AsFd, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize, Error> {
    check_count(buffers.len())?;
    check_offset(offset)?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::preadv(fd, buffers, offset))?)
}

/// Gather write at `offset`: [`super::vectored::writev`] that leaves the descriptor's offset
/// alone.
///
/// # Errors
///
/// Those of [`super::vectored::writev`] and of [`pwrite`].
///
/// ```
/// use pitcrew::techniques::positional;
/// use std::io::IoSlice;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// let parts = [IoSlice::new(b"ab"), IoSlice::new(b"cdef")];
/// assert_eq!(positional::pwritev(&file, &parts, 100)?, 6);
/// assert_eq!(file.metadata()?.len(), 106);
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn pwritev(fd: impl AsFd, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize, Error> {
    check_count(buffers.len())?;
    check_offset(offset)?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::pwritev(fd, buffers, offset))?)
}

/// Reads only what the page cache holds: preadv2 with RWF_NOWAIT.
///
/// The answer may be short where residency ends. A refusal starts read-ahead of the missing pages
/// on most file systems, so the next attempt may succeed.
///
/// # Errors
///
/// Those of [`preadv`]; and [`Error::WouldBlock`] when the first byte is not resident;
/// [`Error::Kernel`] with EOPNOTSUPP where the file system does not know RWF_NOWAIT (FUSE, most
/// network file systems, tmpfs before Linux 6.6).
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional};
/// use std::io::IoSliceMut;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("Cargo.toml")?;
/// let mut bytes = [0; 16];
/// match positional::preadv2_nowait(&file, &mut [IoSliceMut::new(&mut bytes)], 0) {
///     Ok(read) => assert!(read <= 16),                // resident
///     Err(Error::WouldBlock) => {}                    // on the disk
///     Err(Error::Kernel(Errno::OPNOTSUPP)) => {}      // this file system cannot say
///     Err(other) => return Err(other.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn preadv2_nowait(
    fd: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
) -> Result<usize, Error> {
    check_count(buffers.len())?;
    check_offset(offset)?;
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| rustix::io::preadv2(fd, buffers, offset, ReadWriteFlags::NOWAIT))?)
}

/// What [`probe`] found at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// The page that holds the offset is in memory: a read of it does not wait for the disk.
    Resident,
    /// It is not; the probe has started read-ahead on most file systems.
    Cold,
    /// The offset is at or after the end of the file.
    PastEnd,
    /// The file system does not answer this question.
    Unknown,
}

/// Asks whether the page at `offset` is in memory, by reading one byte with RWF_NOWAIT.
///
/// It speaks of one page at one moment: the page may be evicted before the next call.
///
/// # Errors
///
/// Those of [`pread`], but neither [`Error::WouldBlock`] nor EOPNOTSUPP, which are answers here.
///
/// ```
/// use pitcrew::techniques::positional::{self, Residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let answer = positional::probe(&file, 0)?;
/// assert!(matches!(answer, Residency::Resident | Residency::Unknown));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn probe(fd: impl AsFd, offset: u64) -> Result<Residency, Error> {
    let mut byte = [0];
    match preadv2_nowait(fd, &mut [IoSliceMut::new(&mut byte)], offset) {
        Ok(0) => Ok(Residency::PastEnd),
        Ok(_) => Ok(Residency::Resident),
        Err(Error::WouldBlock) => Ok(Residency::Cold),
        Err(Error::Kernel(Errno::OPNOTSUPP)) => Ok(Residency::Unknown),
        Err(other) => Err(other),
    }
}

/// Reads until the buffer is full or the file ends, resuming short reads.
///
/// # Errors
///
/// As for [`pread`], with the bytes that were read before.
///
/// ```
/// use pitcrew::techniques::positional;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite_all(&file, b"abc", 0)?;
/// let mut bytes = [0; 10];
/// assert_eq!(positional::pread_all(&file, &mut bytes, 1)?.bytes, 2);
/// # Ok(())
/// # }
/// ```
pub fn pread_all(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<Transfer, Stopped> {
    let fd = fd.as_fd();
    resume(buffer.len() as u64, |done| {
        pread(fd, &mut buffer[done as usize..], offset.saturating_add(done))
    })
}

/// Writes until all bytes are taken, resuming short writes.
///
/// # Errors
///
/// As for [`pwrite`], with the bytes that were written before; [`Error::NoProgress`] when the
/// output takes nothing and gives no reason.
///
/// ```
/// use pitcrew::techniques::positional;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// assert_eq!(positional::pwrite_all(&file, b"abc", 7)?.bytes, 3);
/// assert_eq!(file.metadata()?.len(), 10);
/// # Ok(())
/// # }
/// ```
pub fn pwrite_all(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<Transfer, Stopped> {
    let fd = fd.as_fd();
    resume(bytes.len() as u64, |done| {
        some_written(pwrite(fd, &bytes[done as usize..], offset.saturating_add(done))?)
    })
}
