//! The process that was started, when a reload has put another one in its place.
//!
//! Whoever started a server knows its process by number and waits for its end: a shell, a
//! container, a supervisor. So where no service manager can be told the number of another one, the
//! first process stays when its last answer is finished. It passes on the signals that it gets, and
//! ends when the one that serves has. The line between them is handed from successor to successor,
//! so there are two processes at most, however often that happens. When the first one ends without
//! a word, the one that serves ends, too: nothing is left behind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::limits::BROKER_PATIENCE;
use crate::sys::{Exchange, Signal};

/// The line of the one that serves to the one that was started.
#[derive(Debug)]
pub(super) struct Elder(Exchange);

/// What comes from there.
pub(super) enum Word {
    /// A signal for the server.
    Signal(Signal),
    /// It has gone.
    Gone,
}

impl Elder {
    pub(super) fn new(line: Exchange) -> Self {
        Self(line)
    }

    /// From an earlier successor.
    pub(super) fn adopt(line: OwnedFd) -> std::io::Result<Self> {
        Exchange::adopt(line, BROKER_PATIENCE).map(Self)
    }

    /// What it has said, if it has.
    pub(super) fn heard(&self) -> Option<Word> {
        if !self.0.is_heard(Duration::ZERO) {
            return None;
        }
        let (word, _) = self.0.receive().unwrap_or_default();
        if word.is_empty() {
            return Some(Word::Gone);
        }
        std::str::from_utf8(&word).ok().and_then(Signal::named).map(Word::Signal)
    }
}

impl AsFd for Elder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The line of the one that was started to the one that serves.
#[derive(Debug)]
pub(super) struct Younger(Exchange);

impl Younger {
    pub(super) fn new(line: Exchange) -> Self {
        Self(line)
    }

    /// Passes a signal on.
    pub(super) fn pass(&self, signal: Signal) {
        // One that has gone is noticed by its end.
        let _ = self.0.send(signal.to_string().as_bytes(), &[]);
    }

    /// Whether it has ended: it never says a word.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_heard(Duration::ZERO)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signals_pass_and_each_notices_the_end_of_the_other() {
        let (line, other) = Exchange::pair(BROKER_PATIENCE).unwrap();
        let (younger, elder) = (Younger::new(line), Elder::adopt(other).unwrap());
        assert!(elder.heard().is_none() && !younger.has_ended());
        younger.pass(Signal::Hangup);
        younger.pass(Signal::Terminate);
        assert!(matches!(elder.heard(), Some(Word::Signal(Signal::Hangup))));
        assert!(matches!(elder.heard(), Some(Word::Signal(Signal::Terminate))));
        // From successor to successor.
        let next = Elder::adopt(elder.as_fd().try_clone_to_owned().unwrap()).unwrap();
        drop(elder);
        assert!(!younger.has_ended() && next.heard().is_none());
        drop(younger);
        assert!(matches!(next.heard(), Some(Word::Gone)));
    }
}
