//! A queue of reads and writes of files: an io_uring of its own, for programs and for the lab.
//!
//! The server's loop has [`super::Uring`]; this is the same mechanism without sockets, wakes and
//! owners. A transfer waits in a list of this process until it is submitted, so what was never
//! submitted never happens. From then on the table owns its memory and its share of the file
//! until the kernel has said that it is done. Dropping the queue cancels what is in flight and
//! waits for it; should the kernel not let go within [`limits::DROP_TURNS_MAX`] waits, the memory
//! is leaked and not freed.
//!
//! Rests on io_uring_setup(2), io_uring_register(2), io_uring_enter(2). Needs kernel 5.19;
//! cancelling at the end is quicker with 6.0.

// Unsafe: handing over entries whose operands must stay, and entering the ring.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::buffer::{BufferPool, Lease};
use super::setup::{Wanted, set_up};
use super::transfer::{Direction, SharedFile, Transfer};
use super::uring::register_regions;
use crate::base::{Key, Slab};
use crate::limits;

/// How a queue is set up.
///
/// ```
/// use pitcrew::batch::{Batch, Setup};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Sixteen buffers of 64 KiB that the kernel has mapped once and for all.
/// let mut batch = Batch::with(&Setup { buffers: Some((65_536, 16)), ..Setup::new(32) })?;
/// assert_eq!(batch.lease().map(|buffer| buffer.len()), Some(65_536));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TransferSetup {
    /// Transfers that can be queued before they are submitted; the kernel rounds its queue up to
    /// a power of two.
    pub depth: u32,
    /// Transfers that can be queued and in flight together.
    pub in_flight_max: u32,
    /// Places in the completion queue, rounded up to a power of two; the kernel's choice is twice
    /// the depth.
    pub completions: Option<u32>,
    /// Files that are registered: the kernel need not look their descriptors up each time.
    pub files: Vec<SharedFile>,
    /// Memory that is registered, as the bytes of each buffer, a multiple of 4096, and their
    /// number: the kernel need not map it each time. It counts as locked memory.
    pub buffers: Option<(usize, usize)>,
    /// A thread of the kernel polls the queue, and submitting needs no system call; it sleeps
    /// after so long without work. It takes a processor for itself.
    pub polled: Option<Duration>,
}

impl TransferSetup {
    /// A queue of this depth, with as many transfers in flight, and nothing else.
    #[must_use]
    pub fn new(depth: u32) -> Self {
        Self {
            depth,
            in_flight_max: depth,
            completions: None,
            files: Vec::new(),
            buffers: None,
            polled: None,
        }
    }
}

/// What could not be set up, and the kernel's answer.
#[derive(Debug)]
pub enum TransferSetupFault {
    /// The ring itself.
    Ring(std::io::Error),
    /// The registration of the files.
    Files(std::io::Error),
    /// The memory, or its registration.
    Buffers(std::io::Error),
}

/// A transfer that has ended, with its operands.
#[derive(Debug)]
pub struct TransferDone {
    /// What it was known by.
    pub key: Key,
    /// Its operands.
    pub transfer: Transfer,
    /// Bytes moved.
    pub result: Result<u32, Errno>,
}

/// See the module.
pub struct TransferQueue {
    // Dropped first: no later entry can reach the operands.
    ring: IoUring,
    table: Slab<Transfer>,
    /// Entries that wait to be submitted, in order.
    pending: Vec<squeue::Entry>,
    /// Those of them that are transfers.
    queued: usize,
    depth: usize,
    files: Vec<SharedFile>,
    pool: Option<Rc<BufferPool>>,
    polled: bool,
    entries: u64,
}

/// Tokens of requests to cancel; their own completions say nothing.
const CANCEL_TOKEN: u64 = u64::MAX;

/// IORING_ENTER_GETEVENTS: completions that wait for this thread are brought in.
const GETEVENTS: u32 = 1;
/// IORING_ENTER_SQ_WAKEUP: the polling thread has gone to sleep.
const SQ_WAKEUP: u32 = 2;
/// IORING_ENTER_EXT_ARG: the argument holds a time.
const EXT_ARG: u32 = 8;

impl TransferQueue {
    /// Sets up a queue for the calling thread. What was made before something failed is gone
    /// when it returns.
    ///
    /// # Errors
    ///
    /// What could not be set up.
    pub fn new(setup: &TransferSetup) -> Result<Self, TransferSetupFault> {
        let ring = match setup.polled {
            None => {
                // It is for programs, which know what they ask for.
                let (entries, completions) = (setup.depth, setup.completions);
                let wanted = Wanted { entries, completions, flagged: true, disabled: false };
                set_up(wanted).map(|(ring, _)| ring)
            }
            Some(idle) => set_up_polled(setup, idle),
        };
        let ring = ring.map_err(TransferSetupFault::Ring)?;
        if !setup.files.is_empty() {
            let raw: Vec<RawFd> = setup.files.iter().map(SharedFile::raw).collect();
            ring.submitter().register_files(&raw).map_err(TransferSetupFault::Files)?;
        }
        let mut pool = None;
        if let Some((bytes, count)) = setup.buffers {
            let fault = |errno: Errno| TransferSetupFault::Buffers(errno.into());
            let made = BufferPool::in_huge_pages(bytes, count).map_err(fault)?;
            let regions: Vec<_> = made.regions().collect();
            register_regions(&ring, &regions).map_err(TransferSetupFault::Buffers)?;
            pool = Some(made);
        }
        Ok(Self {
            ring,
            table: Slab::new(setup.in_flight_max as usize),
            pending: Vec::with_capacity(setup.depth as usize),
            queued: 0,
            depth: setup.depth as usize,
            files: setup.files.clone(),
            pool,
            polled: setup.polled.is_some(),
            entries: 0,
        })
    }

