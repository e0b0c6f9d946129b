//! From options to a running server, and to its end.
//!
//! Everything that can be refused is tried before the first thread starts: the root, the
//! addresses, the ring. Then each worker builds what is its own on its own thread, and the main
//! thread waits for signals, for a successor, and for workers that end.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::control::State;
use super::elder::{Way, Word};
use super::fault::Fault;
use super::generation::{Generation, House};
use super::listening::{self, note_descriptors};
use super::options::{Options, Sandbox};
use super::predecessor::Predecessor;
use super::shards::Shards;
use super::standing::{self, Standing};
use super::succession::Succession;
use crate::broker::{Broker, Denied};
use crate::limits::{DRAIN_LOOK, GENERATIONS_MAX, WORKERS_LOOK};
use crate::sandbox::Confined;
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

/// Where a new configuration comes from.
pub trait Reload {
    /// Reads the configuration again.
    ///
    /// # Errors
    /// All that is wrong with it, one sentence each.
    fn load(&mut self) -> Result<Options, Vec<String>>;

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
    reload: &mut dyn Reload,
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
    let serving = Generation::start(options, &listeners, &house);
    let serving = serving.map_err(|(fault, _)| fault)?;
    listeners.announce(options, quiet);
    let succeeds = predecessor.is_some();
    let elder = predecessor.map(|one| one.replace(&manager)).transpose()?.flatten();
    // Only now, confined: nothing that a predecessor names is removed by who could remove more, and
    // one that goes on serving keeps its paths.
    taken.take_paths();
    taken.give_up(house.broker.as_deref());
    let mut succession = Succession::new(listeners, elder, &manager);
    match succession.open(options.hand_over.as_deref(), house.broker.as_deref()) {
        Ok(()) => {}
        // The other one has gone: somebody has to serve.
        Err(fault) if succeeds => tracing::error!("{fault}; nobody can take the place of this one"),
        Err(fault) => return Err(fault),
    }
    manager.ready();
    let mut server = Server {
        signals,
        manager,
        own,
        house,
        generations: vec![serving],
        succession,
        finishing: Vec::new(),
        ending: None,
        told_to_end: [false; 2],
        reload_wanted: false,
        succeeding: false,
        confined,
        exposed: exposed.is_some(),
        identity: (options.user.clone(), options.sandbox),
    };
    server.serve(reload)
}

