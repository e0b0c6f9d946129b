//! Many connections with a body each, one cache of blocks, one simulated kernel.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use pitcrew::cache::{self, BlockOptions, Blocks, Direct, Version};
use pitcrew::engines::{self, Body, Engine, Kind, Step, Trail};
use pitcrew::http::negotiate::Coding;
use pitcrew::limits::{BODY_BLOCK_BYTES, BODY_HEAD_ROOM, SETTLED_COARSE};
use pitcrew::ring::simulated::{Client, Random, Simulated, World};
use pitcrew::ring::{
    Ask, File, How, Io, Op, Options, Outgoing, Owner, Reactor, Socket, Start, Stats, Technique,
    Wake,
};

/// Bytes of a block, unless another size is asked for.
pub(crate) const BLOCK: usize = 8192;
/// What goes before every body.
pub(crate) const HEAD: &[u8] = b"a head:";
/// Turns that all bodies are served in.
const TURNS_MAX: u64 = 100_000;

pub(crate) struct Setup {
    pub(crate) buffers: usize,
    pub(crate) foresees: bool,
    pub(crate) send_buffer: usize,
    /// Bytes of a block.
    pub(crate) block: usize,
}

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) blocks: Blocks,
    reactor: Reactor<Simulated>,
    blocks_owner: Owner,
    caller: Owner,
    cache: Arc<cache::Stats>,
    ring: Arc<Stats>,
    setup: Setup,
    files: u64,
    versions: HashMap<String, Rc<Version>>,
    bodies: Vec<Conn>,
    turns: u64,
}

/// A body on its way, or what became of it.
struct Conn {
    owner: Owner,
    engine: Option<Box<dyn Engine>>,
    socket: Option<Socket>,
    client: Client,
    wire: Vec<u8>,
    end: Option<Step>,
    /// Its client takes nothing.
    sleeps: bool,
    /// The owner serves others after it.
    stays: bool,
}

pub(crate) struct Served {
    pub(crate) end: Step,
    pub(crate) wire: Vec<u8>,
}

impl Served {
    pub(crate) fn whole(&self, expected: &[u8]) {
        assert_eq!(self.end, Step::Finished);
        assert_eq!(self.wire.len(), HEAD.len() + expected.len());
        self.prefix(expected);
    }

    pub(crate) fn prefix(&self, expected: &[u8]) {
        let all = [HEAD, expected].concat();
        assert!(all.starts_with(&self.wire), "other bytes: {} of them", self.wire.len());
    }
}

/// Bytes that differ from file to file and from place to place.
pub(crate) fn content(file: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(file);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        content.extend(random.next().to_le_bytes());
    }
    content.truncate(bytes);
    content
}

impl Bench {
    pub(crate) fn new(seed: u64, setup: Setup) -> Self {
        let world = World::new(seed);
        let ring = Arc::new(Stats::default());
        let options = Options {
            rings: 1,
            operations_max: 256,
            owners_max: 2048,
            pools: [
                (4096, 1),
                (4096, 1),
                (4096, 1),
                (BODY_HEAD_ROOM + BODY_BLOCK_BYTES, 40),
                (setup.block, setup.buffers),
            ],
            pipes_max: 1,
            pipe_bytes: 4096,
            turn_bytes: 1 << 20,
            shared_turn_bytes: 1 << 20,
        };
        let kernel = world.kernel();
        let mut reactor = Reactor::new(kernel, options, Arc::clone(&ring), |_, _| Some(0)).unwrap();
        let cache = Arc::new(cache::Stats::default());
        let options = BlockOptions {
            block_bytes: setup.block,
            blocks_max: setup.buffers,
            reads_max: 8,
            foresees: setup.foresees,
        };
        let blocks = Blocks::new(options, Arc::clone(&cache));
        let [blocks_owner, caller] = [(); 2].map(|()| reactor.register().unwrap());
        reactor.wake_next_turn(caller);
        reactor.turn().unwrap();
        while reactor.next_wake().is_some() {}
        Self {
            world,
            blocks,
            reactor,
            blocks_owner,
            caller,
            cache,
            ring,
            setup,
            files: 0,
            versions: HashMap::new(),
            bodies: Vec::new(),
            turns: 0,
        }
    }

    /// A new file at a path, open, in the place of what was there; not changed for a while.
    pub(crate) fn file(&mut self, path: &str, bytes: usize) -> Vec<u8> {
        let bytes = self.fresh_file(path, bytes);
        self.world.pass(SETTLED_COARSE);
        // The clock is read once a turn.
        self.turn();
        bytes
    }

