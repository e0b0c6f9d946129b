//! A whole worker over the simulated kernel: what a slow directory or a slow disk holds up.

use std::sync::Arc;
use std::time::Duration;

use pitcrew::access_log::{self, Log};
use pitcrew::cache::{self, Beneath, BlockOptions, Directory};
use pitcrew::connection;
use pitcrew::engines::Kind;
use pitcrew::limits::JOBS_PER_MOUNT_MAX;
use pitcrew::resource::{self, PageMemory, Site};
use pitcrew::ring::simulated::{Client, Fault, ListenerId, Simulated, World};
use pitcrew::ring::{File, Options, Reactor, Socket, Tap, Technique};
use pitcrew::server::options::Beyond;
use pitcrew::server::{Control, Parts, State, Worker};
use pitcrew::telemetry::Shard;
use rustix::io::Errno;

/// What is mounted beneath the root, by name, and the device of each.
pub(crate) type Mounts = Vec<(Box<[u8]>, u64)>;

const SLOW: Duration = Duration::from_secs(5);

pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) worker: Worker<Simulated>,
    pub(crate) listener: ListenerId,
    /// The one for telemetry, if there is one.
    pub(crate) for_telemetry: Option<ListenerId>,
    pub(crate) control: Arc<Control>,
    pub(crate) bell: u32,
    /// Tells that memory is short.
    pub(crate) pressure: u32,
    pub(crate) shard: Shard,
    /// The other side of the access log, if there is one: its pipe and its ledger.
    pub(crate) log: Option<(usize, access_log::Reader)>,
}

/// Connections that a worker has room for.
const CROWD: usize = 512;

/// What differs between rigs.
struct Plan {
    engine: Kind,
    watched: bool,
    hot_bytes: u64,
    hashes: bool,
    mounts: Mounts,
    crowd: usize,
    log: Option<access_log::Options>,
    /// Blocks of files that are kept, and reads of them at once.
    blocks: (usize, usize),
    /// Bytes of files of which nothing is to stay in the page cache.
    drop_from: Option<u64>,
    /// Whether there is a listener for telemetry, too.
    telemetry: bool,
}

impl Plan {
    fn new() -> Self {
        let (engine, hashes, crowd, blocks) = (Kind::Sendfile, true, CROWD, (0, 1));
        let (mounts, log) = (Vec::new(), None);
        Self {
            engine,
            watched: false,
            hot_bytes: 0,
            hashes,
            mounts,
            crowd,
            log,
            blocks,
            drop_from: None,
            telemetry: false,
        }
    }
}

impl Rig {
    fn new(world: World) -> Self {
        Self::with(world, false, 0)
    }

    /// With the engine `auto`, and next to no room for blocks of files.
    pub(crate) fn auto(world: World) -> Self {
        Self::auto_with_blocks(world, 4)
    }

    /// The same with room for so many of them.
    pub(crate) fn auto_with_blocks(world: World, blocks: usize) -> Self {
        let (engine, blocks) = (Kind::Auto, (blocks, 1));
        Self::build(world, Plan { engine, hashes: false, blocks, ..Plan::new() })
    }

    /// With files of which nothing is to stay in the page cache.
    pub(crate) fn dropping(world: World, engine: Kind, from: u64) -> Self {
        let drop_from = Some(from);
        Self::build(world, Plan { engine, hashes: false, drop_from, ..Plan::new() })
    }

    /// With directories that are watched, or not, and memory for small bodies; names are good for
    /// an hour.
    pub(crate) fn with(world: World, watched: bool, hot_bytes: u64) -> Self {
        Self::build(world, Plan { watched, hot_bytes, ..Plan::new() })
    }

    /// With an access log, whose pipe holds a page.
    pub(crate) fn logging(world: World, options: access_log::Options) -> Self {
        Self::build(world, Plan { hashes: false, log: Some(options), ..Plan::new() })
    }

    /// With what is known of the mounts; files are not hashed.
    pub(crate) fn with_mounts(world: World, mounts: Mounts) -> Self {
        Self::with_crowd(world, mounts, CROWD)
    }

    /// The same, and files are hashed.
    pub(crate) fn hashing(world: World, mounts: Mounts) -> Self {
        Self::build(world, Plan { mounts, ..Plan::new() })
    }

    /// The same with another engine.
    pub(crate) fn with_engine(world: World, mounts: Mounts, engine: Kind) -> Self {
        let blocks = if engine.keeps_blocks() { (64, 8) } else { (0, 1) };
        Self::build(world, Plan { engine, hashes: false, mounts, blocks, ..Plan::new() })
    }

    /// Of one directory that is watched, with another engine.
    pub(crate) fn watching(world: World, engine: Kind) -> Self {
        let blocks = (128, 8);
        Self::build(world, Plan { engine, hashes: false, watched: true, blocks, ..Plan::new() })
    }

