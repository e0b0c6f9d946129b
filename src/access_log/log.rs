//! A worker's side of the log: records gather in a buffer and go into the worker's log pipe, many
//! at a time.
//!
//! Nothing here blocks. A record that finds the buffer full, because the pipe is, is dropped and
//! counted, and a line in its place says how many are missing; or requests wait for room, for a
//! bounded time. Each line is handed on whole or, when the pipe takes a part of it, the rest goes
//! first the next time.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::io::Errno;

use super::ledger::{self, Entry};
use super::marker;
use super::options::{Full, Options};
use super::record::{Asked, Mirrored, Record};
use super::stats::Stats;
use super::template::Moment;
use crate::base::Instant;
use crate::http::head::Head;
use crate::http::target;
use crate::limits::{LOG_LAST_TRIES, LOG_RETRY, LOG_WAITING_BUFFERS};
use crate::ring::{Completion, Deadline, Io, Op, Owner, Start, Tap};

/// Lines of the buffer that are one entry of the ledger.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Where it ends in the buffer.
    end: usize,
    /// None in a word of the log itself, which is a part of its own: of a line that is torn, nobody
    /// could tell any more what it was.
    records: u32,
    /// The body that its one record is of, and where the word about it belongs.
    mirrored: Option<(u32, Option<u32>)>,
}

/// Whether records are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The pipe is full.
    Full {
        since: Instant,
    },
    /// Nobody empties the pipe any more.
    Dead,
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    options: Arc<Options>,
    pipe: Tap,
    ledger: ledger::Writer,
    stats: Arc<Stats>,
    buffer: Vec<u8>,
    parts: VecDeque<Part>,
    state: State,
    /// When the buffer is handed on at the latest, or tried again.
    due: Option<Instant>,
    /// The deadline that is set.
    armed: Option<Instant>,
    /// Records dropped since the last that was not.
    missing: u64,
    /// Records that the sample may choose from, and bodies.
    eligible: u64,
    eligible_bodies: u64,
    /// Bodies that were mirrored so far, to number them.
    streams: u32,
    /// Bodies whose end found no room in the ledger. None goes in while there are some, so they
    /// are no more than the worker has connections.
    untold: VecDeque<u32>,
    /// Who waits for room.
    waiting: VecDeque<Owner>,
    moment: Moment,
    path: Vec<u8>,
    /// How often the last records were tried to be handed on.
    last_tries: u32,
}

