//! The reactor: operations in flight, owners, deadlines, buffers and wakes, over any kernel.
//!
//! A turn is: queue what must be closed, enter the kernel once, take out every completion, fire
//! deadlines; then the worker delivers the wakes. What owners start while they run is queued and
//! goes to the kernel with the next turn's one entry.
//!
//! Invariants:
//! - an operation lies in the table from its submission to its last event, and its operands with
//!   it; the token carries the generation of its place, so a late event finds nothing
//! - an owner that was retired gets no wake; its operations are cancelled, and their operands go
//!   home when they complete
//! - while a send of a socket is in flight, nothing is sent on that socket inline

mod budget;
mod deadlines;
mod ending;
mod jobs;
mod mounts;
mod rests;
mod table;
mod turns;
mod view;

pub use view::OwnerIo;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use self::jobs::Jobs;
use self::mounts::Mounts;
use self::rests::{Rests, says_writable};
use self::table::can_be_repeated;
use self::turns::{Allowance, Turns};
use super::buffer::BufferPool;
use super::handle::{Closing, Descriptor};
use super::io::{Event, Kernel, Pool, Wait};
use super::op::{Completion, Deadline, Op, Ticket, Wake};
use super::pipe::PipePool;
use super::stats::{Stats, Technique};
use super::wheel::{Tick, Wheel};
use crate::base::{Instant, Key, Slab, WallClock};

/// What a reactor may use. Sizes are for one worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many reactors there are that use the same disks, this one among them.
    pub rings: usize,
    /// Operations in flight at most.
    pub operations_max: usize,
    /// Owners at most.
    pub owners_max: usize,
    /// Bytes of one buffer of each pool and how many there are, in the order of [`Pool::ALL`].
    pub pools: [(usize, usize); Pool::ALL.len()],
    /// Pipes at most.
    pub pipes_max: usize,
    /// Bytes asked for a pipe.
    pub pipe_bytes: u32,
    /// Bytes of a body that an owner may move in a turn.
    pub turn_bytes: u32,
    /// Bytes of large bodies that are moved in a turn before no further one has its own.
    pub shared_turn_bytes: u32,
}

/// Names an owner; never used twice.
pub type Owner = Key;

#[derive(Debug)]
struct InFlight {
    owner: Owner,
    /// The operation; none only while an event of it is handled.
    op: Option<Op>,
    started: Instant,
    /// The owner's list of operations, by place.
    next: u32,
    previous: u32,
    cancelled: bool,
}

const NONE: u32 = u32::MAX;
/// The list of those who wait for a pipe, behind those of the pools.
const PIPES: usize = Pool::ALL.len();
/// The list of those who wait for room for a job.
const JOBS: usize = PIPES + 1;
/// Hand-overs of a full queue before it counts as broken: a completion queue that must be
/// emptied first refuses once.
const FLUSHES_MAX: usize = 8;

