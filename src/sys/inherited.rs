//! Sockets that a service manager opened for this process (sd_listen_fds(3)): descriptors from 3
//! on, as many as LISTEN_FDS says, when LISTEN_PID is this process.

// Unsafe: taking a number from the environment as a descriptor.
#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// More sockets than any service has.
const COUNT_MAX: usize = 64;

/// What was passed cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InheritedError {
    /// LISTEN_FDS is no number from 1 to 64.
    Count(String),
    /// This descriptor is not a socket that listens.
    NotListening(RawFd),
}

impl fmt::Display for InheritedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(text) => {
                write!(out, "LISTEN_FDS is '{text}'; it must be a number from 1 to {COUNT_MAX}")
            }
            Self::NotListening(fd) => write!(
                out,
                "descriptor {fd}, passed by LISTEN_FDS, is not a socket that listens; pass \
                 listening stream sockets (Accept=no) or unset LISTEN_FDS"
            ),
        }
    }
}

impl std::error::Error for InheritedError {}

/// Takes the sockets that were passed to this process; none the second time. It must be called
/// before this process opens descriptors of its own.
///
/// # Errors
/// When something was passed that cannot be served.
pub fn take() -> Result<Vec<OwnedFd>, InheritedError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let own = std::process::id().to_string();
    let (Ok(pid), Ok(count)) = (std::env::var("LISTEN_PID"), std::env::var("LISTEN_FDS")) else {
        return Ok(Vec::new());
    };
    if pid != own || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let number = count.parse::<usize>().ok().filter(|count| (1..=COUNT_MAX).contains(count));
    let number = number.ok_or(InheritedError::Count(count))?;
    (FIRST..).take(number).map(adopt).collect()
}

fn adopt(number: RawFd) -> Result<OwnedFd, InheritedError> {
    let unfit = |_| InheritedError::NotListening(number);
    // SAFETY: only looked at, before anything is closed; a number that is not open answers EBADF.
    let seen = unsafe { BorrowedFd::borrow_raw(number) };
    if !socket_acceptconn(seen).map_err(unfit)? {
        return Err(InheritedError::NotListening(number));
    }
    // SAFETY: the descriptor is an open listening socket, the service manager passed it to this
    // process by LISTEN_PID for it to own, `take` runs once and before this process has made a
    // socket of its own, so nobody else owns or closes it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(unfit)?;
    let flags = fcntl_getfl(&socket).map_err(unfit)?;
    fcntl_setfl(&socket, flags | OFlags::NONBLOCK).map_err(unfit)?;
    Ok(socket)
}
