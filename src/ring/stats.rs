//! What the ring counts: each technique where it is executed or completed, and the turns.

use std::time::Duration;

use rustix::io::Errno;

use super::io::Pool;
use super::job::Job;
use super::op::{Op, Via};
use crate::base::{Counter, Gauge, Histogram};

macro_rules! techniques {
    ($($name:ident $text:literal $help:literal,)*) => {
        /// A way to ask the kernel for something, as telemetry tells them apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Technique { $(#[doc = $help] $name,)* }

        impl Technique {
            /// All techniques, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in telemetry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One line that says what it is.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

techniques! {
    Accept "accept" "Connections accepted by the ring",
    Poll "poll" "Waits for a socket to become readable or writable",
    Readv "readv" "Scatter reads of request bytes by the ring",
    Read "read" "Reads of file content by the ring into memory",
    ReadFixed "read_fixed" "Reads of file content by the ring into registered memory",
    DirectRead "direct_read" "O_DIRECT reads of file content by the ring",
    Pread "pread" "Positional reads of file content, inline",
    Residency "residency" "Parts of files asked whether the page cache has them, inline",
    Warm "warm" "Bytes of files brought into the page cache by the ring",
    Forget "forget" "Parts of files dropped from the page cache by the ring",
    Send "send" "Sends of bytes from memory, by the ring or ahead of a file",
    SendMsg "sendmsg" "Gather sends of a head and the bytes behind it, by the ring",
    Sendfile "sendfile" "Bytes of a file sent by sendfile(2), inline",
    SpliceIn "splice_in" "Bytes of a file moved into a pipe by splice(2), inline",
    SpliceOut "splice_out" "Bytes of a pipe moved to a socket by splice(2), inline",
    Tee "tee" "Bytes of a pipe duplicated into another one by tee(2), inline",
    PutIn "pipe_write" "Bytes of the access log written into its pipe, inline",
    Open "openat2" "Files opened beneath a root by the ring",
    Stat "statx" "Facts asked of open files",
    Shutdown "shutdown" "Sending sides of connections shut",
    Peer "getpeername" "Addresses of clients asked, inline",
    Unacknowledged "siocoutq" "Connections asked for what the client has not acknowledged, inline",
    Reset "reset" "Connections that were told to reset at their close",
    Close "close" "Descriptors closed by the ring",
    ReadDirectory "read_directory" "Directories read by helper threads",
    Digest "digest" "Bytes of files hashed by helper threads",
    Watch "inotify_add_watch" "Ways to directories watched by helper threads",
    Unwatch "inotify_rm_watch" "Directories no longer watched, inline",
    Notices "inotify" "Looks at what watched directories have to tell, inline",
    Mount "mount" "Mounts whose kind was found out by helper threads",
}

impl Technique {
    /// The technique of an operation, and the bytes that it asks for at most.
    pub(super) fn of(op: &Op) -> (Self, u64) {
        match op {
            Op::Accept { .. } => (Self::Accept, 0),
            Op::Readable { .. } | Op::Triggered { .. } | Op::Writable { .. } => (Self::Poll, 0),
            Op::ReadHead { .. } => (Self::Readv, 0),
            Op::Read { buffer, range, via, .. } => {
                let technique = match (via, buffer.registered()) {
                    (Via::Direct | Via::Unmapped, _) => Self::DirectRead,
                    (_, Some(_)) => Self::ReadFixed,
                    (_, None) => Self::Read,
                };
                (technique, range.len() as u64)
            }
            Op::Pread { range, .. } => (Self::Pread, range.len() as u64),
            Op::Resident { .. } => (Self::Residency, 0),
            Op::Warm { count, .. } => (Self::Warm, u64::from(*count)),
            Op::Forget { .. } => (Self::Forget, 0),
            Op::Send { bytes, .. } => (Self::Send, bytes.len() as u64),
            Op::SendMsg { parts, .. } => (Self::SendMsg, parts.len() as u64),
            Op::Sendfile { count, .. } => (Self::Sendfile, u64::from(*count)),
            Op::SpliceIn { count, .. } => (Self::SpliceIn, u64::from(*count)),
            Op::SpliceOut { count, .. } => (Self::SpliceOut, u64::from(*count)),
            Op::Tee { count, .. } => (Self::Tee, u64::from(*count)),
            Op::PutIn { bytes, .. } => (Self::PutIn, bytes.len() as u64),
            Op::Open { .. } => (Self::Open, 0),
            Op::Stat { .. } => (Self::Stat, 0),
            Op::Shutdown { .. } => (Self::Shutdown, 0),
            Op::Close { .. } => (Self::Close, 0),
            Op::Peer { .. } => (Self::Peer, 0),
            Op::Unacknowledged { .. } => (Self::Unacknowledged, 0),
            Op::Reset { .. } => (Self::Reset, 0),
            Op::Job(Job::ReadDirectory { .. }) => (Self::ReadDirectory, 0),
            Op::Job(Job::Digest { .. }) => (Self::Digest, 0),
            Op::Job(Job::Watch { .. }) => (Self::Watch, 0),
            Op::Unwatch { .. } => (Self::Unwatch, 0),
            Op::Notices { .. } => (Self::Notices, 0),
            Op::Job(Job::Mount { .. }) => (Self::Mount, 0),
        }
    }

    /// Whether the processor copies what this technique moves for an answer; none where it
    /// moves nothing to a client or out of a file.
    ///
    /// O_DIRECT reads come from the device and splices into a pipe hand over references: each is
    /// counted where the same bytes go on to the socket. Request heads are no part of an answer.
    const fn copies(self) -> Option<bool> {
        match self {
            Self::Read | Self::ReadFixed | Self::Pread => Some(true),
            Self::Send | Self::SendMsg => Some(true),
            Self::Sendfile | Self::SpliceOut => Some(false),
            Self::DirectRead | Self::SpliceIn => None,
            // A mirror of what goes to the client, and the log: neither is a part of an answer.
            Self::Tee | Self::PutIn => None,
            Self::Accept | Self::Poll | Self::Readv => None,
            Self::Open | Self::Stat | Self::Shutdown | Self::Close => None,
            Self::Peer | Self::Unacknowledged | Self::Reset => None,
            Self::Residency | Self::Warm | Self::Forget | Self::Mount => None,
            Self::ReadDirectory | Self::Digest => None,
            Self::Watch | Self::Unwatch | Self::Notices => None,
        }
    }

    /// Whether the result of an operation is a count of bytes.
    const fn moves_bytes(self) -> bool {
        !matches!(
            self,
            Self::Accept
                | Self::Poll
                | Self::Open
                | Self::Stat
                | Self::Shutdown
                | Self::Peer
                | Self::Unacknowledged
                | Self::Reset
                | Self::Close
                | Self::Residency
                | Self::Forget
                | Self::ReadDirectory
                | Self::Watch
                | Self::Unwatch
                | Self::Notices
                | Self::Mount
        )
    }
}

/// Figures of one technique.
#[derive(Debug, Default)]
pub struct TechniqueStats {
    /// Operations that came to an end.
    pub operations: Counter,
    /// Bytes that the kernel moved.
    pub bytes: Counter,
    /// Transfers of fewer bytes than asked, but more than none.
    pub short: Counter,
    /// Operations that met a full socket or pipe, or a cold page (EAGAIN).
    pub would_block: Counter,
    /// Operations that failed otherwise.
    pub errors: Counter,
    /// Nanoseconds: whole turns for operations of the ring, with the time in the queue for jobs,
    /// one in sixteen for inline ones.
    pub latency: Histogram,
}

/// Figures of one pool of buffers.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Bytes of the budget.
    pub budget_bytes: Gauge,
    /// Bytes leased now.
    pub leased_bytes: Gauge,
    /// The most bytes that were leased at once.
    pub leased_bytes_max: Gauge,
    /// Leases that had to wait.
    pub waits: Counter,
    /// Bytes that are registered with the ring.
    pub registered_bytes: Gauge,
    /// Bytes in huge pages that were set aside.
    pub huge_bytes: Gauge,
    /// Bytes for which the kernel was asked for huge pages, to be had as it finds them.
    pub huge_advised_bytes: Gauge,
}

/// Figures of one ring.
#[derive(Debug)]
pub struct Stats {
    /// By technique, in the order of [`Technique::ALL`].
    techniques: Vec<TechniqueStats>,
    /// By pool, in the order of [`Pool::ALL`].
    pools: Vec<PoolStats>,
    /// Entries into the kernel.
    pub enters: Counter,
    /// Entries of the submission queue that the kernel took.
    pub submissions: Counter,
    /// Entries of the completion queue that were taken out.
    pub completions: Counter,
    /// Entries into the kernel that found the completion queue full.
    pub overflow: Counter,
    /// Submission entries for each entry into the kernel.
    pub batch: Histogram,
    /// Nanoseconds from the end of a wait to the next one.
    pub turn: Histogram,
    /// Operations that found the table of operations full.
    pub busy: Counter,
    /// Turns that took longer than [`crate::limits::STALL`].
    pub stalls: Counter,
    /// Of these, turns in which a part of a file was sent inline.
    pub stalls_sending: Counter,
    /// Rests of owners whose socket was full and whose peer had ended its side.
    pub write_rests: Counter,
    /// Times that memory was found to be short.
    pub pressed: Counter,
    /// Mounts that files are of.
    pub mounts: Gauge,
    /// Mounts on which operations may block.
    pub mounts_blocking: Gauge,
    /// Operations that found their mount's share used up.
    pub mount_waits: Counter,
    /// Operations in flight now.
    pub in_flight: Gauge,
    /// Jobs that helper threads have, running or queued.
    pub jobs_in_flight: Gauge,
    /// Jobs that found no room in the queue of the helper threads.
    pub jobs_refused: Counter,
    /// Pipes open now.
    pub pipes_open: Gauge,
    /// Pipes allowed.
    pub pipes_max: Gauge,
    /// Whether the pools for bodies and blocks are registered with the ring.
    pub registered: Gauge,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            techniques: Technique::ALL.iter().map(|_| TechniqueStats::default()).collect(),
            pools: Pool::ALL.iter().map(|_| PoolStats::default()).collect(),
            enters: Counter::default(),
            submissions: Counter::default(),
            completions: Counter::default(),
            overflow: Counter::default(),
            batch: Histogram::default(),
            turn: Histogram::default(),
            busy: Counter::default(),
            stalls: Counter::default(),
            stalls_sending: Counter::default(),
            write_rests: Counter::default(),
            pressed: Counter::default(),
            mounts: Gauge::default(),
            mounts_blocking: Gauge::default(),
            mount_waits: Counter::default(),
            in_flight: Gauge::default(),
            jobs_in_flight: Gauge::default(),
            jobs_refused: Counter::default(),
            pipes_open: Gauge::default(),
            pipes_max: Gauge::default(),
            registered: Gauge::default(),
        }
    }
}

