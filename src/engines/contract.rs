//! What an engine is.

use std::rc::Rc;

use rustix::io::Errno;

use super::left_behind::Trail;
use crate::cache::{BlockReader, ReadFault, Version};
use crate::ring::{Io, Outgoing, Pool, Scarce, Socket, Tap, Wake};

/// A span of a file on its way to a socket.
#[derive(Debug)]
pub struct Body {
    /// Where it goes.
    pub socket: Socket,
    /// Bytes that go before it, in the same segment where that is possible.
    pub head: Option<Outgoing>,
    /// The file.
    pub version: Rc<Version>,
    /// Offset of the span in the file, in bytes.
    pub offset: u64,
    /// Bytes of the span, at least one.
    pub count: u64,
    /// Whether more follows on the connection at once.
    pub more: bool,
    /// A pipe into which the bytes are doubled on their way, as long as it has room. Only the
    /// engine that moves them through a pipe can do that.
    pub tap: Option<Tap>,
    /// Whether the page cache is not to keep what is read for it.
    pub passes: bool,
    /// What of it is still there, of a span that is brought by several bodies.
    pub trail: Trail,
    /// Whether an engine whose reads go by the ring may read inline what the page cache has.
    pub inline: bool,
    /// Blocks of files that are kept; none where nothing is.
    pub blocks: Option<BlockReader>,
}

/// What the kernel has taken so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of what goes before the file.
    pub head: u64,
    /// Of the file.
    pub body: u64,
    /// Of the file into the tap: from its first byte on, without a gap.
    pub tapped: u64,
    /// Copies that the processor made of bytes of the file: out of the file, and into the socket.
    pub copied: u64,
    /// Bytes of the file given to the socket by reference.
    pub not_copied: u64,
}

/// Why an engine cannot serve a body. Nothing of the file was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// The file was not opened past the page cache: its file system refuses.
    NoDirect,
    /// The kernel refuses the technique for this file or socket.
    Unsupported(Errno),
    /// The kernel refuses to make a pipe.
    NoPipe,
    /// It is small and not in the page cache: a read by the ring costs less than warming it.
    Cold,
    /// It is not in the page cache, or nobody can tell, and its mount may block.
    MayBlock,
    /// The file system asks for an alignment that blocks do not have.
    Alignment,
    /// It is not in the page cache, and is not to stay there.
    Passes,
}

impl Decline {
    /// The names of the reasons in telemetry, in the order of their numbers.
    pub const NAMES: [&'static str; 7] =
        ["no_direct", "unsupported", "no_pipe", "cold", "may_block", "alignment", "passes"];

    /// The place of the reason among all.
    pub(super) const fn number(self) -> usize {
        match self {
            Self::NoDirect => 0,
            Self::Unsupported(_) => 1,
            Self::NoPipe => 2,
            Self::Cold => 3,
            Self::MayBlock => 4,
            Self::Alignment => 5,
            Self::Passes => 6,
        }
    }
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The file is shorter than it was when its length was told.
    Truncated,
    /// The file was written to since its validators were told.
    Changed,
    /// The file could not be read.
    Read(Errno),
    /// The client is gone, or the network to it.
    Send(Errno),
}

impl BodyError {
    /// An errno of a call that reads and sends at once: those of sockets mean the client.
    pub fn of_transfer(errno: Errno) -> Self {
        match errno {
            Errno::PIPE
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN => Self::Send(errno),
            other => Self::Read(other),
        }
    }
}

impl From<ReadFault> for BodyError {
    fn from(fault: ReadFault) -> Self {
        match fault {
            ReadFault::Truncated => Self::Truncated,
            ReadFault::Changed => Self::Changed,
            ReadFault::Read(errno) => Self::Read(errno),
        }
    }
}

/// Where a step left a body.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The kernel has an operation of it, or a buffer is waited for: a wake comes.
    Waiting,
    /// The socket is full: the client is waited for.
    Blocked,
    /// The turn's budget is used up; the next turn goes on.
    Yielded,
    /// All of it was taken by the kernel.
    Finished,
    /// Somebody else must serve it; [`Engine::give_back`] returns it whole.
    Declined(Decline),
    /// It cannot be completed.
    Failed(BodyError),
}

/// A body under way.
///
/// Dropping an engine gives up what it has in flight; the operands go home when the ring has
/// cancelled it.
pub trait Engine: std::fmt::Debug {
    /// Goes on as far as it can. The first wake is `Begin`.
    fn step(&mut self, wake: Wake, io: &mut dyn Io) -> Step;

    /// What the kernel has taken.
    fn progress(&self) -> Progress;

    /// Doubles nothing more into the tap.
    fn untap(&mut self) {}

    /// Operations in flight.
    fn in_flight(&self) -> u32;

    /// Whether it keeps something of the kind from others, with what the kernel has of it.
    fn holds(&self, scarce: Scarce) -> bool;

    /// What goes before the file, as far as it is still here: whoever waits may put a copy in its
    /// place.
    fn head(&mut self) -> Option<&mut Outgoing> {
        None
    }

    /// Whether the ring has bytes of it to send.
    fn is_sending(&self) -> bool {
        false
    }

    /// The body, after the engine declined it.
    fn give_back(self: Box<Self>) -> Body;
}

/// Which pool the buffer is of that a head lies in, if it lies in one.
pub(super) fn head_pool(head: &Option<Outgoing>) -> Option<Pool> {
    head.as_ref().and_then(Outgoing::pool)
}

/// Bytes that a head still has.
pub(super) fn head_bytes(head: &Option<Outgoing>) -> u64 {
    head.as_ref().map_or(0, |head| head.len() as u64)
}
