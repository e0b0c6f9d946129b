//! From options to a running server, and to its end.
//!
//! Everything that can be refused is tried before the first thread starts: the root, the
//! addresses, the ring. Then each worker builds what is its own on its own thread, and the main
//! thread waits for signals.

use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Instant;

use super::control::{Control, State};
use super::directories::{self, Opened};
use super::endpoint::Figures;
use super::listening::{announce, bind_all, bind_telemetry, note_descriptors, sockets};
use super::options::{Etag, Options, Precompressed};
use super::parts::Parts;
use super::watcher;
use super::worker::Worker;
use crate::access_log::{self, Feed, Log, Threads as LogThreads};
use crate::cache;
use crate::connection;
use crate::http::head::HeadLimits;
use crate::limits::{
    ANSWER_BUFFER_BYTES, BODY_BUFFER_BYTES, DIRECT_BLOCKS_MIN, DRAIN_LOOK, HEAD_BUFFER_BYTES,
    LARGE_HEAD_BUFFER_BYTES, OPEN_FILES_MIN, OPERATIONS_PER_CONNECTION, OWN_OPERATIONS, PIPE_BYTES,
    PIPES_MAX, TURN_BYTES, TURNED_AWAY_MAX, WORKERS_LOOK,
};
use crate::resource::{PageMemory, Site};
use crate::ring::{self, File, Reactor, Setup, Socket, Tap, Uring};
use crate::sys::probe::Blocked;
use crate::sys::root::RootError;
use crate::sys::socket::BindError;
use crate::sys::{self, Bell, Bound, Signal, Signals};
use crate::telemetry::Shard;