    /// The same, changed just now.
    pub(crate) fn fresh_file(&mut self, path: &str, bytes: usize) -> Vec<u8> {
        self.files += 1;
        let bytes = content(self.files, bytes);
        self.world.file(path, bytes.clone());
        let mut open = |direct| {
            let raw = self.world.open(path, How { direct, ..How::default() }).unwrap();
            File::from(self.reactor.take_in(raw))
        };
        let (file, direct) = (open(false), open(true));
        let stat = Op::stat(file.clone(), Ask::Mount);
        let Start::Executed(done) = self.reactor.io(self.caller).start(stat) else {
            panic!("a stat runs at once")
        };
        let Some(Op::Stat { facts, .. }) = done.op else { panic!("the operation comes home") };
        let mut version = Version::new(file, *facts, Coding::Identity, self.reactor.now());
        let (memory, offset) = (facts.direct_memory, facts.direct_offset);
        direct.set_mount(facts.mount);
        version.direct = Some(Direct { file: direct, memory, offset });
        self.versions.insert(path.to_owned(), Rc::new(version));
        bytes
    }

    /// An owner for several bodies, one after the other.
    pub(crate) fn conversation(&mut self) -> Owner {
        self.reactor.register().unwrap()
    }

    pub(crate) fn begin(&mut self, path: &str, offset: u64, count: u64) -> usize {
        let owner = self.reactor.register().unwrap();
        self.begin_on(owner, false, path, offset, count)
    }

    fn begin_on(
        &mut self,
        owner: Owner,
        stays: bool,
        path: &str,
        offset: u64,
        count: u64,
    ) -> usize {
        let (raw, client) = self.world.pair(4096, self.setup.send_buffer);
        let socket = Socket::from(self.reactor.take_in(raw));
        let body = Body {
            socket: socket.clone(),
            head: Some(Outgoing::shared(HEAD.into())),
            version: Rc::clone(&self.versions[path]),
            offset,
            count,
            more: false,
            tap: None,
            passes: false,
            trail: Trail::default(),
            inline: false,
            blocks: self.blocks.reader(owner),
        };
        let engine = Some(engines::start(Kind::Direct, body));
        let (wire, end) = (Vec::new(), None);
        let socket = Some(socket);
        let sleeps = false;
        self.bodies.push(Conn { owner, engine, socket, client, wire, end, sleeps, stays });
        let body = self.bodies.len() - 1;
        self.step(body, Wake::Begin);
        body
    }

    pub(crate) fn serve(&mut self, path: &str, offset: u64, count: u64) -> Served {
        let body = self.begin(path, offset, count);
        self.run_until(&[body]);
        self.result(body)
    }

    pub(crate) fn serve_on(&mut self, owner: Owner, path: &str, offset: u64, count: u64) -> Served {
        let body = self.begin_on(owner, true, path, offset, count);
        self.run_until(&[body]);
        self.result(body)
    }

    pub(crate) fn sleeps(&mut self, body: usize, sleeps: bool) {
        self.bodies[body].sleeps = sleeps;
    }

    /// Wakes a body for nothing.
    pub(crate) fn nudge(&mut self, body: usize) {
        let owner = self.bodies[body].owner;
        self.reactor.wake(owner, Wake::Ready);
        self.turn();
    }

    /// The client of a body goes away, and everything of it.
    pub(crate) fn leave(&mut self, body: usize) {
        let conn = &mut self.bodies[body];
        if conn.end.is_none() {
            conn.end = Some(Step::Waiting);
            conn.engine = None;
            conn.socket = None;
            self.reactor.retire(conn.owner);
        }
    }

    fn step(&mut self, body: usize, wake: Wake) {
        let Self { bodies, reactor, .. } = self;
        let conn = &mut bodies[body];
        let Some(engine) = &mut conn.engine else { return };
        let step = engine.step(wake, &mut reactor.io(conn.owner));
        match step {
            Step::Waiting | Step::Blocked => return,
            Step::Yielded => return reactor.wake_next_turn(conn.owner),
            Step::Declined(_) => {
                assert_eq!(engine.in_flight(), 0);
                let body = conn.engine.take().unwrap().give_back();
                assert_eq!(body.head.map(|head| head.len()), Some(HEAD.len()), "all of it is back");
            }
            Step::Finished | Step::Failed(_) => assert_eq!(engine.in_flight(), 0),
        }
        conn.end = Some(step);
        conn.engine = None;
        conn.socket = None;
        if !conn.stays {
            reactor.retire(conn.owner);
        }
    }

