//! Bytes on their way to a socket.

use std::ops::Range;
use std::rc::Rc;

use super::buffer::Lease;
use super::handle::Socket;
use super::io::Pool;
use super::op::Op;
use crate::limits::GATHER_PARTS_MAX;

/// Bytes to be sent: a range of a leased buffer or of shared memory.
pub struct Outgoing {
    source: Source,
    start: u32,
    end: u32,
}

enum Source {
    Leased(Lease),
    Shared(Rc<[u8]>),
    Kept(Rc<dyn Kept>),
}

/// Bytes in memory that know what they are a part of: their owner sees when nobody sends them
/// any more.
pub trait Kept {
    /// The bytes, always the same, fewer than 4 GiB.
    fn bytes(&self) -> &[u8];
}

impl Kept for Lease {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes are the client's, and many.
        formatter.debug_tuple("Outgoing").field(&(self.start..self.end)).finish()
    }
}

impl Outgoing {
    /// A range of a leased buffer.
    pub fn leased(lease: Lease, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= lease.len(), "a range of the buffer");
        let (start, end) = (range.start as u32, range.end as u32);
        Self { source: Source::Leased(lease), start, end }
    }

    /// All of some shared bytes, fewer than 4 GiB.
    pub fn shared(bytes: Rc<[u8]>) -> Self {
        let end = u32::try_from(bytes.len()).expect("an answer from memory is below 4 GiB");
        Self { source: Source::Shared(bytes), start: 0, end }
    }

    /// A range of kept bytes.
    pub fn kept(bytes: Rc<dyn Kept>, range: Range<usize>) -> Self {
        let len = bytes.bytes().len();
        assert!(range.start <= range.end && range.end <= len, "a range of the bytes");
        assert!(u32::try_from(len).is_ok(), "an answer from memory is below 4 GiB");
        let (start, end) = (range.start as u32, range.end as u32);
        Self { source: Source::Kept(bytes), start, end }
    }

    /// The bytes that are still to be sent.
    pub fn bytes(&self) -> &[u8] {
        let all: &[u8] = match &self.source {
            Source::Leased(lease) => lease,
            Source::Shared(bytes) => bytes,
            Source::Kept(kept) => kept.bytes(),
        };
        &all[self.start as usize..self.end as usize]
    }

    /// How many bytes are still to be sent.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes note that the kernel took `count` bytes.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "the kernel takes no more than it was given");
        self.start += count as u32;
    }

    /// Takes away its first `count` bytes, which can be sent by themselves; none where they lie in
    /// a leased buffer, which has one owner.
    pub fn cut(&mut self, count: usize) -> Option<Self> {
        assert!(count < self.len(), "a rest has bytes");
        let source = match &self.source {
            Source::Leased(_) => return None,
            Source::Shared(bytes) => Source::Shared(Rc::clone(bytes)),
            Source::Kept(kept) => Source::Kept(Rc::clone(kept)),
        };
        let (start, end) = (self.start, self.start + count as u32);
        self.start = end;
        Some(Self { source, start, end })
    }

    /// Which pool the buffer is of that it keeps from others; none if the bytes are shared.
    pub fn pool(&self) -> Option<Pool> {
        match &self.source {
            Source::Leased(lease) => lease.pool(),
            Source::Shared(_) | Source::Kept(_) => None,
        }
    }

    /// The leased buffer, to fill it with something else; none if the bytes are shared.
    pub fn into_lease(self) -> Option<Lease> {
        match self.source {
            Source::Leased(lease) => Some(lease),
            Source::Shared(_) | Source::Kept(_) => None,
        }
    }
}

/// Bytes from several places that leave in one send, in their order. One part takes no memory of
/// its own: most answers have no more.
#[derive(Debug, Default)]
pub struct Gather(Parts);

/// Those that are not sent whole; none is empty.
#[derive(Debug, Default)]
enum Parts {
    #[default]
    None,
    One(Outgoing),
    Many(Vec<Outgoing>),
}

