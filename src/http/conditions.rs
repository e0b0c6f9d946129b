//! Preconditions in the order of RFC 9110 section 13.2.2.
//!
//! They are for GET and HEAD, and for an answer that would be 2xx without them; the caller sees to
//! both.

use super::date;

/// The conditional fields of a request. The list fields may come as several lines, and `None` is
/// an iterator too; a date field that came more than once is invalid and is given as `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a, M, N> {
    /// Values of If-Match.
    pub if_match: M,
    /// Values of If-None-Match.
    pub if_none_match: N,
    /// Value of If-Modified-Since.
    pub if_modified_since: Option<&'a [u8]>,
    /// Value of If-Unmodified-Since.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// Value of If-Range.
    pub if_range: Option<&'a [u8]>,
}

/// What the selected representation is known by, exactly as the answer would say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// Its entity tag with the quotes.
    pub tag: Option<&'a [u8]>,
    /// Its Last-Modified, in seconds since 1970.
    pub last_modified: Option<i64>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request is answered as it would be without conditions.
    Proceed {
        /// A Range field, if there is one, counts (RFC 9110 section 13.1.5).
        range_allowed: bool,
    },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Weighs the conditions of a request at the time that its answer's Date says.
///
/// # Examples
///
/// ```
/// use pitcrew::http::conditions::{Conditions, Outcome, Validators, evaluate};
///
/// let conditions = Conditions {
///     if_match: None,
///     if_none_match: [&b"\"other\""[..], b"W/\"tag\""],
///     if_modified_since: None,
///     if_unmodified_since: None,
///     if_range: None,
/// };
/// let validators = Validators { tag: Some(b"\"tag\""), last_modified: None };
/// assert_eq!(evaluate(conditions, validators, 0), Outcome::NotModified);
/// ```
pub fn evaluate<'a, M, N>(
    conditions: Conditions<'a, M, N>,
    validators: Validators<'_>,
    now: i64,
) -> Outcome
where
    M: IntoIterator<Item = &'a [u8]>,
    N: IntoIterator<Item = &'a [u8]>,
{
    let modified = validators.last_modified;
    let parse = |value: Option<&[u8]>| value.and_then(|value| date::parse(value, now));
    match matches(conditions.if_match, validators.tag, is_same_strong) {
        Some(false) => return Outcome::PreconditionFailed,
        Some(true) => {}
        None => {
            let since = parse(conditions.if_unmodified_since);
            if since.zip(modified).is_some_and(|(since, modified)| modified > since) {
                return Outcome::PreconditionFailed;
            }
        }
    }
    match matches(conditions.if_none_match, validators.tag, is_same_weak) {
        Some(true) => return Outcome::NotModified,
        Some(false) => {}
        None => {
            let since = parse(conditions.if_modified_since);
            if since.zip(modified).is_some_and(|(since, modified)| modified <= since) {
                return Outcome::NotModified;
            }
        }
    }
    let range_allowed =
        conditions.if_range.is_none_or(|value| range_condition(value, validators, now));
    Outcome::Proceed { range_allowed }
}

/// If-Range: a strong tag, or an exact date that is a strong validator because it is at least one
/// second before the Date of the answer (RFC 9110 sections 13.1.5 and 8.8.2.2).
fn range_condition(value: &[u8], validators: Validators<'_>, now: i64) -> bool {
    let value = value.trim_ascii();
    if value.first() == Some(&b'"') || value.starts_with(b"W/") {
        return validators.tag.is_some_and(|tag| is_same_strong(value, tag));
    }
    let asked = date::parse(value, now);
    asked.is_some() && asked == validators.last_modified && asked.is_some_and(|asked| asked < now)
}

/// Whether any tag of a list is the representation's, or the list is `*`; `None` without a field.
fn matches<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    tag: Option<&[u8]>,
    is_same: fn(&[u8], &[u8]) -> bool,
) -> Option<bool> {
    let mut found = None;
    for line in lines {
        // `*` is any current representation, and there is one (RFC 9110 section 13.1.1).
        let any = line.trim_ascii() == b"*";
        let named = tag.is_some_and(|tag| Tags { rest: line }.any(|listed| is_same(listed, tag)));
        found = Some(found.unwrap_or(false) || any || named);
    }
    found
}

