//! Parts of what is put into the submission queue that need no operand of their own.

use io_uring::{opcode, squeue, types};
use rustix::fs::{OFlags, ResolveFlags};

use super::links::Links;
use super::op::How;

pub(super) const POLL_IN: u32 = 1;
pub(super) const POLL_PRIORITY: u32 = 2;
pub(super) const POLL_OUT: u32 = 4;

pub(super) fn poll(fd: i32, events: u32) -> squeue::Entry {
    opcode::PollAdd::new(types::Fd(fd), events).build()
}

pub(super) fn send_flags(more: bool) -> i32 {
    let mut flags = rustix::net::SendFlags::NOSIGNAL;
    if more {
        flags |= rustix::net::SendFlags::MORE;
    }
    flags.bits() as i32
}

/// Always for reading, without blocking on a FIFO, without becoming a controlling terminal, and
/// never leaving the directory.
pub(super) fn open_how(how: How) -> types::OpenHow {
    if how.anywhere {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return types::OpenHow::new().flags(u64::from(flags.bits()));
    }
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if how.direct {
        flags |= OFlags::DIRECT;
    }
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match how.links {
        Links::Followed => {}
        Links::NotLast => flags |= OFlags::NOFOLLOW,
        Links::Refused => resolve |= ResolveFlags::NO_SYMLINKS,
    }
    if how.stays() {
        resolve |= ResolveFlags::NO_XDEV;
    }
    types::OpenHow::new().flags(u64::from(flags.bits())).resolve(resolve.bits())
}
