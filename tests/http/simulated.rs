//! The table over the simulated kernel: split at every byte, one byte at a time, and with bytes
//! changed. The whole worker runs here; only the kernel below it is played.

#[path = "generated.rs"]
mod generated;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pitcrew::cache::{Beneath, BlockOptions, Directory};
use pitcrew::connection;
use pitcrew::engines::Kind;
use pitcrew::http::refusal::Refusal;
use pitcrew::resource::{self, PageMemory, Site};
use pitcrew::ring::simulated::{Client, End, Fault, ListenerId, Random, Simulated, World};
use pitcrew::ring::{File, How, Options, Reactor, Socket, Technique};
use pitcrew::server::options::Beyond;
use pitcrew::server::{Control, Parts, State, Worker};
use pitcrew::telemetry::Shard;
use pitcrew::{cache, config, limits};
use rustix::io::Errno;

#[path = "fairness.rs"]
mod fairness;
#[path = "faults.rs"]
mod faults;
#[path = "limits.rs"]
mod limited;

use crate::case::{After, Case, Setup, each};
use crate::cases::cases;
use crate::check::{self, Marks};
use crate::common::{Pattern, Scratch, Wire, long};
use crate::site::{self, MARKER};

/// Longer than any turn takes, shorter than any deadline.
const MOMENT: Duration = Duration::from_millis(1);
/// Longer than any course takes.
const HOUR: Duration = Duration::from_secs(3600);
/// The time for heads and bodies where it is short.
const SHORT: Duration = Duration::from_secs(10);

/// Connections at most.
const CONNECTIONS_MAX: usize = 16;

/// Deadlines are told apart by tenths of a second.
const SLACK: Duration = Duration::from_millis(200);

/// A worker in a world of its own.
struct Machine {
    world: World,
    listener: ListenerId,
    control: Arc<Control>,
    bell: u32,
    shard: Shard,
    worker: Worker<Simulated>,
}

/// The hosts of a setup, and the path that the root of all has in them.
fn sites(setup: Setup) -> (Vec<resource::Options>, PathBuf) {
    if setup == Setup::Rules {
        // The directories are not served from here, but they are looked for.
        let scratch = Scratch::new();
        scratch.write("site/dir/page.html", "");
        scratch.write("site/docs/index.html", "");
        let rules = scratch.write("rules.toml", site::RULES);
        let configured = config::resolve(&[], [], Some(&rules)).expect("the rules are sound");
        return (configured.settings.server.sites(), scratch.join("site"));
    }
    let index: &[&str] = match setup {
        Setup::TwoIndexes => &["index.html", "other.html"],
        _ => &["index.html"],
    };
    let options = resource::Options {
        index: index.iter().map(ToString::to_string).collect(),
        dotfiles: setup == Setup::Dotfiles,
        listing: setup == Setup::Listing,
        ..resource::Options::default()
    };
    (vec![options], PathBuf::new())
}

impl Machine {
    fn new(engine: Kind, setup: Setup) -> Self {
        Self::with(engine, setup, Beyond::Refuse)
    }

    fn with(engine: Kind, setup: Setup, beyond: Beyond) -> Self {
        Self::build(engine, setup, beyond, connection::Bounds::default())
    }

    fn build(engine: Kind, setup: Setup, beyond: Beyond, bounds: connection::Bounds) -> Self {
        Self::fitted(engine, setup, beyond, bounds, Some(0), |_, _| {})
    }

