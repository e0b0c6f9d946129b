//! How long a read takes, on each mount.

use std::time::Duration;

use crate::limits::MOUNTS_MAX;

/// Smoothed, of those mounts that were read last.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<(u64, Duration)>);

impl Latencies {
    /// A read of a mount took so long.
    pub(super) fn note(&mut self, mount: u64, took: Duration) {
        let at = self.0.iter().position(|(of, _)| *of == mount);
        let smoothed = at.map_or(took, |at| (7 * self.0.remove(at).1 + took) / 8);
        self.0.truncate(MOUNTS_MAX - 1);
        self.0.insert(0, (mount, smoothed));
    }

    /// Zero before the first read.
    pub(super) fn of(&self, mount: u64) -> Duration {
        self.0.iter().find(|(of, _)| *of == mount).map_or(Duration::ZERO, |(_, took)| *took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_does_not_make_a_fast_one_slow() {
        let mut latencies = Latencies::default();
        let ms = Duration::from_millis;
        assert_eq!(latencies.of(1), Duration::ZERO);
        for _ in 0..100 {
            latencies.note(1, ms(1));
            latencies.note(2, ms(500));
        }
        assert_eq!([1, 2, 3].map(|mount| latencies.of(mount)), [ms(1), ms(500), ms(0)]);
        latencies.note(1, ms(9));
        assert_eq!(latencies.of(1), ms(2));
        for mount in 3..1000 {
            latencies.note(mount, ms(mount));
            assert!(latencies.0.len() <= MOUNTS_MAX);
        }
        assert_eq!([1, 999].map(|mount| latencies.of(mount)), [ms(0), ms(999)]);
    }
}