    /// A registered buffer, if one is free.
    pub fn lease(&self) -> Option<Lease> {
        self.pool.as_ref()?.lease()
    }

    /// Queues a transfer, or hands it back when the queue is full. Asks nothing of the kernel.
    pub fn push(&mut self, transfer: Transfer) -> Result<Key, Transfer> {
        assert!(transfer.range.end <= transfer.buffer.len(), "the range lies in the memory");
        if self.queued == self.depth {
            return Err(transfer);
        }
        let key = self.table.insert(transfer)?;
        let entry = self.entry(key).user_data(key.to_bits());
        self.pending.push(entry);
        self.queued += 1;
        Ok(key)
    }

    fn entry(&mut self, key: Key) -> squeue::Entry {
        let transfer = self.table.get_mut(key).expect("it was just put in");
        let registered = self.files.iter().position(|file| file.is(&transfer.file));
        let fixed = self.pool.as_ref().is_some_and(|pool| transfer.buffer.lies_in(pool));
        let fd = types::Fd(registered.map_or(transfer.file.raw(), |index| index as RawFd));
        let (direction, offset) = (transfer.direction, transfer.offset);
        let memory = &mut transfer.buffer[transfer.range.clone()];
        let (base, bytes) = (memory.as_mut_ptr(), memory.len() as u32);
        /// The pool is the only registered memory.
        const POOL: u16 = 0;
        let entry = match (direction, fixed) {
            (Direction::Read, false) => opcode::Read::new(fd, base, bytes).offset(offset).build(),
            (Direction::Write, false) => opcode::Write::new(fd, base, bytes).offset(offset).build(),
            (Direction::Read, true) => {
                opcode::ReadFixed::new(fd, base, bytes, POOL).offset(offset).build()
            }
            (Direction::Write, true) => {
                opcode::WriteFixed::new(fd, base, bytes, POOL).offset(offset).build()
            }
        };
        if registered.is_some() { entry.flags(squeue::Flags::FIXED_FILE) } else { entry }
    }

    /// Gives a transfer up. One that was not submitted comes back at once; another one is
    /// completed by the kernel after the next submission, cancelled or done.
    pub fn cancel(&mut self, key: Key) -> Option<Transfer> {
        let waits = self.pending.iter().position(|entry| entry.get_user_data() == key.to_bits());
        if let Some(at) = waits {
            self.pending.remove(at);
            self.queued -= 1;
            return self.table.remove(key);
        }
        if self.table.get(key).is_some() {
            let request = opcode::AsyncCancel::new(key.to_bits()).build();
            self.pending.push(request.user_data(CANCEL_TOKEN));
        }
        None
    }

    /// Hands everything that is queued to the kernel and waits until `count` completions are
    /// there. Returns how many transfers were handed over.
    ///
    /// # Errors
    ///
    /// What the kernel says. What it did not take stays queued.
    pub fn submit(&mut self, count: usize) -> Result<usize, Errno> {
        let before = self.queued;
        let mut waited = count == 0;
        loop {
            let moved = self.fill();
            let queue = self.ring.submission();
            if self.pending.is_empty() && (self.polled || queue.is_empty()) {
                break;
            }
            drop(queue);
            if self.polled {
                self.wake_poller(moved == 0)?;
            } else {
                waited |= self.pending.is_empty();
                self.enter_submitting(if waited { count } else { 0 })?;
            }
        }
        if self.polled {
            self.wake_poller(false)?;
        }
        if !waited {
            self.wait(count, None)?;
        }
        Ok(before - self.queued)
    }

    /// Moves entries into the kernel's queue as far as there is room.
    fn fill(&mut self) -> usize {
        let mut queue = self.ring.submission();
        let mut moved = 0;
        for entry in &self.pending {
            // SAFETY: the entry was built by `entry` for a transfer in the table, whose places
            // never move, or asks to cancel and has no operand. The memory of a transfer is on
            // the heap or in a pool's mapping and stays there when its owner moves, nobody can
            // reach it while the table has it, and the table keeps it, and the file, until the
            // last completion, or for ever.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            moved += 1;
        }
        drop(queue);
        let transfers = self.pending.drain(..moved);
        self.queued -= transfers.filter(|one| one.get_user_data() != CANCEL_TOKEN).count();
        moved
    }

