//! The control block of one asynchronous operation: all of the unsafe code about it.
//!
//! Invariants, for every [`Control`] that was started and whose result was not yet taken:
//!
//! - the block is a heap allocation of its own that is reached only through the pointer, never by
//!   a reference, so the C library may change it at any time;
//! - `memory` is present, and nothing reads or writes its bytes, whose address does not depend on
//!   where the owner lies (the promise of the sealed trait [`Memory`]);
//! - `file` keeps the descriptor open.
//!
//! [`Control`]'s `Drop` keeps them to the end: it does not return before the library is done. A
//! control that is leaked keeps them for ever. The library is done with the block when aio_error
//! says anything but EINPROGRESS: glibc changes the code and sends the notice under one lock,
//! which aio_error takes; musl copies what it needs before it changes the code.
//!
//! glibc (seen in 2.36) loses operations when one is cancelled that is next in its descriptor's
//! queue, but not taken by a thread yet: those behind it are marked as runnable, but no thread is
//! told, and they wait for ever. So only the last operation that was started on a descriptor is
//! ever cancelled alone, as nothing is behind it; [`Queue`] knows which one that is.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libc::{aiocb, c_int};
use rustix::io::Errno;

use super::super::Memory;
use super::signal::Notice;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Sync,
    SyncData,
}

/// The answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The operation will not run; its result is [`super::AioError::Cancelled`].
    Cancelled,
    /// It runs already, or others were started after it on its descriptor, and it ends with its own
    /// result.
    NotCancelled,
    /// It was done before.
    AlreadyDone,
}

/// A descriptor, and which of the operations on it was started last.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) fd: OwnedFd,
    /// The number of the last operation that was started and not cancelled. Changed only under
    /// [`ORDER`], in which operations are started and cancelled one at a time.
    last: AtomicU64,
}

/// One lock for all descriptors, as a list may name several. The C library has one, too.
static ORDER: Mutex<()> = Mutex::new(());

fn in_order() -> MutexGuard<'static, ()> {
    // The lock holds no data that a panic could leave half changed.
    ORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub(super) fn new(fd: OwnedFd) -> Queue {
        Queue { fd, last: AtomicU64::new(0) }
    }

    /// Cancels all operations on the descriptor that do not run yet.
    pub(super) fn cancel_all(&self) -> Cancellation {
        // SAFETY: the descriptor is open; null means all of its operations, whose blocks are live
        // as long as they are in progress.
        cancellation(unsafe { libc::aio_cancel(self.fd.as_raw_fd(), ptr::null_mut()) })
    }

    /// The number of an operation that is being started; under [`ORDER`].
    fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn cancellation(code: c_int) -> Cancellation {
    match code {
        libc::AIO_CANCELED => Cancellation::Cancelled,
        libc::AIO_ALLDONE => Cancellation::AlreadyDone,
        // AIO_NOTCANCELED, or -1 where a library cannot tell: it ends by itself.
        _ => Cancellation::NotCancelled,
    }
}

/// Why [`suspend`] returned.
pub(super) enum Woken {
    Done,
    TimedOut,
    Interrupted,
}

/// A control block on the heap, from `Box::into_raw`; freed by the [`Control`] that made it.
pub struct Block(NonNull<aiocb>);

impl Block {
    /// True while the operation is queued or runs.
    fn in_progress(&self) -> bool {
        self.error_code() == libc::EINPROGRESS
    }

    fn error_code(&self) -> c_int {
        // SAFETY: the pointer is to a live aiocb, as a block is freed only by the drop of its
        // control, and this borrow keeps that from happening. aio_error reads its error code
        // under the library's lock and may run beside other calls.
        unsafe { libc::aio_error(self.0.as_ptr()) }
    }
}

enum State {
    /// The library does not know the block.
    Idle,
    /// The block was handed over. With `doubt`, as part of a list of which some could not be.
    Started { doubt: bool },
    /// The result was taken, after which the library knows the block no more.
    Returned(Result<usize, Errno>),
}

/// One operation: its block and what the block points to.
pub(super) struct Control<M: Memory> {
    block: Block,
    kind: Kind,
    state: State,
    /// Present until `into_memory`.
    memory: Option<M>,
    file: Arc<Queue>,
    /// Its number in the queue, from 1 when it is started.
    number: u64,
}

