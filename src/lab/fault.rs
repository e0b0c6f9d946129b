//! Why the lab, or one lap of it, cannot go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::techniques::direct::DirectError;
use crate::techniques::posix_aio::AioError;
use crate::techniques::{Error, Stopped};

/// Why the lab cannot race.
#[derive(Debug)]
pub enum Fault {
    /// The file or the directory cannot be opened or looked at.
    Open {
        /// As it was named.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is neither a regular file nor a directory.
    NotAFile(PathBuf),
    /// The file has less than one block.
    TooSmall {
        /// As it was named.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// Bytes of a block.
        block: usize,
    },
    /// The file is shorter than the size that was asked for.
    Shorter {
        /// As it was named.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// What was asked for, in bytes.
        wanted: u64,
    },
    /// The file system has no room for the scratch files.
    Full {
        /// The directory.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A scratch file cannot be made or filled.
    Scratch {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// No lap and no technique has this name.
    Unknown {
        /// The name.
        name: String,
    },
    /// Nothing is left to race; each lap that was asked for, with its reason.
    Nothing(Vec<(String, String)>),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, error } => match error.kind() {
                io::ErrorKind::NotFound => write!(
                    out,
                    "'{}' does not exist; name a file to read, a directory to make one in, or \
                     nothing",
                    path.display()
                ),
                io::ErrorKind::PermissionDenied => write!(
                    out,
                    "'{}' may not be read by this user; name another file, or a directory to make \
                     one in",
                    path.display()
                ),
                _ => write!(out, "'{}' cannot be opened: {error}", path.display()),
            },
            Self::NotAFile(path) => write!(
                out,
                "'{}' is neither a regular file nor a directory; the lab reads files",
                path.display()
            ),
            Self::TooSmall { path, size, block } => write!(
                out,
                "'{}' has {size} bytes, less than one block of {block}; name a larger file, or a \
                 smaller --block-size",
                path.display()
            ),
            Self::Shorter { path, size, wanted } => write!(
                out,
                "'{}' has {size} bytes, less than the {wanted} of --size; name a larger file, or a \
                 smaller size",
                path.display()
            ),
            Self::Full { path, needed, free } => write!(
                out,
                "the file system of '{}' has {free} bytes free, and the scratch files need \
                 {needed}; set a smaller --size, or name a directory elsewhere",
                path.display()
            ),
            Self::Scratch { path, error } => write!(
                out,
                "no scratch file can be made in '{}': {error}; name a directory where it can",
                path.display()
            ),
            Self::Unknown { name } => {
                write!(out, "--techniques: there is no lap or technique '{name}'; see --list")
            }
            Self::Nothing(reasons) => {
                write!(out, "none of the laps can be run here")?;
                reasons.iter().try_for_each(|(lap, reason)| write!(out, "\n  {lap}: {reason}"))
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Why a lap did not reach its end.
#[derive(Debug)]
pub struct LapError {
    /// What it was doing, as a system call or as words.
    pub doing: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

impl LapError {
    /// With the kernel's word.
    pub(super) fn new(doing: &'static str, error: impl Into<io::Error>) -> Self {
        Self { doing, error: error.into() }
    }

    /// The input ended before its size.
    pub(super) fn ended(doing: &'static str) -> Self {
        let text = "the file became shorter while it was raced";
        Self::new(doing, io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }

    /// Of a helper that resumes short transfers.
    pub(super) fn stopped(doing: &'static str, stopped: Stopped) -> Self {
        Self::new(doing, stopped.error)
    }

    pub(super) fn direct(doing: &'static str, error: DirectError) -> Self {
        Self::new(doing, io::Error::other(error.to_string()))
    }

    pub(super) fn aio(doing: &'static str, error: AioError) -> Self {
        Self::new(doing, io::Error::other(error.to_string()))
    }

    pub(super) fn plain(doing: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self::new(doing, error)
    }
}

impl fmt::Display for LapError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.doing, self.error)
    }
}

impl std::error::Error for LapError {}
