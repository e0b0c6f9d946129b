//! Direct transfers (O_DIRECT): between the device and the program's memory, past the page cache.
//!
//! The address of the memory, the offset and the length must be multiples of an alignment that
//! differs from file to file. [`discover`] finds it: statx(2) with STATX_DIOALIGN says it (Linux
//! 6.1 or later, on most local file systems), and a test read confirms it; where statx is silent,
//! test reads of growing size find it. A transfer that is not aligned is refused with the operand
//! that is wrong and the alignment that it needs, also on file systems that would quietly read
//! through the page cache instead.
//!
//! Rests on open(2) (O_DIRECT, with its NOTES), statx(2), pread(2), pwrite(2). A file system
//! without direct transfers gives [`DirectError::NotSupported`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fcntl_getfl, openat, statx};
use rustix::io::{Errno, retry_on_intr};

use super::memory::{ALIGNMENT_BYTES_MIN, AlignmentError};
use super::{AlignedBuffer, Error, positional};

mod error;

pub use error::{DirectError, Operand, Unaligned};

/// The largest alignment that test reads look for, in bytes; the logical block size of a device
/// is at most this on Linux (64 KiB since 6.15, a page before).
const TEST_BYTES_MAX: usize = 64 << 10;

/// What is assumed for a file that has no byte to test with, in bytes: a page satisfies every
/// device with sectors of 512 or 4096 bytes.
const ASSUMED_BYTES: usize = 4096;

/// What a file's direct transfers must be multiples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// For the address of the memory, in bytes; a power of two, often as small as 4.
    pub memory_bytes: usize,
    /// For offsets and lengths, in bytes; a power of two.
    pub offset_bytes: usize,
    /// How this is known.
    pub source: AlignmentSource,
}

/// How an [`Alignment`] is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlignmentSource {
    /// statx(2) said so.
    Statx,
    /// The smallest test read that was accepted.
    TestRead,
    /// The file is empty or not open for reading, so it could not be tested; 4096 bytes.
    Assumed,
}

/// The aligned block around a range of bytes that need not be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enclosure {
    /// Where the block starts in the file, in bytes; aligned.
    pub start: u64,
    /// The block's length in bytes; aligned.
    pub length: usize,
    /// Bytes of the block before the first one of the range.
    pub skip: usize,
}

impl Alignment {
    /// Checks the operands of a transfer, all in bytes.
    ///
    /// # Errors
    ///
    /// The first operand that is not aligned, with the alignment it needs.
    ///
    /// ```
    /// use pitcrew::techniques::direct::{Alignment, AlignmentSource, Operand, Unaligned};
    /// let source = AlignmentSource::Statx;
    /// let alignment = Alignment { memory_bytes: 4, offset_bytes: 512, source };
    /// assert_eq!(alignment.check(0x1000, 1024, 4096), Ok(()));
    /// let unaligned = alignment.check(0x1000, 1000, 4096).unwrap_err();
    /// assert_eq!(unaligned, Unaligned { operand: Operand::Length, value: 1000, needed: 512 });
    /// ```
    pub fn check(&self, address: usize, length: usize, offset: u64) -> Result<(), Unaligned> {
        let operands = [
            (Operand::Offset, offset, self.offset_bytes),
            (Operand::Length, length as u64, self.offset_bytes),
            (Operand::Address, address as u64, self.memory_bytes),
        ];
        match operands.into_iter().find(|(_, value, needed)| value % *needed as u64 != 0) {
            None => Ok(()),
            Some((operand, value, needed)) => Err(Unaligned { operand, value, needed }),
        }
    }

    /// Says what an error of a direct transfer with these operands means: EINVAL becomes
    /// [`DirectError::Unaligned`] if one of them is, and [`DirectError::Refused`] otherwise.
    ///
    /// For callers that start the transfer by other means than [`DirectFile`].
    #[must_use]
    pub fn explain(&self, error: Error, address: usize, length: usize, offset: u64) -> DirectError {
        if error.errno() != Errno::INVAL || matches!(error, Error::OffsetTooLarge { .. }) {
            return DirectError::Io(error);
        }
        match self.check(address, length, offset) {
            Err(unaligned) => DirectError::Unaligned(unaligned),
            Ok(()) => DirectError::Refused { alignment: *self },
        }
    }

