//! Reads and writes by the batch, on an io_uring of the program's own.
//!
//! - [`Batch`]: queue reads and writes without a system call, submit all of them with one, wait
//!   for as many as are needed
//! - [`PredictiveReader`]: reads ahead on such a queue what the pattern of the reads foretells
//!
//! Rests on io_uring(7), io_uring_setup(2), io_uring_enter(2) and io_uring_register(2). Needs
//! kernel 5.19 or later, and a sandbox that allows io_uring: [`SetupError`] says what is in the
//! way. A queue belongs to the thread that made it.
//!
//! # Ownership
//!
//! A transfer owns its memory and a share of its file until it is done, and gives the memory back
//! with the [`Completion`]. Dropping a [`Batch`] with transfers in flight cancels them and waits
//! until the kernel has let go; what was queued and not submitted never happens. Whatever the
//! kernel does not let go of within 16 seconds (a file system that hangs) is leaked, not freed.

mod error;
mod predictive;
mod queue;

pub use crate::ring::{Buffer, SharedFile, TransferSetup as Setup};
pub use error::{BatchError, NotQueued, Registration, SetupError};
pub use predictive::{PredictiveReader, ReadError};
pub use queue::{Batch, Completion, Counts, Id};
