//! Conditions are weighed without a panic, and an exact tag is what decides.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::conditions::{Conditions, Outcome, Validators, evaluate};
use pitcrew::http::date;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(5, |byte| *byte == b'\n');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (matched, unmodified, none, modified, range) = (next(), next(), next(), next(), next());
    let validators = Validators { tag: Some(b"\"tag\""), last_modified: Some(784_111_777) };
    let weigh = |none: Option<&[u8]>| {
        let conditions = Conditions {
            if_match: matched,
            if_none_match: none,
            if_modified_since: modified,
            if_unmodified_since: unmodified,
            if_range: range,
        };
        evaluate(conditions, validators, 1_000_000_000)
    };
    let outcome = weigh(none);
    // If-Match and If-Unmodified-Since come first, whatever stands behind them.
    if outcome == Outcome::PreconditionFailed {
        assert_eq!(weigh(Some(b"*")), Outcome::PreconditionFailed);
    } else {
        assert_eq!(weigh(Some(b"*")), Outcome::NotModified);
    }
    for value in [unmodified, modified, range].into_iter().flatten() {
        if let Some(seconds) = date::parse(value, 1_000_000_000) {
            assert!((-100_000_000_000..300_000_000_000).contains(&seconds), "{seconds}");
        }
    }
});
