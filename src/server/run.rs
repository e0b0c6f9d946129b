//! From options to a running server, and to its end.
//!
//! Everything that can be refused is tried before the first thread starts: the root, the
//! addresses, the ring. Then each worker builds what is its own on its own thread, and the main
//! thread waits for signals, for a successor, and for workers that end. It alone hears signals, so
//! from then on it waits for nothing without a bound, but for one thing: the paths of unix sockets,
//! which it removes itself and, where no broker does, binds itself. That takes as long as the file
//! system that they lie in, which is in memory on most machines (/run).

mod renewing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use self::renewing::Renewal;
use super::control::State;
use super::elder::{Way, Word};
use super::fault::Fault;
use super::generation::{Generation, House};
use super::listening::{self, Listeners, note_descriptors};
use super::options::{Options, Sandbox};
use super::predecessor::Predecessor;
use super::reading::Reader;
use super::shards::Shards;
use super::standing::{self, Standing};
use super::succession::Succession;
use crate::limits::{DRAIN_LOOK, WORKERS_LOOK};
use crate::sys::notify::ServiceManager;
use crate::sys::{self, Exchange, Signal, Signals};
use crate::telemetry::Shard;

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

/// Where a new configuration comes from. It is asked on a thread of its own, since disks may hang.
pub trait Reload: Send {
    /// Reads the configuration again. `looks` is told each file and directory before it is looked
    /// at.
    ///
    /// # Errors
    /// All that is wrong with it, one sentence each.
    fn load(&mut self, looks: &dyn Fn(&Path)) -> Result<Options, Vec<String>>;

    /// The files that were read for the last one that was right, and will be read again.
    fn files(&self) -> Vec<PathBuf>;
}

/// Serves until a signal ends it, or a successor takes its place.
///
/// Announces each address on standard output, one line each, when it accepts there: `listening
/// on http://127.0.0.1:8080`, unless `quiet`. `taking` leads to the server whose broker started
/// this process, to take its place.
///
/// # Errors
/// [`Fault`], each with its remedy. It must be called while the process has one thread, since
/// signals are blocked for all threads that follow.
pub fn run(
    options: &Options,
    quiet: bool,
    reload: Box<dyn Reload>,
    taking: Option<Exchange>,
) -> Result<End, Fault> {
    let passed = listening::passed(sys::inherited::take().map_err(Fault::Inherited)?)?;
    let signals = Signals::block().map_err(|e| Fault::System("signals cannot be taken", e))?;
    let shards = Arc::new(Shards::default());
    // Where nobody but the main thread counts, and whoever asks the broker.
    let own = shards.take();
    // Early: it reads the configuration meanwhile.
    let broker = standing::broker(options, &own.broker)?;
    let manager = ServiceManager::from_environment()
        .map_err(|e| Fault::System("NOTIFY_SOCKET names no socket", e))?;
    let descriptors = sys::descriptors::raise();
    sys::probe::io_uring().map_err(Fault::Ring)?;
    let (predecessor, taken) = match taking {
        Some(exchange) => Predecessor::of_broker(exchange, passed)?,
        None => {
            let user = options.user.as_deref();
            Predecessor::ask(options.hand_over.as_deref(), user, passed)?
        }
    };
    let listeners = taken.renewed(options, None)?;
    note_descriptors(options, descriptors);
    let standing = standing::confine(options, &reload.files(), broker)?;
    let sandbox = standing::told(&standing);
    let Standing { confined, broker, exposed, .. } = standing;
    let house = House { shards, started: Instant::now(), broker, sandbox };
    let reader = Reader::new(reload, confined, house.broker.clone(), exposed.is_some());
    let mut server = Server {
        signals,
        manager,
        own,
        house,
        generations: Vec::new(),
        succession: Succession::new(listeners),
        finishing: Vec::new(),
        ending: None,
        told_to_end: [false; 2],
        mount_changes: sys::mounts::changes(),
        reader,
        renewal: Renewal::default(),
        succeeding: false,
        identity: (options.user.clone(), options.sandbox),
    };
    match server.begin(options, quiet, predecessor, taken) {
        Ok(()) => server.serve(),
        Err(fault) => Err(server.finish_for(fault)),
    }
}

