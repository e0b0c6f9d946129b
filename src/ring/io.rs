//! The two seams of the ring: [`Io`], what owners see, and [`Kernel`], what stands behind it.
//!
//! Everything above the ring talks to `Io`. The reactor, which keeps operations, deadlines,
//! buffers and wakes, is the same over the real kernel and over the simulated one; only the
//! few verbs of `Kernel` differ.

use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::buffer::Lease;
use super::handle::{Closing, Descriptor, File, Socket};
use super::mount::{MountKind, Noting};
use super::op::{Deadline, Op, Start, Ticket};
use super::pipe::{Pipe, PipeLease};
use crate::base::{Instant, WallClock};

/// Which pool a buffer is leased from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// For the head of a request.
    Head,
    /// For what does not fit there: large heads, pipelined requests.
    LargeHead,
    /// For small answers, gathered.
    Answer,
    /// For bodies on their way through memory, registered with the ring where allowed.
    Body,
    /// For what is kept of files to be sent again: blocks read past the page cache, hot files.
    /// Registered likewise, in huge pages where they can be had; empty where nothing is kept.
    Block,
}

impl Pool {
    /// All pools, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Head, Self::LargeHead, Self::Answer, Self::Body, Self::Block];

    /// The name in telemetry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::LargeHead => "large_head",
            Self::Answer => "answer",
            Self::Body => "body",
            Self::Block => "block",
        }
    }
}

/// One owner's view of the kernel: a connection, the cache, a listener, the worker itself.
pub trait Io {
    /// Starts an operation. Operations on one socket take effect in the order of their starts.
    fn start(&mut self, op: Op) -> Start;

    /// Asks for the end of a submitted operation. It still completes exactly once.
    fn cancel(&mut self, ticket: Ticket);

    /// The same of one that holds nothing of the owner's and whose end concerns nobody any more: no
    /// wake comes for it.
    fn abandon(&mut self, ticket: Ticket);

    /// Sets the owner's one deadline, in place of the one before; none for no deadline.
    fn deadline(&mut self, at: Option<(Deadline, Instant)>);

    /// Has the owner woken by [`super::Wake::Writable`] when a socket takes bytes again.
    fn wait_to_write(&mut self, socket: Socket);

    /// Leases a buffer; when there is none, [`super::Wake::Ready`] comes as soon as there is.
    fn lease(&mut self, pool: Pool) -> Option<Lease>;

    /// Leases a buffer if there is one now. No wake comes when there is none.
    fn lease_if_free(&mut self, pool: Pool) -> Option<Lease>;

    /// Whether more than half of the buffers of a pool are leased.
    fn is_short(&self, pool: Pool) -> bool;

    /// Leases a pipe.
    fn pipe(&mut self) -> Result<PipeLease, NoPipe>;

    /// Bytes that the owner may still move in this turn, of a body of so many in all; 0 when
    /// others come first: then it yields, and a turn comes. What it starts is counted.
    fn allowance(&mut self, body: u64, begun: bool) -> u32;

    /// What may be expected of the files of a mount.
    fn mount_kind(&self, mount: u64) -> MountKind;

    /// Whether reads of files of a mount take note of their time, for which they may wait.
    fn notes_access(&self, mount: u64) -> bool;

    /// Bytes behind a part of a file of a mount that have to be in memory, too, so that nothing is
    /// begun to be read when a page of the part is touched. It is more where that was marked for
    /// who touches it.
    fn reach(&self, mount: u64) -> u64;

    /// When memory was last found to be short: what was in the page cache before may be gone.
    fn pressed(&self) -> Instant;

    /// The clock, as read once in this turn.
    fn now(&self) -> Instant;

    /// The wall clock, as read once in this turn.
    fn wall(&self) -> WallClock;
}

/// Why there is no pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPipe {
    /// All are leased; [`super::Wake::Ready`] comes as soon as one is free.
    Later,
    /// The kernel refuses to make one, and none is there to wait for.
    Refused,
}

/// How long to wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Not,
    /// Until there is one.
    Forever,
    /// Until there is one or the time has passed.
    For(Duration),
}

/// What the kernel tells of a submitted operation.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The number given at submission.
    pub token: u64,
    /// Bytes, a descriptor, or an error.
    pub result: Result<u32, Errno>,
    /// Whether more events with this token follow.
    pub more: bool,
}

/// The submission queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// A kernel, real or simulated: the only thing that acts.
pub trait Kernel {
    /// The monotonic clock.
    fn now(&mut self) -> Instant;

    /// The wall clock.
    fn wall(&mut self) -> WallClock;

    /// Puts an operation into the submission queue. Its operands stay where they are until the
    /// last event with its token. One that is `apart` is left to a thread of the kernel from the
    /// start: it may block.
    fn submit(&mut self, token: u64, op: &mut Op, apart: bool) -> Result<(), QueueFull>;

    /// Puts a request to cancel the operation with this token into the queue.
    fn submit_cancel(&mut self, token: u64) -> Result<(), QueueFull>;

    /// Hands the queue to the kernel, waits, and appends what has completed. Returns how many
    /// entries the kernel took.
    fn enter(&mut self, wait: Wait, events: &mut Vec<Event>) -> Result<u32, Errno>;

    /// Whether the last entry found the completion queue full, so that the kernel held back what
    /// has completed and tells it at a later entry.
    fn overflowed(&self) -> bool;

    /// Told for each event whose operation was found, before anybody else sees the operands. A
    /// real kernel has written to them already; the simulated one does so here, and checks them.
    fn complete(&mut self, _event: &Event, _op: &mut Op) {}

    /// Carries out an inline operation now.
    fn execute(&mut self, op: &mut Op) -> Result<u32, Errno>;

    /// How often mounts have come or gone, as far as anybody has asked.
    fn seen_mount_changes(&self) -> u64;

    /// The same up to now.
    fn mount_changes(&self) -> u64;

    /// Whether a look behind the end of a file of a mount, whatever its size, is for certain no
    /// access that might be noted.
    fn may_look_far(&self, mount: u64) -> bool;

    /// When reads of a file of a local disk write the time of access down.
    fn notes_access(&self, file: &File) -> Noting;

    /// Bytes that the kernel reads ahead from a device at most; none where it does not tell.
    fn read_ahead(&self, device: (u32, u32)) -> Option<u64>;

    /// Whether an open file has no name any more, so that its last close takes its bytes away.
    fn is_unlinked(&self, raw: RawFd) -> bool;

    /// Makes a pipe of at least one page, of `bytes` if that is granted.
    fn open_pipe(&mut self, bytes: u32, closing: &Rc<Closing>) -> Result<Pipe, Errno>;

    /// Takes a descriptor that a completed operation made.
    fn adopt(&mut self, raw: u32, closing: &Rc<Closing>) -> Descriptor {
        Descriptor::new(raw as i32, closing)
    }
}
