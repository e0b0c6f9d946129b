//! Bytes at a multiple of an alignment.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// The smallest alignment of an [`AlignedBuffer`] in bytes: the smallest sector of a device.
pub const ALIGNMENT_BYTES_MIN: usize = 512;

/// The largest alignment of an [`AlignedBuffer`] in bytes: a huge page; no file system and no
/// device asks for more.
pub const ALIGNMENT_BYTES_MAX: usize = 2 << 20;

/// Bytes whose address and size are multiples of an alignment, for O_DIRECT (open(2), NOTES).
///
/// The buffer is zeroed, its size never changes, and its bytes stay where they are when it is
/// moved. It is a part of an ordinary vector that is longer by the alignment, so that no unsafe
/// code is needed; give a pool one large buffer rather than many small ones if that matters.
///
/// ```
/// use pitcrew::techniques::AlignedBuffer;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut buffer = AlignedBuffer::new(8192, 4096)?;
/// assert_eq!(buffer.as_ptr() as usize % 4096, 0);
/// buffer[..4].copy_from_slice(b"data");
/// assert_eq!((buffer.len(), buffer.alignment_bytes()), (8192, 4096));
/// # Ok(())
/// # }
/// ```
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    size: usize,
    alignment: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of `size` bytes at a multiple of `alignment` bytes.
    ///
    /// # Errors
    ///
    /// An [`AlignmentError`]: the alignment must be a power of two from [`ALIGNMENT_BYTES_MIN`] to
    /// [`ALIGNMENT_BYTES_MAX`], the size a multiple of it and not 0, and the memory there.
    ///
    /// ```
    /// use pitcrew::techniques::{AlignedBuffer, memory::AlignmentError};
    /// let refused = AlignedBuffer::new(3000, 1000).unwrap_err();
    /// assert_eq!(refused, AlignmentError::NotPowerOfTwo { alignment: 1000 });
    /// ```
    pub fn new(size: usize, alignment: usize) -> Result<AlignedBuffer, AlignmentError> {
        check(size, alignment)?;
        let out_of_memory = AlignmentError::OutOfMemory { size };
        let total = size.checked_add(alignment).ok_or(out_of_memory)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(total).map_err(|_| out_of_memory)?;
        memory.resize(total, 0);
        let address = memory.as_ptr() as usize;
        let start = address.next_multiple_of(alignment) - address;
        assert!(start < alignment, "the first aligned address is less than one alignment away");
        Ok(AlignedBuffer { memory, start, size, alignment })
    }

    /// Bytes of memory that it takes: what lies before the first aligned one, too.
    #[inline]
    #[must_use]
    pub fn occupied_bytes(&self) -> usize {
        self.memory.len()
    }

    /// The alignment that was asked for, in bytes; chance may have given a larger one.
    #[inline]
    #[must_use]
    pub fn alignment_bytes(&self) -> usize {
        self.alignment
    }
}

fn check(size: usize, alignment: usize) -> Result<(), AlignmentError> {
    if !alignment.is_power_of_two() {
        Err(AlignmentError::NotPowerOfTwo { alignment })
    } else if alignment < ALIGNMENT_BYTES_MIN {
        Err(AlignmentError::TooSmall { alignment })
    } else if alignment > ALIGNMENT_BYTES_MAX {
        Err(AlignmentError::TooLarge { alignment })
    } else if size == 0 {
        Err(AlignmentError::NoSize)
    } else if !size.is_multiple_of(alignment) {
        Err(AlignmentError::SizeNotMultiple { size, alignment })
    } else {
        Ok(())
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.size]
    }
}

impl DerefMut for AlignedBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.size]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("address", &self.as_ptr())
            .field("size", &self.size)
            .field("alignment", &self.alignment)
            .finish()
    }
}

/// Why an [`AlignedBuffer`] was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignmentError {
    /// The alignment is no power of two (0 is none).
    NotPowerOfTwo {
        /// The alignment that was asked for, in bytes.
        alignment: usize,
    },
    /// The alignment is below [`ALIGNMENT_BYTES_MIN`].
    TooSmall {
        /// The alignment that was asked for, in bytes.
        alignment: usize,
    },
    /// The alignment is above [`ALIGNMENT_BYTES_MAX`].
    TooLarge {
        /// The alignment that was asked for, in bytes.
        alignment: usize,
    },
    /// The size is 0.
    NoSize,
    /// The size is no multiple of the alignment, so the last transfer could not be aligned.
    SizeNotMultiple {
        /// The size that was asked for, in bytes.
        size: usize,
        /// The alignment that was asked for, in bytes.
        alignment: usize,
    },
    /// The memory could not be allocated.
    OutOfMemory {
        /// The size that was asked for, in bytes.
        size: usize,
    },
}

impl fmt::Display for AlignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlignmentError::NotPowerOfTwo { alignment } => {
                write!(f, "the alignment {alignment} is not a power of two")
            }
            AlignmentError::TooSmall { alignment } => {
                write!(f, "the alignment {alignment} is below {ALIGNMENT_BYTES_MIN} bytes")
            }
            AlignmentError::TooLarge { alignment } => {
                write!(f, "the alignment {alignment} is above {ALIGNMENT_BYTES_MAX} bytes")
            }
            AlignmentError::NoSize => f.write_str("an aligned buffer cannot be empty"),
            AlignmentError::SizeNotMultiple { size, alignment } => {
                write!(f, "the size {size} is not a multiple of the alignment {alignment}")
            }
            AlignmentError::OutOfMemory { size } => {
                write!(f, "no memory for an aligned buffer of {size} bytes")
            }
        }
    }
}

impl std::error::Error for AlignmentError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_buffer_keeps_its_address() {
        let buffer = AlignedBuffer::new(4096, 4096).unwrap();
        let address = buffer.as_ptr();
        let moved = Box::new(buffer);
        assert_eq!(moved.as_ptr(), address);
    }

    #[test]
    fn impossible_sizes_are_errors_and_no_panic() {
        let size = usize::MAX - 4095;
        assert_eq!(
            AlignedBuffer::new(size, 4096).unwrap_err(),
            AlignmentError::OutOfMemory { size }
        );
    }
}