    /// With the number under which the kernel knows the buffers for bodies, if it does, and with
    /// parts that are changed before the worker begins.
    fn fitted(
        engine: Kind,
        setup: Setup,
        beyond: Beyond,
        bounds: connection::Bounds,
        registered: Option<u16>,
        fit: impl FnOnce(&World, &mut Parts<Simulated>),
    ) -> Self {
        let world = World::new(1);
        site::plant(&world);
        let shard = Shard::default();
        let options = Options {
            rings: 1,
            operations_max: 256,
            owners_max: 64,
            pools: [
                (limits::HEAD_BUFFER_BYTES, 8),
                (limits::LARGE_HEAD_BUFFER_BYTES, 8),
                (limits::ANSWER_BUFFER_BYTES, 8),
                (limits::BODY_BUFFER_BYTES, 8),
                (limits::BODY_BLOCK_BYTES, 8),
            ],
            pipes_max: 4,
            pipe_bytes: limits::PIPE_BYTES,
            turn_bytes: limits::TURN_BYTES,
            shared_turn_bytes: limits::SHARED_TURN_BYTES,
        };
        let mut reactor =
            Reactor::new(world.kernel(), options, Arc::clone(&shard.ring), |_, _| registered)
                .expect("memory for the pools");
        let (listening, listener) = world.listen();
        let bell = world.counter();
        let watcher = world.watcher();
        let sites = sites(setup);
        let directories = Site::directories(&sites.0).map(|path| {
            let below = path.strip_prefix(&sites.1).expect("every directory is one of the site");
            let raw = match below.to_str() {
                Some("") => world.root(),
                below => world.open(below.unwrap(), How::default()).expect("it was planted"),
            };
            let file = File::from(reactor.take_in(raw));
            Directory { file, follow: None, mounts: Arc::new(Beneath::new(Vec::new())) }
        });
        let directories = directories.collect();
        let direct_from = engine.keeps_blocks().then_some(1);
        let control = Arc::new(Control::default());
        let hasty = setup == Setup::Hasty;
        let mut parts = Parts {
            directories,
            watcher: Some(File::from(reactor.take_in(watcher))),
            listeners: vec![Socket::from(reactor.take_in(listening))],
            telemetry_listeners: Vec::new(),
            pressure: None,
            bell: Socket::from(reactor.take_in(bell)),
            control: Arc::clone(&control),
            site: Site::new(sites.0, 0),
            cache: cache::Options {
                entries_max: 256,
                valid: Duration::from_secs(1),
                watches_max: 16,
                hot_bytes: 1 << 20,
                precompressed: setup != Setup::NoVariants,
                fresh_only: setup == Setup::FreshVariants,
                direct_from,
                follow_links: setup != Setup::NoLinks,
                content_tags: setup == Setup::ContentTags,
                drop_from: None,
            },
            blocks: BlockOptions {
                block_bytes: limits::BODY_BLOCK_BYTES,
                blocks_max: if engine.keeps_blocks() { 8 } else { 0 },
                reads_max: 8,
                foresees: true,
            },
            listing_memory: Arc::new(PageMemory::new(1 << 20)),
            connection: connection::Options {
                requests_max: if setup == Setup::TwoRequests { 2 } else { 0 },
                head_timeout: if hasty { SHORT } else { HOUR },
                body_timeout: if hasty { SHORT } else { HOUR },
                bounds,
                ..connection::Options::patient(engine, HOUR)
            },
            connections_max: CONNECTIONS_MAX,
            beyond,
            drain_timeout: HOUR,
            endpoint: Box::new(()),
            shard: shard.clone(),
            // The same boundary each time, so that courses can be compared.
            log: None,
            numbered: Arc::default(),
            nonce: Box::new(|| 0x5eed),
            reactor,
        };
        fit(&world, &mut parts);
        let worker = Worker::new(parts);
        Self { world, listener, control, bell, shard, worker }
    }

    /// Lets the worker do all it can do now.
    fn settle(&mut self) {
        let until = self.world.now() + MOMENT;
        self.world.set_alarm(Some(until));
        while self.world.now() < until {
            assert!(!self.worker.turn().expect("the kernel is entered"), "the worker has ended");
        }
    }

    /// Whether the worker, told to drain, comes to its end without waiting for a time-out.
    fn ends_soon(&mut self) -> bool {
        let mut ended = false;
        for _ in 0..20 {
            self.world.set_alarm(Some(self.world.now() + MOMENT));
            ended |= self.worker.turn().expect("the kernel is entered");
        }
        ended
    }

    /// Each is answered, told the close, and leaves; then the worker has nothing left to do.
    fn says_close_and_ends(&mut self, lines: impl IntoIterator<Item = Line>) {
        self.settle();
        for mut line in lines {
            line.received.extend(line.client.read(usize::MAX));
            assert_eq!(line.client.end(), End::Closed);
            line.client.close();
            let answer = Wire::past(line.received).response().unwrap();
            assert_eq!((answer.status, answer.says_close()), (200, true));
        }
        assert!(self.ends_soon(), "the worker has nothing left to do");
    }

