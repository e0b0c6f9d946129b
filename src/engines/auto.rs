//! The engine `auto`: which of the others moves a body, decided for each one, and why.
//!
//! The decision is a pure function of what is known before the first byte ([`Facts`]) and of
//! thresholds ([`Thresholds`]). It comes with its [`Reason`], which is counted and can be shown to
//! the client. In the order in which the questions are asked:
//!
//! | what is known | engine | reason |
//! | --- | --- | --- |
//! | the block cache has it; the page cache is not known to, or it is small | `direct` | `kept` |
//! | its mount may block, and it is not known to be in memory | `uring` | `may_block` |
//! | it is cold and not small, and the client takes it slowly | `sendfile` | `slow_client` |
//! | it is cold, not small, and not to be left in the page cache | `direct` | `cold` |
//! | it is cold, neither small nor huge, and its file is asked for once | `direct` | `once` |
//! | the same, asked for so rarely that the page cache would not keep it | `direct` | `rare` |
//! | it is one of these three, but there is no room in the block cache | `uring` | `no_block` |
//! | it is cold otherwise, and large | `sendfile` | `cold` |
//! | it is cold otherwise | `uring` | `cold` |
//! | it is small | `uring` | `small` |
//! | the client takes it slowly | `sendfile` | `slow_client` |
//! | it is in the page cache | `sendfile` | `resident` |
//! | nobody has asked the page cache | `sendfile` | `unknown` |
//!
//! `sendfile` takes the place of `uring` with the reason `no_buffer` when no buffer is free: it
//! needs none. Where nothing is sure to keep the turn from waiting, that is not done.

use super::contract::{Body, Engine};
use super::kind::Kind;
use super::table;

/// Where one engine takes over from another. The defaults are from loopback and a local disk, at
/// one worker to a processor; what a send costs changes them little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Bytes up to which a read and a send of the ring cost no more than sendfile(2).
    pub small_bytes_max: u64,
    /// Bytes from which a cold body that goes through the page cache is sent by sendfile: windows
    /// that run ahead of the client keep the disk busy, and what they bring is sent without a copy.
    pub large_bytes_min: u64,
    /// Bytes from which a cold body is read past the page cache if it is not worth a place there:
    /// most files of a large set are asked for once, and would push out what others ask for.
    pub once_bytes_min: u64,
    /// Bytes from which even such a body is read through the page cache, by windows. The kernel
    /// itself lets go first of what was read once.
    pub stream_bytes_min: u64,
    /// Bytes a second below which a client is slow: what it takes its time with is not kept in
    /// buffers that others wait for.
    pub slow_rate_max: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            small_bytes_max: 16 << 10,
            large_bytes_min: 1 << 20,
            once_bytes_min: 48 << 10,
            stream_bytes_min: 16 << 20,
            slow_rate_max: 1 << 20,
        }
    }
}

/// How often the file of a body is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// For the first time, as far as that is remembered.
    #[default]
    Once,
    /// Again, but so rarely that the page cache would not have it any more.
    Rarely,
    /// Again, and the page cache keeps things for as long.
    Again,
}

/// What is known of a body before its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the span.
    pub count: u64,
    /// Whether the page cache has its begin; none if nobody has asked lately.
    pub resident: Option<bool>,
    /// Whether a read may block the thread that starts it, because the mount cannot be told
    /// otherwise (no RWF_NOWAIT).
    pub may_block: bool,
    /// Whether the file is open past the page cache, too.
    pub direct: bool,
    /// Whether it is in the block cache.
    pub kept: bool,
    /// How often its file is asked for.
    pub asked: Asked,
    /// Whether it is to leave nothing in the page cache.
    pub passes: bool,
    /// Whether all buffers for bodies are leased.
    pub no_buffer: bool,
    /// Whether somebody waits already for room in the block cache.
    pub no_block: bool,
    /// Bytes a second that the client took of an earlier body, if it was waited for.
    pub rate: Option<u64>,
}

