//! The real kernel: one io_uring, owned by one thread.
//!
//! Needs io_uring as of kernel 5.19 at least (multishot accept); deferred task running (6.1) is
//! used where it is there, then cooperative, then neither. Completions are all taken out at each
//! entry. The completion queue cannot lose an event: the kernel keeps what does not fit.

// Unsafe: queueing entries whose operands must stay, and entering the ring without waiting.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::time::ClockId;

use super::desk::Desk;
use super::handle::Closing;
use super::inline;
use super::io::{Event, Kernel, QueueFull, Wait};
use super::op::{How, Op};
use super::pipe::{Pipe, adopt_ends};
use crate::base::{Instant, WallClock};

/// Entries of the submission queue: more than a turn starts, so that a turn is one entry.
const ENTRIES: u32 = 2048;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 4 * ENTRIES;
/// Tokens of cancel requests; their own completions say nothing.
const CANCEL_TOKEN: u64 = u64::MAX;
/// The token of the poll for jobs that have ended.
const BELL_TOKEN: u64 = u64::MAX - 1;

/// Why a ring could not be set up.
#[derive(Debug)]
pub struct SetupFault(pub std::io::Error);

/// How the ring was set up: the best of what the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// One submitter, completions run when it waits (kernel 6.1).
    Deferred,
    /// Completions run at the next entry, without an interrupt (kernel 5.19).
    Cooperative,
    /// Neither.
    Plain,
}

impl Setup {
    /// The name in telemetry and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Cooperative => "cooperative",
            Self::Plain => "plain",
        }
    }
}

/// What the kernel reads at submission: it stays until the queue was handed over.
#[derive(Clone, Copy)]
struct Scratch {
    vectors: [Vector; 2],
    how: types::OpenHow,
}

/// The layout of `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Vector {
    base: *mut u8,
    bytes: usize,
}

/// See the module.
pub struct Uring {
    ring: IoUring,
    setup: Setup,
    scratch: Box<[Scratch]>,
    /// Entries queued since the last hand-over.
    queued: usize,
    /// Whether the last entry found the completion queue full.
    overflowed: bool,
    /// Jobs for the helper threads.
    desk: Desk,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Uring").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl Uring {
    /// Sets up a ring for the calling thread.
    pub fn new() -> Result<Self, SetupFault> {
        let (ring, setup) = set_up().map_err(SetupFault)?;
        let empty = Scratch {
            vectors: [Vector { base: std::ptr::null_mut(), bytes: 0 }; 2],
            how: types::OpenHow::new(),
        };
        let scratch = vec![empty; ENTRIES as usize].into();
        Ok(Self { ring, setup, scratch, queued: 0, overflowed: false, desk: Desk::default() })
    }

    /// How the ring was set up.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Registers memory with the ring, so that reads need not map it each time. Refused with
    /// ENOMEM beyond the locked-memory limit.
    pub fn register_memory(&mut self, (base, bytes): (*mut u8, usize)) -> std::io::Result<()> {
        let vector = Vector { base, bytes };
        // SAFETY: `Vector` has the layout of `iovec`, and the slice of one does not outlive it.
        let vectors = unsafe { std::slice::from_raw_parts((&raw const vector).cast(), 1) };
        // SAFETY: the memory is a whole mapping of a `BufferPool`, and the kernel pins its pages
        // itself, so that even an unmapping before the ring's end is harmless.
        unsafe { self.ring.submitter().register_buffers(vectors) }
    }

    /// Has the ring wait for jobs that are out. Says whether it may sleep: nothing has ended
    /// already, and the poll found room.
    fn listen_for_jobs(&mut self) -> bool {
        if let Some(bell) = self.desk.to_listen_to() {
            let entry = poll(bell, POLL_IN).user_data(BELL_TOKEN);
            if self.push(entry).is_err() {
                return false;
            }
            self.desk.listens();
        }
        !self.desk.has_events()
    }

    fn push(&mut self, entry: squeue::Entry) -> Result<(), QueueFull> {
        // SAFETY: the entry was built by `submit` from operands that stay in the reactor's table
        // until the last event of their token, or from `scratch`, which is not written again
        // before the queue was handed over.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| QueueFull)?;
        self.queued += 1;
        Ok(())
    }

