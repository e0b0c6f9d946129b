//! The state of the simulated kernel, and the test's view of it.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::Simulated;
use super::faults::{Fault, Faults, Script};
use super::files::{Files, ROOT};
use super::network::{End, Listener, PAGE, Pipe, Stream};
use super::operations::{Active, Entry, Told};
use super::random::Random;
use crate::base::{Instant, WallClock};
use crate::ring::handle::SIMULATED_FIRST;
use crate::ring::io::Event;
use crate::ring::op::How;
use crate::ring::stats::Technique;

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object {
    File { inode: usize, direct: bool },
    Stream(usize),
    Listener(usize),
    PipeOut(usize),
    PipeIn(usize),
    Counter(usize),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) now: Instant,
    /// The wall clock at the origin of the monotonic one, in nanoseconds.
    wall_origin: i64,
    pub(super) faults: Faults,
    script: Script,
    objects: Vec<Option<Object>>,
    descriptors_max: usize,
    pub(super) files: Files,
    streams: Vec<Stream>,
    pub(super) listeners: Vec<Listener>,
    pub(super) pipes: Vec<Pipe>,
    pipe_bytes_max: u32,
    counters: Vec<u64>,
    pub(super) queue: Vec<Entry>,
    pub(super) queue_max: usize,
    pub(super) queue_refuses: bool,
    pub(super) refusals: u32,
    /// What is in flight, in the order of its start.
    pub(super) active: BTreeMap<u64, Active>,
    pub(super) order: u64,
    /// Events that the reactor has not taken yet, by token.
    pub(super) told: HashMap<u64, VecDeque<Told>>,
    pub(super) injected: Vec<Event>,
    pub(super) alarm: Option<Instant>,
    pub(super) asleep: bool,
    pub(super) entries: u64,
    pub(super) executed: u64,
    shrunk: u64,
    waited_out: u64,
    pub(super) enter_fault: Option<Errno>,
}