/// The main thread's side of a running server.
struct Server {
    signals: Signals,
    manager: ServiceManager,
    own: Shard,
    house: House,
    /// The last one serves, unless the server ends; the others finish.
    generations: Vec<Generation>,
    succession: Succession,
    /// Threads that wait for the last records of generations that have ended.
    finishing: Vec<JoinHandle<()>>,
    /// How it will have ended.
    ending: Option<End>,
    /// By which ways it was told to end.
    told_to_end: [bool; 2],
    /// How often mounts had come or gone when they were listed.
    mount_changes: u64,
    /// Who reads new configurations.
    reader: Reader,
    /// What has become of the next one.
    renewal: Renewal,
    /// Whether a process was started that takes this one's place.
    succeeding: bool,
    /// The user and the mode of the sandbox that it was started with.
    identity: (Option<String>, Sandbox),
}

impl Drop for Server {
    fn drop(&mut self) {
        self.succession.close();
        if let Some(broker) = &self.house.broker {
            broker.end();
        }
    }
}

impl Server {
    /// Starts the workers and takes the place of the predecessor, if there is one. Where that
    /// fails, there may be workers that have accepted connections already.
    fn begin(
        &mut self,
        options: &Options,
        quiet: bool,
        predecessor: Option<Predecessor>,
        taken: Listeners,
    ) -> Result<(), Fault> {
        let started = Generation::start(options, &self.succession.listeners(), &self.house);
        match started {
            Ok(serving) => self.generations.push(serving),
            Err((fault, begun)) => {
                self.generations.extend(begun.map(|begun| *begun));
                return Err(fault);
            }
        }
        self.succession.listeners().announce(options, quiet);
        let succeeds = predecessor.is_some();
        let elder = predecessor.map(|one| one.replace(&self.manager)).transpose()?.flatten();
        let broker = self.house.broker.as_deref();
        // Only now, confined: nothing that a predecessor names is removed by who could remove more,
        // and one that goes on serving keeps its paths.
        taken.take_paths();
        taken.give_up(broker);
        self.succession.serve_for(elder, &self.manager);
        match self.succession.open(options.hand_over.as_deref(), broker) {
            Ok(()) => {}
            // The other one has gone: somebody has to serve.
            Err(fault) if succeeds => {
                tracing::error!("{fault}; nobody can take the place of this one");
            }
            Err(fault) => return Err(fault),
        }
        self.manager.ready();
        Ok(())
    }

    /// Finishes what has begun although it is not going to serve: whoever was accepted chose an
    /// address and not a process, and others may serve there. Hands the fault back.
    fn finish_for(&mut self, fault: Fault) -> Fault {
        if !self.generations.is_empty() {
            tracing::warn!("{fault}; draining, as clients may have connected already");
            self.finish(End::Drained, State::Retiring);
            if let Err(also) = self.serve() {
                tracing::error!("{also}");
            }
        }
        fault
    }

