//! The paths that the server answers itself: its telemetry.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::options::Telemetry;
use crate::connection::{Endpoint, Made};
use crate::http::head::{Head, Method};
use crate::http::media::Media;
use crate::http::status::Status;
use crate::telemetry::{About, Shard, snapshot};

/// The figures of all workers, at one path.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) options: Telemetry,
    pub(super) shards: Arc<Vec<Shard>>,
    pub(super) engine: &'static str,
    pub(super) ring_setup: &'static str,
    pub(super) started: Instant,
}

impl Endpoint for Figures {
    fn is_at(&self, path: &[u8]) -> bool {
        self.options.on && path == self.options.path.as_bytes()
    }

    fn answer(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Option<Made> {
        let asked = matches!(head.method, Method::Get | Method::Head);
        if !asked || !self.options.allow.permits(peer, head.fields.forwarded) {
            return None;
        }
        let about = About {
            engine: self.engine,
            ring_setup: self.ring_setup,
            uptime: self.started.elapsed(),
        };
        Some(Made {
            status: Status::Ok,
            media: Media::new("application/json"),
            body: snapshot(&self.shards, &about).to_json().into(),
        })
    }
}
