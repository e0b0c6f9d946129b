//! Connections, listeners, pipes and event counters of the simulated kernel.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;

use crate::base::Instant;
use crate::base::Random;

/// Bytes of a segment: what is held back by MSG_MORE is less than one.
const SEGMENT: usize = 1460;
/// How long it is held back, if nothing follows.
const HOLD: Duration = Duration::from_millis(200);
/// Bytes of a page: what one slot of a pipe holds.
pub(super) const PAGE: usize = 4096;

/// POLLOUT and POLLRDHUP.
const POLL_OUT: u32 = 4;
const POLL_ENDED: u32 = 0x2000;

/// How a client sees the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is open, or there are bytes to read before its end.
    Open,
    /// The server has ended its side, and every byte was read.
    Closed,
    /// The server has reset the connection, or the client has.
    Reset,
}

/// A connection: two streams of bytes.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) inbound: VecDeque<u8>,
    pub(super) inbound_max: usize,
    outbound: VecDeque<u8>,
    outbound_max: usize,
    /// Bytes at the end of `outbound` that wait for more.
    held_back: usize,
    /// Until when they wait at most.
    hold_until: Instant,
    client_ended: bool,
    client_closed: bool,
    /// The client, or the network, has reset the connection.
    reset: bool,
    reset_told: bool,
    server_ended: bool,
    pub(super) server_closed: bool,
    /// The server's close met unread bytes: the client is told by a reset.
    cut: bool,
    /// Sends that the ring has.
    pub(super) sends: u32,
    /// Whether a close resets the connection whatever was read (SO_LINGER of zero).
    pub(super) close_resets: bool,
    pub(super) address: SocketAddr,
    /// Bytes that the server has sent and read, whatever became of them.
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Stream {
    pub(super) fn new(inbound_max: usize, outbound_max: usize) -> Self {
        assert!(inbound_max > 0 && outbound_max > 0, "a socket has buffers");
        Self {
            inbound: VecDeque::new(),
            inbound_max,
            outbound: VecDeque::new(),
            outbound_max,
            held_back: 0,
            hold_until: Instant::default(),
            client_ended: false,
            client_closed: false,
            reset: false,
            reset_told: false,
            server_ended: false,
            server_closed: false,
            cut: false,
            sends: 0,
            close_resets: false,
            address: (Ipv4Addr::LOCALHOST, 40_000).into(),
            sent: 0,
            received: 0,
        }
    }

    /// Who is at the other end.
    pub(super) fn address(&self) -> Result<SocketAddr, Errno> {
        if self.reset { Err(Errno::NOTCONN) } else { Ok(self.address) }
    }

    /// What the client has not taken yet.
    pub(super) fn unacknowledged(&self) -> u32 {
        self.outbound.len() as u32
    }

    /// What a failed send or read does to the connection.
    pub(super) fn reset(&mut self, told: bool) {
        self.reset = true;
        self.reset_told |= told;
        self.inbound.clear();
    }

    /// Whether a poll for reading says yes.
    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.client_ended || self.client_closed || self.reset
    }

    /// Whether a poll for writing says yes: a third of the buffer is free, or a send would fail.
    pub(super) fn is_writable(&self) -> bool {
        let free = self.outbound_max - self.outbound.len();
        self.reset || self.client_closed || self.server_ended || free * 3 >= self.outbound_max
    }

    /// What a poll for writing says, if it completes: the kernel waits for the client's end, too,
    /// whether it was asked to or not.
    pub(super) fn poll_to_write(&self) -> Option<u32> {
        let writable = if self.is_writable() { POLL_OUT } else { 0 };
        let ended = if self.client_ended { POLL_ENDED } else { 0 };
        Some(writable | ended).filter(|events| *events != 0)
    }

    /// Reads as the server; none when it must wait.
    pub(super) fn read(&mut self, room: usize) -> Result<Option<Vec<u8>>, Errno> {
        if self.reset && !self.reset_told {
            self.reset_told = true;
            return Err(Errno::CONNRESET);
        }
        if self.inbound.is_empty() {
            let over = self.reset || self.client_ended || self.client_closed;
            return Ok(over.then(Vec::new));
        }
        let count = room.min(self.inbound.len());
        self.received += count as u64;
        Ok(Some(take_front(&mut self.inbound, count)))
    }

    /// How many bytes a send of the server may move now; zero when the buffer is full.
    pub(super) fn room(&mut self) -> Result<usize, Errno> {
        if self.reset {
            let told = std::mem::replace(&mut self.reset_told, true);
            return Err(if told { Errno::PIPE } else { Errno::CONNRESET });
        }
        if self.server_ended {
            return Err(Errno::PIPE);
        }
        if self.client_closed {
            // What is sent to a client that is gone brings back its reset.
            return Ok(usize::MAX);
        }
        let room = self.outbound_max - self.outbound.len();
        if room == 0 {
            // Who waits for room pushes what was held back.
            self.held_back = 0;
        }
        Ok(room)
    }

    /// Sends as the server; the caller asked for room before.
    pub(super) fn send(&mut self, bytes: &[u8], more: bool, now: Instant) {
        assert!(!self.server_ended && !self.server_closed, "the caller has asked for room");
        self.sent += bytes.len() as u64;
        if self.client_closed {
            self.reset = true;
            return;
        }
        assert!(bytes.len() <= self.outbound_max - self.outbound.len(), "room was asked for");
        self.outbound.extend(bytes);
        let full = self.outbound.len() == self.outbound_max;
        let before = self.held_back;
        self.held_back = if more && !full { (before + bytes.len()) % SEGMENT } else { 0 };
        if before == 0 || before + bytes.len() >= SEGMENT {
            self.hold_until = now + HOLD;
        }
    }

    /// Until when bytes are held back, if some are.
    pub(super) fn holds(&self) -> Option<Instant> {
        (self.held_back > 0).then_some(self.hold_until)
    }

    /// What was held back goes out.
    pub(super) fn push(&mut self) {
        self.held_back = 0;
    }

    /// Ends the server's side.
    pub(super) fn shut(&mut self) -> Result<u32, Errno> {
        if self.reset {
            return Err(Errno::NOTCONN);
        }
        self.server_ended = true;
        self.push();
        Ok(0)
    }

    /// Closes as the server.
    pub(super) fn close(&mut self, random: &mut Random) {
        assert!(!self.server_closed, "a descriptor is closed once");
        self.server_closed = true;
        self.push();
        if self.close_resets || !self.inbound.is_empty() {
            self.cut(random);
        }
    }

    /// A reset of the server overtakes bytes that the client has not read.
    fn cut(&mut self, random: &mut Random) {
        if !self.cut {
            self.cut = true;
            let left = random.below(self.outbound.len() as u64 + 1) as usize;
            self.outbound.truncate(left);
        }
    }

    /// Writes as the client; how many bytes found room.
    pub(super) fn client_writes(&mut self, bytes: &[u8], random: &mut Random) -> usize {
        if self.reset || self.client_ended || self.client_closed {
            return 0;
        }
        if self.server_closed {
            self.cut(random);
            return bytes.len();
        }
        let count = bytes.len().min(self.inbound_max - self.inbound.len());
        self.inbound.extend(&bytes[..count]);
        count
    }

    /// Reads as the client.
    pub(super) fn client_reads(&mut self, room: usize) -> Vec<u8> {
        let count = room.min(self.visible());
        take_front(&mut self.outbound, count)
    }

    /// Bytes that the client may read.
    pub(super) fn visible(&self) -> usize {
        let lost = self.client_closed || self.reset && !self.cut;
        if lost { 0 } else { self.outbound.len() - self.held_back }
    }

    /// How the client sees the end.
    pub(super) fn end(&self) -> End {
        if self.visible() > 0 {
            End::Open
        } else if self.reset || self.cut {
            End::Reset
        } else if self.server_ended || self.server_closed {
            End::Closed
        } else {
            End::Open
        }
    }

    pub(super) fn client_ends(&mut self) {
        self.client_ended = true;
    }

    pub(super) fn client_closes(&mut self) {
        self.client_closed = true;
        // Bytes that were not read are answered by a reset.
        if !self.outbound.is_empty() {
            self.reset(false);
        }
    }
}

