//! Signals as values.
//!
//! The signals that steer the server are blocked before any thread starts, so every thread
//! inherits the mask and none is interrupted; they are then read from one descriptor, by the
//! main thread or by a ring. SIGPIPE is already ignored by the Rust runtime.
//!
//! Invariant: [`Signals::block`] runs while the process has one thread. A thread that was
//! started before it would still be killed by SIGTERM.
//!
//! A blocked mask survives exec: a child started by this process must unblock first.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::Signal as Number;

/// A signal that steers the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish what is begun, then end.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGUSR1: open the log files again.
    User1,
    /// SIGUSR2: reserved for handing the listeners over.
    User2,
}

const STEERING: [(Signal, Number, &str); 5] = [
    (Signal::Terminate, Number::TERM, "SIGTERM"),
    (Signal::Interrupt, Number::INT, "SIGINT"),
    (Signal::Hangup, Number::HUP, "SIGHUP"),
    (Signal::User1, Number::USR1, "SIGUSR1"),
    (Signal::User2, Number::USR2, "SIGUSR2"),
];

impl Signal {
    fn from_number(number: u32) -> Option<Self> {
        let row = STEERING.iter().find(|row| u32::try_from(row.1.as_raw()) == Ok(number))?;
        Some(row.0)
    }

    /// The signal of a name, as `SIGTERM`.
    pub fn named(name: &str) -> Option<Self> {
        STEERING.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Whether it asks the server to end.
    pub fn ends(self) -> bool {
        matches!(self, Self::Terminate | Self::Interrupt)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(STEERING.iter().find(|row| row.0 == *self).map_or("signal", |row| row.2))
    }
}

/// The steering signals of this process, in the order in which the kernel hands them out.
///
/// The descriptor is non-blocking and becomes readable when a signal is pending, so a ring
/// may poll it. A signal that comes several times before it is read is read once.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks the steering signals in this thread and in all that it starts, and opens the
    /// descriptor that they are read from.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn block() -> io::Result<Self> {
        let mut set = SignalSet::empty();
        for (_, number, _) in STEERING {
            set.add(number)?;
        }
        set.block()?;
        Ok(Self { fd: set.descriptor()? })
    }

    /// The next pending signal, or `None` when there is none.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub fn take(&self) -> io::Result<Option<Signal>> {
        let mut record = [0; RECORD_BYTES];
        loop {
            match rustix::io::read(&self.fd, &mut record) {
                Ok(RECORD_BYTES) => {
                    // signalfd_siginfo begins with ssi_signo, 32 bits in native order.
                    let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
                    let signal = Signal::from_number(number);
                    return Ok(Some(signal.expect("the descriptor carries steering signals only")));
                }
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for the next signal, until mounts have come or gone, or until the time has passed.
    ///
    /// # Errors
    /// When the descriptor cannot be polled or read.
    pub fn wait_for(&self, time: Duration) -> io::Result<Option<Signal>> {
        if let Some(signal) = self.take()? {
            return Ok(Some(signal));
        }
        super::mounts::wait_for(self.as_fd(), time)?;
        self.take()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Size of struct signalfd_siginfo, signalfd(2).
const RECORD_BYTES: usize = 128;

/// sigset_t as the C library has it: 1024 bits in glibc and in musl, whatever the kernel uses.
#[repr(C)]
struct SignalSet {
    bits: [std::ffi::c_ulong; 128 / size_of::<std::ffi::c_ulong>()],
}

const SIG_BLOCK: c_int =
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 1 } else { 0 };
/// SFD_CLOEXEC and SFD_NONBLOCK have the values of the O_ flags on every architecture.
const FLAGS: c_int =
    rustix::fs::OFlags::CLOEXEC.union(rustix::fs::OFlags::NONBLOCK).bits() as c_int;

// rustix has these calls only in a module that is not part of its stable interface, and the
// raw rt_sigprocmask could mask the signals that the C library needs for itself.
// SAFETY: signatures of sigaddset(3), pthread_sigmask(3) and signalfd(2) in glibc and musl.
// References are what those functions ask for: valid, aligned, of the size of sigset_t;
// a null `old` (None) is allowed. None of them keeps a pointer after it returns.
unsafe extern "C" {
    safe fn sigaddset(set: &mut SignalSet, number: c_int) -> c_int;
    safe fn pthread_sigmask(how: c_int, set: &SignalSet, old: Option<&mut SignalSet>) -> c_int;
    safe fn signalfd(fd: c_int, set: &SignalSet, flags: c_int) -> c_int;
}

impl SignalSet {
    fn empty() -> Self {
        // All bits clear is what sigemptyset writes in both C libraries.
        Self { bits: [0; 128 / size_of::<std::ffi::c_ulong>()] }
    }

    fn add(&mut self, number: Number) -> io::Result<()> {
        if sigaddset(self, number.as_raw()) == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn block(&self) -> io::Result<()> {
        // This one returns its error instead of setting errno.
        match pthread_sigmask(SIG_BLOCK, self, None) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn descriptor(&self) -> io::Result<OwnedFd> {
        let fd = signalfd(-1, self, FLAGS);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is not negative, so signalfd has just opened it for us; nobody else
        // knows its number, so nobody else closes it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // The signals go to the thread alone: the test runner's other threads did not block them.
    #[test]
    fn a_signal_is_read_once_and_by_name() {
        let worker = std::thread::spawn(|| {
            let signals = Signals::block().unwrap();
            assert_eq!(signals.take().unwrap(), None);
            raise_here(Number::USR1);
            raise_here(Number::USR1);
            assert_eq!(signals.wait_for(Duration::from_secs(10)).unwrap().unwrap(), Signal::User1);
            assert_eq!(signals.take().unwrap(), None);
            raise_here(Number::TERM);
            let last = signals.wait_for(Duration::from_secs(10)).unwrap().unwrap();
            assert!(last.ends());
            assert_eq!(last.to_string(), "SIGTERM");
        });
        worker.join().unwrap();
    }

    fn raise_here(number: Number) {
        // SAFETY: raise(3) takes a number and, in a process with threads, signals the caller.
        unsafe extern "C" {
            safe fn raise(number: c_int) -> c_int;
        }
        assert_eq!(raise(number.as_raw()), 0);
    }

    #[test]
    fn names_and_numbers_agree() {
        for (signal, number, name) in STEERING {
            assert_eq!(Signal::from_number(number.as_raw().unsigned_abs()), Some(signal));
            assert_eq!(signal.to_string(), name);
        }
        assert_eq!(Signal::from_number(9), None);
        for (signal, _, name) in STEERING {
            assert_eq!(Signal::named(name), Some(signal));
        }
        assert_eq!(Signal::named("SIGKILL"), None);
    }
}
