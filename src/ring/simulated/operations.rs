//! Operations that are submitted: the queue, what is in flight, and how each completes.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;

use super::check::Memory;
use super::faults::Fault;
use super::jobs::bring_home;
use super::state::State;
use crate::base::Instant;
use crate::ring::io::{Event, QueueFull, Wait};
use crate::ring::job::{Job, Step, Way};
use crate::ring::op::{Facts, How, Op};
use crate::ring::stats::Technique;

/// What an operation is of that is of no descriptor.
pub(super) const NO_DESCRIPTOR: RawFd = -1;
/// How late an operation may be.
pub(super) const LATE_MAX: Duration = Duration::from_millis(20);

/// What an operation in flight is to do.
#[derive(Clone, Debug)]
pub(super) enum What {
    Readable(RawFd),
    Triggered(RawFd),
    Writable(RawFd),
    Accept { fd: RawFd, once: bool },
    ReadHead(RawFd),
    Read { fd: RawFd, offset: u64 },
    Stat(RawFd),
    Warm { fd: RawFd, offset: u64, count: u32 },
    Forget { fd: RawFd, offset: u64, count: u32 },
    Send { fd: RawFd, more: bool },
    Open { fd: RawFd, path: Vec<u8>, how: How },
    Shutdown(RawFd),
    Close(RawFd),
    ReadDirectory { fd: RawFd, follow_links: bool },
    Digest { fd: RawFd, facts: Facts },
    Watch { fd: RawFd, watcher: RawFd, way: Way },
    Mount(u64),
}

/// An operation in flight.
#[derive(Debug)]
pub(super) struct Active {
    token: u64,
    pub(super) what: What,
    pub(super) memory: Memory,
    pub(super) due: Instant,
    fault: Option<Fault>,
    /// Whether the disk was waited for.
    pub(super) waited: bool,
}

impl Active {
    /// The part of a file that it reads: descriptor, offset and bytes.
    pub(super) fn part(&self) -> Option<(RawFd, u64, usize)> {
        match &self.what {
            What::Read { fd, offset } => Some((*fd, *offset, self.memory.room())),
            What::Warm { fd, offset, count } => Some((*fd, *offset, *count as usize)),
            _ => None,
        }
    }
}

/// An entry of the submission queue.
#[derive(Debug)]
pub(super) enum Entry {
    Start(Active),
    Cancel(u64),
}

/// What is delivered when the reactor takes an event.
#[derive(Debug, Default)]
pub(super) struct Told {
    memory: Memory,
    bytes: Vec<u8>,
    entries: Vec<(Vec<u8>, Facts)>,
    steps: Vec<Step>,
    facts: Option<Facts>,
}

/// What an operation came to.
pub(super) struct Outcome {
    pub(super) result: Result<u32, Errno>,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<(Vec<u8>, Facts)>,
    pub(super) steps: Vec<Step>,
    pub(super) facts: Option<Facts>,
    pub(super) more: bool,
}

impl Outcome {
    pub(super) fn of(result: Result<u32, Errno>) -> Self {
        let (bytes, entries, steps) = Default::default();
        Self { result, bytes, entries, steps, facts: None, more: false }
    }
}