    fn entry(&mut self, op: &mut Op) -> squeue::Entry {
        let scratch = &mut self.scratch[self.queued];
        match op {
            Op::Readable { socket } => poll(socket.as_raw_fd(), POLL_IN),
            Op::Writable { socket } => poll(socket.as_raw_fd(), POLL_OUT),
            Op::Accept { listener } => {
                let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
                opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
                    .flags(flags.bits() as i32)
                    .build()
            }
            Op::ReadHead { socket, parts } => {
                let free = parts.free();
                scratch.vectors =
                    free.map(|part| Vector { base: part.as_mut_ptr(), bytes: part.len() });
                let count = if scratch.vectors[1].bytes == 0 { 1 } else { 2 };
                let fd = types::Fd(socket.as_raw_fd());
                opcode::Readv::new(fd, scratch.vectors.as_ptr().cast(), count).build()
            }
            Op::Read { file, offset, buffer, range, .. } => {
                let fd = types::Fd(file.as_raw_fd());
                let registered = buffer.registered();
                let into = &mut buffer[range.start as usize..range.end as usize];
                let (base, bytes) = (into.as_mut_ptr(), into.len() as u32);
                match registered {
                    Some(index) => {
                        opcode::ReadFixed::new(fd, base, bytes, index).offset(*offset).build()
                    }
                    None => opcode::Read::new(fd, base, bytes).offset(*offset).build(),
                }
            }
            Op::Send { socket, bytes, more } => {
                let fd = types::Fd(socket.as_raw_fd());
                let bytes = bytes.bytes();
                opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32)
                    .flags(send_flags(*more))
                    .build()
            }
            Op::SendZc { socket, bytes, more } => {
                let fd = types::Fd(socket.as_raw_fd());
                let registered = bytes.registered();
                let bytes = bytes.bytes();
                opcode::SendZc::new(fd, bytes.as_ptr(), bytes.len() as u32)
                    .flags(send_flags(*more))
                    .buf_index(registered)
                    .build()
            }
            Op::Open { root, path, how } => {
                scratch.how = open_how(*how);
                let how = std::ptr::from_ref(&scratch.how);
                opcode::OpenAt2::new(types::Fd(root.as_raw_fd()), path.as_ptr(), how).build()
            }
            Op::Shutdown { socket } => {
                const SHUT_WR: i32 = 1;
                opcode::Shutdown::new(types::Fd(socket.as_raw_fd()), SHUT_WR).build()
            }
            Op::Close { raw } => opcode::Close::new(types::Fd(*raw)).build(),
            Op::Pread { .. }
            | Op::Sendfile { .. }
            | Op::SpliceIn { .. }
            | Op::SpliceOut { .. }
            | Op::Stat { .. }
            | Op::Peer { .. }
            | Op::Unacknowledged { .. }
            | Op::Reset { .. } => unreachable!("an inline operation is never submitted"),
            Op::Job(_) => unreachable!("a job goes to the desk"),
        }
    }
}