    fn connect(&mut self) -> Line {
        let client = self.world.connect(self.listener, 1 << 20, 1 << 20);
        Line { client, received: Vec::new() }
    }

    /// Sends all of the bytes and takes in what comes back for them.
    fn send(&mut self, line: &mut Line, bytes: &[u8]) {
        line.client.write(bytes);
        self.take_in(line);
    }

    fn take_in(&mut self, line: &mut Line) {
        loop {
            self.settle();
            let came = line.client.read(usize::MAX);
            if came.is_empty() {
                break;
            }
            line.received.extend(came);
        }
    }

    /// Plays a course: the pieces of the input, one after the other, then the end.
    fn play<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>, waits: bool) -> Course {
        let mut line = self.connect();
        for piece in pieces {
            self.send(&mut line, piece);
        }
        if waits {
            self.world.pass(SHORT + SLACK);
            self.take_in(&mut line);
        }
        let end = line.client.end();
        // A client that ends with a request begun gets no further word.
        line.client.shut();
        let before = line.received.len();
        self.take_in(&mut line);
        assert_eq!(line.received.len(), before, "something came for the client's end");
        assert_ne!(line.client.end(), End::Open, "the server follows the client's end");
        line.client.close();
        self.settle();
        assert_eq!(self.worker.open(), 0, "the connection is forgotten");
        Course { received: without_dates(line.received), end }
    }

    /// Nothing is left behind.
    fn is_clean(&mut self) {
        // Those that are kept for others are nobody's.
        self.worker.blocks().clear();
        let (buffers, pipes) = self.worker.reactor().leased();
        assert_eq!((buffers, pipes), ([0; 5], 0), "buffers and pipes are home");
    }
}

/// A client and what it has read.
struct Line {
    client: Client,
    received: Vec<u8>,
}

/// What came of some input.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Course {
    received: Vec<u8>,
    end: End,
}

impl Course {
    fn is_open(&self) -> bool {
        self.end == End::Open
    }

    /// The same bytes and the same state; a part sent after a close brings a reset.
    fn assert_like(&self, other: &Self, what: &dyn Fn() -> String) {
        assert!(
            self.received == other.received && self.is_open() == other.is_open(),
            "{}:\n{}\n{:?}, instead of\n{}\n{:?}",
            what(),
            self.received.escape_ascii(),
            self.end,
            other.received.escape_ascii(),
            other.end
        );
    }
}

/// Time goes on between two courses, and nothing else may differ.
fn without_dates(mut received: Vec<u8>) -> Vec<u8> {
    const NAME: &[u8] = b"\r\nDate: ";
    const VALUE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    let mut at = 0;
    while let Some(found) = received[at..].windows(NAME.len()).position(|bytes| bytes == NAME) {
        at += found + NAME.len();
        if received.len() >= at + VALUE.len() {
            received[at..at + VALUE.len()].copy_from_slice(VALUE);
        }
    }
    received
}

/// The places at which an input is cut: all of them, but for what is far longer than any head that
/// is answered, of which the long form alone takes all.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    const ALL_TO: usize = 2500;
    const EDGE: usize = 120;
    let all = len <= ALL_TO || long();
    let step = (len / 40).max(1);
    (1..len).filter(move |at| all || *at < EDGE || len - *at < EDGE || at.is_multiple_of(step))
}

/// Learns the validators of the simulated files.
fn marks(machine: &mut Machine, setup: Setup) -> Marks {
    Marks::learn(setup, |request| {
        let mut line = machine.connect();
        machine.send(&mut line, request);
        line.client.close();
        machine.settle();
        Wire::past(line.received).response().expect("the file is served")
    })
}