    /// One turn: the clients read, then the kernel is entered, then everybody is served.
    pub(crate) fn turn(&mut self) {
        self.serve_blocks();
        for conn in self.bodies.iter_mut().filter(|conn| !conn.sleeps && conn.end.is_none()) {
            conn.wire.extend(conn.client.read(usize::MAX));
        }
        self.reactor.turn().unwrap();
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "no end: {:?}", self.waiting());
        while let Some((owner, wake)) = self.reactor.next_wake() {
            if owner == self.blocks_owner {
                self.blocks.wake(wake, &mut self.reactor.io(owner));
            } else {
                let body = self.bodies.iter().rposition(|conn| conn.owner == owner);
                self.step(body.expect("somebody's"), wake);
            }
            self.serve_blocks();
        }
        self.serve_blocks();
    }

    /// One turn in which no time passes that anything could complete in.
    pub(crate) fn brief_turn(&mut self) {
        self.world.set_alarm(Some(self.world.now()));
        self.turn();
        self.world.set_alarm(None);
    }

    /// Who has not come to an end.
    fn waiting(&self) -> Vec<(usize, usize)> {
        let left = self.bodies.iter().enumerate().filter(|(_, conn)| conn.end.is_none());
        left.map(|(body, conn)| (body, conn.wire.len())).collect()
    }

    fn serve_blocks(&mut self) {
        if self.blocks.has_work() {
            self.blocks.pump(&mut self.reactor.io(self.blocks_owner));
        }
        while let Some(waiter) = self.blocks.next_woken() {
            self.reactor.wake(waiter, Wake::Ready);
        }
    }

    /// Until every body has come to its end.
    pub(crate) fn run(&mut self) {
        let all: Vec<_> = (0..self.bodies.len()).collect();
        self.run_until(&all);
    }

    /// Whether a body has not come to its end.
    pub(crate) fn goes_on(&self, body: usize) -> bool {
        self.bodies[body].end.is_none()
    }

    pub(crate) fn run_until(&mut self, bodies: &[usize]) {
        while bodies.iter().any(|body| self.bodies[*body].end.is_none()) {
            self.turn();
        }
    }

    pub(crate) fn result(&mut self, body: usize) -> Served {
        let conn = &mut self.bodies[body];
        conn.wire.extend(conn.client.read(usize::MAX));
        Served { end: conn.end.expect("it has ended"), wire: std::mem::take(&mut conn.wire) }
    }

    /// All of a file was found in the page cache just now.
    pub(crate) fn is_resident(&mut self, path: &str) {
        let version = Rc::clone(&self.versions[path]);
        version.note_resident(0..version.facts.size, &self.reactor.io(self.caller));
    }

    /// Whether the first bytes of a file are kept.
    pub(crate) fn keeps(&self, path: &str, count: usize) -> bool {
        self.blocks.keeps(&self.versions[path], 0..count as u64)
    }

    pub(crate) fn stats(&self) -> &cache::Stats {
        &self.cache
    }

    pub(crate) fn operations(&self, technique: Technique) -> u64 {
        self.ring.technique(technique).operations.read()
    }

    pub(crate) fn bytes(&self, technique: Technique) -> u64 {
        self.ring.technique(technique).bytes.read()
    }

    /// Everything goes, and everything is home.
    pub(crate) fn end(mut self) {
        for body in 0..self.bodies.len() {
            self.leave(body);
        }
        self.versions.clear();
        for _ in 0..10_000 {
            let idle = self.reactor.in_flight() == 0 && self.reactor.nothing_to_close();
            if idle && !self.blocks.has_work() && self.blocks.clear() == 0 {
                break;
            }
            self.turn();
        }
        assert_eq!(self.blocks.clear(), 0, "a block is waited for that never comes");
        self.world.set_faults(pitcrew::ring::simulated::Faults::NONE);
        assert_eq!(self.reactor.leased(), ([0; 5], 0), "every buffer is home");
        assert_eq!(self.world.descriptors(), 0, "no block keeps a file open");
        assert_eq!((self.world.in_flight(), self.world.untaken()), (0, 0));
    }
}
