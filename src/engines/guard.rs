//! Bodies that go to the socket by reference: nobody can look at their bytes before they are sent,
//! so whether the file is still the version that was promised is asked before each turn of a
//! transfer, and behind the last one.
//!
//! The question behind the last one is left out where the body has begun in the same turn: between
//! the question before it and the end lie some microseconds, and a small body would pay for it.

use super::contract::BodyError;
use crate::base::Instant;
use crate::cache::Version;
use crate::ring::Io;

#[derive(Debug, Default)]
pub(super) struct Guard {
    /// In which turn the first transfer was tried.
    begun: Option<Instant>,
}

impl Guard {
    /// Before a part is looked at: asks once a turn, for all bodies of the version. It is learnt,
    /// too, whether a read of the file is noted.
    pub(super) fn lets_look(&self, version: &Version, io: &mut dyn Io) -> Option<BodyError> {
        version.prove_once(io).err().map(BodyError::from)
    }

    /// Before a transfer: the same.
    pub(super) fn lets_begin(&mut self, version: &Version, io: &mut dyn Io) -> Option<BodyError> {
        self.begun.get_or_insert(io.now());
        self.lets_look(version, io)
    }

    /// Behind the last one.
    pub(super) fn lets_end(&self, version: &Version, io: &mut dyn Io) -> Option<BodyError> {
        if self.begun == Some(io.now()) {
            return None;
        }
        version.prove(io).err().map(BodyError::from)
    }
}
