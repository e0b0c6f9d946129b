//! A worker: one ring, its listeners, its connections and its open files, on one thread.
//!
//! The loop is: one turn of the reactor, then every wake to the one it belongs to. A worker
//! shares nothing with others but its figures, which others read, and the [`Control`], which it
//! reads.

mod accepting;
mod draining;
mod idle;
mod relief;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::io::Errno;

use self::idle::Idle;
use super::control::{Control, State};
use super::options::Beyond;
use super::parts::Parts;
use crate::access_log::Log;
use crate::base::Instant;
use crate::cache::{Blocks, OpenFiles};
use crate::connection::{self, Aside, Connection, Context, Door, Endpoint, Farewell, Turn};
use crate::http::date::DateLine;
use crate::resource::{Listings, Site};
use crate::ring::{Completion, Io, Kernel, Op, Owner, Pool, Reactor, Socket, Wake};
use crate::telemetry::Shard;

/// POLLERR: the group that was watched is gone.
const TRIGGER_FAILED: u32 = 8;

/// Who an owner of the reactor is.
enum Role {
    Nobody,
    Connection(Box<Connection>),
    Listener(usize),
    Cache,
    Blocks,
    Listings,
    Endpoint,
    Control,
    Log,
    Pressure(Socket),
    /// Its deadline ends the wait of the turn, which looks for what can be given back.
    Relief,
}

/// A listener; without a ticket it does not accept now.
struct Listener {
    owner: Owner,
    door: Door,
    socket: Option<Socket>,
    accepting: bool,
    /// It found no free descriptor.
    starved: bool,
    /// It waits for a connection to end, because there are as many as may be.
    held: bool,
    /// Meanwhile it is told when somebody waits in its queue.
    watched: bool,
    /// It takes in what is queued, and then it closes.
    closing: bool,
    /// It has begun to take in what is queued, and nothing that comes later.
    last: bool,
    /// Meanwhile it was found to be shut down.
    shut: bool,
}

/// See the module.
pub struct Worker<K: Kernel> {
    reactor: Reactor<K>,
    /// By the index of the owner.
    roles: Vec<Role>,
    listeners: Vec<Listener>,
    cache: OpenFiles,
    cache_owner: Owner,
    blocks: Blocks,
    blocks_owner: Owner,
    listings: Listings,
    listings_owner: Owner,
    control_owner: Owner,
    log: Option<Log>,
    log_owner: Owner,
    relief_owner: Owner,
    /// When connections may be asked again to give way.
    relief_at: Instant,
    /// How many connections have a number, in all workers.
    numbered: Arc<AtomicU64>,
    bell: Socket,
    control: Arc<Control>,
    site: Site,
    options: connection::Options,
    aside: Aside,
    connections_max: usize,
    beyond: Beyond,
    open: usize,
    /// Those that wait for a request.
    idle: Idle,
    /// Connections by the listeners for telemetry, beside those.
    open_for_telemetry: usize,
    date: DateLine,
    drain_timeout: Duration,
    /// When what has not finished is given up.
    drain_until: Option<Instant>,
    endpoint: Box<dyn Endpoint>,
    endpoint_owner: Owner,
    shard: Shard,
    path: Vec<u8>,
    nonce: Box<dyn FnMut() -> u128>,
}

impl<K: Kernel> std::fmt::Debug for Worker<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Worker").field("open", &self.open).finish_non_exhaustive()
    }
}