impl State {
    /// The clock moves a little with each reading.
    pub(super) fn read_clock(&mut self) -> Instant {
        self.pass(Duration::from_nanos(24));
        self.now
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn wall(&self) -> WallClock {
        let now = self.wall_origin + self.now.nanoseconds() as i64;
        WallClock {
            seconds: now.div_euclid(1_000_000_000),
            nanoseconds: now.rem_euclid(1_000_000_000) as u32,
        }
    }

    /// Clocks that jump.
    pub(super) fn jump(&mut self) {
        if self.random.chance(self.faults.clock_jump) {
            let time = Duration::from_nanos(self.random.below(120_000_000_000));
            self.pass(time);
        }
        if self.random.chance(self.faults.wall_jump) {
            let day = 86_400_000_000_000;
            self.wall_origin += self.random.below(2 * day as u64) as i64 - day;
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
            T::Send | T::SendZc => {
                (&[(reset, network), (reset, Errno::PIPE), (interrupted, Errno::INTR)], short_send)
            }
            T::Sendfile => {
                (&[(reset, network), (io_error, disk), (again, Errno::AGAIN)], short_send)
            }
            T::SpliceOut => (&[(reset, network), (again, Errno::AGAIN)], short_send),
            T::Open => {
                (&[(io_error, disk), (no_descriptor, Errno::MFILE), (again, Errno::AGAIN)], 0)
            }
            T::Stat => (&[(io_error, disk)], 0),
            T::Accept | T::Poll | T::Shutdown | T::Peer | T::Reset | T::Close => (&[], 0),
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
        } else if self.random.chance(self.faults.grow) {
            let size = size + 1 + self.random.below(100_000);
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
            Some(Object::File { inode, direct }) => (inode, direct),
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
            Object::Listener(id) => self.listeners[id].closed = true,
            _ => {}
        }
    }

    /// Pushes what was held back for too long; says when the next is due.
    pub(super) fn push_what_waited(&mut self) -> Option<Instant> {
        let now = self.now;
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
        next
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
        let inode = self.files.open(from, path, !how.no_links, how.direct)?;
        self.install(Object::File { inode, direct: how.direct })
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

/// A listening socket of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(usize);

/// The simulated kernel and everything outside the process, as a test sees it.
#[derive(Clone, Debug)]
pub struct World(Rc<RefCell<State>>);

impl World {
    /// A world without files and faults, where the same seed gives the same course.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: Random::new(seed),
            now: Instant::from_nanoseconds(1_000_000_000_000),
            wall_origin: 1_750_000_000_000_000_000,
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
            queue: Vec::new(),
            queue_max: 256,
            queue_refuses: false,
            refusals: 0,
            active: BTreeMap::new(),
            order: 0,
            told: HashMap::new(),
            injected: Vec::new(),
            alarm: None,
            asleep: false,
            entries: 0,
            executed: 0,
            shrunk: 0,
            waited_out: 0,
            enter_fault: None,
        })))
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// A kernel of this world, for a reactor.
    pub fn kernel(&self) -> Simulated {
        Simulated::new(self.clone())
    }

    /// Sets the chances of faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Lets a fault befall the operation of a technique that follows after `pass` others.
    pub fn script(&self, technique: Technique, pass: u32, fault: Fault) {
        self.state().script.add(technique, pass, None, fault);
    }

    /// Lets a fault befall every `nth` operation of a technique.
    pub fn script_every(&self, technique: Technique, nth: u32, fault: Fault) {
        assert!(nth > 0, "every first operation is the most that there is");
        self.state().script.add(technique, nth - 1, Some(nth - 1), fault);
    }

    /// How many faults of the script have befallen an operation.
    pub fn befallen(&self) -> u64 {
        self.state().script.befallen()
    }

    /// Bounds of the process and of the kernel: descriptors, entries of the submission queue,
    /// bytes of a pipe.
    pub fn set_bounds(&self, descriptors: usize, queue: usize, pipe_bytes: u32) {
        assert!(queue > 0 && pipe_bytes as usize >= PAGE, "no kernel is without");
        let mut state = self.state();
        state.descriptors_max = descriptors;
        state.queue_max = queue;
        state.pipe_bytes_max = pipe_bytes;
    }

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// The wall clock.
    pub fn wall(&self) -> WallClock {
        self.state().wall()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.state().pass(time);
    }

    /// When the outside world acts next: no wait of the kernel goes on past it.
    pub fn set_alarm(&self, at: Option<Instant>) {
        self.state().alarm = at;
    }

    /// Whether the last entry into the kernel would wait for ever.
    pub fn is_asleep(&self) -> bool {
        self.state().asleep
    }

    /// Entries into the kernel and inline operations so far.
    pub fn calls(&self) -> (u64, u64) {
        let state = self.state();
        (state.entries, state.executed)
    }

    /// A file at a path, in place of what was there; its directories are made.
    pub fn file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let now = self.wall();
        self.state().files.file(path, bytes.into(), now);
    }

    /// An empty directory.
    pub fn directory(&self, path: &str) {
        let now = self.wall();
        self.state().files.directory(path, now);
    }

    /// A symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        let now = self.wall();
        self.state().files.link(path, target, now);
    }

    /// A FIFO.
    pub fn fifo(&self, path: &str) {
        let now = self.wall();
        self.state().files.fifo(path, now);
    }

    /// Takes a name away.
    pub fn remove(&self, path: &str) {
        self.state().files.remove(path);
    }

    /// A file or directory that this process may not read.
    pub fn forbid(&self, path: &str) {
        self.state().files.forbid(path);
    }

    /// Cuts a file, or lengthens it with bytes of its own.
    pub fn resize(&self, path: &str, size: u64) {
        let now = self.wall();
        let mut state = self.state();
        let inode = state.files.at(path);
        state.shrunk += u64::from(size < state.files.facts(inode).size);
        state.files.resize(inode, size, now);
    }

    /// How often a file was cut.
    pub fn shrunk(&self) -> u64 {
        self.state().shrunk
    }

    /// How often bytes were held back for more (MSG_MORE) until the kernel lost patience.
    pub fn waited_out(&self) -> u64 {
        self.state().waited_out
    }

    /// What O_DIRECT needs, of memory and of offsets; none refuses it.
    pub fn set_direct(&self, alignment: Option<(u32, u32)>) {
        self.state().files.direct = alignment;
    }

    /// Opens the root directory.
    pub fn root(&self) -> u32 {
        let root = Object::File { inode: ROOT, direct: false };
        self.state().install(root).expect("the test leaves a descriptor to the root")
    }

    /// Opens a file.
    pub fn open(&self, path: &str, how: How) -> Result<u32, Errno> {
        let mut state = self.state();
        let inode = state.files.open(ROOT, path.as_bytes(), !how.no_links, how.direct)?;
        state.install(Object::File { inode, direct: how.direct })
    }

    /// A listening socket.
    pub fn listen(&self) -> (u32, ListenerId) {
        let mut state = self.state();
        let id = state.listeners.len();
        state.listeners.push(Listener::default());
        let raw = state.install(Object::Listener(id));
        (raw.expect("the test leaves a descriptor to the listener"), ListenerId(id))
    }

    /// A client that connects, with the sizes of the buffers on both ways, in bytes.
    pub fn connect(&self, listener: ListenerId, inbound: usize, outbound: usize) -> Client {
        let client = self.stream(inbound, outbound);
        let mut state = self.state();
        if state.listeners[listener.0].closed {
            state.streams[client.stream].reset(true);
        } else {
            state.listeners[listener.0].queued.push_back(client.stream);
        }
        drop(state);
        client
    }

    /// A connection that needs no accepting: the server's descriptor, and the client.
    pub fn pair(&self, inbound: usize, outbound: usize) -> (u32, Client) {
        let client = self.stream(inbound, outbound);
        let raw = self.state().install(Object::Stream(client.stream));
        (raw.expect("the test leaves a descriptor to the connection"), client)
    }

    fn stream(&self, inbound: usize, outbound: usize) -> Client {
        let mut state = self.state();
        let stream = state.streams.len();
        state.streams.push(Stream::new(inbound, outbound));
        Client { world: self.clone(), stream }
    }

    /// An event counter: its descriptor.
    pub fn counter(&self) -> u32 {
        let mut state = self.state();
        let id = state.counters.len();
        state.counters.push(0);
        state.install(Object::Counter(id)).expect("the test leaves a descriptor to the counter")
    }

    /// Adds to an event counter.
    pub fn add(&self, counter: u32, count: u64) {
        let mut state = self.state();
        match state.object(counter as RawFd) {
            Some(Object::Counter(id)) => state.counters[id] += count,
            other => panic!("{other:?} is used as a counter"),
        }
    }

    /// Tells an event that belongs to no operation, as a kernel with a fault might.
    pub fn inject(&self, token: u64, result: Result<u32, Errno>) {
        let event = Event { token, result, more: false, notification: false };
        self.state().injected.push(event);
    }

    /// Lets the next entry into the kernel fail, after everything that it does.
    pub fn fail_entry(&self, errno: Errno) {
        self.state().enter_fault = Some(errno);
    }

    /// Descriptors that are open.
    pub fn descriptors(&self) -> usize {
        self.state().objects.iter().flatten().count()
    }

    /// Operations that the kernel has, queued or in flight.
    pub fn in_flight(&self) -> usize {
        let state = self.state();
        state.active.len() + state.queue.len()
    }

    /// Events that were told and whose operation nobody has looked for.
    pub fn untaken(&self) -> usize {
        self.state().told.len()
    }
}

