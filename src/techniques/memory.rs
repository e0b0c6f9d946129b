//! Memory for transfers: aligned buffers, and what an operation in flight may own.

pub use crate::base::aligned::{
    ALIGNMENT_BYTES_MAX, ALIGNMENT_BYTES_MIN, AlignedBuffer, AlignmentError,
};

/// Memory that an asynchronous operation owns until it is done.
///
/// The bytes stay at their address while the owner moves, and nobody else can reach them: that is
/// what makes it sound to let the kernel or another thread read and write them. The trait is
/// sealed, since the compiler cannot check this promise for other types. `()` is for operations
/// without memory.
pub trait Memory: sealed::Stable + Send + 'static {
    /// The bytes; for a read, all of them are to be filled.
    fn bytes(&self) -> &[u8];
    /// The bytes, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];
}

mod sealed {
    /// Implemented only for types whose bytes do not move with them.
    pub trait Stable {}
    impl Stable for Vec<u8> {}
    impl Stable for super::AlignedBuffer {}
    impl Stable for () {}
}

impl Memory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Memory for AlignedBuffer {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Memory for () {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}
