//! Byte ranges (RFC 9110 section 14), parsed and resolved against the length of a file.

use crate::limits::RANGE_COUNT_MAX;

/// A part of a file that exists: `start + len` is at most its length, `len` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

impl Span {
    /// Offset behind the last byte.
    pub fn end(self) -> u64 {
        self.start + self.len
    }
}

/// What a Range field asks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Malformed or in another unit: 200, as if the field were not there.
    Ignored,
    /// Too many ranges, or more bytes asked than the file has: 200 (RFC 9110 section 14.2 lets
    /// the server decide).
    Whole,
    /// 206 with one Content-Range.
    One(Span),
    /// 206 as multipart/byteranges: at least two spans that neither overlap nor touch, in the
    /// order asked, at most [`RANGE_COUNT_MAX`].
    Many(Vec<Span>),
    /// 416: nothing that was asked is in the file.
    Unsatisfiable,
}

/// Selects the spans of a file of `length` bytes that the value of a Range field asks for.
///
/// A request with several Range fields has none that is valid: the field is no list, so its
/// lines cannot be joined.
///
/// # Examples
///
/// ```
/// use pitcrew::http::range::{Selection, Span, select};
///
/// assert_eq!(select(b"bytes=-500", 800), Selection::One(Span { start: 300, len: 500 }));
/// assert_eq!(select(b"bytes=800-", 800), Selection::Unsatisfiable);
/// assert_eq!(select(b"lines=1-2", 800), Selection::Ignored);
/// ```
pub fn select(value: &[u8], length: u64) -> Selection {
    let Some(set) = ranges_of_bytes(value) else { return Selection::Ignored };
    let mut merged: Vec<Span> = Vec::new();
    let mut first = None;
    let (mut count, mut members, mut asked) = (0, 0, 0u128);
    for element in set.split(|byte| *byte == b',') {
        count += 1;
        if count > RANGE_COUNT_MAX {
            return Selection::Whole;
        }
        let element = trim(element);
        if element.is_empty() {
            // Empty list elements are read over (RFC 9110 section 5.6.1.2).
            continue;
        }
        let Some(spec) = Spec::parse(element) else { return Selection::Ignored };
        members += 1;
        let Some(span) = spec.resolve(length) else { continue };
        asked += u128::from(span.len);
        match first {
            // The usual single range allocates nothing.
            None => first = Some(span),
            Some(first) => {
                if merged.is_empty() {
                    merged.push(first);
                }
                merge(&mut merged, span);
            }
        }
    }
    match (members, first, merged.as_slice()) {
        (0, _, _) => Selection::Ignored,
        (_, None, _) => Selection::Unsatisfiable,
        _ if asked > u128::from(length) => Selection::Whole,
        (_, Some(span), []) | (_, _, &[span]) => Selection::One(span),
        _ => Selection::Many(merged),
    }
}

/// One range as it was asked, its numbers in digits, for they have no upper bound.
enum Spec<'a> {
    From(&'a [u8]),
    Between(&'a [u8], &'a [u8]),
    Last(&'a [u8]),
}

impl Spec<'_> {
    fn parse(element: &[u8]) -> Option<Spec<'_>> {
        let dash = memchr::memchr(b'-', element)?;
        let (first, last) = (&element[..dash], &element[dash + 1..]);
        if !first.iter().chain(last).all(u8::is_ascii_digit) {
            return None;
        }
        match (first, last) {
            ([], []) => None,
            ([], last) => Some(Spec::Last(last)),
            (first, []) => Some(Spec::From(first)),
            // A last position before the first is invalid (RFC 9110 section 14.1.1).
            (first, last) if is_less(last, first) => None,
            (first, last) => Some(Spec::Between(first, last)),
        }
    }

    /// The part of it that a file of `length` bytes has.
    fn resolve(&self, length: u64) -> Option<Span> {
        let (start, end) = match self {
            Spec::From(first) => (number(first), length),
            Spec::Between(first, last) => {
                (number(first), number(last).saturating_add(1).min(length))
            }
            Spec::Last(count) => (length.saturating_sub(number(count)), length),
        };
        (start < end).then(|| Span { start, len: end - start })
    }
}

/// Adds a span to spans that neither overlap nor touch, in the place of the first of those that
/// it joins.
fn merge(spans: &mut Vec<Span>, new: Span) {
    let (mut start, mut end) = (new.start, new.end());
    let mut place = spans.len();
    let mut at = 0;
    spans.retain(|span| {
        // Growing cannot reach a span that was passed by: that one touches none of those joined.
        let joins = span.start <= new.end() && new.start <= span.end();
        if joins {
            start = start.min(span.start);
            end = end.max(span.end());
            place = place.min(at);
        }
        at += 1;
        !joins
    });
    // Those before the place were all kept, so it is still the right index.
    spans.insert(place.min(spans.len()), Span { start, len: end - start });
}