impl Stats {
    /// The figures of a technique.
    pub fn technique(&self, technique: Technique) -> &TechniqueStats {
        &self.techniques[technique as usize]
    }

    /// The figures of every technique.
    pub fn techniques(&self) -> impl Iterator<Item = (Technique, &TechniqueStats)> {
        Technique::ALL.iter().copied().zip(&self.techniques)
    }

    /// The figures of every pool.
    pub fn pools(&self) -> impl Iterator<Item = (Pool, &PoolStats)> {
        Pool::ALL.into_iter().zip(&self.pools)
    }

    /// Bytes that the processor copied to answer, each copy counted: out of a file into memory,
    /// and out of memory into a socket.
    pub fn bytes_copied(&self) -> u64 {
        self.bytes_where(true)
    }

    /// Bytes that went from files or memory to sockets by reference.
    pub fn bytes_not_copied(&self) -> u64 {
        self.bytes_where(false)
    }

    fn bytes_where(&self, copied: bool) -> u64 {
        let of_kind = self.techniques().filter(|(one, _)| one.copies() == Some(copied));
        of_kind.map(|(_, stats)| stats.bytes.read()).sum()
    }

    /// The figures of a pool.
    pub fn pool(&self, pool: Pool) -> &PoolStats {
        &self.pools[pool as usize]
    }

