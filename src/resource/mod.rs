//! The resource: from the target of a request to a file, a redirect or a refusal, by the rules
//! of the site.
//!
//! [`Site::resolve`] is asked again each time something it waited for is known; what it found
//! before comes from the cache, so that it keeps no state of its own.

mod listings;
mod site;
mod stats;

pub use listings::{Listed, Listings, Page, PageMemory, Wanted};
pub use site::{Asker, Options, Resolution, Site};
pub use stats::Stats;
