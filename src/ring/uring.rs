//! The real kernel: one io_uring, owned by one thread.
//!
//! Needs io_uring as of kernel 5.19 at least (multishot accept); deferred task running (6.1) is
//! used where it is there, then cooperative, then neither. Completions are all taken out at each
//! entry. The completion queue cannot lose an event: the kernel keeps what does not fit.

// Unsafe: queueing entries whose operands must stay, and entering the ring without waiting.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::time::ClockId;

use super::desk::Desk;
use super::entry::{POLL_IN, POLL_OUT, POLL_PRIORITY, open_how, poll, send_flags};
use super::handle::{Closing, File};
use super::inline::{self, STAT_MASK, facts_on};
use super::io::{Event, Kernel, QueueFull, Wait};
use super::mount::Noting;
use super::op::Op;
use super::pipe::{Pipe, adopt_ends};
use super::restrictions::restrict;
use super::setup::{Setup, SetupFault, Wanted, set_up};
use crate::base::{Instant, WallClock};
use crate::limits::{GATHER_PARTS_MAX, RING_THREADS_MAX, WARM_BYTES};

/// Entries of the submission queue: more than a turn starts, so that a turn is one entry.
const ENTRIES: u32 = 2048;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 4 * ENTRIES;
/// Tokens of cancel requests; their own completions say nothing.
const CANCEL_TOKEN: u64 = u64::MAX;
/// The token of the poll for jobs that have ended.
const BELL_TOKEN: u64 = u64::MAX - 1;

/// What the kernel reads at submission: it stays until the queue was handed over.
#[derive(Clone, Copy)]
struct Scratch {
    vectors: [Vector; VECTORS],
    message: libc::msghdr,
    how: types::OpenHow,
}

/// Bytes of the sink: what stays in the processor's cache beside all else.
const SINK_BYTES: usize = 64 * 1024;
/// Parts of a read into the sink.
const WARM_VECTORS: usize = WARM_BYTES as usize / SINK_BYTES;
/// Parts of one operation.
const VECTORS: usize =
    if GATHER_PARTS_MAX > WARM_VECTORS { GATHER_PARTS_MAX } else { WARM_VECTORS };

/// Memory that nobody reads, where bytes are put that are read for the page cache alone, by all
/// rings at once. It is never freed, since a read that hangs may end at any time.
fn sink() -> *mut u8 {
    static SINK: LazyLock<usize> = LazyLock::new(|| {
        let memory: &'static mut [u8] = Box::leak(vec![0; SINK_BYTES].into());
        memory.as_mut_ptr().expose_provenance()
    });
    std::ptr::with_exposed_provenance_mut(*SINK)
}

/// The layout of `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Vector {
    base: *mut u8,
    bytes: usize,
}

const NO_VECTOR: Vector = Vector { base: std::ptr::null_mut(), bytes: 0 };

/// A message without an address, without ancillary data and without parts.
fn no_message() -> libc::msghdr {
    // SAFETY: `msghdr` is a structure of integers and pointers, for which all zeros is a value;
    // it has padding on some platforms, so it cannot be written as a literal.
    unsafe { std::mem::zeroed() }
}

/// See the module.
pub struct Uring {
    ring: IoUring,
    setup: Setup,
    /// Why it does whatever it is asked for, if it does.
    unrestricted: Option<std::io::Error>,
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
    /// Sets up a ring for the calling thread, which does only what [`super::OPERATIONS`] names.
    pub fn new() -> Result<Self, SetupFault> {
        let wanted = |disabled| {
            let completions = Some(COMPLETIONS);
            Wanted { entries: ENTRIES, completions, flagged: false, disabled }
        };
        let (mut ring, mut setup) = set_up(wanted(true)).map_err(SetupFault)?;
        // A kernel that keeps its own bound (before 5.15) has fewer threads for mounts that hang.
        let _ = ring.submitter().register_iowq_max_workers(&mut [RING_THREADS_MAX, 0]);
        let restricted = restrict(&ring);
        // One that is refused its restrictions may not be enabled either, behind a filter.
        if let Err(error) = ring.submitter().register_enable_rings() {
            if restricted.is_ok() {
                return Err(SetupFault(error));
            }
            (ring, setup) = set_up(wanted(false)).map_err(SetupFault)?;
            let _ = ring.submitter().register_iowq_max_workers(&mut [RING_THREADS_MAX, 0]);
        }
        let empty = Scratch {
            vectors: [NO_VECTOR; VECTORS],
            message: no_message(),
            how: types::OpenHow::new(),
        };
        let scratch = vec![empty; ENTRIES as usize].into();
        let (unrestricted, desk) = (restricted.err(), Desk::default());
        Ok(Self { ring, setup, unrestricted, scratch, queued: 0, overflowed: false, desk })
    }

