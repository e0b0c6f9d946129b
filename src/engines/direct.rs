//! The engine `direct`: from blocks that were read past the page cache and are kept in memory.
//!
//! A block that is there is sent as it lies, with the head in the same call; one that is not is
//! asked of [`crate::cache::Blocks`], and the next few with it: as many as the client takes while
//! one is read. When no buffer comes free for a while, the rest of the body goes through the pool
//! for bodies, block by block, and nothing of it is kept.
//!
//! Needs a descriptor with O_DIRECT and an alignment that the blocks have; a file system that has
//! none, is in memory or not known yet, or refuses the first read, is a reason to decline. A read
//! that fails later, or a file that is shorter or another than it was, ends the body.

use std::rc::Rc;
use std::time::Duration;

use super::buffered::{Buffered, Source};
use super::contract::{Body, BodyError, Decline, Engine, Progress, Step, head_bytes, head_pool};
use super::left_behind::Trail;
use crate::base::Instant;
use crate::cache::{Ahead, Answer, Loan, ReadFault, Wait};
use crate::limits::{DIRECT_AHEAD_MAX, SEND_BYTES_MAX};
use crate::ring::{Completion, Gather, Io, MountKind, Op, Outgoing, Pool, Scarce, Start, Wake};

/// What a buffer of any pool is aligned to, in bytes.
const BUFFER_ALIGNMENT: u32 = 4096;

pub(super) fn start(body: Body) -> Box<dyn Engine> {
    Box::new(Direct::new(body))
}

#[derive(Debug)]
struct Direct {
    body: Body,
    head_bytes: u64,
    /// Which pool the buffer is of of a head that is sent.
    head_pool: Option<Pool>,
    progress: Progress,
    /// The block that is being sent, and which it is: larger ones go in several sends.
    held: Option<(u64, Rc<Loan>)>,
    /// Since when a block is waited for.
    asked: Option<Instant>,
    /// What keeps it waited for.
    wait: Option<Wait>,
    /// What keeps the next blocks read ahead.
    ahead: Option<Ahead>,
    /// What a short send has left.
    rest: Gather,
    sending: bool,
    parked: Option<Op>,
    drain: Drain,
    /// What serves the rest, and where it began, when no block could be had.
    alone: Option<(Buffered, Progress)>,
}

/// How fast the client takes bytes.
#[derive(Debug, Default)]
struct Drain {
    last: Option<Instant>,
    /// Bytes in a second, smoothed; 0 before the first send.
    rate: u64,
}

impl Direct {
    fn new(body: Body) -> Self {
        Self {
            head_bytes: head_bytes(&body.head),
            head_pool: None,
            body,
            progress: Progress::default(),
            held: None,
            asked: None,
            wait: None,
            ahead: None,
            rest: Gather::default(),
            sending: false,
            parked: None,
            drain: Drain::default(),
            alone: None,
        }
    }

    /// Why the file cannot be read this way, if that is known beforehand.
    fn refused(&self, io: &dyn Io) -> Option<Decline> {
        let Some(direct) = &self.body.version.direct else { return Some(Decline::NoDirect) };
        // What is in memory needs no second place there, even if it takes such reads.
        let kind = io.mount_kind(self.body.version.facts.mount);
        if matches!(kind, MountKind::InMemory | MountKind::Unproven) {
            return Some(Decline::NoDirect);
        }
        let block = self
            .body
            .blocks
            .as_ref()
            .map_or(BUFFER_ALIGNMENT as usize, |blocks| blocks.block_bytes());
        let fits = direct.memory <= BUFFER_ALIGNMENT && direct.offset as usize <= block;
        (!fits).then_some(Decline::Alignment)
    }

    fn left(&self) -> u64 {
        self.body.count - self.progress.body
    }

