//! What a test sees of the simulated kernel: the world around the process.

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::Simulated;
use super::faults::{Fault, Faults};
use super::files::{Mount, ROOT};
use super::network::{End, Listener, PAGE, Stream};
use super::state::{Object, State};
use super::watch::Watcher;
use crate::base::{Instant, Random, WallClock};
use crate::ring::io::Event;
use crate::ring::mount::MountKind;
use crate::ring::op::How;
use crate::ring::stats::Technique;

/// A listening socket of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(usize);

/// The simulated kernel and everything outside the process, as a test sees it.
#[derive(Clone)]
pub struct World(Rc<RefCell<State>>);

impl std::fmt::Debug for World {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.try_borrow();
        let now = state.map(|state| state.now).ok();
        formatter.debug_struct("World").field("now", &now).finish_non_exhaustive()
    }
}

impl World {
    /// A world without files and faults, where the same seed gives the same course.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State::new(seed))))
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

    /// The wall clock for whoever runs on this kernel, which is remembered.
    pub(super) fn tell_wall(&self) -> WallClock {
        let mut state = self.state();
        let wall = state.wall();
        if state.seconds_told.last() != Some(&wall.seconds) {
            state.seconds_told.push(wall.seconds);
        }
        wall
    }

    /// The seconds that the wall clock was read at, the first `count` left out. One that is the
    /// same as the last time is told once.
    pub fn seconds_told(&self, count: usize) -> Vec<i64> {
        self.state().seconds_told[count..].to_vec()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.state().pass(time);
    }

    /// Lets time pass while nobody runs, as on a machine that is suspended.
    pub fn suspend(&self, time: Duration) {
        let mut state = self.state();
        state.pass(time);
        state.files.sleep(time);
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
        let mut state = self.state();
        state.files.file(path, bytes.into(), now);
        state.tell_watchers();
    }

    /// An empty directory.
    pub fn directory(&self, path: &str) {
        let now = self.wall();
        let mut state = self.state();
        state.files.directory(path, now);
        state.tell_watchers();
    }

    /// A symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        let now = self.wall();
        let mut state = self.state();
        state.files.link(path, target, now);
        state.tell_watchers();
    }

    /// A FIFO.
    pub fn fifo(&self, path: &str) {
        let now = self.wall();
        let mut state = self.state();
        state.files.fifo(path, now);
        state.tell_watchers();
    }

    /// Takes a name away.
    pub fn remove(&self, path: &str) {
        let now = self.wall();
        let mut state = self.state();
        state.files.remove(path, now);
        state.tell_watchers();
    }

    /// Gives what is at a path another name, in place of what had it.
    pub fn rename(&self, from: &str, to: &str) {
        let now = self.wall();
        let mut state = self.state();
        state.files.rename(from, to, now);
        state.tell_watchers();
    }

    /// A file or directory that this process may not read.
    pub fn forbid(&self, path: &str) {
        let mut state = self.state();
        state.files.forbid(path);
        state.tell_watchers();
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

    /// A directory that is a mount of its own; its number.
    pub fn mount(&self, path: &str, kind: MountKind) -> u64 {
        let now = self.wall();
        let mut state = self.state();
        let inode = state.files.directory(path, now);
        state.files.mounts.push(Mount::new(kind));
        state.files.inodes[inode].mount = state.files.mounts.len() - 1;
        state.files.mounts.len() as u64
    }

    /// A mount goes, and one of another kind comes in its place that gets its number and its
    /// device, with the same files. None of those before may be open.
    pub fn mount_anew(&self, mount: u64, kind: MountKind) {
        let mut state = self.state();
        state.files.mounts[mount as usize - 1] = Mount::new(kind);
        state.files.mount_changes += 1;
    }

    /// Reads of a mount take note of their time from now on; `far` ones, too, behind the end of all
    /// files, as on XFS and btrfs.
    pub fn note_access(&self, mount: u64, far: bool) {
        let mount = &mut self.state().files.mounts[mount as usize - 1];
        (mount.notes_access, mount.notes_far) = (true, far);
    }

    /// Lets a mount hang, or releases it.
    pub fn hang(&self, mount: u64, hangs: bool) {
        let mount = &mut self.state().files.mounts[mount as usize - 1];
        (mount.hangs, mount.begun) = (hangs, 0);
    }

    /// All files are of another user: nothing but a read tells what of them is in memory, and it
    /// begins to read what is not.
    pub fn give_away(&self) {
        self.state().files.of_others = true;
    }

    /// Pages that were sent inline although they had gone a moment before.
    pub fn stalled(&self) -> u64 {
        self.state().stalled
    }

    /// What O_DIRECT needs, of memory and of offsets; none refuses it.
    pub fn set_direct(&self, alignment: Option<(u32, u32)>) {
        self.state().files.direct = alignment;
    }

    /// Opens the root directory.
    pub fn root(&self) -> u32 {
        let root = Object::File { inode: ROOT, direct: false, read_apart: false };
        self.state().install(root).expect("the test leaves a descriptor to the root")
    }

    /// Opens a file.
    pub fn open(&self, path: &str, how: How) -> Result<u32, Errno> {
        let mut state = self.state();
        let inode = state.files.open(ROOT, path.as_bytes(), how.links, how.direct)?;
        state.install(Object::File { inode, direct: how.direct, read_apart: false })
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

    /// A watcher of directories (inotify): its descriptor.
    pub fn watcher(&self) -> u32 {
        let mut state = self.state();
        let id = state.watchers.len();
        state.watchers.push(Watcher::default());
        state.install(Object::Watcher(id)).expect("the test leaves a descriptor to the watcher")
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
        let event = Event { token, result, more: false };
        self.state().injected.push(event);
    }

    /// Bytes that the server has sent to clients, and those that it has read from them.
    pub fn traffic(&self) -> (u64, u64) {
        let state = self.state();
        let sum = |of: fn(&Stream) -> u64| state.streams.iter().map(of).sum();
        (sum(|stream| stream.sent), sum(|stream| stream.received))
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
