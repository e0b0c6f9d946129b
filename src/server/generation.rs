//! A generation: the workers that serve one configuration, from their start to the last answer.
//!
//! A reload starts the next generation beside the one that serves, on the same sockets, and only
//! when all of its workers are ready is the earlier one told to finish. So no connection is
//! refused, whatever the new configuration says, and one that does not come up changes nothing.
//! Nothing here waits for a disk but [`Generation::start`], which is for the first one alone.

mod thread;

use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Once};
use std::time::Instant;

use self::thread::{Report, Start, spawn};
use super::control::{Control, State};
use super::directories::{self, Opened, Watched};
use super::fault::Fault;
use super::listening::Listeners;
use super::options::{Etag, Options};
use super::shards::Shards;
use super::watcher;
use crate::access_log::{Feed, Threads as LogThreads};
use crate::broker::Broker;
use crate::connection::Seats;
use crate::resource::PageMemory;
use crate::ring;
use crate::sys::mounts::Mounts;
use crate::sys::pressure::Trigger;
use crate::sys::{self, Bell};
use crate::telemetry::{Held, Shard};

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
    ready: usize,
    ended: usize,
    /// It did not come up, so what else fails in it is no news.
    failed: bool,
    /// Others serve in its place, or are about to.
    retires: bool,
    memory_at_start: u64,
    /// Where its workers count.
    shards: Vec<Shard>,
    log: Option<LogThreads>,
    /// The directories that it serves, but for those of which no mounts are known.
    watched: Vec<Watched>,
}

/// Why a generation does not come up. The workers that it has are told to finish and come with the
/// fault, since they may have accepted connections already.
pub(super) type NotUp = (Fault, Option<Box<Generation>>);

impl Generation {
    /// Opens the directories, starts the workers, and waits until all of them serve.
    pub(super) fn start(
        options: &Options,
        listeners: &Listeners,
        house: &House,
    ) -> Result<Self, NotUp> {
        let directories = directories::open(options, &|_| ()).map_err(|fault| (fault, None))?;
        Self::begin(options, &directories, listeners, house)?.come_up()
    }

    /// Waits until all workers serve. Of one that cannot have all of them, the others finish.
    fn come_up(mut self) -> Result<Self, NotUp> {
        // A worker that cannot set up its ring says so before anything is announced.
        while self.ready < self.workers {
            let report = self.reported.recv().ok();
            if let Err(fault) = self.hear(report) {
                self.give_up();
                return Err((fault, Some(Box::new(self))));
            }
        }
        Ok(self)
    }

    /// Starts the workers.
    pub(super) fn begin(
        options: &Options,
        directories: &[Opened],
        listeners: &Listeners,
        house: &House,
    ) -> Result<Self, NotUp> {
        let (mut generation, reports, starts) =
            Self::prepare(options, directories, listeners, house).map_err(|fault| (fault, None))?;
        for start in starts {
            match spawn(start, reports.clone()) {
                // The thread ends by itself, and says so, whatever becomes of the others.
                Ok(_) => generation.workers += 1,
                Err(fault) => {
                    generation.give_up();
                    return Err((fault, Some(Box::new(generation))));
                }
            }
        }
        Ok(generation)
    }

    /// Whether all workers are ready.
    ///
    /// # Errors
    /// When one of them will never be.
    pub(super) fn has_come_up(&mut self) -> Result<bool, Fault> {
        while self.ready < self.workers {
            let report = match self.reported.try_recv() {
                Ok(report) => Some(report),
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => None,
            };
            self.hear(report)?;
        }
        Ok(true)
    }

    /// Takes in what a worker says of its start.
    fn hear(&mut self, report: Option<Report>) -> Result<(), Fault> {
        let fault = match report {
            Some(Report::Ready) => {
                self.ready += 1;
                return Ok(());
            }
            Some(Report::Ended) => Fault::Worker("it ended at once".to_owned()),
            Some(Report::Failed(fault)) => fault,
            None => Fault::Worker("it ended without a word".to_owned()),
        };
        self.ended += 1;
        Err(fault)
    }