/// A listening socket.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Connections that nobody has accepted.
    pub(super) queued: VecDeque<usize>,
    pub(super) closed: bool,
}

/// A pipe: slots of one page, each holding one piece of a page of a file.
#[derive(Debug)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    pieces: VecDeque<usize>,
    slots: usize,
    /// All that was written into it, as far as that was not doubled or moved.
    pub(super) written: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(capacity: u32) -> Self {
        let slots = capacity as usize / PAGE;
        assert!(slots > 0, "a pipe has a page at least");
        Self { bytes: VecDeque::new(), pieces: VecDeque::new(), slots, written: Vec::new() }
    }

    /// Bytes that fit when they begin at an offset in a file.
    pub(super) fn room(&self, offset: u64) -> usize {
        let slots = self.slots - self.pieces.len();
        (slots * PAGE).saturating_sub(offset as usize % PAGE)
    }

    /// Takes bytes of a file in.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(offset), "the caller has asked for room");
        let first = PAGE - offset as usize % PAGE;
        let mut left = bytes.len();
        let mut piece = first.min(left);
        while piece > 0 {
            self.pieces.push_back(piece);
            left -= piece;
            piece = PAGE.min(left);
        }
        self.bytes.extend(bytes);
    }

    /// Gives bytes out.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut left = count;
        while left > 0 {
            let piece = self.pieces.front_mut().expect("the pieces are as long as the bytes");
            let part = left.min(*piece);
            *piece -= part;
            left -= part;
            if *piece == 0 {
                self.pieces.pop_front();
            }
        }
        take_front(&mut self.bytes, count)
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The first bytes by the slots that they lie in, which keep them.
    pub(super) fn first(&self, count: usize) -> Vec<Vec<u8>> {
        let (mut at, mut pieces) = (0, Vec::new());
        for piece in &self.pieces {
            let part = (count - at).min(*piece);
            if part == 0 {
                break;
            }
            pieces.push(self.bytes.range(at..at + part).copied().collect());
            at += part;
        }
        pieces
    }

    /// Takes pieces in, each in a slot of its own; says how many bytes found room.
    pub(super) fn put_pieces(&mut self, pieces: Vec<Vec<u8>>) -> usize {
        let mut count = 0;
        for piece in pieces {
            if self.pieces.len() == self.slots {
                break;
            }
            count += piece.len();
            self.pieces.push_back(piece.len());
            self.bytes.extend(piece);
        }
        count
    }
}

/// The first bytes of a queue, by slices: one at a time is slow in a build for tests.
fn take_front(queue: &mut VecDeque<u8>, count: usize) -> Vec<u8> {
    let (first, second) = queue.as_slices();
    let of_first = count.min(first.len());
    let mut bytes = Vec::with_capacity(count);
    bytes.extend_from_slice(&first[..of_first]);
    bytes.extend_from_slice(&second[..count - of_first]);
    queue.drain(..count);
    bytes
}
