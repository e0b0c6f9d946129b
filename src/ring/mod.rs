//! The ring: the one door to the kernel.
//!
//! Owners (connections, the cache, listeners) ask for operations through [`Io`] and are told by
//! [`Wake`]s what became of them. [`Reactor`] keeps what is in flight; [`Uring`] is the kernel
//! that the server runs on. [`TransferQueue`] is a ring of its own for reads and writes of files,
//! on which `batch` stands.

mod buffer;
mod desk;
mod entry;
mod facts;
mod handle;
mod helpers;
mod inline;
mod io;
mod job;
mod links;
mod mount;
mod notices;
mod op;
mod outgoing;
mod pipe;
mod reach;
mod reactor;
mod restrictions;
mod scarce;
mod setup;
pub mod simulated;
mod stats;
mod transfer;
mod transfer_queue;
mod uring;
mod wheel;

pub use buffer::{BufferPool, Lease, Pages};
pub use handle::{Closing, Descriptor, File, Socket, Tap};
pub use helpers::start_helpers;
pub use io::{Event, Io, Kernel, NoPipe, Pool, QueueFull, Wait};
pub use job::{End, Job, Passed, Reader, Step, Way, tells_all_changes};
pub use mount::MountKind;
pub use op::{
    Ask, Completion, Deadline, Facts, FileKind, How, Links, Look, Notice, Obstacle, Op, Scatter,
    Sheet, Start, Ticket, Via, Wake, Watch,
};
pub use outgoing::{Gather, Kept, Outgoing};
pub use pipe::{Pipe, PipeLease};
pub use reactor::{Options, Owner, OwnerIo, Reactor};
pub use restrictions::OPERATIONS;
pub use scarce::Scarce;
pub use setup::{Setup, SetupFault};
pub use stats::{PoolStats, Stats, Technique, TechniqueStats};
pub use transfer::{Buffer, Direction, SharedFile, Transfer};
pub use transfer_queue::{TransferDone, TransferQueue, TransferSetup, TransferSetupFault};
pub use uring::Uring;
