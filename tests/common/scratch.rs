//! Trees that a test serves and then forgets.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::content::Pattern;

/// A directory below the target directory, which is on a disk (`/tmp` may be in memory, where
/// direct I/O is refused). It is removed when the value is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("scratch-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a scratch directory can be made below the target directory");
        Self { directory }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path below the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file and the directories above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.prepared(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a file of `len` bytes of the pattern with this seed.
    pub fn pattern(&self, name: &str, seed: u64, len: u64) -> PathBuf {
        let path = self.prepared(name);
        write_pattern(&path, seed, len);
        path
    }

    /// Makes a file of `len` bytes that is a hole but for islands of the pattern, each given by
    /// offset and length.
    pub fn sparse(&self, name: &str, seed: u64, len: u64, islands: &[(u64, usize)]) -> PathBuf {
        let path = self.prepared(name);
        let file = File::create(&path).unwrap();
        file.set_len(len).unwrap();
        for &(offset, island_len) in islands {
            assert!(offset + island_len as u64 <= len, "the island lies in the file");
            file.write_all_at(&Pattern::new(seed).bytes(offset, island_len), offset).unwrap();
        }
        path
    }

    fn prepared(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

fn write_pattern(path: &Path, seed: u64, len: u64) {
    let pattern = Pattern::new(seed);
    let mut file = File::create(path).unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut done = 0;
    while done < len {
        let count = (len - done).min(chunk.len() as u64) as usize;
        pattern.fill(done, &mut chunk[..count]);
        file.write_all(&chunk[..count]).unwrap();
        done += count as u64;
    }
}
