//! One sink: opening it, moving records into it, and what happens when it fails.
//!
//! A failure is said once for each cause, counted, and tried again each second; until then records
//! wait in the pipe and, when that is full, whoever fills it drops them and counts. What a reader
//! leaves in its pipe is counted when it ends, and whoever reads next is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::file::Found;
use super::intake::{Piece, Place};
use super::plumbing::{Plumbing, Process};
use super::target::{Target, said};
use super::unread::{Lost, Unread};
use crate::access_log::marker;
use crate::access_log::options::{self, Durability, Options};
use crate::access_log::stats::{SinkStats, Stats};
use crate::limits::{LOG_PROGRAM_RETRY_MAX, LOG_SINK_RETRY};

/// See the module.
pub(super) struct Sink<P: Plumbing> {
    place: options::Place,
    number: usize,
    options: Arc<Options>,
    stats: Arc<Stats>,
    plumbing: P,
    target: Option<Target<P>>,
    /// What lies in it, if it is a pipe.
    unread: Option<Unread>,
    /// When it is tried again, after a failure.
    rests_until: Option<Instant>,
    /// When a file that somebody moved away is opened again, after that failed.
    reopens_at: Option<Instant>,
    /// Whether a piece was written in part.
    begun: bool,
    /// The failure that was told last, if it did not work since.
    told: Option<String>,
    /// How long its program was left alone the last time.
    rest: Duration,
    /// Whether splice is refused there.
    writes: bool,
    /// Records that are missing where it goes on.
    missing: u64,
}

impl<P: Plumbing> Sink<P> {
    pub(super) fn new(
        number: usize,
        options: &Arc<Options>,
        stats: &Arc<Stats>,
        plumbing: &P,
    ) -> Self {
        Self {
            place: options.sinks[number].clone(),
            number,
            options: Arc::clone(options),
            stats: Arc::clone(stats),
            plumbing: plumbing.clone(),
            target: None,
            unread: None,
            rests_until: None,
            reopens_at: None,
            begun: false,
            told: None,
            rest: LOG_SINK_RETRY / 2,
            writes: false,
            missing: 0,
        }
    }

    fn stats(&self) -> &SinkStats {
        self.stats.sink(self.number)
    }

    /// Until when it is left alone.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Does what is due without a record: opens it again, starts its program again.
    pub(super) fn tend(&mut self) {
        if self.rests_until.is_some_and(|until| until <= self.plumbing.now()) {
            self.rests_until = None;
        }
        if let Some(Target::Program(program)) = &mut self.target
            && let Some(why) = program.ended()
        {
            self.program_ended(&why);
        }
        if self.reopens_at.is_some_and(|at| at <= self.plumbing.now()) {
            self.reopen();
        }
        if self.rests_until.is_none() {
            match self.target {
                None => self.open(),
                Some(_) => self.archive_by_clock(),
            }
        }
    }

    /// Archives a file whose time is over, though no record comes.
    fn archive_by_clock(&mut self) {
        let Some(Target::File(file)) = &mut self.target else { return };
        // A line that was begun is ended where it began.
        if self.begun || !file.may_be_over(&self.options.rotation) {
            return;
        }
        match file.begin(&self.options.rotation, false) {
            Ok(told) => {
                if told.rotated {
                    self.stats.sink(self.number).reopened.add(1);
                }
            }
            Err(why) => {
                if file.is_gone() {
                    self.leave();
                }
                self.fail(&why);
            }
        }
        self.end_batch();
    }

    /// Opens a file again by its path, because somebody moved it away.
    pub(super) fn reopen(&mut self) {
        let options::Place::Path(path) = &self.place else { return };
        match Found::open(path, self.options.durability, &self.plumbing) {
            Ok(found) => {
                self.end_batch();
                self.go_to(found.into());
                self.writes = false;
                self.stats().reopened.add(1);
                self.reopens_at = None;
                self.works();
            }
            // What is open goes on to be written: better in the old file than nowhere.
            Err(error) => {
                self.tell(&format!("it cannot be opened again: {error}"));
                self.reopens_at = Some(self.plumbing.now() + LOG_SINK_RETRY);
            }
        }
    }

    fn open(&mut self) {
        let opened = match &self.place {
            options::Place::Stdout => self.plumbing.stdout().map(Target::Stream),
            options::Place::Path(path) => {
                let found = Found::open(path, self.options.durability, &self.plumbing);
                found.map(Target::from)
            }
            options::Place::Program(command) => self.plumbing.start(command).map(Target::Program),
        };
        match opened {
            Ok(target) => {
                self.go_to(target);
                self.reopens_at = None;
            }
            Err(why) => self.fail(&why),
        }
    }

