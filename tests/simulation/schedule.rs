//! One schedule: a worker, its world, its clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pitcrew::cache::{self, Beneath, Directory};
use pitcrew::connection::{self, Answer, Door, Endpoint, Farewell, Made, Question};
use pitcrew::engines::{Kind, Thresholds};
use pitcrew::http::head::{Head, HeadLimits};
use pitcrew::http::media::Media;
use pitcrew::http::status::Status;
use pitcrew::limits::{
    ANSWER_BUFFER_BYTES, BODY_BUFFER_BYTES, HEAD_BUFFER_BYTES, LARGE_HEAD_BUFFER_BYTES,
    TURNED_AWAY_MAX,
};
use pitcrew::resource::{self, PageMemory, Site};
use pitcrew::ring::simulated::{Faults, ListenerId, Random, Simulated, World};
use pitcrew::ring::{self, File, MountKind, Reactor, Socket, Technique};
use pitcrew::server::options::Beyond;
use pitcrew::server::{Control, Parts, State, Worker};
use pitcrew::telemetry::Shard;

use super::answers::{MADE, Tolerance};
use super::client::Visitor;
use super::records::{Records, Tally, access_log};
use super::requests::{Content, replace, site};

/// Bytes of a block: files have several.
const BLOCK_BYTES: usize = 16_384;
/// Turns of one schedule at most.
const TURNS_MAX: u64 = 60_000;

/// What schedules have been through, so that a suite that tests nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) schedules: u64,
    gentle: u64,
    turns: u64,
    accepted: u64,
    requests: u64,
    answers: u64,
    files: u64,
    listings: u64,
    hashed: u64,
    refused: u64,
    bytes: u64,
    block_hits: u64,
    foreseen: u64,
    alone: u64,
    shrunk: u64,
    replaced: u64,
    aborted: u64,
    truncated: u64,
    timed_out: u64,
    turned_away: u64,
    given_up: u64,
    queued: u64,
    mirrored_partly: u64,
    mirrored: u64,
    log_waits: u64,
    dropped: u64,
    retired: u64,
    asked_figures: u64,
    log: Tally,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.gentle += other.gentle;
        self.turns += other.turns;
        self.accepted += other.accepted;
        self.requests += other.requests;
        self.answers += other.answers;
        self.files += other.files;
        self.listings += other.listings;
        self.hashed += other.hashed;
        self.refused += other.refused;
        self.bytes += other.bytes;
        self.block_hits += other.block_hits;
        self.foreseen += other.foreseen;
        self.alone += other.alone;
        self.shrunk += other.shrunk;
        self.replaced += other.replaced;
        self.aborted += other.aborted;
        self.truncated += other.truncated;
        self.timed_out += other.timed_out;
        self.turned_away += other.turned_away;
        self.given_up += other.given_up;
        self.queued += other.queued;
        self.mirrored_partly += other.mirrored_partly;
        self.mirrored += other.mirrored;
        self.log_waits += other.log_waits;
        self.dropped += other.dropped;
        self.retired += other.retired;
        self.asked_figures += other.asked_figures;
        self.log.steps += other.log.steps;
        self.log.troubles += other.log.troubles;
        self.log.written += other.log.written;
        self.log.missing += other.log.missing;
        self.log.torn += other.log.torn;
        self.log.digests += other.log.digests;
    }

    /// Every kind of trouble was met often enough.
    pub(crate) fn assert_wide(&self) {
        let rare = [
            self.gentle,
            self.files,
            self.listings,
            self.hashed,
            self.refused,
            self.block_hits,
            self.shrunk,
            self.replaced,
            self.aborted,
            self.truncated,
            self.timed_out,
            self.turned_away,
            self.given_up,
            self.queued,
            self.mirrored_partly,
            self.mirrored,
            self.log_waits,
            self.dropped,
            self.retired,
            self.asked_figures,
            self.log.steps,
            self.log.troubles,
            self.log.written,
            self.log.missing,
            self.log.torn,
            self.log.digests,
        ];
        // The rarest, a torn line, is met in one of some eight hundred schedules.
        assert!(rare.iter().all(|count| *count > 5), "some trouble is hardly ever met: {self:#?}");
    }
}

/// Answers one path, so that what is made is on the wire, too.
struct Answers;

impl Endpoint for Answers {
    fn is_at(&self, _door: Door, path: &[u8]) -> bool {
        path == b"/made"
    }