/// What became of a new configuration.
enum Taken {
    /// This process serves by it.
    Here,
    /// Another one is going to, in this one's place.
    Elsewhere,
    /// Nobody does.
    Not,
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
    reload_wanted: bool,
    /// Whether a process was started that takes this one's place.
    succeeding: bool,
    confined: Confined,
    /// Whether the broker reads no other configuration than the first.
    exposed: bool,
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
    fn serve(&mut self, reload: &mut dyn Reload) -> Result<End, Fault> {
        loop {
            let drains = self.ending.is_some() && !self.generations.is_empty();
            let patience = if drains { DRAIN_LOOK } else { WORKERS_LOOK };
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
            let successor = self.succession.was_taken();
            if self.ending.is_none()
                && let Some(process) = successor
            {
                tracing::info!(process, "another process serves in this one's place; draining");
                self.own.configuration.hand_overs.add(1);
                self.manager.replaced_by(process);
                self.finish(End::Replaced, State::Retiring);
                if std::mem::take(&mut self.reload_wanted) {
                    self.succession.pass(Signal::Hangup);
                }
            }
            self.clear_away()?;
            if self.generations.is_empty() {
                // Every record is written, or its time is over.
                self.finishing.drain(..).for_each(|thread| drop(thread.join()));
                if self.succession.stays()? {
                    continue;
                }
                return Ok(self.end(self.ending.unwrap_or(End::Drained)));
            }
            let room = self.generations.len() < GENERATIONS_MAX;
            if self.reload_wanted && room && self.ending.is_none() && !self.succeeding {
                self.reload_wanted = false;
                self.renew(reload);
            }
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
        let broker = self.house.broker.as_deref();
        self.succession.end(end == End::Replaced, broker);
        self.generations.iter_mut().for_each(|one| one.finish(how));
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
        let taken = match self.load(reload) {
            Ok(options) => self.try_to_serve(&options, &reload.files()),
            Err(taken) => taken,
        };
        match taken {
            Taken::Here => {
                self.own.configuration.reloads.add(1);
                self.ask_broker(Broker::taken);
                self.manager.ready();
            }
            Taken::Not => self.refuse(),
            // It says so when it serves.
            Taken::Elsewhere => self.succeeding = true,
        }
    }

    fn refuse(&self) {
        self.own.configuration.refused.add(1);
        tracing::error!("the configuration was not taken; the earlier one stays in force");
        self.manager.ready();
    }

    /// Has the broker read the configuration, and reads it.
    fn load(&mut self, reload: &mut dyn Reload) -> Result<Options, Taken> {
        // What this process can do alone it does by one that the broker does not read, too.
        let known = if self.exposed { None } else { self.ask_broker(Broker::reload) };
        match (reload.load(), known) {
            (Ok(_), Some(Err(Denied::Refused(why)))) => {
                tracing::error!("the broker cannot read the same configuration: {why}");
                Err(Taken::Not)
            }
            (Ok(options), _) => Ok(options),
            // It is right, and something of it cannot be read from here.
            (Err(problems), Some(Ok(()))) => Err(self.succeed(&problems.join("; "))),
            (Err(problems), known) => {
                // What lies outside of the ground the broker alone can read.
                if let Some(Err(Denied::Refused(why))) = known
                    && !problems.contains(&why)
                {
                    tracing::error!("{why}");
                }
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                Err(Taken::Not)
            }
        }
    }

    /// Asks the broker, if there is one. That it has gone is said elsewhere, once.
    fn ask_broker<T>(
        &self,
        ask: impl Fn(&Broker) -> Result<T, Denied>,
    ) -> Option<Result<T, Denied>> {
        let answer = ask(self.house.broker.as_deref()?);
        if let Err(denied @ Denied::Failed(_)) = &answer {
            tracing::error!("{denied}");
        }
        Some(answer)
    }

    /// Has the broker start a process that serves what this one cannot reach.
    fn succeed(&self, why: &str) -> Taken {
        let Some(broker) = &self.house.broker else {
            tracing::error!("{}", Fault::Outside(why.to_owned()));
            return Taken::Not;
        };
        let started = broker.successor().map_err(|denied| format!("{why}; {denied}"));
        let handed = started.and_then(|exchange| {
            self.succession.hand_to(exchange).map_err(|fault| fault.to_string())
        });
        match handed {
            Ok(()) => {
                tracing::info!("{why}; a new process takes the place of this one");
                Taken::Elsewhere
            }
            Err(why) => {
                tracing::error!("{}", Fault::Outside(why));
                Taken::Not
            }
        }
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

    fn try_to_serve(&mut self, options: &Options, files: &[PathBuf]) -> Taken {
        let refused = |fault: &Fault| {
            tracing::error!("{fault}");
            Taken::Not
        };
        let broker = self.house.broker.clone();
        if let Err(fault) = standing::check(&self.confined, options, files, broker.as_deref()) {
            return match fault {
                Fault::Outside(why) => self.succeed(&why),
                fault => refused(&fault),
            };
        }
        if self.identity != (options.user.clone(), options.sandbox) {
            tracing::warn!("user and sandbox change with a restart only");
        }
        let listeners = self.succession.listeners().renewed(options, broker.as_deref());
        let listeners = match listeners {
            Ok(listeners) => listeners,
            Err(fault) => return refused(&fault),
        };
        match Generation::start(options, &listeners, &self.house) {
            Ok(next) => {
                self.succession.replace(listeners, broker.as_deref());
                for earlier in &mut self.generations {
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
                Taken::Here
            }
            Err((fault, begun)) => {
                // Before the one that serves.
                if let Some(begun) = begun {
                    self.generations.insert(0, *begun);
                }
                refused(&fault)
            }
        }
    }
}