    fn go_to(&mut self, target: Target<P>) {
        // A FIFO that is opened once more is the same pipe, with what lies in it.
        if self.target.as_ref().is_none_or(|open| !open.is_same_pipe(&target, &self.plumbing)) {
            self.leave();
            self.unread = target.is_pipe(&self.plumbing).then(Unread::default);
        }
        self.target = Some(target);
    }

    /// Lets go of what it writes to. What lies in a pipe that nobody reads any more is lost.
    fn leave(&mut self) {
        if let (Some(target), Some(unread)) = (self.target.take(), self.unread.take())
            && let Some(left) = target.left_unread(&self.plumbing)
        {
            self.lost(unread.lost(left));
        }
    }

    /// Moves a piece there, whole; says whether that was done. A piece that was not is put again.
    pub(super) fn put(&mut self, piece: &mut Piece, pipe: &P::End) -> bool {
        let done = self.move_whole(piece, pipe);
        self.begun = !done && piece.is_begun();
        done
    }

    fn move_whole(&mut self, piece: &mut Piece, pipe: &P::End) -> bool {
        if self.rests_until.is_some() {
            return false;
        }
        if self.target.is_none() {
            self.open();
        }
        if !self.begin(piece, pipe) || !self.tell_missing() {
            return false;
        }
        while !piece.is_done() {
            if self.writes || self.unread.is_some() {
                piece.take_in(pipe);
            }
            match self.move_some(piece, pipe) {
                Ok(count) => {
                    self.wrote(piece, count);
                    self.stats().bytes.add(count as u64);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.wait_for_room() {
                        return false;
                    }
                }
                Err(Errno::INVAL) if matches!(piece.place, Place::Piped { .. }) => {
                    tracing::info!(
                        sink = %self.place,
                        "the access log writes there, since splice(2) is refused (a terminal, or a \
                         file opened to append)"
                    );
                    self.writes = true;
                }
                Err(errno) => {
                    self.give_up(errno, piece, pipe);
                    return false;
                }
            }
        }
        if let (Some(unread), Some(target)) = (&mut self.unread, &self.target)
            && let Some(left) = target.unread(&self.plumbing)
        {
            unread.settle(left);
        }
        self.took(piece.records);
        true
    }

    /// So many bytes more of a piece are there.
    fn wrote(&mut self, piece: &mut Piece, count: usize) {
        if let (Some(unread), Place::Bytes { bytes, at }) = (&mut self.unread, &piece.place) {
            let escape = self.options.format.escape();
            unread.wrote(bytes, (*at, *at + count), piece.records > 0, escape);
        }
        piece.advance(count);
    }

    /// Prepares a batch: a file is locked, looked after and set to its end.
    fn begin(&mut self, piece: &mut Piece, pipe: &P::End) -> bool {
        let Some(target) = &mut self.target else { return false };
        let Target::File(file) = target else { return true };
        let begun = piece.is_begun();
        match file.begin(&self.options.rotation, begun) {
            Ok(told) => {
                if told.rotated {
                    self.stats.sink(self.number).reopened.add(1);
                }
                if told.torn {
                    // Somebody cut the file or wrote to it in the middle of a line of ours.
                    self.lose(piece, pipe, false);
                }
                true
            }
            Err(why) => {
                if file.is_gone() {
                    self.leave();
                    self.lose(piece, pipe, false);
                }
                self.fail(&why);
                false
            }
        }
    }

    /// Ends a batch.
    pub(super) fn end_batch(&mut self) {
        if let Some(Target::File(file)) = &mut self.target {
            file.end();
        }
    }

    fn move_some(&mut self, piece: &Piece, pipe: &P::End) -> Result<usize, Errno> {
        let target = self.target.as_mut().expect("it was opened before");
        match &piece.place {
            Place::Piped { left, .. } => target.splice(pipe, *left, &self.plumbing),
            Place::Bytes { .. } => self.move_some_bytes(piece),
        }
    }

