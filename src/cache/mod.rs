//! The cache: open files and what is known of them, so that a request for a known name costs no
//! operation.
//!
//! [`OpenFiles`] maps a path beneath one of the served directories to a [`Found`]: an open file
//! with its facts and its precompressed neighbours, a directory, or the answer that nothing is
//! there. An entry is used as long as nothing has happened to the directories on the way to it,
//! where these are watched; else it is looked up again once it is older than the revalidation
//! time; while a disk does not answer that, what is open stands in. Lengths and validators come
//! from statx of the very descriptor that is sent.
//!
//! [`Tenure`] learns how long the page cache keeps what is read into it, and [`Recall`] remembers
//! when files were asked for.
//!
//! [`Blocks`] keeps what the engine `direct` has read of files, block by block, in a pool of a
//! fixed size; [`crate::eviction`] chooses who gives way in it.

mod beneath;
mod blocks;
mod freshness;
mod hashing;
mod hot;
mod load;
mod lookup;
mod moving;
mod open_files;
mod parts;
mod patience;
mod proof;
mod queue;
mod recall;
mod residency;
mod seen;
mod starved;
mod stats;
mod tenure;
mod tree;
mod version;
mod watches;

pub use beneath::{Beneath, MountPoints};
pub use blocks::{Ahead, Answer, BlockOptions, BlockReader, Blocks, Loan, Wait};
pub use lookup::{Asker, Found, Lookup, Options};
pub use open_files::OpenFiles;
pub use proof::{Proof, ReadFault, Verdict};
pub use recall::{Before, Recall};
pub use stats::Stats;
pub use tenure::Tenure;
pub use tree::{Directory, Tree};
pub use version::{Digest, Direct, Lines, LinesKey, Name, OpenDirectory, Version};
