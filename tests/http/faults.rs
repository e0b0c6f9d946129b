//! The whole worker: every operation that it starts meets every fault in turn, with every engine.
//!
//! `tests/contract` does so with the engines alone and knows the cause that each fault must have.
//! Here it is the worker around them: accepting, reading heads, opening, asking for facts, looking
//! at the page cache, listing, hashing, watching, sending, asking what a client has not taken,
//! recording, shutting.
//!
//! A failing play names its course. `PITCREW_COURSE=<course>` plays that one alone.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pitcrew::access_log::options::{Glob, Mirror, Place};
use pitcrew::access_log::{self, Log};
use pitcrew::ring::{MountKind, Tap};

use super::*;
use crate::common::Fault as Broken;

/// What may befall any operation; an errno that its call never gives, a later kernel may give.
const FAULTS: [Fault; 19] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::INVAL),
    Fault::Fail(Errno::NOMEM),
    Fault::Fail(Errno::NOBUFS),
    Fault::Fail(Errno::MFILE),
    Fault::Fail(Errno::CONNRESET),
    Fault::Fail(Errno::PIPE),
    Fault::Fail(Errno::TIMEDOUT),
    Fault::Fail(Errno::INTR),
    Fault::Fail(Errno::AGAIN),
    Fault::Fail(Errno::CANCELED),
    Fault::FailHead(Errno::CONNRESET),
    Fault::ShortHead(1),
    Fault::Short(1),
    Fault::Short(513),
    Fault::Late(Duration::from_millis(70)),
    Fault::Shrink(0),
    Fault::Shrink(5000),
    Fault::Ends,
];

/// How long an answer to the narrow client may stand still.
const STANDS_FOR: Duration = Duration::from_secs(2);
/// How often it takes a little, and how much: too little for more to be sent at once.
const BITES: usize = 15;
const BITE: usize = 3000;

/// How the worker is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// With listings.
    Listing,
    /// With tags of content.
    Hashed,
    /// With room for little, on a mount that is not known, for a client that reads slowly, and with
    /// an access log that mirrors bodies.
    Scarce,
    /// For a client whose socket stays full, while others wait for what its answer holds, and for
    /// longer than an answer may stand still.
    Narrow,
}

/// Operations that no course here starts, each with who has it meet its faults.
const ELSEWHERE: [Technique; 2] = [
    // A descriptor that is closed is gone, whatever close(2) says.
    Technique::Close,
    // Told to the kernel with the close.
    Technique::Reset,
];

/// More than is read at once when it is cold.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| Pattern::new(77).bytes(0, 200_000));
static DATA: LazyLock<Vec<u8>> = LazyLock::new(|| site::content("data.bin"));
static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| site::content("plain.txt"));

/// What a client asks for, and what is right: the status, and the bytes where they are known.
#[derive(Clone, Copy)]
struct Asked {
    request: &'static str,
    status: u16,
    body: Option<&'static [u8]>,
}

