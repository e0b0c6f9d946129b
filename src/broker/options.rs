//! What the configuration says of what may be asked.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use crate::sys::Listen;
use crate::techniques::synchronous::Durability;

/// Everything that a server of one configuration may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Addresses that are listened on, for the site and for telemetry.
    pub listen: Vec<Listen>,
    /// How many workers listen.
    pub workers: usize,
    /// Files of the access log.
    pub files: Vec<File>,
    /// Commands of log programs.
    pub programs: Vec<String>,
    /// Where a successor asks for the listeners.
    pub hand_over: Option<PathBuf>,
    /// Who the server becomes.
    pub user: Option<String>,
    /// Why the files of the configuration are not to be read again, if they could be written by the
    /// server.
    pub exposed: Option<String>,
}

impl Options {
    /// A number that two processes of one program agree on if they read the same.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }
}

/// A file of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, as it was configured.
    pub path: PathBuf,
    /// What must be on the device when a write to it returns.
    pub durability: Option<Durability>,
}