/// Checks the answers of a case that was played whole with the marker behind it.
fn check_whole(case: &Case, course: &Course, marked: bool) {
    // The dates were taken out, and the one put in is of before the files were written.
    let mut wire = Wire::past(with_date_of_now(&course.received));
    for (number, expected) in case.answers.iter().enumerate() {
        let what = format!("{} (answer {}, simulated)", case.name, number + 1);
        let answer = wire
            .answer(expected.method)
            .unwrap_or_else(|fault| panic!("{what}: {fault:?} instead of {expected:?}"));
        check::check(&what, expected, &answer);
        check::says_its_end(case, number, &answer);
    }
    if case.after == After::Open && marked {
        let marker = wire.response().unwrap_or_else(|fault| panic!("{}: {fault:?}", case.name));
        assert_eq!(marker.status, 200, "{}: the marker: {marker:?}", case.name);
    }
    assert!(wire.held().is_empty(), "{}: more than was asked for", case.name);
    assert_eq!(course.is_open(), case.after != After::Closed, "{}: {:?}", case.name, course.end);
}

fn with_date_of_now(received: &[u8]) -> Vec<u8> {
    const PUT_IN: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    let mut dated = received.to_vec();
    for at in memchr::memmem::find_iter(received, PUT_IN) {
        dated[at..at + PUT_IN.len()].copy_from_slice(b"Sat, 06 Nov 2094 08:49:37 GMT");
    }
    dated
}

fn engine(number: usize) -> Kind {
    Kind::ALL[number % Kind::ALL.len()]
}

/// RFC 9112 section 2.2: a message is a sequence of octets, and how they are packed means
/// nothing. Each case whole, cut in two at every byte, and one byte at a time.
#[test]
fn a_request_means_the_same_however_it_is_split() {
    each(cases(), |number, mut case| {
        let mut machine = Machine::new(engine(number), case.setup);
        marks(&mut machine, case.setup).settle(&mut case);
        let waits = case.setup == Setup::Hasty;
        let mut input = case.sent.clone();
        if !case.alone {
            input.extend(MARKER);
        }
        let whole = machine.play([&input[..]], waits);
        check_whole(&case, &whole, !case.alone);
        for at in cuts(input.len()) {
            let (one, two) = input.split_at(at);
            machine
                .play([one, two], waits)
                .assert_like(&whole, &|| format!("{}, cut at {at}", case.name));
        }
        // Long ones in steps that have nothing in common with the sizes of buffers.
        let size = if input.len() <= 20_000 || long() { 1 } else { 37 };
        machine
            .play(input.chunks(size), waits)
            .assert_like(&whole, &|| format!("{}, {size} bytes at a time", case.name));
        machine.is_clean();
    });
}

/// What holds for any input: answers that parse, none of them a fault of the server, and an end
/// that is said exactly when it comes.
fn any_input(machine: &mut Machine, input: &[u8]) -> Course {
    let whole = machine.play([input], false);
    let mut wire = Wire::past(with_date_of_now(&whole.received));
    let mut said_close = false;
    while !wire.held().is_empty() {
        assert!(!said_close, "{}: an answer behind the last", input.escape_ascii());
        let answer = wire
            .response()
            .unwrap_or_else(|fault| panic!("{}: {fault:?}: {whole:?}", input.escape_ascii()));
        check::always(&input.escape_ascii().to_string(), "GET", &answer);
        said_close = answer.says_close();
    }
    assert_eq!(said_close, !whole.is_open(), "{}: {whole:?}", input.escape_ascii());
    whole
}

/// Every byte at every place of a request.
#[test]
fn any_byte_at_any_place_is_answered_or_refused() {
    let request = b"GET /dir?q HTTP/1.1\r\nHost: a\r\nRange: bytes=1-\r\nContent-Length: 1\r\n\r\n\
        xGET /one.bin HTTP/1.1\r\nHost: b\r\n\r\n";
    for at in 0..request.len() {
        let mut machine = Machine::new(engine(at), Setup::Usual);
        for byte in 0..=u8::MAX {
            let mut input = request.to_vec();
            input[at] = byte;
            any_input(&mut machine, &input);
        }
        machine.is_clean();
    }
}

