//! What a queue of transfers works on: the memory, the file and the transfer itself.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::buffer::{BufferPool, Lease};
use crate::techniques::AlignedBuffer;

/// Memory that a transfer may own. Its bytes stay where they are while the value moves.
///
/// ```
/// use pitcrew::batch::Buffer;
/// let mut buffer = Buffer::from(vec![0; 3]);
/// buffer[0] = 7;
/// assert_eq!(buffer.into_vector(), [7, 0, 0]);
/// ```
pub struct Buffer(Memory);

enum Memory {
    Vector(Vec<u8>),
    Aligned(AlignedBuffer),
    Leased(Lease),
}

impl Buffer {
    /// The bytes as a vector; those of aligned and of registered memory are copied.
    #[must_use]
    pub fn into_vector(self) -> Vec<u8> {
        match self.0 {
            Memory::Vector(vector) => vector,
            Memory::Aligned(buffer) => buffer.to_vec(),
            Memory::Leased(lease) => lease.to_vec(),
        }
    }

    /// Whether it lies in this pool.
    pub(super) fn lies_in(&self, pool: &Rc<BufferPool>) -> bool {
        matches!(&self.0, Memory::Leased(lease) if lease.is_of(pool))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(vector: Vec<u8>) -> Self {
        Self(Memory::Vector(vector))
    }
}

impl From<AlignedBuffer> for Buffer {
    fn from(buffer: AlignedBuffer) -> Self {
        Self(Memory::Aligned(buffer))
    }
}

impl From<Lease> for Buffer {
    fn from(lease: Lease) -> Self {
        Self(Memory::Leased(lease))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Vector(vector) => vector,
            Memory::Aligned(buffer) => buffer,
            Memory::Leased(lease) => lease,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Vector(vector) => vector,
            Memory::Aligned(buffer) => buffer,
            Memory::Leased(lease) => lease,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Memory::Vector(_) => "vector",
            Memory::Aligned(_) => "aligned",
            Memory::Leased(_) => "registered",
        };
        f.debug_struct("Buffer").field("kind", &kind).field("bytes", &self.len()).finish()
    }
}

/// A descriptor that transfers share; it is closed with the last of them, so never under one.
///
/// ```
/// use pitcrew::batch::SharedFile;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = SharedFile::new(std::fs::File::open("Cargo.toml")?);
/// let same = file.clone();
/// # drop(same);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SharedFile(Arc<OwnedFd>);

impl SharedFile {
    /// Takes over an open descriptor, of a [`DirectFile`](crate::techniques::direct::DirectFile)
    /// too.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(fd.into()))
    }

    /// Where a regular file ends, in bytes; for a device, nowhere.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub fn end(&self) -> Result<u64, Errno> {
        let stat = rustix::fs::fstat(&self.0)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
            _ => Ok(u64::MAX),
        }
    }

    pub(super) fn is(&self, other: &SharedFile) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file to the memory.
    Read,
    /// From the memory to the file.
    Write,
}

/// A read or a write with everything that it needs.
#[derive(Debug)]
pub struct Transfer {
    /// Which way the bytes go.
    pub direction: Direction,
    /// The file.
    pub file: SharedFile,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The memory.
    pub buffer: Buffer,
    /// Which part of the memory; it lies within it.
    pub range: Range<usize>,
}
