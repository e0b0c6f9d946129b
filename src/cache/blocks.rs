//! Blocks of files, read past the page cache and kept in the pool of blocks.
//!
//! A block is known by the identity of its file (device, inode, size and times) and its place in
//! it, and never outlives that identity: the facts of the descriptor are asked again behind every
//! read, what was read of a file that has changed meanwhile is not kept, and the blocks of one that
//! is seen to be replaced or removed go at once ([`Blocks::forget`]).
//!
//! Reads belong to the cache, not to who asked: a client that leaves strands nobody, and many who
//! ask for one block cause one read. What nobody waits for any more before its read has begun is
//! not read. Owners ask through a [`BlockReader`] and are woken as soon as
//! the answer is another one.
//!
//! Invariants: a buffer is either in one read, or behind the count of one block; a block that is
//! being sent is not evicted, nor is one in the turn in which it was read, so that who waited for
//! it finds it; a block that was asked for is read before those that are only foreseen, and those
//! take a share of the pool and of the reads only. Who finds no buffer for a while is told, and
//! goes on without.
//!
//! ```text
//! asked for -> Queued -> Reading -> Ready -> evicted
//!                           +----> Failed -> forgotten with the next turn
//! ```

mod ask;
mod block;
mod fill;
mod foresight;
mod latency;
mod lines;
mod reader;
mod room;

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;

pub use block::Loan;
pub use reader::{Ahead, Answer, BlockReader, Blocks, Wait};

use self::block::{Block, BlockId};
use self::fill::{Fill, Stage};
use self::foresight::{Foresight, StreamId};
use self::latency::Latencies;
use self::lines::{Lines, Place};
use super::proof::ReadFault;
use super::stats::Stats;
use super::version::Version;
use crate::base::{Instant, Shares};
use crate::eviction::{Policy, S3Fifo};
use crate::limits::{DIRECT_AHEAD_SHARE, DIRECT_WAIT};
use crate::ring::{Deadline, Io, Owner, Start, Ticket, Wake};

/// What the cache of blocks may use. Counts are for one worker.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// Bytes of a block, as many as a buffer of the pool has; a power of two.
    pub block_bytes: usize,
    /// Blocks at most; none turns the cache off.
    pub blocks_max: usize,
    /// Reads in flight at most.
    pub reads_max: usize,
    /// Whether what patterns foresee is read ahead.
    pub foresees: bool,
}

/// Why a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was asked for.
    Asked,
    /// The body that this owner sends will come to it.
    Ahead(Owner),
    /// A pattern says so.
    Foreseen(StreamId),
}

#[derive(Debug)]
enum State {
    /// It waits there, for a buffer or until fewer reads are in flight.
    Queued(Place),
    /// It is being read.
    Reading,
    /// It is there.
    Ready(Rc<Block>),
    /// It could not be read.
    Failed(ReadFault),
}

#[derive(Debug)]
struct Entry {
    state: State,
    origin: Origin,
    /// What it is read from, until it was: a block keeps no file open.
    version: Option<Rc<Version>>,
    /// The part that is wanted, or being read.
    want: Range<u32>,
    /// Bytes of it that nobody had asked for, and nobody has since.
    unpaid: u32,
    /// Since when it waits; when it was read, if it was.
    since: Instant,
    /// When it came into its line.
    queued: Instant,
    waiters: Vec<Owner>,
    /// Who got it last.
    last: Option<Owner>,
}

impl Entry {
    /// The mount that it is read from, until it was.
    fn mount(&self) -> u64 {
        self.version.as_ref().expect("what is to be read has its file").facts.mount
    }
}

#[derive(Debug)]
struct Inner {
    options: BlockOptions,
    entries: HashMap<BlockId, Entry>,
    policy: S3Fifo<BlockId>,
    /// What was asked for and waits.
    asked: Lines,
    /// What is only foreseen, likewise.
    ahead: Lines,
    /// Blocks that nobody has asked for yet: queued, being read, or there.
    unasked: usize,
    /// Those of them that are not there yet, by mount.
    coming: Shares,
    /// Buffers of the pool that are here, in blocks and in reads.
    held: usize,
    /// Reads in flight, by mount.
    reads: Shares,
    /// Steps of reads that found the ring busy.
    parked: Vec<Fill>,
    pending: HashMap<Ticket, Fill>,
    /// What is good for this turn only, and which that is.
    passing: Vec<BlockId>,
    passing_at: Instant,
    /// No buffer could be had, and nothing has been let go of since.
    starved: bool,
    /// Whether a block may not go only because it was read in this turn.
    some_are_fresh: bool,
    /// Whether the deadline is set for who waits for a buffer.
    watches_time: bool,
    /// A loan was let go of.
    freed: Rc<Cell<bool>>,
    latencies: Latencies,
    foresight: Foresight,
    woken: Vec<Owner>,
    stats: Arc<Stats>,
}

