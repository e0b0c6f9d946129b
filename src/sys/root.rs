//! The directory that is served, opened once.
//!
//! Every file is opened beneath this descriptor, so the root stays the same directory when
//! its path is renamed or mounted over. It is an O_PATH descriptor: it holds no file open for
//! reading and needs search permission only.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat};
use rustix::io::Errno;

/// The open root directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens a directory; links on the way are followed.
    ///
    /// # Errors
    /// When it is not there, not a directory, or may not be searched.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let fault = |cause| RootError { path: path.to_owned(), cause };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|errno| fault(errno.into()))?;
        // O_PATH does not ask for permission on the directory itself.
        match accessat(&fd, ".", Access::EXEC_OK, AtFlags::EACCESS) {
            // A kernel or a filter without faccessat2 cannot tell; the first open will.
            Ok(()) | Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(fault(errno.into())),
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The root directory cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootError {
    /// The path as it was given.
    pub path: PathBuf,
    /// Why not.
    pub cause: RootCause,
}

/// Why a directory cannot be the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootCause {
    /// There is nothing of this name, or the path is empty.
    Missing,
    /// It is a file or something else.
    NotADirectory,
    /// This user may not search it, or a directory above it.
    Denied,
    /// Links that point in a circle.
    Loop,
    /// Another answer of the kernel.
    Other(Errno),
}

impl From<Errno> for RootCause {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ACCESS => Self::Denied,
            Errno::LOOP => Self::Loop,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.cause {
            RootCause::Missing => {
                write!(out, "root '{path}' does not exist; create it or name another by --root")
            }
            RootCause::NotADirectory => {
                write!(out, "root '{path}' is not a directory; name the directory that holds it")
            }
            RootCause::Denied => write!(
                out,
                "root '{path}' may not be read by this user; it and the directories above it \
                 need search permission (chmod o+x)"
            ),
            RootCause::Loop => write!(out, "root '{path}' is a link that leads to itself"),
            RootCause::Other(errno) => write!(out, "root '{path}' cannot be opened: {errno}"),
        }
    }
}

impl std::error::Error for RootError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_opens() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(root.path(), dir.path());
        fs::write(dir.path().join("a"), "b").unwrap();
        assert!(openat(&root, "a", OFlags::RDONLY, Mode::empty()).is_ok());
    }

    #[test]
    fn each_cause_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("round", dir.path().join("round")).unwrap();
        let cause = |path: &Path| Root::open(path).unwrap_err().cause;
        assert_eq!(cause(&dir.path().join("none")), RootCause::Missing);
        assert_eq!(cause(&file), RootCause::NotADirectory);
        assert_eq!(cause(&dir.path().join("round")), RootCause::Loop);
        assert_eq!(cause(Path::new("")), RootCause::Missing);
    }

    #[test]
    fn the_text_is_one_line_with_the_path() {
        let text = Root::open(Path::new("/no/such/place")).unwrap_err().to_string();
        assert!(text.contains("'/no/such/place' does not exist"));
        assert!(!text.contains('\n'));
    }
}