impl Gather {
    /// Puts a part behind the others; one without bytes is dropped. There are
    /// [`GATHER_PARTS_MAX`] at most.
    pub fn push(&mut self, part: Outgoing) {
        if part.is_empty() {
            return;
        }
        assert!(self.has_room(), "a gather send has a bounded number of parts");
        self.0 = match std::mem::take(&mut self.0) {
            Parts::None => Parts::One(part),
            Parts::One(first) => Parts::Many(vec![first, part]),
            Parts::Many(mut parts) => {
                parts.push(part);
                Parts::Many(parts)
            }
        };
    }

    /// The operation that sends it: one part by itself, several in one call.
    pub fn send_to(self, socket: Socket, more: bool) -> Op {
        match self.0 {
            Parts::One(bytes) => Op::Send { socket, bytes, more },
            parts => Op::SendMsg { socket, parts: Self(parts), more },
        }
    }

    /// What such an operation has brought back.
    pub fn of_send(op: Op) -> Self {
        match op {
            Op::Send { bytes, .. } => Self::from(bytes),
            Op::SendMsg { parts, .. } => parts,
            other => unreachable!("{other:?} has no parts to be sent"),
        }
    }

    /// Whether one more part finds room.
    pub fn has_room(&self) -> bool {
        self.parts().len() < GATHER_PARTS_MAX
    }

    /// What is still to be sent.
    pub fn parts(&self) -> &[Outgoing] {
        match &self.0 {
            Parts::None => &[],
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
        }
    }

    /// How many bytes are still to be sent.
    pub fn len(&self) -> usize {
        self.parts().iter().map(Outgoing::len).sum()
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.parts().is_empty()
    }

    /// Which pool the buffer is of that a part of it keeps from others: one has one at most.
    pub fn pool(&self) -> Option<Pool> {
        self.parts().iter().find_map(Outgoing::pool)
    }

    /// Takes note that the kernel took `count` bytes, and lets go of the parts that are through.
    pub fn advance(&mut self, count: usize) {
        let mut left = count;
        let parts = std::mem::take(self);
        for mut part in parts {
            let of_part = left.min(part.len());
            part.advance(of_part);
            left -= of_part;
            self.push(part);
        }
        assert_eq!(left, 0, "the kernel takes no more than it was given");
    }
}

impl IntoIterator for Gather {
    type Item = Outgoing;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Outgoing>, std::vec::IntoIter<Outgoing>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self.0 {
            Parts::None => (None, Vec::new()),
            Parts::One(part) => (Some(part), Vec::new()),
            Parts::Many(parts) => (None, parts),
        };
        one.into_iter().chain(many)
    }
}

impl From<Outgoing> for Gather {
    fn from(part: Outgoing) -> Self {
        let mut gather = Self::default();
        gather.push(part);
        gather
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gather_lets_go_of_what_is_through_and_of_nothing_else() {
        let kept: Rc<dyn Kept> = Rc::new(BYTES);
        let mut gather = Gather::default();
        gather.push(Outgoing::shared(b"head".as_slice().into()));
        gather.push(Outgoing::shared(b"".as_slice().into()));
        gather.push(Outgoing::kept(Rc::clone(&kept), 0..6));
        assert_eq!((gather.len(), gather.parts().len()), (10, 2));
        gather.advance(3);
        assert_eq!(gather.parts()[0].bytes(), b"d");
        gather.advance(2);
        assert_eq!((gather.parts().len(), gather.parts()[0].bytes()), (1, &b"bcdef"[..]));
        assert_eq!(Rc::strong_count(&kept), 2);
        gather.advance(5);
        assert!(gather.is_empty());
        assert_eq!(Rc::strong_count(&kept), 1, "what was sent is let go");
    }

    const BYTES: Bytes = Bytes(*b"abcdef");
    struct Bytes([u8; 6]);
    impl Kept for Bytes {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }
}