impl Log {
    /// A log whose records go into this pipe and this ledger.
    pub fn new(
        options: Arc<Options>,
        pipe: Tap,
        ledger: ledger::Writer,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            options,
            pipe,
            ledger,
            stats,
            buffer: Vec::new(),
            parts: VecDeque::new(),
            state: State::Open,
            due: None,
            armed: None,
            missing: 0,
            eligible: 0,
            eligible_bodies: 0,
            streams: 0,
            untold: VecDeque::new(),
            waiting: VecDeque::new(),
            moment: Moment::new(0),
            path: Vec::new(),
            last_tries: 0,
        }
    }

    /// What is kept of a request until its answer has ended; none if it is not recorded.
    pub fn note(&mut self, head: &Head<'_>) -> Option<Box<Asked>> {
        let mirrors = !self.options.mirror.paths.is_empty();
        if !self.options.paths.is_empty() || mirrors {
            // A path that cannot be resolved has no name that a glob could match.
            if target::resolve(head.path, &mut self.path).is_err() {
                self.path.clear();
            }
        }
        let matches =
            |globs: &[super::options::Glob]| globs.iter().any(|glob| glob.matches(&self.path));
        if !self.options.paths.is_empty() && !matches(&self.options.paths) {
            return None;
        }
        let mut asked = Asked::of(head, self.options.format.wants());
        if mirrors && matches(&self.options.mirror.paths) {
            asked.mirrored = self.eligible_bodies.is_multiple_of(self.options.mirror.sample);
            self.eligible_bodies += 1;
        }
        Some(Box::new(asked))
    }

    /// Likewise of a request that could not be read.
    pub fn note_unreadable(&self, input: &[u8]) -> Option<Box<Asked>> {
        // It has no path that could match.
        let all = self.options.paths.is_empty();
        all.then(|| Box::new(Asked::unreadable(input, self.options.format.wants())))
    }

    /// Whether answers that no request asked for are recorded.
    pub fn records_unasked(&self) -> bool {
        self.options.paths.is_empty()
    }

    /// Writes a record, unless its status or the sample leaves it out. `stream` is the number of
    /// its body, if that was mirrored.
    pub fn record(&mut self, record: &Record<'_>, stream: Option<u32>, io: &mut dyn Io) {
        self.count_mirror(record);
        if !self.chooses(record) {
            return self.let_go(stream);
        }
        if self.is_heavy() && self.state == State::Open {
            self.hand_on(io);
        }
        let room = match self.options.full {
            // Answers that have begun still end while requests wait.
            Full::Wait if !self.gave_up(io.now()) => LOG_WAITING_BUFFERS * self.options.buffer,
            _ => self.options.buffer,
        };
        if self.buffer.len() >= room || self.state == State::Dead {
            self.missing += 1;
            self.stats.dropped.add(1);
            return self.let_go(stream);
        }
        self.mark_missing();
        self.moment.refresh(record.ended.seconds);
        let hole = self.options.format.write(&mut self.buffer, record, &self.moment);
        self.stats.records.add(1);
        let end = self.buffer.len();
        match self.parts.back_mut() {
            Some(part) if part.mirrored.is_none() && part.records > 0 && stream.is_none() => {
                part.end = end;
                part.records += 1;
            }
            _ => {
                let mirrored = stream.map(|stream| (stream, hole));
                self.parts.push_back(Part { end, records: 1, mirrored });
            }
        }
        if self.due.is_none() {
            self.due = Some(io.now() + self.options.flush);
        }
    }

    /// Whether status and sample let a record in.
    fn chooses(&mut self, record: &Record<'_>) -> bool {
        let statuses = &self.options.statuses;
        if !statuses.is_empty() && !statuses.iter().any(|class| class.has(record.status)) {
            return false;
        }
        self.eligible += 1;
        (self.eligible - 1).is_multiple_of(self.options.sample)
    }

    fn count_mirror(&self, record: &Record<'_>) {
        match record.mirror {
            None | Some(Mirrored { owed: false, .. }) => {}
            Some(Mirrored { bytes: 0, .. }) => self.stats.mirror_dropped.add(1),
            Some(Mirrored { whole: true, .. }) => self.stats.mirrored.add(1),
            Some(Mirrored { whole: false, .. }) => self.stats.mirrored_partly.add(1),
        }
    }

    /// Tells the log thread of the end of a body that no record tells of.
    fn let_go(&mut self, stream: Option<u32>) {
        self.untold.extend(stream);
        self.tell_ends();
    }

    /// The log thread keeps a digest and a file for a body until it knows of its end.
    fn tell_ends(&mut self) {
        while self.ledger.room() > 0
            && let Some(stream) = self.untold.pop_front()
        {
            let kind = ledger::Kind::Mirrored { stream, hole: None };
            self.ledger.enter(Entry { kind, length: 0, records: 0 });
        }
    }

    /// Says in the log how many records are missing here.
    fn mark_missing(&mut self) {
        let missing = std::mem::take(&mut self.missing);
        if missing == 0 {
            return;
        }
        marker::put_marker(&mut self.buffer, self.options.format.escape(), missing);
        self.parts.push_back(Part { end: self.buffer.len(), records: 0, mirrored: None });
    }

    /// Hands on what is due. Called once a turn and at its deadline, with the log's own view of
    /// the kernel.
    pub fn pump(&mut self, io: &mut dyn Io) {
        self.tell_ends();
        let now = io.now();
        let due = self.due.is_some_and(|due| due <= now);
        if self.state != State::Dead && (due || self.state == State::Open && self.is_heavy()) {
            self.hand_on(io);
        }
        self.arm(io);
    }

    fn is_heavy(&self) -> bool {
        self.buffer.len() >= self.options.buffer / 2
    }

    /// Puts the buffer into the pipe, as much as goes.
    fn hand_on(&mut self, io: &mut dyn Io) {
        while !self.buffer.is_empty() {
            // An entry for each part, and one more for a line that is torn.
            if self.ledger.room() <= self.parts.len() {
                return self.is_full(io.now());
            }
            let bytes = std::mem::take(&mut self.buffer);
            match io.start(Op::PutIn { pipe: self.pipe.clone(), bytes }) {
                Start::Executed(Completion {
                    op: Some(Op::PutIn { bytes, .. }), result, ..
                }) => {
                    self.buffer = bytes;
                    match result {
                        Ok(count) => self.took(count as usize),
                        Err(errno) => return self.die(errno),
                    }
                }
                Start::Blocked(Op::PutIn { bytes, .. }, _) => {
                    self.buffer = bytes;
                    return self.is_full(io.now());
                }
                other => unreachable!("a write to a pipe is inline: {other:?}"),
            }
        }
        self.state = State::Open;
        self.due = None;
    }

    /// Enters what the kernel took.
    fn took(&mut self, count: usize) {
        let mut start = 0;
        while start < count {
            let part = *self.parts.front().expect("every byte belongs to a part");
            let (kind, end, records) = if part.end <= count {
                self.parts.pop_front();
                let kind = match part.mirrored {
                    Some((stream, hole)) => ledger::Kind::Mirrored { stream, hole },
                    None => ledger::Kind::Records,
                };
                (kind, part.end, part.records)
            } else {
                let taken = &self.buffer[start..count];
                let whole = memchr::memchr_iter(b'\n', taken).count() as u32;
                // A marker is a line and no record.
                let records = whole.min(part.records);
                self.parts.front_mut().expect("it was just there").records -= records;
                (ledger::Kind::Torn, count, records)
            };
            let length = (end - start) as u32;
            self.ledger.enter(Entry { kind, length, records });
            start = end;
        }
        self.buffer.drain(..count);
        for part in &mut self.parts {
            part.end -= count;
        }
    }

    fn is_full(&mut self, now: Instant) {
        self.stats.full.add(1);
        if self.state == State::Open {
            self.state = State::Full { since: now };
        }
        self.due = Some(now + LOG_RETRY);
    }

    fn die(&mut self, errno: Errno) {
        tracing::error!(%errno, "the access log has ended; records are dropped from now on");
        let records: u32 = self.parts.iter().map(|part| part.records).sum();
        self.stats.dropped.add(records.into());
        self.buffer.clear();
        self.parts.clear();
        self.due = None;
        self.state = State::Dead;
    }

    /// Whether requests do not wait for room, or did so for long enough.
    fn gave_up(&self, now: Instant) -> bool {
        match self.state {
            State::Open => false,
            State::Full { since } => now.since(since) >= self.options.wait,
            State::Dead => true,
        }
    }

    /// Whether a request shall wait until there is room for its record; its owner is then given
    /// out by [`Log::next_woken`].
    pub fn holds_back(&mut self, owner: Owner, now: Instant) -> bool {
        let waits = self.options.full == Full::Wait
            && self.buffer.len() >= self.options.buffer
            && !self.gave_up(now);
        if waits {
            self.stats.waits.add(1);
            self.waiting.push_back(owner);
        }
        waits
    }

    /// Somebody who waited and need not any more.
    pub fn next_woken(&mut self, now: Instant) -> Option<Owner> {
        let room = self.buffer.len() < self.options.buffer || self.gave_up(now);
        if room { self.waiting.pop_front() } else { None }
    }

    /// Hands on everything at the end; says whether it is done, or was tried often enough. Tries
    /// are counted and not the time, which may jump.
    pub fn drain(&mut self, io: &mut dyn Io) -> bool {
        if self.state == State::Dead {
            return true;
        }
        self.tell_ends();
        self.mark_missing();
        if self.state == State::Open || self.due.is_some_and(|due| due <= io.now()) {
            self.last_tries += 1;
            self.hand_on(io);
        }
        if self.buffer.is_empty() {
            return true;
        }
        if self.last_tries < LOG_LAST_TRIES {
            self.arm(io);
            return false;
        }
        let records: u32 = self.parts.iter().map(|part| part.records).sum();
        self.stats.dropped.add(records.into());
        tracing::warn!(records, "the access log took its last records too slowly; they are lost");
        self.buffer.clear();
        self.parts.clear();
        true
    }

    fn arm(&mut self, io: &mut dyn Io) {
        let untold = (!self.untold.is_empty()).then(|| io.now() + LOG_RETRY);
        let due = self.due.into_iter().chain(untold).min();
        if self.armed != due {
            self.armed = due;
            io.deadline(due.map(|due| (Deadline::Retry, due)));
        }
    }

    /// The pipe, for a body that is mirrored, and the number that the body has in the ledger.
    pub fn tap(&mut self) -> (Tap, u32) {
        self.streams = self.streams.wrapping_add(1);
        (self.pipe.clone(), self.streams)
    }

    /// The pipe once more, for the next part of a body.
    pub fn tap_again(&self) -> Tap {
        self.pipe.clone()
    }

    /// Whether a piece of a body may go into the pipe now.
    pub fn takes_bodies(&self) -> bool {
        self.state == State::Open && self.untold.is_empty() && self.ledger.room() > BODIES_LEAVE
    }

    /// Enters a piece of a body that went into the pipe.
    pub fn mirrored(&mut self, stream: u32, length: u32) {
        self.stats.mirrored_bytes.add(length.into());
        self.ledger.enter(Entry { kind: ledger::Kind::Body { stream }, length, records: 0 });
    }
}

