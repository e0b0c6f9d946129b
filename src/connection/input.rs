//! The bytes that came and were not used yet.
//!
//! They lie in one buffer: the small one, or the large one when they did not fit there; or, since a
//! disk was waited for, in memory of their own. Without bytes there is no buffer.

use std::ops::{Deref, DerefMut};

use super::aside::SetAside;
use crate::limits::{HEAD_BUFFER_BYTES, READ_BYTES_MIN};
use crate::ring::{Io, Lease, Pool, Scatter};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
    /// Whether the last read filled all the room it had, so that more may wait in the kernel.
    filled: bool,
}

#[derive(Debug)]
enum Buffer {
    Leased(Lease),
    Aside(SetAside),
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Leased(lease) => lease,
            Self::Aside(aside) => aside,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Leased(lease) => lease,
            Self::Aside(aside) => aside,
        }
    }
}

impl Input {
    /// The bytes, in order.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.start..self.end])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether bytes may still lie in the kernel.
    pub(super) fn may_have_more(&self) -> bool {
        self.filled || !self.is_empty()
    }

    /// Which pool the buffer is of that holds bytes.
    pub(super) fn holds(&self) -> Option<Pool> {
        match self.buffer.as_ref()? {
            Buffer::Leased(lease) => lease.pool(),
            Buffer::Aside(_) => None,
        }
    }

    /// Has the bytes lie in a copy of them; the buffer goes home.
    pub(super) fn lie_in(&mut self, copy: SetAside) {
        debug_assert!(*copy == *self.bytes(), "they are the same");
        (self.start, self.end) = (0, copy.len());
        self.buffer = Some(Buffer::Aside(copy));
    }