    fn enter_submitting(&mut self, count: usize) -> Result<(), Errno> {
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed, and the count is that of the kernel's queue, whose
        // entries `fill` answers for.
        self.entered(|ring| unsafe {
            ring.submitter().enter::<()>(queued, count as u32, GETEVENTS, None)
        })
    }

    fn wake_poller(&mut self, full: bool) -> Result<(), Errno> {
        if self.ring.submission().need_wakeup() {
            // SAFETY: no argument is passed; the entries are those of `fill`.
            return self
                .entered(|ring| unsafe { ring.submitter().enter::<()>(0, 0, SQ_WAKEUP, None) });
        }
        if full {
            return self.entered(|ring| ring.submitter().squeue_wait());
        }
        Ok(())
    }

    /// Waits until `count` completions are in the queue or the time is over (ETIME). Submits
    /// nothing.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn wait(&mut self, count: usize, timeout: Option<Duration>) -> Result<(), Errno> {
        if self.polled {
            self.wake_poller(false)?;
        }
        let time = timeout.map(|time| types::Timespec::from(time.max(Duration::from_nanos(1))));
        match &time {
            // SAFETY: nothing is submitted and no argument is passed.
            None => self.entered(|ring| unsafe {
                ring.submitter().enter::<()>(0, count as u32, GETEVENTS, None)
            }),
            Some(time) => {
                let arguments = types::SubmitArgs::new().timespec(time);
                // SAFETY: nothing is submitted; the argument is of the type and size that EXT_ARG
                // announces, and it and the time that it points to outlive the call.
                self.entered(|ring| unsafe {
                    let flags = GETEVENTS | EXT_ARG;
                    ring.submitter().enter(0, count as u32, flags, Some(&arguments))
                })
            }
        }
    }

    /// Enters the kernel. A signal ends a wait early, which is no error: whoever waits for more
    /// looks at what is there and waits again.
    fn entered(&mut self, enter: impl Fn(&IoUring) -> std::io::Result<usize>) -> Result<(), Errno> {
        self.entries += 1;
        match enter(&self.ring) {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INTR) => Ok(()),
                errno => Err(errno.unwrap_or(Errno::IO)),
            },
        }
    }

    /// Brings in completions that wait for this thread, or for room in the queue. No system call
    /// unless there are any.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn poll(&mut self) -> Result<(), Errno> {
        let queue = self.ring.submission();
        let waits = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if waits { self.wait(0, None) } else { Ok(()) }
    }

    /// The next transfer that has ended.
    pub fn take(&mut self) -> Option<TransferDone> {
        loop {
            let entry = self.ring.completion().next()?;
            if entry.user_data() == CANCEL_TOKEN {
                continue;
            }
            let key = Key::from_bits(entry.user_data());
            let transfer = self.table.remove(key).expect("each transfer completes once");
            let result = u32::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(-entry.result()));
            return Some(TransferDone { key, transfer, result });
        }
    }

    /// Transfers that are queued and not submitted.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Transfers that were submitted and not taken.
    pub fn in_flight(&self) -> usize {
        self.table.len() - self.queued
    }

    /// Whether a transfer is queued or in flight.
    pub fn has(&self, key: Key) -> bool {
        self.table.get(key).is_some()
    }

    /// System calls made.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether there are more completions than the completion queue has room for; the kernel
    /// keeps the others until there is.
    pub fn overflowed(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// Completions that the kernel could not keep, for want of memory.
    pub fn lost(&mut self) -> u32 {
        self.ring.completion().overflow()
    }
}

fn set_up_polled(setup: &TransferSetup, idle: Duration) -> std::io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_sqpoll(u32::try_from(idle.as_millis()).unwrap_or(u32::MAX).max(1));
    if let Some(completions) = setup.completions {
        builder.setup_cqsize(completions);
    }
    builder.build(setup.depth)
}

impl Drop for TransferQueue {
    fn drop(&mut self) {
        for entry in self.pending.drain(..) {
            self.table.remove(Key::from_bits(entry.get_user_data()));
        }
        if !self.table.is_empty() {
            // What the kernel refused to take stands in its queue: only what it has can end.
            if !self.polled && !self.ring.submission().is_empty() {
                let _ = self.enter_submitting(0);
            }
            let time = Some(types::Timespec::from(limits::DROP_TURN));
            // What it cannot cancel, or a kernel that does not know the call, is waited for.
            let _ = self.ring.submitter().register_sync_cancel(time, types::CancelBuilder::any());
        }
        for _ in 0..limits::DROP_TURNS_MAX {
            while self.take().is_some() {}
            if self.table.is_empty() {
                return;
            }
            if self.wait(1, Some(limits::DROP_TURN)).is_err_and(|errno| errno != Errno::TIME) {
                break;
            }
        }
        while self.take().is_some() {}
        // The kernel may still write there: the memory is given up for good.
        std::mem::forget(std::mem::replace(&mut self.table, Slab::new(0)));
    }
}

impl std::fmt::Debug for TransferQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransferQueue")
            .field("queued", &self.queued)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