#[derive(Debug)]
struct OwnerState {
    in_flight: u32,
    /// The first of the owner's operations, by place.
    first: u32,
    deadline: Option<(Deadline, Instant)>,
    /// Whether the deadline has passed, and the owner was not told yet.
    due: bool,
    /// The tick of the owner's valid entry in the wheel.
    wheel: Option<Tick>,
    allowance: Allowance,
    waits_to_write: bool,
    /// How long it rested last in place of a poll that would complete at once.
    rested: Duration,
    waits_for_turn: bool,
    /// Which lists of the starved it stands in, once each: by pool, then pipes, then jobs.
    starves: [bool; JOBS + 1],
    retired: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Reactor<K: Kernel> {
    kernel: K,
    operations: Slab<InFlight>,
    /// Keys of operations by place, for the owners' lists.
    keys: Vec<Key>,
    owners: Slab<OwnerState>,
    itself: Owner,
    wheel: Wheel,
    due: Vec<(Key, Tick)>,
    rests: Rests,
    closing: Rc<Closing>,
    pools: [Rc<BufferPool>; Pool::ALL.len()],
    pipes: Rc<PipePool>,
    jobs: Jobs,
    mounts: Mounts,
    /// Who waits for a buffer, by pool, for a pipe, and for room for a job.
    starved: [VecDeque<Owner>; JOBS + 1],
    again: Vec<Owner>,
    turns: Turns,
    wakes: VecDeque<(Owner, Wake)>,
    events: Vec<Event>,
    /// What completed when the queue was handed over in the middle of a turn.
    early: Vec<Event>,
    now: Instant,
    wall: WallClock,
    turn: u32,
    inline_count: u32,
    /// Parts of files that were sent inline in this turn.
    transfers: u32,
    /// When memory was last found to be short.
    pressed: Instant,
    options: Options,
    stats: Arc<Stats>,
}

impl<K: Kernel> Reactor<K> {
    /// A reactor over a kernel. `register` is given the memory of the pools for bodies and for
    /// blocks, in pieces, and says under which index the ring knows the first, if it does.
    pub fn new(
        mut kernel: K,
        options: Options,
        stats: Arc<Stats>,
        register: impl FnOnce(&mut K, &[(*mut u8, usize)]) -> Option<u16>,
    ) -> rustix::io::Result<Self> {
        let pools = {
            // Of the others little is touched at a time: whole huge pages of them would be occupied
            // for nothing.
            let make = |which: Pool| match (which, options.pools[which as usize]) {
                (Pool::Block, (bytes, count)) => BufferPool::in_huge_pages(bytes, count),
                (_, (bytes, count)) => BufferPool::new(bytes, count),
            };
            let [a, b, c, d, e] = Pool::ALL.map(make);
            [a?, b?, c?, d?, e?]
        };
        for (which, pool) in Pool::ALL.into_iter().zip(&pools) {
            pool.set_which(which);
        }
        let (body, block) = (&pools[Pool::Body as usize], &pools[Pool::Block as usize]);
        let regions: Vec<_> = body.regions().chain(block.regions()).collect();
        if let Some(first) = register(&mut kernel, &regions) {
            body.set_registered(Some(first));
            block.set_registered(Some(first + body.regions().count() as u16));
        }
        let now = kernel.now();
        let mut owners = Slab::new(options.owners_max + 1);
        let itself = owners.insert(OwnerState::new()).expect("the first owner finds room");
        let reactor = Self {
            wall: kernel.wall(),
            kernel,
            operations: Slab::new(options.operations_max),
            keys: Vec::new(),
            owners,
            itself,
            wheel: Wheel::new(now),
            due: Vec::new(),
            rests: Rests::default(),
            closing: Rc::default(),
            pipes: PipePool::new(options.pipes_max),
            jobs: Jobs::default(),
            mounts: Mounts::new(pools[Pool::Body as usize].count(), options.rings),
            pressed: Instant::default(),
            transfers: 0,
            starved: Default::default(),
            again: Vec::new(),
            turns: Turns::default(),
            wakes: VecDeque::new(),
            events: Vec::new(),
            early: Vec::new(),
            now,
            turn: 0,
            inline_count: 0,
            pools,
            options,
            stats,
        };
        reactor.note_levels();
        Ok(reactor)
    }

    /// Takes in a new owner, or none when there are as many as allowed.
    pub fn register(&mut self) -> Option<Owner> {
        self.owners.insert(OwnerState::new()).ok()
    }

    /// Lets go of an owner: what it has in flight is cancelled and its operands go home as it
    /// completes. It gets no further wake.
    pub fn retire(&mut self, owner: Owner) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        assert!(!state.retired, "an owner retires once");
        state.retired = true;
        state.deadline = None;
        for (waiting, stands) in self.starved.iter_mut().zip(state.starves) {
            if stands {
                waiting.retain(|other| *other != owner);
            }
        }
        self.cancel_all(owner);
        self.free_if_idle(owner);
    }

    /// Asks for the end of everything that an owner has in flight.
    pub fn cancel_all(&mut self, owner: Owner) {
        let Some(state) = self.owners.get(owner) else { return };
        let mut place = state.first;
        while place != NONE {
            let key = self.keys[place as usize];
            place = self.operations.get(key).expect("a listed operation is in flight").next;
            self.cancel_operation(key);
        }
    }

    /// The owner whose index this is, unless it is retired.
    pub fn owner_at(&self, index: u32) -> Option<Owner> {
        let owner = self.owners.key_at(index)?;
        self.owners.get(owner).is_some_and(|state| !state.retired).then_some(owner)
    }

    /// Takes a descriptor that was opened elsewhere (a listener, the root) into the ring's care.
    pub fn adopt(&self, fd: std::os::fd::OwnedFd) -> Descriptor {
        Descriptor::adopt(fd, &self.closing)
    }

