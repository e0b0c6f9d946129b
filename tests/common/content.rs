//! Bytes that any offset can be made again, and hashes over streams of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

/// Bytes moved at a time: 64 KiB keep a body of any size out of memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// Endless content in which every byte depends on the seed and its offset, so that bytes of
/// another file, another offset or another length never pass for the right ones.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    seed: u64,
}

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Fills `into` with the content that begins at `offset`.
    pub fn fill(&self, offset: u64, into: &mut [u8]) {
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let word = self.word(at / 8).to_le_bytes();
            let skip = (at % 8) as usize;
            let count = rest.len().min(8 - skip);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&word[skip..skip + count]);
            rest = later;
            at += count as u64;
        }
    }

    /// The content from `offset` on, `len` bytes of it.
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut made = vec![0; len];
        self.fill(offset, &mut made);
        made
    }

    /// The hash of `len` bytes from `offset` on.
    pub fn digest(&self, offset: u64, len: u64) -> Digest {
        let mut hasher = Xxh3::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(CHUNK_BYTES as u64) as usize;
            self.fill(offset + done, &mut chunk[..count]);
            hasher.update(&chunk[..count]);
            done += count as u64;
        }
        Digest { len, hash: hasher.digest() }
    }

    /// The finalizer of SplitMix64 over seed and index.
    fn word(&self, index: u64) -> u64 {
        let mut mixed = self.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Length and hash of some bytes. Two are equal when the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    pub len: u64,
    pub hash: u64,
}

impl Digest {
    /// Reads `from` to its end.
    pub fn of(mut from: impl Read) -> io::Result<Self> {
        let mut hasher = Xxh3::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut len = 0;
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(Self { len, hash: hasher.digest() }),
                Ok(count) => {
                    hasher.update(&chunk[..count]);
                    len += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The hash of bytes in memory.
pub fn digest_of_bytes(bytes: &[u8]) -> Digest {
    Digest::of(bytes).unwrap()
}

/// The hash of `len` bytes of a file from `offset` on; fails when the file is shorter.
pub fn digest_of_file(path: &Path, offset: u64, len: u64) -> Digest {
    let file = File::open(path).unwrap();
    let mut hasher = Xxh3::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0;
    while done < len {
        let count = (len - done).min(CHUNK_BYTES as u64) as usize;
        file.read_exact_at(&mut chunk[..count], offset + done).unwrap();
        hasher.update(&chunk[..count]);
        done += count as u64;
    }
    Digest { len, hash: hasher.digest() }
}
