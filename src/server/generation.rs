//! A generation: the workers that serve one configuration, from their start to the last answer.
//!
//! A reload starts the next generation beside the one that serves, on the same sockets, and only
//! when all of its workers are ready is the earlier one told to finish. So no connection is
//! refused, whatever the new configuration says, and one that does not come up changes nothing.

use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::budgets;
use super::control::{Control, State};
use super::directories::{self, Opened};
use super::endpoint::Figures;
use super::fault::Fault;
use super::listening::Listeners;
use super::options::{Etag, Options, Precompressed};
use super::parts::{self, Parts};
use super::shards::Shards;
use super::watcher;
use super::worker::Worker;
use crate::access_log::{self, Feed, Log, Threads as LogThreads};
use crate::broker::Broker;
use crate::cache;
use crate::connection::{self, Seats};
use crate::http::head::HeadLimits;
use crate::limits::OPEN_FILES_MIN;
use crate::resource::{PageMemory, Site};
use crate::ring::{self, File, Reactor, Setup, Socket, Tap, Uring};
use crate::sys::pressure::Trigger;
use crate::sys::{self, Bell};
use crate::telemetry::{Held, Shard};

/// What a worker's thread tells the main thread.
enum Report {
    Ready,
    Ended,
    Failed(Fault),
}

/// What generations share: all that stays as it was when the process began.
pub(super) struct House {
    /// Where workers count.
    pub(super) shards: Arc<Shards>,
    /// When the server was started.
    pub(super) started: Instant,
    /// Who does what a confined process cannot.
    pub(super) broker: Option<Arc<Broker>>,
    /// What the process gave up, for the telemetry.
    pub(super) sandbox: Arc<[Held]>,
}

/// The workers of one configuration.
pub(super) struct Generation {
    control: Arc<Control>,
    bells: Vec<Bell>,
    reported: mpsc::Receiver<Report>,
    workers: usize,
    ended: usize,
    /// It did not come up, so what else fails in it is no news.
    failed: bool,
    /// Others serve in its place, or are about to.
    retires: bool,
    /// Where its workers count.
    shards: Vec<Shard>,
    log: Option<LogThreads>,
}

impl Generation {
    /// Starts the workers and waits until all of them serve. The others of one that does not come
    /// up are told to finish; they are given back with the fault, since they may have accepted
    /// connections already.
    pub(super) fn start(
        options: &Options,
        listeners: &Listeners,
        house: &House,
    ) -> Result<Self, (Fault, Option<Box<Self>>)> {
        let (mut generation, reports, starts) =
            Self::prepare(options, listeners, house).map_err(|fault| (fault, None))?;
        for start in starts {
            match spawn(start, reports.clone()) {
                // The thread ends by itself, and says so, whatever becomes of the others.
                Ok(_) => generation.workers += 1,
                Err(fault) => return Err((fault, Some(Box::new(generation.given_up())))),
            }
        }
        drop(reports);
        // A worker that cannot set up its ring says so before anything is announced.
        for _ in 0..generation.workers {
            let fault = match generation.reported.recv() {
                Ok(Report::Ready) => continue,
                Ok(Report::Ended) => Fault::Worker("it ended at once".to_owned()),
                Ok(Report::Failed(fault)) => fault,
                Err(_) => Fault::Worker("it ended without a word".to_owned()),
            };
            generation.ended += 1;
            return Err((fault, Some(Box::new(generation.given_up()))));
        }
        Ok(generation)
    }