    /// The same for so many connections.
    pub(crate) fn with_crowd(world: World, mounts: Mounts, crowd: usize) -> Self {
        Self::build(world, Plan { hashes: false, mounts, crowd, ..Plan::new() })
    }

    /// The same with a listener for telemetry beside the other one. Nothing is told there, so that
    /// every answer is 404.
    pub(crate) fn with_telemetry(world: World) -> Self {
        Self::build(world, Plan { hashes: false, telemetry: true, ..Plan::new() })
    }

    fn build(world: World, plan: Plan) -> Self {
        let Plan { engine, watched, hot_bytes, hashes, mounts, crowd, log, .. } = plan;
        let Plan { blocks: (blocks_max, reads_max), drop_from, telemetry, .. } = plan;
        let direct_from = match engine {
            Kind::Direct => Some(1),
            Kind::Auto => Some(48 << 10),
            _ => None,
        };
        let options = Options {
            rings: 1,
            operations_max: 8 * crowd,
            owners_max: 2 * crowd + 16,
            pools: [
                (4096, (crowd / 2).max(256)),
                (24 << 10, 16),
                (4096, 256),
                (68 << 10, 16),
                (4096, blocks_max),
            ],
            pipes_max: 4,
            pipe_bytes: 65_536,
            turn_bytes: 512 << 10,
            shared_turn_bytes: 512 << 10,
        };
        let shard = Shard::default();
        let mut reactor =
            Reactor::new(world.kernel(), options, Arc::clone(&shard.ring), |_, _| None).unwrap();
        let (log, log_end) = log
            .map(|options| {
                let (raw, pipe) = world.pipe(4096);
                let (writer, reader) = access_log::ledger();
                let tap = Tap::from(reactor.take_in(raw));
                let stats = Arc::clone(&shard.access_log);
                (Log::new(Arc::new(options), tap, writer, stats), (pipe, reader))
            })
            .unzip();
        let (raw, listener) = world.listen();
        let (telemetry_raw, for_telemetry) = telemetry.then(|| world.listen()).unzip();
        let (bell, pressure) = (world.counter(), world.counter());
        let control = Arc::new(Control::default());
        let parts = Parts {
            directories: vec![Directory {
                file: File::from(reactor.take_in(world.root())),
                follow: None,
                mounts: Arc::new(Beneath::new(mounts)),
            }],
            watcher: watched.then(|| File::from(reactor.take_in(world.watcher()))),
            listeners: vec![Socket::from(reactor.take_in(raw))],
            telemetry_listeners: {
                let raw = telemetry_raw.into_iter();
                raw.map(|raw| Socket::from(reactor.take_in(raw))).collect()
            },
            pressure: Some(Socket::from(reactor.take_in(pressure))),
            bell: Socket::from(reactor.take_in(bell)),
            control: Arc::clone(&control),
            site: Site::new(
                vec![resource::Options {
                    index: vec!["index.html".to_owned()],
                    listing: true,
                    ..resource::Options::default()
                }],
                0,
            ),
            cache: cache::Options {
                entries_max: 256,
                valid: Duration::from_secs(3600),
                watches_max: 16,
                hot_bytes,
                precompressed: false,
                fresh_only: false,
                direct_from,
                follow_links: true,
                content_tags: hashes,
                drop_from,
            },
            blocks: BlockOptions { block_bytes: 4096, blocks_max, reads_max, foresees: false },
            listing_memory: Arc::new(PageMemory::new(64 << 20)),
            connection: connection::Options {
                idle_timeout: Duration::from_secs(600),
                drop_from,
                ..connection::Options::patient(engine, Duration::from_secs(60))
            },
            connections_max: crowd,
            beyond: Beyond::Refuse,
            drain_timeout: Duration::from_secs(1),
            endpoint: Box::new(()),
            shard: shard.clone(),
            log,
            numbered: Arc::default(),
            nonce: Box::new(|| 1),
            reactor,
        };
        let worker = Worker::new(parts);
        Self {
            worker,
            world,
            listener,
            for_telemetry,
            control,
            bell,
            pressure,
            shard,
            log: log_end,
        }
    }

    pub(crate) fn ask(&self, path: &str) -> Client {
        self.ask_times(path, 1)
    }

    /// The same request several times, in one piece.
    pub(crate) fn ask_times(&self, path: &str, times: usize) -> Client {
        let client = self.world.connect(self.listener, 1 << 16, 64 << 20);
        let requests = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(times);
        assert_eq!(client.write(requests.as_bytes()), requests.len());
        client
    }

    /// One turn, without more time than it takes.
    pub(crate) fn turn(&mut self) {
        self.world.set_alarm(Some(self.world.now() + Duration::from_millis(1)));
        assert!(!self.worker.turn().unwrap());
        self.world.set_alarm(None);
    }

    /// Turns, without more time than they take, until a helper has a job.
    pub(crate) fn until_a_job_is_out(&mut self) {
        while self.shard.ring.jobs_in_flight.read() == 0 {
            self.turn();
        }
    }

