//! What a connection is given for one step.

use std::net::IpAddr;
use std::rc::Rc;

use super::options::Options;
use super::stats::Stats;
use crate::access_log::Log;
use crate::cache::OpenFiles;
use crate::engines;
use crate::http::date::DateLine;
use crate::http::head::Head;
use crate::http::media::Media;
use crate::http::status::Status;
use crate::resource::{Listings, Site};
use crate::ring::{Io, Owner};

/// The worker, as a connection sees it for one step.
pub struct Context<'a> {
    /// The connection's view of the kernel.
    pub io: &'a mut dyn Io,
    /// The connection's name at the ring.
    pub owner: Owner,
    /// Open files.
    pub cache: &'a mut OpenFiles,
    /// Listings of directories.
    pub listings: &'a mut Listings,
    /// What is served.
    pub site: &'a Site,
    /// Limits.
    pub options: &'a Options,
    /// Figures of connections.
    pub stats: &'a Stats,
    /// Figures of engines.
    pub engines: &'a engines::Stats,
    /// The Date of answers, as of this turn.
    pub date: &'a DateLine,
    /// Answers that are made and not read from a file.
    pub endpoint: &'a dyn Endpoint,
    /// Whether the server ends: every answer says that the connection closes.
    pub draining: bool,
    /// The access log, if there is one.
    pub log: Option<&'a mut Log>,
    /// Room for a path.
    pub path: &'a mut Vec<u8>,
    /// A number that no client can foresee, different at each use.
    pub nonce: &'a mut dyn FnMut() -> u128,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Paths that the server answers itself, such as its telemetry.
pub trait Endpoint {
    /// Whether a path is one of them, so that the client's address is worth asking for.
    fn is_at(&self, path: &[u8]) -> bool;

    /// The answer, or none if this client may not know that there is one. `peer` is none for a
    /// unix socket.
    fn answer(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Option<Made>;
}

/// An answer that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its status.
    pub status: Status,
    /// The type of its body.
    pub media: Media<'static>,
    /// Its body.
    pub body: Rc<[u8]>,
}
