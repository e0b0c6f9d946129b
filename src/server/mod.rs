//! The server: workers, listeners, and how they start and end.
//!
//! [`run`] takes [`Options`] and serves until a signal ends it. Each worker is a thread with a
//! ring, listeners, connections and open files of its own.

mod budgets;
mod control;
mod directories;
mod elder;
mod endpoint;
mod fault;
mod generation;
mod listening;
pub mod options;
mod parts;
mod predecessor;
mod reading;
mod reports;
mod run;
mod shards;
mod standing;
mod succession;
mod watcher;
mod worker;

pub use control::{Control, State};
pub use fault::Fault;
pub use options::Options;
pub use parts::Parts;
pub use run::{End, Reload, run};
pub use worker::Worker;
