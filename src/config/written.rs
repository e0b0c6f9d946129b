//! A value as it was written, and how it is read as a size, a time, a count or a name.
//!
//! Every failure is a sentence without its place, which the caller adds.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::nearest;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// An argument or a variable: text that may stand for a number, a truth value or, with
    /// commas, a list.
    Loose(OsString),
    /// A string of the file.
    Text(String),
    /// An integer of the file, in decimal.
    Integer(i128),
    /// A truth value of the file.
    Boolean(bool),
    /// A list of the file, or an argument that was given several times.
    List(Vec<Written>),
    /// Something that no key takes, by its name.
    Other(String),
}

impl Written {
    /// What it is, for a message.
    fn kind(&self) -> String {
        match self {
            Self::Loose(_) => "text".to_owned(),
            Self::Text(_) => "a string".to_owned(),
            Self::Integer(_) => "a number".to_owned(),
            Self::Boolean(_) => "a truth value".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(kind) => format!("a value of type {kind}"),
        }
    }

    /// Text, or what was expected instead.
    pub(super) fn text(&self, expected: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Loose(text) => text.to_str().ok_or_else(|| "is not valid UTF-8".to_owned()),
            other => Err(format!("expected {expected}, found {}", other.kind())),
        }
    }

    /// A path, which need not be UTF-8 in an argument.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        let path = match self {
            Self::Loose(text) => PathBuf::from(text),
            other => PathBuf::from(other.text("a path in quotes")?),
        };
        if path.as_os_str().is_empty() {
            return Err("an empty path names nothing; write '.' for this directory".to_owned());
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err("a path cannot hold a NUL byte".to_owned());
        }
        Ok(path)
    }

    /// The members of a list; a single text is split at its commas when it is an argument or
    /// a variable, and an empty one is the empty list.
    pub(super) fn list(&self, expected: &str) -> Result<Vec<String>, String> {
        match self {
            Self::List(members) => {
                let mut all = Vec::new();
                for member in members {
                    match member {
                        Self::Loose(_) => all.extend(member.list(expected)?),
                        _ => all.push(member.text("a string in the list")?.to_owned()),
                    }
                }
                Ok(all)
            }
            Self::Loose(_) => {
                let text = self.text(expected)?;
                let members = text.split(',').map(|member| member.trim().to_owned());
                Ok(if text.is_empty() { Vec::new() } else { members.collect() })
            }
            other => Err(format!("expected {expected} in square brackets, found {}", other.kind())),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self {
            Self::Boolean(truth) => Ok(*truth),
            Self::Loose(text) => match text.to_str() {
                Some("true") => Ok(true),
                Some("false") => Ok(false),
                _ => Err(format!("'{}' is neither true nor false", text.to_string_lossy())),
            },
            Self::Text(text) if text == "true" || text == "false" => {
                Err(format!("expected {text} without quotes"))
            }
            other => Err(format!("expected true or false, found {}", other.kind())),
        }
    }

    /// One of some names.
    pub(super) fn choice<T: Copy>(
        &self,
        what: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T, String> {
        let names = || all.iter().map(|&choice| name(choice));
        let listed = || names().collect::<Vec<_>>().join(", ");
        let text = self.text(&format!("one of {}", listed()))?;
        if let Some(&choice) = all.iter().find(|&&choice| name(choice) == text) {
            return Ok(choice);
        }
        Err(match nearest(text, names()) {
            Some(near) => format!("unknown {what} '{text}'; did you mean '{near}'?"),
            None => format!("unknown {what} '{text}'; choose one of {}", listed()),
        })
    }

    /// A whole number within a range.
    pub(super) fn count(&self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let number = match self {
            Self::Integer(number) => *number,
            Self::Loose(_) => {
                let text = self.text("a number")?;
                let plain = text.strip_prefix('-').unwrap_or(text);
                if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!("'{text}' is not a whole number"));
                }
                text.parse().unwrap_or(i128::MAX)
            }
            Self::Text(text) if text.parse::<u64>().is_ok() => {
                return Err(format!("expected {text} without quotes"));
            }
            other => return Err(format!("expected a whole number, found {}", other.kind())),
        };
        match u64::try_from(number) {
            Ok(count) if range.contains(&count) => Ok(count),
            _ => Err(out_of_range(number, range.start(), range.end())),
        }
    }

    /// A number of bytes within a range, written with its unit.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let text = match self {
            Self::Integer(number) => number.to_string(),
            other => other.text("a size such as \"64KiB\"")?.to_owned(),
        };
        let bytes = if text == "0" { 0 } else { parse_size(&text)? };
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        Err(out_of_range(text, show_size(*range.start()), show_size(*range.end())))
    }

    /// A time within a range, written with its unit.
    pub fn time(&self, range: RangeInclusive<Duration>) -> Result<Duration, String> {
        let text = match self {
            Self::Integer(number) => number.to_string(),
            other => other.text("a time such as \"30s\"")?.to_owned(),
        };
        let time = if text == "0" { Duration::ZERO } else { parse_time(&text)? };
        if range.contains(&time) {
            return Ok(time);
        }
        Err(out_of_range(text, show_time(*range.start()), show_time(*range.end())))
    }
}

fn out_of_range(
    value: impl std::fmt::Display,
    least: impl std::fmt::Display,
    most: impl std::fmt::Display,
) -> String {
    format!("{value} is out of range; from {least} to {most} is allowed")
}

