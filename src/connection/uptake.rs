//! How fast a client takes what it is sent, as far as that was seen.

use crate::base::Instant;
use crate::limits::UPTAKE_NANOS_MIN;

/// See the module. A client is seen only while it is waited for: what fits into the socket tells
/// nothing of it.
#[derive(Debug, Default)]
pub(super) struct Uptake {
    /// Since when it is waited for, and what it had been sent then, in bytes.
    since: Option<(Instant, u64)>,
    /// Bytes a second, of the last body that it was waited for long enough.
    rate: Option<u64>,
}

impl Uptake {
    /// The socket is full.
    pub(super) fn blocked(&mut self, now: Instant, taken: u64) {
        self.since.get_or_insert((now, taken));
    }

    /// A body is through.
    pub(super) fn finished(&mut self, now: Instant, taken: u64) {
        let Some((since, before)) = self.since.take() else { return };
        let nanos = now.since(since).as_nanos();
        if nanos >= UPTAKE_NANOS_MIN {
            let rate = u128::from(taken - before) * 1_000_000_000 / nanos;
            self.rate = Some(u64::try_from(rate).unwrap_or(u64::MAX));
        } else {
            self.rate = None;
        }
    }

    /// Bytes a second, if it was waited for.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_client_that_is_waited_for_has_a_rate() {
        let (mut uptake, begun) = (Uptake::default(), Instant::default());
        uptake.finished(begun + Duration::from_secs(1), 1000);
        assert_eq!(uptake.rate(), None);
        uptake.blocked(begun, 1000);
        uptake.blocked(begun + Duration::from_secs(1), 2000);
        uptake.finished(begun + Duration::from_secs(2), 5000);
        assert_eq!(uptake.rate(), Some(2000));
        uptake.finished(begun + Duration::from_secs(3), 9000);
        assert_eq!(uptake.rate(), Some(2000), "what is not waited for tells nothing");
        uptake.blocked(begun, 9000);
        uptake.finished(begun, 20_000);
        assert_eq!(uptake.rate(), None, "it was waited for, and quick");
    }
}