    /// The next send, or where the body stands without one.
    fn next_op(&mut self, io: &mut dyn Io) -> Result<Op, Step> {
        if let Some(op) = self.parked.take() {
            return Ok(op);
        }
        if !self.rest.is_empty() {
            return Ok(self.send());
        }
        if self.left() == 0 {
            return Err(Step::Finished);
        }
        let Some(blocks) = &self.body.blocks else { return self.go_alone(io) };
        let bytes = blocks.block_bytes() as u64;
        let at = self.body.offset + self.progress.body;
        let (index, start) = (at / bytes, at % bytes);
        let end = bytes.min(start + self.left());
        let count = (end - start).min(SEND_BYTES_MAX as u64);
        match &self.held {
            Some((held, loan)) if *held == index => {
                let loan = Rc::clone(loan);
                self.gather(loan, start, count);
                return Ok(self.send());
            }
            // Before another one is asked for, which may need its buffer.
            _ => self.held = None,
        }
        let now = io.now();
        let since = *self.asked.get_or_insert(now);
        let version = &self.body.version;
        let answer = blocks.ask(version, index, start as u32..end as u32, since, now);
        if !matches!(answer, Answer::Waiting) {
            self.wait = None;
        }
        match answer {
            Answer::Ready(loan) => {
                self.asked = None;
                let loan = Rc::new(loan);
                self.held = Some((index, Rc::clone(&loan)));
                let next = (index + 1) * bytes..self.body.offset + self.body.count;
                if next.start < next.end {
                    let window = self.drain.window(blocks.latency(version.facts.mount), bytes);
                    let ahead = self.ahead.get_or_insert_with(|| blocks.ahead(version));
                    ahead.read(next, window, now);
                }
                self.gather(loan, start, count);
                Ok(self.send())
            }
            Answer::Waiting => {
                self.wait.get_or_insert_with(|| blocks.wait(version, index));
                Err(Step::Waiting)
            }
            Answer::Exhausted => self.go_alone(io),
            Answer::Failed(fault) => Err(self.fails(fault)),
        }
    }

    fn gather(&mut self, loan: Rc<Loan>, start: u64, count: u64) {
        if let Some(head) = self.body.head.take() {
            self.head_pool = head.pool();
            self.rest.push(head);
        }
        let range = start as usize..(start + count) as usize;
        self.rest.push(Outgoing::kept(loan, range));
    }

    /// Sends what was gathered.
    fn send(&mut self) -> Op {
        let parts = std::mem::take(&mut self.rest);
        let (socket, bytes) = (self.body.socket.clone(), parts.len() as u64);
        let owed = self.head_bytes - self.progress.head + self.left();
        let more = self.body.more || bytes < owed;
        self.sending = true;
        parts.send_to(socket, more)
    }

    /// Takes in the end of a send.
    fn take(&mut self, completion: Completion, now: Instant) -> Option<Step> {
        self.sending = false;
        let op = completion.op.expect("a send brings its bytes home");
        let mut parts = Gather::of_send(op);
        match completion.result {
            Ok(count) => {
                let of_head = u64::from(count).min(self.head_bytes - self.progress.head);
                self.progress.head += of_head;
                self.progress.body += u64::from(count) - of_head;
                self.progress.copied += u64::from(count) - of_head;
                assert!(self.progress.body <= self.body.count, "no more is sent than asked");
                parts.advance(count as usize);
                self.rest = parts;
                self.drain.took(u64::from(count), now);
                None
            }
            Err(errno) => Some(Step::Failed(BodyError::Send(errno))),
        }
    }

    /// A block cannot be had. Before the first byte somebody else may read the file otherwise.
    fn fails(&self, fault: ReadFault) -> Step {
        match fault.refuses() {
            Some(errno) if self.progress == Progress::default() => {
                Step::Declined(Decline::Unsupported(errno))
            }
            _ => Step::Failed(fault.into()),
        }
    }

    /// Serves the rest without blocks.
    fn go_alone(&mut self, io: &mut dyn Io) -> Result<Op, Step> {
        self.ahead = None;
        let direct = self.body.version.direct.as_ref().expect("what has none was declined");
        let alignment = u64::from(direct.offset);
        let source = Source { file: direct.file.clone(), alignment, direct: true };
        let rest = Body {
            socket: self.body.socket.clone(),
            head: self.body.head.take(),
            version: self.body.version.clone(),
            offset: self.body.offset + self.progress.body,
            count: self.left(),
            more: self.body.more,
            tap: None,
            // It does not go through the page cache.
            passes: false,
            trail: Trail::default(),
            inline: false,
            blocks: None,
        };
        self.alone = Some((Buffered::new(rest, Some(source)), self.progress));
        Err(self.step_alone(Wake::Begin, io).expect("it was just begun"))
    }

    fn step_alone(&mut self, wake: Wake, io: &mut dyn Io) -> Option<Step> {
        let (engine, before) = self.alone.as_mut()?;
        let step = engine.step(wake, io);
        let since = engine.progress();
        self.progress = Progress {
            head: before.head + since.head,
            body: before.body + since.body,
            copied: before.copied + since.copied,
            ..*before
        };
        let begun = self.progress != Progress::default();
        Some(match step {
            Step::Declined(Decline::Unsupported(errno)) if begun => {
                Step::Failed(BodyError::Read(errno))
            }
            step => step,
        })
    }
}