/// Why the server could not start or go on.
#[derive(Debug)]
pub enum Fault {
    /// The root cannot be served.
    Root(RootError),
    /// An address cannot be listened on.
    Listen(BindError),
    /// A socket that was passed cannot be served.
    Inherited(sys::inherited::InheritedError),
    /// io_uring cannot be used.
    Ring(Blocked),
    /// Memory for buffers cannot be had, or the like.
    System(&'static str, std::io::Error),
    /// A worker ended by a fault of its own.
    Worker(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => error.fmt(out),
            Self::Listen(error) => error.fmt(out),
            Self::Inherited(error) => error.fmt(out),
            Self::Ring(error) => error.fmt(out),
            Self::System(what, error) => write!(out, "{what}: {error}"),
            Self::Worker(what) => write!(out, "a worker failed: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

/// How a server that ran came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that had begun was finished, or its time was over.
    Drained,
    /// A second signal came while it drained.
    AtOnce(Signal),
}

/// What a worker's thread tells the main thread.
enum Report {
    Ready,
    Ended,
    Failed(String),
}

/// Serves until a signal ends it.
///
/// Announces each address on standard output, one line each, when it accepts there: `listening
/// on http://127.0.0.1:8080`, unless `quiet`.
///
/// # Errors
/// [`Fault`], each with its remedy. It must be called while the process has one thread, since
/// signals are blocked for all threads that follow.
pub fn run(options: &Options, quiet: bool) -> Result<End, Fault> {
    let inherited = sys::inherited::take().map_err(Fault::Inherited)?;
    let signals = Signals::block().map_err(|e| Fault::System("signals cannot be taken", e))?;
    let descriptors = sys::descriptors::raise();
    let directories = directories::open(options)?;
    sys::probe::io_uring().map_err(Fault::Ring)?;
    let mut bound = bind_all(options, inherited)?;
    let mut for_telemetry = bind_telemetry(options)?;
    note_descriptors(options, descriptors);
    let shards: Arc<Vec<_>> = Arc::new((0..options.workers).map(|_| Shard::default()).collect());
    let control = Arc::new(Control::default());
    let (reports, reported) = mpsc::channel();
    let started = Instant::now();
    let mut bells = Vec::new();
    let mut threads = Vec::new();
    let log = Arc::new(options.access_log.clone());
    let (mut log_ends, mut feeds) = (Vec::new(), Vec::new());
    if log.is_on() {
        for _ in 0..options.workers {
            let (pipe, ledger, feed) =
                Feed::open().map_err(|e| Fault::System("a log pipe cannot be had", e))?;
            log_ends.push((pipe, ledger));
            feeds.push(feed);
        }
    }
    let mut log_ends = log_ends.into_iter();
    let listing_memory = Arc::new(PageMemory::new(options.listing_memory));
    if options.site.listing || options.etag == Etag::Content || watcher::is_wanted(options) {
        // Here, where no thread is bound to a processor yet.
        ring::start_helpers();
    }
    for number in 0..options.workers {
        let (bell, heard) = Bell::new().map_err(|e| Fault::System("a descriptor is missing", e))?;
        bells.push(bell);
        let start = Start {
            number,
            options: options.clone(),
            directories: directories
                .iter()
                .map(Opened::again)
                .collect::<Result<_, _>>()
                .map_err(|e| Fault::System("a descriptor is missing", e))?,
            listeners: sockets(&bound, number)?,
            telemetry_listeners: sockets(&for_telemetry, number)?,
            bell: heard,
            pressure: trigger(number),
            control: Arc::clone(&control),
            shards: Arc::clone(&shards),
            listing_memory: Arc::clone(&listing_memory),
            log: log_ends.next(),
            started,
        };
        threads.push(spawn(start, reports.clone())?);
    }
    drop(reports);
    bound.iter_mut().chain(&mut for_telemetry).for_each(Bound::give_up_sockets);
    // A worker that cannot set up its ring says so before anything is announced.
    for _ in 0..options.workers {
        match reported.recv() {
            Ok(Report::Ready) => {}
            Ok(Report::Ended) => return Err(Fault::Worker("it ended at once".to_owned())),
            Ok(Report::Failed(what)) => return Err(Fault::Worker(what)),
            Err(_) => return Err(Fault::Worker("it ended without a word".to_owned())),
        }
    }
    let log_threads = match feeds.is_empty() {
        true => None,
        false => Some(
            LogThreads::start(&log, feeds, &shards[0].access_log)
                .map_err(|e| Fault::System("the access log cannot be started", e))?,
        ),
    };
    announce(options, &bound, &for_telemetry, quiet);
    let end = wait(&signals, &control, &bells, &reported, threads, log_threads.as_ref())?;
    drop((bound, for_telemetry));
    if let (Some(log), End::Drained) = (log_threads, end) {
        log.finish();
    }
    Ok(end)
}

/// Waits for a signal, has the workers drain, and waits for them or for a second signal.
fn wait(
    signals: &Signals,
    control: &Control,
    bells: &[Bell],
    reported: &mpsc::Receiver<Report>,
    threads: Vec<JoinHandle<()>>,
    log: Option<&LogThreads>,
) -> Result<End, Fault> {
    let mut ended = 0;
    let mut draining = false;
    loop {
        let signal = signals
            .wait_for(if draining { DRAIN_LOOK } else { WORKERS_LOOK })
            .map_err(|e| Fault::System("signals cannot be read", e))?;
        match signal {
            Some(signal) if signal.ends() && draining => return Ok(End::AtOnce(signal)),
            Some(signal) if signal.ends() => {
                draining = true;
                tracing::info!(%signal, "draining; the same signal again ends at once");
                control.set(State::Draining);
                bells.iter().for_each(Bell::ring);
            }
            Some(signal @ (Signal::User1 | Signal::Hangup)) if log.is_some() => {
                tracing::info!(%signal, "opening the files of the access log again");
                log.into_iter().for_each(LogThreads::reopen);
            }
            Some(signal) => tracing::info!(%signal, "nothing to do for this signal"),
            None => {}
        }
        while let Ok(report) = reported.try_recv() {
            match report {
                Report::Failed(what) => return Err(Fault::Worker(what)),
                Report::Ended => ended += 1,
                Report::Ready => unreachable!("every worker was ready before"),
            }
        }
        if ended == threads.len() {
            // The threads have reported. What is left of one may wait in the kernel for a disk
            // that hangs, so they are not joined: the end of the process ends that, too.
            drop(threads);
            return Ok(End::Drained);
        }
    }
}

/// Tells when memory becomes short, where the kernel can; each worker has its own, as a trigger
/// wakes one who waits.
fn trigger(number: usize) -> Option<OwnedFd> {
    let trigger = sys::pressure::memory();
    if let (Err(error), 0) = (&trigger, number) {
        tracing::info!(
            %error,
            "memory that becomes short is not told here; what was seen in the page cache is \
             forgotten by time alone"
        );
    }
    trigger.ok()
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
    shards: Arc<Vec<Shard>>,
    listing_memory: Arc<PageMemory>,
    log: Option<(OwnedFd, access_log::Writer)>,
    started: Instant,
}

fn spawn(start: Start, reports: mpsc::Sender<Report>) -> Result<JoinHandle<()>, Fault> {
    let name = format!("worker-{}", start.number);
    spawn_as(name, reports, move |reports| work(start, reports))
}

/// Starts a thread whose end is reported, however it comes.
fn spawn_as(
    name: String,
    reports: mpsc::Sender<Report>,
    work: impl FnOnce(&mpsc::Sender<Report>) -> Result<(), String> + Send + 'static,
) -> Result<JoinHandle<()>, Fault> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| work(&reports)));
            let report = match ran {
                Ok(Ok(())) => Report::Ended,
                Ok(Err(what)) => Report::Failed(what),
                // The panic's message and place are on standard error already.
                Err(_) => Report::Failed("it panicked".to_owned()),
            };
            // Nobody listens any more when the main thread has ended the process.
            let _ = reports.send(report);
        })
        .map_err(|e| Fault::System("a thread cannot be started", e))
}