/// Cases with some bytes changed, left out, doubled or exchanged: answered alike in one piece, in
/// two and byte by byte.
#[test]
fn a_damaged_request_is_answered_or_refused() {
    let usable = |case: &Case| {
        // Answers to HEAD cannot be told apart from others without knowing the question.
        let head = case.sent.windows(4).any(|word| word == b"HEAD");
        case.setup == Setup::Usual && case.sent.len() < 1500 && !head && !case.sent.is_empty()
    };
    let cases: Vec<_> = cases().into_iter().filter(usable).collect();
    for seed in 0..if long() { 60 } else { 6 } {
        let mut random = Random::new(seed);
        let mut machine = Machine::new(engine(seed as usize), Setup::Usual);
        let marks = marks(&mut machine, Setup::Usual);
        for _ in 0..100 {
            let case = random.pick(&cases);
            let mut case = Case { sent: case.sent.clone(), ..crate::case::raw("", "") };
            marks.settle(&mut case);
            damage(&mut case.sent, &mut random);
            case.sent.extend(MARKER);
            let input = case.sent;
            let whole = any_input(&mut machine, &input);
            let at = 1 + random.below(input.len() as u64 - 1) as usize;
            let (one, two) = input.split_at(at);
            let what = || format!("seed {seed}: {}", input.escape_ascii());
            machine.play([one, two], false).assert_like(&whole, &what);
            machine.play(input.chunks(1), false).assert_like(&whole, &what);
        }
        machine.is_clean();
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const ODD: &[u8] = b"\r\n\0\t :,;%/\\?#*\x7f\xff0159aAHx-=\"";
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(5) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] = *random.pick(ODD),
            2 => bytes.insert(at, *random.pick(ODD)),
            3 => {
                let end = (at + 1 + random.below(8) as usize).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ if bytes.len() > 8 => {
                let end = (at + 1 + random.below(4) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {}
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
}

/// An idle connection is closed without an answer, new or used (RFC 9112 section 9.5).
#[test]
fn an_idle_connection_is_closed_without_a_word() {
    Kind::ALL.into_iter().for_each(stays_idle);
}

fn stays_idle(engine: Kind) {
    let mut machine = Machine::new(engine, Setup::Usual);
    for request in [&b""[..], MARKER] {
        let mut line = machine.connect();
        machine.send(&mut line, request);
        let answered = line.received.len();
        assert_eq!(line.client.end(), End::Open);
        machine.world.pass(HOUR - SLACK);
        machine.take_in(&mut line);
        assert_eq!(line.client.end(), End::Open, "closed too early");
        machine.world.pass(2 * SLACK);
        machine.take_in(&mut line);
        assert_eq!((line.client.end(), line.received.len()), (End::Closed, answered));
    }
    assert_eq!(machine.shard.connections.farewells(connection::Farewell::Idle).read(), 2);
    machine.is_clean();
}

/// While the server drains, each answer says that the connection closes (RFC 9112 section 9.6).
#[test]
fn a_draining_server_says_close() {
    Kind::ALL.into_iter().for_each(drains);
}

fn drains(engine: Kind) {
    let mut machine = Machine::new(engine, Setup::Usual);
    let mut kept = machine.connect();
    machine.send(&mut kept, MARKER);
    let answered = kept.received.len();
    let mut begun = machine.connect();
    machine.send(&mut begun, b"GET /plain.txt HTT");
    let fresh = machine.connect();
    machine.settle();
    machine.control.set(State::Draining);
    machine.world.add(machine.bell, 1);
    machine.take_in(&mut kept);
    assert_eq!((kept.client.end(), kept.received.len()), (End::Open, answered));
    assert_eq!(begun.client.end(), End::Open, "what has begun may finish");
    assert_eq!(fresh.client.end(), End::Open, "a first request may be on its way");
    kept.received.clear();
    kept.client.write(MARKER);
    begun.client.write(b"P/1.1\r\nHost: a\r\n\r\n");
    fresh.client.write(MARKER);
    machine.says_close_and_ends([kept, begun, fresh]);
}

/// Who is kept for nothing is told the end in order: what it asks in that very moment is not
/// answered, and no reset tells it that it might have been (RFC 9112 section 9.3.1).
#[test]
fn a_kept_connection_is_ended_in_order_by_a_drain() {
    for (state, asked) in [(State::Draining, 0), (State::Retiring, 1), (State::Retiring, 3)] {
        let mut machine = Machine::new(Kind::Sendfile, Setup::Usual);
        let mut kept = machine.connect();
        for _ in 0..asked {
            machine.send(&mut kept, MARKER);
        }
        // A client that leaves when it is told, and one that stays.
        let leaves = machine.connect();
        machine.settle();
        let answered = kept.received.len();
        machine.control.set(state);
        machine.world.add(machine.bell, 1);
        machine.settle();
        machine.world.pass(limits::DRAIN_NEXT_REQUEST - SLACK);
        machine.take_in(&mut kept);
        assert_eq!(kept.client.end(), End::Open, "a request may be on its way");
        machine.world.pass(2 * SLACK);
        machine.take_in(&mut kept);
        assert_eq!((kept.client.end(), leaves.client.end()), (End::Closed, End::Closed));
        assert_eq!(kept.received.len(), answered);
        leaves.client.close();
        machine.settle();
        assert_eq!(machine.worker.open(), 1, "who leaves holds up nobody");
        machine.send(&mut kept, MARKER);
        assert_eq!((kept.client.end(), kept.received.len()), (End::Closed, answered));
        machine.world.pass(limits::DRAIN_NEXT_REQUEST);
        assert!(machine.ends_soon(), "who stays holds up the drain for no longer");
        assert_eq!(kept.client.end(), End::Closed, "what it asked was read away");
        let shutdown = machine.shard.connections.farewells(connection::Farewell::Shutdown);
        assert_eq!(shutdown.read(), 2);
    }
}

/// A close of the listener would reset who is queued there when the drain begins.
#[test]
fn who_is_queued_as_the_drain_begins_is_answered() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Usual);
    // The accept that is in flight takes nobody, until it is cancelled.
    machine.world.script(Technique::Accept, 0, Fault::Late(Duration::from_secs(60)));
    machine.settle();
    let lines: Vec<_> = (0..3).map(|_| machine.connect()).collect();
    for line in &lines {
        line.client.write(MARKER);
    }
    machine.settle();
    assert_eq!((machine.world.befallen(), machine.worker.open()), (1, 0));
    machine.control.set(State::Draining);
    machine.world.add(machine.bell, 1);
    machine.says_close_and_ends(lines);
}

/// What a shortage or the disk keeps from being opened is not said to be missing, and may be there
/// in a moment: 503 with Retry-After, and the connection goes on (RFC 9110 sections 15.6.4 and
/// 10.2.3).
#[test]
fn a_file_that_cannot_be_opened_now_is_there_later() {
    const REQUEST: &[u8] = b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for engine in Kind::ALL {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            let what = format!("{engine:?}, {errno:?}");
            let mut machine = Machine::new(engine, Setup::NoVariants);
            machine.world.script(Technique::Open, 0, Fault::Fail(errno));
            let mut line = machine.connect();
            machine.send(&mut line, REQUEST);
            let counted = machine.shard.connections.refusals(Refusal::StorageUnavailable).read();
            assert_eq!((machine.world.befallen(), counted), (1, 1), "{what}");
            machine.send(&mut line, REQUEST);
            let mut wire = Wire::past(with_date_of_now(&line.received));
            let refused = wire.response().unwrap();
            check::always(&what, "GET", &refused);
            assert_eq!((refused.status, refused.says_close()), (503, false), "{what}");
            let served = wire.response().unwrap();
            assert_eq!((served.status, served.body), (200, site::content("plain.txt")), "{what}");
            machine.is_clean();
        }
    }
}

