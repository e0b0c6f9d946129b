//! The clock as a value.
//!
//! One reading a turn is enough for deadlines and laps; rooms receive it and never take one.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on the monotonic clock, since an origin that only its source knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanoseconds` after the origin.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the origin.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or zero if it is later.
    ///
    /// ```
    /// # use pitcrew::base::Instant;
    /// # use std::time::Duration;
    /// let start = Instant::from_nanoseconds(5);
    /// assert_eq!((start + Duration::from_nanos(7)).since(start), Duration::from_nanos(7));
    /// assert_eq!(start.since(start + Duration::from_nanos(7)), Duration::ZERO);
    /// ```
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Seconds and nanoseconds since 1970 by the wall clock, which may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl WallClock {
    /// The time since `earlier`, or zero if it is later.
    ///
    /// ```
    /// # use pitcrew::base::WallClock;
    /// # use std::time::Duration;
    /// let early = WallClock { seconds: -1, nanoseconds: 900_000_000 };
    /// let late = WallClock { seconds: 1, nanoseconds: 0 };
    /// assert_eq!(late.since(early), Duration::from_millis(1100));
    /// assert_eq!(early.since(late), Duration::ZERO);
    /// ```
    pub fn since(self, earlier: Self) -> Duration {
        let nanoseconds =
            |at: Self| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanoseconds);
        let span = (nanoseconds(self) - nanoseconds(earlier)).max(0);
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }
}