/// A worker's whole life. Reports once when it is set up.
fn work(start: Start, reports: &mpsc::Sender<Report>) -> Result<(), String> {
    if start.options.pin {
        pin(start.number);
    }
    let shard = start.shards[start.number].clone();
    if start.number == 0 {
        // A budget of all workers: the figures of all are added up.
        shard.resource.budget_bytes.set(start.options.listing_memory);
    }
    let uring = Uring::new().map_err(|fault| format!("its ring: {}", fault.0))?;
    let setup = uring.setup();
    if setup != Setup::Deferred {
        tracing::warn!(
            worker = start.number,
            ring = setup.name(),
            "this kernel has no deferred completions (it has them from 6.1 on), so each request \
             costs more"
        );
    }
    let options = reactor_options(&start.options);
    // Registered memory is pinned, all of it: only who reads into it with every body pays that.
    let registers = start.options.engine.reads_into_buffers();
    let reactor = Reactor::new(uring, options, Arc::clone(&shard.ring), |uring, memory| {
        if registers { register(uring, memory) } else { None }
    })
    .map_err(|errno| format!("its buffers: {errno}"))?;
    let mut worker = Worker::new(parts(start, shard, reactor, setup));
    let _ = reports.send(Report::Ready);
    worker.run().map_err(|errno| format!("its ring: {errno}"))
}

fn parts(start: Start, shard: Shard, reactor: Reactor<Uring>, setup: Setup) -> Parts<Uring> {
    let options = start.options;
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
            hot_bytes: options.hot_cache / options.workers as u64,
            precompressed: options.precompressed != Precompressed::Off,
            fresh_only: options.precompressed == Precompressed::Fresh,
            direct: options.engine == crate::engines::Kind::Direct,
            follow_links: options.symlinks,
            content_tags: options.etag == Etag::Content,
        },
        listing_memory: start.listing_memory,
        connection: connection::Options {
            engine: options.engine,
            head: HeadLimits::default(),
            requests_max: options.requests_per_connection,
            head_timeout: options.head_timeout,
            body_timeout: options.body_timeout,
            idle_timeout: options.idle_timeout,
            send_timeout: options.send_timeout,
        },
        connections_max: options.share(options.connections),
        beyond: options.connections_beyond,
        drain_timeout: options.drain_timeout,
        endpoint: Box::new(Figures::new(
            &options.telemetry,
            start.shards,
            (options.engine.name(), setup.name()),
            options.laps.clone().into(),
            start.started,
        )),
        log,
        number: (start.number, options.workers),
        shard,
        nonce: nonce(),
        reactor,
    }
}

/// The budgets of one worker.
fn reactor_options(options: &Options) -> ring::Options {
    let connections = options.share(options.connections) + TURNED_AWAY_MAX;
    let heads = options.share(options.head_buffers);
    let count = |bytes: usize, each: usize| (bytes / each).max(4);
    ring::Options {
        operations_max: connections * OPERATIONS_PER_CONNECTION + OWN_OPERATIONS,
        owners_max: connections + OWN_OPERATIONS,
        // Half of the memory for heads is for large ones and for answers.
        pools: [
            (HEAD_BUFFER_BYTES, count(heads / 2, HEAD_BUFFER_BYTES)),
            (LARGE_HEAD_BUFFER_BYTES, count(heads / 4, LARGE_HEAD_BUFFER_BYTES)),
            (ANSWER_BUFFER_BYTES, count(heads / 4, ANSWER_BUFFER_BYTES)),
            (BODY_BUFFER_BYTES, count(options.share(options.body_buffers), BODY_BUFFER_BYTES)),
            (options.direct_block, blocks(options)),
        ],
        pipes_max: PIPES_MAX,
        pipe_bytes: PIPE_BYTES,
        turn_bytes: TURN_BYTES,
    }
}

/// Blocks that one worker keeps; none without an engine that keeps any.
fn blocks(options: &Options) -> usize {
    match options.engine.keeps_blocks() {
        true => (options.share(options.direct_cache) / options.direct_block).max(DIRECT_BLOCKS_MIN),
        false => 0,
    }
}

/// Without the registration reads cost more; the server runs all the same and says so, once for
/// all workers.
fn register(uring: &mut Uring, memory: &[(*mut u8, usize)]) -> Option<u16> {
    static SAID: Once = Once::new();
    let error = match uring.register_memory(memory) {
        Ok(()) => return Some(0),
        Err(error) => error,
    };
    SAID.call_once(|| {
        tracing::warn!(
            bytes = memory.iter().map(|(_, bytes)| bytes).sum::<usize>(),
            %error,
            "the buffers of a worker are not registered with its ring, so reads cost more; raise \
             the limit of locked memory (ulimit -l, LimitMEMLOCK=) above body-buffers and \
             direct-cache together"
        );
    });
    None
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
        assert!(matches!(reported.recv(), Ok(Report::Failed(what)) if what.contains("panicked")));
        thread.join().unwrap();
    }

    #[test]
    fn a_worker_that_fails_while_it_serves_ends_the_server() {
        let (reports, reported) = mpsc::channel();
        reports.send(Report::Failed("planted".to_owned())).unwrap();
        let threads = vec![std::thread::spawn(std::thread::park)];
        let signals = Signals::block().unwrap();
        let ended = wait(&signals, &Control::default(), &[], &reported, threads, None);
        assert!(matches!(ended, Err(Fault::Worker(what)) if what == "planted"));
    }
}
