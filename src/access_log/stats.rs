//! What the access log counts.

use crate::base::Counter;
use crate::limits::LOG_SINKS_MAX;

/// Figures of one worker's side. Those of sinks are of the whole server and stand with the first
/// worker; threads of the log write them, each its own.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records that were written into the buffer.
    pub records: Counter,
    /// Records that found no room and are missing.
    pub dropped: Counter,
    /// Times that requests began to wait for room.
    pub waits: Counter,
    /// Bytes that could not be handed on because the pipe was full.
    pub full: Counter,
    /// Bytes of bodies that went into the log's pipe.
    pub mirrored_bytes: Counter,
    /// Bodies that were mirrored whole.
    pub mirrored: Counter,
    /// Bodies of which a part was mirrored.
    pub mirrored_partly: Counter,
    /// Bodies that were to be mirrored and were not.
    pub mirror_dropped: Counter,
    /// Mirrored bodies that were to be stored and could not be. The log thread counts them, for
    /// the whole server as those of sinks.
    pub mirror_unstored: Counter,
    /// By sink.
    sinks: [SinkStats; LOG_SINKS_MAX],
}

/// Figures of one sink.
#[derive(Debug, Default)]
pub struct SinkStats {
    /// Records that it took.
    pub records: Counter,
    /// Bytes that it took.
    pub bytes: Counter,
    /// Records that it did not get because it was slow, and those of what it took that nobody will
    /// read, because a line was torn or its reader ended.
    pub missing: Counter,
    /// Writes that failed, and openings.
    pub failures: Counter,
    /// Times that a file was archived or opened again, or a program started again.
    pub reopened: Counter,
    /// Synchronous writes that returned.
    pub synchronous: Counter,
    /// The number of the last record that is on the device.
    pub durable: Counter,
}

/// Which sink, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkNumber(usize);

impl SinkNumber {
    /// The name in telemetry.
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; LOG_SINKS_MAX] = ["1", "2", "3", "4"];
        NAMES[self.0]
    }
}

impl Stats {
    /// The figures of every sink, also of those that there are not.
    pub fn sinks(&self) -> impl Iterator<Item = (SinkNumber, &SinkStats)> {
        self.sinks.iter().enumerate().map(|(number, stats)| (SinkNumber(number), stats))
    }

    /// The figures of one sink.
    pub fn sink(&self, number: usize) -> &SinkStats {
        &self.sinks[number]
    }
}
