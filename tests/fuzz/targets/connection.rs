//! A whole connection: the worker itself over the simulated kernel, with faults. Whatever comes,
//! the worker goes on, answers with no 5xx but 501, 503 and 505, and has everything back at the
//! end.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pitcrew::cache::{Beneath, Directory};
use pitcrew::base::Network;
use pitcrew::connection::{self, Bounds, Seats};
use pitcrew::engines::Kind;
use pitcrew::http::forwarded::Trusted;
use pitcrew::resource::{self, PageMemory, Site};
use pitcrew::ring::simulated::{Client, Faults, ListenerId, Random, Simulated, World};
use pitcrew::ring::{File, Options, Reactor, Socket};
use pitcrew::server::options::Beyond;
use pitcrew::server::{Control, Parts, Worker};
use pitcrew::telemetry::Shard;
use pitcrew::{cache, limits};

/// Longer than any turn takes, shorter than any deadline.
const MOMENT: Duration = Duration::from_millis(1);
/// The time for everything.
const PATIENCE: Duration = Duration::from_secs(10);

fn plant(world: &World) {
    world.file("index.html", &b"<p>hello"[..]);
    world.file("index.html.gz", &b"packed"[..]);
    world.file("plain.txt", vec![b'x'; 3000]);
    world.file("large.bin", vec![7; 200_000]);
    world.file("dir/index.html", &b"inner"[..]);
    world.file(".hidden", &b"secret"[..]);
    world.directory("empty");
    world.link("link", "plain.txt");
    world.fifo("fifo");
}

/// Whoever asks comes from here.
const PROXY: &str = "127.0.0.1";

/// Rates, seats and proxies, each on or off by a bit.
fn bounds(choice: u8) -> Bounds {
    let on = |bit: u8| choice >> bit & 1 == 1;
    let network = Network::new(PROXY.parse().expect("an address"), 32).expect("a network");
    let networks = if on(3) || on(4) { vec![network] } else { Vec::new() };
    Bounds {
        head_rate: if on(0) { 500 } else { 0 },
        send_rate: if on(1) { 1 << 16 } else { 0 },
        rate_limit: if on(2) { 1 << 20 } else { 0 },
        trusted: Arc::new(Trusted { unix: false, networks }),
        proxy_header: on(4),
        seats: on(5).then(|| Arc::new(Seats::new(1))),
        pipeline_depth: if on(6) { 2 } else { Bounds::default().pipeline_depth },
        ..Bounds::default()
    }
}

fn worker(world: &World, engine: Kind, bounds: Bounds) -> (Worker<Simulated>, ListenerId) {
    plant(world);
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
            (4096, if engine.keeps_blocks() { 8 } else { 0 }),
        ],
        pipes_max: 4,
        pipe_bytes: limits::PIPE_BYTES,
        turn_bytes: limits::TURN_BYTES,
        shared_turn_bytes: limits::SHARED_TURN_BYTES,
    };
    let reactor = Reactor::new(world.kernel(), options, Arc::clone(&shard.ring), |_, _| Some(0));
    let mut reactor = reactor.expect("memory for the pools");
    let (listening, listener) = world.listen();
    let bell = world.counter();
    let watcher = world.watcher();
    let root = File::from(reactor.take_in(world.root()));
    let site = resource::Options {
        index: vec!["index.html".to_owned()],
        listing: true,
        ..resource::Options::default()
    };
    let parts = Parts {
        directories: vec![Directory {
            file: root,
            follow: None,
            mounts: Arc::new(Beneath::new(Vec::new())),
        }],
        watcher: Some(File::from(reactor.take_in(watcher))),
        listeners: vec![Socket::from(reactor.take_in(listening))],
        telemetry_listeners: Vec::new(),
        pressure: None,
        bell: Socket::from(reactor.take_in(bell)),
        control: Arc::new(Control::default()),
        site: Site::new(vec![site], 0),
        cache: cache::Options {
            entries_max: 64,
            valid: Duration::from_secs(1),
            watches_max: 16,
            hot_bytes: 1 << 20,
            precompressed: true,
            fresh_only: false,
            direct_from: engine.keeps_blocks().then_some(1),
            follow_links: true,
            content_tags: false,
            drop_from: None,
        },
        blocks: cache::BlockOptions {
            block_bytes: 4096,
            blocks_max: if engine.keeps_blocks() { 8 } else { 0 },
            reads_max: 4,
            foresees: true,
        },
        listing_memory: Arc::new(PageMemory::new(1 << 20)),
        connection: connection::Options {
            bounds,
            ..connection::Options::patient(engine, PATIENCE)
        },
        connections_max: 16,
        beyond: Beyond::Refuse,
        drain_timeout: PATIENCE,
        endpoint: Box::new(()),
        shard,
        log: None,
        numbered: Arc::default(),
        nonce: Box::new(|| 0x5eed),
        reactor,
    };
    (Worker::new(parts), listener)
}

fn settle(world: &World, worker: &mut Worker<Simulated>, client: &Client, got: &mut Vec<u8>) {
    loop {
        let until = world.now() + MOMENT;
        world.set_alarm(Some(until));
        while world.now() < until {
            assert!(!worker.turn().expect("the kernel is entered"), "the worker has ended");
        }
        let came = client.read(usize::MAX);
        if came.is_empty() {
            return;
        }
        got.extend(came);
    }
}

fuzz_target!(|input: &[u8]| {
    // Five bytes choose the engine, the seed of the faults, where the input is cut, and the bounds.
    let Some((choice, input)) = input.split_at_checked(5) else { return };
    let engine = Kind::ALL[usize::from(choice[0]) % Kind::ALL.len()];
    let world = World::new(u64::from(choice[1]));
    if choice[2] & 1 != 0 {
        world.set_faults(Faults::gentle(&mut Random::new(u64::from(choice[2]))));
    }
    let (mut worker, listener) = worker(&world, engine, bounds(choice[4]));
    let client = world.connect(listener, 1 << 20, 1 << 20);
    let mut received = Vec::new();
    for piece in input.chunks(1 + usize::from(choice[3]) * 8) {
        client.write(piece);
        settle(&world, &mut worker, &client, &mut received);
    }
    client.shut();
    settle(&world, &mut worker, &client, &mut received);
    // Whatever was begun is over by now, at the rate that it may have.
    for _ in 0..8 {
        world.pass(PATIENCE);
        settle(&world, &mut worker, &client, &mut received);
    }
    client.close();
    // With faults some of it takes another try.
    for _ in 0..20 {
        settle(&world, &mut worker, &client, &mut received);
        if worker.open() == 0 {
            break;
        }
        world.pass(PATIENCE);
    }
    if !received.is_empty() {
        assert!(received.starts_with(b"HTTP/1.1 "), "{}", received.escape_ascii());
    }
    for line in received.split(|byte| *byte == b'\n') {
        if let Some(status) = line.strip_prefix(b"HTTP/1.1 5") {
            let rest = status.get(..2);
            assert!(matches!(rest, Some(b"01" | b"03" | b"05")), "{}", line.escape_ascii());
        }
    }
    assert_eq!(worker.open(), 0, "the connection is forgotten");
    worker.blocks().clear();
    let (buffers, pipes) = worker.reactor().leased();
    assert_eq!((buffers, pipes), ([0; 5], 0), "buffers and pipes are home");
});