/// With nothing to give way, who waits for a descriptor is served as soon as one is free and not by
/// the slow clock, which alone has the accept tried until then.
#[test]
fn an_accept_that_starves_goes_on_when_a_connection_ends() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::NoVariants);
    // One that has begun a request gives its place to nobody.
    let mut first = machine.connect();
    machine.send(&mut first, b"GET /plain.txt HTT");
    machine.world.set_bounds(machine.world.descriptors(), 256, 65_536);
    let mut late = machine.connect();
    late.client.write(MARKER);
    let tries = 4;
    machine.world.pass(limits::ACCEPT_RETRY * tries);
    machine.settle();
    let entries = machine.shard.ring.enters.read();
    let starved = machine.shard.connections.accepts_starved.read();
    assert!((1..=u64::from(tries) + 1).contains(&starved), "{starved}");
    // A moment in which nothing may happen but the alarm of the test.
    machine.settle();
    assert!(machine.shard.ring.enters.read() <= entries + 4);
    let begun = machine.world.now();
    first.client.close();
    // Its own file needs a descriptor, too.
    machine.world.set_bounds(machine.world.descriptors() + 4, 256, 65_536);
    machine.take_in(&mut late);
    assert!(late.received.starts_with(b"HTTP/1.1 200 "), "{}", late.received.escape_ascii());
    assert!(machine.world.now().since(begun) < limits::ACCEPT_RETRY, "it did not wait for it");
    drop(first.received);
    machine.is_clean();
}