    /// All that can be refused before the first thread starts.
    fn prepare(
        options: &Options,
        directories: &[Opened],
        listeners: &Listeners,
        house: &House,
    ) -> Result<(Self, mpsc::Sender<Report>, Vec<Start>), Fault> {
        let places = &house.shards;
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
            ready: 0,
            ended: 0,
            failed: false,
            retires: false,
            memory_at_start: options.memory_at_start(),
            shards,
            log,
            watched: directories.iter().filter_map(Opened::watched).collect(),
        };
        // What has come since they were listed was told then, before anybody asked for it here.
        generation.look_at_mounts();
        Ok((generation, reports, starts))
    }

    /// Mounts have come or gone: those beneath its directories are listed again.
    pub(super) fn look_at_mounts(&self) {
        if self.watched.is_empty() {
            return;
        }
        // What cannot be listed now is as it was.
        let Ok(now) = Mounts::list() else { return };
        let changed = self.watched.iter().filter(|one| one.look(&now)).count();
        if changed > 0 && !self.retires {
            tracing::info!(
                directories = changed,
                "what is mounted beneath served directories has changed"
            );
        }
    }

    /// It is not going to serve.
    pub(super) fn give_up(&mut self) {
        self.failed = true;
        self.finish(State::Retiring);
    }

    /// What its buffers took at once, in bytes.
    pub(super) fn memory_at_start(&self) -> u64 {
        self.memory_at_start
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One with so many workers, and what reports for them.
    fn of(workers: usize) -> (Generation, mpsc::Sender<Report>) {
        let (reports, reported) = mpsc::channel();
        let generation = Generation {
            control: Arc::default(),
            bells: Vec::new(),
            reported,
            workers,
            ready: 0,
            ended: 0,
            failed: false,
            retires: false,
            memory_at_start: 0,
            shards: Vec::new(),
            log: None,
            watched: Vec::new(),
        };
        (generation, reports)
    }

    fn planted() -> Report {
        Report::Failed(Fault::Worker("planted".to_owned()))
    }

    #[test]
    fn a_generation_comes_up_when_all_of_it_is_ready() {
        let (mut generation, reports) = of(2);
        assert!(!generation.has_come_up().unwrap());
        reports.send(Report::Ready).unwrap();
        assert!(!generation.has_come_up().unwrap());
        reports.send(Report::Ready).unwrap();
        assert!(generation.has_come_up().unwrap());
    }

    #[test]
    fn a_generation_of_which_one_fails_does_not_come_up() {
        let reasons =
            [(Some(planted()), "planted"), (Some(Report::Ended), "at once"), (None, "a word")];
        for (report, why) in reasons {
            let (mut generation, reports) = of(2);
            reports.send(Report::Ready).unwrap();
            report.into_iter().for_each(|report| reports.send(report).unwrap());
            drop(reports);
            let fault = generation.has_come_up().unwrap_err();
            assert!(fault.to_string().contains(why), "{fault}");
            generation.give_up();
            assert_eq!((generation.control.state(), generation.ended), (State::Retiring, 1));
        }
    }

    #[test]
    fn who_came_up_beside_one_that_failed_finishes_what_it_has_accepted() {
        let (generation, reports) = of(3);
        reports.send(Report::Ready).unwrap();
        reports.send(planted()).unwrap();
        let Err((fault, Some(mut begun))) = generation.come_up() else { panic!("it came up") };
        assert!(fault.to_string().contains("planted"), "{fault}");
        assert_eq!(begun.control.state(), State::Retiring, "they are told");
        // One is ready only now, and that another fails, too, is no news.
        reports.send(Report::Ready).unwrap();
        assert!(!begun.has_ended().unwrap(), "two are waited for");
        reports.send(planted()).unwrap();
        assert!(!begun.has_ended().unwrap(), "one is waited for");
        reports.send(Report::Ended).unwrap();
        assert!(begun.has_ended().unwrap());
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
