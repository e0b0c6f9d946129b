//! What is counted of the whole server.

use crate::base::Counter;

/// What became of configurations, and who took this server's place.
#[derive(Debug, Default)]
pub struct Stats {
    /// Configurations that were taken in place of an earlier one.
    pub reloads: Counter,
    /// Configurations that were refused, so that the earlier one stayed.
    pub refused: Counter,
    /// Successors that asked for the listeners.
    pub hand_overs: Counter,
}
