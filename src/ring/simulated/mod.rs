//! A simulated kernel, for tests: the same seed and the same calls give the same events.
//!
//! [`Simulated`] stands below a [`Reactor`] as the real kernel does, so that everything above
//! runs as it is. A test holds the [`World`], which is the kernel's state seen from outside: it
//! makes files, plays the clients of connections, sets the chances of [`Faults`], and asks what
//! is still open or in flight. Nothing here is unsafe and nothing waits: time is virtual.
//!
//! What is modelled of Linux, since something above relies on it:
//! - bytes sent with MSG_MORE are not seen by the client until more follows, the socket is full,
//!   shut, closed, or pushed
//! - sends and reads of the ring wait in a poll while the socket is full or empty; a poll for
//!   writing says yes when a third of the buffer is free, and completes at once when the client
//!   has ended its side (the kernel adds POLLRDHUP); inline transfers give EAGAIN
//! - the first operation after a reset gives ECONNRESET, later sends EPIPE, later reads 0
//! - a close with unread bytes resets the connection, and the client loses what it had not read
//! - a pipe has slots of a page each, so an unaligned span fills it before its capacity
//! - O_DIRECT refuses offsets, lengths and memory that are not aligned
//! - opens stay beneath the directory they begin at (RESOLVE_BENEATH)
//! - pages of a file are in the page cache or not; a read brings them there and takes its time
//! - a mount may refuse to say without blocking what is there, and may hang: then opens, stats,
//!   reads and closes of its files do not end before it is released
//! - helpers do one job of a mount at a time, in the order of their starts
//! - a watched directory tells what happens to its names and to itself, in order; with faults it
//!   tells late, or that something was lost
//! - a cancelled operation completes once, with ECANCELED or with what it did
//!
//! What is checked in passing, with a panic that says what was wrong:
//! - memory that the kernel owns is not written to, and does not move, until its event
//! - a descriptor is used only while it is open, and closed once, with nothing in flight on it
//! - on one socket nothing is sent, inline or by the ring, while a send is in flight
//! - nothing is sent inline out of pages that are not in the page cache, but for those that went
//!   less than a quarter of a second ago
//! - what may block on its mount is left to a thread of the kernel from the start
//! - every event finds the operation that it belongs to

mod check;
mod faults;
mod files;
mod inline;
mod jobs;
mod marks;
mod memory;
mod network;
mod operations;
mod pipes;
mod state;
mod watch;
mod world;
mod writers;

use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use rustix::io::Errno;

pub use crate::base::Random;
pub use faults::{Fault, Faults};
pub use network::End;
pub use world::{Client, ListenerId, World};

use super::handle::{Closing, Descriptor, File};
use super::io::{Event, Kernel, QueueFull, Wait};
use super::mount::Noting;
use super::op::Op;
use super::pipe::Pipe;
use super::reactor::Reactor;
use crate::base::{Instant, WallClock};

/// The kernel of a [`World`].
#[derive(Debug)]
pub struct Simulated {
    world: World,
}

impl Simulated {
    fn new(world: World) -> Self {
        Self { world }
    }
}

impl Kernel for Simulated {
    fn now(&mut self) -> Instant {
        self.world.state().read_clock()
    }

    fn wall(&mut self) -> WallClock {
        self.world.tell_wall()
    }

    fn seen_mount_changes(&self) -> u64 {
        self.world.state().files.seen_mount_changes
    }

    fn mount_changes(&self) -> u64 {
        let files = &mut self.world.state().files;
        files.seen_mount_changes = files.mount_changes;
        files.mount_changes
    }

    fn may_look_far(&self, mount: u64) -> bool {
        !self.world.state().files.mounts[mount as usize - 1].notes_far
    }

    fn notes_access(&self, file: &File) -> Noting {
        self.world.state().notes_access(file.as_raw_fd())
    }

    fn read_ahead(&self, _device: (u32, u32)) -> Option<u64> {
        Some(marks::READ_AHEAD)
    }

    fn is_unlinked(&self, raw: RawFd) -> bool {
        self.world.state().is_unlinked(raw)
    }

    fn submit(&mut self, token: u64, op: &mut Op, apart: bool) -> Result<(), QueueFull> {
        self.world.state().submit(token, op, apart)
    }

    fn submit_cancel(&mut self, token: u64) -> Result<(), QueueFull> {
        self.world.state().submit_cancel(token)
    }

    fn enter(&mut self, wait: Wait, events: &mut Vec<Event>) -> Result<u32, Errno> {
        let mut state = self.world.state();
        let taken = state.enter(wait, events);
        state.enter_fault.take().map_or(Ok(taken), Err)
    }

    fn overflowed(&self) -> bool {
        self.world.state().overflowed
    }

    fn complete(&mut self, event: &Event, op: &mut Op) {
        self.world.state().complete(event, op);
    }

    fn execute(&mut self, op: &mut Op) -> Result<u32, Errno> {
        self.world.state().execute(op)
    }

    fn open_pipe(&mut self, bytes: u32, closing: &Rc<Closing>) -> Result<Pipe, Errno> {
        let (read, write, granted) = self.world.state().open_pipe(bytes)?;
        let end = |raw| Descriptor::new(raw, closing);
        Ok(Pipe::new(end(read), end(write), granted))
    }
}

impl Reactor<Simulated> {
    /// Takes a descriptor that the world made into the reactor's care.
    pub fn take_in(&mut self, raw: u32) -> Descriptor {
        let closing = Rc::clone(self.closing());
        self.kernel().adopt(raw, &closing)
    }
}
