//! What is moved of bodies in one turn of a worker.

/// Bytes that a connection moves inline in a turn before the others go on. Half of it made a body
/// of 1 MiB cost the server 15 % more: two short turns leave more of the transmission to it.
pub const TURN_BYTES: u32 = 1024 * 1024;

/// Bytes that all large bodies of a worker move in a turn, before those whose turn has not come
/// wait for the next one: others then wait for two turns of a connection at most, half of a
/// millisecond. Of twice as much the p99 of a small file beside 64 downloads by `uring` was 4.3
/// times that alone, of half as much the p99 of mixed sizes was twice that of nginx.
pub const SHARED_TURN_BYTES: u32 = 1024 * 1024;

/// Turns in a row in which no large body is moved because small requests and answers have just
/// been started. With 2, and half of the bytes, large files came late where small ones never end.
pub const LINE_PUT_OFF_MAX: u32 = 1;

/// A body of at most so many bytes does not wait for its turn: it takes some twenty microseconds,
/// no more than the request for it.
pub const SHORT_BODY_BYTES: u64 = 128 * 1024;