    /// The aligned block around `count` bytes at `offset`; none if it ends beyond what an offset
    /// or a length can express.
    ///
    /// ```
    /// use pitcrew::techniques::direct::{Alignment, AlignmentSource, Enclosure};
    /// let source = AlignmentSource::Statx;
    /// let alignment = Alignment { memory_bytes: 4, offset_bytes: 512, source };
    /// let block = Enclosure { start: 512, length: 1024, skip: 488 };
    /// assert_eq!(alignment.enclose(1000, 100), Some(block));
    /// ```
    #[must_use]
    pub fn enclose(&self, offset: u64, count: usize) -> Option<Enclosure> {
        let skip = (offset % self.offset_bytes as u64) as usize;
        let length = skip.checked_add(count)?.checked_next_multiple_of(self.offset_bytes)?;
        let start = offset - skip as u64;
        let end = start.checked_add(length as u64)?;
        i64::try_from(end).ok().map(|_| Enclosure { start, length, skip })
    }

    /// A buffer that is large enough for any range of `count` bytes, wherever it starts.
    ///
    /// # Errors
    ///
    /// Those of [`AlignedBuffer::new`].
    pub fn buffer(&self, count: usize) -> Result<AlignedBuffer, AlignmentError> {
        let out_of_memory = AlignmentError::OutOfMemory { size: count };
        let unit = self.memory_bytes.max(self.offset_bytes).max(ALIGNMENT_BYTES_MIN);
        let size = count.checked_next_multiple_of(unit).and_then(|size| size.checked_add(unit));
        AlignedBuffer::new(size.ok_or(out_of_memory)?, unit)
    }
}

/// Finds the alignment of a descriptor that was opened with O_DIRECT.
///
/// It reads up to 64 KiB at offset 0 into memory of its own; it does not move the offset.
///
/// # Errors
///
/// [`DirectError::NotDirect`] without O_DIRECT; [`DirectError::NotSupported`] when statx says so
/// or no test read is accepted; [`DirectError::Io`] when the test read fails otherwise.
///
/// ```
/// use pitcrew::techniques::direct::{self, DirectError};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let buffered = std::fs::File::open("Cargo.toml")?;
/// assert_eq!(direct::discover(&buffered), Err(DirectError::NotDirect));
/// # Ok(())
/// # }
/// ```
pub fn discover(fd: impl AsFd) -> Result<Alignment, DirectError> {
    let fd = fd.as_fd();
    if !fcntl_getfl(fd).map_err(Error::from)?.contains(OFlags::DIRECT) {
        return Err(DirectError::NotDirect);
    }
    let Some(said) = said_by_statx(fd)? else {
        return found_by_test_reads(fd);
    };
    match test_read(fd, said.offset_bytes, said.memory_bytes.max(ALIGNMENT_BYTES_MIN))? {
        Test::Refused => found_by_test_reads(fd),
        Test::Accepted | Test::Untestable => Ok(said),
    }
}

fn said_by_statx(fd: BorrowedFd<'_>) -> Result<Option<Alignment>, DirectError> {
    let found = match statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(found) => found,
        // Some sandboxes refuse statx; the test reads answer as well.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(DirectError::Io(errno.into())),
    };
    if found.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Ok(None);
    }
    let (memory, offset) = (found.stx_dio_mem_align as usize, found.stx_dio_offset_align as usize);
    if memory == 0 || offset == 0 {
        return Err(DirectError::NotSupported);
    }
    if !memory.is_power_of_two() || !offset.is_power_of_two() {
        return Ok(None);
    }
    let source = AlignmentSource::Statx;
    Ok(Some(Alignment { memory_bytes: memory, offset_bytes: offset, source }))
}

fn found_by_test_reads(fd: BorrowedFd<'_>) -> Result<Alignment, DirectError> {
    let mut bytes = ALIGNMENT_BYTES_MIN;
    while bytes <= TEST_BYTES_MAX {
        let found = |bytes, source| Alignment { memory_bytes: bytes, offset_bytes: bytes, source };
        match test_read(fd, bytes, bytes)? {
            Test::Accepted => return Ok(found(bytes, AlignmentSource::TestRead)),
            Test::Untestable => return Ok(found(ASSUMED_BYTES, AlignmentSource::Assumed)),
            Test::Refused => bytes *= 2,
        }
    }
    Err(DirectError::NotSupported)
}

