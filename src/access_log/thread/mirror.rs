//! Mirrored bodies: their bytes come through the log pipe, become a digest, and are stored where
//! that is asked for.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::Digest as _;

use super::read_exactly;
use crate::access_log::options::{Digest, Options};

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

/// See the module.
pub(super) struct Mirrors {
    /// By the pipe of the worker and its number there.
    streams: HashMap<(RawFd, u32), Stream>,
    options: Option<Arc<Options>>,
    buffer: Vec<u8>,
    told: bool,
}

impl Mirrors {
    pub(super) fn new(options: &Arc<Options>) -> Self {
        Self { options: Some(Arc::clone(options)), ..Self::none() }
    }

    /// For a thread that gets none.
    pub(super) fn none() -> Self {
        Self { streams: HashMap::new(), options: None, buffer: Vec::new(), told: false }
    }

    /// Takes a piece of a body out of the pipe.
    pub(super) fn take(&mut self, pipe: &OwnedFd, stream: u32, length: usize) {
        self.buffer.clear();
        if read_exactly(pipe, &mut self.buffer, length).is_err() {
            return;
        }
        let Some(options) = self.options.clone() else { return };
        let key = (pipe.as_raw_fd(), stream);
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
        loop {
            let number = STORED.fetch_add(1, Ordering::Relaxed) + 1;
            let name = directory.join(format!("{}-{number}", std::process::id()));
            let path = name.with_extension("part");
            // In a container every process may have the same number: what is there is passed over.
            if name.with_extension("body").exists() {
                continue;
            }
            match File::create_new(&path) {
                Ok(file) => return Some((file, path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    self.tell(&error);
                    return None;
                }
            }
        }
    }

    fn tell(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(%error, "a mirrored body cannot be stored; this is said once");
        }
    }

    /// The digest of a body that has ended, and where it is stored.
    pub(super) fn end_of(&mut self, pipe: &OwnedFd, stream: u32) -> String {
        let Some(Stream { hasher, file }) = self.streams.remove(&(pipe.as_raw_fd(), stream)) else {
            return String::new();
        };
        let mut word = hasher.finish();
        if let Some((_, path)) = file {
            let whole = path.with_extension("body");
            if fs::rename(&path, &whole).is_ok()
                && let Some(name) = whole.file_name()
            {
                word.push(':');
                word.push_str(&name.to_string_lossy());
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
