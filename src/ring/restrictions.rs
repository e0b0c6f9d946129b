//! What a ring may be asked for: nothing but what the server asks. A seccomp filter does not see
//! inside of a ring, so the ring is told itself, while it is disabled and can do nothing yet. That
//! holds for this ring: io_uring_setup(2) stays allowed, since a reload makes rings, and a ring
//! that whoever took the process over would make has no restrictions.

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};

/// The operations that the server asks of a ring, and the first kernel with each of them.
pub const OPERATIONS: &[(&str, u8, &str)] = &[
    ("accept", opcode::Accept::CODE, "5.5"),
    ("async_cancel", opcode::AsyncCancel::CODE, "5.5"),
    ("close", opcode::Close::CODE, "5.6"),
    ("fadvise", opcode::Fadvise::CODE, "5.6"),
    ("openat2", opcode::OpenAt2::CODE, "5.6"),
    ("poll_add", opcode::PollAdd::CODE, "5.1"),
    ("read", opcode::Read::CODE, "5.6"),
    ("read_fixed", opcode::ReadFixed::CODE, "5.1"),
    ("readv", opcode::Readv::CODE, "5.1"),
    ("send", opcode::Send::CODE, "5.6"),
    ("sendmsg", opcode::SendMsg::CODE, "5.3"),
    ("shutdown", opcode::Shutdown::CODE, "5.11"),
    ("statx", opcode::Statx::CODE, "5.6"),
];

/// IORING_REGISTER_BUFFERS: memory is registered once the ring runs.
const REGISTER_BUFFERS: u8 = 0;

/// Has a disabled ring refuse everything else with EACCES, for as long as it lives.
///
/// # Errors
/// Those of io_uring_register(2): EINVAL where the kernel has no restrictions (before 5.10), EBUSY
/// where there are some already.
pub(super) fn restrict(ring: &IoUring) -> std::io::Result<()> {
    let operations = OPERATIONS.iter().map(|(_, code, _)| Restriction::sqe_op(*code));
    // Operations of mounts that may block are told to run apart; no other flag is used.
    let flags = Restriction::sqe_flags_allowed(squeue::Flags::ASYNC.bits());
    let others = [flags, Restriction::register_op(REGISTER_BUFFERS)];
    let mut all: Vec<_> = operations.chain(others).collect();
    ring.submitter().register_restrictions(&mut all)
}
