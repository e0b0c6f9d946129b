//! From options to a running server, and to its end.
//!
//! Everything that can be refused is tried before the first thread starts: the root, the
//! addresses, the ring. Then each worker builds what is its own on its own thread, and the main
//! thread waits for signals, for a successor, and for workers that end.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::control::State;
use super::generation::Generation;
use super::listening::{self, note_descriptors};
use super::options::{Options, Sandbox};
use super::shards::Shards;
use super::standing;
use super::succession::{Predecessor, Succession};
use crate::limits::{DRAIN_LOOK, GENERATIONS_MAX, WORKERS_LOOK};
use crate::sandbox::{Confined, Refused};
use crate::sys::notify::ServiceManager;
use crate::sys::probe::Blocked;
use crate::sys::root::RootError;
use crate::sys::socket::BindError;
use crate::sys::{self, Signal, Signals};
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
    /// A worker cannot have a ring, or not one of this size.
    NoRing(String),
    /// Memory for buffers cannot be had, or the like.
    System(&'static str, std::io::Error),
    /// A worker ended by a fault of its own.
    Worker(String),
    /// The server whose place is to be taken, or the place where this one waits for its successor.
    HandOver(PathBuf, String),
    /// The process cannot be confined as it was asked to.
    Sandbox(Refused),
    /// A later configuration needs what the process has given up.
    Outside(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => error.fmt(out),
            Self::Listen(error) => error.fmt(out),
            Self::Inherited(error) => error.fmt(out),
            Self::Ring(error) => error.fmt(out),
            Self::System(what, error) => write!(out, "{what}: {error}"),
            Self::NoRing(what) => write!(out, "a worker has no ring: {what}"),
            Self::Worker(what) => write!(out, "a worker failed: {what}"),
            Self::Sandbox(refused) => refused.fmt(out),
            Self::Outside(what) => write!(
                out,
                "{what}; start the server anew, or hand over to a new process, or set \
                 sandbox = \"off\""
            ),
            Self::HandOver(path, what) => write!(out, "hand-over '{}': {what}", path.display()),
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
    /// The same as drained, after another process had taken its place.
    Replaced,
}

/// Where a new configuration comes from.
pub trait Reload {
    /// Reads the configuration again. Whoever is asked says himself what is wrong with it.
    fn load(&mut self) -> Option<Options>;

    /// The files that were read for the last one that was right, and will be read again.
    fn files(&self) -> Vec<PathBuf>;
}

/// Serves until a signal ends it, or a successor takes its place.
///
/// Announces each address on standard output, one line each, when it accepts there: `listening
/// on http://127.0.0.1:8080`, unless `quiet`.
///
/// # Errors
/// [`Fault`], each with its remedy. It must be called while the process has one thread, since
/// signals are blocked for all threads that follow.
pub fn run(options: &Options, quiet: bool, reload: &mut dyn Reload) -> Result<End, Fault> {
    let passed = listening::passed(sys::inherited::take().map_err(Fault::Inherited)?)?;
    let signals = Signals::block().map_err(|e| Fault::System("signals cannot be taken", e))?;
    let manager = ServiceManager::from_environment()
        .map_err(|e| Fault::System("NOTIFY_SOCKET names no socket", e))?;
    let descriptors = sys::descriptors::raise();
    sys::probe::io_uring().map_err(Fault::Ring)?;
    let (predecessor, taken) = Predecessor::ask(options.hand_over.as_deref(), passed)?;
    let listeners = taken.renewed(options)?;
    drop(taken);
    note_descriptors(options, descriptors);
    let confined = standing::confine(options, &reload.files())?;
    let (shards, started) = (Arc::new(Shards::default()), Instant::now());
    // Where nobody but the main thread counts.
    let own = shards.take();
    let serving = Generation::start(options, &listeners, &shards, started);
    let serving = serving.map_err(|(fault, _)| fault)?;
    listeners.announce(options, quiet);
    let succeeds = predecessor.is_some();
    if let Some(predecessor) = predecessor {
        predecessor.replace(&manager)?;
    }
    let mut succession = Succession::new(listeners);
    match succession.open(options.hand_over.as_deref()) {
        Ok(()) => {}
        // The other one has gone: somebody has to serve.
        Err(fault) if succeeds => tracing::error!("{fault}; nobody can take the place of this one"),
        Err(fault) => return Err(fault),
    }
    manager.ready();
    let mut server = Server {
        signals,
        manager,
        shards,
        own,
        started,
        generations: vec![serving],
        succession,
        finishing: Vec::new(),
        ending: None,
        reload_wanted: false,
        confined,
        identity: (options.user.clone(), options.sandbox),
    };
    server.serve(reload)
}

/// The main thread's side of a running server.
struct Server {
    signals: Signals,
    manager: ServiceManager,
    shards: Arc<Shards>,
    own: Shard,
    started: Instant,
    /// The last one serves, unless the server ends; the others finish.
    generations: Vec<Generation>,
    succession: Succession,
    /// Threads that wait for the last records of generations that have ended.
    finishing: Vec<JoinHandle<()>>,
    /// How it will have ended.
    ending: Option<End>,
    reload_wanted: bool,
    confined: Confined,
    /// The user and the mode of the sandbox that it was started with.
    identity: (Option<String>, Sandbox),
}

impl Server {
    fn serve(&mut self, reload: &mut dyn Reload) -> Result<End, Fault> {
        loop {
            let patience = if self.ending.is_some() { DRAIN_LOOK } else { WORKERS_LOOK };
            let signal = self
                .signals
                .wait_for(patience)
                .map_err(|e| Fault::System("signals cannot be read", e))?;
            if let Some(signal) = signal
                && self.take(signal)
            {
                return Ok(End::AtOnce(signal));
            }
            let successor = self.succession.was_taken();
            if self.ending.is_none()
                && let Some(process) = successor
            {
                tracing::info!(process, "another process serves in this one's place; draining");
                self.own.configuration.hand_overs.add(1);
                self.manager.replaced_by(process);
                self.finish(End::Replaced, State::Retiring);
            }
            self.clear_away()?;
            if self.generations.is_empty() {
                // Every record is written, or its time is over.
                self.finishing.drain(..).for_each(|thread| drop(thread.join()));
                return Ok(self.ending.unwrap_or(End::Drained));
            }
            let room = self.generations.len() < GENERATIONS_MAX;
            if self.reload_wanted && room && self.ending.is_none() {
                self.reload_wanted = false;
                self.renew(reload);
            }
        }
    }

    /// What a signal asks for. Whether it is to end at once.
    fn take(&mut self, signal: Signal) -> bool {
        match signal {
            signal if signal.ends() && self.ending.is_some() => return true,
            signal if signal.ends() => {
                tracing::info!(%signal, "draining; the same signal again ends at once");
                self.manager.stopping();
                self.finish(End::Drained, State::Draining);
            }
            Signal::Hangup if self.ending.is_none() => self.reload_wanted = true,
            Signal::User1 | Signal::Hangup => {
                let reopened = self.generations.iter().filter(|one| one.reopen_log()).count();
                if reopened > 0 {
                    tracing::info!(%signal, "opening the files of the access log again");
                } else {
                    tracing::info!(%signal, "there is no access log to open again");
                }
            }
            signal => tracing::info!(%signal, "nothing to do for this signal"),
        }
        false
    }

    /// Has all generations finish; the sockets close when the last worker has emptied its own.
    fn finish(&mut self, end: End, how: State) {
        self.ending = Some(end);
        self.succession.end(end == End::Replaced);
        self.generations.iter().for_each(|one| one.finish(how));
    }

    /// Ends generations whose workers have ended.
    fn clear_away(&mut self) -> Result<(), Fault> {
        let mut at = 0;
        while at < self.generations.len() {
            if !self.generations[at].has_ended()? {
                at += 1;
                continue;
            }
            let ended = self.generations.remove(at);
            // It may wait for a sink of the log, and a reload must not.
            let thread = std::thread::Builder::new().name("log-end".to_owned());
            let thread = thread.spawn(|| ended.end());
            self.finishing.push(thread.map_err(|e| Fault::System("a thread is missing", e))?);
        }
        self.finishing.retain(|thread| !thread.is_finished());
        Ok(())
    }

    /// Has a new generation serve in place of the last, if its configuration is right and it
    /// comes up. If not, everything stays as it is.
    fn renew(&mut self, reload: &mut dyn Reload) {
        self.manager.reloading();
        tracing::info!("reading the configuration again");
        let options = reload.load();
        let files = reload.files();
        let taken = options.is_some_and(|options| self.try_to_serve(&options, &files));
        if taken {
            self.own.configuration.reloads.add(1);
        } else {
            self.own.configuration.refused.add(1);
            tracing::error!("the configuration was not taken; the earlier one stays in force");
        }
        self.manager.ready();
    }

    fn try_to_serve(&mut self, options: &Options, files: &[PathBuf]) -> bool {
        let refused = |fault: &Fault| tracing::error!("{fault}");
        if let Err(fault) = standing::check(&self.confined, options, files) {
            refused(&fault);
            return false;
        }
        if self.identity != (options.user.clone(), options.sandbox) {
            tracing::warn!("user and sandbox change with a restart only");
        }
        let listeners = match self.succession.listeners().renewed(options) {
            Ok(listeners) => listeners,
            Err(fault) => {
                refused(&fault);
                return false;
            }
        };
        match Generation::start(options, &listeners, &self.shards, self.started) {
            Ok(next) => {
                self.succession.replace(listeners);
                for earlier in &self.generations {
                    earlier.finish(State::Retiring);
                    earlier.reopen_log();
                }
                self.generations.push(next);
                tracing::info!(
                    engine = %options.engine,
                    workers = options.workers,
                    root = %options.site.root.display(),
                    "serving by the new configuration"
                );
                true
            }
            Err((fault, begun)) => {
                refused(&fault);
                // Before the one that serves.
                if let Some(begun) = begun {
                    self.generations.insert(0, *begun);
                }
                false
            }
        }
    }
}
