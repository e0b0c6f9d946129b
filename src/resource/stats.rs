//! What the resource counts.

use crate::base::{Counter, Gauge};

/// Figures of one worker's listings.
#[derive(Debug, Default)]
pub struct Stats {
    /// Listings that were made.
    pub listings_made: Counter,
    /// Requests for a listing that was already being made.
    pub listings_shared: Counter,
    /// Listings refused for want of memory or of room at the helpers.
    pub listings_refused: Counter,
    /// Bytes that pages may take in all workers, told by one of them.
    pub budget_bytes: Gauge,
    /// Bytes of pages that are kept or on their way.
    pub page_bytes: Gauge,
}
