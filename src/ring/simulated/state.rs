//! The state of the simulated kernel: descriptors, clocks, and which fault befalls whom.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::io::Errno;

use super::faults::{Fault, Faults, Script};
use super::files::Files;
use super::network::{Listener, PAGE, Pipe, Stream};
use super::operations::{Active, Entry, Outcome, Told};
use super::watch::Watcher;
use crate::base::{Instant, Random, WallClock};
use crate::ring::handle::SIMULATED_FIRST;
use crate::ring::io::Event;
use crate::ring::job::line::Line;
use crate::ring::op::How;
use crate::ring::stats::Technique;

/// Bytes of a file beyond which it grows no more by itself.
const GROWN_BYTES_MAX: u64 = 200_000;

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object {
    /// With whether it is past the page cache, and whether a thread has read by it.
    File {
        inode: usize,
        direct: bool,
        read_apart: bool,
    },
    Stream(usize),
    Listener(usize),
    PipeOut(usize),
    PipeIn(usize),
    Counter(usize),
    Watcher(usize),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) now: Instant,
    /// The wall clock at the origin of the monotonic one, in nanoseconds.
    pub(super) wall_origin: i64,
    /// What it was read at, in seconds.
    pub(super) seconds_told: Vec<i64>,
    pub(super) faults: Faults,
    pub(super) script: Script,
    pub(super) objects: Vec<Option<Object>>,
    pub(super) descriptors_max: usize,
    pub(super) files: Files,
    pub(super) streams: Vec<Stream>,
    pub(super) listeners: Vec<Listener>,
    pub(super) pipes: Vec<Pipe>,
    pub(super) pipe_bytes_max: u32,
    pub(super) counters: Vec<u64>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) queue: Vec<Entry>,
    pub(super) queue_max: usize,
    pub(super) queue_refuses: bool,
    pub(super) refusals: u32,
    /// What is in flight, in the order of its start.
    pub(super) active: BTreeMap<u64, Active>,
    pub(super) order: u64,
    /// Jobs that wait for a helper, and the mounts of those that one has begun, by their order.
    pub(super) helpers: Line<Option<usize>, u64>,
    pub(super) helped: HashMap<u64, Option<usize>>,
    /// Events that the reactor has not taken yet, by token.
    pub(super) told: HashMap<u64, VecDeque<Told>>,
    pub(super) injected: Vec<Event>,
    /// Whether the last entry held events back.
    pub(super) overflowed: bool,
    pub(super) alarm: Option<Instant>,
    pub(super) asleep: bool,
    pub(super) entries: u64,
    pub(super) executed: u64,
    pub(super) shrunk: u64,
    pub(super) waited_out: u64,
    pub(super) enter_fault: Option<Errno>,
    /// Pages that were sent inline although they had gone a moment before.
    pub(super) stalled: u64,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now: Instant::from_nanoseconds(1_000_000_000_000),
            wall_origin: 1_750_000_000_000_000_000,
            seconds_told: Vec::new(),
            faults: Faults::NONE,
            script: Script::default(),
            objects: Vec::new(),
            descriptors_max: 1 << 20,
            files: Files::new(),
            streams: Vec::new(),
            listeners: Vec::new(),
            pipes: Vec::new(),
            pipe_bytes_max: 1 << 20,
            counters: Vec::new(),
            watchers: Vec::new(),
            queue: Vec::new(),
            queue_max: 256,
            queue_refuses: false,
            refusals: 0,
            active: BTreeMap::new(),
            helpers: Line::default(),
            helped: HashMap::new(),
            order: 0,
            told: HashMap::new(),
            injected: Vec::new(),
            overflowed: false,
            alarm: None,
            asleep: false,
            entries: 0,
            executed: 0,
            shrunk: 0,
            waited_out: 0,
            enter_fault: None,
            stalled: 0,
        }
    }

    /// The clock moves a little with each reading.
    pub(super) fn read_clock(&mut self) -> Instant {
        self.pass(Duration::from_nanos(24));
        self.now
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(super) fn wall(&self) -> WallClock {
        let now = self.wall_origin + self.now.nanoseconds() as i64;
        WallClock {
            seconds: now.div_euclid(1_000_000_000),
            nanoseconds: now.rem_euclid(1_000_000_000) as u32,
        }
    }

    /// Clocks that jump, and memory that becomes short.
    pub(super) fn jump(&mut self) {
        if self.random.chance(self.faults.clock_jump) {
            let time = Duration::from_nanos(self.random.below(120_000_000_000));
            self.pass(time);
            // A machine that sleeps evicts nothing meanwhile.
            self.files.sleep(time);
        }
        if self.random.chance(self.faults.wall_jump) {
            let day = 86_400_000_000_000;
            self.wall_origin += self.random.below(2 * day as u64) as i64 - day;
        }
        // After the jumps, so that what is evicted now is not long gone.
        if self.random.chance(self.faults.evict) {
            let inode = self.random.below(self.files.inodes.len() as u64) as usize;
            match self.random.chance(500) {
                true => self.chill(inode, 0),
                false => self.chill_end(inode),
            }
        }
    }

    /// The fault of an operation that begins now: by script, else by chance.
    pub(super) fn fault(&mut self, technique: Technique) -> Option<Fault> {
        let scripted = self.script.next(technique);
        if scripted.is_some() {
            return scripted;
        }
        let Faults { short_read, short_send, interrupted, again, reset, io_error, .. } =
            self.faults;
        let no_descriptor = self.faults.no_descriptor;
        let (disk, network) = (Errno::IO, Errno::CONNRESET);
        use Technique as T;
        let (fails, short): (&[(u32, Errno)], u32) = match technique {
            T::Read | T::ReadFixed | T::DirectRead => {
                (&[(io_error, disk), (interrupted, Errno::INTR)], short_read)
            }
            T::Pread | T::SpliceIn => (&[(io_error, disk)], short_read),
            T::Readv => (&[(reset, network), (interrupted, Errno::INTR)], short_read),
            T::Send | T::SendMsg => {
                (&[(reset, network), (reset, Errno::PIPE), (interrupted, Errno::INTR)], short_send)
            }
            T::Sendfile => {
                (&[(reset, network), (io_error, disk), (again, Errno::AGAIN)], short_send)
            }
            T::PutIn | T::Tee => (&[(again, Errno::AGAIN)], short_send),
            T::SpliceOut => (&[(reset, network), (again, Errno::AGAIN)], short_send),
            T::Open => {
                (&[(io_error, disk), (no_descriptor, Errno::MFILE), (again / 4, Errno::AGAIN)], 0)
            }
            T::Stat => (&[(io_error, disk)], 0),
            T::ReadDirectory | T::Digest | T::Watch => (&[(io_error, disk)], 0),
            T::Notices | T::Unwatch => (&[], 0),
            T::Warm => (&[(io_error, disk), (interrupted, Errno::INTR)], short_read),
            T::Residency | T::Forget | T::Mount => (&[], 0),
            T::Accept | T::Poll | T::Shutdown | T::Close => (&[], 0),
            // No kernel has a reason to refuse it yet.
            T::Unacknowledged => (&[(reset, Errno::INVAL)], 0),
            T::Peer | T::Reset => (&[], 0),
        };
        for (chance, errno) in fails {
            if self.random.chance(*chance) {
                let head = matches!(technique, T::Sendfile | T::SpliceOut) && *errno != disk;
                let of_head = head && self.random.chance(500);
                return Some(if of_head { Fault::FailHead(*errno) } else { Fault::Fail(*errno) });
            }
        }
        self.random.chance(short).then(|| {
            let longest = *self.random.pick(&[1, 10, 600, 5_000, 70_000]);
            Fault::Short(1 + self.random.below(longest) as u32)
        })
    }

    /// What a failure does beyond the operation: a reset is one for the whole connection.
    pub(super) fn spoil(&mut self, descriptor: RawFd, errno: Errno) {
        if matches!(errno, Errno::CONNRESET | Errno::PIPE)
            && let Some(Object::Stream(id)) = self.object(descriptor)
        {
            self.streams[id].reset(true);
        }
    }

    /// Somebody changes a file just before it is read.
    pub(super) fn disturb(&mut self, file: RawFd) {
        let (inode, _) = self.file(file);
        let size = self.files.facts(inode).size;
        if size > 0 && self.random.chance(self.faults.shrink) {
            let size = self.random.below(size);
            self.shrink(file, size);
        } else if size < GROWN_BYTES_MAX && self.random.chance(self.faults.grow) {
            let size = size + 1 + self.random.below(20_000);
            self.files.resize(inode, size, self.wall());
        }
    }

    pub(super) fn shrink(&mut self, file: RawFd, size: u64) {
        let Some(Object::File { inode, .. }) = self.object(file) else { return };
        if size < self.files.facts(inode).size {
            self.shrunk += 1;
            self.files.resize(inode, size, self.wall());
        }
    }

    pub(super) fn object(&self, descriptor: RawFd) -> Option<Object> {
        let place = descriptor.checked_sub(SIMULATED_FIRST)?;
        *self.objects.get(place as usize)?
    }

    pub(super) fn stream(&mut self, descriptor: RawFd) -> &mut Stream {
        match self.object(descriptor) {
            Some(Object::Stream(id)) => &mut self.streams[id],
            other => panic!("{other:?} is used as a connection"),
        }
    }

    /// The inode of a descriptor, and whether it is past the page cache.
    pub(super) fn file(&self, descriptor: RawFd) -> (usize, bool) {
        match self.object(descriptor) {
            Some(Object::File { inode, direct, .. }) => (inode, direct),
            other => panic!("{other:?} is used as a file"),
        }
    }

    /// Gives an object the lowest free descriptor.
    pub(super) fn install(&mut self, object: Object) -> Result<u32, Errno> {
        let place = self.objects.iter().position(Option::is_none).unwrap_or(self.objects.len());
        if place >= self.descriptors_max {
            return Err(Errno::MFILE);
        }
        if place == self.objects.len() {
            self.objects.push(None);
        }
        self.objects[place] = Some(object);
        Ok((SIMULATED_FIRST + place as RawFd) as u32)
    }

    pub(super) fn close(&mut self, descriptor: RawFd) {
        let object = self.object(descriptor).expect("a descriptor is closed once");
        let used = self.active.values().any(|active| active.what.descriptor() == descriptor);
        assert!(!used, "{object:?} is closed with an operation in flight on it");
        self.objects[(descriptor - SIMULATED_FIRST) as usize] = None;
        match object {
            Object::Stream(id) => self.streams[id].close(&mut self.random),
            Object::Listener(id) => {
                self.listeners[id].closed = true;
                // Whoever nobody has accepted is lost with it.
                for stream in std::mem::take(&mut self.listeners[id].queued) {
                    self.streams[stream].reset(true);
                }
            }
            _ => {}
        }
    }

    /// Pushes what was held back for too long; says whether there was any, and when the next is
    /// due.
    pub(super) fn push_what_waited(&mut self) -> (bool, Option<Instant>) {
        let now = self.now;
        let before = self.waited_out;
        let mut next = None;
        for stream in &mut self.streams {
            match stream.holds() {
                Some(until) if until <= now => {
                    stream.push();
                    self.waited_out += 1;
                }
                Some(until) => next = Some(next.map_or(until, |next: Instant| next.min(until))),
                None => {}
            }
        }
        (self.waited_out > before, next)
    }

    pub(super) fn is_readable(&mut self, descriptor: RawFd) -> bool {
        match self.object(descriptor) {
            Some(Object::Stream(id)) => self.streams[id].is_readable(),
            Some(Object::Listener(id)) => !self.listeners[id].queued.is_empty(),
            Some(Object::Counter(id)) => self.counters[id] > 0,
            other => panic!("{other:?} is waited for"),
        }
    }

    /// Reads from a connection or an event counter.
    pub(super) fn receive(
        &mut self,
        descriptor: RawFd,
        room: usize,
    ) -> Result<Option<Vec<u8>>, Errno> {
        if let Some(Object::Counter(id)) = self.object(descriptor) {
            let count = std::mem::take(&mut self.counters[id]);
            return Ok((count > 0).then(|| count.to_ne_bytes().to_vec()));
        }
        self.stream(descriptor).read(room)
    }

    pub(super) fn open(&mut self, root: RawFd, path: &[u8], how: How) -> Result<u32, Errno> {
        let (from, _) = self.file(root);
        if how.stays() {
            let there = self.files.resolve(from, path, how.links)?;
            if self.files.facts(there).mount != how.mount {
                return Err(Errno::XDEV);
            }
        }
        let inode = self.files.open(from, path, how.links, how.direct)?;
        self.install(Object::File { inode, direct: how.direct, read_apart: false })
    }

    /// `ends` says that it takes one connection, and no more.
    pub(super) fn accept(&mut self, listener: RawFd, ends: bool) -> Option<Outcome> {
        let Some(Object::Listener(id)) = self.object(listener) else {
            panic!("an accept on what is not a listener")
        };
        let stream = *self.listeners[id].queued.front()?;
        if self.random.chance(self.faults.no_descriptor) {
            return Some(Outcome::of(Err(Errno::MFILE)));
        }
        let result = self.install(Object::Stream(stream));
        if result.is_ok() {
            self.listeners[id].queued.pop_front();
        }
        let ends = ends || result.is_err() || self.random.chance(self.faults.accept_ends);
        Some(Outcome { more: !ends, ..Outcome::of(result) })
    }

    pub(super) fn open_pipe(&mut self, bytes: u32) -> Result<(RawFd, RawFd, u32), Errno> {
        if self.random.chance(self.faults.no_pipe) {
            return Err(Errno::MFILE);
        }
        let small = self.random.chance(self.faults.small_pipe);
        let granted = if small { PAGE as u32 } else { bytes.min(self.pipe_bytes_max) };
        let id = self.pipes.len();
        let read = self.install(Object::PipeOut(id))? as RawFd;
        let write = match self.install(Object::PipeIn(id)) {
            Ok(write) => write as RawFd,
            Err(errno) => {
                self.close(read);
                return Err(errno);
            }
        };
        self.pipes.push(Pipe::new(granted));
        Ok((read, write, granted))
    }
}
