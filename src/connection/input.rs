//! The bytes that came and were not used yet.
//!
//! They lie in one buffer: the small one, or the large one when they did not fit there. Without
//! bytes there is no buffer.

use crate::ring::{Io, Lease, Pool, Scatter};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Option<Lease>,
    start: usize,
    end: usize,
    /// Whether the last read filled all the room it had, so that more may wait in the kernel.
    filled: bool,
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
        let Some(mut buffer) = self.buffer.take() else {
            let small = io.lease(Pool::Head)?;
            // Without the large part the read is shorter, and that is all.
            let large = io.lease(Pool::LargeHead);
            return Some(Scatter { small: Some(small), large, filled: 0 });
        };
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end < buffer.len() {
            return Some(Scatter { small: Some(buffer), large: None, filled: self.end });
        }
        let Some(mut large) = io.lease(Pool::LargeHead) else {
            self.buffer = Some(buffer);
            return None;
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
        self.buffer = (end > 0).then_some(buffer);
    }
}