    /// Says how many records are missing, in a line of its own.
    fn tell_missing(&mut self) -> bool {
        if self.missing == 0 {
            return true;
        }
        let mut line = Vec::new();
        // What is there may end in the middle of a line.
        if !matches!(self.target, Some(Target::Program(_))) {
            line.push(b'\n');
        }
        marker::put_marker(&mut line, self.options.format.escape(), self.missing);
        let mut piece = Piece { place: Place::Bytes { bytes: line, at: 0 }, records: 0 };
        while !piece.is_done() {
            match self.move_some_bytes(&piece) {
                Ok(count) => self.wrote(&mut piece, count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait_for_room() => {}
                Err(errno) => {
                    self.fail(&said(errno));
                    return false;
                }
            }
        }
        self.missing = 0;
        true
    }

    fn tell_missing_at_end(&mut self) {
        if self.target.is_none() {
            self.open();
        }
        let ready = match &mut self.target {
            Some(Target::File(file)) => file.begin(&self.options.rotation, false).is_ok(),
            other => other.is_some(),
        };
        if ready {
            self.tell_missing();
        }
    }

    fn move_some_bytes(&mut self, piece: &Piece) -> Result<usize, Errno> {
        let Place::Bytes { bytes, at } = &piece.place else {
            unreachable!("a marker is in memory")
        };
        self.target.as_mut().expect("it is open").write(&bytes[*at..], &self.plumbing)
    }

    /// A standard output that somebody made non-blocking.
    fn wait_for_room(&mut self) -> bool {
        let time = Duration::from_secs(1);
        match &self.target {
            Some(Target::Stream(stream)) => self.plumbing.wait_for_room(stream, time),
            Some(Target::Program(program)) => program.wait_for_room(time),
            // A file is never full in this way.
            Some(Target::File(_)) | None => false,
        }
    }

    fn took(&mut self, records: u32) {
        let stats = self.stats.sink(self.number);
        stats.records.add(records.into());
        if self.options.durability != Durability::None
            && let Some(Target::File(_)) = self.target
        {
            stats.synchronous.add(1);
            stats.durable.add(records.into());
        }
        self.works();
    }

    /// The target cannot be written to.
    fn give_up(&mut self, errno: Errno, piece: &mut Piece, pipe: &P::End) {
        match &mut self.target {
            // The file keeps its descriptor: the disk may get room again.
            Some(Target::File(_)) => self.fail(&said(errno)),
            Some(Target::Program(program)) => {
                let why = program.gone();
                self.lose(piece, pipe, false);
                self.program_ended(&why);
            }
            Some(Target::Stream(_)) | None => {
                let goes_on = self.unread.is_none();
                self.leave();
                self.lose(piece, pipe, goes_on);
                self.fail(&said(errno));
            }
        }
    }

    /// Leaves a program alone for a while; one that ends at its start for longer each time.
    fn program_ended(&mut self, why: &str) {
        let settled = matches!(&self.target, Some(Target::Program(one)) if one.is_settled());
        self.leave();
        self.fail(why);
        self.rest = if settled { LOG_SINK_RETRY } else { self.rest * 2 };
        self.rest = self.rest.min(LOG_PROGRAM_RETRY_MAX);
        self.rests_until = Some(self.plumbing.now() + self.rest);
    }

    /// The rest of a line that began elsewhere is of use to nobody, unless what is next `goes_on`.
    fn lose(&mut self, piece: &mut Piece, pipe: &P::End, goes_on: bool) {
        let lost = piece.skip_torn_line(pipe, self.options.format.escape(), goes_on);
        self.lost(lost);
    }

    fn lost(&mut self, lost: Lost) {
        self.missing += lost.records + lost.told;
        self.stats().missing.add(lost.records);
    }

    fn fail(&mut self, why: &str) {
        self.end_batch();
        self.tell(why);
        self.rests_until = Some(self.plumbing.now() + LOG_SINK_RETRY);
    }

    /// Says what is wrong, once until it works again or something else is wrong.
    fn tell(&mut self, why: &str) {
        self.stats().failures.add(1);
        if self.told.replace(why.to_owned()).is_none_or(|before| before != why) {
            tracing::error!(
                sink = %self.place,
                "the access log cannot be written: {why}; tried again each second, and records \
                 that find no room meanwhile are counted"
            );
        }
    }

    fn works(&mut self) {
        // A program takes records into its pipe before it fails at its start.
        if matches!(&self.target, Some(Target::Program(one)) if !one.is_settled()) {
            return;
        }
        // The old file is written, which is not what was asked for.
        if self.reopens_at.is_none() && self.told.take().is_some() {
            tracing::info!(sink = %self.place, "the access log is written again");
        }
    }

    /// Writes nothing more, but for how many records are missing at the end.
    pub(super) fn finish(&mut self) {
        if self.missing > 0 {
            self.tell_missing_at_end();
        }
        self.end_batch();
        match self.target.take() {
            Some(Target::Program(program)) => {
                if let (Some(left), Some(unread)) = (program.finish(), self.unread.take()) {
                    self.lost(unread.lost(left));
                }
            }
            other => self.target = other,
        }
        self.leave();
        if self.missing > 0 {
            tracing::warn!(
                sink = %self.place, records = self.missing,
                "the access log ends without these records there: nobody has read them"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::real::Real;
    use super::*;

    #[test]
    fn a_log_that_ends_says_what_is_missing_behind_its_last_record() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("access.log");
        let sinks = vec![options::Place::Path(path.clone())];
        let options = Arc::new(Options { sinks, ..Options::default() });
        let mut sink = Sink::new(0, &options, &Arc::default(), &Real::new(None, 1));
        sink.missing = 7;
        sink.finish();
        let mut expected = Vec::new();
        marker::put_marker(&mut expected, options.format.escape(), 7);
        assert!(std::fs::read(path).unwrap().ends_with(&expected));
    }
}
