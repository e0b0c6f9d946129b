//! The ring: the one door to the kernel.
//!
//! Owners (connections, the cache, listeners) ask for operations through [`Io`] and are told by
//! [`Wake`]s what became of them. [`Reactor`] keeps what is in flight; [`Uring`] is the kernel
//! that the server runs on.

mod buffer;
mod handle;
mod inline;
mod io;
mod op;
mod pipe;
mod reactor;
pub mod simulated;
mod stats;
mod uring;
mod wheel;

pub use buffer::{BufferPool, Lease};
pub use handle::{Closing, Descriptor, File, Socket};
pub use io::{Event, Io, Kernel, NoPipe, Pool, QueueFull, Wait};
pub use op::{
    Completion, Deadline, Facts, FileKind, How, Obstacle, Op, Outgoing, Scatter, Start, Ticket,
    Wake,
};
pub use pipe::{Pipe, PipeLease};
pub use reactor::{Options, Owner, OwnerIo, Reactor};
pub use stats::{PoolStats, Stats, Technique, TechniqueStats};
pub use uring::{Setup, SetupFault, Uring};
