//! What a body has brought into the page cache that is to leave nothing there.

use std::cell::Cell;
use std::rc::Rc;

use crate::cache::Version;
use crate::limits::FOLIO_BYTES_MAX;
use crate::ring::{Completion, Io, Op, Start};

/// What larger pages have as a divisor.
const PAGE_BYTES: u64 = 4096;

/// From where on the file was not in the page cache before, and how far it is not any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftBehind {
    begin: u64,
    dropped: u64,
}

impl LeftBehind {
    /// From the page of `offset` on.
    pub(super) fn from(offset: u64) -> Self {
        let begin = offset / PAGE_BYTES * PAGE_BYTES;
        Self { begin, dropped: begin }
    }

    /// Has what lies before `until` dropped, if that is `least` bytes more than the last time.
    pub(super) fn forget(&mut self, version: &Version, until: u64, least: u64, io: &mut dyn Io) {
        if until < self.dropped + least.max(1) {
            return;
        }
        // The kernel drops whole folios and no parts of them: one that lies across the end of the
        // part before goes only now.
        let offset = (self.dropped / FOLIO_BYTES_MAX * FOLIO_BYTES_MAX).max(self.begin);
        let count = u32::try_from(until - offset).unwrap_or(u32::MAX);
        // Where the ring is busy it is done the next time, and nobody is woken for its end.
        let op = Op::Forget { file: version.file.clone(), offset, count };
        if let Start::Executed(Completion { op: None, .. }) = io.start(op) {
            self.dropped = until;
        }
    }
}

/// The same of a span that several bodies bring one after the other, as where a rate is limited:
/// what was read ahead for the first is not taken to have been there before by the next.
#[derive(Clone, Debug, Default)]
pub struct Trail(Option<Rc<Cell<Option<LeftBehind>>>>);

impl Trail {
    /// From now on it is kept for all clones.
    pub fn keep(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(super) fn last(&self) -> Option<LeftBehind> {
        self.0.as_ref()?.get()
    }

    pub(super) fn note(&self, left_behind: LeftBehind) {
        if let Some(kept) = &self.0 {
            kept.set(Some(left_behind));
        }
    }
}