impl<K: Kernel> Worker<K> {
    /// A worker that accepts with its first turn.
    pub fn new(parts: Parts<K>) -> Self {
        let mut reactor = parts.reactor;
        let mut roles = Vec::new();
        let mut register = |reactor: &mut Reactor<K>, role: Role| {
            let owner = reactor.register().expect("a worker's own owners are few");
            place(&mut roles, owner, role);
            owner
        };
        let cache_owner = register(&mut reactor, Role::Cache);
        let blocks_owner = register(&mut reactor, Role::Blocks);
        let listings_owner = register(&mut reactor, Role::Listings);
        let endpoint_owner = register(&mut reactor, Role::Endpoint);
        let control_owner = register(&mut reactor, Role::Control);
        let log_owner = register(&mut reactor, Role::Log);
        let relief_owner = register(&mut reactor, Role::Relief);
        let of = |door| move |socket| (socket, door);
        let for_telemetry = parts.telemetry_listeners.into_iter().map(of(Door::Telemetry));
        let listeners = parts.listeners.into_iter().map(of(Door::Site)).chain(for_telemetry);
        let listeners: Vec<_> = listeners
            .enumerate()
            .map(|(index, (socket, door))| Listener {
                owner: register(&mut reactor, Role::Listener(index)),
                door,
                socket: Some(socket),
                accepting: false,
                starved: false,
                held: false,
                watched: false,
                closing: false,
                last: false,
                shut: false,
            })
            .collect();
        let pressure =
            parts.pressure.map(|trigger| register(&mut reactor, Role::Pressure(trigger)));
        for owner in
            listeners.iter().map(|listener| listener.owner).chain([control_owner]).chain(pressure)
        {
            reactor.wake(owner, Wake::Begin);
        }
        let aside = Aside::new(reactor.pool_bytes(Pool::Answer), parts.shard.connections.clone());
        parts.shard.connections.budget.set(parts.connections_max as u64);
        Self {
            cache: OpenFiles::new(
                parts.directories,
                parts.watcher,
                parts.cache,
                Arc::clone(&parts.shard.cache),
            ),
            blocks: Blocks::new(parts.blocks, Arc::clone(&parts.shard.cache)),
            blocks_owner,
            date: DateLine::new(reactor.wall().seconds),
            listings: Listings::new(parts.listing_memory, Arc::clone(&parts.shard.resource)),
            listings_owner,
            reactor,
            roles,
            listeners,
            cache_owner,
            control_owner,
            log: parts.log,
            log_owner,
            relief_owner,
            relief_at: Instant::default(),
            numbered: parts.numbered,
            bell: parts.bell,
            control: parts.control,
            site: parts.site,
            options: parts.connection,
            aside,
            connections_max: parts.connections_max,
            beyond: parts.beyond,
            open: 0,
            idle: Idle::default(),
            open_for_telemetry: 0,
            drain_timeout: parts.drain_timeout,
            drain_until: None,
            endpoint: parts.endpoint,
            endpoint_owner,
            shard: parts.shard,
            path: Vec::new(),
            nonce: parts.nonce,
        }
    }

    /// Serves until it was told to drain and has.
    ///
    /// # Errors
    /// When the kernel refuses to enter the ring.
    pub fn run(&mut self) -> Result<(), Errno> {
        while !self.turn()? {}
        Ok(())
    }

    /// One turn. Says whether the worker has come to its end.
    ///
    /// # Errors
    /// When the kernel refuses to enter the ring.
    pub fn turn(&mut self) -> Result<bool, Errno> {
        self.reactor.turn()?;
        self.date.refresh(self.reactor.wall().seconds);
        while let Some((owner, wake)) = self.reactor.next_wake() {
            self.deliver(owner, wake);
            self.serve_caches();
        }
        // What went home with the wakes of owners that are gone may be what somebody waits for.
        self.serve_caches();
        self.relieve();
        let drained = self.has_drained();
        Ok(self.serve_log(drained) && drained)
    }

    /// Hands records on, and wakes who waited for room for one. Says, at the end, whether the log
    /// has taken the last.
    fn serve_log(&mut self, ended: bool) -> bool {
        let Some(log) = &mut self.log else { return true };
        let now = self.reactor.now();
        let io = &mut self.reactor.io(self.log_owner);
        let done = if ended {
            log.drain(io)
        } else {
            log.pump(io);
            false
        };
        while let Some(waiter) = log.next_woken(now) {
            self.reactor.wake(waiter, Wake::Ready);
        }
        done
    }

    /// The reactor below, for what is in flight and what is leased.
    pub fn reactor(&mut self) -> &mut Reactor<K> {
        &mut self.reactor
    }

