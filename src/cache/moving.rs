//! Spans of files that are asked for so often that they are read into the page cache, although the
//! block cache has them: from there they travel without a copy.
//!
//! One span at a time, window by window, by threads of the kernel; nobody waits for it, so that a
//! disk that hangs takes nothing of what the block cache has. A span is no longer than what the
//! block cache had of the file.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::open_files::OpenFiles;
use super::stats::Stats;
use super::version::Version;
use crate::limits::{MOVED_FILES_MAX, WARM_BYTES};
use crate::ring::{Completion, Io, Op, Start, Ticket, Via};

/// See the module.
#[derive(Debug)]
pub(super) struct Moving {
    /// Those that wait.
    wanted: VecDeque<(Weak<Version>, Range<u64>)>,
    /// The one whose turn it is, and what of it is left to be read.
    now: Option<(Rc<Version>, Range<u64>)>,
    /// The read of it that is under way.
    ticket: Option<Ticket>,
    /// What was read, until it is taken note of.
    brought: Vec<(Rc<Version>, Range<u64>)>,
    stats: Arc<Stats>,
}

impl Moving {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        let (wanted, brought) = (VecDeque::new(), Vec::new());
        Self { wanted, now: None, ticket: None, brought, stats }
    }

    fn want(&mut self, version: &Rc<Version>, span: Range<u64>) {
        let waits = self.wanted.iter().any(|(other, part)| {
            other.as_ptr() == Rc::as_ptr(version)
                && part.start <= span.start
                && span.end <= part.end
        });
        // Of the one whose turn it is another span can wait until it is asked for again.
        let moves = self.now.as_ref().is_some_and(|(now, _)| Rc::ptr_eq(now, version));
        if !waits && !moves && self.wanted.len() < MOVED_FILES_MAX {
            self.wanted.push_back((Rc::downgrade(version), span));
        }
    }

    pub(super) fn has_work(&self) -> bool {
        let goes_on = self.now.is_some() || !self.wanted.is_empty();
        !self.brought.is_empty() || self.ticket.is_none() && goes_on
    }

    /// Starts the next read, if there is room for it.
    pub(super) fn pump(&mut self, io: &mut dyn Io) {
        for (version, part) in std::mem::take(&mut self.brought) {
            version.note_access(io.wall());
            if !io.mount_kind(version.facts.mount).may_block() {
                version.note_resident(part, io);
            }
        }
        if self.ticket.is_some() {
            return;
        }
        // Of a file that nobody has open any more the rest is of no use.
        self.now = self.now.take().filter(|(version, _)| Rc::strong_count(version) > 1);
        while self.now.is_none() {
            let Some((next, span)) = self.wanted.pop_front() else { return };
            self.now = next.upgrade().map(|version| (version, span));
        }
        let Some((version, left)) = &self.now else { return };
        let count = WARM_BYTES.min(left.end - left.start) as u32;
        let op = Op::Warm { file: version.file.clone(), offset: left.start, count, via: Via::Disk };
        match io.start(op) {
            Start::Submitted(ticket) => self.ticket = Some(ticket),
            // There is more to do than this: it is wanted again when it is asked for again.
            _ => self.now = None,
        }
    }

    /// Takes in the end of a read, if it is of one of these; else hands it back.
    pub(super) fn take(&mut self, completion: Completion) -> Option<Completion> {
        if self.ticket.is_none() || completion.ticket != self.ticket {
            return Some(completion);
        }
        self.ticket = None;
        self.now = self.now.take().and_then(|(version, left)| {
            let end = left.start + u64::from(completion.result.unwrap_or(0));
            if end > left.start {
                self.stats.page_cache_brought.add(end - left.start);
                self.brought.push((Rc::clone(&version), left.start..end));
            }
            (end > left.start && end < left.end).then_some((version, end..left.end))
        });
        None
    }
}

impl OpenFiles {
    /// Has a span of a file, which is not empty, read into the page cache for those who ask for it
    /// next.
    pub fn bring_in(&mut self, version: &Rc<Version>, span: Range<u64>) {
        self.moving.want(version, span);
    }
}