// SAFETY: the C library's functions may be called for one block from any thread, the block is not
// bound to the thread that made it, and no other handle to it exists. The memory, the only part of
// the user's choice, is `Send` by the bound on `Memory`.
unsafe impl<M: Memory> Send for Control<M> {}

impl<M: Memory> Control<M> {
    pub(super) fn new(
        kind: Kind,
        file: Arc<Queue>,
        mut memory: M,
        offset: u64,
        notice: Option<Notice>,
    ) -> Control<M> {
        let zeroed = MaybeUninit::<aiocb>::zeroed();
        // SAFETY: aiocb is a C structure of integers and nullable pointers; zero is a value of
        // each of them, and what aio(7) asks for before the fields are set.
        let mut block = unsafe { zeroed.assume_init() };
        let bytes = memory.bytes_mut();
        block.aio_fildes = file.fd.as_raw_fd();
        block.aio_buf = bytes.as_mut_ptr().cast();
        block.aio_nbytes = bytes.len();
        block.aio_offset =
            libc::off_t::try_from(offset).expect("the request's offset was checked to fit");
        block.aio_lio_opcode = match kind {
            Kind::Read => libc::LIO_READ,
            Kind::Write => libc::LIO_WRITE,
            Kind::Sync | Kind::SyncData => libc::LIO_NOP,
        };
        block.aio_sigevent = Notice::event(notice);
        let block = Block(NonNull::from(Box::leak(Box::new(block))));
        Control { block, kind, state: State::Idle, memory: Some(memory), file, number: 0 }
    }

    /// Hands the block to the library.
    pub(super) fn start(&mut self) -> Result<(), Errno> {
        assert!(matches!(self.state, State::Idle), "an operation is started once");
        let block = self.block.0.as_ptr();
        let _order = in_order();
        let code = match self.kind {
            // SAFETY: the block is live, initialised and unknown to the library; its buffer is
            // `memory`, valid for writes of aio_nbytes bytes, owned by this control and left alone
            // until the library is done, which `drop` waits for; its descriptor is open as long.
            Kind::Read => unsafe { libc::aio_read(block) },
            // SAFETY: as for aio_read, and the buffer is valid for reads.
            Kind::Write => unsafe { libc::aio_write(block) },
            // SAFETY: as for aio_read; a sync uses no buffer.
            Kind::Sync => unsafe { libc::aio_fsync(libc::O_SYNC, block) },
            // SAFETY: as for aio_read; a sync uses no buffer.
            Kind::SyncData => unsafe { libc::aio_fsync(libc::O_DSYNC, block) },
        };
        if code != 0 {
            return Err(last_errno());
        }
        self.number = self.file.next_number();
        self.state = State::Started { doubt: false };
        Ok(())
    }

    /// Hands all the blocks to the library at once. Those that it does not take are done, with
    /// EAGAIN.
    pub(super) fn start_list(controls: &mut [Control<M>], notice: Option<Notice>) {
        let blocks: Vec<*mut aiocb> =
            controls.iter().map(|control| control.block.0.as_ptr()).collect();
        let count = c_int::try_from(blocks.len()).expect("the list's length was checked");
        let mut event = Notice::event(notice);
        let _order = in_order();
        // SAFETY: `blocks` holds `count` pointers to live blocks, for each of which the conditions
        // of aio_read and aio_write hold as in `start`; the array and the event are copied before
        // the call returns, as LIO_NOWAIT does not wait.
        let code =
            unsafe { libc::lio_listio(libc::LIO_NOWAIT, blocks.as_ptr(), count, &raw mut event) };
        for control in controls {
            control.number = control.file.next_number();
            control.state = State::Started { doubt: code != 0 };
        }
    }

    pub(super) fn block(&self) -> &Block {
        &self.block
    }

    pub(super) fn is_done(&self) -> bool {
        match self.state {
            State::Started { .. } => !self.block.in_progress(),
            State::Idle | State::Returned(_) => true,
        }
    }

