//! Files that change under the server, clients that misbehave, limits that are reached, starts
//! that cannot succeed, and ends.

#![allow(clippy::unwrap_used)]

#[path = "hard_times/clients.rs"]
mod clients;
mod common;
#[path = "hard_times/crowds.rs"]
mod crowds;
#[path = "hard_times/ends.rs"]
mod ends;
#[path = "hard_times/files.rs"]
mod files;
#[path = "hard_times/memory.rs"]
mod memory;
#[path = "hard_times/network.rs"]
mod network;
#[path = "hard_times/starts.rs"]
mod starts;
