//! What there are few of, so that owners wait until others have no more use for it.

use super::io::Pool;

/// What owners wait for, and what they hold meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// A buffer.
    Buffer(Pool),
    /// A pipe.
    Pipe,
}

impl Scarce {
    /// All of it.
    pub const ALL: [Self; 6] = [
        Self::Buffer(Pool::Head),
        Self::Buffer(Pool::LargeHead),
        Self::Buffer(Pool::Answer),
        Self::Buffer(Pool::Body),
        Self::Buffer(Pool::Block),
        Self::Pipe,
    ];
}