impl Inner {
    fn new(options: BlockOptions, stats: Arc<Stats>) -> Self {
        let block_bytes = options.block_bytes as u64;
        let ahead_max = (options.blocks_max / DIRECT_AHEAD_SHARE) as u64 * block_bytes;
        assert!(options.block_bytes.is_power_of_two(), "a block is a power of two");
        stats.block_bytes_max.set((options.blocks_max * options.block_bytes) as u64);
        Self {
            options,
            entries: HashMap::default(),
            policy: S3Fifo::new(options.blocks_max.max(1)),
            asked: Lines::default(),
            ahead: Lines::default(),
            unasked: 0,
            coming: Shares::default(),
            held: 0,
            reads: Shares::default(),
            parked: Vec::new(),
            pending: HashMap::default(),
            passing: Vec::new(),
            passing_at: Instant::default(),
            starved: false,
            some_are_fresh: false,
            watches_time: false,
            freed: Rc::default(),
            latencies: Latencies::default(),
            foresight: Foresight::new(ahead_max, block_bytes),
            woken: Vec::new(),
            stats,
        }
    }

    fn has_work(&self) -> bool {
        let waits = self.asked.has_open() || self.ahead.has_open();
        let may_read = self.reads.count() < self.options.reads_max;
        !self.parked.is_empty() || waits && may_read && (!self.starved || self.freed.get())
    }

    /// Starts what was asked for, then what is foreseen.
    fn pump(&mut self, io: &mut dyn Io) {
        self.starved &= !self.freed.replace(false);
        if !self.parked.is_empty() {
            self.open_lines();
        }
        for fill in std::mem::take(&mut self.parked) {
            self.go_on(fill, io);
        }
        while self.reads.count() < self.options.reads_max
            && !self.starved
            && let Some(id) = self.next_queued()
        {
            if !self.may_be_read(id) {
                self.drop_queued(id);
                continue;
            }
            let Some(buffer) = self.buffer(io) else {
                self.miss_a_buffer(id, io);
                break;
            };
            self.leave_line(id);
            let entry = self.entries.get_mut(&id).expect("it was just found");
            entry.state = State::Reading;
            match entry.origin {
                Origin::Asked => {
                    let bytes = entry.want.end - entry.want.start;
                    self.foresight.earn(u64::from(bytes));
                }
                Origin::Ahead(_) => self.stats.block_ahead.add(1),
                Origin::Foreseen(_) => self.stats.foreseen.add(1),
            }
            let fill = Fill::new(id, entry, buffer, self.options.block_bytes, io.now());
            self.reads.begin(fill.mount());
            let half = self.options.reads_max.div_ceil(2);
            assert!(self.reads.of(fill.mount()) <= half, "others have the other half");
            self.go_on(fill, io);
        }
    }

    /// Starts the next step of a read.
    fn go_on(&mut self, mut fill: Fill, io: &mut dyn Io) {
        loop {
            self.extend(&mut fill);
            let op = fill.take_op(io);
            match io.start(op) {
                Start::Submitted(ticket) => {
                    self.pending.insert(ticket, fill);
                    return;
                }
                Start::Executed(completion) => match fill.take(completion, io.now(), io.wall()) {
                    Stage::GoesOn(next) => fill = next,
                    Stage::Ends(id, end) => return self.settle(id, end, io.now()),
                },
                Start::Busy(op) | Start::Blocked(op, _) => {
                    fill.put_back(op);
                    self.parked.push(fill);
                    return;
                }
            }
        }
    }

    /// Those who have come since its last step may want more of the block.
    fn extend(&self, fill: &mut Fill) {
        let entry = self.entries.get(&fill.id()).expect("what is being read is listed");
        fill.extend(&entry.want);
    }

    fn wake(&mut self, wake: Wake, io: &mut dyn Io) {
        let now = io.now();
        match wake {
            Wake::Done(completion) => {
                let fill = completion.ticket.and_then(|ticket| self.pending.remove(&ticket));
                let Some(mut fill) = fill else { return };
                self.extend(&mut fill);
                match fill.take(completion, now, io.wall()) {
                    Stage::GoesOn(fill) => self.go_on(fill, io),
                    Stage::Ends(id, end) => self.settle(id, end, now),
                }
            }
            Wake::Deadline(_) => self.tell_who_waits_too_long(io),
            _ => self.starved = false,
        }
    }

