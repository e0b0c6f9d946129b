//! Synchronous writes: O_DSYNC and O_SYNC. A write that returned is on the device.
//!
//! O_DSYNC waits for the bytes and for the metadata that reading them back needs (the size, the
//! extents), as fdatasync(2) after each write would; O_SYNC waits for all metadata (times), as
//! fsync(2). Both can be asked for one write, with RWF_DSYNC and RWF_SYNC (Linux 4.7 or later).
//!
//! Rests on open(2) (section "Synchronized I/O" of its NOTES), pwritev2(2). What "on the device"
//! means is the device's promise: a disk of a virtual machine may keep it in its host's memory.
//! A new file's name is durable only after its directory is synchronised too.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, openat};
use rustix::io::{ReadWriteFlags, pwritev2, retry_on_intr};

use super::vectored::check_count;
use super::{Error, Stopped, Transfer, check_offset, positional, resume, some_written, vectored};

/// O_DSYNC. Not rustix's `OFlags::DSYNC`, which is the value of O_SYNC (rustix 1.1), and would make
/// every write wait for all metadata.
const DSYNC: OFlags = OFlags::from_bits_retain(libc::O_DSYNC.cast_unsigned());

/// What must be on the device when a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// O_DSYNC: the bytes, and what is needed to read them back.
    Data,
    /// O_SYNC: the bytes and all metadata.
    DataAndMetadata,
}

impl Durability {
    /// What a file is opened with.
    pub(crate) const fn flags(self) -> OFlags {
        match self {
            Self::Data => DSYNC,
            Self::DataAndMetadata => OFlags::SYNC,
        }
    }
}

/// A file whose every write is synchronous.
///
/// ```
/// use pitcrew::techniques::synchronous::{Durability, SynchronousFile, durability};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("journal");
/// let file = SynchronousFile::open(path, Durability::Data)?;
/// assert_eq!(file.write_all(b"one record\n")?.bytes, 11); // returns when it is on the device
/// assert_eq!(durability(&file)?, Some(Durability::Data));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SynchronousFile {
    fd: OwnedFd,
    durability: Durability,
}

impl SynchronousFile {
    /// Opens a file for writing at offset 0, keeping its content, or creates it (mode 0666 less
    /// the umask).
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] with the errors of open(2).
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<SynchronousFile, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | durability.flags();
        let mode = Mode::from_raw_mode(0o666);
        let fd = retry_on_intr(|| openat(CWD, path.as_ref(), flags, mode))?;
        Ok(SynchronousFile { fd, durability })
    }

    /// What a write waits for.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Writes at the file's offset, and moves it; the answer is the bytes that are on the device.
    ///
    /// # Errors
    ///
    /// Those of [`vectored::writev`]. After [`Error::Kernel`] with EIO the state of the range on
    /// the device is unknown, and writing it again is no proof that it is there.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        vectored::writev(&self.fd, &[IoSlice::new(bytes)])
    }

    /// Writes at the file's offset until all bytes are on the device.
    ///
    /// # Errors
    ///
    /// As for [`SynchronousFile::write`], with the bytes that were written before.
    pub fn write_all(&self, bytes: &[u8]) -> Result<Transfer, Stopped> {
        vectored::writev_all(&self.fd, &mut [IoSlice::new(bytes)])
    }

    /// Writes at `offset`, leaving the file's own offset alone.
    ///
    /// # Errors
    ///
    /// Those of [`positional::pwrite`], and as for [`SynchronousFile::write`].
    ///
    /// ```
    /// use pitcrew::techniques::synchronous::{Durability, SynchronousFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("table");
    /// let file = SynchronousFile::open(&path, Durability::Data)?;
    /// assert_eq!(file.write_at(b"second", 6)?, 6);
    /// assert_eq!(file.write_at(b"first ", 0)?, 6);
    /// assert_eq!(std::fs::read(&path)?, b"first second");
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Error> {
        positional::pwrite(&self.fd, bytes, offset)
    }
}

impl AsFd for SynchronousFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<SynchronousFile> for OwnedFd {
    fn from(file: SynchronousFile) -> OwnedFd {
        file.fd
    }
}

/// What every write to this descriptor waits for, as it was opened; none for an ordinary one.
///
/// # Errors
///
/// [`Error::BadDescriptor`] for a closed one.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let plain = tempfile::tempfile()?;
/// assert_eq!(pitcrew::techniques::synchronous::durability(&plain), Ok(None));
/// # Ok(())
/// # }
/// ```
pub fn durability(fd: impl AsFd) -> Result<Option<Durability>, Error> {
    let flags = fcntl_getfl(fd)?;
    // O_SYNC is the bit of O_DSYNC and one more, so it has to be asked for first.
    Ok(if flags.contains(OFlags::SYNC) {
        Some(Durability::DataAndMetadata)
    } else if flags.contains(DSYNC) {
        Some(Durability::Data)
    } else {
        None
    })
}

/// One synchronous gather write at `offset` to a descriptor opened in any way: pwritev2 with
/// RWF_DSYNC or RWF_SYNC. The answer is the bytes that are on the device.
///
/// # Errors
///
/// Those of [`positional::pwritev`]; [`Error::Kernel`] with EOPNOTSUPP before Linux 4.7.
///
/// ```
/// use pitcrew::techniques::synchronous::{self, Durability};
/// use std::io::IoSlice;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = tempfile::tempfile()?;
/// let parts = [IoSlice::new(b"key "), IoSlice::new(b"value")];
/// assert_eq!(synchronous::pwritev_durable(&file, &parts, 0, Durability::Data)?, 9);
/// # Ok(())
/// # }
/// ```
pub fn pwritev_durable(
    fd: impl AsFd,
    buffers: &[IoSlice<'_>],
    offset: u64,
    durability: Durability,
) -> Result<usize, Error> {
    check_count(buffers.len())?;
    check_offset(offset)?;
    let flags = match durability {
        Durability::Data => ReadWriteFlags::DSYNC,
        Durability::DataAndMetadata => ReadWriteFlags::SYNC,
    };
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| pwritev2(fd, buffers, offset, flags))?)
}

/// Resumes [`pwritev_durable`] over one run of bytes until all are on the device.
///
/// # Errors
///
/// As for [`pwritev_durable`], with the bytes that were written before.
///
/// ```
/// use pitcrew::techniques::synchronous::{self, Durability};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = tempfile::tempfile()?;
/// let written = synchronous::pwrite_durable_all(&file, b"record", 0, Durability::Data)?;
/// assert_eq!(written.bytes, 6);
/// # Ok(())
/// # }
/// ```
pub fn pwrite_durable_all(
    fd: impl AsFd,
    bytes: &[u8],
    offset: u64,
    durability: Durability,
) -> Result<Transfer, Stopped> {
    let fd = fd.as_fd();
    resume(bytes.len() as u64, |done| {
        let rest = [IoSlice::new(&bytes[done as usize..])];
        some_written(pwritev_durable(fd, &rest, offset.saturating_add(done), durability)?)
    })
}
