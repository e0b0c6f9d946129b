//! The broker: a small process that does for a confined server what that can do no more.
//!
//! The server starts it before it confines itself: the same program with the same arguments and
//! environment, which finds out by [`role()`] what it is. The broker is not confined and stays who
//! started it. It reads the configuration itself, from the same flags, variables and file, and does
//! nothing but what that configuration names: it starts log programs, opens log files again, binds
//! listeners and the place of a hand-over, removes the path of a unix socket, and starts a
//! successor. Whatever else it is asked for it refuses, and says so in the log. So a server that
//! was taken over gains nothing by it that the operator did not write.
//!
//! Where the server may write above a file of the configuration, that is true of the configuration
//! of the start alone: the broker reads no other one then, and starts no successor.
//!
//! What touches paths that others may write to (log files, the place of a hand-over, programs) is
//! done by a process of its own that becomes the server's user first (`deed.rs`): the broker of a
//! root opens no such path as root. Unix sockets that are listened on are the exception: their
//! directory is often root's, so the broker itself binds their paths, and removes them, sockets
//! alone and by way of their directory.
//!
//! Both speak by messages (`wire.rs`) over a pair of sockets. The broker has one thread and answers
//! one request after the other. It ends when the server's end closes, however that came about; a
//! broker that ended is said once, the server goes on, and what would need it fails with its
//! reason. Nobody waits for an answer longer than
//! [`BROKER_PATIENCE`](crate::limits::BROKER_PATIENCE).

mod client;
mod deed;
pub mod options;
mod permits;
mod program;
mod role;
mod serving;
mod stats;
mod wire;

pub use client::{Broker, Denied};
pub use options::{File, Options};
pub use program::Program;
pub use role::{ROLE, Role, role};
pub use serving::{Read, serve};
pub use stats::Stats;