/// Why an engine moves a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the one that was asked for.
    Fixed,
    /// No engine does: the whole body was in the hot cache.
    Hot,
    /// See the module for these.
    Small,
    /// In the page cache.
    Resident,
    /// Not known to be in the page cache or not.
    Unknown,
    /// Not in the page cache.
    Cold,
    /// The same, and asked for the first time.
    Once,
    /// The same, and asked for so rarely that the page cache would not keep it.
    Rare,
    /// A read may block.
    MayBlock,
    /// The client is slow.
    SlowClient,
    /// No buffer is free.
    NoBuffer,
    /// In the block cache.
    Kept,
    /// No room in the block cache.
    NoBlock,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Fixed,
        Self::Hot,
        Self::Small,
        Self::Resident,
        Self::Unknown,
        Self::Cold,
        Self::Once,
        Self::Rare,
        Self::MayBlock,
        Self::SlowClient,
        Self::NoBuffer,
        Self::Kept,
        Self::NoBlock,
    ];

    /// The name in telemetry and in Server-Timing.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Hot => "hot",
            Self::Small => "small",
            Self::Resident => "resident",
            Self::Unknown => "unknown",
            Self::Cold => "cold",
            Self::Once => "once",
            Self::Rare => "rare",
            Self::MayBlock => "may_block",
            Self::SlowClient => "slow_client",
            Self::NoBuffer => "no_buffer",
            Self::Kept => "kept",
            Self::NoBlock => "no_block",
        }
    }
}

/// An engine for a body, and why it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The engine. [`choose`] never says `auto`; of a body that was in the hot cache it is the
    /// configured one.
    pub kind: Kind,
    /// Why.
    pub why: Reason,
}

/// The engine for a body. See the module.
///
/// ```
/// use pitcrew::engines::{Facts, Kind, Reason, Thresholds, choose};
///
/// let body = Facts { count: 1 << 20, resident: Some(true), ..Facts::default() };
/// let choice = choose(&body, &Thresholds::default());
/// assert_eq!((choice.kind, choice.why), (Kind::Sendfile, Reason::Resident));
/// ```
pub fn choose(facts: &Facts, thresholds: &Thresholds) -> Choice {
    let by = |kind, why| Choice { kind, why };
    let lone = facts.asked != Asked::Again && facts.count < thresholds.stream_bytes_min;
    let aside = facts.direct && facts.count >= thresholds.once_bytes_min && (facts.passes || lone);
    let large = facts.count >= thresholds.large_bytes_min;
    let small = facts.count <= thresholds.small_bytes_max;
    let slow = facts.rate.is_some_and(|rate| rate < thresholds.slow_rate_max);
    let kept = facts.kept && facts.direct;
    match facts.resident {
        None | Some(false) if kept => by(Kind::Direct, Reason::Kept),
        Some(true) if kept && small => by(Kind::Direct, Reason::Kept),
        None if facts.may_block => by(Kind::Uring, Reason::MayBlock),
        Some(false) if facts.may_block => by(Kind::Uring, Reason::MayBlock),
        Some(false) if slow && !small => by(Kind::Sendfile, Reason::SlowClient),
        Some(false) if aside && facts.no_block => by(Kind::Uring, Reason::NoBlock),
        Some(false) if aside && facts.passes => by(Kind::Direct, Reason::Cold),
        Some(false) if aside && facts.asked == Asked::Once => by(Kind::Direct, Reason::Once),
        Some(false) if aside => by(Kind::Direct, Reason::Rare),
        Some(false) if large => by(Kind::Sendfile, Reason::Cold),
        Some(false) => by(Kind::Uring, Reason::Cold),
        _ if small && facts.no_buffer => by(Kind::Sendfile, Reason::NoBuffer),
        _ if small => by(Kind::Uring, Reason::Small),
        _ if slow => by(Kind::Sendfile, Reason::SlowClient),
        Some(true) => by(Kind::Sendfile, Reason::Resident),
        None => by(Kind::Sendfile, Reason::Unknown),
    }
}