    /// Gives up the first `count` bytes, and the buffer with the last of them.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "only what came can be used");
        self.start += count;
        if self.start == self.end {
            self.buffer = None;
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives up `count` bytes that begin `at` bytes behind the first.
    pub(super) fn cut(&mut self, at: usize, count: usize) {
        let from = self.start + at;
        assert!(from + count <= self.end, "only what came can be used");
        if let Some(buffer) = &mut self.buffer {
            buffer.copy_within(from + count..self.end, from);
        }
        self.end -= count;
    }

    /// The room for the next read; none when there is no buffer to be had now. The bytes that
    /// are here move into it and come back with [`Input::put`].
    pub(super) fn room(&mut self, io: &mut dyn Io) -> Option<Scatter> {
        let mut buffer = match self.buffer.take() {
            Some(Buffer::Leased(buffer)) => buffer,
            Some(Buffer::Aside(aside)) => {
                let bytes = self.start..self.end;
                let fits = bytes.len() <= HEAD_BUFFER_BYTES;
                let Some(mut buffer) = io.lease(if fits { Pool::Head } else { Pool::LargeHead })
                else {
                    self.buffer = Some(Buffer::Aside(aside));
                    return None;
                };
                buffer[..bytes.len()].copy_from_slice(&aside[bytes.clone()]);
                (self.start, self.end) = (0, bytes.len());
                buffer
            }
            None => {
                let small = io.lease(Pool::Head)?;
                // Without the large part the read is shorter, and that is all.
                let large = io.lease_if_free(Pool::LargeHead);
                return Some(Scatter { small: Some(small), large, filled: 0 });
            }
        };
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // Where little room is left, behind a head that nearly fills the small part, a body would
        // come in bits: the large part is taken then, but only waited for when there is none.
        let large = match buffer.len() - self.end {
            READ_BYTES_MIN.. => None,
            1.. => io.lease_if_free(Pool::LargeHead),
            0 => match io.lease(Pool::LargeHead) {
                Some(large) => Some(large),
                None => {
                    self.buffer = Some(Buffer::Leased(buffer));
                    return None;
                }
            },
        };
        let Some(mut large) = large else {
            return Some(Scatter { small: Some(buffer), large: None, filled: self.end });
        };
        assert!(large.len() > self.end, "the large part holds every head that is not refused");
        large[..self.end].copy_from_slice(&buffer[..self.end]);
        Some(Scatter { small: None, large: Some(large), filled: self.end })
    }

    /// Takes back the buffers of a read that brought `count` bytes.
    pub(super) fn put(&mut self, parts: Scatter, count: usize) {
        let Scatter { small, large, filled } = parts;
        let end = filled + count;
        let (buffer, room) = match (small, large) {
            (Some(small), Some(mut large)) => {
                let room = large.len();
                if end > small.len() {
                    let spill = small.len();
                    large[..spill].copy_from_slice(&small);
                    (large, room)
                } else {
                    (small, room)
                }
            }
            (Some(one), None) | (None, Some(one)) => {
                let room = one.len();
                (one, room)
            }
            (None, None) => unreachable!("a read has a buffer"),
        };
        assert!(end <= buffer.len(), "the kernel fills no more than the room");
        self.filled = end == room;
        self.start = 0;
        self.end = end;
        self.buffer = (end > 0).then_some(Buffer::Leased(buffer));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connection::Aside;
    use crate::limits::LARGE_HEAD_BUFFER_BYTES;
    use crate::ring::simulated::{Simulated, World};
    use crate::ring::{Options, Reactor, Stats};

    fn reactor(large: usize) -> Reactor<Simulated> {
        let options = Options {
            rings: 1,
            operations_max: 8,
            owners_max: 8,
            pools: [
                (HEAD_BUFFER_BYTES, 2),
                (LARGE_HEAD_BUFFER_BYTES, large),
                (4096, 1),
                (4096, 1),
                (4096, 0),
            ],
            pipes_max: 1,
            pipe_bytes: 4096,
            turn_bytes: 4096,
            shared_turn_bytes: 4096,
        };
        Reactor::new(World::new(1).kernel(), options, Stats::default().into(), |_, _| None).unwrap()
    }

    /// Input that holds so many bytes in its small part.
    fn holding(bytes: usize, io: &mut dyn Io) -> Input {
        let mut input = Input::default();
        let mut parts = input.room(io).unwrap();
        parts.large = None;
        parts.free()[0][..bytes].fill(b'x');
        input.put(parts, bytes);
        input
    }

    fn room(parts: &mut Scatter) -> usize {
        parts.free().iter().map(|part| part.len()).sum()
    }

    #[test]
    fn a_head_that_nearly_fills_its_buffer_leaves_room_for_a_body() {
        for bytes in [1, 3000, 4000, HEAD_BUFFER_BYTES - 1, HEAD_BUFFER_BYTES] {
            let mut reactor = reactor(1);
            let owner = reactor.register().unwrap();
            let mut input = holding(bytes, &mut reactor.io(owner));
            let mut parts = input.room(&mut reactor.io(owner)).unwrap();
            assert!(room(&mut parts) >= READ_BYTES_MIN, "{bytes}: {}", room(&mut parts));
            input.put(parts, 0);
            assert_eq!(input.bytes(), vec![b'x'; bytes]);
        }
    }

    #[test]
    fn what_was_set_aside_is_read_on_behind_itself() {
        let mut reactor = reactor(1);
        let owner = reactor.register().unwrap();
        let aside = Aside::new(1 << 20, Arc::default());
        for bytes in [10, HEAD_BUFFER_BYTES + 3, HEAD_BUFFER_BYTES + 4] {
            let mut input = Input::default();
            let mut parts = input.room(&mut reactor.io(owner)).unwrap();
            parts.free().into_iter().for_each(|part| part.fill(b'x'));
            input.put(parts, bytes);
            input.consume(1);
            input.lie_in(aside.keep(input.bytes(), 7).unwrap());
            assert_eq!((input.holds(), reactor.leased().0), (None, [0; 5]));
            input.consume(1);
            input.cut(2, 1);
            let left = input.bytes().len();
            let pool = if left <= HEAD_BUFFER_BYTES { Pool::Head } else { Pool::LargeHead };
            let taken: Vec<_> =
                std::iter::from_fn(|| reactor.io(owner).lease_if_free(pool)).collect();
            assert!(input.room(&mut reactor.io(owner)).is_none());
            assert_eq!(input.bytes().len(), left, "what came stays");
            drop(taken);
            let mut parts = input.room(&mut reactor.io(owner)).unwrap();
            assert!(room(&mut parts) > 0);
            input.put(parts, 0);
            assert_eq!(input.bytes(), vec![b'x'; left]);
        }
    }

    #[test]
    fn the_large_part_is_waited_for_only_when_there_is_no_room_at_all() {
        let mut reactor = reactor(1);
        let owner = reactor.register().unwrap();
        let _taken = reactor.io(owner).lease(Pool::LargeHead).unwrap();
        let mut input = holding(HEAD_BUFFER_BYTES - 1, &mut reactor.io(owner));
        let mut parts = input.room(&mut reactor.io(owner)).unwrap();
        assert_eq!(room(&mut parts), 1);
        input.put(parts, 1);
        assert!(input.room(&mut reactor.io(owner)).is_none());
        assert_eq!(input.bytes().len(), HEAD_BUFFER_BYTES, "what came stays");
    }
}
