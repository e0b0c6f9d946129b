//! The server: workers, listeners, and how they start and end.
//!
//! [`run`] takes [`Options`] and serves until a signal ends it. Each worker is a thread with a
//! ring, listeners, connections and open files of its own.

mod endpoint;
mod listening;
pub mod options;
mod reports;
mod run;
mod worker;

pub use options::Options;
pub use run::{End, Fault, run};
pub use worker::{Control, Parts, State, Worker};
