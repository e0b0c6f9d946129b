//! One connection with one body, over any kernel.

use std::rc::Rc;
use std::sync::Arc;

use pitcrew::cache::{BlockOptions, Blocks, Direct, Version};
use pitcrew::engines::{self, Body, BodyError, Decline, Engine, Kind, Progress, Step, Trail};
use pitcrew::http::negotiate::Coding;
use pitcrew::limits::{BODY_BLOCK_BYTES, BODY_HEAD_ROOM};
use pitcrew::ring::simulated::{Client, End, Simulated, World};
use pitcrew::ring::{
    Ask, File, How, Io, Kernel, MountKind, Op, Options, Outgoing, Owner, Pool, Reactor, Scarce,
    Socket, Start, Stats, Wake,
};

/// Bytes that an owner may move in one turn.
pub(crate) const TURN_BYTES: u32 = 128 * 1024;
/// Turns that any body of this suite is served in.
const TURNS_MAX: usize = 200_000;
/// Bytes of a block of the cache.
pub(crate) const BLOCK_BYTES: usize = 65_536;
/// What follows a body that says that more follows.
pub(crate) const MARKER: &[u8] = b"what follows";

/// A body to be served.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) offset: u64,
    pub(crate) head: usize,
    /// Whether the head lies in a leased buffer, where it fits.
    pub(crate) leased: bool,
    pub(crate) more: bool,
}

impl Task {
    /// Everything the client is to read.
    pub(crate) fn expected(&self) -> Vec<u8> {
        let content = content(self.file_bytes());
        let mut all = head(self.head);
        all.extend(&content[self.offset as usize..(self.offset + self.size) as usize]);
        if self.more {
            all.extend(MARKER);
        }
        all
    }

    /// The file goes on behind the span.
    pub(crate) fn file_bytes(&self) -> usize {
        (self.offset + self.size + 777) as usize
    }
}

/// Bytes that differ from those at other places.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend((state >> 8).to_le_bytes());
    }
    content.truncate(bytes);
    content
}

fn head(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'A' + (at % 23) as u8).collect()
}

/// What became of a body.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) end: Step,
    /// Who has served it in the end.
    pub(crate) by: Kind,
    pub(crate) declined: Vec<(Kind, Decline)>,
    /// What the engines say that the kernel took.
    pub(crate) progress: Progress,
    pub(crate) turns: usize,
}