    fn answer(&mut self, _: &Head<'_>, _: Option<IpAddr>, _: Question) -> Answer {
        Answer::Made(Made::new(Status::Ok, Media::new("text/plain"), MADE.into()))
    }
}

struct Schedule {
    random: Random,
    world: World,
    gentle: bool,
    site: Vec<Content>,
    worker: Worker<Simulated>,
    shard: Shard,
    control: Arc<Control>,
    bell: u32,
    pressure: u32,
    /// The one for telemetry, if there is one.
    for_telemetry: Option<ListenerId>,
    visitors: Vec<Visitor>,
    records: Records,
    turns: u64,
    replaced: u64,
    /// Whether others serve in its place at the end.
    retired: bool,
    /// Connections that nobody had accepted when the drain began, where that is checked strictly.
    queued: u64,
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64) -> Summary {
    let mut schedule = Schedule::new(seed);
    let drains_early = schedule.random.chance(100);
    let most = if schedule.gentle { 60 } else { 300 };
    let drains_at = schedule.world.now() + Duration::from_millis(schedule.random.below(most));
    while schedule.visitors.iter().any(|visitor| !visitor.done) {
        if drains_early && schedule.world.now() >= drains_at {
            break;
        }
        schedule.turn();
    }
    if schedule.gentle {
        schedule.crowd();
    }
    schedule.drain();
    schedule.check()
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let world = World::new(random.next());
        let gentle = random.chance(500);
        let faults = if gentle { Faults::gentle(&mut random) } else { Faults::some(&mut random) };
        let beneath = *random.pick(&[
            None,
            Some(MountKind::Blocking),
            Some(MountKind::Remote),
            Some(MountKind::Foreign),
            Some(MountKind::InMemory),
            Some(MountKind::NonBlocking),
        ]);
        if let Some(kind) = beneath {
            world.mount("dir", kind);
        }
        if seed.is_multiple_of(2) {
            let mounts = 1 + u64::from(beneath.is_some());
            (1..=mounts).for_each(|mount| world.note_access(mount, seed.is_multiple_of(4)));
        }
        let site = site(&world);
        if random.chance(500) {
            site.iter().for_each(|file| world.chill(file.path));
        } else if random.chance(500) {
            site.iter().for_each(|file| world.chill_end(file.path));
        }
        if random.chance(250) {
            world.give_away();
        }
        let direct = *random.pick(&[Some((512, 512)), Some((4096, 4096)), Some((4, 512)), None]);
        world.set_direct(direct);
        let visitors = 1 + random.below(4) as usize;
        let connections_max =
            if gentle { visitors } else { 1 + random.below(visitors as u64 + 1) as usize };
        let shard = Shard::default();
        let mut options = reactor_options(&mut random, connections_max);
        if gentle {
            // Nobody has to give way for want of a buffer for a head, and be lost.
            options.pools[0].1 = connections_max + TURNED_AWAY_MAX;
            options.pools[1].1 = connections_max + TURNED_AWAY_MAX;
            // Nor does anybody wait for the end of a long body.
            options.pools[3].1 = options.pools[3].1.max(2 * connections_max);
            options.pipes_max = options.pipes_max.max(connections_max);
        }
        let blocks = options.pools[4].1;
        let kernel = world.kernel();
        let registered = random.chance(500).then_some(0);
        let mut reactor =
            Reactor::new(kernel, options, Arc::clone(&shard.ring), |_, _| registered).unwrap();
        let root = File::from(reactor.take_in(world.root()));
        // Mounts are known beforehand, or not.
        let mounts = match (beneath, random.chance(500)) {
            (_, true) => vec![],
            (None, _) => vec![(Box::default(), 1)],
            (Some(_), _) => vec![(Box::default(), 1), ((*b"dir").into(), 2)],
        };
        let (raw, listener) = world.listen();
        let listeners = vec![Socket::from(reactor.take_in(raw))];
        let (raw, for_telemetry) = random.chance(300).then(|| world.listen()).unzip();
        let mut take_in = |raw| Socket::from(reactor.take_in(raw));
        let telemetry_listeners = raw.map(&mut take_in).into_iter().collect();
        let bell = world.counter();
        let watched = random.chance(700);
        let watcher = watched.then(|| File::from(reactor.take_in(world.watcher())));
        let pressure = world.counter();
        let control = Arc::new(Control::default());
        let engine = *random.pick(&Kind::ALL);
        let thresholds = Thresholds {
            small_bytes_max: *random.pick(&[0, 500, 16 << 10]),
            large_bytes_min: *random.pick(&[1, 5000, 1 << 20]),
            once_bytes_min: *random.pick(&[1, 5000, 1 << 20]),
            stream_bytes_min: *random.pick(&[10_000, 16 << 20]),
            slow_rate_max: *random.pick(&[0, 1 << 20, u64::MAX]),
        };
        let direct_from = match engine {
            Kind::Direct => Some(1),
            Kind::Auto => Some(thresholds.once_bytes_min),
            _ => None,
        };
        let (log, records) = access_log(&mut random, &world, &mut reactor, &shard);
        let parts = Parts {
            directories: vec![Directory {
                file: root,
                follow: None,
                mounts: Arc::new(Beneath::new(mounts)),
            }],
            watcher,
            listeners,
            telemetry_listeners,
            pressure: Some(Socket::from(reactor.take_in(pressure))),
            bell: Socket::from(reactor.take_in(bell)),
            control: Arc::clone(&control),
            site: Site::new(
                vec![resource::Options {
                    index: vec!["index.html".into()],
                    listing: true,
                    ..resource::Options::default()
                }],
                0,
            ),
            cache: cache::Options {
                entries_max: if gentle { 100 } else { *random.pick(&[1, 3, 100]) },
                valid: Duration::from_millis(*random.pick(&[0, 5, 1000])),
                watches_max: *random.pick(&[1, 2, 100]),
                hot_bytes: *random.pick(&[0, 2000, 1 << 20]),
                precompressed: random.chance(500),
                fresh_only: false,
                direct_from,
                follow_links: true,
                content_tags: random.chance(500),
                drop_from: None,
            },
            blocks: cache::BlockOptions {
                block_bytes: BLOCK_BYTES,
                blocks_max: if engine.keeps_blocks() { blocks } else { 0 },
                reads_max: 1 + random.below(4) as usize,
                foresees: random.chance(700),
            },
            listing_memory: Arc::new(PageMemory::new(1 << 20)),
            connection: connection::Options {
                thresholds,
                server_timing: random.chance(300),
                drop_from: random.chance(300).then_some(1000),
                ..connection_options(&mut random, engine, gentle)
            },
            connections_max,
            beyond: *random.pick(&Beyond::ALL),
            // Long enough for everybody who may count on an answer, and too short.
            drain_timeout: match gentle {
                true => Duration::from_secs(120),
                false => *random.pick(&[Duration::from_millis(200), Duration::from_secs(10)]),
            },
            endpoint: Box::new(Answers),
            shard: shard.clone(),
            log: Some(log),
            numbered: Arc::default(),
            nonce: {
                let mut numbers = Random::new(seed);
                Box::new(move || u128::from(numbers.next()))
            },
            reactor,
        };
        let queue = *random.pick(&[1, 3, 256]);
        let descriptors = if gentle { 1000 } else { *random.pick(&[8, 12, 20, 1000]) };
        world.set_bounds(descriptors, queue, *random.pick(&[4096, 65_536, 1 << 20]));
        world.set_faults(faults);
        let now = world.now();
        let come_to = (listener, for_telemetry);
        let visitors =
            (0..visitors).map(|_| Visitor::new(&mut random, now, gentle, come_to)).collect();
        Self {
            random,
            world,
            gentle,
            site,
            worker: Worker::new(parts),
            shard,
            control,
            bell,
            pressure,
            for_telemetry,
            visitors,
            records,
            turns: 0,
            replaced: 0,
            retired: false,
            queued: 0,
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance { refusals: !self.gentle, files_change: self.world.shrunk() + self.replaced > 0 }
    }

    /// The outside acts, then the worker.
    fn turn(&mut self) -> bool {
        self.act();
        let next = self.visitors.iter().filter_map(Visitor::next_act).min();
        self.world.set_alarm(next);
        let ended = self.worker.turn().expect("the kernel is entered");
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "no end: {:?}", self.visitors);
        let hangs = self.world.is_asleep() && next.is_none() && !ended;
        if hangs && self.visitors.iter().all(|visitor| visitor.next_act().is_none()) {
            let done = self.visitors.iter().all(|visitor| visitor.done);
            assert!(done, "everybody waits for the other: {:?}", self.visitors);
        }
        ended
    }

    fn act(&mut self) {
        if !self.gentle && self.random.chance(3) {
            replace(&self.world, &mut self.site, &mut self.random);
            self.replaced += 1;
        }
        // A log thread that comes late now and then, and not at all for a while.
        if self.gentle || self.random.chance(300) {
            self.records.threads.run();
        }
        if self.random.chance(5) {
            self.world.add(self.pressure, 1);
        }
        let tolerance = self.tolerance();
        for visitor in &mut self.visitors {
            visitor.act(&self.world, &self.site, tolerance);
        }
    }

    /// Some who were to come later come as the drain begins, so that it finds them in the queue of
    /// the listener. Nobody comes behind them, as the listener may close at any time then.
    fn crowd(&mut self) {
        let now = self.world.now();
        for visitor in &mut self.visitors {
            if self.random.chance(700) {
                visitor.hurries(now);
            }
        }
        self.act();
        self.visitors.iter_mut().for_each(Visitor::hears_of_the_end);
        let come = self.visitors.iter().filter(|visitor| visitor.has_come()).count() as u64;
        self.queued = come - self.shard.connections.accepted.read();
    }

    /// Tells the worker to end, and lets it.
    fn drain(&mut self) {
        self.retired = self.random.chance(300);
        self.control.set(if self.retired { State::Retiring } else { State::Draining });
        self.world.add(self.bell, 1);
        let begun = self.world.now();
        while !self.turn() {
            self.records.threads.run();
        }
        let took = self.world.now().since(begun);
        assert!(took < Duration::from_secs(1000), "{took:?} to drain");
        // Whoever behaves reads to the end what it was sent.
        while self.gentle && self.visitors.iter().any(|visitor| !visitor.done) {
            // The last descriptors are closed with the next entries into the kernel.
            self.world.set_alarm(Some(self.world.now() + Duration::from_millis(1)));
            let reactor = self.worker.reactor();
            reactor.turn().expect("the kernel is entered");
            while reactor.next_wake().is_some() {}
            self.act();
            assert!(self.world.now().since(begun) < Duration::from_secs(1000), "it reads for ever");
        }
    }

    fn check(mut self) -> Summary {
        let tolerance = self.tolerance();
        for visitor in &mut self.visitors {
            visitor.check(&self.world, &self.site, tolerance);
        }
        assert_eq!(self.worker.open(), 0, "every connection has ended");
        self.come_home();
        let Self { worker, world, shard, gentle, records, site, retired, .. } = self;
        drop(worker);
        records.finish(&world);
        let log = records.check(&world, &shard, &site);
        assert_eq!(world.in_flight(), 0, "the kernel has nothing");
        assert_eq!(world.untaken(), 0, "every event has found its operation");
        let sum = |techniques: &[Technique]| -> u64 {
            techniques.iter().map(|one| shard.ring.technique(*one).bytes.read()).sum()
        };
        let sent =
            sum(&[Technique::Send, Technique::SendMsg, Technique::Sendfile, Technique::SpliceOut]);
        let (to_clients, from_clients) = world.traffic();
        assert_eq!(sent, to_clients, "bytes sent are counted once each");
        assert_eq!(sum(&[Technique::Readv]), from_clients, "and those that were read");
        let stats = &shard.connections;
        assert!(stats.bytes.read() <= to_clients, "no more is told than was sent");
        let farewells: u64 = stats.by_farewell().map(|(_, count)| count.read()).sum();
        assert_eq!(farewells, stats.accepted.read(), "each connection ends once");
        let of = |farewell| stats.farewells(farewell).read();
        let answers: u64 = stats.by_status().map(|(_, count)| count.read()).sum();
        let read: u64 = self.visitors.iter().map(|visitor| visitor.reading.answers as u64).sum();
        assert!(read <= answers + of(Farewell::Shutdown), "{read} answers read, {answers} counted");
        let of_engines = Kind::FIXED.map(|kind| shard.engines.engine(kind).bytes.read());
        assert!(of_engines.iter().sum::<u64>() <= to_clients, "engines count what was sent");
        Summary {
            schedules: 1,
            gentle: u64::from(gentle),
            turns: self.turns,
            accepted: stats.accepted.read(),
            requests: stats.requests.read(),
            answers: read,
            files: self.visitors.iter().map(|visitor| visitor.reading.files).sum(),
            listings: self.visitors.iter().map(|visitor| visitor.reading.listings).sum(),
            hashed: shard.ring.technique(Technique::Digest).operations.read(),
            refused: self.visitors.iter().map(|visitor| visitor.reading.refused).sum(),
            bytes: to_clients,
            block_hits: shard.cache.block_hits.read(),
            foreseen: shard.cache.foreseen.read(),
            alone: shard.cache.block_exhausted.read(),
            shrunk: world.shrunk(),
            replaced: self.replaced,
            aborted: of(Farewell::ClientAbort),
            truncated: of(Farewell::Truncated) + of(Farewell::DiskError),
            timed_out: of(Farewell::Idle)
                + of(Farewell::HeadTimeout)
                + of(Farewell::SendTimeout)
                + of(Farewell::DiskTimeout),
            turned_away: of(Farewell::TooMany),
            given_up: of(Farewell::Shutdown),
            queued: self.queued,
            dropped: shard.access_log.dropped.read(),
            retired: u64::from(retired),
            asked_figures: {
                let all = self.visitors.iter();
                let of_telemetry =
                    |one: &&Visitor| self.for_telemetry.is_some_and(|it| one.comes_to(it));
                all.filter(of_telemetry).map(|one| one.reading.answers as u64).sum()
            },
            log,
            log_waits: shard.access_log.waits.read(),
            mirrored: shard.access_log.mirrored.read(),
            mirrored_partly: shard.access_log.mirrored_partly.read(),
        }
    }

    /// What connections had is home; what the cache has stays.
    fn come_home(&mut self) {
        self.world.set_alarm(None);
        self.world.set_faults(Faults::NONE);
        for _ in 0..50 {
            self.worker.blocks().clear();
            let reactor = self.worker.reactor();
            if reactor.leased() == ([0; 5], 0) && self.world.is_asleep() {
                break;
            }
            reactor.turn().expect("the kernel is entered");
            while reactor.next_wake().is_some() {}
        }
        let reactor = self.worker.reactor();
        assert_eq!(reactor.leased(), ([0; 5], 0), "every buffer and pipe came home");
    }
}