    /// The result, taken from the library the first time; none while in progress.
    pub(super) fn result(&mut self) -> Option<Result<usize, Errno>> {
        let doubt = match self.state {
            State::Returned(result) => return Some(result),
            State::Started { doubt } => doubt,
            State::Idle => return None,
        };
        let code = self.block.error_code();
        if code == libc::EINPROGRESS {
            return None;
        }
        // SAFETY: the block is live and was started, aio_error has said that it is done, and the
        // state shows that its result was not taken before.
        let count = unsafe { libc::aio_return(self.block.0.as_ptr()) };
        let result = match (code, usize::try_from(count)) {
            // A block that lio_listio did not take is as it was, zeroed, and looks like a transfer
            // of no bytes. To say that it did not run is safe for either: a write never moves
            // none, and a read at the end of the file finds the same end again.
            (0, Ok(0)) if doubt => Err(Errno::AGAIN),
            (0, Ok(count)) => Ok(count),
            (code, _) if code > 0 => Err(Errno::from_raw_os_error(code)),
            _ => Err(Errno::IO),
        };
        self.state = State::Returned(result);
        Some(result)
    }

    pub(super) fn cancel(&self) -> Cancellation {
        if !matches!(self.state, State::Started { .. }) {
            return Cancellation::AlreadyDone;
        }
        let _order = in_order();
        let is_last = self.file.last.load(Ordering::Relaxed) == self.number;
        if !is_last {
            let done = !self.block.in_progress();
            return if done { Cancellation::AlreadyDone } else { Cancellation::NotCancelled };
        }
        // SAFETY: the block is live and was started for this descriptor, which is open; its result
        // was not taken.
        let code = unsafe { libc::aio_cancel(self.file.fd.as_raw_fd(), self.block.0.as_ptr()) };
        let answer = cancellation(code);
        if answer == Cancellation::Cancelled {
            // The one before it is the last now, and can be cancelled in its turn.
            self.file.last.store(self.number - 1, Ordering::Relaxed);
        }
        answer
    }

    /// The memory of an operation whose result was taken.
    pub(super) fn into_memory(mut self) -> M {
        assert!(matches!(self.state, State::Returned(_)), "the library may use the memory");
        self.memory.take().expect("memory is present until it is taken, which consumes the control")
    }

    /// The memory of an operation that the library did not take.
    pub(super) fn into_memory_unstarted(mut self) -> M {
        assert!(matches!(self.state, State::Idle), "the library may use the memory");
        self.memory.take().expect("memory is present until it is taken, which consumes the control")
    }
}

impl<M: Memory> Drop for Control<M> {
    /// Cancels, and waits until the library has let go of the block and the memory.
    fn drop(&mut self) {
        if matches!(self.state, State::Started { .. }) {
            self.cancel();
            while self.block.in_progress() {
                if suspend(&[&self.block], None).is_err() {
                    std::thread::yield_now();
                }
            }
            let returned = self.result().is_some();
            assert!(returned, "an operation that is done has a result");
        }
        // SAFETY: the pointer is from Box::leak in `new`, which is the only place that makes one,
        // and is not used after this drop. The library does not use it: the state is Idle or
        // Returned here.
        drop(unsafe { Box::from_raw(self.block.0.as_ptr()) });
    }
}

/// Waits until one of the blocks is done, once.
pub(super) fn suspend(blocks: &[&Block], timeout: Option<Duration>) -> Result<Woken, Errno> {
    let list: Vec<*const aiocb> =
        blocks.iter().map(|block| block.0.as_ptr().cast_const()).collect();
    let count = c_int::try_from(list.len()).map_err(|_| Errno::INVAL)?;
    let timeout = timeout.map(timespec);
    let limit = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `list` holds `count` pointers to blocks that are live while `blocks` borrows them;
    // `limit` is null or points to `timeout`, which outlives the call. aio_suspend only reads the
    // blocks, and treats those that are not in progress, for whatever reason, as done.
    let code = unsafe { libc::aio_suspend(list.as_ptr(), count, limit) };
    if code == 0 {
        return Ok(Woken::Done);
    }
    match last_errno() {
        Errno::AGAIN => Ok(Woken::TimedOut),
        Errno::INTR => Ok(Woken::Interrupted),
        errno => Err(errno),
    }
}

/// A span of time for the C library; longer ones than it can express are cut to what it can.
pub(super) fn timespec(span: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// The thread's errno, just after a call that failed.
pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