impl Course {
    pub(crate) fn failure(&self) -> Option<BodyError> {
        match self.end {
            Step::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// A reactor with one owner and one connection.
pub(crate) struct Rig<K: Kernel> {
    pub(crate) reactor: Reactor<K>,
    pub(crate) owner: Owner,
    blocks: Blocks,
    blocks_owner: Owner,
    socket: Option<Socket>,
    version: Option<Rc<Version>>,
}

pub(crate) fn options() -> Options {
    Options {
        rings: 1,
        operations_max: 64,
        owners_max: 8,
        pools: [
            (4096, 4),
            (16_384, 4),
            (65_536, 4),
            (BODY_HEAD_ROOM + BODY_BLOCK_BYTES, 3),
            (BLOCK_BYTES, 5),
        ],
        pipes_max: 2,
        pipe_bytes: 65_536,
        turn_bytes: TURN_BYTES,
        shared_turn_bytes: TURN_BYTES,
    }
}

impl<K: Kernel> Rig<K> {
    /// Over a reactor, with the connection, the file, and the file past the page cache.
    pub(crate) fn new(
        mut reactor: Reactor<K>,
        socket: Socket,
        file: File,
        direct: Option<File>,
    ) -> Self {
        let owner = reactor.register().expect("there is room for one owner");
        let blocks_owner = reactor.register().expect("and for the cache of blocks");
        let foresees = true;
        let blocks =
            BlockOptions { block_bytes: BLOCK_BYTES, blocks_max: 5, reads_max: 4, foresees };
        let blocks = Blocks::new(blocks, Arc::default());
        let stat = Op::stat(file.clone(), Ask::Mount);
        let Start::Executed(done) = reactor.io(owner).start(stat) else {
            panic!("a stat runs at once")
        };
        let Some(Op::Stat { facts, .. }) = done.op else { panic!("the operation comes home") };
        let mut version = Version::new(file, *facts, Coding::Identity, reactor.now());
        let (memory, offset) = (facts.direct_memory, facts.direct_offset);
        // A file system may open past the page cache and not say what alignment it needs.
        let usable = memory.is_power_of_two() && offset.is_power_of_two();
        if let Some(direct) = &direct {
            direct.set_mount(facts.mount);
        }
        version.direct = direct.filter(|_| usable).map(|file| Direct { file, memory, offset });
        // A first turn, without waiting: before it nobody has a budget.
        reactor.wake_next_turn(owner);
        reactor.turn().expect("the kernel is entered");
        while reactor.next_wake().is_some() {}
        // A helper may be looking up what the mount is.
        while reactor.mount_kind(version.facts.mount) == MountKind::Unproven {
            reactor.turn().expect("the kernel is entered");
        }
        let (socket, version) = (Some(socket), Some(Rc::new(version)));
        Self { reactor, owner, blocks, blocks_owner, socket, version }
    }

    fn body(&mut self, task: &Task) -> Body {
        let head = (task.head > 0).then(|| {
            let bytes = head(task.head);
            let lease = task.leased.then(|| self.reactor.io(self.owner).lease(Pool::Answer));
            match lease.flatten().filter(|lease| lease.len() >= bytes.len()) {
                Some(mut lease) => {
                    lease[..bytes.len()].copy_from_slice(&bytes);
                    Outgoing::leased(lease, 0..bytes.len())
                }
                None => Outgoing::shared(bytes.into()),
            }
        });
        Body {
            tap: None,
            socket: self.socket.clone().expect("the connection is open"),
            head,
            version: self.version.clone().expect("the file is open"),
            offset: task.offset,
            count: task.size,
            more: task.more,
            passes: false,
            trail: Trail::default(),
            inline: task.kind == Kind::Auto,
            blocks: self.blocks.reader(self.owner),
        }
    }

    /// The next wake of the owner; those of the cache of blocks are delivered.
    fn next_wake(&mut self) -> Option<Wake> {
        loop {
            if self.blocks.has_work() {
                self.blocks.pump(&mut self.reactor.io(self.blocks_owner));
            }
            while let Some(owner) = self.blocks.next_woken() {
                self.reactor.wake(owner, Wake::Ready);
            }
            let (owner, wake) = self.reactor.next_wake()?;
            if owner != self.blocks_owner {
                assert_eq!(owner, self.owner, "there is one owner");
                return Some(wake);
            }
            self.blocks.wake(wake, &mut self.reactor.io(self.blocks_owner));
        }
    }

    /// Serves a body; `outside` is asked before each turn.
    pub(crate) fn serve(&mut self, task: &Task, mut outside: impl FnMut()) -> Course {
        let mut kind = task.kind;
        let body = self.body(task);
        let mut engine = engines::start(kind, body);
        let mut declined = Vec::new();
        let mut progress = Progress::default();
        let mut wake = Wake::Begin;
        let mut turns = 0;
        let mut in_this_turn = 0;
        let end = loop {
            let before = engine.progress();
            let step = engine.step(wake, &mut self.reactor.io(self.owner));
            let after = engine.progress();
            assert!(after.head >= before.head && after.body >= before.body, "progress goes on");
            assert!(after.head <= task.head as u64 && after.body <= task.size, "to the end");
            in_this_turn += after.body - before.body;
            assert!(
                in_this_turn <= u64::from(TURN_BYTES),
                "{kind}, {task:?}: {in_this_turn} bytes in one turn"
            );
            match step {
                Step::Finished | Step::Failed(_) => break step,
                Step::Declined(why) => {
                    assert_ne!(kind, Kind::Copy, "the copy engine never declines");
                    assert_eq!(after.body, 0, "{kind} declined after its first byte");
                    assert_eq!(engine.in_flight(), 0, "{kind} declined with something in flight");
                    progress.head += after.head;
                    declined.push((kind, why));
                    let body = engine.give_back();
                    kind = engines::next_in_chain(kind, why).expect("somebody serves");
                    engine = engines::start(kind, body);
                    wake = Wake::Begin;
                    continue;
                }
                Step::Yielded => self.reactor.stand_in_line(self.owner),
                Step::Waiting | Step::Blocked => {}
            }
            self.assert_says_what_it_holds(&*engine, task);
            wake = loop {
                if let Some(wake) = self.next_wake() {
                    break wake;
                }
                outside();
                self.reactor.turn().expect("the kernel is entered");
                turns += 1;
                in_this_turn = 0;
                assert!(turns < TURNS_MAX, "{task:?} by {kind} does not end: {engine:?}");
            };
        };
        if end == Step::Finished {
            assert_eq!(engine.in_flight(), 0, "{kind} finished with something in flight");
        }
        if let Step::Failed(BodyError::Read(_) | BodyError::Truncated | BodyError::Changed) = end {
            // What was read before shall reach the client: the owner shuts the connection next.
            assert_eq!(engine.in_flight(), 0, "{kind} failed with a send in flight");
        }
        progress.head += engine.progress().head;
        progress.body += engine.progress().body;
        Course { end, by: kind, declined, progress, turns }
    }

    /// What is out is held by the engine, and it says so; blocks are kept by their cache, too.
    fn assert_says_what_it_holds(&self, engine: &dyn Engine, task: &Task) {
        let (buffers, pipes) = self.reactor.leased();
        for scarce in Scarce::ALL {
            let out = match scarce {
                Scarce::Buffer(pool) => buffers[pool as usize],
                Scarce::Pipe => pipes,
            };
            let holds = engine.holds(scarce);
            let is_kept = scarce == Scarce::Buffer(Pool::Block);
            assert!(
                holds == (out > 0) || is_kept && !holds,
                "{task:?}: {scarce:?} are out: {out}, and {engine:?} says {holds}"
            );
        }
    }

    /// Sends what follows a body; false when the connection is gone.
    pub(crate) fn send_marker(&mut self, mut outside: impl FnMut()) -> bool {
        let mut left = Outgoing::shared(MARKER.into());
        loop {
            let socket = self.socket.clone().expect("the connection is open");
            let mut start = Op::Send { socket, bytes: left, more: false };
            loop {
                match self.reactor.io(self.owner).start(start) {
                    Start::Submitted(_) => break,
                    Start::Busy(op) => start = op,
                    other => panic!("a send is submitted: {other:?}"),
                }
            }
            let done = loop {
                match self.next_wake() {
                    Some(Wake::Done(done)) => break done,
                    Some(_) => {}
                    None => {
                        outside();
                        self.reactor.turn().expect("the kernel is entered");
                    }
                }
            };
            let Some(Op::Send { bytes, .. }) = done.op else { panic!("the operation comes home") };
            left = bytes;
            match done.result {
                Ok(count) => left.advance(count as usize),
                Err(_) => return false,
            }
            if left.is_empty() {
                return true;
            }
        }
    }

    /// Lets go of the connection and of the file, and waits until everything is home.
    pub(crate) fn end(&mut self) {
        self.reactor.retire(self.owner);
        self.socket = None;
        self.version = None;
        for _ in 0..1000 {
            assert!(self.next_wake().is_none(), "a retired owner is not woken");
            let idle = self.reactor.in_flight() == 0 && self.reactor.nothing_to_close();
            if idle && !self.blocks.has_work() && self.blocks.clear() == 0 {
                break;
            }
            self.reactor.turn().expect("the kernel is entered");
        }
        self.reactor.retire(self.blocks_owner);
        assert_eq!(self.reactor.in_flight(), 0, "something is in flight for ever");
        assert_eq!(self.reactor.leased(), ([0; 5], 0), "buffers and pipes are home");
        assert_eq!(self.reactor.owners(), 0, "the owner is gone");
    }
}

/// A rig over the simulated kernel, with the client's end.
pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) client: Client,
    pub(crate) rig: Rig<Simulated>,
}

/// The name of the file in the simulated world.
pub(crate) const FILE: &str = "file";

impl Simulation {
    /// A connection whose send buffer has so many bytes.
    pub(crate) fn new(seed: u64, task: &Task, send_buffer: usize) -> Self {
        Self::with(World::new(seed), task, send_buffer, options())
    }

