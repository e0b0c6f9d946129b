//! What is wrong, and where it was written.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nowhere.
    Default,
    /// In a file. Lines and columns count from 1, columns in characters.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The place, unless the file as a whole is meant.
        place: Option<(usize, usize)>,
    },
    /// In this variable of the environment.
    Environment(String),
    /// In this argument of the command line: `--engine` or `ROOT`.
    Flag(String),
}

impl Source {
    /// The file as a whole.
    pub fn file(path: &Path) -> Self {
        Self::File { path: path.to_owned(), place: None }
    }

    /// Whether it is the command line, whose mistakes have their own exit code.
    pub fn is_flag(&self) -> bool {
        matches!(self, Self::Flag(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::Environment(name) | Self::Flag(name) => out.write_str(name),
            Self::File { path, place } => {
                // A name of a file may hold a line break; the text is one line.
                let name = path.to_string_lossy().replace(char::is_control, "?");
                match place {
                    Some((line, column)) => write!(out, "{name}:{line}:{column}"),
                    None => out.write_str(&name),
                }
            }
        }
    }
}

/// One thing that is wrong, as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// What, and how to put it right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.source, self.message.replace(char::is_control, "?"))
    }
}
