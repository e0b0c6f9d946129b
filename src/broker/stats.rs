//! What is counted of requests to the broker, where they are made.

use crate::base::Counter;

/// Figures of the server's side.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests that were granted.
    pub granted: Counter,
    /// Requests that the configuration does not name.
    pub refused: Counter,
    /// Requests that were allowed and could not be done, or found no broker.
    pub failed: Counter,
}
