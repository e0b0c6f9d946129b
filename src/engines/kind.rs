//! The names of the engines.
//!
//! One row for each engine, in the order in which help and reports show them; `auto`, which
//! chooses among the others, is the last. Everything that lists, parses or prints names follows
//! the table.

use std::fmt;
use std::str::FromStr;

/// How the bytes of a file travel to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// sendfile(2), from the page cache to the socket.
    Sendfile,
    /// splice(2), from the page cache through a pipe to the socket.
    Splice,
    /// Registered buffers, read and sent by the ring.
    Uring,
    /// O_DIRECT reads through registered buffers, past the page cache.
    Direct,
    /// pread(2) and send(2): the measure of the others.
    Copy,
    /// One of the others, chosen for each body.
    Auto,
}

/// Name and one line of help, in the order of [`Kind::ALL`].
const NAMES: [(Kind, &str, &str); 6] = [
    (Kind::Sendfile, "sendfile", "page cache to socket inside the kernel, by sendfile(2)"),
    (Kind::Splice, "splice", "page cache to pipe to socket, by splice(2)"),
    (Kind::Uring, "uring", "registered buffers, read and sent by io_uring"),
    (Kind::Direct, "direct", "O_DIRECT reads into a cache of its own, past the page cache"),
    (Kind::Copy, "copy", "plain read and write through a buffer, the measure of the others"),
    (Kind::Auto, "auto", "the best of the others for each body, by size and by what is in memory"),
];

impl Kind {
    /// Every engine, in the order of the help.
    pub const ALL: [Self; NAMES.len()] = {
        let mut all = [Self::Copy; NAMES.len()];
        let mut index = 0;
        while index < NAMES.len() {
            // A row at another place than its number would make `row` answer for a neighbour.
            assert!(NAMES[index].0 as usize == index, "the table is in the order of the enum");
            all[index] = NAMES[index].0;
            index += 1;
        }
        all
    };

    /// Those that move bytes themselves.
    pub const FIXED: [Self; NAMES.len() - 1] = {
        let mut fixed = [Self::Copy; NAMES.len() - 1];
        let mut index = 0;
        while index < fixed.len() {
            fixed[index] = NAMES[index].0;
            index += 1;
        }
        fixed
    };

    /// The name in options, configuration, telemetry and log.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Whether the ring reads bodies into memory of the process, which is then best registered.
    /// `auto` reads so what is small or cold, which is not worth pinning all memory of the pools.
    pub const fn reads_into_buffers(self) -> bool {
        matches!(self, Self::Uring | Self::Direct)
    }

    /// Whether blocks of files are kept in memory of the process for it.
    pub const fn keeps_blocks(self) -> bool {
        matches!(self, Self::Direct | Self::Auto)
    }

    /// One line that says what the engine does, without a full stop.
    pub const fn help(self) -> &'static str {
        NAMES[self as usize].2
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// No engine has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEngine(pub String);

impl fmt::Display for UnknownEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "unknown engine '{}'", self.0)
    }
}

impl std::error::Error for UnknownEngine {}

impl FromStr for Kind {
    type Err = UnknownEngine;

    /// Names are lower-case and are compared exactly.
    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_engine() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.to_string(), kind.name());
            assert!(!kind.help().ends_with('.'));
        }
    }

    #[test]
    fn another_name_is_refused_with_the_name() {
        let error = "Sendfile".parse::<Kind>().unwrap_err();
        assert_eq!(error.to_string(), "unknown engine 'Sendfile'");
    }
}