fn reactor_options(random: &mut Random, connections: usize) -> ring::Options {
    let mut count = |most: u64| 1 + random.below(most) as usize;
    ring::Options {
        pools: [
            (HEAD_BUFFER_BYTES, count(4)),
            (LARGE_HEAD_BUFFER_BYTES, count(2)),
            (ANSWER_BUFFER_BYTES, count(4)),
            (BODY_BUFFER_BYTES, count(4)),
            (BLOCK_BYTES, count(6)),
        ],
        rings: 1,
        operations_max: (connections + 1) * 4 + count(30),
        owners_max: connections + TURNED_AWAY_MAX + 9,
        pipes_max: count(3),
        pipe_bytes: 1 << 18,
        turn_bytes: *random.pick(&[1000, 50_000, 1 << 19]),
        shared_turn_bytes: *random.pick(&[1000, 50_000, 1 << 19]),
    }
}

fn bounds(random: &mut Random, gentle: bool) -> connection::Bounds {
    let mut one_of = |all: &[u64]| *random.pick(all);
    let harsh = |rate: u64| if gentle { 0 } else { rate };
    connection::Bounds {
        head_rate: harsh(one_of(&[0, 500, 100_000])),
        send_rate: harsh(one_of(&[0, 240, 1 << 20])),
        rate_limit: one_of(&[0, 0, 0, 1 << 20, 8 << 20]),
        pipeline_depth: one_of(&[1, 3, 64]) as usize,
        ..connection::Bounds::default()
    }
}

fn connection_options(random: &mut Random, engine: Kind, gentle: bool) -> connection::Options {
    let mut time = || {
        let short = *random.pick(&[5, 100, 2_000, 10_000]);
        Duration::from_millis(if gentle { 120_000 } else { short })
    };
    connection::Options {
        engine,
        thresholds: Thresholds::default(),
        server_timing: false,
        drop_from: None,
        head: HeadLimits::default(),
        head_timeout: time(),
        body_timeout: time(),
        idle_timeout: time(),
        send_timeout: time(),
        bounds: bounds(random, gentle),
        requests_max: *random.pick(&[0, 0, 2]),
    }
}