impl Engine for Direct {
    fn step(&mut self, wake: Wake, io: &mut dyn Io) -> Step {
        if self.alone.is_some() {
            return self.step_alone(wake, io).expect("it was just seen");
        }
        match wake {
            Wake::Begin => {
                if let Some(why) = self.refused(io) {
                    return Step::Declined(why);
                }
                if let Some(blocks) = &self.body.blocks {
                    let Body { version, offset, count, .. } = &self.body;
                    blocks.begin(version, *offset, *count, io);
                }
            }
            Wake::Done(completion) => {
                assert!(self.sending, "only what was submitted completes");
                if let Some(step) = self.take(completion, io.now()) {
                    return step;
                }
            }
            _ => {}
        }
        if self.sending && self.parked.is_none() {
            return Step::Waiting;
        }
        let op = match self.next_op(io) {
            Err(step) => return step,
            Ok(op) => op,
        };
        // What is to be read has been asked for: only the send waits for its turn.
        if io.allowance(self.body.count, self.progress.body > 0) == 0 {
            self.parked = Some(op);
            return Step::Yielded;
        }
        match io.start(op) {
            Start::Submitted(_) => Step::Waiting,
            Start::Busy(op) | Start::Blocked(op, _) => {
                self.parked = Some(op);
                Step::Waiting
            }
            Start::Executed(done) => unreachable!("a send belongs to the ring: {done:?}"),
        }
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn in_flight(&self) -> u32 {
        match &self.alone {
            Some((engine, _)) => engine.in_flight(),
            None => u32::from(self.sending && self.parked.is_none()),
        }
    }

    fn holds(&self, scarce: Scarce) -> bool {
        match (&self.alone, scarce) {
            (Some((engine, _)), scarce) => engine.holds(scarce),
            // What is sent has a part of a block behind the head.
            (None, Scarce::Buffer(Pool::Block)) => {
                self.held.is_some() || self.sending || !self.rest.is_empty()
            }
            (None, Scarce::Buffer(pool)) => {
                let here = head_pool(&self.body.head);
                let sent = if self.progress.head < self.head_bytes { self.head_pool } else { None };
                here.or(sent) == Some(pool)
            }
            (None, Scarce::Pipe) => false,
        }
    }

    fn head(&mut self) -> Option<&mut Outgoing> {
        match &mut self.alone {
            Some((engine, _)) => engine.head(),
            None => self.body.head.as_mut(),
        }
    }

    fn is_sending(&self) -> bool {
        self.sending || self.alone.as_ref().is_some_and(|(engine, _)| engine.is_sending())
    }

    fn give_back(self: Box<Self>) -> Body {
        assert_eq!(self.progress, Progress::default(), "a body is declined before its first byte");
        let Self { mut body, alone, .. } = *self;
        if let Some((engine, _)) = alone {
            body.head = Box::new(engine).give_back().head;
        }
        body
    }
}

impl Drain {
    fn took(&mut self, bytes: u64, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let nanoseconds = (now.since(last).as_nanos() as u64).max(1);
            let rate = bytes.saturating_mul(1_000_000_000) / nanoseconds;
            self.rate = if self.rate == 0 { rate } else { (3 * self.rate + rate) / 4 };
        }
    }

    /// Blocks to have under way: what the client takes while one is read, and as much again, as a
    /// client that waits for the disk seems no faster than the disk.
    fn window(&self, latency: Duration, block_bytes: u64) -> usize {
        let bytes = u128::from(self.rate) * 2 * latency.as_nanos() / 1_000_000_000;
        let blocks = bytes.div_ceil(u128::from(block_bytes));
        usize::try_from(blocks).unwrap_or(usize::MAX).saturating_add(1).min(DIRECT_AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_client_and_the_disk() {
        let mut drain = Drain::default();
        let milli = Duration::from_millis(1);
        assert_eq!(drain.window(milli, 1000), 1, "nothing is known yet");
        let mut now = Instant::default();
        for _ in 0..9 {
            now = now + milli;
            drain.took(1000, now);
        }
        // A megabyte in a second.
        assert_eq!(drain.window(milli, 1000), 3);
        assert_eq!(drain.window(milli * 4, 1000), 9);
        assert_eq!(drain.window(milli * 4, 100_000), 2);
        assert_eq!(drain.window(Duration::from_secs(9), 1000), DIRECT_AHEAD_MAX);
    }
}