impl What {
    fn of(op: &Op) -> Self {
        match op {
            Op::Readable { socket } => Self::Readable(socket.as_raw_fd()),
            Op::Triggered { trigger } => Self::Triggered(trigger.as_raw_fd()),
            Op::Writable { socket } => Self::Writable(socket.as_raw_fd()),
            Op::Accept { listener, once } => Self::Accept { fd: listener.as_raw_fd(), once: *once },
            Op::ReadHead { socket, .. } => Self::ReadHead(socket.as_raw_fd()),
            Op::Read { file, offset, via, .. } => {
                Self::Read { fd: file.of_read(*via).as_raw_fd(), offset: *offset }
            }
            Op::Send { socket, more, .. } | Op::SendMsg { socket, more, .. } => {
                Self::Send { fd: socket.as_raw_fd(), more: *more }
            }
            Op::Open { root, path, how } => {
                Self::Open { fd: root.as_raw_fd(), path: path.to_bytes().to_vec(), how: *how }
            }
            Op::Shutdown { socket } => Self::Shutdown(socket.as_raw_fd()),
            Op::Close { raw, .. } => Self::Close(*raw),
            Op::Stat { file, .. } => Self::Stat(file.as_raw_fd()),
            Op::Warm { file, offset, count, via } => {
                let fd = file.of_read(*via).as_raw_fd();
                Self::Warm { fd, offset: *offset, count: *count }
            }
            Op::Forget { file, offset, count } => {
                Self::Forget { fd: file.as_raw_fd(), offset: *offset, count: *count }
            }
            Op::Job(Job::Mount { mount, .. }) => Self::Mount(*mount),
            Op::Job(Job::ReadDirectory { directory, follow_links, .. }) => {
                Self::ReadDirectory { fd: directory.as_raw_fd(), follow_links: *follow_links }
            }
            Op::Job(Job::Digest { file, facts, .. }) => {
                Self::Digest { fd: file.as_raw_fd(), facts: **facts }
            }
            Op::Job(Job::Watch { watcher, root, way, .. }) => {
                Self::Watch { fd: root.as_raw_fd(), watcher: watcher.as_raw_fd(), way: way.clone() }
            }
            other => panic!("{other:?} is an inline operation and was submitted"),
        }
    }
}

impl State {
    /// Puts an operation into the queue.
    pub(super) fn submit(&mut self, token: u64, op: &mut Op, apart: bool) -> Result<(), QueueFull> {
        self.make_room()?;
        let what = What::of(op);
        let descriptor = what.descriptor();
        let open = descriptor == NO_DESCRIPTOR || self.object(descriptor).is_some();
        assert!(open, "{what:?}: the descriptor is closed");
        self.assert_is_apart(&what, apart);
        if let What::Send { fd, .. } = what {
            let stream = self.stream(fd);
            assert_eq!(stream.sends, 0, "two sends of one socket are in flight at once");
            stream.sends += 1;
        }
        let technique = Technique::of(op).0;
        let fault = self.fault(technique);
        let (memory, due) = (Memory::of(token, op), self.now);
        let active = Active { token, what, memory, due, fault, waited: false };
        self.assert_is_there(&active, apart);
        if let Some((fd, ..)) = active.part() {
            self.access(self.file(fd).0, apart);
        }
        self.queue.push(Entry::Start(active));
        Ok(())
    }

    pub(super) fn submit_cancel(&mut self, token: u64) -> Result<(), QueueFull> {
        self.make_room()?;
        self.queue.push(Entry::Cancel(token));
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), QueueFull> {
        // A completion queue that must be emptied first refuses once or twice, not for ever.
        let refused = self.refusals < 2 && self.random.chance(self.faults.queue_full);
        self.queue_refuses |= refused || self.queue.len() >= self.queue_max;
        if self.queue_refuses {
            self.refusals += 1;
            return Err(QueueFull);
        }
        self.refusals = 0;
        Ok(())
    }

    /// Takes the queue, lets time pass, and tells what has completed.
    pub(super) fn enter(&mut self, wait: Wait, events: &mut Vec<Event>) -> u32 {
        self.entries += 1;
        self.queue_refuses = false;
        self.asleep = false;
        let nanoseconds = 500 + self.random.below(20_000);
        self.pass(Duration::from_nanos(nanoseconds));
        self.jump();
        let queue = std::mem::take(&mut self.queue);
        let taken = queue.len() as u32;
        let before = events.len();
        events.append(&mut self.injected);
        for entry in queue {
            match entry {
                Entry::Start(active) => self.begin(active, events),
                Entry::Cancel(token) => self.cancel(token, events),
            }
        }
        let until = match wait {
            Wait::Not => Some(self.now),
            Wait::Forever => None,
            Wait::For(time) => Some(self.now + time),
        };
        loop {
            self.run_due(events);
            if events.len() > before || wait == Wait::Not {
                break;
            }
            let (pushed, held_until) = self.push_what_waited();
            if pushed {
                // A client has something to read now.
                break;
            }
            let next = self.active.values().map(|active| active.due).filter(|due| *due > self.now);
            // The outside world acts at a time of its own: nobody sleeps past it.
            let Some(then) = next.chain(until).chain(self.alarm).chain(held_until).min() else {
                self.asleep = true;
                break;
            };
            self.now = self.now.max(then);
            if until.is_some_and(|until| until <= self.now)
                || self.alarm.is_some_and(|alarm| alarm <= self.now)
            {
                self.run_due(events);
                break;
            }
        }
        self.overflow(before, events);
        taken
    }

