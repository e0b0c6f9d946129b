//! What keeps a server from starting, or from going on.

use std::fmt;
use std::path::PathBuf;

use crate::sandbox::Refused;
use crate::sys;
use crate::sys::probe::Blocked;
use crate::sys::root::RootError;
use crate::sys::socket::BindError;

/// Why the server could not start or go on.
#[derive(Debug)]
pub enum Fault {
    /// The root cannot be served.
    Root(RootError),
    /// An address cannot be listened on.
    Listen(BindError),
    /// A socket that was passed cannot be served.
    Inherited(sys::inherited::InheritedError),
    /// io_uring cannot be used.
    Ring(Blocked),
    /// A worker cannot have a ring, or not one of this size.
    NoRing(String),
    /// Memory for buffers cannot be had, or the like.
    System(&'static str, std::io::Error),
    /// A worker ended by a fault of its own.
    Worker(String),
    /// The server whose place is to be taken, or the place where this one waits for its successor.
    HandOver(PathBuf, String),
    /// The process that served in this one's place ended without a word.
    Lost,
    /// The process cannot be confined as it was asked to.
    Sandbox(Refused),
    /// Nobody does what a confined server cannot.
    NoBroker(String),
    /// The configuration lies where the server may write.
    Exposed(String),
    /// A later configuration needs what the process has given up.
    Outside(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(error) => error.fmt(out),
            Self::Listen(error) => error.fmt(out),
            Self::Inherited(error) => error.fmt(out),
            Self::Ring(error) => error.fmt(out),
            Self::System(what, error) => write!(out, "{what}: {error}"),
            Self::NoRing(what) => write!(out, "a worker has no ring: {what}"),
            Self::Worker(what) => write!(out, "a worker failed: {what}"),
            Self::Lost => out.write_str(
                "the process that served the last configuration was killed, or failed; its log \
                 says why",
            ),
            Self::Sandbox(refused) => refused.fmt(out),
            Self::NoBroker(why) => write!(
                out,
                "sandbox: there is no broker: {why}; with sandbox = \"auto\" the server starts \
                 without one, and keeps the right to bind addresses and what a log program needs"
            ),
            Self::Exposed(why) => write!(
                out,
                "sandbox: {why}; with sandbox = \"auto\" the server starts, and takes nothing from \
                 a reload that needs the broker"
            ),
            Self::Outside(what) => write!(
                out,
                "{what}; start the server anew, or hand over to a new process (hand-over), which \
                 needs no broker"
            ),
            Self::HandOver(path, what) => write!(out, "hand-over '{}': {what}", path.display()),
        }
    }
}

impl std::error::Error for Fault {}
