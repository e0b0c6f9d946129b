//! Watches over memory that the kernel owns.
//!
//! Where a read goes is filled with a mark when the operation is submitted, as a kernel may
//! write there at any time; at its event the mark must be untouched and at the same address.
//! What a send is to take is remembered, and must be the same at its event.

use crate::ring::op::Op;

/// Operands in memory of an operation in flight.
#[derive(Debug, Default)]
pub(super) enum Memory {
    /// There are none.
    #[default]
    None,
    /// Space that is read to, in two parts.
    Space { places: [(usize, usize); 2], mark: u8 },
    /// Bytes that are sent.
    Bytes { address: usize, bytes: Vec<u8> },
}

impl Memory {
    /// Takes note of what an operation brings, and spoils the space that it gives.
    pub(super) fn of(token: u64, op: &mut Op) -> Self {
        match op {
            Op::Read { .. } | Op::ReadHead { .. } => {
                let mark = 0x5a ^ token as u8;
                let places = space(op).map(|part| {
                    part.fill(mark);
                    (part.as_ptr().addr(), part.len())
                });
                Self::Space { places, mark }
            }
            Op::Send { bytes, .. } | Op::SendZc { bytes, .. } => {
                let bytes = bytes.bytes();
                Self::Bytes { address: bytes.as_ptr().addr(), bytes: bytes.to_vec() }
            }
            _ => Self::None,
        }
    }

    /// Bytes that can be read to.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Space { places: [(_, first), (_, second)], .. } => first + second,
            _ => 0,
        }
    }

    /// Whether the space is aligned for O_DIRECT.
    pub(super) fn is_aligned(&self, alignment: u32) -> bool {
        let Self::Space { places: [(address, _), _], .. } = self else { return true };
        address.is_multiple_of(alignment as usize)
    }

    /// Checks that nobody else has touched the operands, and delivers what was read.
    pub(super) fn deliver(&self, op: &mut Op, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Space { places, mark } => {
                let mut left = bytes;
                for (part, (address, length)) in space(op).into_iter().zip(places) {
                    assert!(
                        part.as_ptr().addr() == *address && part.len() == *length,
                        "memory moved while the kernel had it"
                    );
                    assert!(
                        part.is_empty() || part[0] == *mark && part[1..] == part[..part.len() - 1],
                        "memory was written to while the kernel had it"
                    );
                    let (now, later) = left.split_at(left.len().min(part.len()));
                    part[..now.len()].copy_from_slice(now);
                    left = later;
                }
                assert!(left.is_empty(), "no more is read than fits");
            }
            Self::Bytes { address, bytes } => {
                let (Op::Send { bytes: now, .. } | Op::SendZc { bytes: now, .. }) = op else {
                    panic!("the operands of a send belong to {op:?} now");
                };
                let now = now.bytes();
                assert!(
                    now.as_ptr().addr() == *address && now == bytes,
                    "memory was written to while the kernel sent it"
                );
            }
        }
    }
}

/// The space that an operation reads to.
fn space(op: &mut Op) -> [&mut [u8]; 2] {
    match op {
        Op::Read { buffer, range, .. } => {
            [&mut buffer[range.start as usize..range.end as usize], &mut []]
        }
        Op::ReadHead { parts, .. } => parts.free(),
        other => panic!("the operands of a read belong to {other:?} now"),
    }
}