    /// Holds back what a full completion queue has no room for.
    fn overflow(&mut self, before: usize, events: &mut Vec<Event>) {
        let fresh = events.len() - before;
        self.overflowed = fresh > 1 && self.random.chance(self.faults.overflow);
        if self.overflowed {
            let kept = 1 + self.random.below(fresh as u64 - 1) as usize;
            self.injected.extend(events.drain(before + kept..));
        }
    }

    fn begin(&mut self, mut active: Active, events: &mut Vec<Event>) {
        if let Some(Fault::Late(time)) = active.fault {
            active.due = self.now + time;
        } else if self.random.chance(self.faults.late) {
            let nanoseconds = self.random.below(LATE_MAX.as_nanos() as u64);
            active.due = self.now + Duration::from_nanos(nanoseconds);
        }
        self.order += 1;
        self.queue_job(self.order, &active.what);
        let tries = matches!(active.what, What::Accept { .. });
        self.active.insert(self.order, active);
        if tries {
            // The kernel tries an accept as it begins, so what was queued then is taken before any
            // cancel. What may be late is only that it hears of more.
            self.run(self.order, events);
        }
    }

    fn cancel(&mut self, token: u64, events: &mut Vec<Event>) {
        let found = self.active.iter().find(|(_, active)| active.token == token);
        let Some((&order, _)) = found else { return };
        if self.random.chance(self.faults.race) {
            self.run(order, events);
        }
        if let Some(active) = self.active.remove(&order) {
            self.end_job(order);
            self.tell(active, Outcome::of(Err(Errno::CANCELED)), events);
        }
    }

    fn run_due(&mut self, events: &mut Vec<Event>) {
        let now = self.now;
        let mut due: Vec<u64> = self
            .active
            .iter()
            .filter(|(_, active)| active.due <= now)
            .map(|(order, _)| *order)
            .collect();
        if self.random.chance(self.faults.reorder) {
            self.random.shuffle(&mut due);
        }
        for order in due {
            self.run(order, events);
        }
    }

    /// Lets an operation act; it stays in flight when it must wait.
    fn run(&mut self, order: u64, events: &mut Vec<Event>) {
        let Some(mut active) = self.active.remove(&order) else { return };
        while let Some(outcome) = self.act(order, &mut active) {
            if !outcome.more {
                self.end_job(order);
                return self.tell(active, outcome, events);
            }
            let event = Event { token: active.token, result: outcome.result, more: true };
            self.told.entry(active.token).or_default().push_back(Told::default());
            events.push(event);
        }
        self.active.insert(order, active);
    }

    /// The end of an operation.
    fn tell(&mut self, active: Active, outcome: Outcome, events: &mut Vec<Event>) {
        let Active { token, what, memory, .. } = active;
        if let What::Send { fd, .. } = what {
            self.stream(fd).sends -= 1;
        }
        let Outcome { result, bytes, entries, steps, facts, .. } = outcome;
        let queue: &mut VecDeque<Told> = self.told.entry(token).or_default();
        queue.push_back(Told { memory, bytes, entries, steps, facts });
        events.push(Event { token, result, more: false });
    }

    /// The reactor has found the operation of an event.
    pub(super) fn complete(&mut self, event: &Event, op: &mut Op) {
        let queue = self.told.get_mut(&event.token);
        let told = queue.and_then(VecDeque::pop_front);
        let Some(told) = told else {
            panic!("an event that belongs to nothing has found {op:?}");
        };
        told.memory.deliver(op, &told.bytes);
        if let Op::Job(job) = op
            && event.result.is_ok()
        {
            bring_home(job, &told.bytes, &told.entries, told.steps);
        }
        if let (Op::Stat { facts, .. }, Some(told)) = (&mut *op, told.facts) {
            **facts = told;
        }
        if self.told.get(&event.token).is_some_and(VecDeque::is_empty) {
            self.told.remove(&event.token);
        }
    }