enum Test {
    Accepted,
    Refused,
    Untestable,
}

/// Reads `length` bytes at offset 0 into memory that is aligned to `alignment` and no better.
fn test_read(fd: BorrowedFd<'_>, length: usize, alignment: usize) -> Result<Test, DirectError> {
    let twice = alignment * 2;
    let size = (alignment + length).next_multiple_of(twice);
    let mut buffer = AlignedBuffer::new(size, twice)?;
    match positional::pread(fd, &mut buffer[alignment..alignment + length], 0) {
        Ok(0) | Err(Error::BadDescriptor) => Ok(Test::Untestable),
        Ok(_) => Ok(Test::Accepted),
        Err(Error::Kernel(Errno::INVAL)) => Ok(Test::Refused),
        Err(other) => Err(DirectError::Io(other)),
    }
}

/// A file opened with O_DIRECT, and its alignment.
///
/// ```
/// use pitcrew::techniques::direct::{DirectError, DirectFile};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = match DirectFile::open("Cargo.toml") {
///     Ok(file) => file,
///     Err(DirectError::NotSupported) => return Ok(()), // fall back to buffered reads
///     Err(other) => return Err(other.into()),
/// };
/// let mut buffer = file.alignment().buffer(7)?;
/// let bytes = file.read_range(1, 7, &mut buffer)?; // neither end is aligned
/// assert_eq!(bytes, &std::fs::read("Cargo.toml")?[1..8]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DirectFile {
    fd: OwnedFd,
    alignment: Alignment,
}

impl DirectFile {
    /// Opens an existing file for reading.
    ///
    /// # Errors
    ///
    /// [`DirectError::NotSupported`] where the file system refuses O_DIRECT (EINVAL);
    /// [`DirectError::Io`] with the errors of open(2); and those of [`discover`].
    pub fn open(path: impl AsRef<Path>) -> Result<DirectFile, DirectError> {
        DirectFile::open_with(path.as_ref(), OFlags::RDONLY)
    }

