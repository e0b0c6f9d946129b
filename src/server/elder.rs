//! The process that was started, when a reload has put another one in its place.
//!
//! Whoever started a server knows its process by number and waits for its end: a shell, a
//! container, a supervisor. So where no service manager can be told the number of another one, the
//! first process stays when its last answer is finished. It passes on the signals that it gets, and
//! ends when the one that serves has. The line between them is handed from successor to successor,
//! so there are two processes at most, however often that happens. When the first one ends, the one
//! that serves ends, too: nothing is left behind. The one that serves says a last word when it ends
//! in order; without it the first one ends as a server that failed.
//!
//! A supervisor may signal both: systemd does, when it stops a unit. So what is passed on and what
//! comes to a process itself are counted apart: only the second of the same way ends at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::limits::BROKER_PATIENCE;
use crate::sys::{Exchange, Signal};

/// How a signal comes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To this process.
    Direct,
    /// To the one that was started, which passes it on.
    PassedOn,
}

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

    /// Says the last word: this process ends in order.
    pub(super) fn leave(&self) {
        // One that has gone needs no word.
        let _ = self.0.send(ENDED, &[]);
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

/// The last word of the one that serves.
const ENDED: &[u8] = b"ended in order";

/// The line of the one that was started to the one that serves.
#[derive(Debug)]
pub(super) struct Younger {
    line: Exchange,
    /// How it ended, once that was heard.
    last: Option<Last>,
}

/// How the one that serves ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// By a signal, or another process serves in its place.
    InOrder,
    /// Without a word: it was killed, or it failed.
    Lost,
}

impl Younger {
    pub(super) fn new(line: Exchange) -> Self {
        Self { line, last: None }
    }

    /// Passes a signal on. Whether there is somebody to hear it.
    pub(super) fn pass(&mut self, signal: Signal) -> bool {
        let ended = self.ended().is_some();
        !ended && self.line.send(signal.to_string().as_bytes(), &[]).is_ok()
    }

    /// How it has ended, once it has.
    pub(super) fn ended(&mut self) -> Option<Last> {
        if self.last.is_none() && self.line.is_heard(Duration::ZERO) {
            let in_order = self.line.receive().is_ok_and(|(word, _)| word == ENDED);
            self.last = Some(if in_order { Last::InOrder } else { Last::Lost });
        }
        self.last
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signals_pass_and_each_notices_the_end_of_the_other() {
        let (line, other) = Exchange::pair(BROKER_PATIENCE).unwrap();
        let (mut younger, elder) = (Younger::new(line), Elder::adopt(other).unwrap());
        assert!(elder.heard().is_none() && younger.ended().is_none());
        assert!(younger.pass(Signal::Hangup) && younger.pass(Signal::Terminate));
        assert!(matches!(elder.heard(), Some(Word::Signal(Signal::Hangup))));
        assert!(matches!(elder.heard(), Some(Word::Signal(Signal::Terminate))));
        // From successor to successor.
        let next = Elder::adopt(elder.as_fd().try_clone_to_owned().unwrap()).unwrap();
        drop(elder);
        assert!(younger.ended().is_none() && next.heard().is_none());
        drop(younger);
        assert!(matches!(next.heard(), Some(Word::Gone)));
    }

    #[test]
    fn only_who_says_so_has_ended_in_order() {
        for (leaves, last) in [(true, Last::InOrder), (false, Last::Lost)] {
            let (line, other) = Exchange::pair(BROKER_PATIENCE).unwrap();
            let (mut younger, elder) = (Younger::new(line), Elder::adopt(other).unwrap());
            if leaves {
                elder.leave();
            }
            drop(elder);
            assert_eq!(younger.ended(), Some(last));
            assert_eq!(younger.ended(), Some(last), "it is said again");
            assert!(!younger.pass(Signal::Hangup), "nobody hears it");
        }
    }
}
