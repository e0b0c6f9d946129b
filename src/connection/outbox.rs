//! What is owed to the client: bytes and spans of files, in order.
//!
//! Heads and small bodies of several answers gather in one buffer, so that they leave in one
//! send. Each answer remembers where its bytes end in the stream of the connection; it is done
//! when the kernel has taken them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use super::parts::Parts;
use super::uptake::Uptake;
use crate::access_log::Asked;
use crate::base::Instant;
use crate::cache::Version;
use crate::engines::{Kind, Trail};
use crate::http::negotiate::Coding;
use crate::http::sink::HeadWriter;
use crate::http::status::Status;
use crate::limits::{GATHERED_BYTES_MAX, SEND_BYTES_MAX, SHORT_ANSWER_BYTES_MAX};
use crate::ring::{Gather, Io, Kept, Lease, Outgoing, Pool};

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes in memory.
    Bytes(Outgoing),
    /// A part of a file.
    Span(Span),
    /// Parts of a file, each made when its turn comes.
    Parts(Box<Parts>),
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) version: Rc<Version>,
    pub(super) offset: u64,
    pub(super) count: u64,
    /// The engine that is tried first.
    pub(super) kind: Kind,
    /// What it has brought into the page cache.
    pub(super) trail: Trail,
}

impl Span {
    /// What lies behind its first `count` bytes.
    pub(super) fn behind(&self, count: u64) -> Self {
        assert!(count < self.count, "a rest has bytes");
        let version = Rc::clone(&self.version);
        let (offset, count) = (self.offset + count, self.count - count);
        Self { version, offset, count, kind: self.kind, trail: self.trail.clone() }
    }
}

/// An answer that the kernel has not taken whole.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) answer: Ended,
    /// Where its first and its last byte lie in the stream of the connection.
    starts_at: u64,
    ends_at: u64,
    /// When the kernel took its first byte.
    pub(super) first_byte: Option<Instant>,
    /// The engine that moves its body.
    pub(super) engine: &'static str,
    /// What its record tells of its request, if it is recorded.
    pub(super) asked: Option<Box<Asked>>,
    /// Whether its body is of several parts.
    pub(super) in_parts: bool,
    /// Its body in the ledger of the log, and how much of it was mirrored.
    pub(super) mirror: Option<(u32, u64)>,
    /// The client that a trusted proxy named.
    pub(super) client: Option<SocketAddr>,
}

/// What stands for the engine of an answer whose body no engine moves.
const IN_MEMORY: &str = "memory";

/// What an answer is, once it is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) status: Status,
    /// When the first byte of its request came.
    pub(super) begun: Instant,
    /// Bytes of its body.
    pub(super) body: u64,
    pub(super) coding: Coding,
    /// First byte and count of the range that it is, if it is one.
    pub(super) range: Option<(u64, u64)>,
    /// Bytes a second that it may have; 0 is no limit.
    pub(super) rate: u64,
    /// Whether its body is one of a file, which could be mirrored: no notice and no listing.
    pub(super) of_file: bool,
}

impl Ended {
    /// An answer with a body that is neither coded nor a range.
    pub(super) fn new(status: Status, begun: Instant, body: u64) -> Self {
        let (coding, range) = (Coding::Identity, None);
        Self { status, begun, body, coding, range, rate: 0, of_file: false }
    }
}

impl Owed {
    /// How much of it the kernel has taken when it has taken so much in all: in all, and of the
    /// body.
    pub(super) fn sent(&self, taken: u64) -> (u64, u64) {
        let sent = taken.clamp(self.starts_at, self.ends_at) - self.starts_at;
        let head = self.ends_at - self.starts_at - self.answer.body;
        (sent, sent.saturating_sub(head))
    }
}

/// Why bytes could not be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// What is there must be sent first.
    SendFirst,
    /// No buffer is free; the owner is woken when there is one.
    NoBuffer,
    /// It is longer than the largest buffer.
    TooLong,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    segments: VecDeque<Segment>,
    /// The buffer that bytes gather in, behind all segments.
    tail: Option<(Lease, usize)>,
    owed: VecDeque<Owed>,
    /// How fast the client takes what it is sent.
    pub(super) uptake: Uptake,
    /// Bytes put in and bytes that the kernel took, since the connection began.
    put: u64,
    taken: u64,
    /// Where the last answer that is not owed any more ended.
    done: u64,
}