/// Where descriptors are fewer than files that may be kept open, those that are only kept give way
/// to the next, whatever the engine; `direct` has two of each file.
#[test]
fn an_open_that_starves_makes_kept_files_give_way() {
    for engine in Kind::ALL {
        let mut machine = Machine::new(engine, Setup::NoVariants);
        let mut line = machine.connect();
        machine.send(&mut line, MARKER);
        let names: Vec<_> = (0..30).map(|number| format!("many/{number}.txt")).collect();
        for name in &names {
            machine.world.file(name, name.clone().into_bytes());
        }
        // Room for some of them, and for the pipes of a body.
        machine.world.set_bounds(machine.world.descriptors() + 8, 256, 65_536);
        line.received.clear();
        for name in &names {
            machine.send(&mut line, format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        }
        let mut wire = Wire::past(with_date_of_now(&line.received));
        for name in &names {
            let answer = wire.response().unwrap();
            assert_eq!((answer.status, answer.text()), (200, name.clone()), "{engine:?}");
        }
        let cache = &machine.shard.cache;
        assert!(cache.starved.read() > 0 && cache.evicted.read() > 0, "{engine:?}");
        // Not one by one, and not all for each.
        assert!(cache.evicted.read() < 3 * names.len() as u64, "{engine:?}");
        machine.is_clean();
    }
}

/// An answer that cannot be completed: what the kernel took is delivered, not a byte of padding
/// follows, and the connection is closed in order and not reset, so that the length that was said
/// tells the client (RFC 9112 sections 8 and 9.6).
#[test]
fn an_answer_that_cannot_be_completed_ends_short() {
    const LONG: usize = 900_000;
    const LEFT: usize = 500_000;
    for engine in Kind::ALL {
        let mut machine = Machine::new(engine, Setup::NoVariants);
        let bytes = Pattern::new(9).bytes(0, LONG);
        machine.world.file("long.bin", bytes.clone());
        let client = machine.world.connect(machine.listener, 1 << 16, 1 << 16);
        let mut line = Line { client, received: Vec::new() };
        line.client.write(b"GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        machine.settle();
        assert!(line.client.available() > 0, "{engine:?}: it has begun");
        machine.world.resize("long.bin", LEFT as u64);
        machine.take_in(&mut line);
        assert_eq!(line.client.end(), End::Closed, "{engine:?}");
        let received = &line.received;
        let head = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = received.split_at(head);
        let length = format!("\r\nContent-Length: {LONG}\r\n");
        assert!(String::from_utf8_lossy(head).contains(&length), "{engine:?}");
        assert!(!body.is_empty() && body.len() <= LEFT, "{engine:?}: {} bytes", body.len());
        assert!(bytes.starts_with(body), "{engine:?}: other bytes");
        line.client.close();
        machine.settle();
        let connections = &machine.shard.connections;
        assert_eq!(connections.farewells(connection::Farewell::Truncated).read(), 1, "{engine:?}");
        assert_eq!(machine.worker.open(), 0, "{engine:?}");
        machine.is_clean();
    }
}

/// After an answer that ends the connection the sending side is shut at once, and what still comes
/// is read away, for a bounded time and up to a bounded size (RFC 9112 section 9.6).
#[test]
fn what_follows_the_last_answer_is_read_away_within_bounds() {
    let piece = [b'x'; 4096];
    for engine in Kind::ALL {
        let mut machine = Machine::new(engine, Setup::Usual);
        let refused = |machine: &mut Machine| {
            let mut line = machine.connect();
            machine.send(&mut line, b"BAD\n");
            assert!(line.received.starts_with(b"HTTP/1.1 400 "));
            assert_eq!(line.client.end(), End::Closed, "the sending side is shut");
            assert!(!line.client.is_closed_by_server(), "what follows is read away");
            line
        };
        let line = refused(&mut machine);
        let mut sent = 0;
        while !line.client.is_closed_by_server() {
            sent += line.client.write(&piece) as u64;
            machine.settle();
            assert!(sent <= 2 * limits::LINGER_BYTES_MAX, "it is read on and on");
        }
        assert!(sent >= limits::LINGER_BYTES_MAX, "closed after {sent} bytes");
        // One that sends little does not keep the connection either.
        let line = refused(&mut machine);
        for _ in 0..8 {
            line.client.write(b"x");
            machine.world.pass(limits::LINGER / 4);
            machine.settle();
        }
        assert!(line.client.is_closed_by_server(), "it is read on for ever");
        assert_eq!(machine.worker.open(), 0);
        machine.is_clean();
    }
}

/// A file that this process may not read is not told apart from one that is not there (RFC 9110
/// section 15.5.4).
#[test]
fn a_forbidden_file_is_not_found() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Usual);
    machine.world.file("secret.txt", "not to be read");
    machine.world.forbid("secret.txt");
    let mut ask = |path: &str| {
        let mut line = machine.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        machine.send(&mut line, request.as_bytes());
        line.client.close();
        machine.settle();
        without_dates(line.received)
    };
    let secret = ask("/secret.txt");
    assert!(secret.starts_with(b"HTTP/1.1 404 "));
    assert_eq!(secret, ask("/nothing.txt"));
}

