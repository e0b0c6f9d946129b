//! Why the program ends before it is through.

use std::fmt;
use std::io;

/// Why this program ends before it is through.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be.
    Usage(String),
    /// A program is missing, and how it is installed.
    Missing(String),
    /// Something went wrong.
    Io(String, io::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Missing(_) => 3,
            Self::Io(_, error) if error.kind() == io::ErrorKind::Interrupted => 130,
            Self::Io(..) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Missing(text) => out.write_str(text),
            Self::Io(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

/// Names what failed.
pub(crate) fn during<T>(what: &str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Io(what.to_owned(), error))
}