    /// Wakes those who have waited for a buffer for as long as anybody has to.
    fn tell_who_waits_too_long(&mut self, io: &mut dyn Io) {
        let now = io.now();
        let mut next = None;
        self.starved = false;
        for (mount, id) in self.asked.iter() {
            // Who waits for a mount that has its share does not wait for a buffer.
            if !self.has_room_for(mount, false) {
                continue;
            }
            let entry = self.entries.get_mut(&id).expect("who stands in a line is listed");
            if entry.since + DIRECT_WAIT <= now {
                // Those who came later stay, and are told in their turn.
                self.woken.extend(&entry.waiters);
                entry.since = now;
            }
            let until = entry.since + DIRECT_WAIT;
            next = Some(next.map_or(until, |next: Instant| next.min(until)));
        }
        self.watches_time = next.is_some();
        io.deadline(next.map(|next| (Deadline::Retry, next)));
    }

    /// A read has ended.
    fn settle(&mut self, id: BlockId, end: fill::End, now: Instant) {
        self.forget_what_passes(now);
        self.one_less(end.mount);
        self.starved = false;
        let entry = self.entries.get_mut(&id).expect("what is being read is listed");
        if entry.origin != Origin::Asked {
            self.coming.end(end.mount);
        }
        let version = entry.version.take();
        entry.since = now;
        // Who has waited for longest comes first, and has its part before somebody whose part could
        // not be read has the block read anew.
        self.woken.extend(entry.waiters.drain(..).rev());
        let keep = match end.result {
            Ok(block) => {
                self.latencies.note(end.mount, end.took);
                entry.state = State::Ready(Rc::new(block));
                if let Some(version) = version {
                    version.note_kept(end.unchanged);
                }
                end.unchanged
            }
            Err(fault) => {
                self.stats.block_failures.add(1);
                entry.state = State::Failed(fault);
                self.held -= 1;
                false
            }
        };
        if keep {
            self.policy.insert(id);
        } else {
            // Those who are woken with this turn still find it; nobody else does.
            self.passing.push(id);
            self.passing_at = now;
        }
        self.note_level();
    }

    /// A read is no longer in flight.
    fn one_less(&mut self, mount: u64) {
        self.reads.end(mount);
        self.open_lines();
    }

    fn forget_what_passes(&mut self, now: Instant) {
        if self.passing_at == now {
            return;
        }
        for id in std::mem::take(&mut self.passing) {
            // A waiter may have had it queued again.
            let gone = |entry: &Entry| matches!(entry.state, State::Ready(_) | State::Failed(_));
            if self.entries.get(&id).is_some_and(gone) {
                self.let_go(id);
            }
        }
    }

    /// Lets go of every block that nobody sends; how many stay.
    fn clear(&mut self) -> usize {
        self.passing.clear();
        for fill in std::mem::take(&mut self.parked) {
            if let Some(entry) = self.entries.remove(&fill.id()) {
                if entry.origin != Origin::Asked {
                    self.coming.end(fill.mount());
                }
                self.woken.extend(&entry.waiters);
                self.note_gone(entry.origin);
            }
            self.one_less(fill.mount());
            self.held -= 1;
        }
        self.let_go_of(self.entries.keys().copied().collect());
        self.note_level();
        self.entries.len()
    }

    fn forget(&mut self, version: &Version) {
        if version.direct.is_some() {
            let file = BlockId::of(version, 0).file;
            let ids = self.entries.keys().filter(|id| id.file == file).copied();
            self.let_go_of(ids.collect());
            self.note_level();
        }
    }

    /// Those of some blocks go that are there and that nobody sends.
    fn let_go_of(&mut self, ids: Vec<BlockId>) {
        for id in ids {
            let free = match &self.entries[&id].state {
                State::Ready(block) => Rc::strong_count(block) == 1,
                State::Failed(_) => true,
                State::Queued(_) | State::Reading => false,
            };
            if free {
                self.policy.remove(&id);
                self.let_go(id);
            }
        }
    }

    /// A block that is there goes, or a failure is forgotten.
    fn let_go(&mut self, id: BlockId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.held -= usize::from(matches!(entry.state, State::Ready(_)));
        self.note_gone(entry.origin);
    }

    fn note_level(&self) {
        self.stats.block_bytes.set((self.held * self.options.block_bytes) as u64);
    }
}