/// Digits, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split_number(text);
    let unit = unit.trim_start();
    if digits.is_empty() {
        return Err(format!("'{text}' is not a size; write a whole number and a unit, as 64KiB"));
    }
    if unit.is_empty() {
        return Err(format!("{text} has no unit; write {text}B, {text}KiB or {text}MiB"));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        // `64k` is 65536 to one program and 64000 to another.
        return Err(match unit.to_ascii_lowercase().as_str() {
            "k" => format!("'{unit}' has two meanings; write {digits}KiB or {digits}kB"),
            "m" => format!("'{unit}' has two meanings; write {digits}MiB or {digits}MB"),
            "g" => format!("'{unit}' has two meanings; write {digits}GiB or {digits}GB"),
            _ => format!("'{text}' is not a size; units are B, KiB, MiB, GiB, kB, MB and GB"),
        });
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*bytes))
        .ok_or_else(|| format!("{text} is more bytes than can be counted"))
}

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// One or more numbers, each with a unit: `30s`, `1m30s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let not_a_time = || format!("'{text}' is not a time; write a whole number and ms, s, m or h");
    let mut rest = text;
    let mut total: u64 = 0;
    loop {
        let (digits, after) = split_number(rest);
        let after = after.trim_start();
        let end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if digits.is_empty() {
            return Err(not_a_time());
        }
        if unit.is_empty() && rest == text {
            return Err(format!("{text} has no unit; write {text}s or {text}ms"));
        }
        let (_, millis) =
            TIMES.iter().find(|(name, _)| *name == unit.trim_end()).ok_or_else(not_a_time)?;
        let part = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*millis));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("{text} is longer than can be counted"))?;
        if after.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = after;
    }
}

/// A size in the largest binary unit that holds it whole.
pub(super) fn show_size(bytes: u64) -> String {
    let fits = |unit: &&(&str, u64)| bytes >= unit.1 && bytes.is_multiple_of(unit.1);
    let (name, unit) = SIZES[..4].iter().rev().find(fits).unwrap_or(&SIZES[0]);
    format!("{}{name}", bytes / unit)
}

/// A time in the largest unit that holds it whole.
pub(super) fn show_time(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = |unit: &&(&str, u64)| millis >= unit.1 && millis.is_multiple_of(unit.1);
    let (name, unit) = TIMES.iter().rev().find(fits).unwrap_or(&TIMES[1]);
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loose(text: &str) -> Written {
        Written::Loose(text.into())
    }

    #[test]
    fn sizes_have_units() {
        let size = |text| loose(text).size(0..=1 << 40);
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("64kib"), Ok(65_536));
        assert_eq!(size("64 kB"), Ok(64_000));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("0"), Ok(0));
        assert!(size("64").unwrap_err().contains("has no unit; write 64B, 64KiB or 64MiB"));
        assert!(size("64k").unwrap_err().contains("write 64KiB or 64kB"));
        assert!(size("1.5GiB").unwrap_err().contains("is not a size"));
        assert!(size("-1B").unwrap_err().contains("is not a size"));
        assert!(size("99999999999999999999GiB").is_err());
        assert!(Written::Integer(64).size(0..=100).unwrap_err().contains("has no unit"));
        assert_eq!(Written::Integer(0).size(0..=100), Ok(0));
    }

    #[test]
    fn times_have_units_and_may_be_joined() {
        let time = |text| loose(text).time(Duration::ZERO..=Duration::from_secs(7200));
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert!(time("30").unwrap_err().contains("has no unit; write 30s or 30ms"));
        assert!(time("1m30").is_err());
        assert!(time("soon").unwrap_err().contains("is not a time"));
        assert!(time("3h").unwrap_err().contains("from 0s to 2h is allowed"));
        assert!(time("99999999999999999999h").is_err());
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for bytes in [0, 1, 512, 1024, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(loose(&show_size(bytes)).size(0..=u64::MAX), Ok(bytes));
        }
        for millis in [0, 1, 999, 1000, 75_000, 60_000, 3_600_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(loose(&show_time(time)).time(Duration::ZERO..=Duration::MAX), Ok(time));
        }
        assert_eq!(show_time(Duration::from_secs(75)), "75s");
    }

    #[test]
    fn counts_are_checked_and_not_clamped() {
        assert_eq!(Written::Integer(7).count(1..=10), Ok(7));
        assert_eq!(loose("7").count(1..=10), Ok(7));
        assert!(loose("11").count(1..=10).unwrap_err().contains("from 1 to 10"));
        assert!(loose("-1").count(0..=10).unwrap_err().starts_with("-1 is out of range"));
        assert!(loose("1e3").count(0..=10).is_err());
        let quoted = Written::Text("7".into()).count(1..=10).unwrap_err();
        assert_eq!(quoted, "expected 7 without quotes");
    }

    #[test]
    fn lists_come_from_brackets_commas_and_repetition() {
        let list = |written: Written| written.list("names");
        assert_eq!(list(loose("a, b")).unwrap(), ["a", "b"]);
        assert_eq!(list(loose("")).unwrap(), [""; 0]);
        let both = Written::List(vec![loose("a,b"), loose("c")]);
        assert_eq!(list(both).unwrap(), ["a", "b", "c"]);
        let file = Written::List(vec![Written::Text("a,b".into())]);
        assert_eq!(list(file).unwrap(), ["a,b"]);
        assert!(list(Written::Text("a".into())).unwrap_err().contains("square brackets"));
    }

    #[test]
    fn truth_is_not_quoted_in_the_file() {
        assert_eq!(Written::Boolean(true).boolean(), Ok(true));
        assert_eq!(loose("false").boolean(), Ok(false));
        assert!(loose("yes").boolean().is_err());
        let quoted = Written::Text("true".into()).boolean().unwrap_err();
        assert_eq!(quoted, "expected true without quotes");
    }
}