    pub(crate) fn with(world: World, task: &Task, send_buffer: usize, options: Options) -> Self {
        world.file(FILE, content(task.file_bytes()));
        let stats = Arc::new(Stats::default());
        let mut reactor = Reactor::new(world.kernel(), options, stats, |_, _| Some(0))
            .expect("memory for the pools");
        let (raw, client) = world.pair(4096, send_buffer);
        let socket = Socket::from(reactor.take_in(raw));
        let raw = world.open(FILE, How::default()).expect("it was just made");
        let file = File::from(reactor.take_in(raw));
        let direct = world.open(FILE, How { direct: true, ..How::default() }).ok();
        let direct = direct.map(|raw| File::from(reactor.take_in(raw)));
        Self { world, client, rig: Rig::new(reactor, socket, file, direct) }
    }

    /// Serves, and reads as the client as much in each turn as `reads` says.
    pub(crate) fn serve(
        &mut self,
        task: &Task,
        mut reads: impl FnMut(&Client) -> Vec<u8>,
    ) -> (Course, Vec<u8>) {
        let mut wire = Vec::new();
        let client = self.client.clone();
        let mut course = self.rig.serve(task, || wire.extend(reads(&client)));
        if task.more && course.end == Step::Finished {
            let sent = self.rig.send_marker(|| wire.extend(client.read(usize::MAX)));
            if !sent {
                course.end = Step::Failed(BodyError::Send(rustix::io::Errno::PIPE));
            }
        }
        self.rig.end();
        wire.extend(client.read(usize::MAX));
        assert_ne!(client.end(), End::Open, "the connection is closed");
        let (_, pipes) = self.rig.reactor.leased();
        assert_eq!(pipes, 0);
        assert_eq!(self.world.in_flight(), 0, "the kernel has nothing");
        assert_eq!(self.world.untaken(), 0, "every event has found its operation");
        let idle = 2 * self.rig.reactor.pipes_open();
        assert_eq!(self.world.descriptors(), idle, "only idle pipes are open");
        (course, wire)
    }
}

/// Says which byte differs.
pub(crate) fn assert_same(wire: &[u8], expected: &[u8], context: &dyn std::fmt::Debug) {
    if wire == expected {
        return;
    }
    let at = wire.iter().zip(expected).position(|(is, should)| is != should);
    panic!("{context:?}: {} bytes for {}, first wrong at {at:?}", wire.len(), expected.len());
}

/// A prefix, of any length.
pub(crate) fn assert_prefix(wire: &[u8], expected: &[u8], context: &dyn std::fmt::Debug) {
    assert!(
        wire.len() <= expected.len(),
        "{context:?}: {} bytes of {}",
        wire.len(),
        expected.len()
    );
    assert_same(wire, &expected[..wire.len()], context);
}