/// What follows `bytes=`; the unit is case-insensitive (RFC 9110 section 14.1).
fn ranges_of_bytes(value: &[u8]) -> Option<&[u8]> {
    let value = trim(value);
    let equals = memchr::memchr(b'=', value)?;
    value[..equals].eq_ignore_ascii_case(b"bytes").then(|| &value[equals + 1..])
}

/// A number, or the largest one when it is larger: no file is that long.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |sum, digit| {
        sum.checked_mul(10)
            .and_then(|sum| sum.checked_add(u64::from(digit - b'0')))
            .unwrap_or(u64::MAX)
    })
}

/// Compares two numbers of any length by their digits.
fn is_less(one: &[u8], two: &[u8]) -> bool {
    let significant = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    let (one, two) = (&one[significant(one)..], &two[significant(two)..]);
    (one.len(), one) < (two.len(), two)
}

/// Optional whitespace of a list (RFC 9110 section 5.6.3).
fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_space(byte)).count();
    let end = value.iter().rev().take_while(|byte| is_space(byte)).count();
    value.get(start..value.len() - end).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(start: u64, len: u64) -> Selection {
        Selection::One(Span { start, len })
    }

    fn many(spans: &[(u64, u64)]) -> Selection {
        Selection::Many(
            spans.iter().map(|(start, len)| Span { start: *start, len: *len }).collect(),
        )
    }

    /// RFC 9110 section 14.1.2.
    #[test]
    fn single_ranges() {
        for (value, selection) in [
            ("bytes=0-0", one(0, 1)),
            ("bytes=10-19", one(10, 10)),
            ("bytes=90-", one(90, 10)),
            ("bytes=0-", one(0, 100)),
            ("bytes=-1", one(99, 1)),
            ("bytes=-100", one(0, 100)),
            ("bytes=-101", one(0, 100)),
            ("bytes=-99999999999999999999999", one(0, 100)),
            ("bytes=99-100", one(99, 1)),
            ("bytes=50-99999999999999999999999", one(50, 50)),
            ("bytes=50-18446744073709551615", one(50, 50)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=100-200", Selection::Unsatisfiable),
            ("bytes=18446744073709551615-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-99999999999999999999999", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=-00", Selection::Unsatisfiable),
            ("BYTES=0-0", one(0, 1)),
            (" bytes=\t0-0 ", one(0, 1)),
            ("bytes=,0-0,,", one(0, 1)),
            ("bytes=007-0008", one(7, 2)),
        ] {
            assert_eq!(select(value.as_bytes(), 100), selection, "{value}");
        }
    }

    /// RFC 9110 sections 14.1.1 and 14.2: invalid sets and unknown units are ignored.
    #[test]
    fn what_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=0-1,2-1",
            "bytes=0-1,x",
            "bytes =0-1",
            "bytes=0 -1",
            "bytes=0- 1",
            "bytes=+1-2",
            "bytes=0--1",
            "bytes=1-2-3",
            "bytes=0-1;2-3",
            "lines=0-1",
            "bytes:0-1",
            "bytes=99999999999999999999999-99999999999999999999998",
            "bytes=0x1-2",
        ] {
            assert_eq!(select(value.as_bytes(), 100), Selection::Ignored, "{value}");
        }
    }

    /// RFC 9110 section 15.5.17.
    #[test]
    fn an_empty_file_has_no_satisfiable_range() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=0-0,-5"] {
            assert_eq!(select(value.as_bytes(), 0), Selection::Unsatisfiable, "{value}");
        }
        assert_eq!(select(b"bytes=1-0", 0), Selection::Ignored);
    }

    /// RFC 9110 section 15.3.7.2: joined where they overlap, and in the order asked.
    #[test]
    fn several_ranges() {
        for (value, selection) in [
            ("bytes=0-1,4-5", many(&[(0, 2), (4, 2)])),
            ("bytes=4-5, 0-1", many(&[(4, 2), (0, 2)])),
            ("bytes=0-1,2-3", one(0, 4)),
            ("bytes=2-3,0-1", one(0, 4)),
            ("bytes=0-5,3-9", one(0, 10)),
            ("bytes=50-51,0-1,90-91,2-3", many(&[(50, 2), (0, 4), (90, 2)])),
            ("bytes=0-1,90-91,10-11,1-10", many(&[(0, 12), (90, 2)])),
            ("bytes=90-91,10-11,0-1,1-10", many(&[(90, 2), (0, 12)])),
            ("bytes=0-0,-1", many(&[(0, 1), (99, 1)])),
            ("bytes=0-0,200-", one(0, 1)),
            ("bytes=200-,-0", Selection::Unsatisfiable),
            ("bytes=0-,0-0", Selection::Whole),
            ("bytes=0-98,50-51", Selection::Whole),
            ("bytes=0-49,50-99", one(0, 100)),
            ("bytes=0-0,90-999", many(&[(0, 1), (90, 10)])),
        ] {
            assert_eq!(select(value.as_bytes(), 100), selection, "{value}");
        }
    }

    /// RFC 9110 section 17.15.
    #[test]
    fn the_number_of_ranges_is_bounded() {
        let set = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
            select(format!("bytes={}", ranges.join(",")).as_bytes(), 1000)
        };
        assert!(matches!(set(64), Selection::Many(spans) if spans.len() == 64));
        assert_eq!(set(65), Selection::Whole);
        assert_eq!(select(format!("bytes=0-0{}", ",".repeat(64)).as_bytes(), 9), Selection::Whole);
    }

    /// RFC 9110 section 14.1.1: a position has any number of digits.
    #[test]
    fn the_ends_of_64_bits() {
        assert_eq!(select(b"bytes=0-", u64::MAX), one(0, u64::MAX));
        assert_eq!(select(b"bytes=18446744073709551614-", u64::MAX), one(u64::MAX - 1, 1));
        assert_eq!(select(b"bytes=0-18446744073709551615", u64::MAX), one(0, u64::MAX));
        assert_eq!(select(b"bytes=1-,2-", u64::MAX), Selection::Whole);
    }

    /// The slow and obvious way: a file of bits.
    fn model(specs: &[(Option<u64>, Option<u64>)], length: u64) -> Selection {
        let mut groups: Vec<Vec<u64>> = Vec::new();
        let mut asked = 0;
        for spec in specs {
            let bytes: Vec<u64> = (0..length)
                .filter(|at| match spec {
                    (Some(first), Some(last)) => first <= at && at <= last,
                    (Some(first), None) => first <= at,
                    (None, Some(count)) => length - at <= *count,
                    (None, None) => false,
                })
                .collect();
            if matches!(spec, (None, None)) || matches!(spec, (Some(a), Some(b)) if a > b) {
                return Selection::Ignored;
            }
            asked += bytes.len() as u64;
            if !bytes.is_empty() {
                groups.push(bytes);
            }
        }
        if groups.is_empty() {
            return Selection::Unsatisfiable;
        }
        if asked > length {
            return Selection::Whole;
        }
        'again: loop {
            for one in 0..groups.len() {
                for two in one + 1..groups.len() {
                    let near = |at: &u64| groups[two].iter().any(|other| at.abs_diff(*other) <= 1);
                    if groups[one].iter().any(near) {
                        let bytes = groups.remove(two);
                        groups[one].extend(bytes);
                        continue 'again;
                    }
                }
            }
            break;
        }
        let spans: Vec<Span> = groups
            .iter()
            .map(|bytes| {
                let (start, last) = (*bytes.iter().min().unwrap(), *bytes.iter().max().unwrap());
                Span { start, len: last - start + 1 }
            })
            .collect();
        if let [span] = spans[..] { Selection::One(span) } else { Selection::Many(spans) }
    }

    proptest! {
        /// RFC 9110 sections 14.1.2 and 15.3.7.2.
        #[test]
        fn as_the_model_selects(
            specs in prop::collection::vec(
                (prop::option::weighted(0.9, 0..70u64), 0..6u64, prop::bool::weighted(0.9)), 1..8),
            length in 0..60u64,
        ) {
            let specs: Vec<_> = specs.iter().map(|(first, count, closed)| {
                let last = first.map_or(*count, |first| (first + count).saturating_sub(1));
                (*first, closed.then_some(last))
            }).collect();
            let text = |end: &Option<u64>| end.map(|end| end.to_string()).unwrap_or_default();
            let set: Vec<_> = specs.iter()
                .map(|(first, last)| format!("{}-{}", text(first), text(last)))
                .collect();
            let value = format!("bytes={}", set.join(", "));
            prop_assert_eq!(select(value.as_bytes(), length), model(&specs, length), "{}", value);
        }

        #[test]
        fn any_value_keeps_the_promises(
            value in "(bytes=)?[-0-9, \t=a]{0,60}", length in prop_oneof![0..50u64, any::<u64>()],
        ) {
            match select(value.as_bytes(), length) {
                Selection::One(span) => prop_assert!(span.len > 0 && span.end() <= length),
                Selection::Many(spans) => {
                    prop_assert!(spans.len() > 1);
                    for (at, span) in spans.iter().enumerate() {
                        prop_assert!(span.len > 0 && span.end() <= length);
                        for other in &spans[at + 1..] {
                            prop_assert!(span.end() < other.start || other.end() < span.start);
                        }
                    }
                }
                _ => {}
            }
        }

        #[test]
        fn any_bytes(value in prop::collection::vec(any::<u8>(), 0..40), length in any::<u64>()) {
            let _ = select(&value, length);
        }
    }
}
