//! What the device can do: reads of the same files past the page cache, in the same run.

use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::fs::OFlags;
use serde::Serialize;

use crate::site::{Dice, Site};

/// Bytes of one read at most.
const BLOCK_BYTES: u64 = 1 << 20;
/// What every device aligns reads to.
const ALIGNMENT: usize = 4096;
/// Threads at least, each with one read in flight: few connections with long files do not keep a
/// device busy, and what it can do is what is asked for.
const DEPTH_MIN: u32 = 16;

/// What a device gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ceiling {
    pub(crate) bytes_per_second: f64,
    pub(crate) reads_per_second: f64,
    /// Reads in flight.
    pub(crate) depth: u32,
}

/// Reads every file once with O_DIRECT, in random order, by a thread for each connection. None
/// where the file system has no such reads.
pub(crate) fn measure(
    site: &Site,
    connections: u32,
    number: u32,
    interrupted: &AtomicBool,
) -> io::Result<Option<Ceiling>> {
    let depth = connections.max(DEPTH_MIN);
    let mut parts = Vec::new();
    for index in Dice::new(u64::from(number) + 1).shuffled(site.files()) {
        let size = site.size(index);
        parts.extend((0..size.div_ceil(BLOCK_BYTES)).map(|block| (index, block * BLOCK_BYTES)));
    }
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let read: Vec<io::Result<u64>> = std::thread::scope(|scope| {
        let one = || read_parts(site, &parts, &next, interrupted);
        let threads: Vec<_> = (0..depth).map(|_| scope.spawn(one)).collect();
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.map(|end| end.expect("a reader does not panic")).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut bytes = 0;
    for one in read {
        match one {
            Ok(count) => bytes += count,
            // open(2): a file system without O_DIRECT, or one that wants another alignment.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let reads_per_second = parts.len() as f64 / seconds;
    Ok(Some(Ceiling { bytes_per_second: bytes as f64 / seconds, reads_per_second, depth }))
}

fn read_parts(
    site: &Site,
    parts: &[(u32, u64)],
    next: &AtomicUsize,
    interrupted: &AtomicBool,
) -> io::Result<u64> {
    // Cut from a longer one, so that it begins where a device wants it.
    let mut memory = vec![0; BLOCK_BYTES as usize + ALIGNMENT];
    let skipped = memory.as_ptr().align_offset(ALIGNMENT);
    let block = &mut memory[skipped..skipped + BLOCK_BYTES as usize];
    let mut bytes = 0;
    while let Some(&(index, offset)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        let path = site.root().join(&Site::target(index)[1..]);
        let flags = OFlags::DIRECT.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let wanted = (site.size(index) - offset).min(BLOCK_BYTES);
        let room = wanted.next_multiple_of(ALIGNMENT as u64) as usize;
        let count = file.read_at(&mut block[..room], offset)? as u64;
        if count < wanted {
            return Err(Error::new(ErrorKind::UnexpectedEof, "a direct read was short"));
        }
        bytes += wanted;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Scenario, Sizes};
    use crate::site::Scratch;

    #[test]
    fn every_byte_is_read_once_or_the_file_system_cannot() {
        // Beside the build, which is not in memory on most machines.
        let own = std::env::current_exe().unwrap();
        let scratch = Scratch::new(own.parent().unwrap()).unwrap();
        let mut scenario = Scenario::find("cold_large").unwrap();
        (scenario.files, scenario.file_bytes) = (3, Sizes::All(BLOCK_BYTES + 1001));
        let site = Site::new(&scratch, &scenario).unwrap();
        match measure(&site, 1, 1, &AtomicBool::new(false)).unwrap() {
            Some(ceiling) => {
                assert_eq!(ceiling.depth, DEPTH_MIN);
                let each = ceiling.bytes_per_second / ceiling.reads_per_second;
                assert!((each - 3.0 * (BLOCK_BYTES + 1001) as f64 / 6.0).abs() < 1.0, "{each}");
            }
            None => {
                println!("SKIPPED the device's ceiling: no O_DIRECT here");
                assert!(std::env::var_os("CI").is_none(), "no O_DIRECT beside the build");
            }
        }
        let stopped = measure(&site, 1, 1, &AtomicBool::new(true));
        assert!(stopped.is_err_and(|error| error.kind() == ErrorKind::Interrupted));
    }
}