    /// All that can be refused before the first thread starts.
    fn prepare(
        options: &Options,
        listeners: &Listeners,
        house: &House,
    ) -> Result<(Self, mpsc::Sender<Report>, Vec<Start>), Fault> {
        let places = &house.shards;
        let directories = directories::open(options)?;
        let control = Arc::new(Control::default());
        let (reports, reported) = mpsc::channel();
        let (mut bells, mut starts, mut shards) = (Vec::new(), Vec::new(), Vec::new());
        let (mut log_ends, mut feeds) = (Vec::new(), Vec::new());
        if options.access_log.is_on() {
            for _ in 0..options.workers {
                let (pipe, ledger, feed) =
                    Feed::open().map_err(|e| Fault::System("a log pipe cannot be had", e))?;
                log_ends.push((pipe, ledger));
                feeds.push(feed);
            }
        }
        let mut log_ends = log_ends.into_iter();
        let listing_memory = Arc::new(PageMemory::new(options.listing_memory));
        let per_address = match options.connections_per_address {
            0 => u32::MAX,
            limit => limit,
        };
        let seats = Arc::new(Seats::beside(&places.seats, per_address));
        if options.site.listing || options.etag == Etag::Content || watcher::is_wanted(options) {
            // Here, where no thread is bound to a processor yet.
            ring::start_helpers();
        }
        let missing = |error| Fault::System("a descriptor is missing", error);
        for number in 0..options.workers {
            let (bell, heard) = Bell::new().map_err(missing)?;
            bells.push(bell);
            let (site, telemetry) = listeners.of(number, options.workers)?;
            let directories = directories.iter().map(Opened::again).collect::<Result<_, _>>();
            starts.push(Start {
                number,
                options: options.clone(),
                directories: directories.map_err(missing)?,
                listeners: site,
                telemetry_listeners: telemetry,
                bell: heard,
                pressure: trigger(),
                control: Arc::clone(&control),
                shard: Shard::default(),
                shards: Arc::clone(places),
                listing_memory: Arc::clone(&listing_memory),
                seats: Arc::clone(&seats),
                log: log_ends.next(),
                started: house.started,
                sandbox: Arc::clone(&house.sandbox),
            });
        }
        // Late, so that no place is taken in vain.
        for start in &mut starts {
            start.shard = places.take();
            shards.push(start.shard.clone());
        }
        let log = Arc::new(options.access_log.clone());
        let log = log.is_on().then(|| {
            let (stats, broker) = (&shards[0].access_log, house.broker.as_ref());
            LogThreads::start(&log, feeds, stats, broker)
        });
        let log = log.transpose().map_err(|error| {
            shards.iter().for_each(Shard::leave);
            Fault::System("the access log cannot be started", error)
        })?;
        let generation = Self {
            control,
            bells,
            reported,
            workers: 0,
            ended: 0,
            failed: false,
            retires: false,
            shards,
            log,
        };
        Ok((generation, reports, starts))
    }

    fn given_up(mut self) -> Self {
        self.failed = true;
        self.finish(State::Retiring);
        self
    }

    /// Has the workers finish what they have begun.
    pub(super) fn finish(&mut self, how: State) {
        self.retires |= how == State::Retiring;
        self.control.set(how);
        self.bells.iter().for_each(Bell::ring);
    }

    /// Opens the files of the access log again; says whether there is one.
    pub(super) fn reopen_log(&self) -> bool {
        self.log.as_ref().inspect(|log| log.reopen()).is_some()
    }

    /// Whether all workers have ended.
    ///
    /// # Errors
    /// What ended one while it was to serve. Where others serve in its place it costs its own
    /// clients alone.
    pub(super) fn has_ended(&mut self) -> Result<bool, Fault> {
        while let Ok(report) = self.reported.try_recv() {
            match report {
                Report::Failed(fault) if self.retires && !self.failed => {
                    tracing::error!(
                        "{fault}; it was finishing answers of an earlier configuration, which are \
                         cut"
                    );
                    self.ended += 1;
                }
                Report::Failed(fault) if !self.failed => return Err(fault),
                Report::Failed(_) | Report::Ended => self.ended += 1,
                // One that came up beside another which did not.
                Report::Ready => {}
            }
        }
        Ok(self.ended == self.workers)
    }

    /// Leaves the places of its workers to others, and waits for the last records of the log, for
    /// a bounded time.
    ///
    /// The threads have reported. What is left of one may wait in the kernel for a disk that
    /// hangs, so they are not joined: the end of the process ends that, too.
    pub(super) fn end(self) {
        if let Some(log) = self.log {
            log.finish();
        }
        self.shards.iter().for_each(Shard::leave);
    }
}

/// Tells when memory becomes short, where the kernel can; each worker has its own, as a trigger
/// wakes one who waits.
fn trigger() -> Option<OwnedFd> {
    /// Once for all generations: it stays as it is.
    static SAID: Once = Once::new();
    let trigger = sys::pressure::memory();
    SAID.call_once(|| match &trigger {
        Ok(Trigger { file, machine: Some(why), .. }) => tracing::info!(
            file = %file.display(),
            "memory that becomes short is told by the whole machine, not by the control group of \
             this process: {why}"
        ),
        Ok(Trigger { file, machine: None, .. }) => tracing::info!(
            file = %file.display(),
            "memory that becomes short is told by the control group of this process"
        ),
        Err(error) => tracing::info!(
            %error,
            "memory that becomes short is not told here; what was seen in the page cache is \
             forgotten by time alone"
        ),
    });
    trigger.ok().map(|trigger| trigger.descriptor)
}

