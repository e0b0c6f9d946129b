//! The digest of a whole file.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use super::GivenUp;
use crate::limits::DIGEST_READ_BYTES;
use crate::ring::inline::{again_if_interrupted, stat};
use crate::ring::op::Facts;

/// Hashes the file by positional reads, and asks afterwards whether it is still the same.
pub(super) fn digest(
    file: BorrowedFd<'_>,
    facts: &Facts,
    given_up: &GivenUp,
) -> Result<(u32, u128), Errno> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; DIGEST_READ_BYTES.min(facts.size as usize + 1)];
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
        if offset > facts.size {
            return Err(Errno::STALE);
        }
    }
    if offset != facts.size || !stat(file)?.is_still(facts) {
        return Err(Errno::STALE);
    }
    Ok((u32::try_from(offset).unwrap_or(u32::MAX), hasher.digest128()))
}
