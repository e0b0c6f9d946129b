//! The protocol from outside: bytes in; status, fields, body and the state of the connection out.
//!
//! The table in `http/cases` is played over real sockets in every engine, whole, with a marker
//! request behind it and in two parts, and over the simulated kernel split at every byte and one
//! byte at a time. Each case names the clause that it proves, of RFC 9110 and RFC 9112 mostly.
//! `http/README.md` says where other servers answer otherwise.

#![allow(clippy::unwrap_used)]

#[path = "http/case.rs"]
mod case;
#[path = "http/cases/mod.rs"]
mod cases;
#[path = "http/check.rs"]
mod check;
mod common;
#[path = "http/connections.rs"]
mod connections;
#[path = "http/real.rs"]
mod real;
#[path = "http/refusals.rs"]
mod refusals;
#[path = "http/simulated.rs"]
mod simulated;
#[path = "http/site.rs"]
mod site;
