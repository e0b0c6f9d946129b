//! Completion by signal: a real-time signal for each operation, received with sigtimedwait(2).
//!
//! The C library sends it to the process, so the kernel may deliver it to any thread that does not
//! block it. Make the receiver in `main`, before other threads start: they inherit the block. So
//! that a thread without it cannot be killed, the signal gets a handler that does nothing; the
//! notice is lost then, and the operation is found done by the other ways of waiting. A notice is
//! also lost when more signals wait than RLIMIT_SIGPENDING allows.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::{Duration, Instant};

use libc::{c_int, sigset_t};
use rustix::io::Errno;

use super::AioError;
use super::control::{last_errno, timespec};

/// Sent when an operation is done; made by [`CompletionSignals::notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    signal: c_int,
    cookie: usize,
}

impl Notice {
    /// The C library's form of a notice, or of none.
    pub(super) fn event(notice: Option<Notice>) -> libc::sigevent {
        let zeroed = MaybeUninit::<libc::sigevent>::zeroed();
        // SAFETY: sigevent is a C structure of integers and nullable pointers; zero is a value of
        // each of them.
        let mut event = unsafe { zeroed.assume_init() };
        event.sigev_notify = libc::SIGEV_NONE;
        if let Some(Notice { signal, cookie }) = notice {
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = signal;
            event.sigev_value.sival_ptr = ptr::without_provenance_mut(cookie);
        }
        event
    }
}

/// Receives the notices of operations that are done.
///
/// It belongs to the thread that made it, which alone is sure to block the signal. The block and
/// the handler stay when it is dropped: a notice may still be on its way.
///
/// ```
/// use pitcrew::techniques::posix_aio::{AioFile, CompletionSignals, Request};
/// use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signals = CompletionSignals::new(3)?; // SIGRTMIN+3, in main, before any thread
/// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
/// let read = Request::read(&file, vec![0; 16], 0).notify(signals.notice(77)).start()?;
/// match signals.wait(Duration::from_millis(100)) {
///     Ok(cookie) => assert_eq!(cookie, 77),
///     Err(_) => read.wait(None)?, // the notice went to a thread that did not block it
/// }
/// assert!(read.is_done());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CompletionSignals {
    signal: c_int,
    /// Neither `Send` nor `Sync`: the signal mask is the thread's.
    thread: PhantomData<*const ()>,
}

extern "C" fn do_nothing(_signal: c_int) {}

impl CompletionSignals {
    /// Blocks the real-time signal SIGRTMIN + `number` in this thread and the threads it starts.
    ///
    /// # Errors
    ///
    /// [`AioError::NoSuchSignal`] above SIGRTMAX; [`AioError::SignalInUse`] if the program handles
    /// or ignores the signal.
    pub fn new(number: u8) -> Result<CompletionSignals, AioError> {
        let signal = libc::SIGRTMIN() + c_int::from(number);
        if signal > libc::SIGRTMAX() {
            return Err(AioError::NoSuchSignal { number });
        }
        // The block comes first, so that not even a notice of another receiver is lost here.
        let set = set_of(signal);
        // SAFETY: `set` is an initialised set that outlives the call; the old mask is not asked
        // for, which null says.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
        if code != 0 {
            return Err(AioError::Kernel(Errno::from_raw_os_error(code)));
        }
        take_disposition(signal)?;
        Ok(CompletionSignals { signal, thread: PhantomData })
    }

    /// A notice that carries `cookie`, which [`CompletionSignals::wait`] answers with.
    #[must_use]
    pub fn notice(&self, cookie: usize) -> Notice {
        Notice { signal: self.signal, cookie }
    }

    /// Sleeps until a notice comes, and answers with its cookie. Other signals do not end the
    /// wait, and the same signal sent by anyone but the C library's AIO is dropped.
    ///
    /// # Errors
    ///
    /// [`AioError::TimedOut`].
    pub fn wait(&self, timeout: Duration) -> Result<usize, AioError> {
        let set = set_of(self.signal);
        let end = Instant::now().checked_add(timeout);
        loop {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            let limit = timespec(left);
            let zeroed = MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: siginfo_t is a C structure of integers; zero is a value of each of them.
            let mut info = unsafe { zeroed.assume_init() };
            // SAFETY: `set` and `limit` are initialised, `info` is writable, and all three outlive
            // the call.
            let code =
                unsafe { libc::sigtimedwait(&raw const set, &raw mut info, &raw const limit) };
            if code == self.signal {
                if info.si_code == libc::SI_ASYNCIO {
                    // SAFETY: the kernel fills in the value for queued signals, of which
                    // SI_ASYNCIO is one; it was set from a cookie, or by another sender to some
                    // number, and is never dereferenced.
                    let value = unsafe { info.si_value() };
                    return Ok(value.sival_ptr.addr());
                }
                continue;
            }
            match last_errno() {
                Errno::AGAIN => return Err(AioError::TimedOut),
                Errno::INTR => {}
                errno => return Err(AioError::Kernel(errno)),
            }
        }
    }
}

/// Replaces the default action, which ends the process, by a handler that does nothing.
fn take_disposition(signal: c_int) -> Result<(), AioError> {
    let zeroed = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction is a C structure of integers and a nullable function pointer; zero is a
    // value of each of them, and means the default action, no flags and the empty mask.
    let mut action = unsafe { zeroed.assume_init() };
    let mut before = action;
    // SAFETY: `signal` is a real-time signal; null leaves its action alone; `before` is writable.
    let code = unsafe { libc::sigaction(signal, ptr::null(), &raw mut before) };
    if code != 0 {
        return Err(AioError::Kernel(last_errno()));
    }
    let ours = do_nothing as extern "C" fn(c_int) as libc::sighandler_t;
    if before.sa_sigaction == ours {
        return Ok(());
    }
    if before.sa_sigaction != libc::SIG_DFL {
        return Err(AioError::SignalInUse);
    }
    action.sa_sigaction = ours;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and names a handler of the type that goes without
    // SA_SIGINFO; the handler does nothing, so it is safe at any moment.
    let code = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(AioError::Kernel(last_errno())) }
}

fn set_of(signal: c_int) -> sigset_t {
    let zeroed = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: sigset_t is an array of integers, for which zero is a value.
    let mut set = unsafe { zeroed.assume_init() };
    // SAFETY: `set` is a writable set.
    let emptied = unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: `set` is a writable, initialised set, and `signal` a valid number.
    let added = unsafe { libc::sigaddset(&raw mut set, signal) };
    assert!(emptied == 0 && added == 0, "a set of one valid signal can be made");
    set
}
