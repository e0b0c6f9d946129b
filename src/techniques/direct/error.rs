//! Why a direct transfer did not happen, with the alignment that it needs.

use std::fmt;

use super::super::Error;
use super::super::memory::AlignmentError;
use super::Alignment;

/// An operand of a transfer that has an alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The offset in the file.
    Offset,
    /// The length of the transfer.
    Length,
    /// The address of the memory.
    Address,
}

/// An operand that is not aligned, and what it must be a multiple of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaligned {
    /// Which operand.
    pub operand: Operand,
    /// Its value in bytes.
    pub value: u64,
    /// What it must be a multiple of, in bytes.
    pub needed: usize,
}

impl fmt::Display for Unaligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unaligned { value, needed, .. } = self;
        match self.operand {
            Operand::Offset => write!(f, "the offset {value}")?,
            Operand::Length => write!(f, "the length {value}")?,
            Operand::Address => write!(f, "the memory address {value:#x}")?,
        }
        write!(f, " is not a multiple of {needed} bytes, which O_DIRECT needs here (EINVAL)")
    }
}

/// Why a direct transfer did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectError {
    /// The file system has no direct transfers for this file; buffered ones work.
    NotSupported,
    /// The descriptor was opened without O_DIRECT.
    NotDirect,
    /// An operand is not aligned.
    Unaligned(Unaligned),
    /// The kernel says EINVAL although all operands have the alignment that is known, so the
    /// file needs a larger one, or has stopped to allow direct transfers.
    Refused {
        /// What is known.
        alignment: Alignment,
    },
    /// The buffer does not hold the aligned block around the range.
    BufferTooSmall {
        /// The buffer's size in bytes.
        size: usize,
        /// The size in bytes that is needed.
        needed: usize,
    },
    /// The buffer for the test read could not be made.
    Buffer(AlignmentError),
    /// Any other error.
    Io(Error),
}

impl From<Error> for DirectError {
    fn from(error: Error) -> DirectError {
        DirectError::Io(error)
    }
}

impl From<AlignmentError> for DirectError {
    fn from(error: AlignmentError) -> DirectError {
        DirectError::Buffer(error)
    }
}

impl fmt::Display for DirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectError::NotSupported => {
                f.write_str("the file system does not support O_DIRECT for this file")
            }
            DirectError::NotDirect => f.write_str("the file was opened without O_DIRECT"),
            DirectError::Unaligned(unaligned) => unaligned.fmt(f),
            DirectError::Refused { alignment: Alignment { memory_bytes, offset_bytes, .. } } => {
                write!(
                    f,
                    "the kernel refuses (EINVAL) a transfer whose memory is aligned to \
                     {memory_bytes} bytes and whose offset and length are to {offset_bytes}"
                )
            }
            DirectError::BufferTooSmall { size, needed } => {
                write!(f, "the buffer has {size} bytes, the aligned block needs {needed}")
            }
            DirectError::Buffer(error) => error.fmt(f),
            DirectError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DirectError {}
