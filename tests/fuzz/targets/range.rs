//! Selected spans lie in the file, do not overlap and are no more than the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pitcrew::http::range::{Selection, select};

fuzz_target!(|input: &[u8]| {
    let Some((length, value)) = input.split_at_checked(8) else { return };
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
    // Small files, where spans meet, as often as any.
    let length = if length.is_multiple_of(2) { length } else { length % 64 };
    let spans = match select(value, length) {
        Selection::One(span) => vec![span],
        Selection::Many(spans) => {
            assert!(spans.len() > 1);
            spans
        }
        _ => return,
    };
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| span.start);
    let mut end = None;
    let mut sum = 0u128;
    for span in sorted {
        assert!(span.len > 0, "an empty span");
        assert!(span.start.checked_add(span.len).is_some_and(|end| end <= length));
        // Spans that touch are merged.
        assert!(end.is_none_or(|end| span.start > end), "{spans:?}");
        end = Some(span.start + span.len);
        sum += u128::from(span.len);
    }
    assert!(sum <= u128::from(length));
});
