//! The digest of a whole file.

use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use rustix::fs::{Advice, fadvise, fstatfs};
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use super::GivenUp;
use crate::limits::{DIGEST_READ_BYTES, FOLIO_BYTES_MAX};
use crate::ring::inline::{again_if_interrupted, stat};
use crate::ring::op::Facts;
use crate::sys::residency::residency;

/// Hashes the file by positional reads, and asks afterwards whether it is still the same. Where it
/// `passes`, it leaves nothing in the page cache that was not there before.
pub(super) fn digest(
    file: BorrowedFd<'_>,
    facts: &Facts,
    passes: bool,
    given_up: &GivenUp,
) -> Result<(u32, u128), Errno> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; DIGEST_READ_BYTES.min(facts.size as usize + 1)];
    let mut passage = Passage::new(file, if passes { facts.size } else { 0 });
    let mut offset = 0;
    loop {
        given_up.check()?;
        match again_if_interrupted(|| rustix::io::pread(file, &mut buffer[..], offset))? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
            }
        }
        passage.drop_behind(offset);
        if offset > facts.size {
            return Err(Errno::STALE);
        }
    }
    if offset != facts.size || !stat(file)?.is_still(facts) {
        return Err(Errno::STALE);
    }
    Ok((u32::try_from(offset).unwrap_or(u32::MAX), hasher.digest128()))
}

/// Bytes that are dropped at once, if nothing of them was there.
const WINDOW_BYTES: u64 = DIGEST_READ_BYTES as u64;

/// OVERLAYFS_SUPER_MAGIC, statfs(2).
const OVERLAY: u32 = 0x794c_7630;

fn is_of_overlay(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|told| told.f_type as u32 == OVERLAY)
}

/// A file that is read once, from its begin to its end. It drops what is behind it when it ends
/// early, too.
struct Passage<'a> {
    file: BorrowedFd<'a>,
    /// For each window whether nothing of it was in the page cache before. Where the kernel does
    /// not tell, it may be somebody else's.
    brought: Vec<bool>,
    /// Windows that are behind.
    passed: usize,
    /// Where the run of windows that were brought, up to these, begins.
    run: u64,
}

impl<'a> Passage<'a> {
    /// Asks about all windows first: each read has the kernel read ahead.
    fn new(file: BorrowedFd<'a>, size: u64) -> Self {
        let is_cold = |window: u64| {
            let there = residency(file, window * WINDOW_BYTES, WINDOW_BYTES);
            there.is_ok_and(|there| there.resident == 0)
        };
        // The count of a file of an overlay knows nothing of the pages beneath it.
        let tells = size > 0 && !is_of_overlay(file);
        let windows = if tells { size.div_ceil(WINDOW_BYTES) } else { 0 };
        Self { file, brought: (0..windows).map(is_cold).collect(), passed: 0, run: 0 }
    }

    fn drop_behind(&mut self, offset: u64) {
        while self.passed < self.brought.len() && (self.passed as u64 + 1) * WINDOW_BYTES <= offset
        {
            self.drop_next();
        }
    }

    fn drop_next(&mut self) {
        let end = (self.passed as u64 + 1) * WINDOW_BYTES;
        match self.brought[self.passed] {
            true => {
                // A folio that lies in more windows goes with its last.
                let from = self.run.max((end - 1) / FOLIO_BYTES_MAX * FOLIO_BYTES_MAX);
                // What cannot be dropped stays.
                let _ = fadvise(self.file, from, NonZeroU64::new(end - from), Advice::DontNeed);
            }
            false => self.run = end,
        }
        self.passed += 1;
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        while self.passed < self.brought.len() {
            self.drop_next();
        }
    }
}