/// The far end of a connection, played by the test.
#[derive(Clone, Debug)]
pub struct Client {
    world: World,
    stream: usize,
}

impl Client {
    fn with<T>(&self, act: impl FnOnce(&mut Stream, &mut Random) -> T) -> T {
        let mut state = self.world.state();
        let State { streams, random, .. } = &mut *state;
        act(&mut streams[self.stream], random)
    }

    /// Writes; how many bytes found room.
    pub fn write(&self, bytes: &[u8]) -> usize {
        self.with(|stream, random| stream.client_writes(bytes, random))
    }

    /// Reads what is there, at most so many bytes.
    pub fn read(&self, bytes_max: usize) -> Vec<u8> {
        self.with(|stream, _| stream.client_reads(bytes_max))
    }

    /// Bytes that can be read.
    pub fn available(&self) -> usize {
        self.with(|stream, _| stream.visible())
    }

    /// How the connection stands.
    pub fn end(&self) -> End {
        self.with(|stream, _| stream.end())
    }

    /// Ends the client's side; it still reads.
    pub fn shut(&self) {
        self.with(|stream, _| stream.client_ends());
    }

    /// Closes; what the server still sends brings it a reset.
    pub fn close(&self) {
        self.with(|stream, _| stream.client_closes());
    }

    /// Resets the connection.
    pub fn reset(&self) {
        self.with(|stream, _| stream.reset(false));
    }

    /// Gives the client an address; it has one of loopback else.
    pub fn set_address(&self, address: SocketAddr) {
        self.with(|stream, _| stream.address = address);
    }

    /// Whether the server has closed its descriptor.
    pub fn is_closed_by_server(&self) -> bool {
        self.with(|stream, _| stream.server_closed)
    }
}
