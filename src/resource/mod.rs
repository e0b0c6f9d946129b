//! The resource: from the target of a request to a file, a redirect or a refusal, by the rules
//! of the site.
//!
//! The order of the rules: host, redirect, mount, path, file, listing, fallback, page of the
//! refusal, fields. Each is asked once, and what one has decided no later one changes but for the
//! fields.
//!
//! | rule | goes by | which counts |
//! | --- | --- | --- |
//! | host | authority without port | the whole name, then the longest wildcard, else the first |
//! | redirect | path as asked, with its slash | the first in the file |
//! | mount | start of the path | the longest |
//! | fallback | a name without a dot that is not there, in the root | |
//! | page | status of the refusal | |
//! | fields | path of the file that is sent, else as asked | all; the last of a field |
//! | CORS | path as asked | the first in the file |
//!
//! [`Site::resolve`] is asked again each time something it waited for is known; what it found
//! before comes from the cache, so that it keeps no state of its own. Where no rule is configured
//! none is looked for: a request then costs one comparison for each kind of rule. What rules say
//! of an open file is kept with it.

mod fields;
mod host;
mod listings;
mod names;
pub mod options;
mod site;
mod stats;

pub use fields::{Asked, Known, Marks};
pub use listings::{Listed, Listings, Page, PageMemory, Wanted};
pub use options::Options;
pub use site::{At, HostId, Listable, Resolution, Site};
pub use stats::Stats;