    /// Creates or empties a file, for reading and writing, with mode 0666 less the umask.
    ///
    /// # Errors
    ///
    /// As for [`DirectFile::open`]. A file that the file system refuses to open directly may have
    /// been created all the same (open(2), BUGS).
    ///
    /// ```
    /// use pitcrew::techniques::AlignedBuffer;
    /// use pitcrew::techniques::direct::{DirectError, DirectFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir_in(".")?;
    /// # let path = directory.path().join("blocks");
    /// let file = match DirectFile::create(path) {
    ///     Err(DirectError::NotSupported) => return Ok(()),
    ///     other => other?,
    /// };
    /// let mut block = AlignedBuffer::new(4096, 4096)?;
    /// block.fill(7);
    /// assert_eq!(file.write(&block, 4096)?, 4096);
    /// assert_eq!(file.read(&mut block, 0)?, 4096);
    /// assert!(block.iter().all(|&byte| byte == 0), "a hole was read");
    /// # Ok(())
    /// # }
    /// ```
    pub fn create(path: impl AsRef<Path>) -> Result<DirectFile, DirectError> {
        DirectFile::open_with(path.as_ref(), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// Takes a descriptor that is open with O_DIRECT already, opened beneath a root for example.
    ///
    /// # Errors
    ///
    /// Those of [`discover`]; the descriptor is closed then.
    ///
    /// ```
    /// use pitcrew::techniques::direct::{DirectError, DirectFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let buffered = std::fs::File::open("Cargo.toml")?;
    /// let refused = DirectFile::from_fd(buffered.into()).err();
    /// assert_eq!(refused, Some(DirectError::NotDirect)); // open it with O_DIRECT
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<DirectFile, DirectError> {
        let alignment = discover(&fd)?;
        Ok(DirectFile { fd, alignment })
    }

    fn open_with(path: &Path, flags: OFlags) -> Result<DirectFile, DirectError> {
        let flags = flags | OFlags::DIRECT | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        match retry_on_intr(|| openat(CWD, path, flags, mode)) {
            Ok(fd) => DirectFile::from_fd(fd),
            Err(Errno::INVAL) => Err(DirectError::NotSupported),
            Err(errno) => Err(DirectError::Io(errno.into())),
        }
    }

    /// What transfers of this file must be multiples of.
    #[must_use]
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// Reads into aligned memory at an aligned offset; the answer is the bytes read, which at the
    /// end of the file need not be aligned, and 0 after it.
    ///
    /// # Errors
    ///
    /// [`DirectError::Unaligned`] with the operand and the alignment it needs;
    /// [`DirectError::Refused`] when the kernel says EINVAL although all is aligned;
    /// [`DirectError::Io`] with the errors of [`positional::pread`].
    pub fn read(&self, memory: &mut [u8], offset: u64) -> Result<usize, DirectError> {
        let (address, length) = (memory.as_ptr() as usize, memory.len());
        self.alignment.check(address, length, offset).map_err(DirectError::Unaligned)?;
        positional::pread(&self.fd, memory, offset)
            .map_err(|error| self.alignment.explain(error, address, length, offset))
    }

    /// Writes aligned memory at an aligned offset; the answer is the bytes that were taken.
    ///
    /// O_DIRECT alone does not make a write durable (open(2), NOTES): see [`super::synchronous`].
    ///
    /// # Errors
    ///
    /// As for [`DirectFile::read`], with the errors of [`positional::pwrite`].
    ///
    /// ```
    /// use pitcrew::techniques::AlignedBuffer;
    /// use pitcrew::techniques::direct::{DirectError, DirectFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir_in(".")?;
    /// # let path = directory.path().join("blocks");
    /// let file = match DirectFile::create(&path) {
    ///     Err(DirectError::NotSupported) => return Ok(()),
    ///     other => other?,
    /// };
    /// let mut block = AlignedBuffer::new(4096, 4096)?;
    /// block.fill(7);
    /// assert_eq!(file.write(&block, 0)?, 4096);
    /// assert_eq!(std::fs::read(&path)?, [7; 4096]);
    /// assert!(matches!(file.write(&block[..100], 0), Err(DirectError::Unaligned(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, memory: &[u8], offset: u64) -> Result<usize, DirectError> {
        let (address, length) = (memory.as_ptr() as usize, memory.len());
        self.alignment.check(address, length, offset).map_err(DirectError::Unaligned)?;
        positional::pwrite(&self.fd, memory, offset)
            .map_err(|error| self.alignment.explain(error, address, length, offset))
    }

    /// Reads `count` bytes at `offset`, neither of which need be aligned: reads the aligned block
    /// around them into `buffer` and answers with the part that was asked for, shorter (or empty)
    /// where the file ends. Short reads before the end are resumed.
    ///
    /// [`Alignment::buffer`] makes a buffer that is large enough.
    ///
    /// # Errors
    ///
    /// [`DirectError::BufferTooSmall`], and those of [`DirectFile::read`].
    pub fn read_range<'b>(
        &self,
        offset: u64,
        count: usize,
        buffer: &'b mut AlignedBuffer,
    ) -> Result<&'b [u8], DirectError> {
        let too_large = DirectError::Io(Error::OffsetTooLarge { offset });
        let block = self.alignment.enclose(offset, count).ok_or(too_large)?;
        let (size, needed) = (buffer.len(), block.length);
        let target =
            buffer.get_mut(..needed).ok_or(DirectError::BufferTooSmall { size, needed })?;
        let mut filled = 0;
        while filled < target.len() {
            let read = self.read(&mut target[filled..], block.start + filled as u64)?;
            filled += read;
            // A read that ends off the alignment has met the end of the file: going on from there
            // would be refused, and there is nothing left.
            if read == 0 || !filled.is_multiple_of(self.alignment.offset_bytes) {
                break;
            }
        }
        let end = filled.min(block.skip + count);
        Ok(target.get(block.skip..end).unwrap_or_default())
    }
}

impl AsFd for DirectFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<DirectFile> for OwnedFd {
    fn from(file: DirectFile) -> OwnedFd {
        file.fd
    }
}