    /// Blocks of files.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open
    }

    fn deliver(&mut self, owner: Owner, wake: Wake) {
        match self.roles.get_mut(owner.index as usize) {
            Some(Role::Connection(_)) => self.step(owner, wake),
            Some(Role::Listener(index)) => {
                let index = *index;
                self.listen(index, wake);
            }
            Some(Role::Cache) => self.cache.wake(wake, self.reactor.now()),
            Some(Role::Blocks) => {
                self.blocks.wake(wake, &mut self.reactor.io(self.blocks_owner));
            }
            Some(Role::Listings) => {
                self.listings.wake(wake, &mut self.reactor.io(self.listings_owner));
            }
            Some(Role::Endpoint) => {
                if self.endpoint.work(&mut self.reactor.io(self.endpoint_owner)) {
                    self.reactor.wake_next_turn(self.endpoint_owner);
                }
            }
            Some(Role::Control) => self.look_at_control(wake),
            Some(Role::Pressure(trigger)) => {
                let trigger = trigger.clone();
                self.watch_memory(owner, trigger, wake);
            }
            // Its deadline ends the wait of the turn, which looks after it.
            Some(Role::Log | Role::Relief | Role::Nobody) | None => {}
        }
    }

    /// Starts what connections have asked for in this wake.
    fn serve_caches(&mut self) {
        if self.cache.has_work() {
            self.cache.pump(&mut self.reactor.io(self.cache_owner));
        }
        if self.cache.is_starved() {
            self.reactor.wake_next_turn(self.cache_owner);
        }
        if self.listings.has_work() {
            self.listings.pump(&mut self.reactor.io(self.listings_owner));
        }
        while let Some(name) = self.cache.next_outdated() {
            name.versions().for_each(|version| self.blocks.forget(version));
        }
        if self.blocks.has_work() {
            self.blocks.pump(&mut self.reactor.io(self.blocks_owner));
        }
        if self.endpoint.has_work() {
            self.reactor.wake_next_turn(self.endpoint_owner);
        }
        let woken = |all: &mut Self| {
            let cache = all.cache.next_woken().or_else(|| all.blocks.next_woken());
            cache.or_else(|| all.listings.next_woken()).or_else(|| all.endpoint.next_woken())
        };
        while let Some(waiter) = woken(self) {
            self.reactor.wake(waiter, Wake::Ready);
        }
    }

    fn step(&mut self, owner: Owner, wake: Wake) {
        let stepped = self.with(owner, |connection, cx| {
            let turn = connection.step(wake, cx);
            let kept = cx.draining && connection.is_kept_for_more();
            (turn, connection.awaits_request() || kept, kept)
        });
        let Some((turn, idles, kept)) = stepped else { return };
        self.idle.note(owner.index, idles.then(|| self.reactor.now()));
        if kept {
            // It gives way to who has not been answered.
            self.try_starved_listeners();
        }
        match turn {
            Turn::Waiting => {}
            Turn::Yielded => self.reactor.stand_in_line(owner),
            Turn::Finished(farewell) => self.end(owner, farewell),
        }
    }

    /// Lends a connection what it needs for a step.
    fn with<T>(
        &mut self,
        owner: Owner,
        act: impl FnOnce(&mut Connection, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let Some(Role::Connection(connection)) = self.roles.get_mut(owner.index as usize) else {
            return None;
        };
        let mut cx = Context {
            io: &mut self.reactor.io(owner),
            owner,
            cache: &mut self.cache,
            blocks: &self.blocks,
            listings: &mut self.listings,
            site: &self.site,
            options: &self.options,
            aside: &self.aside,
            stats: &self.shard.connections,
            engines: &self.shard.engines,
            date: &self.date,
            endpoint: &mut *self.endpoint,
            door: connection.door(),
            ready: (self.drain_until.is_none() || self.control.state() == State::Retiring)
                && !self.listeners.iter().any(Listener::is_starved),
            draining: self.drain_until.is_some(),
            log: self.log.as_mut(),
            path: &mut self.path,
            nonce: &mut *self.nonce,
        };
        Some(act(connection, &mut cx))
    }

    fn end(&mut self, owner: Owner, farewell: Farewell) {
        // What is owed now will not be sent; it is recorded all the same.
        self.with(owner, |connection, cx| connection.give_up_answers(farewell, cx));
        let role = std::mem::replace(&mut self.roles[owner.index as usize], Role::Nobody);
        let Role::Connection(mut connection) = role else {
            unreachable!("only connections end");
        };
        self.idle.note(owner.index, None);
        self.reactor.retire(owner);
        match connection.door() {
            Door::Site => self.open -= 1,
            Door::Telemetry => self.open_for_telemetry -= 1,
        }
        let stats = &self.shard.connections;
        connection.leave(stats);
        stats.farewells(farewell).add(1);
        stats.open.set((self.open + self.open_for_telemetry) as u64);
        // Its descriptor is closed with the next entry into the kernel; a turn later there is
        // one to be accepted.
        self.try_starved_listeners();
    }

    fn try_starved_listeners(&mut self) {
        for listener in self.listeners.iter().filter(|one| one.starved || one.held) {
            self.reactor.wake_next_turn(listener.owner);
        }
    }

    /// Waits for the trigger, once more after it has fired. One that fails is left alone: what was
    /// seen in the page cache is then forgotten by time only.
    fn watch_memory(&mut self, owner: Owner, trigger: Socket, wake: Wake) {
        if let Wake::Done(Completion { result, .. }) = wake {
            let fired = result.is_ok_and(|events| events & TRIGGER_FAILED == 0);
            if !fired {
                return;
            }
            self.reactor.press();
        }
        // A busy ring wakes the owner in the next turn, which comes here again.
        let _ = self.reactor.io(owner).start(Op::Triggered { trigger });
    }

    fn look_at_control(&mut self, wake: Wake) {
        if let Wake::Deadline(_) = wake {
            return self.give_up();
        }
        if self.control.state() == State::Serving {
            let op = Op::Readable { socket: self.bell.clone() };
            // A busy ring wakes the control in the next turn, which comes here again.
            let _ = self.reactor.io(self.control_owner).start(op);
            return;
        }
        if self.drain_until.is_none() {
            self.drain();
        }
    }
}

impl Listener {
    fn is_starved(&self) -> bool {
        self.starved
    }
}

fn place(roles: &mut Vec<Role>, owner: Owner, role: Role) {
    let index = owner.index as usize;
    if roles.len() <= index {
        roles.resize_with(index + 1, || Role::Nobody);
    }
    roles[index] = role;
}
