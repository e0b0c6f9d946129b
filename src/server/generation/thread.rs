//! A worker's thread: what it begins with, its whole life, and what it reports.

use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::access_log::{self, Log};
use crate::cache;
use crate::connection::{self, Seats};
use crate::http::head::HeadLimits;
use crate::limits::OPEN_FILES_MIN;
use crate::resource::{PageMemory, Site};
use crate::ring::{File, Reactor, Setup, Socket, Tap, Uring};
use crate::server::budgets;
use crate::server::control::Control;
use crate::server::directories::Opened;
use crate::server::endpoint::Figures;
use crate::server::fault::Fault;
use crate::server::options::{Etag, Options, Precompressed};
use crate::server::parts::{self, Parts};
use crate::server::shards::Shards;
use crate::server::watcher;
use crate::server::worker::Worker;
use crate::sys;
use crate::telemetry::{Held, Shard};

/// What a worker's thread tells the main thread.
pub(super) enum Report {
    Ready,
    Ended,
    Failed(Fault),
}

/// What a worker's thread begins with.
pub(super) struct Start {
    pub(super) number: usize,
    pub(super) options: Options,
    pub(super) directories: Vec<Opened>,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) telemetry_listeners: Vec<OwnedFd>,
    pub(super) bell: OwnedFd,
    pub(super) pressure: Option<OwnedFd>,
    pub(super) control: Arc<Control>,
    pub(super) shard: Shard,
    pub(super) shards: Arc<Shards>,
    pub(super) listing_memory: Arc<PageMemory>,
    /// Connections by address, of all workers.
    pub(super) seats: Arc<Seats>,
    pub(super) log: Option<(OwnedFd, access_log::Writer)>,
    pub(super) started: Instant,
    pub(super) sandbox: Arc<[Held]>,
}

/// Starts it; its end is reported, however it comes.
pub(super) fn spawn(start: Start, reports: mpsc::Sender<Report>) -> Result<JoinHandle<()>, Fault> {
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
            drop_from: budgets::drop_from(&options),
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
}
