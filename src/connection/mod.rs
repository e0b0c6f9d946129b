//! Connections: from the first byte of a request to the last byte of its answer.
//!
//! A [`Connection`] is a step machine without a descriptor of its own doing: wakes come in,
//! operations go out through [`crate::ring::Io`], and each step says with a [`Turn`] how it left
//! off. `phase.rs` holds the state diagram, `answer.rs` and `refusing.rs` what is owed for a
//! request, `outbox.rs` what is owed in all.

mod answer;
mod aside;
mod choosing;
mod context;
mod deadlines;
mod input;
mod machine;
mod notice;
mod options;
mod outbox;
mod pace;
mod parts;
mod phase;
mod recording;
mod refusing;
mod relief;
mod seats;
mod sending;
mod stats;
mod uptake;
mod visitor;

pub use aside::Aside;
pub use context::{Answer, Context, Door, Endpoint, Freshness, Made, Question, Via};
pub use machine::{Connection, Turn};
pub use options::{Bounds, Options};
pub use relief::Given;
pub use seats::{Seats, Taken};
pub use stats::{Farewell, Stage, Stats};