    fn serve(&mut self) -> Result<End, Fault> {
        loop {
            let soon = match self.ending {
                Some(_) => !self.generations.is_empty() || !self.finishing.is_empty(),
                None => self.renews(),
            };
            let patience = if soon { DRAIN_LOOK } else { WORKERS_LOOK };
            let signal = self
                .signals
                .wait_for(patience)
                .map_err(|e| Fault::System("signals cannot be read", e))?;
            if let Some(signal) = signal
                && self.take(signal, Way::Direct)
            {
                return Ok(self.end(End::AtOnce(signal)));
            }
            if let Some(signal) = self.hear_elder() {
                return Ok(self.end(End::AtOnce(signal)));
            }
            self.look_after_broker();
            self.look_at_mounts();
            let successor = self.succession.was_taken();
            if self.ending.is_none()
                && let Some(process) = successor
            {
                tracing::info!(process, "another process serves in this one's place; draining");
                self.own.configuration.hand_overs.add(1);
                self.manager.replaced_by(process);
                // The other one may have read what was there before.
                if self.finish(End::Replaced, State::Retiring) {
                    self.succession.pass(Signal::Hangup);
                }
            }
            self.clear_away()?;
            if self.generations.is_empty() {
                // Before the end every record is written, or its time is over. A second signal is
                // heard meanwhile.
                if !self.finishing.is_empty() || self.succession.stays()? {
                    continue;
                }
                return Ok(self.end(self.ending.unwrap_or(End::Drained)));
            }
            if self.ending.is_none() {
                self.go_on_renewing();
            }
        }
    }

    /// What is mounted beneath a directory while it is served has a share of its own, too.
    fn look_at_mounts(&mut self) {
        let changes = sys::mounts::changes();
        if std::mem::replace(&mut self.mount_changes, changes) != changes {
            let all = self.generations.iter().chain(self.renewal.coming());
            all.for_each(Generation::look_at_mounts);
        }
    }

    /// Ends in order.
    fn end(&self, how: End) -> End {
        self.succession.leave();
        how
    }

    /// Does what the process that was started says. A signal, if it is to end at once.
    fn hear_elder(&mut self) -> Option<Signal> {
        // The line is the successor's, too: what is said now is for whoever serves then.
        let replaced = self.succession.was_taken().is_some();
        if self.succeeding || replaced || self.ending == Some(End::Replaced) {
            return None;
        }
        match self.succession.elder()? {
            Word::Signal(signal) => self.take(signal, Way::PassedOn).then_some(signal),
            // Whoever started it has ended it: nothing is left to serve for.
            Word::Gone if self.ending.is_none() => {
                tracing::info!("the process that was started has ended; draining");
                self.finish(End::Drained, State::Draining);
                None
            }
            Word::Gone => None,
        }
    }

    /// What a signal asks for. Whether it is to end at once.
    fn take(&mut self, signal: Signal, way: Way) -> bool {
        let passed = self.succession.pass(signal);
        let again = signal.ends() && std::mem::replace(&mut self.told_to_end[way as usize], true);
        match signal {
            // Others serve; what has begun here is for the same time limit now.
            signal if signal.ends() && self.ending == Some(End::Replaced) && !again => {
                self.generations.iter_mut().for_each(|one| one.finish(State::Draining));
            }
            // It decides how this one ends, too, which waits for it.
            _ if passed => {}
            _ if again => return true,
            signal if signal.ends() && self.ending.is_some() => {}
            signal if signal.ends() => {
                tracing::info!(%signal, "draining; the same signal again ends at once");
                self.manager.stopping();
                self.finish(End::Drained, State::Draining);
            }
            Signal::Hangup if self.ending.is_none() => self.want_to_renew(),
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
    /// Whether a new configuration was on its way.
    fn finish(&mut self, end: End, how: State) -> bool {
        self.ending = Some(end);
        let renewed = self.stop_renewing();
        let broker = self.house.broker.as_deref();
        self.succession.end(end == End::Replaced, broker);
        self.generations.iter_mut().for_each(|one| one.finish(how));
        renewed
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

    /// Says once that the broker has ended, and when a process that it started did not come up.
    fn look_after_broker(&mut self) {
        if let Some(how) = self.house.broker.as_ref().and_then(|broker| broker.has_ended()) {
            tracing::error!(
                "the broker has ended ({how}); the server goes on serving, but log programs are \
                 not started again, and a new configuration may need a restart"
            );
        }
        if self.succeeding && self.succession.has_failed() {
            self.succeeding = false;
            tracing::error!("the process that was to serve the new configuration did not come up");
            if self.ending.is_none() {
                self.refuse();
            }
        }
    }
}
