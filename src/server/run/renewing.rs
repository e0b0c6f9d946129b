//! How the main thread takes a new configuration: step by step, as it hears signals and looks after
//! the workers meanwhile.
//!
//! ```text
//! SIGHUP -> read by a thread -> prepared -> memory for one more -> workers start -> all are ready
//!                |    |                            |                    |               |
//!     wrong, or the   +-> needs another process    +-> waits for it     +-> one fails   v
//!     disk hangs          (succession)                 or is refused        or is late  it serves
//! ```

use std::time::Instant;

use super::{Server, State};
use crate::broker::Broker;
use crate::limits::{GENERATIONS_MAX, WORKERS_PATIENCE};
use crate::server::budgets::{self, Room};
use crate::server::fault::Fault;
use crate::server::generation::Generation;
use crate::server::listening::Listeners;
use crate::server::options::Options;
use crate::server::reading::{self, Prepared, Read};

/// A new configuration, until it serves.
#[derive(Default)]
pub(super) struct Renewal {
    wanted: bool,
    /// It was read, and waits for memory.
    prepared: Option<Prepared>,
    /// Whether that was said.
    said: bool,
    coming: Option<Coming>,
}

/// Its workers, until all of them are ready.
struct Coming {
    options: Options,
    generation: Generation,
    listeners: Listeners,
    since: Instant,
}

impl Renewal {
    /// What comes up.
    pub(super) fn coming(&self) -> Option<&Generation> {
        self.coming.as_ref().map(|coming| &coming.generation)
    }
}

impl Server {
    /// Has the configuration read as soon as that can be.
    pub(super) fn want_to_renew(&mut self) {
        self.renewal.wanted = true;
    }

    /// Whether a new configuration is on its way, which has to be looked after.
    pub(super) fn renews(&self) -> bool {
        let renewal = &self.renewal;
        self.reader.is_awaited() || renewal.prepared.is_some() || renewal.coming.is_some()
    }

    /// Lets go of what is on its way, as the server ends. Whether there was something.
    pub(super) fn stop_renewing(&mut self) -> bool {
        let renews = self.renews() || self.renewal.wanted;
        if let Some(coming) = std::mem::take(&mut self.renewal).coming {
            self.let_go(coming);
        }
        renews
    }

    /// Takes the next step, if it can be taken now.
    pub(super) fn go_on_renewing(&mut self) {
        let room = self.generations.len() < GENERATIONS_MAX;
        let begun = self.reader.is_awaited() || self.renewal.coming.is_some() || self.succeeding;
        if self.renewal.wanted && room && !begun {
            // It takes the place of one that waits.
            self.renewal = Renewal::default();
            self.manager.reloading();
            tracing::info!("reading the configuration again");
            if let Err(why) = self.reader.begin() {
                self.refuse_for(&why);
            }
        }
        match self.reader.look() {
            None => {}
            Some(Read::Right(prepared)) => self.renewal.prepared = Some(*prepared),
            Some(Read::Outside(why)) => self.succeed(&why),
            Some(Read::Wrong(problems)) => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                self.refuse();
            }
        }
        if let Some(prepared) = self.renewal.prepared.take() {
            self.start_next(prepared);
        }
        if let Some(coming) = self.renewal.coming.take() {
            self.look_at(coming);
        }
    }

    /// Starts the workers of the next generation, if there is memory for them.
    fn start_next(&mut self, prepared: Prepared) {
        let pinned: Vec<_> = self.generations.iter().map(Generation::memory_at_start).collect();
        match budgets::room(&pinned, &prepared.options) {
            Room::Enough => {}
            Room::Later => {
                if !std::mem::replace(&mut self.renewal.said, true) {
                    tracing::info!(
                        "there is no memory for the buffers of one more configuration; it waits \
                         until an earlier one has finished"
                    );
                }
                self.renewal.prepared = Some(prepared);
                return;
            }
            Room::Never(why) => return self.refuse_for(&why),
        }
        let Prepared { options, directories } = prepared;
        if self.identity != (options.user.clone(), options.sandbox) {
            tracing::warn!("user and sandbox change with a restart only");
        }
        let broker = self.house.broker.clone();
        let listeners = self.succession.listeners().renewed(&options, broker.as_deref());
        let listeners = match listeners {
            Ok(listeners) => listeners,
            Err(fault) => return self.refuse_for(&fault),
        };
        match Generation::begin(&options, &directories, &listeners, &self.house) {
            Ok(generation) => {
                let since = Instant::now();
                self.renewal.coming = Some(Coming { options, generation, listeners, since });
            }
            Err((fault, begun)) => {
                // Before the one that serves.
                if let Some(begun) = begun {
                    self.generations.insert(0, *begun);
                }
                listeners.give_up(broker.as_deref());
                self.refuse_for(&fault);
            }
        }
    }

    /// Serves by the next generation, once all of its workers are ready.
    fn look_at(&mut self, mut coming: Coming) {
        let fault = match coming.generation.has_come_up() {
            Ok(true) => return self.serve_by(coming),
            Ok(false) if coming.since.elapsed() < WORKERS_PATIENCE => {
                self.renewal.coming = Some(coming);
                return;
            }
            Ok(false) => {
                let seconds = WORKERS_PATIENCE.as_secs();
                Fault::Worker(format!("it was not ready within {seconds} seconds"))
            }
            Err(fault) => fault,
        };
        self.let_go(coming);
        self.refuse_for(&fault);
    }

    fn serve_by(&mut self, coming: Coming) {
        let Coming { options, generation, listeners, .. } = coming;
        let broker = self.house.broker.clone();
        self.succession.replace(listeners, broker.as_deref());
        for earlier in &mut self.generations {
            earlier.finish(State::Retiring);
            earlier.reopen_log();
        }
        self.generations.push(generation);
        tracing::info!(
            engine = %options.engine,
            workers = options.workers,
            root = %options.site.root.display(),
            "serving by the new configuration"
        );
        self.own.configuration.reloads.add(1);
        reading::ask(broker.as_deref(), Broker::taken);
        self.manager.ready();
    }

    /// Has workers finish that are not going to serve; they may have accepted connections.
    fn let_go(&mut self, coming: Coming) {
        let Coming { mut generation, listeners, .. } = coming;
        generation.give_up();
        // Before the one that serves.
        self.generations.insert(0, generation);
        listeners.give_up(self.house.broker.as_deref());
    }

    /// Has the broker start a process that serves what this one cannot reach.
    fn succeed(&mut self, why: &str) {
        let Some(broker) = &self.house.broker else {
            return self.refuse_for(&Fault::Outside(why.to_owned()));
        };
        let started = broker.successor().map_err(|denied| format!("{why}; {denied}"));
        let handed = started.and_then(|exchange| {
            self.succession.hand_to(exchange).map_err(|fault| fault.to_string())
        });
        match handed {
            Ok(()) => {
                tracing::info!("{why}; a new process takes the place of this one");
                // It says so when it serves.
                self.succeeding = true;
            }
            Err(why) => self.refuse_for(&Fault::Outside(why)),
        }
    }

    fn refuse_for(&self, why: &dyn std::fmt::Display) {
        tracing::error!("{why}");
        self.refuse();
    }

    /// The new configuration is not served by.
    pub(super) fn refuse(&self) {
        self.own.configuration.refused.add(1);
        tracing::error!("the configuration was not taken; the earlier one stays in force");
        self.manager.ready();
    }
}