    /// An owner's view.
    pub fn io(&mut self, owner: Owner) -> OwnerIo<'_, K> {
        OwnerIo { reactor: self, owner }
    }

    /// Wakes an owner in this turn.
    pub fn wake(&mut self, owner: Owner, wake: Wake) {
        self.wakes.push_back((owner, wake));
    }

    /// Wakes an owner in the next turn, once.
    pub fn wake_next_turn(&mut self, owner: Owner) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        if !state.waits_for_turn {
            state.waits_for_turn = true;
            self.again.push(owner);
        }
    }

    /// The next wake of this turn.
    pub fn next_wake(&mut self) -> Option<(Owner, Wake)> {
        loop {
            let Some((owner, wake)) = self.wakes.pop_front() else { return self.next_in_line() };
            let Some(state) = self.owners.get_mut(owner) else { continue };
            // A deadline that was set anew since it passed is void: what came before it in this
            // turn was what it waited for.
            let void = matches!(wake, Wake::Deadline(_)) && !std::mem::take(&mut state.due);
            if !state.retired && !void {
                return Some((owner, wake));
            }
        }
    }

    /// The clock, as read in this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The wall clock, as read in this turn.
    pub fn wall(&self) -> WallClock {
        self.wall
    }

    /// Operations in flight, those of retired owners included.
    pub fn in_flight(&self) -> usize {
        self.operations.len()
    }

    /// Owners, those that are retired with operations in flight included.
    pub fn owners(&self) -> usize {
        self.owners.len() - 1
    }

    /// Where descriptors go that nobody refers to any more.
    pub(super) fn closing(&self) -> &Rc<Closing> {
        &self.closing
    }

    /// Whether no descriptor waits to be closed.
    pub fn nothing_to_close(&self) -> bool {
        self.closing.is_empty() && self.mounts.nothing_to_close()
    }

    /// The kernel below.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// One entry into the kernel, and everything that has come of it.
    pub fn turn(&mut self) -> rustix::io::Result<()> {
        self.close_what_is_free();
        self.feed_the_starved();
        self.note_levels();
        let before = self.kernel.now();
        // What still waits to be closed found the table full: an event will make room.
        let nobody_waits = self.again.is_empty() && self.turns.nobody_waits();
        let idle = nobody_waits && self.wakes.is_empty() && self.early.is_empty();
        let wait = match idle {
            true => {
                let next = [self.wheel.next(before), self.rests.next(before)];
                next.into_iter().flatten().min().map_or(Wait::Forever, Wait::For)
            }
            false => Wait::Not,
        };
        let mut events = std::mem::take(&mut self.events);
        events.append(&mut self.early);
        let (begun, waits) = (self.now, !matches!(wait, Wait::Not));
        let entered = self.kernel.enter(wait, &mut events);
        let submitted = entered.unwrap_or(0);
        self.stats.enters.add(1);
        self.stats.submissions.add(u64::from(submitted));
        self.stats.completions.add(events.len() as u64);
        self.stats.batch.record(u64::from(submitted));
        self.stats.overflow.add(u64::from(self.kernel.overflowed()));
        self.now = self.kernel.now();
        // What the kernel does at once with what is submitted holds the others up, too; where it
        // waits then, that cannot be told apart.
        self.note_turn(if waits { before } else { self.now }.since(begun));
        self.wall = self.kernel.wall();
        self.turn = self.turn.wrapping_add(1);
        self.turns.begin(self.options.shared_turn_bytes);
        for event in events.drain(..) {
            self.take_event(event);
        }
        self.events = events;
        for owner in std::mem::take(&mut self.again) {
            if let Some(state) = self.owners.get_mut(owner) {
                state.waits_for_turn = false;
                self.wakes.push_back((owner, Wake::Turn));
            }
        }
        self.end_rests();
        self.fire_deadlines();
        entered.map(|_| ())
    }

    fn take_event(&mut self, event: Event) {
        let key = Key::from_bits(event.token);
        let Some(operation) = self.operations.get_mut(key) else { return };
        let owner = operation.owner;
        let took = self.now.since(operation.started);
        let op = operation.op.as_mut().expect("an operation in flight has its operands");
        self.kernel.complete(&event, op);
        if event.result == Err(Errno::INTR) && !operation.cancelled && can_be_repeated(op) {
            return self.queue(key);
        }
        self.stats.count(Technique::of(op), event.result, Some(took));
        match op {
            Op::Send { socket, .. } | Op::SendMsg { socket, .. } => socket.send_ends(),
            Op::Job(job) => self.jobs.ends(job),
            _ => {}
        }
        let opened_at = op.mount();
        let makes_descriptor = matches!(op, Op::Accept { .. } | Op::Open { .. });
        let handle = match event.result {
            Ok(raw) if makes_descriptor => {
                let handle = self.kernel.adopt(raw, &self.closing);
                handle.set_mount(opened_at);
                Some(handle)
            }
            _ => None,
        };
        let op = if event.more { None } else { self.take_out(key).op };
        if let Some(op) = &op {
            self.ended(op, event.result);
        }
        if let Some(Op::Writable { .. }) = op {
            if !says_writable(event.result) && self.rest(owner) {
                return;
            }
            if let Some(state) = self.owners.get_mut(owner) {
                state.waits_to_write = false;
            }
            self.wakes.push_back((owner, Wake::Writable));
        } else if owner != self.itself {
            let completion = Completion {
                ticket: Some(Ticket(key)),
                op,
                result: event.result,
                handle,
                more: event.more,
            };
            self.wakes.push_back((owner, Wake::Done(completion)));
        }
        self.free_if_idle(owner);
    }
}

impl OwnerState {
    fn new() -> Self {
        Self {
            in_flight: 0,
            first: NONE,
            deadline: None,
            due: false,
            wheel: None,
            allowance: Allowance::default(),
            waits_to_write: false,
            rested: Duration::ZERO,
            waits_for_turn: false,
            starves: [false; JOBS + 1],
            retired: false,
        }
    }
}

#[cfg(test)]
mod tests;
