//! The limit of open descriptors.
//!
//! The soft limit is 1024 on most systems for the sake of select(2), which nothing here uses.
//! It is raised to the hard limit once, at start.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that this process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit at start; `None` is no limit.
    pub before: Option<u64>,
    /// The soft limit now; `None` is no limit.
    pub now: Option<u64>,
    /// The hard limit, which only a privileged process may raise; `None` is no limit.
    pub hard: Option<u64>,
}

impl Descriptors {
    /// How many of `wanted` descriptors are beyond the limit.
    pub fn missing(&self, wanted: u64) -> u64 {
        self.now.map_or(0, |now| wanted.saturating_sub(now))
    }
}

/// Descriptors that so many connections and open files may need: a connection may hold its socket,
/// a pipe and a file; most hold only their socket. A file may have three: for transfers, past the
/// page cache, and for threads that read it.
pub fn wanted(connections: usize, open_files: usize) -> u64 {
    (connections + 3 * open_files) as u64
}

/// Raises the soft limit to the hard one. When the kernel refuses, which it does only under
/// a security policy, the old limit stays, and the report says so by `now == before`.
pub fn raise() -> Descriptors {
    let before = getrlimit(Resource::Nofile);
    let mut wanted = before;
    wanted.current = before.maximum;
    if before.current != before.maximum {
        // The report is read back, so a refusal is seen there.
        let _ = setrlimit(Resource::Nofile, wanted);
    }
    let now = getrlimit(Resource::Nofile);
    Descriptors { before: before.current, now: now.current, hard: now.maximum }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let report = raise();
        assert_eq!(report.now, report.hard);
        assert_eq!(raise().before, report.now);
    }

    #[test]
    fn what_is_beyond_the_limit_is_missing() {
        let report = Descriptors { before: Some(10), now: Some(100), hard: Some(100) };
        assert_eq!(report.missing(130), 30);
        assert_eq!(report.missing(100), 0);
        assert_eq!(Descriptors { now: None, ..report }.missing(u64::MAX), 0);
    }
}
