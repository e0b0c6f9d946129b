//! Who is at the other end: the peer, or the client that a trusted proxy names.
//!
//! A trusted proxy names its client once for the connection, by the header of the PROXY protocol,
//! or for each request, by X-Forwarded-For. Nobody else is believed.

use std::net::{IpAddr, SocketAddr};

use super::answer::Request;
use super::context::{Context, Door, Via};
use super::machine::{Connection, Next, Turn};
use super::phase::{Phase, Purpose};
use super::seats::Seat;
use super::stats::Farewell;
use crate::http::forwarded;
use crate::http::head::Head;
use crate::http::proxy_header::{self, Origin};
use crate::ring::{Completion, Op, Socket, Start};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Visitor {
    /// Who is at the other end of the connection, once that was asked or told.
    peer: Option<Peer>,
    /// Of whom the header of a proxy says that the connection is.
    introduced: Option<Origin>,
    /// Whether a header of the PROXY protocol comes first.
    pub(super) awaits_header: bool,
    /// What it counts as among the connections of its address.
    seat: Option<Seat>,
    /// Whether the seat is that of the client of one request.
    seat_of_request: bool,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Address(SocketAddr),
    /// Whoever may open the socket.
    Unix,
    /// A client that was gone when it was asked, or nobody could be asked.
    Gone,
}

impl Peer {
    fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unix | Self::Gone => None,
        }
    }
}

/// The client of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    /// Who it is, where a trusted proxy says so.
    pub(super) client: Option<SocketAddr>,
    /// Whether its address has as many connections as it may have.
    pub(super) too_many: bool,
}

impl Visitor {
    /// The connection begins. Whether its address may have another one.
    pub(super) fn arrives(&mut self, door: Door, socket: &Socket, cx: &mut Context<'_>) -> bool {
        let bounds = &cx.options.bounds;
        let limited = bounds.seats.is_some() || bounds.proxy_header;
        if door == Door::Telemetry || !limited {
            return true;
        }
        let trusted = self.is_trusted(socket, cx);
        self.awaits_header = trusted && bounds.proxy_header;
        // A proxy has the connections of many, and each of them counts for itself.
        trusted || self.sits(cx)
    }

    /// Counts from now on, if it did not: others may limit what comes after.
    fn is_counted(&mut self, door: Door, socket: &Socket, cx: &mut Context<'_>) {
        let counts = door == Door::Site && self.seat.is_none() && !self.awaits_header;
        if counts && !self.is_trusted(socket, cx) {
            self.sits(cx);
        }
    }

    /// The header of the proxy has come. Whether the address that it names may have another
    /// connection.
    pub(super) fn is_introduced(
        &mut self,
        of: Origin,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> bool {
        (self.awaits_header, self.introduced) = (false, Some(of));
        match of {
            Origin::Proxy => true,
            // They count together, as one at the address of their proxy.
            Origin::Unknown => self.sits(cx),
            Origin::Client(client) => {
                self.peer = Some(Peer::Address(client));
                self.is_trusted(socket, cx) || self.sits(cx)
            }
        }
    }

    /// The client that a request names, if who brings it is trusted to say so.
    pub(super) fn named_by(
        &mut self,
        head: &Head<'_>,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> Named {
        let bounds = &cx.options.bounds;
        if bounds.trusted.is_nobody() || !head.fields.forwarded || !self.is_trusted(socket, cx) {
            return Named::default();
        }
        let lines = head.fields.all("x-forwarded-for");
        let client = forwarded::client(lines, &bounds.trusted);
        let (Some(seats), Some(client)) = (&bounds.seats, client) else {
            return Named { client, too_many: false };
        };
        if !self.seat.as_ref().is_some_and(|seat| seat.is_of(client.ip())) {
            self.seat = None;
            self.seat = seats.take(client.ip());
            self.seat_of_request = true;
        }
        Named { client: Some(client), too_many: self.seat.is_none() }
    }

    /// Nothing is owed to the client of the last request.
    pub(super) fn rests(&mut self) {
        if std::mem::take(&mut self.seat_of_request) {
            self.seat = None;
        }
    }

    /// Who is at the other end of the connection; asked once.
    pub(super) fn peer(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Option<SocketAddr> {
        self.peer.get_or_insert_with(|| ask_peer(socket, cx)).address()
    }

    /// Who asks, and by whom that is known.
    pub(super) fn asks(
        &mut self,
        named: Named,
        forwarded: bool,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> (Option<IpAddr>, Via) {
        if let Some(client) = named.client {
            return (Some(client.ip()), Via::Trusted);
        }
        let via = match (forwarded, self.introduced) {
            (true, _) | (_, Some(Origin::Unknown)) => Via::Unknown,
            (false, Some(Origin::Client(_))) => Via::Trusted,
            (false, Some(Origin::Proxy) | None) => Via::Nobody,
        };
        (self.peer(socket, cx).map(|peer| peer.ip()), via)
    }

    /// Whether the peer may say for whom it asks. A client that its proxy cannot name may not,
    /// though it comes from where the proxy is.
    fn is_trusted(&mut self, socket: &Socket, cx: &mut Context<'_>) -> bool {
        if self.introduced == Some(Origin::Unknown) {
            return false;
        }
        let peer = *self.peer.get_or_insert_with(|| ask_peer(socket, cx));
        let trusted = &cx.options.bounds.trusted;
        match peer {
            Peer::Address(address) => trusted.trusts(Some(address.ip())),
            Peer::Unix => trusted.trusts(None),
            Peer::Gone => false,
        }
    }

    /// Takes a seat for the peer; one by a unix socket needs none.
    fn sits(&mut self, cx: &mut Context<'_>) -> bool {
        let peer = self.peer.and_then(Peer::address);
        let (Some(seats), Some(peer)) = (&cx.options.bounds.seats, peer) else {
            return true;
        };
        self.seat = seats.take(peer.ip());
        self.seat.is_some()
    }
}

impl Connection {
    /// Counts it among those of its address, although they are not limited where it is served.
    pub fn takes_a_seat(&mut self, cx: &mut Context<'_>) {
        self.visitor.is_counted(self.door(), &self.socket, cx);
    }

    /// Takes in what a trusted proxy says of its client before the first request.
    pub(super) fn take_proxy_header(&mut self, cx: &mut Context<'_>) -> Next {
        match proxy_header::parse(self.input.bytes()) {
            proxy_header::Parsed::Partial => self.phase = Phase::Awaiting(Purpose::Head),
            proxy_header::Parsed::Bad => {
                return Next::Rest(Turn::Finished(Farewell::ProxyHeader));
            }
            proxy_header::Parsed::Header { bytes, of } => {
                self.input.consume(bytes);
                self.request = Request::begun_at(cx.io.now());
                if !self.visitor.is_introduced(of, &self.socket, cx) {
                    return Next::Rest(Turn::Finished(Farewell::AddressTooMany));
                }
                if self.input.is_empty() {
                    self.phase = Phase::Awaiting(Purpose::Head);
                }
            }
        }
        Next::Again
    }
}

fn ask_peer(socket: &Socket, cx: &mut Context<'_>) -> Peer {
    match cx.io.start(Op::Peer { socket: socket.clone(), address: None }) {
        Start::Executed(Completion {
            op: Some(Op::Peer { address, .. }), result: Ok(_), ..
        }) => address.map_or(Peer::Unix, Peer::Address),
        // One that has reset is not connected any more (getpeername(2)), whatever its family was.
        _ => Peer::Gone,
    }
}