    /// What an operation comes to now; none when it must wait.
    fn act(&mut self, order: u64, active: &mut Active) -> Option<Outcome> {
        let waits = active.what.is_job() && self.waits_for_a_helper(order);
        if waits || self.hangs(active) || self.waits_for_disk(active) {
            return None;
        }
        let fd = active.what.descriptor();
        let fault = active.fault.take();
        if let Some(Fault::Fail(errno)) = fault {
            if matches!(active.what, What::ReadHead(_) | What::Send { .. }) {
                self.spoil(fd, errno);
            }
            return Some(Outcome::of(Err(errno)));
        }
        if let Some(Fault::Shrink(size)) = fault {
            self.shrink(fd, size);
        }
        if fault == Some(Fault::Overwrite) {
            self.overwrite(fd);
        }
        let at_most = match fault {
            Some(Fault::Short(bytes)) => bytes as usize,
            _ => usize::MAX,
        };
        let outcome = match &active.what {
            What::Readable(fd) => self.is_readable(*fd).then(|| Outcome::of(Ok(1))),
            // It fires once for what has come.
            What::Triggered(fd) => self.is_readable(*fd).then(|| {
                let _ = self.receive(*fd, 8);
                Outcome::of(Ok(2))
            }),
            What::Writable(fd) => self.stream(*fd).poll_to_write().map(|all| Outcome::of(Ok(all))),
            What::Accept { fd, once } => {
                let ends = *once || fault == Some(Fault::Ends);
                self.accept(*fd, ends)
            }
            What::ReadHead(fd) => {
                let room = active.memory.room();
                assert!(room > 0, "a read has room");
                match self.receive(*fd, room.min(at_most)) {
                    Ok(None) => None,
                    Ok(Some(bytes)) => {
                        let result = Ok(bytes.len() as u32);
                        Some(Outcome { bytes, ..Outcome::of(result) })
                    }
                    Err(errno) => Some(Outcome::of(Err(errno))),
                }
            }
            What::Read { fd, offset } => {
                let (fd, offset) = (*fd, *offset);
                Some(match self.read_file(fd, offset, &active.memory, at_most) {
                    Ok(bytes) => {
                        let result = Ok(bytes.len() as u32);
                        Outcome { bytes, ..Outcome::of(result) }
                    }
                    Err(errno) => Outcome::of(Err(errno)),
                })
            }
            What::Send { fd, more, .. } => {
                let bytes = active.memory.bytes();
                assert!(!bytes.is_empty(), "a send has bytes");
                let (fd, more, now) = (*fd, *more, self.now);
                match self.stream(fd).room() {
                    Ok(0) => None,
                    Ok(room) => {
                        let count = bytes.len().min(room).min(at_most);
                        self.stream(fd).send(&bytes[..count], more, now);
                        Some(Outcome::of(Ok(count as u32)))
                    }
                    Err(errno) => Some(Outcome::of(Err(errno))),
                }
            }
            What::Open { fd, path, how } => Some(Outcome::of(self.open(*fd, path, *how))),
            What::Shutdown(fd) => Some(Outcome::of(self.stream(*fd).shut())),
            What::Close(fd) => {
                self.close(*fd);
                Some(Outcome::of(Ok(0)))
            }
            What::Stat(fd) => {
                let (inode, _) = self.file(*fd);
                Some(Outcome { facts: Some(self.files.facts(inode)), ..Outcome::of(Ok(0)) })
            }
            What::Warm { fd, offset, count } => {
                let (inode, _) = self.file(*fd);
                let count = (*count as usize).min(at_most);
                let bytes = self.files.bytes(inode, *offset, count);
                Some(Outcome::of(bytes.map(|bytes| bytes.len() as u32)))
            }
            What::Forget { fd, offset, count } => {
                self.forget(*fd, *offset, *count);
                Some(Outcome::of(Ok(0)))
            }
            What::Mount(mount) => Some(self.mount_told(*mount)),
            What::ReadDirectory { fd, follow_links } => {
                Some(self.read_directory(*fd, *follow_links))
            }
            What::Digest { fd, facts } => Some(self.digest(*fd, *facts)),
            What::Watch { fd, watcher, way } => Some(self.watch(*fd, *watcher, way)),
        };
        if outcome.is_none() {
            active.fault = fault;
        }
        outcome
    }
}
