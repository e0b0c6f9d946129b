//! copy_file_range(2): a range of one file to another, inside the kernel, or, on file systems
//! that share extents, without moving a byte.
//!
//! [`copy_file_range`] is the call. [`copy`] falls back to pread and pwrite where the kernel
//! refuses for a reason that reading and writing does not share, and says so in its answer.
//!
//! Rests on copy_file_range(2) (between file systems since Linux 5.19, within one type of file
//! system). The descriptors must be regular files; an output opened with O_APPEND is EBADF.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::{Errno, retry_on_intr};

use super::{Error, call_count, check_offset, positional, some_written};

/// Bytes of the buffer for copying by hand; the size at which a read and a write of pages that
/// are in memory no longer gain from a larger one.
const HAND_BYTES: usize = 128 << 10;

/// Copies up to `count` bytes and advances both offsets by the answer; 0 means that the source
/// ends (or a count of 0). The descriptors' own offsets are neither used nor moved.
///
/// # Errors
///
/// [`Error::OffsetTooLarge`] before the kernel is asked; [`Error::BadDescriptor`] (also for an
/// output with O_APPEND); [`Error::Kernel`] with EXDEV between file systems that cannot, EINVAL
/// for overlapping ranges of one file and for what is no regular file, EOPNOTSUPP and ENOSYS where
/// the call is not known, EOVERFLOW when offset and count
/// end beyond `i64::MAX`, ENOSPC, EFBIG, EIO, EISDIR, EPERM, ETXTBSY.
///
/// ```
/// use pitcrew::techniques::copy_range;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (tempfile::tempfile()?, tempfile::tempfile()?);
/// pitcrew::techniques::positional::pwrite(&from, b"0123456789", 0)?;
/// let (mut from_offset, mut to_offset) = (2, 0);
/// let copied = copy_range::copy_file_range(&from, &mut from_offset, &to, &mut to_offset, 5)?;
/// assert_eq!((copied, from_offset, to_offset), (5, 7, 5));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn copy_file_range(
    from: impl AsFd,
    from_offset: &mut u64,
    to: impl AsFd,
    to_offset: &mut u64,
    count: usize,
) -> Result<usize, Error> {
    check_offset(*from_offset)?;
    check_offset(*to_offset)?;
    let (from, to) = (from.as_fd(), to.as_fd());
    Ok(retry_on_intr(|| {
        let offsets = (Some(&mut *from_offset), Some(&mut *to_offset));
        rustix::fs::copy_file_range(from, offsets.0, to, offsets.1, count)
    })?)
}

/// Why the kernel did not copy, and reading and writing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EXDEV: the files are on two file systems that cannot copy between each other.
    AcrossFileSystems,
    /// EINVAL: one of them is no regular file, or of a kind that the call does not take.
    Invalid,
    /// EOPNOTSUPP: the file system does not copy ranges.
    NotSupported,
    /// ENOSYS: the kernel or its sandbox does not know the call.
    NoSystemCall,
    /// The call found no byte in a file that claims to have none, as files of /proc and /sys do;
    /// whether that is so, only reading can tell.
    NoBytes,
}

/// What [`copy`] did, and which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes copied in all; fewer than asked for means that the source ended.
    pub bytes: u64,
    /// Those of them that the kernel copied.
    pub in_kernel_bytes: u64,
    /// Why the others were copied by pread and pwrite; none if the kernel did it all.
    pub fell_back: Option<Refusal>,
    /// Calls that moved fewer bytes than they were asked for.
    pub short_transfers: u32,
}

/// [`copy`] met an error; `done` is what it had copied before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyStopped {
    /// What was copied, counted from the start of the range.
    pub done: Copied,
    /// The error.
    pub error: CopyError,
}

/// Why a copy stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyError {
    /// The ranges overlap in one file: the copy would read what it has just written. Nothing was
    /// copied.
    Overlap,
    /// A call failed for a reason that is no cause to fall back.
    Io(Error),
}

