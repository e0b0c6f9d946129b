//! Whether a part of a file is in the page cache: asked of the kernel, without waiting for a disk.
//!
//! Three ways, since none is good everywhere:
//! - one byte of each page is read with RWF_NOWAIT ([`super::positional::probe`]), which says no
//!   for a page that is still being read; but FUSE, network file systems, overlayfs and tmpfs
//!   refuse it
//! - cachestat(2) (Linux 6.5) counts every page of the part, also those that are still being read,
//!   on behalf of whoever it may be; so it can only say no, and leaves everything as it is, while a
//!   read that finds nothing has the kernel begin to read. It answers the owner of the file and who
//!   may write to it, and knows nothing of what overlayfs passes on
//! - a mapping and mincore(2) tell for each page whether it was read; for the owner of the file
//!   and for who may write to it only, as it says yes to everything else
//!
//! [`read_ahead`] goes the first two ways together; [`read`] does so with a read of all of it in
//! place of the single bytes; [`mapped`] goes the third, and [`by_map`] does with a mapping that is
//! kept. [`quiet`] touches no page, so that nothing begins where the kernel has marked one: who
//! reads a marked page has what follows it read from the disk, if it is not there, and [`cached`]
//! tells whether it is. All speak of a moment: the pages may be evicted before the next call.

// Unsafe: a system call that rustix does not have.
#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::positional::{self, Residency};
use super::{Error, check_offset};
use crate::limits::MAPPED_FILES_MAX;
use crate::sys::mapping::Mapping;
use crate::sys::residency::may_be_asked;

/// Pages up to which each is looked at by a call of its own: as many calls cost as much as a
/// mapping, which all threads of the process have a lock for.
const PROBED_PAGES_MAX: u64 = 17;

/// Pages up to which nothing is mapped that is kept: to look at each costs as much.
const FEW_PAGES: u64 = 2;

/// Its number, which is the same on every architecture that Rust knows.
const SYS_CACHESTAT: libc::c_long = 451;

/// Whether `count` bytes at `offset` can be read without waiting. Where some cannot, and cachestat
/// does not say so before, this starts read-ahead on most file systems, for which it waits where
/// the queue of the device is full; it is not asked for a single byte. What lies after the end of
/// the file is as good as there.
///
/// # Errors
///
/// [`Error::Kernel`] with EOPNOTSUPP where the file system does not answer; [`mapped`] may.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let answer = residency::read_ahead(&file, 0, 26);
/// assert!(matches!(answer, Ok(true) | Err(Error::Kernel(Errno::OPNOTSUPP))));
/// # Ok(())
/// # }
/// ```
pub fn read_ahead(fd: impl AsFd, offset: u64, count: u64) -> Result<bool, Error> {
    let fd = fd.as_fd();
    match count {
        0 => Ok(true),
        1 => probe_each(fd, offset, 1),
        _ => match misses(fd, offset, count) {
            Some(true) => Ok(false),
            Some(false) => are_read(fd, offset, count),
            None => probe_each(fd, offset, count),
        },
    }
}

/// A mapping of a file that is kept to tell which of its pages were read (mincore(2)). Nothing is
/// touched by it, and as long as it is there a question costs one short call, however often it is
/// asked.
#[derive(Debug)]
pub struct Map {
    mapping: Mapping,
    bytes: u64,
}

/// Files that are kept mapped.
static MAPS: AtomicUsize = AtomicUsize::new(0);

