//! What a person watches in a terminal: the access log.

pub mod log;
