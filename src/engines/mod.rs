//! Engines: how one span of a file travels to one socket. They know nothing of HTTP.
//!
//! | engine | file |
//! | --- | --- |
//! | `sendfile` | `sendfile.rs` |
//! | `splice` | `splice.rs` |
//! | `uring` | `uring.rs`, on the machine of `buffered.rs` |
//! | `direct` | `direct.rs`, on the blocks of the cache; on the same machine without one |
//! | `copy` | `copy.rs` |
//! | `auto` | `auto.rs`: one of the others for each body |
//!
//! An engine is started with a [`Body`] and stepped with wakes until it has finished, declined
//! or failed. It may decline before its first byte only; [`next_in_chain`] says who serves then.

mod auto;
mod buffered;
mod contract;
mod copy;
mod direct;
mod guard;
mod kind;
mod left_behind;
mod residency;
mod sendfile;
mod splice;
mod stats;
mod table;
mod uring;

pub use auto::{Asked, Choice, Facts, Reason, Thresholds, choose};
pub use contract::{Body, BodyError, Decline, Engine, Progress, Step};
pub use kind::{Kind, UnknownEngine};
pub use left_behind::Trail;
pub use residency::{begins_resident, is_known_resident};
pub use stats::{EngineStats, Stats};
pub use table::{next_in_chain, start};
