//! The path of a unix socket, and whose it is.
//!
//! What is removed was a socket when it became owned, bound to that very path, and still is the
//! same one: another process says which paths it listens on when it hands them over, and may lie.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use socket2::SockRef;

/// The path of a unix socket, which is removed when it is still the one that was bound.
#[derive(Debug)]
pub(super) struct OwnedPath {
    path: PathBuf,
    identity: (u64, u64),
    /// False while, or once, it belongs to somebody else.
    owned: AtomicBool,
}

impl OwnedPath {
    /// The path that a socket is bound to; none if it is bound elsewhere, or if something else is
    /// there by now.
    pub(super) fn of(socket: &impl AsFd, path: &Path) -> Option<Self> {
        let name = SockRef::from(socket).local_addr().ok()?;
        if name.as_pathname()?.as_os_str() != path.as_os_str() {
            return None;
        }
        let path = std::path::absolute(path).ok()?;
        let identity = identity(&path)?;
        Some(Self { path, identity, owned: AtomicBool::new(true) })
    }

    /// What will show whether it was left behind.
    pub(super) fn trace(&self) -> Option<Trace> {
        let owned = self.owned.load(Ordering::Relaxed);
        owned.then(|| Trace { path: self.path.clone(), identity: self.identity })
    }

    /// Says whether it belongs to this process.
    pub(super) fn set_owned(&self, owned: bool) {
        self.owned.store(owned, Ordering::Relaxed);
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

/// The socket at a path, by what it is.
fn identity(path: &Path) -> Option<(u64, u64)> {
    found(CWD, path.as_os_str()).ok()
}

fn found(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<(u64, u64)> {
    let facts = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(facts.st_mode) {
        FileType::Socket => Ok((facts.st_dev, facts.st_ino)),
        _ => Err(Errno::NOTSOCK),
    }
}

/// Removes a unix socket and nothing else of that name: the one of this identity, or any. The
/// directory is opened first, so that none of another place takes its name meanwhile.
///
/// # Errors
/// ENOTSOCK for something else, ESTALE for another socket; those of unlinkat(2).
fn remove(path: &Path, wanted: Option<(u64, u64)>) -> rustix::io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NOTSOCK);
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, parent, flags, Mode::empty())?;
    let is_there = found(&directory, name)?;
    if wanted.is_some_and(|wanted| wanted != is_there) {
        return Err(Errno::STALE);
    }
    unlinkat(&directory, name, AtFlags::empty())
}

/// Removes the path of a unix socket, whoever listens there.
///
/// # Errors
/// ENOTSOCK for something else; those of unlinkat(2).
pub fn remove_socket(path: &Path) -> std::io::Result<()> {
    Ok(remove(path, None)?)
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if *self.owned.get_mut() {
            // Another server may have put its own socket there since.
            let _ = remove(&self.path, Some(self.identity));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_path_is_owned_by_the_socket_that_is_bound_to_it_and_by_no_other() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("precious"), "x").unwrap();
        let socket = UnixListener::bind(at("socket")).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(OwnedPath::of(&socket, &at("precious")).is_none());
        assert!(OwnedPath::of(&tcp, &at("socket")).is_none());
        // Bound to it, and moved away since: what has its name now is nobody's.
        let moved = UnixListener::bind(at("moved")).unwrap();
        fs::rename(at("moved"), at("aside")).unwrap();
        fs::rename(at("precious"), at("moved")).unwrap();
        assert!(OwnedPath::of(&moved, &at("moved")).is_none());
        drop(OwnedPath::of(&socket, &at("socket")).unwrap());
        assert!(!at("socket").exists() && at("moved").exists());
    }

    #[test]
    fn what_took_the_place_of_a_socket_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("socket");
        let socket = UnixListener::bind(&path).unwrap();
        let owned = OwnedPath::of(&socket, &path).unwrap();
        owned.set_owned(false);
        drop(owned);
        assert!(path.exists(), "it was not owned");
        let owned = OwnedPath::of(&socket, &path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x").unwrap();
        drop(owned);
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert!(remove_socket(&path).is_err() && path.exists());
    }
}