impl Outbox {
    /// Whether nothing is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_none()
    }

    /// Whether the next answer may be put in before this is sent, where so many gather.
    pub(super) fn gathers(&self, depth: usize) -> bool {
        let bytes = self.tail.as_ref().map_or(0, |(_, end)| *end);
        self.segments.is_empty() && bytes < GATHERED_BYTES_MAX && self.owed.len() < depth
    }

    /// Puts in what `write` writes. It may be called again with more room.
    pub(super) fn write(
        &mut self,
        io: &mut dyn Io,
        mut write: impl FnMut(&mut HeadWriter<'_>),
    ) -> Result<(), NoRoom> {
        if self.tail.is_none() {
            self.tail = Some((io.lease(Pool::Answer).ok_or(NoRoom::NoBuffer)?, 0));
        }
        loop {
            let (buffer, end) = self.tail.as_mut().expect("it was just put there");
            let mut room = HeadWriter::new(&mut buffer[*end..]);
            write(&mut room);
            if let Ok(count) = room.finish() {
                *end += count;
                self.put += count as u64;
                return Ok(());
            }
            self.widen(io)?;
        }
    }

    /// The same in memory of its own, for what is short and has to be said although no buffer is
    /// free.
    pub(super) fn write_aside(
        &mut self,
        write: impl FnOnce(&mut HeadWriter<'_>),
    ) -> Result<(), NoRoom> {
        let mut room = [0; SHORT_ANSWER_BYTES_MAX];
        let mut out = HeadWriter::new(&mut room);
        write(&mut out);
        let count = out.finish().map_err(|_| NoRoom::NoBuffer)?;
        self.put_shared(room[..count].into());
        Ok(())
    }

    /// Moves what gathers into a large buffer.
    fn widen(&mut self, io: &mut dyn Io) -> Result<(), NoRoom> {
        let (small, end) = self.tail.as_ref().expect("the caller has it");
        let end = *end;
        if small.len() >= GATHERED_BYTES_MAX {
            return Err(if end > 0 { NoRoom::SendFirst } else { NoRoom::TooLong });
        }
        let large = match end {
            0 => io.lease(Pool::Body),
            // What is there can go; only an empty outbox has to wait.
            _ => io.lease_if_free(Pool::Body),
        };
        let Some(mut large) = large else {
            if end > 0 {
                return Err(NoRoom::SendFirst);
            }
            self.tail = None;
            return Err(NoRoom::NoBuffer);
        };
        large[..end].copy_from_slice(&small[..end]);
        self.tail = Some((large, end));
        Ok(())
    }

    /// Puts in bytes that are shared and not copied.
    pub(super) fn put_shared(&mut self, bytes: Rc<[u8]>) {
        if !bytes.is_empty() {
            self.put += bytes.len() as u64;
            self.close_tail();
            put(&mut self.segments, Segment::Bytes(Outgoing::shared(bytes)));
        }
    }

    /// Puts in bytes that are kept elsewhere, in sends of a bounded size.
    pub(super) fn put_kept(&mut self, bytes: Rc<dyn Kept>) {
        let len = bytes.bytes().len();
        self.put += len as u64;
        self.close_tail();
        for start in (0..len).step_by(SEND_BYTES_MAX) {
            let range = start..len.min(start + SEND_BYTES_MAX);
            put(&mut self.segments, Segment::Bytes(Outgoing::kept(Rc::clone(&bytes), range)));
        }
    }

    /// Puts in a part of a file.
    pub(super) fn put_span(&mut self, version: Rc<Version>, offset: u64, count: u64, kind: Kind) {
        if count > 0 {
            self.put += count;
            self.close_tail();
            put(
                &mut self.segments,
                Segment::Span(Span { version, offset, count, kind, trail: Trail::default() }),
            );
        }
    }

    /// Puts in a body of several parts, of so many bytes in all.
    pub(super) fn put_parts(&mut self, parts: Parts, length: u64) {
        self.put += length;
        self.close_tail();
        put(&mut self.segments, Segment::Parts(Box::new(parts)));
    }

    /// The answer that was put in is whole.
    pub(super) fn end_answer(&mut self, answer: Ended) {
        // Of what lies before it, an interim answer belongs to it.
        let starts_at = self.owed.back().map_or(self.done, |before| before.ends_at);
        assert!(answer.body <= self.put - starts_at, "a body is a part of its answer");
        put(
            &mut self.owed,
            Owed {
                answer,
                starts_at,
                ends_at: self.put,
                first_byte: None,
                engine: IN_MEMORY,
                asked: None,
                in_parts: matches!(self.segments.back(), Some(Segment::Parts(_))),
                mirror: None,
                client: None,
            },
        );
    }

    /// The answer that was put in last: only one with a file behind it is sent before another is
    /// put in.
    pub(super) fn last(&mut self) -> Option<&mut Owed> {
        self.owed.back_mut()
    }

    /// Bytes that the kernel took, since the connection began.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether one answer is owed.
    pub(super) fn is_at_last(&self) -> bool {
        self.owed.len() == 1
    }

    /// Whether the kernel has taken all that is owed.
    pub(super) fn is_taken(&self) -> bool {
        self.owed.back().is_some_and(|last| last.ends_at <= self.taken)
    }

    /// What goes next: bytes with the span behind them, bytes alone, or a span alone; and whether
    /// more follows.
    pub(super) fn next(&mut self) -> Option<(Option<Outgoing>, Option<Span>, bool)> {
        self.close_tail();
        self.unfold();
        let mut bytes = None;
        let mut span = None;
        match self.segments.pop_front()? {
            Segment::Parts(_) => unreachable!("it was unfolded"),
            Segment::Bytes(first) => {
                bytes = Some(first);
                if let Some(Segment::Span(_)) = self.segments.front()
                    && let Some(Segment::Span(second)) = self.segments.pop_front()
                {
                    span = Some(second);
                }
            }
            Segment::Span(first) => span = Some(first),
        }
        Some((bytes, span, !self.segments.is_empty()))
    }

    /// Puts the next part of a body of several before those that are left of it.
    fn unfold(&mut self) {
        let Some(Segment::Parts(parts)) = self.segments.front_mut() else { return };
        let (head, span) = parts.next();
        if span.is_none() {
            self.segments.pop_front();
        }
        if let Some(span) = span {
            self.segments.push_front(Segment::Span(span));
        }
        self.segments.push_front(Segment::Bytes(Outgoing::shared(head)));
    }

    /// What goes in one send with `first`, which [`Self::next`] has given: bytes that follow it.
    /// Whether more follows behind them. They are of `most` bytes at most, where the first is.
    pub(super) fn gather(&mut self, first: Outgoing, most: usize) -> (Gather, bool) {
        let mut parts = Gather::from(first);
        self.unfold();
        while let Some(Segment::Bytes(next)) = self.segments.front()
            && parts.has_room()
            && parts.len() + next.len() <= most
            && let Some(Segment::Bytes(next)) = self.segments.pop_front()
        {
            parts.push(next);
        }
        (parts, !self.segments.is_empty())
    }

    /// Puts bytes back that were not sent whole.
    pub(super) fn put_back(&mut self, parts: Gather) {
        for bytes in parts.into_iter().rev() {
            self.segments.push_front(Segment::Bytes(bytes));
        }
    }

    /// Puts back what was not sent of a span.
    pub(super) fn put_span_back(&mut self, rest: Span) {
        self.segments.push_front(Segment::Span(rest));
    }

    /// Bytes a second that the slowest answer may have of those that are owed; 0 is no limit. An
    /// answer without a limit may stand before it, and they leave in one send.
    pub(super) fn rate(&self) -> u64 {
        let rates = self.owed.iter().map(|owed| owed.answer.rate);
        rates.filter(|rate| *rate > 0).min().unwrap_or(0)
    }

    /// Takes note that the kernel took `count` bytes.
    pub(super) fn took(&mut self, count: u64, now: Instant) {
        self.taken += count;
        assert!(self.taken <= self.put, "the kernel takes no more than is owed");
        for owed in &mut self.owed {
            if owed.starts_at >= self.taken {
                break;
            }
            owed.first_byte.get_or_insert(now);
        }
    }

    /// The next answer that the kernel has taken whole.
    pub(super) fn next_done(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front_if(|owed| owed.ends_at <= self.taken)?;
        self.done = owed.ends_at;
        Some(owed)
    }

    /// Takes back what is owed, if that is one answer and the kernel has taken nothing of it.
    pub(super) fn withdraw(&mut self) -> Option<Owed> {
        let (alone, taken) = (self.owed.len() == 1, self.taken);
        let owed = self.owed.pop_front_if(|owed| alone && owed.starts_at == taken)?;
        self.segments.clear();
        self.tail = None;
        self.put = taken;
        Some(owed)
    }

    /// The next answer that is owed, although it cannot be completed.
    pub(super) fn next_cut(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.done = owed.ends_at;
        Some(owed)
    }

    fn close_tail(&mut self) {
        if let Some((buffer, end)) = self.tail.take()
            && end > 0
        {
            put(&mut self.segments, Segment::Bytes(Outgoing::leased(buffer, 0..end)));
        }
    }
}

/// Puts one behind the others. Most clients ask for one thing at a time and then for nothing, and
/// there may be thousands of them: no place is kept for a second one before there is one.
fn put<T>(queue: &mut VecDeque<T>, one: T) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
    queue.push_back(one);
}