/// What a worker's thread begins with.
struct Start {
    number: usize,
    options: Options,
    directories: Vec<Opened>,
    listeners: Vec<OwnedFd>,
    telemetry_listeners: Vec<OwnedFd>,
    bell: OwnedFd,
    pressure: Option<OwnedFd>,
    control: Arc<Control>,
    shard: Shard,
    shards: Arc<Shards>,
    listing_memory: Arc<PageMemory>,
    /// Connections by address, of all workers.
    seats: Arc<Seats>,
    log: Option<(OwnedFd, access_log::Writer)>,
    started: Instant,
    sandbox: Arc<[Held]>,
}

fn spawn(start: Start, reports: mpsc::Sender<Report>) -> Result<JoinHandle<()>, Fault> {
    let name = format!("worker-{}", start.number);
    spawn_as(name, reports, move |reports| work(start, reports))
}

/// Starts a thread whose end is reported, however it comes.
fn spawn_as(
    name: String,
    reports: mpsc::Sender<Report>,
    work: impl FnOnce(&mpsc::Sender<Report>) -> Result<(), Fault> + Send + 'static,
) -> Result<JoinHandle<()>, Fault> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| work(&reports)));
            let report = match ran {
                Ok(Ok(())) => Report::Ended,
                Ok(Err(fault)) => Report::Failed(fault),
                // The panic's message and place are on standard error already.
                Err(_) => Report::Failed(Fault::Worker("it panicked".to_owned())),
            };
            // Nobody listens any more when the main thread has ended the process.
            let _ = reports.send(report);
        })
        .map_err(|e| Fault::System("a thread cannot be started", e))
}

/// A worker's whole life. Reports once when it is set up.
fn work(start: Start, reports: &mpsc::Sender<Report>) -> Result<(), Fault> {
    if start.options.pin {
        pin(start.number);
    }
    let shard = start.shard.clone();
    // A budget of all workers: the figures of all are added up.
    let budget = if start.number == 0 { start.options.listing_memory } else { 0 };
    shard.resource.budget_bytes.set(budget);
    let uring = Uring::new().map_err(|fault| Fault::NoRing(budgets::no_ring(fault)))?;
    let setup = uring.setup();
    if setup != Setup::Deferred {
        tracing::warn!(
            worker = start.number,
            ring = setup.name(),
            "this kernel has no deferred completions (it has them from 6.1 on), so each request \
             costs more"
        );
    }
    if let Some(error) = uring.unrestricted() {
        tracing::warn!(
            worker = start.number,
            %error,
            "this kernel takes no restrictions of a ring, so the ring does whatever it is asked for"
        );
    }
    let options = budgets::of_ring(&start.options);
    // Registered memory is pinned, all of it: only who reads into it with every body pays that.
    let registers = start.options.engine.reads_into_buffers();
    let reactor = Reactor::new(uring, options, Arc::clone(&shard.ring), |uring, memory| {
        if registers { budgets::register(uring, memory) } else { None }
    })
    .map_err(|errno| Fault::Worker(format!("its buffers: {errno}")))?;
    let mut worker = Worker::new(parts(start, shard, reactor, setup));
    let _ = reports.send(Report::Ready);
    worker.run().map_err(|errno| Fault::Worker(format!("its ring: {errno}")))
}

