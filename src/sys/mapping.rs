//! A file in the address space (mmap(2)), read by copying out of it, and which of its pages are
//! in memory (mincore(2)).
#![allow(unsafe_code)]

use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The first bytes of a file, mapped for reading and shared with the page cache.
///
/// The bytes are given out as copies only: another process may change the file at any time, so a
/// reference to them would be a promise that nobody keeps. If the file is cut below the mapping
/// while it is read, the kernel ends the process by SIGBUS; map files that nobody cuts.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process and is only read, by copies, and only unmapped by
// the drop of its one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `length` bytes from `offset` on, which is a multiple of the page size.
    ///
    /// # Errors
    /// Those of mmap(2): ENODEV where the file system has no mappings, ENOMEM; EINVAL for a length
    /// of 0.
    pub fn new(file: impl AsFd, offset: u64, length: usize) -> Result<Self> {
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place (no MAP_FIXED), so nothing that is there is lost.
        let address = unsafe { mmap(ptr::null_mut(), length, read, shared, file, offset) }?;
        let address = NonNull::new(address.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { address, length })
    }

    /// Copies bytes from `offset` of the mapping on.
    ///
    /// # Panics
    /// When they do not all lie in the mapping.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let end = offset.checked_add(into.len()).expect("an end is an address");
        assert!(end <= self.length, "bytes {offset}..{end} of a mapping of {}", self.length);
        // SAFETY: the assertion says that `offset` is at most the length of the mapping.
        let from = unsafe { self.address.as_ptr().add(offset) };
        // SAFETY: as asserted the source lies in the mapping, which is readable as long as `self`
        // is there; the target is a slice of its own, as the mapping is never lent out.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    /// Whether so many pages from one on are in memory, each read to its end.
    ///
    /// # Errors
    /// Those of mincore(2).
    ///
    /// # Panics
    /// When they do not all lie in the mapping.
    pub fn has(&self, first: usize, count: usize) -> Result<bool> {
        let page = rustix::param::page_size();
        let end = first.checked_add(count).expect("an end is a page");
        let pages = self.length.div_ceil(page);
        assert!(end <= pages, "pages {first}..{end} of a mapping of {pages}");
        let mut told = [0; 512];
        let mut at = first;
        while at < end {
            let some = (end - at).min(told.len());
            // SAFETY: the assertion says that the page begins in the mapping.
            let address = unsafe { self.address.as_ptr().add(at * page) };
            // SAFETY: so many pages lie in the mapping, the last one cut short by the end of its
            // file at most, and the array has a byte for each.
            if unsafe { libc::mincore(address.cast(), some * page, told.as_mut_ptr()) } != 0 {
                return Err(last_errno());
            }
            if told[..some].iter().any(|page| page & 1 == 0) {
                return Ok(false);
            }
            at += some;
        }
        Ok(true)
    }

    /// How many of its pages are in memory.
    ///
    /// # Errors
    /// Those of mincore(2).
    pub fn resident_pages(&self, page_bytes: usize) -> Result<u64> {
        let mut pages = vec![0u8; self.length.div_ceil(page_bytes)];
        let (address, length) = (self.address.as_ptr().cast(), self.length);
        // SAFETY: the address is the start of a mapping of that length, and the vector has a byte
        // for each of its pages.
        let failed = unsafe { libc::mincore(address, length, pages.as_mut_ptr()) } != 0;
        if failed {
            return Err(last_errno());
        }
        Ok(pages.iter().map(|page| u64::from(page & 1)).sum())
    }
}

fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, nothing refers into it, and it
        // is not used again.
        let unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.length) };
        debug_assert_eq!(unmapped, Ok(()), "a whole mapping of our own can be unmapped");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_out_of_the_file() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let bytes = std::fs::read("Cargo.toml").unwrap();
        let mapping = Mapping::new(&file, 0, bytes.len()).unwrap();
        let mut part = vec![0; bytes.len() - 7];
        mapping.copy_out(7, &mut part);
        assert_eq!(part, bytes[7..]);
        assert_eq!(mapping.resident_pages(4096).unwrap(), bytes.len().div_ceil(4096) as u64);
        assert_eq!(Mapping::new(&file, 0, 0).unwrap_err(), Errno::INVAL);
    }

    #[test]
    #[should_panic(expected = "of a mapping of 10")]
    fn bytes_beyond_the_mapping_are_refused() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        Mapping::new(&file, 0, 10).unwrap().copy_out(8, &mut [0; 3]);
    }
}
