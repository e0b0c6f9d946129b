//! Dates of HTTP (RFC 9110 section 5.6.7), as seconds since 1970, and the Date line of an answer.
//!
//! The calendar is computed here for both directions, so that a date before 1970, which a file
//! may well carry, is a number like any other. RFC 850 dates need the current time for their
//! century.

/// Bytes of a date in the preferred form, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const DATE_BYTES: usize = 29;

/// Bytes of a whole Date line with its line end.
pub const DATE_LINE_BYTES: usize = DATE_BYTES + 8;

const DAY_SECONDS: i64 = 86_400;
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
/// The first and last second that four digits of a year can say.
const SECOND_MIN: i64 = -62_167_219_200;
const SECOND_MAX: i64 = 253_402_300_799;

/// The preferred form of a date. A time that its four digits of a year cannot say becomes the
/// nearest that they can: a file may carry any time, and an answer needs some valid date.
pub fn format(second: i64) -> [u8; DATE_BYTES] {
    let second = second.clamp(SECOND_MIN, SECOND_MAX);
    let (days, rest) = (second.div_euclid(DAY_SECONDS), second.rem_euclid(DAY_SECONDS));
    let (year, month, day) = civil(days);
    let mut out = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    out[..3].copy_from_slice(&WEEKDAYS[weekday(days)].as_bytes()[..3]);
    digits(&mut out[5..7], day);
    out[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    digits(&mut out[12..16], year);
    digits(&mut out[17..19], rest / 3600);
    digits(&mut out[20..22], rest / 60 % 60);
    digits(&mut out[23..25], rest % 60);
    out
}

/// The form of RFC 3339, `1994-11-06T08:49:37Z`, for pages and JSON; bounded like [`format()`].
pub fn format_rfc3339(second: i64) -> [u8; 20] {
    let second = second.clamp(SECOND_MIN, SECOND_MAX);
    let (days, rest) = (second.div_euclid(DAY_SECONDS), second.rem_euclid(DAY_SECONDS));
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00Z";
    digits(&mut out[..4], year);
    digits(&mut out[5..7], month);
    digits(&mut out[8..10], day);
    digits(&mut out[11..13], rest / 3600);
    digits(&mut out[14..16], rest / 60 % 60);
    digits(&mut out[17..19], rest % 60);
    out
}

/// The form of the common log format, `06/Nov/1994:08:49:37 +0000`; bounded like [`format()`].
pub fn format_log(second: i64) -> [u8; 26] {
    let preferred = format(second);
    let mut out = *b"00/mmm/0000:00:00:00 +0000";
    out[..2].copy_from_slice(&preferred[5..7]);
    out[3..6].copy_from_slice(&preferred[8..11]);
    out[7..11].copy_from_slice(&preferred[12..16]);
    out[12..20].copy_from_slice(&preferred[17..25]);
    out
}

/// Reads a date in any of the three forms; `now` decides the century of an RFC 850 date.
///
/// Weekday, month and `GMT` are read as they are written in the RFC, case-sensitive, and a weekday
/// that does not fit the date makes it invalid. A leap second is the second after it.
pub fn parse(value: &[u8], now: i64) -> Option<i64> {
    let value = value.trim_ascii();
    let comma = memchr::memchr(b',', value);
    match comma {
        Some(3) => parse_preferred(value),
        Some(comma) => parse_rfc850(value, comma, now),
        None => parse_asctime(value),
    }
}

/// The Date line, kept as bytes and rebuilt only when the second changes.
#[derive(Clone, Debug)]
pub struct DateLine {
    second: i64,
    line: [u8; DATE_LINE_BYTES],
}

impl DateLine {
    /// The line for a second since 1970.
    pub fn new(second: i64) -> DateLine {
        let mut line = *b"Date: ddd, 00 mmm 0000 00:00:00 GMT\r\n";
        line[6..6 + DATE_BYTES].copy_from_slice(&format(second));
        DateLine { second, line }
    }

    /// Brings the line to a second; cheap when it is the same one.
    pub fn refresh(&mut self, second: i64) {
        if second != self.second {
            *self = DateLine::new(second);
        }
    }

    /// `Date: …` with its line end.
    pub fn line(&self) -> &[u8; DATE_LINE_BYTES] {
        &self.line
    }

    /// The second that the line says, which conditions compare with.
    pub fn second(&self) -> i64 {
        self.second
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_preferred(value: &[u8]) -> Option<i64> {
    let value: &[u8; DATE_BYTES] = value.try_into().ok()?;
    let spaces = [4, 7, 11, 16].iter().all(|at| value[*at] == b' ');
    if !spaces || &value[25..] != b" GMT" {
        return None;
    }
    let days = days(number(&value[12..16])?, month(&value[8..11])?, number(&value[5..7])?)?;
    let named = WEEKDAYS[weekday(days)].as_bytes();
    (value[..3] == named[..3]).then_some(days * DAY_SECONDS + clock(&value[17..25])?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn parse_rfc850(value: &[u8], comma: usize, now: i64) -> Option<i64> {
    let (name, rest) = value.split_at(comma);
    let rest: &[u8; 24] = rest.try_into().ok()?;
    let shape = rest[1] == b' ' && rest[4] == b'-' && rest[8] == b'-' && rest[11] == b' ';
    if !shape || &rest[20..] != b" GMT" {
        return None;
    }
    let clock = clock(&rest[12..20])?;
    let (month, day) = (month(&rest[5..8])?, number(&rest[2..4])?);
    // A year that appears to be more than 50 years in the future is the most recent past year
    // with the same last two digits (RFC 9110 section 5.6.7).
    let (this, _, _) = civil(now.clamp(SECOND_MIN, SECOND_MAX).div_euclid(DAY_SECONDS));
    let mut year = this - this.rem_euclid(100) + number(&rest[9..11])?;
    if year > this + 50 {
        year -= 100;
    } else if year <= this - 50 {
        year += 100;
    }
    let days = days(year, month, day)?;
    (name == WEEKDAYS[weekday(days)].as_bytes()).then_some(days * DAY_SECONDS + clock)
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(value: &[u8]) -> Option<i64> {
    let value: &[u8; 24] = value.try_into().ok()?;
    if ![3, 7, 10, 19].iter().all(|at| value[*at] == b' ') {
        return None;
    }
    let day = if value[8] == b' ' { &value[9..10] } else { &value[8..10] };
    let days = days(number(&value[20..])?, month(&value[4..7])?, number(day)?)?;
    let named = WEEKDAYS[weekday(days)].as_bytes();
    (value[..3] == named[..3]).then_some(days * DAY_SECONDS + clock(&value[11..19])?)
}

/// `08:49:37`, as seconds.
fn clock(value: &[u8]) -> Option<i64> {
    if value[2] != b':' || value[5] != b':' {
        return None;
    }
    let (hour, minute, second) =
        (number(&value[..2])?, number(&value[3..5])?, number(&value[6..])?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn month(name: &[u8]) -> Option<i64> {
    let index = MONTHS.iter().position(|month| *month == name)?;
    i64::try_from(index + 1).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

fn digits(out: &mut [u8], mut value: i64) {
    for place in out.iter_mut().rev() {
        *place = b'0' + value.rem_euclid(10) as u8;
        value /= 10;
    }
}

fn weekday(days: i64) -> usize {
    days.rem_euclid(7) as usize
}

/// Days since 1970 of a date, if there is such a day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    // Years that begin in March put the leap day last; 400 of them are 146097 days.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (cycle, of_cycle) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: i64 = 1_763_900_000; // November 2025

    fn text(second: i64) -> String {
        String::from_utf8(format(second).to_vec()).unwrap()
    }

    /// RFC 9110 section 5.6.7, its own examples.
    #[test]
    fn three_forms_of_one_date() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format_rfc3339(784_111_777), b"1994-11-06T08:49:37Z");
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT", NOW), Some(784_111_777));
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW), Some(784_111_777));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994", NOW), Some(784_111_777));
        assert_eq!(parse(b" Sun, 06 Nov 1994 08:49:37 GMT ", NOW), Some(784_111_777));
    }

    /// RFC 9110 section 5.6.7: two digits of a year more than 50 years ahead are in the past.
    #[test]
    fn the_century_of_an_rfc850_date() {
        assert_eq!(parse(b"Thursday, 01-Jan-70 00:00:00 GMT", NOW), None, "2070 is a Wednesday");
        let date = parse(b"Wednesday, 01-Jan-70 00:00:00 GMT", NOW);
        assert_eq!(date.map(text).as_deref(), Some("Wed, 01 Jan 2070 00:00:00 GMT"));
        let date = parse(b"Tuesday, 01-Jan-75 00:00:00 GMT", NOW);
        assert_eq!(date.map(text).as_deref(), Some("Tue, 01 Jan 2075 00:00:00 GMT"));
        let date = parse(b"Thursday, 01-Jan-76 00:00:00 GMT", NOW);
        assert_eq!(date.map(text).as_deref(), Some("Thu, 01 Jan 1976 00:00:00 GMT"));
    }

    /// RFC 9110 section 5.6.7.
    #[test]
    fn what_is_no_date() {
        for value in [
            "",
            ",",
            "Sun, 06 Nov 1994 08:49:37",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 94",
            "784111777",
        ] {
            assert_eq!(parse(value.as_bytes(), NOW), None, "{value}");
        }
    }

    #[test]
    fn the_edges_of_the_calendar() {
        assert_eq!(text(i64::MIN), "Sat, 01 Jan 0000 00:00:00 GMT");
        assert_eq!(text(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(parse(b"Thu, 31 Dec 1998 23:59:60 GMT", NOW), Some(915_148_800));
    }

    #[test]
    fn the_date_line_follows_the_second() {
        let mut line = DateLine::new(784_111_777);
        assert_eq!(line.line(), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        line.refresh(784_111_778);
        assert_eq!(line.line(), b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
        assert_eq!(line.second(), 784_111_778);
    }

    proptest! {
        #[test]
        fn as_httpdate_writes_and_reads_it(second in 0..=SECOND_MAX) {
            let model = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second as u64));
            prop_assert_eq!(text(second), model);
        }

        #[test]
        fn what_is_written_is_read(second in SECOND_MIN..=SECOND_MAX) {
            prop_assert_eq!(parse(&format(second), NOW), Some(second));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            value in prop::collection::vec(any::<u8>(), 0..40), now in any::<i64>(),
        ) {
            let _ = parse(&value, now);
        }

        /// Only letters and digits: the model reads some separators without looking at them.
        #[test]
        fn a_date_with_one_letter_changed(
            at in 0..30usize, byte in "[0-9A-Za-z]", form in 0..3usize,
        ) {
            let mut value = [
                &b"Sun, 06 Nov 1994 08:49:37 GMT"[..],
                b"Sunday, 06-Nov-94 08:49:37 GMT",
                b"Sun Nov  6 08:49:37 1994",
            ][form].to_vec();
            let at = at % value.len();
            if value[at].is_ascii_alphanumeric() {
                value[at] = byte.as_bytes()[0];
            }
            let model = httpdate::parse_http_date(std::str::from_utf8(&value).unwrap())
                .map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64);
            // Where the model is stricter (a leap second, a year before 1970) it says nothing.
            if let Ok(model) = model {
                prop_assert_eq!(parse(&value, NOW), Some(model));
            }
        }
    }
}