impl Kernel for Uring {
    fn now(&mut self) -> Instant {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        Instant::from_nanoseconds(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    fn wall(&mut self) -> WallClock {
        // The coarse clock is right to a few milliseconds; fields of HTTP are whole seconds.
        let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
        WallClock { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
    }

    fn submit(&mut self, token: u64, op: &mut Op) -> Result<(), QueueFull> {
        assert!(token < BELL_TOKEN, "a place never has this number");
        if let Op::Job(job) = op {
            self.desk.submit(token, job);
            return Ok(());
        }
        if self.queued >= self.scratch.len() {
            return Err(QueueFull);
        }
        let entry = self.entry(op).user_data(token);
        self.push(entry)
    }

    fn submit_cancel(&mut self, token: u64) -> Result<(), QueueFull> {
        if self.desk.give_up(token) {
            return Ok(());
        }
        let entry = opcode::AsyncCancel::new(token).build().user_data(CANCEL_TOKEN);
        self.push(entry)
    }

    fn enter(&mut self, wait: Wait, events: &mut Vec<Event>) -> Result<u32, Errno> {
        let wait = if self.listen_for_jobs() { wait } else { Wait::Not };
        let before = self.ring.submission().len();
        let entered = match wait {
            Wait::Not => {
                /// IORING_ENTER_GETEVENTS: deferred completions run although nothing is waited
                /// for.
                const GETEVENTS: u32 = 1;
                let queued = before as u32;
                // SAFETY: no argument is passed, and the count is that of the queue, which was
                // synchronised by taking its length.
                unsafe { self.ring.submitter().enter::<()>(queued, 0, GETEVENTS, None) }
            }
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::For(time) => {
                let time = types::Timespec::from(time.max(Duration::from_micros(1)));
                let arguments = types::SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(1, &arguments)
            }
        };
        let queue = self.ring.submission();
        let left = queue.len();
        self.overflowed = queue.cq_overflow();
        drop(queue);
        let taken = before.saturating_sub(left);
        // What a full completion queue made the kernel refuse stays queued, with its scratch;
        // `queued` starts anew only when the queue is empty.
        if left == 0 {
            self.queued = 0;
        }
        let fault = match entered {
            Ok(_) => None,
            Err(error) => match Errno::from_io_error(&error) {
                // The time has passed; a signal came; the completion queue must be emptied first.
                Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => None,
                Some(errno) => Some(errno),
                None => Some(Errno::IO),
            },
        };
        for entry in self.ring.completion() {
            match entry.user_data() {
                CANCEL_TOKEN => continue,
                BELL_TOKEN => {
                    self.desk.hear();
                    continue;
                }
                _ => {}
            }
            let result = u32::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(-entry.result()));
            events.push(Event {
                token: entry.user_data(),
                result,
                more: io_uring::cqueue::more(entry.flags()),
                notification: io_uring::cqueue::notif(entry.flags()),
            });
        }
        self.desk.take_events(events);
        fault.map_or(Ok(taken as u32), Err)
    }

    fn overflowed(&self) -> bool {
        self.overflowed
    }

    fn complete(&mut self, event: &Event, op: &mut Op) {
        if let Op::Job(job) = op {
            self.desk.bring_home(event.token, job);
        }
    }

    fn execute(&mut self, op: &mut Op) -> Result<u32, Errno> {
        inline::execute(op)
    }

    fn open_pipe(&mut self, bytes: u32, closing: &Rc<Closing>) -> Result<Pipe, Errno> {
        let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user over the soft limit of pipe pages is refused more; the pipe works as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(&ends.1, bytes as usize);
        let granted = rustix::pipe::fcntl_getpipe_size(&ends.1)?;
        Ok(adopt_ends(ends, granted as u32, closing))
    }
}

fn set_up() -> std::io::Result<(IoUring, Setup)> {
    let mut deferred = IoUring::builder();
    deferred.setup_cqsize(COMPLETIONS).setup_single_issuer().setup_defer_taskrun();
    let mut cooperative = IoUring::builder();
    cooperative.setup_cqsize(COMPLETIONS).setup_coop_taskrun();
    let mut plain = IoUring::builder();
    plain.setup_cqsize(COMPLETIONS);
    let mut last = None;
    let ways =
        [(deferred, Setup::Deferred), (cooperative, Setup::Cooperative), (plain, Setup::Plain)];
    for (builder, setup) in ways {
        match builder.build(ENTRIES) {
            Ok(ring) => return Ok((ring, setup)),
            // EINVAL: the kernel does not know the flags; the next way asks for fewer.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("a loop that ran to its end has met an error"))
}

const POLL_IN: u32 = 1;
const POLL_OUT: u32 = 4;

fn poll(fd: i32, events: u32) -> squeue::Entry {
    opcode::PollAdd::new(types::Fd(fd), events).build()
}

fn send_flags(more: bool) -> i32 {
    let mut flags = rustix::net::SendFlags::NOSIGNAL;
    if more {
        flags |= rustix::net::SendFlags::MORE;
    }
    flags.bits() as i32
}

/// Always for reading, without blocking on a FIFO, without becoming a controlling terminal, and
/// never leaving the directory.
fn open_how(how: How) -> types::OpenHow {
    if how.anywhere {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return types::OpenHow::new().flags(u64::from(flags.bits()));
    }
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if how.direct {
        flags |= OFlags::DIRECT;
    }
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if how.no_links {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    types::OpenHow::new().flags(u64::from(flags.bits())).resolve(resolve.bits())
}