/// Beyond the limit a connection waits in the kernel's queue, if that is asked for, and is served
/// as soon as another one ends (RFC 9110 section 15.6.4 leaves it to the server to refuse).
#[test]
fn a_connection_too_many_waits_for_another_to_end() {
    let mut machine = Machine::with(Kind::Sendfile, Setup::Usual, Beyond::Wait);
    let mut lines: Vec<_> = (0..CONNECTIONS_MAX).map(|_| machine.connect()).collect();
    for line in &mut lines {
        machine.send(line, MARKER);
        assert!(line.received.starts_with(b"HTTP/1.1 200 "));
    }
    let mut waiting: Vec<_> = (0..2).map(|_| machine.connect()).collect();
    for line in &mut waiting {
        machine.send(line, MARKER);
        assert_eq!((line.client.end(), line.received.len()), (End::Open, 0));
    }
    assert_eq!(machine.worker.open(), CONNECTIONS_MAX);
    for line in &mut waiting {
        lines.pop().unwrap().client.close();
        machine.take_in(line);
        assert!(line.received.starts_with(b"HTTP/1.1 200 "), "served when there is a place");
        assert_eq!(machine.worker.open(), CONNECTIONS_MAX);
    }
    let stats = &machine.shard.connections;
    assert_eq!(stats.farewells(connection::Farewell::TooMany).read(), 0);
    assert_eq!(stats.open_max.read(), CONNECTIONS_MAX as u64);
    assert!(stats.accepts_held.read() > 0);
    machine.is_clean();
}

/// Without a descriptor for a connection, files that are only kept open for later give way, and
/// the client is served at once and not after the slow clock.
#[test]
fn an_accept_that_starves_makes_kept_files_give_way() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::NoVariants);
    let mut line = machine.connect();
    let kept = ["plain.txt", "style.css", "app.js", "data.json", "data.bin", "one.bin"];
    for name in kept {
        machine.send(&mut line, format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    let full = machine.world.descriptors();
    machine.world.set_bounds(full, 256, 65_536);
    let mut late = machine.connect();
    machine.send(&mut late, MARKER);
    assert!(late.received.starts_with(b"HTTP/1.1 200 "), "{}", late.received.escape_ascii());
    let (connections, cache) = (&machine.shard.connections, &machine.shard.cache);
    assert_eq!(connections.accepts_starved.read(), 1);
    assert!((1..=kept.len() as u64).contains(&cache.evicted.read()), "{}", cache.evicted.read());
    // What was put out is opened again when it is asked for.
    machine.world.set_bounds(full + 8, 256, 65_536);
    machine.send(&mut line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(line.received.ends_with(&site::content("plain.txt")));
    machine.is_clean();
}