fn course(scene: Scene) -> Vec<Asked> {
    let ask = |request, status, body| Asked { request, status, body };
    let plain = ask("GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(&PLAIN[..]));
    let mut all = vec![
        ask("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(&LARGE[..])),
        ask("GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(&DATA[..])),
        plain,
        plain,
        plain,
        ask(
            "GET /data.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=70-9000\r\n\r\n",
            206,
            Some(&DATA[70..=9000]),
        ),
        // It is refused, and what may follow is read away.
        ask("GET /plain.txt HTTP/1.1\r\n\r\n", 400, None),
    ];
    match scene {
        Scene::Narrow => all.truncate(3),
        Scene::Listing => {
            all.insert(1, ask("GET /bare/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, None));
        }
        Scene::Hashed => {}
        Scene::Scarce => {
            let far = ask("GET /far/away.bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(&DATA[..]));
            all.splice(1..2, [far, plain, far]);
        }
    }
    all
}

/// One play: what the fault befalls, and which.
#[derive(Clone, Copy)]
struct Play {
    engine: Kind,
    scene: Scene,
    technique: Technique,
    fault: Fault,
    pass: u32,
}

impl std::fmt::Display for Play {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { engine, scene, technique, fault, pass } = self;
        write!(out, "{engine} {scene:?} {technique:?} {fault:?} {pass}")
    }
}

/// What came of plays: how often a fault befell, by technique, and the courses that failed.
#[derive(Default)]
struct Found {
    befallen: BTreeMap<&'static str, u64>,
    failed: Vec<String>,
}

#[test]
fn every_operation_of_every_engine_meets_every_fault() {
    let alone = std::env::var("PITCREW_COURSE").ok();
    let tried: Vec<_> = Technique::ALL.iter().filter(|one| !ELSEWHERE.contains(one)).collect();
    let mut all = Vec::new();
    for engine in Kind::ALL {
        for scene in [Scene::Listing, Scene::Hashed, Scene::Scarce, Scene::Narrow] {
            let used = scene.used(engine);
            // Of the narrow client it is what is asked of its socket.
            let plays = |one: Technique| {
                let asks = one == Technique::Unacknowledged;
                assert!(!asks || scene != Scene::Narrow || used.contains(&one), "{engine}");
                used.contains(&one) && (asks || scene != Scene::Narrow)
            };
            for technique in tried.iter().filter(|one| plays(***one)) {
                let faults = FAULTS.iter().filter(|fault| concerns(**fault, **technique));
                all.extend(faults.map(|fault| (engine, scene, **technique, *fault)));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Found::default();
        while let Some(&(engine, scene, technique, fault)) =
            all.get(next.fetch_add(1, Ordering::Relaxed))
        {
            for pass in passes(technique, fault) {
                let play = Play { engine, scene, technique, fault, pass };
                if alone.as_ref().is_some_and(|alone| *alone != play.to_string()) {
                    continue;
                }
                let Ok(met) = std::panic::catch_unwind(|| play.one()) else {
                    eprintln!("again: PITCREW_COURSE='{play}' cargo test --test http faults");
                    found.failed.push(play.to_string());
                    break;
                };
                if met == 0 {
                    // Nor will it after more of them.
                    break;
                }
                *found.befallen.entry(technique.name()).or_default() += met;
            }
        }
        found
    };
    let mut total = Found::default();
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let Found { befallen, failed } = worker.join().expect("failures are caught");
            befallen.into_iter().for_each(|(name, count)| {
                *total.befallen.entry(name).or_default() += count;
            });
            total.failed.extend(failed);
        }
    });
    assert!(total.failed.is_empty(), "see above: {:#?}", total.failed);
    if alone.is_none() {
        let befallen = total.befallen;
        let never: Vec<_> = tried.iter().filter(|one| !befallen.contains_key(one.name())).collect();
        assert!(never.is_empty(), "no fault befell {never:?}: {befallen:?}");
    }
}

/// Operations that pass before the fault.
fn passes(technique: Technique, fault: Fault) -> impl Iterator<Item = u32> {
    // What a full socket is asked for differs from question to question, and all errors are one.
    let each = technique == Technique::Unacknowledged && fault == Fault::Fail(Errno::INVAL);
    let (count, step) = if each { (24, 1) } else { (2, 2) };
    (0..count).map(move |number| number * step)
}

/// Whether a fault can befall it.
fn concerns(fault: Fault, technique: Technique) -> bool {
    use Technique as T;
    match fault {
        Fault::Fail(_) => true,
        Fault::Short(_) | Fault::Late(_) => technique != T::Unacknowledged,
        // What goes before a body goes with two operations only.
        Fault::FailHead(_) | Fault::ShortHead(_) => {
            matches!(technique, T::Sendfile | T::SpliceOut)
        }
        // What reads a file, and what has it read.
        Fault::Shrink(_) | Fault::Overwrite => {
            let into_memory = [T::Read, T::ReadFixed, T::DirectRead, T::Pread];
            let others = [T::SpliceIn, T::Sendfile, T::Warm, T::Digest];
            into_memory.contains(&technique) || others.contains(&technique)
        }
        Fault::Ends => technique == T::Accept,
    }
}

/// A log of which nobody reads anything, with room for everything.
fn access_log(world: &World, parts: &mut Parts<Simulated>) -> (Log, usize) {
    let (raw, pipe) = world.pipe(8 << 20);
    let options = access_log::Options {
        sinks: vec![Place::Stdout],
        flush: Duration::ZERO,
        mirror: Mirror { paths: vec![Glob::new("/**").expect("a glob")], ..Mirror::default() },
        ..access_log::Options::default()
    };
    let tap = Tap::from(parts.reactor.take_in(raw));
    let stats = Arc::clone(&parts.shard.access_log);
    (Log::new(Arc::new(options), tap, access_log::ledger().0, stats), pipe)
}

impl Scene {
    /// The operations that the course starts when nothing goes wrong.
    fn used(self, engine: Kind) -> Vec<Technique> {
        let (mut machine, _) = self.machine(engine);
        let mut line = self.connect(&mut machine);
        for one in course(self) {
            if line.client.end() != End::Open {
                line = self.connect(&mut machine);
            }
            line.client.write(one.request.as_bytes());
            self.settle(&mut machine, &mut line);
        }
        let given_way = machine.shard.connections.given_way.read();
        let holds = matches!(engine, Kind::Splice | Kind::Uring | Kind::Copy);
        assert!(given_way > 0 || self != Self::Narrow || !holds, "{engine} gives no way");
        let count = |one: &Technique| machine.shard.ring.technique(*one).operations.read();
        Technique::ALL.iter().copied().filter(|one| count(one) > 0).collect()
    }

    /// The worker, and the pipe of its log.
    fn machine(self, engine: Kind) -> (Machine, Option<usize>) {
        let mut log = None;
        let setup = match self {
            Self::Listing => Setup::Listing,
            Self::Hashed => Setup::ContentTags,
            Self::Scarce | Self::Narrow => Setup::Usual,
        };
        let (scarce, narrow) = (self == Self::Scarce, self == Self::Narrow);
        let send_rate = u64::from(scarce || narrow);
        let bounds = connection::Bounds { send_rate, ..connection::Bounds::default() };
        let registered = (!scarce).then_some(0);
        let machine =
            Machine::fitted(engine, setup, Beyond::Refuse, bounds, registered, |world, parts| {
                if scarce {
                    world.mount("far", MountKind::Remote);
                    world.file("far/away.bin", &DATA[..]);
                    parts.cache.entries_max = 1;
                    parts.cache.watches_max = 1;
                    parts.connection.drop_from = Some(1000);
                    let (made, pipe) = access_log(world, parts);
                    parts.log = Some(made);
                    log = Some(pipe);
                }
                if narrow {
                    parts.connection.send_timeout = STANDS_FOR;
                }
            });
        machine.world.file("bare/one.txt", "one");
        machine.world.file("large.bin", &LARGE[..]);
        machine.world.pass(Duration::from_secs(60));
        machine.world.chill("large.bin");
        machine.world.chill("data.bin");
        (machine, log)
    }

    fn connect(self, machine: &mut Machine) -> Line {
        let room = match self {
            Self::Scarce | Self::Narrow => 20_000,
            Self::Listing | Self::Hashed => 1 << 20,
        };
        Line { client: machine.world.connect(machine.listener, 1 << 20, room), received: vec![] }
    }

    /// Lets the client have its answer, in its manner.
    fn settle(self, machine: &mut Machine, line: &mut Line) {
        if self == Self::Narrow {
            machine.settle();
            if line.client.available() > 5 * BITE {
                crowd(machine);
            }
            for _ in 0..BITES {
                if line.client.available() == 0 {
                    break;
                }
                line.received.extend(line.client.read(BITE));
                machine.world.pass(STANDS_FOR + SLACK);
                machine.settle();
            }
        }
        settle(machine, line);
    }
}

impl Play {
    /// Plays the course under one fault; how often it befell.
    fn one(&self) -> u64 {
        let (mut machine, log) = self.scene.machine(self.engine);
        machine.world.script(self.technique, self.pass, self.fault);
        let mut line = self.scene.connect(&mut machine);
        let mut asked = Vec::new();
        for one in course(self.scene) {
            if line.client.end() != End::Open {
                self.check(&line.received, &asked);
                asked.clear();
                line.client.close();
                line = self.scene.connect(&mut machine);
            }
            line.client.write(one.request.as_bytes());
            asked.push(one);
            self.scene.settle(&mut machine, &mut line);
        }
        self.check(&line.received, &asked);
        line.client.close();
        let befallen = machine.world.befallen();
        // Whatever it was, it is over: somebody else is served whole, and nothing is held.
        let served = (0..4).any(|_| {
            let mut other = machine.connect();
            other.client.write(MARKER);
            settle(&mut machine, &mut other);
            other.client.close();
            settle(&mut machine, &mut other);
            other.received.starts_with(b"HTTP/1.1 200 ")
        });
        assert!(served, "{self}: nobody else is served");
        assert_eq!(machine.worker.open(), 0, "{self}");
        machine.is_clean();
        if let Some(pipe) = log {
            self.check_log(&machine, &machine.world.written_to_pipe(pipe));
        }
        befallen
    }

    /// One record for each answer, or it is counted as dropped.
    fn check_log(&self, machine: &Machine, written: &[u8]) {
        let answers: u64 =
            machine.shard.connections.by_status().map(|(_, count)| count.read()).sum();
        let lines = written.split_inclusive(|byte| *byte == b'\n');
        let records = lines.filter(|line| line.ends_with(b"\n") && !line.starts_with(b"#"));
        let (records, dropped) = (records.count() as u64, machine.shard.access_log.dropped.read());
        assert_eq!(records + dropped, answers, "{self}: {}", shown(written));
    }

    /// Each answer is the right one or a refusal for now; one that is cut has right bytes until
    /// then, and is the last.
    fn check(&self, received: &[u8], asked: &[Asked]) {
        let mut wire = Wire::past(received.to_vec());
        let shrinks = matches!(self.fault, Fault::Shrink(_));
        for Asked { status: expected, body: right, .. } in asked {
            let head = match wire.head() {
                Ok(head) => head,
                // A connection that was never accepted, or cut before it was answered.
                Err(Broken::Closed | Broken::Cut(_)) => return,
                Err(fault) => panic!("{self}: {fault:?} in {}", shown(received)),
            };
            let length = head.field("content-length").expect("every answer has one");
            let length: usize = length.parse().expect("a length");
            let whole = wire.exact(length);
            let (body, is_cut) = match whole {
                Ok(body) => (body, false),
                Err(_) => (wire.rest().0, true),
            };
            match head.status {
                status if status == *expected => {
                    if let Some(right) = right {
                        let shorter = shrinks && length < right.len();
                        assert!(shorter || length == right.len(), "{self}: {head:?}");
                        assert!(right.starts_with(&body), "{self}: wrong bytes");
                    }
                }
                // What cannot be read now is not said to be missing.
                408 | 503 => {}
                // What openat2(2) says of names that cannot be.
                404 if self.fault == Fault::Fail(Errno::INVAL) => {}
                // The part that was asked for is not there any more.
                416 if shrinks => {}
                status => panic!("{self}: {status} in {}", shown(received)),
            }
            if is_cut {
                assert!(wire.held().is_empty(), "{self}: more behind a cut answer");
                return;
            }
        }
    }
}

/// Others ask for a large file and take nothing of it, until what answers are sent from is short.
fn crowd(machine: &mut Machine) {
    let others: Vec<_> = (0..10)
        .map(|_| {
            let client = machine.world.connect(machine.listener, 1 << 16, 4096);
            client.write(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    for _ in 0..4 {
        machine.settle();
        machine.world.pass(limits::GIVE_WAY_AFTER);
    }
    others.iter().for_each(Client::close);
    machine.settle();
}

/// Lets the worker go on until nothing more comes, its waits by the clock included.
fn settle(machine: &mut Machine, line: &mut Line) {
    for _ in 0..8 {
        machine.take_in(line);
        machine.world.pass(limits::ACCEPT_RETRY / 4);
    }
}

/// The begin of what was received.
fn shown(received: &[u8]) -> String {
    received[..received.len().min(300)].escape_ascii().to_string()
}
