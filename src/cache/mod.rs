//! The cache: open files and what is known of them, so that a request for a known name costs no
//! operation.
//!
//! [`OpenFiles`] maps a path beneath one of the served directories to a [`Found`]: an open file
//! with its facts and its precompressed neighbours, a directory, or the answer that nothing is
//! there. An entry older than the revalidation time is looked up again before it is used. Lengths
//! and validators come from statx of the very descriptor that is sent.

mod load;
mod open_files;
mod stats;
mod tree;
mod version;

pub use open_files::{Asker, Found, Lookup, OpenFiles, Options};
pub use stats::Stats;
pub use tree::{Directory, Tree};
pub use version::{Digest, Direct, Lines, LinesKey, Name, OpenDirectory, Version};
