//! A log program that the broker started, as the server sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::sys::Exchange;

/// What the server says to have it ended.
pub(super) const END: &[u8] = b"end";

/// A program that runs, or has just ended.
#[derive(Debug)]
pub struct Program {
    input: Option<OwnedFd>,
    /// Where the broker says how it ended; none when the broker has gone.
    line: Option<Exchange>,
}

impl Program {
    pub(super) fn new(input: OwnedFd, line: Exchange) -> Self {
        Self { input: Some(input), line: Some(line) }
    }

    /// What it reads from.
    ///
    /// # Panics
    /// When that was closed.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_ref().expect("it is closed at the end only").as_fd()
    }

    /// Lets it read to the end.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// How it ended, once it has. It is not known of a program whose broker has gone; that goes
    /// on until it closes its input.
    pub fn ended(&mut self) -> Option<String> {
        let line = self.line.as_ref()?;
        if !line.is_heard(Duration::ZERO) {
            return None;
        }
        match line.receive() {
            Ok((word, _)) if !word.is_empty() => Some(String::from_utf8_lossy(&word).into_owned()),
            _ => {
                self.line = None;
                None
            }
        }
    }

    /// Whether anybody would say when it ends.
    pub fn is_watched(&self) -> bool {
        self.line.is_some()
    }

    /// Ends it.
    pub fn end(&self) {
        if let Some(line) = &self.line {
            // A broker that has gone left it to whoever ends the server.
            let _ = line.send(END, &[]);
        }
    }
}
