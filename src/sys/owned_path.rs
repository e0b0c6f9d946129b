//! The path of a unix socket, and whose it is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The path of a unix socket, which is removed when it is still the one that was bound.
#[derive(Debug)]
pub(super) struct OwnedPath {
    path: PathBuf,
    /// None once it belongs to somebody else.
    identity: Option<(u64, u64)>,
}

impl OwnedPath {
    pub(super) fn of(path: &Path) -> Option<Self> {
        Some(Self { path: std::path::absolute(path).ok()?, identity: Some(identity(path)?) })
    }

    /// What will show whether it was left behind.
    pub(super) fn trace(&self) -> Option<Trace> {
        Some(Trace { path: self.path.clone(), identity: self.identity? })
    }

    /// It belongs to somebody else from now on.
    pub(super) fn leave(mut self) {
        self.identity = None;
    }
}

/// A path as it was while it was owned.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    identity: (u64, u64),
}

impl Trace {
    /// The path, if what it led to is still there.
    pub fn left(&self) -> Option<&Path> {
        (identity(&self.path) == Some(self.identity)).then_some(&self.path)
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // Another server may have put its own socket there since.
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}
