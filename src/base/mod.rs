//! Plain building blocks without a descriptor and without a policy.
//!
//! - [`AlignedBuffer`]: memory that O_DIRECT can read to
//! - [`Slab`]: values in stable places, found by a key with a generation
//! - [`Instant`]: the clock as a value, so that no room but the ring reads one
//! - [`Counter`], [`Gauge`], [`Histogram`]: figures written by one thread and read by any
//! - [`Network`]: addresses that share a prefix
//! - [`Random`]: numbers that depend on a seed alone
//! - [`Shares`]: how much each of several has of something, and whether it may have more

pub mod aligned;
mod clock;
mod counter;
mod histogram;
mod network;
mod random;
mod shares;
// The one that the test programs have.
#[cfg(test)]
#[path = "../../tests/common/skip.rs"]
#[allow(unreachable_pub)]
mod skip;
mod slab;

pub use aligned::AlignedBuffer;
pub use clock::{Instant, WallClock};
pub use counter::{Counter, Gauge};
pub use histogram::{Histogram, Percentiles, Spread};
pub use network::Network;
#[cfg(test)]
pub(crate) use network::ip;
pub use random::Random;
pub use shares::{Shares, half_of_rest};
#[cfg(test)]
pub(crate) use skip::skipped;
pub use slab::{Key, Slab};