    /// Counts one operation that was executed or completed. Returns its number, so that the
    /// caller can time one in sixteen.
    pub(super) fn count(
        &self,
        (technique, asked): (Technique, u64),
        result: Result<u32, Errno>,
        took: Option<Duration>,
    ) {
        let stats = self.technique(technique);
        stats.operations.add(1);
        match result {
            Ok(bytes) if technique.moves_bytes() => {
                let bytes = u64::from(bytes);
                stats.bytes.add(bytes);
                if bytes > 0 && bytes < asked {
                    stats.short.add(1);
                }
            }
            Ok(_) | Err(Errno::CANCELED) => {}
            Err(Errno::AGAIN) => stats.would_block.add(1),
            Err(_) => stats.errors.add(1),
        }
        if let Some(took) = took {
            stats.latency.record(took.as_nanos() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_passes_a_pipe_is_counted_once_and_each_copy_is_counted() {
        let stats = Stats::default();
        for technique in [Technique::SpliceIn, Technique::SpliceOut, Technique::Readv] {
            stats.count((technique, 100), Ok(100), None);
        }
        for technique in [Technique::Pread, Technique::Send] {
            stats.count((technique, 100), Ok(7), None);
        }
        assert_eq!((stats.bytes_copied(), stats.bytes_not_copied()), (14, 100));
    }

    #[test]
    fn iterating_meets_each_technique_and_pool_with_its_own_figures() {
        let stats = Stats::default();
        for (technique, figures) in stats.techniques() {
            assert!(std::ptr::eq(figures, stats.technique(technique)));
        }
        for (pool, figures) in stats.pools() {
            assert!(std::ptr::eq(figures, stats.pool(pool)));
        }
        assert_eq!(stats.techniques().count(), Technique::ALL.len());
    }
}