    /// Why the kernel lets this ring do more than the server asks of it; none if it does not.
    pub fn unrestricted(&self) -> Option<&std::io::Error> {
        self.unrestricted.as_ref()
    }

    /// How the ring was set up.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Registers memory with the ring, so that reads need not map it each time. Refused with
    /// ENOMEM beyond the locked-memory limit.
    pub fn register_memory(&mut self, regions: &[(*mut u8, usize)]) -> std::io::Result<()> {
        register_regions(&self.ring, regions)
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
            Op::Triggered { trigger } => poll(trigger.as_raw_fd(), POLL_PRIORITY),
            Op::Writable { socket } => poll(socket.as_raw_fd(), POLL_OUT),
            Op::Accept { listener, once } => {
                let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
                let (fd, flags) = (types::Fd(listener.as_raw_fd()), flags.bits() as i32);
                if *once {
                    let (no_name, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
                    opcode::Accept::new(fd, no_name, no_length).flags(flags).build()
                } else {
                    opcode::AcceptMulti::new(fd).flags(flags).build()
                }
            }
            Op::ReadHead { socket, parts } => {
                let free = parts.free();
                let parts = free.map(|part| Vector { base: part.as_mut_ptr(), bytes: part.len() });
                scratch.vectors[..2].copy_from_slice(&parts);
                let count = if scratch.vectors[1].bytes == 0 { 1 } else { 2 };
                let fd = types::Fd(socket.as_raw_fd());
                opcode::Readv::new(fd, scratch.vectors.as_ptr().cast(), count).build()
            }
            Op::Read { file, offset, buffer, range, via } => {
                let fd = types::Fd(file.of_read(*via).as_raw_fd());
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
            Op::SendMsg { socket, parts, more } => {
                for (vector, part) in scratch.vectors.iter_mut().zip(parts.parts()) {
                    let bytes = part.bytes();
                    *vector = Vector { base: bytes.as_ptr().cast_mut(), bytes: bytes.len() };
                }
                scratch.message = no_message();
                scratch.message.msg_iov = scratch.vectors.as_mut_ptr().cast();
                scratch.message.msg_iovlen = parts.parts().len();
                opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), &raw const scratch.message)
                    .flags(send_flags(*more) as u32)
                    .build()
            }
            Op::Open { root, path, how } => {
                scratch.how = open_how(*how);
                let how = std::ptr::from_ref(&scratch.how);
                opcode::OpenAt2::new(types::Fd(root.as_raw_fd()), path.as_ptr(), how).build()
            }
            Op::Stat { file, sheet, .. } => {
                let sheet = sheet.insert(Box::default());
                let fd = types::Fd(file.as_raw_fd());
                let to = std::ptr::from_mut(&mut **sheet).cast();
                opcode::Statx::new(fd, c"".as_ptr(), to)
                    .flags(AtFlags::EMPTY_PATH.bits() as i32)
                    .mask(STAT_MASK.bits())
                    .build()
            }
            Op::Warm { file, offset, count, via } => {
                let mut left = *count as usize;
                let sink = sink();
                let mut used = 0;
                while left > 0 && used < scratch.vectors.len() {
                    let bytes = left.min(SINK_BYTES);
                    scratch.vectors[used] = Vector { base: sink, bytes };
                    left -= bytes;
                    used += 1;
                }
                let fd = types::Fd(file.of_read(*via).as_raw_fd());
                opcode::Readv::new(fd, scratch.vectors.as_ptr().cast(), used as u32)
                    .offset(*offset)
                    .build()
            }
            Op::Forget { file, offset, count } => {
                let advice = rustix::fs::Advice::DontNeed as i32;
                opcode::Fadvise::new(types::Fd(file.as_raw_fd()), libc::off_t::from(*count), advice)
                    .offset(*offset)
                    .build()
            }
            Op::Shutdown { socket } => {
                const SHUT_WR: i32 = 1;
                opcode::Shutdown::new(types::Fd(socket.as_raw_fd()), SHUT_WR).build()
            }
            Op::Close { raw, .. } => opcode::Close::new(types::Fd(*raw)).build(),
            Op::Pread { .. }
            | Op::Sendfile { .. }
            | Op::SpliceIn { .. }
            | Op::SpliceOut { .. }
            | Op::Resident { .. }
            | Op::Tee { .. }
            | Op::PutIn { .. }
            | Op::Notices { .. }
            | Op::Unwatch { .. }
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

    fn seen_mount_changes(&self) -> u64 {
        crate::sys::mounts::seen_changes()
    }

    fn mount_changes(&self) -> u64 {
        crate::sys::mounts::changes()
    }

    fn may_look_far(&self, mount: u64) -> bool {
        crate::sys::mounts::bounds_its_files(mount)
    }

    fn notes_access(&self, file: &File) -> Noting {
        Noting::of(file)
    }

    fn read_ahead(&self, device: (u32, u32)) -> Option<u64> {
        crate::sys::read_ahead::of(device).or_else(crate::sys::read_ahead::most)
    }

    fn is_unlinked(&self, raw: RawFd) -> bool {
        // SAFETY: who asks has the descriptor to close, so it is open, and nobody else closes it.
        let fd = unsafe { BorrowedFd::borrow_raw(raw) };
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        rustix::fs::statx(fd, c"", flags, StatxFlags::NLINK).is_ok_and(|told| told.stx_nlink == 0)
    }

    fn submit(&mut self, token: u64, op: &mut Op, apart: bool) -> Result<(), QueueFull> {
        assert!(token < BELL_TOKEN, "a place never has this number");
        if let Op::Job(job) = op {
            self.desk.submit(token, job);
            return Ok(());
        }
        if self.queued >= self.scratch.len() {
            return Err(QueueFull);
        }
        let mut entry = self.entry(op).user_data(token);
        if apart {
            entry = entry.flags(squeue::Flags::ASYNC);
        }
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
            });
        }
        self.desk.take_events(events);
        fault.map_or(Ok(taken as u32), Err)
    }

    fn overflowed(&self) -> bool {
        self.overflowed
    }

    fn complete(&mut self, event: &Event, op: &mut Op) {
        match op {
            Op::Job(job) => self.desk.bring_home(event.token, job),
            Op::Stat { facts, sheet: Some(sheet), .. } if event.result.is_ok() => {
                **facts = facts_on(sheet);
            }
            _ => {}
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

/// Registers a whole mapping of a `BufferPool` as the one registered memory of a ring.
pub(super) fn register_regions(
    ring: &IoUring,
    regions: &[(*mut u8, usize)],
) -> std::io::Result<()> {
    let vectors: Vec<libc::iovec> = regions
        .iter()
        .map(|(base, bytes)| libc::iovec { iov_base: base.cast(), iov_len: *bytes })
        .collect();
    // SAFETY: the memory is that of whole `BufferPool`s, and the kernel pins its pages itself, so
    // that even an unmapping before the ring's end is harmless.
    unsafe { ring.submitter().register_buffers(&vectors) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::skipped;

    #[test]
    fn a_ring_refuses_what_the_server_never_asks_for() {
        const WHAT: &str = "the restrictions of a ring";
        let mut ring = match Uring::new() {
            Ok(ring) => ring,
            Err(fault) => return skipped(WHAT, &format!("no io_uring here: {}", fault.0)),
        };
        if let Some(error) = ring.unrestricted() {
            return skipped(WHAT, &format!("this kernel has none: {error}"));
        }
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = types::Fd(one.as_raw_fd());
        let flagged = poll(other.as_raw_fd(), POLL_OUT).flags(squeue::Flags::IO_DRAIN);
        let refused = [
            opcode::Nop::new().build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            opcode::Write::new(fd, b"x".as_ptr(), 1).build(),
            flagged,
        ];
        let mut events = Vec::new();
        for (token, entry) in (0..).zip(refused) {
            ring.push(entry.user_data(token)).unwrap();
            ring.enter(Wait::Forever, &mut events).unwrap();
        }
        let results: Vec<_> = events.iter().map(|event| event.result).collect();
        assert_eq!(results, [Err(Errno::ACCESS); 4]);
        ring.push(poll(other.as_raw_fd(), POLL_OUT).user_data(9)).unwrap();
        events.clear();
        ring.enter(Wait::Forever, &mut events).unwrap();
        assert_eq!(events[0].result, Ok(POLL_OUT));
        // Nor does it take other things that can be registered.
        let refused = ring.ring.submitter().register_files(&[one.as_raw_fd()]);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    }
}
