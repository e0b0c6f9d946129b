//! Bounds of the commands that serve nothing: the doctor, and the view of a running server.

use std::time::Duration;

// doctor

/// Names beneath the root that the doctor looks at: some seconds from a disk that is not warm.
pub const DOCTOR_ENTRIES_MAX: usize = 200_000;

/// Names of one kind that it prints: a line or two. The rest are counted.
pub const DOCTOR_NAMED_MAX: usize = 8;

/// Bytes that it registers with a ring to see whether that is allowed: the default of body-buffers,
/// above every limit that is low by mistake. They are pinned for some milliseconds.
pub const DOCTOR_REGISTER_BYTES: u64 = 64 << 20;

// watch

/// Bytes of figures that are read: with every bucket of every histogram a server tells some hundred
/// KiB.
pub const WATCH_BYTES_MAX: usize = 16 << 20;

/// How long the server is waited for: what is slower than this is worth to be told, and keys wait
/// for as long.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(2);