fn parts(start: Start, shard: Shard, reactor: Reactor<Uring>, setup: Setup) -> Parts<Uring> {
    let options = start.options;
    let numbered = Arc::clone(&start.shards.numbered);
    let log = start.log.map(|(pipe, ledger)| {
        let pipe = Tap::from(reactor.adopt(pipe));
        Log::new(Arc::new(options.access_log.clone()), pipe, ledger, Arc::clone(&shard.access_log))
    });
    let socket = |fd| Socket::from(reactor.adopt(fd));
    Parts {
        directories: start.directories.into_iter().map(|one| one.adopt(&reactor)).collect(),
        watcher: watcher::open(&options, start.number).map(|fd| File::from(reactor.adopt(fd))),
        listeners: start.listeners.into_iter().map(socket).collect(),
        telemetry_listeners: start.telemetry_listeners.into_iter().map(socket).collect(),
        pressure: start.pressure.map(socket),
        bell: socket(start.bell),
        control: start.control,
        site: Site::new(options.sites(), 0),
        cache: cache::Options {
            entries_max: options.share(options.open_files).max(OPEN_FILES_MIN),
            valid: options.open_files_valid,
            watches_max: options.share(options.watches),
            hot_bytes: budgets::hot_bytes(&options),
            precompressed: options.precompressed != Precompressed::Off,
            fresh_only: options.precompressed == Precompressed::Fresh,
            direct_from: budgets::direct_from(&options),
            follow_links: options.symlinks,
            content_tags: options.etag == Etag::Content,
        },
        blocks: budgets::of_blocks(&options),
        listing_memory: start.listing_memory,
        connection: connection::Options {
            engine: options.engine,
            thresholds: options.thresholds,
            server_timing: options.server_timing,
            drop_from: budgets::drop_from(&options),
            head: HeadLimits::default(),
            requests_max: options.requests_per_connection,
            head_timeout: options.head_timeout,
            body_timeout: options.body_timeout,
            idle_timeout: options.idle_timeout,
            send_timeout: options.send_timeout,
            bounds: parts::bounds(&options, start.seats),
        },
        connections_max: options.share(options.connections),
        beyond: options.connections_beyond,
        drain_timeout: options.drain_timeout,
        endpoint: Box::new(Figures::new(
            &options,
            start.shards,
            setup.name(),
            start.sandbox,
            start.started,
        )),
        log,
        numbered,
        shard,
        nonce: nonce(),
        reactor,
    }
}

/// Keeps the calling thread on one of the processors that the process may use.
fn pin(number: usize) {
    if let Err(error) = sys::processor::pin(number) {
        tracing::warn!(worker = number, %error, "the worker is not pinned");
    }
}

/// Numbers for boundaries: seeded by the kernel, and passed on by a hash with a secret key.
fn nonce() -> Box<dyn FnMut() -> u128> {
    use std::hash::{BuildHasher, RandomState};
    let keys = [RandomState::new(), RandomState::new()];
    let mut count = 0u64;
    Box::new(move || {
        count += 1;
        let [high, low] = keys.each_ref().map(|key| u128::from(key.hash_one(count)));
        high << 64 | low
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_reported_as_failed() {
        let (reports, reported) = mpsc::channel();
        let thread = spawn_as("worker-9".to_owned(), reports, |_| panic!("planted")).unwrap();
        let Ok(Report::Failed(fault)) = reported.recv() else { panic!("nothing is reported") };
        assert!(fault.to_string().contains("panicked"), "{fault}");
        thread.join().unwrap();
    }

    /// One with so many workers, and what reports for them.
    fn of(workers: usize) -> (Generation, mpsc::Sender<Report>) {
        let (reports, reported) = mpsc::channel();
        let generation = Generation {
            control: Arc::default(),
            bells: Vec::new(),
            reported,
            workers,
            ended: 0,
            failed: false,
            retires: false,
            shards: Vec::new(),
            log: None,
        };
        (generation, reports)
    }

    fn planted() -> Report {
        Report::Failed(Fault::Worker("planted".to_owned()))
    }

    #[test]
    fn a_worker_that_fails_while_it_serves_is_a_fault() {
        let (mut generation, reports) = of(1);
        reports.send(planted()).unwrap();
        assert!(matches!(generation.has_ended(), Err(Fault::Worker(what)) if what == "planted"));
    }

    #[test]
    fn a_worker_that_fails_while_others_serve_has_ended() {
        for then in [State::Retiring, State::Draining] {
            let (mut generation, reports) = of(2);
            generation.finish(State::Retiring);
            // The whole server ends.
            generation.finish(then);
            reports.send(planted()).unwrap();
            assert!(!generation.has_ended().unwrap(), "the other one goes on");
            reports.send(Report::Ended).unwrap();
            assert!(generation.has_ended().unwrap());
        }
    }

    #[test]
    fn a_worker_that_fails_while_the_server_drains_is_a_fault() {
        let (mut generation, reports) = of(1);
        generation.finish(State::Draining);
        reports.send(planted()).unwrap();
        assert!(generation.has_ended().is_err());
    }
}
