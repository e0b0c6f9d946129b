//! What a connection is given for one step.

use std::net::IpAddr;
use std::rc::Rc;

use super::aside::Aside;
use super::options::Options;
use super::stats::Stats;
use crate::access_log::Log;
use crate::base::Instant;
use crate::cache::{Blocks, OpenFiles};
use crate::engines;
use crate::http::date::DateLine;
use crate::http::head::Head;
use crate::http::media::Media;
use crate::http::response::FieldEdit;
use crate::http::status::Status;
use crate::http::tag::Tag;
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
    /// Blocks of files.
    pub blocks: &'a Blocks,
    /// Listings of directories.
    pub listings: &'a mut Listings,
    /// What is served.
    pub site: &'a Site,
    /// Limits.
    pub options: &'a Options,
    /// Memory for what those hold who wait for a disk.
    pub aside: &'a Aside,
    /// Figures of connections.
    pub stats: &'a Stats,
    /// Figures of engines.
    pub engines: &'a engines::Stats,
    /// The Date of answers, as of this turn.
    pub date: &'a DateLine,
    /// Answers that are made and not read from a file.
    pub endpoint: &'a mut dyn Endpoint,
    /// By which listener the connection came.
    pub door: Door,
    /// Whether the worker accepts new connections.
    pub ready: bool,
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

/// By which listener a connection came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// One for the site.
    #[default]
    Site,
    /// One for telemetry alone: nothing of the site is served there.
    Telemetry,
}

/// Who asks an [`Endpoint`], and when.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Who is woken when an answer was waited for.
    pub owner: Owner,
    /// When the request began.
    pub since: Instant,
    /// Whether the worker accepts new connections.
    pub ready: bool,
    /// By whom it is known who asks.
    pub via: Via,
}

/// By whom it is known who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// By the connection: nobody stands between.
    #[default]
    Nobody,
    /// By a proxy that is trusted to name its clients.
    Trusted,
    /// By nobody: a proxy that is not trusted stands between.
    Unknown,
}

/// Paths that the server answers itself, such as its telemetry.
pub trait Endpoint {
    /// Whether a path is one of them, so that the client's address is worth asking for.
    fn is_at(&self, door: Door, path: &[u8]) -> bool;

    /// The answer. `peer` is none for a unix socket.
    fn answer(&mut self, head: &Head<'_>, peer: Option<IpAddr>, question: Question) -> Answer;

    /// Whether `work` has to be called in the next turn.
    fn has_work(&self) -> bool {
        false
    }

    /// Goes on with what answers wait for, a piece of a turn. Whether it wants the next turn, too;
    /// else it is called again when there is work, or at the deadline that it set.
    fn work(&mut self, _io: &mut dyn Io) -> bool {
        false
    }

    /// The next owner whose question may be answered now.
    fn next_woken(&mut self) -> Option<Owner> {
        None
    }
}

/// Nothing is answered but files.
impl Endpoint for () {
    fn is_at(&self, _: Door, _: &[u8]) -> bool {
        false
    }

    fn answer(&mut self, _: &Head<'_>, _: Option<IpAddr>, _: Question) -> Answer {
        Answer::Nothing
    }
}

/// What an [`Endpoint`] says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This client may not know that there is one.
    Nothing,
    /// This.
    Made(Made),
    /// It is being made; the owner is woken.
    Waiting,
    /// Too much is on its way.
    Overloaded,
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
    /// Whether it may be kept.
    pub freshness: Freshness,
    /// Whether it depends on Accept.
    pub varies: bool,
    /// What a document may do, as a field.
    pub policy: Option<FieldEdit>,
}

/// Whether an answer may be kept by the client (RFC 9111 section 5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is of this moment: `no-store`.
    Once,
    /// It may be asked for again by its tag: `no-cache`.
    Tagged(Tag),
}

impl Made {
    /// An answer of this moment.
    pub fn new(status: Status, media: Media<'static>, body: Rc<[u8]>) -> Self {
        Self { status, media, body, freshness: Freshness::Once, varies: false, policy: None }
    }
}
