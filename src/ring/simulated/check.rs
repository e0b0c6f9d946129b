//! Watches over memory that the kernel owns.
//!
//! Where a read goes is filled with a mark when the operation is submitted, as a kernel may
//! write there at any time; at its event the mark must be untouched and at the same address.
//! What a send is to take is remembered, and must be the same at its event.

use crate::ring::op::Op;
use crate::ring::outgoing::Outgoing;

/// Operands in memory of an operation in flight.
#[derive(Debug, Default)]
pub(super) enum Memory {
    /// There are none.
    #[default]
    None,
    /// Space that is read to, in two parts.
    Space { places: [(usize, usize); 2], mark: u8 },
    /// Bytes that are sent, with the places where they lie and their lengths.
    Bytes { places: Vec<(usize, usize)>, bytes: Vec<u8> },
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
            _ => {
                let parts = outgoing(op);
                match parts.is_empty() {
                    true => Self::None,
                    false => Self::Bytes { places: places(parts), bytes: joined(parts) },
                }
            }
        }
    }

    /// Bytes that can be read to.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Space { places: [(_, first), (_, second)], .. } => first + second,
            _ => 0,
        }
    }

    /// Bytes that are sent.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes { bytes, .. } => bytes,
            _ => &[],
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
            Self::Bytes { places: before, bytes } => {
                let parts = outgoing(op);
                assert!(
                    places(parts) == *before && joined(parts) == *bytes,
                    "memory was written to while the kernel sent it, or belongs to {op:?} now"
                );
            }
        }
    }
}

/// What an operation sends.
fn outgoing(op: &Op) -> &[Outgoing] {
    match op {
        Op::Send { bytes, .. } => std::slice::from_ref(bytes),
        Op::SendMsg { parts, .. } => parts.parts(),
        _ => &[],
    }
}

fn places(parts: &[Outgoing]) -> Vec<(usize, usize)> {
    parts.iter().map(|part| (part.bytes().as_ptr().addr(), part.len())).collect()
}

fn joined(parts: &[Outgoing]) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|part| part.bytes()).collect();
    parts.concat()
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
