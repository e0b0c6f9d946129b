//! Bodies of multipart/byteranges, read strictly (RFC 9110 section 14.6, RFC 2046 section 5.1).

use std::ops::Range;

use super::Response;

/// One part: its fields and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub fields: Vec<(String, String)>,
    pub range: (u64, u64, u64),
    pub bytes: Vec<u8>,
}

impl Part {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let first = found.next();
        assert!(found.next().is_none(), "{name} occurs twice in a part: {self:?}");
        first.map(|(_, value)| value.as_str())
    }
}

/// Takes a body apart: nothing before the first boundary, nothing behind the last, and the length
/// of each part is what its Content-Range says.
pub fn parts(answer: &Response) -> Result<Vec<Part>, String> {
    let kind = answer.field("content-type").ok_or("no Content-Type")?;
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or_else(|| format!("not multipart/byteranges: {kind}"))?;
    // RFC 2046 section 5.1.1; without a quote only token bytes may stand there.
    let plain = boundary.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !(1..=70).contains(&boundary.len()) || !plain {
        return Err(format!("no boundary: {boundary}"));
    }
    let opening = format!("--{boundary}\r\n");
    let mut rest = &answer.body[..];
    let mut found = Vec::new();
    loop {
        rest = rest.strip_prefix(opening.as_bytes()).ok_or("a part begins with its boundary")?;
        let part = one(&mut rest)?;
        found.push(part);
        rest = rest.strip_prefix(b"\r\n").ok_or("a line end stands behind each part")?;
        if let Some(end) = rest.strip_prefix(format!("--{boundary}--\r\n").as_bytes()) {
            return if end.is_empty() { Ok(found) } else { Err("bytes behind the end".into()) };
        }
    }
}

fn one(rest: &mut &[u8]) -> Result<Part, String> {
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n").ok_or("a part has a head")?;
    let head = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
    *rest = &rest[end + 4..];
    let mut fields = Vec::new();
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no field: {line}"))?;
        fields.push((name.to_owned(), value.to_owned()));
    }
    let mut part = Part { fields, range: (0, 0, 0), bytes: Vec::new() };
    let range = part.field("content-range").ok_or("a part says its range")?;
    let numbers: Vec<u64> = range
        .strip_prefix("bytes ")
        .ok_or("the unit is bytes")?
        .split(['-', '/'])
        .map(|number| number.parse::<u64>().map_err(|error| format!("{range}: {error}")))
        .collect::<Result<_, _>>()?;
    let [first, last, total] = numbers[..] else { return Err(format!("no range: {range}")) };
    if first > last || last >= total {
        return Err(format!("a range that cannot be: {range}"));
    }
    let count = (last - first + 1) as usize;
    if rest.len() < count {
        return Err(format!("{range} with {} bytes", rest.len()));
    }
    part.range = (first, last, total);
    part.bytes = rest[..count].to_vec();
    *rest = &rest[count..];
    Ok(part)
}

/// Checks that an answer has exactly these parts of a file.
pub fn check(what: &str, whole: &[u8], spans: &[Range<usize>], answer: &Response) {
    let found = parts(answer).unwrap_or_else(|fault| panic!("{what}: {fault}: {answer:?}"));
    let said: Vec<_> = found.iter().map(|part| part.range).collect();
    let wanted: Vec<_> = spans
        .iter()
        .map(|span| (span.start as u64, span.end as u64 - 1, whole.len() as u64))
        .collect();
    assert_eq!(said, wanted, "{what}: the ranges of the parts");
    for (part, span) in found.iter().zip(spans) {
        assert!(part.bytes == whole[span.clone()], "{what}: wrong bytes of {span:?}");
        assert!(part.field("content-type").is_some(), "{what}: {part:?}");
        assert!(part.field("content-length").is_none(), "{what}: {part:?}");
    }
}