/// Copies `count` bytes from `from` at `from_offset` to `to` at `to_offset`, resuming short
/// calls, until the count is reached or the source ends.
///
/// Where the kernel refuses with EXDEV, EINVAL, EOPNOTSUPP or ENOSYS, the rest is copied by pread
/// and pwrite through a buffer of 128 KiB that is allocated for it, and
/// [`Copied::fell_back`] says why. Within one file the ranges may not overlap, and the source ends
/// where the file ended before the copy. The descriptors' own offsets are neither used nor moved.
///
/// # Errors
///
/// [`CopyError::Overlap`], or [`CopyError::Io`] with the other errors of [`copy_file_range`],
/// [`positional::pread`] and [`positional::pwrite`]; and what was copied before.
///
/// ```
/// use pitcrew::techniques::copy_range;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (std::fs::File::open("Cargo.toml")?, tempfile::tempfile()?);
/// let copied = copy_range::copy(&from, 0, &to, 0, u64::MAX)?;
/// assert_eq!(copied.bytes, from.metadata()?.len());
/// if let Some(why) = copied.fell_back {
///     println!("{} bytes by hand: {why:?}", copied.bytes - copied.in_kernel_bytes);
/// }
/// # Ok(())
/// # }
/// ```
pub fn copy(
    from: impl AsFd,
    from_offset: u64,
    to: impl AsFd,
    to_offset: u64,
    count: u64,
) -> Result<Copied, CopyStopped> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let (mut read_at, mut write_at) = (from_offset, to_offset);
    let mut done = Copied::default();
    // Before the first byte: a call copies a part, and parts of ranges that overlap need not.
    let count = match within_one_file(from, to).map_err(|error| stopped(done, error))? {
        None => count,
        Some(end) => {
            // The end is that of before the copy, which would never reach one that it moves.
            let count = end.map_or(count, |end| count.min(end.saturating_sub(from_offset)));
            if from_offset.abs_diff(to_offset) < count {
                return Err(CopyStopped { done, error: CopyError::Overlap });
            }
            count
        }
    };
    while done.bytes < count {
        let asked = call_count(count - done.bytes);
        let refusal = match copy_file_range(from, &mut read_at, to, &mut write_at, asked) {
            Ok(0) if done.bytes == 0 && claims_no_bytes(from) => Refusal::NoBytes,
            Ok(0) => break,
            Ok(copied) => {
                done.bytes += copied as u64;
                done.in_kernel_bytes += copied as u64;
                done.short_transfers += u32::from(copied < asked);
                continue;
            }
            Err(error) => match refusal(error) {
                Some(refusal) => refusal,
                None => return Err(stopped(done, error)),
            },
        };
        done.fell_back = Some(refusal);
        return copy_by_hand(from, read_at, to, write_at, count, done);
    }
    Ok(done)
}

/// The errors for which reading and writing is worth a try.
fn refusal(error: Error) -> Option<Refusal> {
    match error {
        Error::Kernel(Errno::XDEV) => Some(Refusal::AcrossFileSystems),
        Error::Kernel(Errno::INVAL) => Some(Refusal::Invalid),
        Error::Kernel(Errno::OPNOTSUPP) => Some(Refusal::NotSupported),
        Error::Kernel(Errno::NOSYS) => Some(Refusal::NoSystemCall),
        _ => None,
    }
}

fn copy_by_hand(
    from: BorrowedFd<'_>,
    mut read_at: u64,
    to: BorrowedFd<'_>,
    mut write_at: u64,
    count: u64,
    mut done: Copied,
) -> Result<Copied, CopyStopped> {
    let mut buffer = vec![0; HAND_BYTES];
    while done.bytes < count {
        let asked = call_count(count - done.bytes).min(HAND_BYTES);
        let read = positional::pread(from, &mut buffer[..asked], read_at)
            .map_err(|error| stopped(done, error))?;
        if read == 0 {
            break;
        }
        done.short_transfers += u32::from(read < asked);
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let written = positional::pwrite(to, rest, write_at)
                .and_then(some_written)
                .map_err(|error| stopped(done, error))?;
            done.short_transfers += u32::from(written < rest.len());
            done.bytes += written as u64;
            read_at += written as u64;
            write_at += written as u64;
            rest = &rest[written..];
        }
    }
    Ok(done)
}

fn claims_no_bytes(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_size == 0)
}

fn stopped(done: Copied, error: Error) -> CopyStopped {
    CopyStopped { done, error: CopyError::Io(error) }
}

/// If both descriptors are of one file: where it ends, which only a regular one tells.
fn within_one_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Option<Option<u64>>, Error> {
    let (source, target) = (fstat(from)?, fstat(to)?);
    let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
    let regular = FileType::from_raw_mode(source.st_mode) == FileType::RegularFile;
    let end = regular.then(|| u64::try_from(source.st_size).unwrap_or(0));
    Ok((identity(&source) == identity(&target)).then_some(end))
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyError::Overlap => f.write_str("the ranges overlap in one file"),
            CopyError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CopyError {}

impl fmt::Display for CopyStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the copy stopped after {} bytes: {}", self.done.bytes, self.error)
    }
}

impl std::error::Error for CopyStopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_errors_lead_to_the_fall_back() {
        for errno in [Errno::XDEV, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(refusal(errno.into()).is_some(), "{errno}");
        }
        for errno in [Errno::BADF, Errno::NOSPC, Errno::IO, Errno::PERM, Errno::FBIG] {
            assert_eq!(refusal(errno.into()), None, "{errno}");
        }
    }
}