/// Entries of the ledger that bodies leave free for records.
const BODIES_LEAVE: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::access_log::ledger::Kind;
    use crate::limits::LOG_LEDGER_ENTRIES;
    use crate::ring::{Closing, Descriptor};

    #[test]
    fn the_end_of_a_body_that_finds_the_ledger_full_is_told_later() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let tap = Tap::from(Descriptor::adopt(writer, &Rc::new(Closing::default())));
        let (entering, mut reading) = ledger::ledger();
        let stats = Arc::new(Stats::default());
        let mut log = Log::new(Arc::new(Options::default()), tap, entering, stats);
        for _ in 0..LOG_LEDGER_ENTRIES {
            log.mirrored(7, 1);
        }
        log.let_go(Some(7));
        log.let_go(None);
        log.let_go(Some(8));
        for _ in 0..LOG_LEDGER_ENTRIES {
            assert_eq!(reading.take().unwrap().kind, Kind::Body { stream: 7 });
        }
        assert!(reading.is_empty());
        // There is room, and yet no body goes in before what is owed was told.
        assert!(!log.takes_bodies());
        log.tell_ends();
        assert!(log.takes_bodies());
        for stream in [7, 8] {
            let kind = Kind::Mirrored { stream, hole: None };
            assert_eq!(reading.take(), Some(Entry { kind, length: 0, records: 0 }));
        }
        assert!(reading.is_empty());
    }
}
