//! Connections: from the first byte of a request to the last byte of its answer.

mod stats;

pub use stats::{Farewell, Stats};
