//! What the log itself says, in lines that no record looks like.

use super::escape::Escape;
use crate::http::sink::Sink;

/// What the log itself says of records that are missing: a line that no record looks like.
pub(super) fn put_marker(out: &mut Vec<u8>, escape: Escape, missing: u64) {
    let (before, after): (&[u8], &[u8]) = match escape {
        Escape::Text => (b"# pitcrew: missing records: ", b"\n"),
        Escape::Json => (b"{\"missing\":", b"}\n"),
    };
    out.put(before);
    out.put_decimal(missing);
    out.put(after);
}

/// How many records a line stands for: one, or as many as it says are missing.
pub(super) fn records_of_line(line: &[u8], escape: Escape) -> u64 {
    missing_in(line, escape).unwrap_or(1)
}

/// How many records a line says are missing, if it is a word of the log.
pub(super) fn missing_in(line: &[u8], escape: Escape) -> Option<u64> {
    let prefix: &[u8] = match escape {
        Escape::Text => b"# pitcrew: missing records: ",
        Escape::Json => b"{\"missing\":",
    };
    let rest = line.strip_prefix(prefix)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}
