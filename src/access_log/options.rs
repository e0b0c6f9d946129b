//! What the access log is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use super::template::{Template, TemplateError};
pub use crate::http::glob::Glob;
use crate::http::status::Status;
pub use crate::limits::LOG_SINKS_MAX as SINKS_MAX;
use crate::limits::{LOG_BUFFER, LOG_FLUSH, LOG_SAMPLE, LOG_WAIT, MIRROR_SAMPLE};

/// Everything about the access log. Without sinks there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where records go, each to every one; [`SINKS_MAX`] at most.
    pub sinks: Vec<Place>,
    /// How a record is written.
    pub format: Template,
    /// One of so many records is kept, those that are left out for another reason not counted.
    pub sample: u64,
    /// Which statuses are recorded; empty is all.
    pub statuses: Vec<StatusClass>,
    /// Which paths are recorded; empty is all.
    pub paths: Vec<Glob>,
    /// What happens to a record that finds no room.
    pub full: Full,
    /// How long a request waits for room, with [`Full::Wait`].
    pub wait: Duration,
    /// Bytes of records that one worker keeps while its pipe is full; with half of it they are
    /// handed on.
    pub buffer: usize,
    /// How long a record stays in its worker's buffer at most.
    pub flush: Duration,
    /// What must be on the device before a record counts as durable.
    pub durability: Durability,
    /// When files are archived.
    pub rotation: Rotation,
    /// Bodies that are mirrored into the log.
    pub mirror: Mirror,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sinks: Vec::new(),
            format: Template::named("combined").expect("it is built in"),
            sample: LOG_SAMPLE,
            statuses: Vec::new(),
            paths: Vec::new(),
            full: Full::Drop,
            wait: LOG_WAIT,
            buffer: LOG_BUFFER,
            flush: LOG_FLUSH,
            durability: Durability::None,
            rotation: Rotation::default(),
            mirror: Mirror::default(),
        }
    }
}

impl Options {
    /// Whether there is an access log.
    pub fn is_on(&self) -> bool {
        !self.sinks.is_empty()
    }
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The standard output.
    Stdout,
    /// A file, a FIFO or a device.
    Path(PathBuf),
    /// The standard input of a program, run by the shell and started again when it ends.
    Program(String),
}

impl Place {
    /// Reads `stdout`, a path, or a command behind a bar.
    ///
    /// # Errors
    /// A sentence, for a command that is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('|').map(str::trim) {
            Some("") => Err("a command follows the bar, as '|logger -t pitcrew'".to_owned()),
            Some(command) => Ok(Self::Program(command.to_owned())),
            None if text.is_empty() => Err("an empty path names nothing".to_owned()),
            None if text == "stdout" || text == "-" => Ok(Self::Stdout),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => out.write_str("stdout"),
            Self::Path(path) => path.display().fmt(out),
            Self::Program(command) => write!(out, "|{command}"),
        }
    }
}

/// One status, or a hundred of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// This status.
    One(u16),
    /// All that begin with this digit.
    Class(u16),
}

impl StatusClass {
    /// Reads `404` or `4xx`.
    ///
    /// # Errors
    /// A sentence, for what is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no status; write one such as 404, or a class: 4xx");
        if let Some(digit) = text.strip_suffix("xx") {
            let digit = digit.parse().ok().filter(|digit| (1..=5).contains(digit));
            return digit.map(Self::Class).ok_or_else(wrong);
        }
        let code = text.parse().ok().filter(|code| (100..600).contains(code) && text.len() == 3);
        code.map(Self::One).ok_or_else(wrong)
    }

    pub(super) fn has(self, status: Status) -> bool {
        match self {
            Self::One(code) => status.code() == code,
            Self::Class(digit) => status.code() / 100 == digit,
        }
    }
}

impl fmt::Display for StatusClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(code) => write!(out, "{code}"),
            Self::Class(digit) => write!(out, "{digit}xx"),
        }
    }
}

/// A choice with names.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// Every choice, in the order of the help.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in options and configuration.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

choice! {
    /// What happens to a record that finds no room.
    Full {
        /// It is dropped and counted, and the log says later how many are missing.
        #[default]
        Drop = "drop",
        /// Requests wait for room, for a bounded time.
        Wait = "wait",
    }
}

choice! {
    /// What must be on the device when a write to a log file returns.
    Durability {
        /// Nothing: the kernel writes it when it pleases.
        #[default]
        None = "none",
        /// The records and what is needed to read them back (O_DSYNC).
        Data = "data",
        /// That and all that is known of the file (O_SYNC).
        Full = "full",
    }
}

choice! {
    /// How an archive is made.
    Archive {
        /// The file gets another name, and a new one is begun.
        #[default]
        Rename = "rename",
        /// Its content is copied inside the kernel, shared where the file system can, and the
        /// file is emptied: it stays the same file for whoever reads it.
        Copy = "copy",
    }
}

/// When a log file is archived, and what becomes of the archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// At so many bytes; 0 is never.
    pub size: u64,
    /// After such a time, counted by the wall clock in UTC; 0 is never.
    pub every: Duration,
    /// How.
    pub archive: Archive,
    /// Whether archives are compressed.
    pub compress: bool,
    /// How many archives are kept; 0 is all.
    pub keep: usize,
}

choice! {
    /// How mirrored bodies are told apart.
    Digest {
        /// BLAKE3.
        #[default]
        Blake3 = "blake3",
        /// SHA-256.
        Sha256 = "sha256",
    }
}

/// Which bodies are mirrored, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Paths; none is nothing.
    pub paths: Vec<Glob>,
    /// One of so many of them.
    pub sample: u64,
    /// The digest that goes into the record.
    pub digest: Digest,
    /// Where bodies are stored.
    pub store: Option<PathBuf>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { paths: Vec::new(), sample: MIRROR_SAMPLE, digest: Digest::Blake3, store: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back() {
        for text in ["stdout", "/var/log/a.log", "a.log", "|cat > b"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Place::parse("-"), Ok(Place::Stdout));
        assert!(Place::parse("| ").is_err() && Place::parse("").is_err());
    }

    #[test]
    fn statuses_are_one_or_a_class() {
        let of = |text| StatusClass::parse(text);
        assert!(
            of("404").unwrap().has(Status::NotFound) && of("4xx").unwrap().has(Status::NotFound)
        );
        assert!(
            !of("5xx").unwrap().has(Status::NotFound) && !of("403").unwrap().has(Status::NotFound)
        );
        for bad in ["", "4", "44", "600", "099", "xx", "6xx", "4xxx", "+404"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
