//! What a person watches in a terminal: the access log ([`log`]), and the figures of a running
//! server (`pitcrew top`).
//!
//! ```text
//! place     where the server is, from what was typed
//! ask       the question, and figures from the answer
//! view      two looks at the figures -> rates, shares, percentiles     (pure)
//! lines     tables, bars and traces of a width                         (pure)
//! draw      a view and a width -> lines with styles, and the screen    (pure)
//! screen    the loop in a terminal; print, the one for a pipe
//! ```
//!
//! The room does not open connections: [`Server`] is implemented above it.

mod ask;
mod draw;
mod lines;
pub mod log;
mod place;
mod print;
mod screen;
mod units;
mod view;

use std::io;
use std::time::Duration;

pub use ask::Trouble;
pub use place::{Place, Spot};
pub use print::print;
pub use screen::screen;

/// One question to the server, on a connection of its own, and all that it answers.
pub trait Server {
    /// Sends the question and reads to the end.
    ///
    /// # Errors
    /// When nobody is there or it takes too long.
    fn exchange(&mut self, question: &[u8]) -> io::Result<Vec<u8>>;
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time between two looks.
    pub interval: Duration,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Whether one table is enough, where tables are printed.
    pub once: bool,
}

/// Why the view ended early.
#[derive(Debug)]
pub enum Fault {
    /// The server did not answer, or not with figures.
    Server(Trouble),
    /// The terminal, or whatever the tables are printed to, failed.
    Output(io::Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(trouble) => trouble.fmt(out),
            Self::Output(error) => write!(out, "the terminal cannot be used: {error}"),
        }
    }
}

impl std::error::Error for Fault {}