/// Starts what is chosen by what the body itself tells.
pub(super) fn start(body: Body) -> Box<dyn Engine> {
    let direct = body.version.direct.is_some();
    let facts = Facts { count: body.count, direct, ..Facts::default() };
    table::start(choose(&facts, &Thresholds::default()).kind, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u64 = 16 << 10;
    const MIDDLE: u64 = 64 << 10;
    const LARGE: u64 = 1 << 20;
    const HUGE: u64 = 16 << 20;

    fn facts(count: u64) -> Facts {
        Facts { count, ..Facts::default() }
    }

    #[test]
    fn each_row_of_the_table_is_chosen() {
        let resident = |count| Facts { resident: Some(true), ..facts(count) };
        let once = |count| Facts { resident: Some(false), direct: true, ..facts(count) };
        let cold = |count| Facts { asked: Asked::Again, ..once(count) };
        let rare = |count| Facts { asked: Asked::Rarely, ..once(count) };
        let passes = |facts| Facts { passes: true, ..facts };
        let no_direct = Facts { direct: false, ..once(LARGE) };
        let blocks = |facts| Facts { may_block: true, ..facts };
        let slow = |facts| Facts { rate: Some(1000), ..facts };
        let short = |facts| Facts { no_buffer: true, ..facts };
        let kept = |facts| Facts { kept: true, direct: true, ..facts };
        for (facts, kind, why) in [
            (facts(1), Kind::Uring, Reason::Small),
            (facts(SMALL), Kind::Uring, Reason::Small),
            (facts(SMALL + 1), Kind::Sendfile, Reason::Unknown),
            (resident(SMALL), Kind::Uring, Reason::Small),
            (resident(MIDDLE), Kind::Sendfile, Reason::Resident),
            (resident(u64::MAX), Kind::Sendfile, Reason::Resident),
            (cold(SMALL), Kind::Uring, Reason::Cold),
            (cold(LARGE - 1), Kind::Uring, Reason::Cold),
            (cold(LARGE), Kind::Sendfile, Reason::Cold),
            (once(LARGE), Kind::Direct, Reason::Once),
            (rare(LARGE), Kind::Direct, Reason::Rare),
            (once(HUGE - 1), Kind::Direct, Reason::Once),
            (once(HUGE), Kind::Sendfile, Reason::Cold),
            (rare(HUGE), Kind::Sendfile, Reason::Cold),
            (passes(once(HUGE)), Kind::Direct, Reason::Cold),
            (rare(MIDDLE), Kind::Direct, Reason::Rare),
            (rare(SMALL), Kind::Uring, Reason::Cold),
            (passes(cold(LARGE)), Kind::Direct, Reason::Cold),
            (passes(once(SMALL)), Kind::Uring, Reason::Cold),
            (once(MIDDLE), Kind::Direct, Reason::Once),
            (once(SMALL), Kind::Uring, Reason::Cold),
            (Facts { direct: false, ..once(MIDDLE) }, Kind::Uring, Reason::Cold),
            (Facts { no_block: true, ..once(MIDDLE) }, Kind::Uring, Reason::NoBlock),
            (no_direct, Kind::Sendfile, Reason::Cold),
            (blocks(facts(LARGE)), Kind::Uring, Reason::MayBlock),
            (blocks(cold(LARGE)), Kind::Uring, Reason::MayBlock),
            (blocks(resident(LARGE)), Kind::Sendfile, Reason::Resident),
            (slow(resident(LARGE)), Kind::Sendfile, Reason::SlowClient),
            (slow(facts(1)), Kind::Uring, Reason::Small),
            (short(facts(1)), Kind::Sendfile, Reason::NoBuffer),
            (short(blocks(facts(1))), Kind::Uring, Reason::MayBlock),
            (short(cold(1)), Kind::Uring, Reason::Cold),
            (slow(cold(1)), Kind::Uring, Reason::Cold),
            (slow(cold(LARGE)), Kind::Sendfile, Reason::SlowClient),
            (Facts { no_block: true, ..cold(LARGE) }, Kind::Sendfile, Reason::Cold),
            (Facts { no_block: true, ..rare(LARGE) }, Kind::Uring, Reason::NoBlock),
            (Facts { kept: true, ..cold(LARGE) }, Kind::Direct, Reason::Kept),
            (blocks(Facts { kept: true, ..cold(LARGE) }), Kind::Direct, Reason::Kept),
            (Facts { kept: true, ..facts(LARGE) }, Kind::Sendfile, Reason::Unknown),
            (Facts { kept: true, ..resident(MIDDLE) }, Kind::Sendfile, Reason::Resident),
            (kept(resident(LARGE)), Kind::Sendfile, Reason::Resident),
            (kept(resident(SMALL)), Kind::Direct, Reason::Kept),
            (kept(Facts { resident: None, ..cold(LARGE) }), Kind::Direct, Reason::Kept),
        ] {
            let choice = choose(&facts, &Thresholds::default());
            assert_eq!(choice, Choice { kind, why }, "{facts:?}");
        }
    }

    /// Where the lab has found that O_DIRECT is never ahead.
    #[test]
    fn what_never_goes_past_the_page_cache_goes_through_it_as_ever() {
        let never = Thresholds { once_bytes_min: 1 << 62, ..Thresholds::default() };
        for asked in [Asked::Once, Asked::Rarely, Asked::Again] {
            let cold = |count| Facts { resident: Some(false), direct: true, asked, ..facts(count) };
            for (count, kind) in [
                (SMALL, Kind::Uring),
                (LARGE - 1, Kind::Uring),
                (LARGE, Kind::Sendfile),
                (HUGE, Kind::Sendfile),
            ] {
                let choice = choose(&cold(count), &never);
                assert_eq!(choice, Choice { kind, why: Reason::Cold }, "{count} {asked:?}");
            }
        }
    }

    #[test]
    fn a_reason_stands_at_its_number_and_has_a_name_of_its_own() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(Reason::ALL[..number].iter().all(|other| other.name() != reason.name()));
        }
    }
}
