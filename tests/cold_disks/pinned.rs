//! A file that stays in memory whatever the kernel would rather have there: some have pages that
//! look idle go although memory is free (DAMON), and a test of what is resident needs them.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::path::Path;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// All of a file, read and locked in memory for as long as the value lives.
pub(crate) struct Pinned {
    at: *mut c_void,
    bytes: usize,
}

impl Pinned {
    pub(crate) fn new(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let (read, flags) = (ProtFlags::READ, MapFlags::SHARED | MapFlags::LOCKED);
        // SAFETY: the kernel chooses the place, so that no mapping of anybody else is touched.
        let at = unsafe { mmap(std::ptr::null_mut(), bytes, read, flags, &file, 0) };
        Self { at: at.unwrap(), bytes }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nobody else knows of it.
        let _ = unsafe { munmap(self.at, self.bytes) };
    }
}
