//! The contract of engines: every engine of the table, over the simulated kernel and over the
//! real one, without faults, with each fault in turn, and in random schedules.
//!
//! What holds, whatever happens:
//! - what the client reads is a prefix of the head and the span, and all of it when the engine
//!   says that it has finished
//! - an engine declines only before the first byte of the file, and the next in its chain serves
//! - the engine's account of what was taken is never above what the client can read
//! - no byte of a file is sent that was read after somebody had written to it, where bytes are read
//!   before they are sent; and a body whose file is written to between two turns fails
//! - no turn moves more than the turn's budget
//! - in the end nothing is in flight, and every buffer, pipe and descriptor is home
//!
//! A failing schedule names its seed; `PITCREW_SEED=<seed>` runs that one alone.

#![allow(clippy::unwrap_used)]

mod cold;
mod faults;
mod in_place;
#[path = "../quarantine/mod.rs"]
mod quarantine;
mod real;
mod rig;
mod schedules;
mod sizes;
