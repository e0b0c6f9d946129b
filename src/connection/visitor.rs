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
use crate::http::head::Head;
use crate::http::{forwarded, proxy_header};
use crate::ring::{Op, Socket, Start};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Visitor {
    /// Who is at the other end of the connection, once that was asked or told; none for a unix
    /// socket and for a client that is gone.
    peer: Option<Option<SocketAddr>>,
    /// Whether the peer was named by the header of a proxy.
    introduced: bool,
    /// Whether a header of the PROXY protocol comes first.
    pub(super) awaits_header: bool,
    /// What it counts as among the connections of its address.
    seat: Option<Seat>,
    /// Whether the seat is that of the client of one request.
    seat_of_request: bool,
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
        client: Option<SocketAddr>,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> bool {
        self.awaits_header = false;
        let Some(client) = client else { return true };
        (self.peer, self.introduced) = (Some(Some(client)), true);
        self.is_trusted(socket, cx) || self.sits(cx)
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
        if self.peer.is_none() {
            self.peer = Some(ask_peer(socket, cx));
        }
        self.peer.flatten()
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
            (true, _) => Via::Unknown,
            (false, true) => Via::Trusted,
            (false, false) => Via::Nobody,
        };
        (self.peer(socket, cx).map(|peer| peer.ip()), via)
    }

    fn is_trusted(&mut self, socket: &Socket, cx: &mut Context<'_>) -> bool {
        let peer = self.peer(socket, cx);
        cx.options.bounds.trusted.trusts(peer.map(|peer| peer.ip()))
    }

    /// Takes a seat for the peer; one by a unix socket needs none.
    fn sits(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(seats), Some(peer)) = (&cx.options.bounds.seats, self.peer.flatten()) else {
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
            proxy_header::Parsed::Header { bytes, client } => {
                self.input.consume(bytes);
                self.request = Request::begun_at(cx.io.now());
                if !self.visitor.is_introduced(client, &self.socket, cx) {
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

fn ask_peer(socket: &Socket, cx: &mut Context<'_>) -> Option<SocketAddr> {
    match cx.io.start(Op::Peer { socket: socket.clone(), address: None }) {
        Start::Executed(completion) => match completion.op {
            Some(Op::Peer { address, .. }) => address,
            _ => None,
        },
        Start::Submitted(_) | Start::Blocked(..) | Start::Busy(_) => None,
    }
}