    /// Turns until a client has something to read; the head of it.
    pub(crate) fn first_of(&mut self, client: &Client) -> String {
        for _ in 0..10_000 {
            if client.available() > 0 {
                return String::from_utf8_lossy(&client.read(400)).into_owned();
            }
            assert!(!self.worker.turn().unwrap());
        }
        panic!("the client is not answered")
    }
}

fn world(entries: usize) -> World {
    let world = World::new(1);
    world.file("small.txt", "small");
    for number in 0..entries {
        world.file(&format!("big/{number:06}"), "");
    }
    world
}

#[test]
fn a_small_file_is_answered_while_a_large_directory_is_read() {
    let mut rig = Rig::new(world(100_000));
    let warm = rig.ask("/small.txt");
    rig.first_of(&warm);
    rig.world.script(Technique::ReadDirectory, 0, Fault::Late(SLOW));
    let listing = rig.ask("/big/?format=json");
    rig.until_a_job_is_out();
    let begun = rig.world.now();
    for _ in 0..10 {
        let file = rig.ask("/small.txt");
        assert!(rig.first_of(&file).starts_with("HTTP/1.1 200 OK"));
        assert_eq!(listing.available(), 0);
    }
    assert!(rig.world.now().since(begun) < SLOW, "nobody waited for the helper");
    assert!(rig.first_of(&listing).starts_with("HTTP/1.1 200 OK"));
    assert!(rig.world.now().since(begun) >= SLOW);
}

/// RFC 9110 sections 15.6.4 and 10.2.3.
#[test]
fn beyond_the_room_at_the_helpers_a_listing_is_refused_for_now() {
    let world = world(0);
    for number in 0..=JOBS_PER_MOUNT_MAX {
        world.directory(&format!("d{number}"));
    }
    let mut rig = Rig::new(world);
    rig.world.script(Technique::ReadDirectory, 0, Fault::Late(SLOW));
    let all: Vec<_> =
        (0..=JOBS_PER_MOUNT_MAX).map(|number| rig.ask(&format!("/d{number}/"))).collect();
    let answers: Vec<_> = all.iter().map(|client| rig.first_of(client)).collect();
    let refused: Vec<_> =
        answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("\r\nRetry-After: 2\r\n"), "{}", refused[0]);
    let made = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count();
    assert_eq!(made, JOBS_PER_MOUNT_MAX);
    assert_eq!(rig.shard.resource.listings_refused.read(), 1);
}

/// RFC 9110 section 15.6.4.
#[test]
fn a_disk_that_fails_under_a_job_is_503_and_only_then() {
    let mut rig = Rig::new(world(3));
    rig.world.script(Technique::ReadDirectory, 0, Fault::Fail(Errno::IO));
    rig.world.script(Technique::ReadDirectory, 1, Fault::Fail(Errno::ACCESS));
    rig.world.script(Technique::Digest, 0, Fault::Fail(Errno::IO));
    for (path, status) in [
        ("/big/", "503 "),
        ("/big/", "404 "),
        ("/big/", "200 "),
        ("/small.txt", "503 "),
        ("/small.txt", "200 "),
    ] {
        let client = rig.ask(path);
        let answer = rig.first_of(&client);
        assert!(answer[9..].starts_with(status), "{path}: {answer}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_hashed_is_hashed_again() {
    let mut rig = Rig::new(world(0));
    rig.world.script(Technique::Digest, 0, Fault::Shrink(3));
    let client = rig.ask("/small.txt");
    let answer = rig.first_of(&client);
    assert!(answer.contains("Content-Length: 3\r\n"), "{answer}");
    let digest = xxhash_rust::xxh3::xxh3_128(b"sma");
    assert!(answer.contains(&format!("ETag: \"{digest:032x}\"")), "{answer}");
}

#[test]
fn a_drain_does_not_wait_for_a_helper_beyond_its_time() {
    let mut rig = Rig::new(world(3));
    rig.world.script(Technique::ReadDirectory, 0, Fault::Late(Duration::from_secs(3600)));
    let listing = rig.ask("/big/");
    rig.until_a_job_is_out();
    let begun = rig.world.now();
    rig.control.set(State::Draining);
    rig.world.add(rig.bell, 1);
    while !rig.worker.turn().unwrap() {}
    assert!(rig.world.now().since(begun) < Duration::from_secs(2));
    assert_eq!(listing.available(), 0);
    drop(rig.worker);
    assert_eq!(rig.world.in_flight(), 0);
}

#[test]
fn a_client_that_leaves_does_not_take_the_listing_from_the_others() {
    let mut rig = Rig::new(world(3));
    rig.world.script(Technique::ReadDirectory, 0, Fault::Late(SLOW));
    let (one, other) = (rig.ask("/big/"), rig.ask("/big/"));
    rig.until_a_job_is_out();
    one.reset();
    assert!(rig.first_of(&other).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(rig.shard.resource.listings_made.read(), 1);
}
