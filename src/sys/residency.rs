//! How much of a file is in the page cache: cachestat(2), and mincore(2) before Linux 6.5.
//!
//! Both tell the owner of a file and who may write to it. To everybody else cachestat says EPERM,
//! and mincore says that all is there, so it is not asked then.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, StatxFlags, fstat, statx};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::mapping::Mapping;

/// Pages of a part of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// Pages that are in memory.
    pub resident: u64,
    /// All pages of the part.
    pub pages: u64,
}

impl Residency {
    /// The part in memory, from 0 to 1; 1 for a part without pages.
    pub fn share(self) -> f64 {
        if self.pages == 0 { 1.0 } else { self.resident as f64 / self.pages as f64 }
    }
}

/// Asks for `length` bytes of a file from `offset` on; what lies behind its end does not count.
///
/// # Errors
/// Where neither call is there or allowed: ENOSYS, EPERM (the file is another user's), EOPNOTSUPP
/// (hugetlbfs), ENODEV.
pub fn residency(file: impl AsFd, offset: u64, length: u64) -> Result<Residency> {
    let file = file.as_fd();
    let page = rustix::param::page_size() as u64;
    let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let end = offset.saturating_add(length).min(size);
    let start = offset - offset % page;
    if end <= start {
        return Ok(Residency::default());
    }
    let pages = (end - start).div_ceil(page);
    let resident = match by_cachestat(file, start, pages * page) {
        // Kernels before 6.5, and filters that do not know the call.
        Err(errno @ (Errno::NOSYS | Errno::PERM | Errno::ACCESS)) => {
            if !may_be_asked(file)? {
                return Err(if errno == Errno::NOSYS { Errno::PERM } else { errno });
            }
            by_mincore(file, start, end, page)?
        }
        answer => answer?,
    };
    // A file that grew between the calls has more.
    Ok(Residency { resident: resident.min(pages), pages })
}

/// Whether mincore(2) tells the truth of a file: it says that all is there to who is not its owner
/// and may not write to it (since Linux 5.2).
///
/// # Errors
/// Those of statx(2).
pub fn may_be_asked(file: impl AsFd) -> Result<bool> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let owner = statx(file, c"", flags, StatxFlags::UID)?.stx_uid;
    if owner == geteuid().as_raw() {
        return Ok(true);
    }
    let may = capabilities(None).map(|sets| sets.effective);
    Ok(may.is_ok_and(|may| may.contains(CapabilitySet::FOWNER)))
}

/// The kernel's struct cachestat_range.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// The kernel's struct cachestat.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// The number of the call, the same on every architecture that Rust has a Linux for; libc names it
/// for few of them.
const CACHESTAT: libc::c_long = 451;

fn by_cachestat(file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<u64> {
    let range = Range { offset, length };
    let mut counts = Counts::default();
    let (range, told) = (&raw const range, &raw mut counts);
    // SAFETY: both structures have the layout of the kernel's and live beyond the call, which
    // reads the one, writes the other and keeps no pointer.
    let failed = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range, told, 0) };
    if failed != 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::NOSYS));
    }
    Ok(counts.cached)
}

/// Bytes that are mapped at once: their pages take 64 KiB of answers.
const WINDOW_BYTES: u64 = 256 << 20;

fn by_mincore(file: BorrowedFd<'_>, start: u64, end: u64, page: u64) -> Result<u64> {
    let mut resident = 0;
    let mut at = start;
    while at < end {
        let length = (end - at).min(WINDOW_BYTES);
        resident += Mapping::new(file, at, length as usize)?.resident_pages(page as usize)?;
        at += length;
    }
    Ok(resident)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::skipped;

    #[test]
    fn a_file_just_written_is_in_memory_by_both_calls() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::write(&file, &[7; 10_000]).unwrap();
        let told = residency(&file, 0, u64::MAX).unwrap();
        assert_eq!(told, Residency { resident: 3, pages: 3 });
        assert_eq!(by_mincore(file.as_fd(), 0, 10_000, 4096), Ok(3));
        assert_eq!(residency(&file, 5000, 100).unwrap().pages, 1);
        assert_eq!(residency(&file, 20_000, 100).unwrap().share(), 1.0);
    }

    #[test]
    fn of_a_file_of_another_user_nothing_is_told() {
        if !geteuid().is_root() {
            return skipped("a file of another user", "only root can give one away");
        }
        // Capabilities are a thread's own.
        let asking = std::thread::spawn(|| {
            let file = tempfile::tempfile().unwrap();
            rustix::io::write(&file, &[7; 10_000]).unwrap();
            let nobody = Some(rustix::fs::Uid::from_raw(65534));
            rustix::fs::fchown(&file, nobody, None).unwrap();
            let file = std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            let privileged = residency(&file, 0, u64::MAX);
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::FOWNER | CapabilitySet::DAC_OVERRIDE);
            rustix::thread::set_capabilities(None, sets).unwrap();
            (privileged, residency(&file, 0, u64::MAX), may_be_asked(&file))
        });
        let (privileged, plain, asked) = asking.join().unwrap();
        assert_eq!(privileged, Ok(Residency { resident: 3, pages: 3 }));
        assert_eq!((plain, asked), (Err(Errno::PERM), Ok(false)));
    }
}
