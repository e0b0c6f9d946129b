//! The access log: a record for each answer, through a pipe, without holding anybody up.
//!
//! ```text
//! worker:      Asked -> Record -> Template -> Log (buffer) -> pipe, and an entry in its ledger
//! log thread:  entry by entry: splice to the one sink, or tee to a pipe for each of several
//! sink thread: (with several) entry by entry: splice to the sink
//! ```
//!
//! The pipe carries bytes, the ledger their boundaries. A [`Log`] is a worker's side, which never
//! blocks; [`Threads`] are the other side, which may. Only files below `thread` touch the kernel.
//!
//! A record that finds no room is dropped and counted, and the log has a line that says how many
//! are missing; no record and no marker can be forged by a request (`escape.rs`).

mod escape;
mod ledger;
mod log;
mod marker;
pub mod options;
mod record;
mod stats;
mod template;
mod thread;

pub use ledger::{Entry, Kind, Reader, Writer, ledger};
pub use log::Log;
pub use options::Options;
pub use record::{Asked, Mirrored, Record};
pub use stats::{SinkNumber, SinkStats, Stats};
pub use thread::{Feed, Threads, simulated};
