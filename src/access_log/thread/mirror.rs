//! Mirrored bodies: their bytes come through the log pipe, become a digest, and are stored where
//! that is asked for.
//!
//! A stored body is called by the process and a number. In a container every process may have the
//! same id, so the time at which it began to store is a part of the name, and one that restarts
//! need not look for what the earlier ones have left. What is there is never overwritten.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::Digest as _;

use super::plumbing::End;
use super::read_exactly;
use crate::access_log::options::{Digest, Options};
use crate::access_log::stats::Stats;
use crate::limits::MIRROR_NAMES_MAX;

/// A body under way.
struct Stream {
    hasher: Hasher,
    file: Option<(File, PathBuf)>,
}

enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

/// Bodies that were stored in this process, by the logs of all its configurations.
static STORED: AtomicU64 = AtomicU64::new(0);

/// What their names begin with.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), since.as_micros())
});

/// See the module.
pub(super) struct Mirrors {
    /// By the pipe of the worker and its number there.
    streams: HashMap<(i32, u32), Stream>,
    options: Option<Arc<Options>>,
    stats: Arc<Stats>,
    buffer: Vec<u8>,
    told: bool,
}

impl Mirrors {
    pub(super) fn new(options: &Arc<Options>, stats: &Arc<Stats>) -> Self {
        Self { options: Some(Arc::clone(options)), ..Self::none(stats) }
    }

    /// For a thread that gets none.
    pub(super) fn none(stats: &Arc<Stats>) -> Self {
        let (streams, stats) = (HashMap::new(), Arc::clone(stats));
        Self { streams, options: None, stats, buffer: Vec::new(), told: false }
    }

    /// Takes a piece of a body out of the pipe.
    pub(super) fn take(&mut self, pipe: &impl End, stream: u32, length: usize) {
        self.buffer.clear();
        if read_exactly(pipe, &mut self.buffer, length).is_err() {
            return;
        }
        let Some(options) = self.options.clone() else { return };
        let key = (pipe.number(), stream);
        if !self.streams.contains_key(&key) {
            let made = Stream { hasher: Hasher::new(options.mirror.digest), file: self.store() };
            self.streams.insert(key, made);
        }
        let one = self.streams.get_mut(&key).expect("it was just put there");
        one.hasher.update(&self.buffer);
        if let Some((file, path)) = &mut one.file
            && let Err(error) = file.write_all(&self.buffer)
        {
            let _ = fs::remove_file(&*path);
            one.file = None;
            self.tell(&error);
        }
    }
}

impl Mirrors {
    /// A file for the next body; what is not whole has a name of its own.
    fn store(&mut self) -> Option<(File, PathBuf)> {
        let directory = self.options.as_ref()?.mirror.store.as_ref()?;
        match create(directory) {
            Ok(made) => Some(made),
            Err(error) => {
                self.tell(&error);
                None
            }
        }
    }

    /// A body is not stored.
    fn tell(&mut self, error: &io::Error) {
        self.stats.mirror_unstored.add(1);
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(
                %error,
                "a mirrored body cannot be stored; this is said once, and counted \
                 (access_log.mirror_unstored)"
            );
        }
    }

    /// The digest of a body that has ended, and where it is stored.
    pub(super) fn end_of(&mut self, pipe: &impl End, stream: u32) -> String {
        let Some(Stream { hasher, file }) = self.streams.remove(&(pipe.number(), stream)) else {
            return String::new();
        };
        let mut word = hasher.finish();
        if let Some((_, path)) = file {
            let whole = path.with_extension("body");
            match rename(&path, &whole) {
                Ok(()) => {
                    word.push(':');
                    word.push_str(&whole.file_name().unwrap_or_default().to_string_lossy());
                }
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    self.tell(&error);
                }
            }
        }
        word
    }

    /// What never ended is not left behind.
    pub(super) fn end(&mut self) {
        for (_, stream) in self.streams.drain() {
            if let Some((_, path)) = stream.file {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn create(directory: &Path) -> io::Result<(File, PathBuf)> {
    for _ in 0..MIRROR_NAMES_MAX {
        let number = STORED.fetch_add(1, Ordering::Relaxed) + 1;
        let path = directory.join(format!("{}-{number}.part", *PROCESS));
        match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (file, path)),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Gives a file another name, which nothing has.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // EINVAL: the file system cannot, as NFS. A link is never made over something else either.
        Err(Errno::INVAL) => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
        other => other.map_err(io::Error::from),
    }
}

impl Hasher {
    fn new(digest: Digest) -> Self {
        match digest {
            Digest::Blake3 => Self::Blake3(Box::default()),
            Digest::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Blake3(hasher) => format!("blake3={}", hasher.finalize().to_hex()),
            Self::Sha256(hasher) => {
                let hex: String =
                    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha256={hex}")
            }
        }
    }
}