impl Map {
    /// Maps a whole file.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] with EPERM where the kernel would not tell: the file is of another user
    /// who lets nobody else write to it. ENODEV where it cannot be mapped; ENOMEM, also where the
    /// process keeps as many files mapped as it may; EINVAL for a file without bytes.
    ///
    /// ```
    /// use pitcrew::techniques::{positional, residency::Map};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = tempfile::tempfile()?;
    /// positional::pwrite(&file, b"just written, so in memory", 0)?;
    /// assert!(Map::new(&file)?.has(0, 26)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(fd: impl AsFd) -> Result<Self, Error> {
        let fd = fd.as_fd();
        if !may_be_asked(fd)? {
            return Err(Error::Kernel(Errno::PERM));
        }
        let bytes = u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        let length = usize::try_from(bytes).map_err(|_| Error::Kernel(Errno::NOMEM))?;
        let counted = MAPS.try_update(Ordering::Relaxed, Ordering::Relaxed, |maps| {
            (maps < MAPPED_FILES_MAX).then_some(maps + 1)
        });
        counted.map_err(|_| Error::Kernel(Errno::NOMEM))?;
        let mapping = Mapping::new(fd, 0, length).inspect_err(|_| {
            MAPS.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(Self { mapping, bytes })
    }

    /// Whether every page of a part was read and is in memory. What lies behind the end that the
    /// file had when it was mapped is as good as there.
    ///
    /// # Errors
    ///
    /// Those of mincore(2): EAGAIN, ENOMEM.
    pub fn has(&self, offset: u64, count: u64) -> Result<bool, Error> {
        let end = offset.saturating_add(count).min(self.bytes);
        if offset >= end {
            return Ok(true);
        }
        let page = page_bytes();
        Ok(self
            .mapping
            .has((offset / page) as usize, pages(offset, end - offset, page) as usize)?)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        MAPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept with an open file to answer by: a [`Map`] once a part of it was found to be there,
/// or that there can be none.
#[derive(Debug, Default)]
pub struct Kept(OnceCell<Option<Map>>);

impl Kept {
    /// The map, which is made with the first question.
    fn map(&self, fd: BorrowedFd<'_>) -> Option<&Map> {
        self.0.get_or_init(|| Map::new(fd).ok()).as_ref()
    }
}

/// As [`read_ahead`], but by the map that is kept of the file where there may be one, which tells
/// of each page in one call.
///
/// # Errors
///
/// Those of [`read_ahead`].
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let kept = residency::Kept::default();
/// let answer = residency::by_map(&file, &kept, 0, 26);
/// assert!(matches!(answer, Ok(true) | Err(Error::Kernel(Errno::OPNOTSUPP))));
/// # Ok(())
/// # }
/// ```
pub fn by_map(fd: impl AsFd, kept: &Kept, offset: u64, count: u64) -> Result<bool, Error> {
    let fd = fd.as_fd();
    let few = count == 0 || pages(offset, count, page_bytes()) <= FEW_PAGES;
    if kept.0.get().is_none() {
        if few {
            return read_ahead(fd, offset, count);
        }
        if misses(fd, offset, count) == Some(true) {
            return Ok(false);
        }
    }
    match kept.map(fd) {
        Some(map) if let Ok(told) = map.has(offset, count) => Ok(told),
        _ => read_ahead(fd, offset, count),
    }
}

/// The same by the second and the third way, with the map that is kept of the file where there may
/// be one: nothing is read, and no page is touched.
///
/// # Errors
///
/// [`Error::Kernel`] with EPERM where nobody tells: the file is of another user, or lies where
/// files cannot be mapped.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let kept = residency::Kept::default();
/// let answer = residency::quiet(&file, &kept, 0, 26);
/// assert!(matches!(answer, Ok(true) | Err(Error::Kernel(Errno::PERM))));
/// # Ok(())
/// # }
/// ```
pub fn quiet(fd: impl AsFd, kept: &Kept, offset: u64, count: u64) -> Result<bool, Error> {
    let fd = fd.as_fd();
    if count == 0 {
        return Ok(true);
    }
    if let Some(Some(map)) = kept.0.get() {
        return map.has(offset, count);
    }
    let missed = misses(fd, offset, count);
    if missed == Some(true) {
        return Ok(false);
    }
    let told = match kept.map(fd) {
        Some(map) => map.has(offset, count),
        // There are too many maps.
        None if missed.is_some() => mapped(fd, offset, count),
        None => return Err(Error::Kernel(Errno::PERM)),
    };
    told.map_err(|_| Error::Kernel(Errno::PERM))
}

/// Whether the page cache has each page of a part, read or on its way: what it has is not begun to
/// be read once more. It is told by cachestat, and on kernels that do not have it by the map, for
/// which a page on its way is missing, as is by cachestat what lies after the end of the file.
///
/// # Errors
///
/// [`Error::Kernel`] with EPERM where nobody tells: the file is of another user.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let kept = residency::Kept::default();
/// let answer = residency::cached(&file, &kept, 0, 26);
/// assert!(matches!(answer, Ok(true) | Err(Error::Kernel(Errno::PERM))));
/// # Ok(())
/// # }
/// ```
pub fn cached(fd: impl AsFd, kept: &Kept, offset: u64, count: u64) -> Result<bool, Error> {
    let fd = fd.as_fd();
    if count == 0 {
        return Ok(true);
    }
    match misses(fd, offset, count) {
        Some(missed) => Ok(!missed),
        None => kept.map(fd).ok_or(Error::Kernel(Errno::PERM))?.has(offset, count),
    }
}

/// The same by cachestat alone, which is no access of the file: false for certain, or nothing.
///
/// # Errors
///
/// [`Error::Kernel`] with EPERM where that does not tell.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// assert_eq!(residency::counted(&file, 0, 26), Err(Error::Kernel(Errno::PERM)));
/// # Ok(())
/// # }
/// ```
pub fn counted(fd: impl AsFd, offset: u64, count: u64) -> Result<bool, Error> {
    match count > 0 && misses(fd, offset, count) == Some(true) {
        true => Ok(false),
        false => Err(Error::Kernel(Errno::PERM)),
    }
}

/// Reads a part if the page cache has all of it, which is asked before without read-ahead; short
/// where a page was on its way. Where that cannot be asked, only a read tells, which begins
/// read-ahead of what is not there; it is not done unless `reads_ahead`.
///
/// # Errors
///
/// [`Error::WouldBlock`] where a part is not there; [`Error::Kernel`] with EPERM where nobody tells
/// without read-ahead, and with EOPNOTSUPP where the file system does not know RWF_NOWAIT.
///
/// ```
/// use pitcrew::techniques::{Errno, Error, positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// let mut bytes = [0; 9];
/// match residency::read(&file, &mut bytes, 5, true) {
///     Ok(9) => assert_eq!(&bytes, b"written, "),
///     other => assert!(matches!(other, Err(Error::Kernel(Errno::OPNOTSUPP)))),
/// }
/// # Ok(())
/// # }
/// ```
pub fn read(
    fd: impl AsFd,
    into: &mut [u8],
    offset: u64,
    reads_ahead: bool,
) -> Result<usize, Error> {
    let fd = fd.as_fd();
    match misses(fd, offset, into.len().max(1) as u64) {
        Some(true) => Err(Error::WouldBlock),
        None if !reads_ahead => Err(Error::Kernel(Errno::PERM)),
        _ => positional::preadv2_nowait(fd, &mut [IoSliceMut::new(into)], offset),
    }
}

/// Whether pages that were counted are there to be read, and none is on its way: a transfer would
/// wait for that one. Who is told their number is told the truth by the map, too.
fn are_read(fd: BorrowedFd<'_>, offset: u64, count: u64) -> Result<bool, Error> {
    if pages(offset, count, page_bytes()) <= PROBED_PAGES_MAX {
        return probe_each(fd, offset, count);
    }
    // The map goes on behind the end of the file, where nothing is in memory.
    let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
    let count = count.min(size.saturating_sub(offset));
    if count == 0 {
        return probe_each(fd, offset, 1);
    }
    match told_by_map(fd, offset, count) {
        // Where reads that do not wait are refused, they are for all who ask.
        Ok(true) => probe_each(fd, offset, 1),
        Ok(false) => Ok(false),
        // It cannot be mapped, or not now.
        Err(_) => probe_each(fd, offset, count),
    }
}

/// Whether one byte of each page of a part can be read without waiting.
fn probe_each(fd: BorrowedFd<'_>, offset: u64, count: u64) -> Result<bool, Error> {
    probe_steps(fd, offset, count, page_bytes())
}

/// The same of each step, and of the last byte.
fn probe_steps(fd: BorrowedFd<'_>, offset: u64, count: u64, step: u64) -> Result<bool, Error> {
    let last = offset + count - 1;
    let mut at = offset;
    loop {
        match positional::probe(fd, at)? {
            Residency::Resident => {}
            Residency::PastEnd => return Ok(true),
            Residency::Cold => return Ok(false),
            Residency::Unknown => return Err(Error::Kernel(Errno::OPNOTSUPP)),
        }
        if at == last {
            return Ok(true);
        }
        at = (at + step).min(last);
    }
}

/// Whether the page cache lacks a page of the part for certain (cachestat). None where the kernel
/// has no such call, or the caller neither owns the file nor may write to it.
fn misses(fd: impl AsFd, offset: u64, count: u64) -> Option<bool> {
    let range = [offset, count];
    // Pages that are there, dirty, being written, evicted, and evicted not long ago.
    let mut told = [0_u64; 5];
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the call reads two and writes five 64-bit numbers, the layouts of `struct
    // cachestat_range` and `struct cachestat`; both arrays outlive it, and the descriptor is open.
    let done =
        unsafe { libc::syscall(SYS_CACHESTAT, fd, range.as_ptr(), told.as_mut_ptr(), 0_u32) };
    let page = page_bytes();
    (done == 0).then(|| told[0] < pages(offset, count, page))
}

/// Whether every page of the part is in memory, read to its end, by a mapping of it.
///
/// # Errors
///
/// [`Error::Kernel`] with EPERM where the kernel would not say: the file is of another user who
/// lets nobody else write to it. ENODEV where it cannot be mapped, ENOMEM, EINVAL.
///
/// ```
/// use pitcrew::techniques::{positional, residency};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// positional::pwrite(&file, b"just written, so in memory", 0)?;
/// assert!(residency::mapped(&file, 0, 26)?);
/// # Ok(())
/// # }
/// ```
pub fn mapped(fd: impl AsFd, offset: u64, count: u64) -> Result<bool, Error> {
    check_offset(offset)?;
    let fd = fd.as_fd();
    if count == 0 {
        return Ok(true);
    }
    if !may_be_asked(fd)? {
        return Err(Error::Kernel(Errno::PERM));
    }
    told_by_map(fd, offset, count)
}

fn told_by_map(fd: BorrowedFd<'_>, offset: u64, count: u64) -> Result<bool, Error> {
    let page = page_bytes();
    let start = offset / page * page;
    let mapping = Mapping::new(fd, start, (offset - start + count) as usize)?;
    Ok(mapping.has(0, pages(offset, count, page) as usize)?)
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

fn pages(offset: u64, count: u64, page: u64) -> u64 {
    (offset + count - 1) / page - offset / page + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::skipped;

    #[test]
    fn what_was_written_is_there_until_it_is_dropped() {
        let scratch = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let path = scratch.path().join("file");
        let bytes = vec![7; 300_000];
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let Ok(true) = read_ahead(&file, 0, 300_000) else {
            return skipped("residency by reads", "this file system does not answer RWF_NOWAIT");
        };
        assert_eq!(mapped(&file, 0, 300_000), Ok(true));
        assert_eq!(mapped(&file, 299_999, 1), Ok(true));
        // A hole in the middle, where no step falls, so that every page counts.
        rustix::fs::fdatasync(&file).unwrap();
        let hole = std::num::NonZeroU64::new(4096);
        rustix::fs::fadvise(&file, 20 * 4096, hole, rustix::fs::Advice::DontNeed).unwrap();
        let dropped = mapped(&file, 20 * 4096, 4096) == Ok(false);
        if dropped {
            assert_eq!(mapped(&file, 0, 300_000), Ok(false));
            assert_eq!(mapped(&file, 0, 20 * 4096), Ok(true));
            assert_eq!(read_ahead(&file, 0, 20 * 4096), Ok(true));
            assert_eq!(read_ahead(&file, 0, 300_000), Ok(false), "the hole is seen");
        }
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        if mapped(&file, 100_000, 1) == Ok(false) {
            assert_eq!(read_ahead(&file, 100_000, 100_000), Ok(false));
            let untouched = misses(&file, 100_000, 1);
            assert_ne!(untouched, Some(false), "to ask has brought nothing in");
        }
    }

    #[test]
    fn a_map_that_is_kept_tells_of_each_page_as_it_is_now() {
        // The page cache keeps and drops pieces (folios) of this size at most as a whole.
        const PIECE: u64 = 2 << 20;
        const BYTES: u64 = 3 * PIECE;
        let scratch = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, vec![7; BYTES as usize]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        rustix::fs::fdatasync(&file).unwrap();
        let kept = Kept::default();
        let there = |offset, count| by_map(&file, &kept, offset, count);
        let mut bytes = vec![0; BYTES as usize];
        // Some kernels let go of what looks idle at any time, so once has to do.
        let mut is_read_and_told = || {
            (0..20).any(|_| {
                positional::pread(&file, &mut bytes, 0).unwrap();
                there(0, BYTES) == Ok(true)
                    && there(BYTES - 1, 10 * 4096) == Ok(true)
                    && quiet(&file, &Kept::default(), 1, BYTES - 1) == Ok(true)
                    && cached(&file, &Kept::default(), 0, BYTES) == Ok(true)
            })
        };
        assert!(is_read_and_told(), "all was just read");
        assert!(matches!(kept.0.get(), Some(Some(_))));
        let hole = std::num::NonZeroU64::new(PIECE);
        rustix::fs::fadvise(&file, PIECE, hole, rustix::fs::Advice::DontNeed).unwrap();
        // What is gone is told; a file system in memory lets go of nothing.
        if there(PIECE, PIECE) == Ok(false) {
            assert_eq!(there(0, BYTES), Ok(false));
            assert_eq!(there(PIECE + 5000, 20_000), Ok(false));
            assert_eq!(quiet(&file, &kept, PIECE + 5000, 20_000), Ok(false));
            assert_eq!(quiet(&file, &Kept::default(), 0, BYTES), Ok(false), "without a map");
            assert_eq!(cached(&file, &kept, PIECE, 1), Ok(false));
        }
        assert_eq!(there(BYTES, 10 * 4096), Ok(true), "behind the end");
        assert!(is_read_and_told(), "all was just read");
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(Map::new(&empty).err(), Some(Error::Kernel(Errno::INVAL)));
    }

    #[test]
    fn the_end_of_a_file_is_as_good_as_there() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::write(&file, b"abc").unwrap();
        for answer in [read_ahead(&file, 3, 10), read_ahead(&file, 1 << 40, 1)] {
            assert!(
                matches!(answer, Ok(true) | Err(Error::Kernel(Errno::OPNOTSUPP))),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_part_touches_every_page_that_it_lies_in() {
        assert_eq!(pages(0, 1, 4096), 1);
        assert_eq!(pages(4095, 2, 4096), 2);
        assert_eq!(pages(4096, 8192, 4096), 2);
    }
}