/// RFC 9110 section 8.8.3.2.
fn is_same_strong(one: &[u8], two: &[u8]) -> bool {
    one == two && one.first() == Some(&b'"')
}

/// RFC 9110 section 8.8.3.2.
fn is_same_weak(one: &[u8], two: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    opaque(one) == opaque(two)
}

/// The entity tags of a list, up to the first that is malformed: a comma may stand inside a tag,
/// so behind a malformed one nothing is certain.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let skipped =
            self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b',')).count();
        let rest = &self.rest[skipped..];
        self.rest = &[];
        let prefix = if rest.starts_with(b"W/") { 2 } else { 0 };
        let opaque = rest[prefix..].strip_prefix(b"\"")?;
        let len = memchr::memchr(b'"', opaque)?;
        if !opaque[..len].iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)) {
            return None;
        }
        let (tag, behind) = rest.split_at(prefix + len + 2);
        let behind = behind.trim_ascii_start();
        if !(behind.is_empty() || behind[0] == b',') {
            return None;
        }
        self.rest = behind;
        Some(tag)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000_000;
    const MODIFIED: i64 = 784_111_777;
    const SAME: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";
    const PROCEED: Outcome = Outcome::Proceed { range_allowed: true };
    const NO_RANGE: Outcome = Outcome::Proceed { range_allowed: false };

    type Fields<'a> = Conditions<'a, Vec<&'a [u8]>, Vec<&'a [u8]>>;

    fn of(fields: Fields<'_>) -> Outcome {
        let validators = Validators { tag: Some(b"\"a\""), last_modified: Some(MODIFIED) };
        evaluate(fields, validators, NOW)
    }

    fn if_match(value: &str) -> Outcome {
        of(Fields { if_match: vec![value.as_bytes()], ..Fields::default() })
    }

    fn if_none_match(value: &str) -> Outcome {
        of(Fields { if_none_match: vec![value.as_bytes()], ..Fields::default() })
    }

    /// RFC 9110 section 13.2.2.
    #[test]
    fn no_condition_proceeds() {
        assert_eq!(of(Fields::default()), PROCEED);
        let none = Conditions {
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            if_range: None,
        };
        assert_eq!(evaluate(none, Validators::default(), NOW), PROCEED);
    }

    /// RFC 9110 section 13.1.1: the strong comparison.
    #[test]
    fn if_match_is_strong() {
        for value in ["\"a\"", "*", " * ", "\"b\", \"a\"", ",\"b\",,\"a\"", "\"x,y\",\"a\""] {
            assert_eq!(if_match(value), PROCEED, "{value}");
        }
        for value in
            ["W/\"a\"", "\"b\"", "", "a", "\"a", "\"b\" \"a\"", "**", "x, \"a\"", "w/\"a\""]
        {
            assert_eq!(if_match(value), Outcome::PreconditionFailed, "{value}");
        }
    }

    /// RFC 9110 section 13.1.2: the weak comparison, over several lines.
    #[test]
    fn if_none_match_is_weak() {
        for value in ["\"a\"", "W/\"a\"", "*", "\"b\",W/\"a\"", "\"b\"\t,\t\"a\""] {
            assert_eq!(if_none_match(value), Outcome::NotModified, "{value}");
        }
        for value in ["\"b\"", "", "a", "\"A\"", "\"a\"x", "\"a b\", \"a\""] {
            assert_eq!(if_none_match(value), PROCEED, "{value}");
        }
        let lines = Fields { if_none_match: vec![b"\"b\"", b"\"a\""], ..Fields::default() };
        assert_eq!(of(lines), Outcome::NotModified);
    }

    /// RFC 9110 section 13.1.3.
    #[test]
    fn if_modified_since() {
        for (value, outcome) in [
            (SAME, Outcome::NotModified),
            (LATER, Outcome::NotModified),
            (EARLIER, PROCEED),
            (b"Sunday, 06-Nov-94 08:49:37 GMT", Outcome::NotModified),
            (b"Sun Nov  6 08:49:37 1994", Outcome::NotModified),
            (b"yesterday", PROCEED),
            (b"", PROCEED),
        ] {
            assert_eq!(of(Fields { if_modified_since: Some(value), ..Fields::default() }), outcome);
        }
        let fields = Fields {
            if_none_match: vec![b"\"b\""],
            if_modified_since: Some(SAME),
            ..Fields::default()
        };
        assert_eq!(of(fields), PROCEED, "ignored beside If-None-Match");
    }

    /// RFC 9110 section 13.1.4.
    #[test]
    fn if_unmodified_since() {
        for (value, outcome) in [
            (SAME, PROCEED),
            (LATER, PROCEED),
            (EARLIER, Outcome::PreconditionFailed),
            (b"0", PROCEED),
        ] {
            assert_eq!(
                of(Fields { if_unmodified_since: Some(value), ..Fields::default() }),
                outcome
            );
        }
        let fields = Fields {
            if_match: vec![b"\"a\""],
            if_unmodified_since: Some(EARLIER),
            ..Fields::default()
        };
        assert_eq!(of(fields), PROCEED, "ignored beside If-Match");
    }

    /// RFC 9110 section 13.2.2: If-Match comes before If-None-Match, and that before If-Range.
    #[test]
    fn the_order_of_conditions() {
        let fields =
            Fields { if_match: vec![b"\"b\""], if_none_match: vec![b"\"a\""], ..Fields::default() };
        assert_eq!(of(fields), Outcome::PreconditionFailed);
        let fields =
            Fields { if_none_match: vec![b"\"a\""], if_range: Some(b"\"b\""), ..Fields::default() };
        assert_eq!(of(fields), Outcome::NotModified);
        let fields = Fields {
            if_unmodified_since: Some(SAME),
            if_modified_since: Some(SAME),
            ..Fields::default()
        };
        assert_eq!(of(fields), Outcome::NotModified);
    }

    /// RFC 9110 section 13.1.5.
    #[test]
    fn if_range() {
        for (value, outcome) in [
            (&b"\"a\""[..], PROCEED),
            (b"W/\"a\"", NO_RANGE),
            (b"\"b\"", NO_RANGE),
            (b"\"a\", \"b\"", NO_RANGE),
            (b"*", NO_RANGE),
            (b"", NO_RANGE),
            (SAME, PROCEED),
            (LATER, NO_RANGE),
            (EARLIER, NO_RANGE),
        ] {
            assert_eq!(of(Fields { if_range: Some(value), ..Fields::default() }), outcome);
        }
    }

    /// RFC 9110 section 8.8.2.2: a date in the same second as the answer is weak.
    #[test]
    fn a_fresh_date_is_weak() {
        let validators = Validators { tag: None, last_modified: Some(MODIFIED) };
        let of =
            |now| evaluate(Fields { if_range: Some(SAME), ..Fields::default() }, validators, now);
        assert_eq!(of(MODIFIED), NO_RANGE);
        assert_eq!(of(MODIFIED + 1), PROCEED);
    }

    /// RFC 9110 sections 13.1.1 and 13.1.3.
    #[test]
    fn a_representation_without_validators() {
        let none = Validators::default();
        let fields = |value: &'static [u8]| Fields {
            if_match: vec![value],
            if_modified_since: Some(SAME),
            ..Fields::default()
        };
        assert_eq!(evaluate(fields(b"*"), none, NOW), PROCEED);
        assert_eq!(evaluate(fields(b"\"a\""), none, NOW), Outcome::PreconditionFailed);
        let weak = Validators { tag: Some(b"W/\"a\""), last_modified: None };
        assert_eq!(evaluate(fields(b"W/\"a\""), weak, NOW), Outcome::PreconditionFailed);
    }

    /// A list as the model has it: tags as text, or `*`.
    fn listed() -> impl Strategy<Value = Option<Vec<String>>> {
        let tag =
            prop_oneof![Just("*".to_owned()), "(W/)?\"[abc,]{1,2}\"", Just("junk".to_owned()),];
        prop::option::of(prop::collection::vec(tag, 1..3))
    }

    fn dated() -> impl Strategy<Value = Option<Option<i64>>> {
        prop::option::of(prop::option::weighted(0.9, MODIFIED - 2..MODIFIED + 3))
    }

    proptest! {
        /// One line a tag, so that the model needs no parser; the steps of section 13.2.2 by name.
        #[test]
        fn as_the_steps_of_the_rfc(
            matched in listed(), none_matched in listed(), modified in dated(),
            unmodified in dated(), range in prop::option::of("(W/)?\"[abc]\""), ours in "\"[abc]\"",
            now in MODIFIED..MODIFIED + 3,
        ) {
            let lines = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
            let text = |date: Option<Option<i64>>| {
                date.map(|date| date.map_or(b"never".to_vec(), |at| date::format(at).to_vec()))
            };
            let (m, n) = (lines(&matched), lines(&none_matched));
            let (since, until) = (text(modified), text(unmodified));
            let fields = Fields {
                if_match: m.iter().map(String::as_bytes).collect(),
                if_none_match: n.iter().map(String::as_bytes).collect(),
                if_modified_since: since.as_deref(),
                if_unmodified_since: until.as_deref(),
                if_range: range.as_ref().map(String::as_bytes),
            };
            let model = || {
                // 1 and 2
                if let Some(list) = &matched {
                    if !list.iter().any(|tag| tag == "*" || *tag == ours) {
                        return Outcome::PreconditionFailed;
                    }
                } else if let Some(Some(date)) = unmodified && MODIFIED > date {
                    return Outcome::PreconditionFailed;
                }
                // 3 and 4
                if let Some(list) = &none_matched {
                    if list.iter().any(|tag| tag == "*" || tag.replace("W/", "") == ours) {
                        return Outcome::NotModified;
                    }
                } else if let Some(Some(date)) = modified && MODIFIED <= date {
                    return Outcome::NotModified;
                }
                // 5
                Outcome::Proceed { range_allowed: range.as_ref().is_none_or(|tag| *tag == ours) }
            };
            let validators =
                Validators { tag: Some(ours.as_bytes()), last_modified: Some(MODIFIED) };
            prop_assert_eq!(evaluate(fields, validators, now), model());
        }

        /// RFC 9110 sections 13.1.5 and 8.8.2.2.
        #[test]
        fn a_date_in_if_range(
            asked in MODIFIED - 2..MODIFIED + 3, now in MODIFIED - 1..MODIFIED + 3,
        ) {
            let value = date::format(asked);
            let validators = Validators { tag: None, last_modified: Some(MODIFIED) };
            let fields = Fields { if_range: Some(&value), ..Fields::default() };
            let range_allowed = asked == MODIFIED && now - asked >= 1;
            prop_assert_eq!(evaluate(fields, validators, now), Outcome::Proceed { range_allowed });
        }

        /// The list is read as its parts are, whatever stands around the commas.
        #[test]
        fn a_list_is_its_members(
            tags in prop::collection::vec("(W/)?\"[!#-~]{0,3}\"", 0..5), gap in "[ \t,]{0,3}",
        ) {
            let line: String = tags.iter().map(|tag| format!("{gap}{tag}{gap},")).collect();
            let read: Vec<_> = Tags { rest: line.as_bytes() }.collect();
            let expected: Vec<_> = tags.iter().map(String::as_bytes).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_bytes(value in "[W/\"a, *\\PC]{0,20}", tag in "\\PC{0,4}") {
            let value = value.as_bytes();
            let fields = Fields {
                if_match: vec![value],
                if_none_match: vec![value],
                if_modified_since: Some(value),
                if_unmodified_since: Some(value),
                if_range: Some(value),
            };
            let validators = Validators { tag: Some(tag.as_bytes()), last_modified: Some(NOW) };
            let _ = evaluate(fields, validators, NOW);
        }
    }
}
