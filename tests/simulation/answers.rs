//! Reads what a client got, and says whether it is right.

use pitcrew::http::date;

use super::requests::{Content, Expect, LISTED, Request};

/// What the byte of a file that grew is.
pub(crate) const GROWN: u8 = 0xee;
/// What the endpoint of the test answers with.
pub(crate) const MADE: &[u8] = b"made by the test";

/// What spoils answers in a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Refusals for want of resources, time-outs and cut connections are right, too.
    pub(crate) refusals: bool,
    /// Files were cut or replaced.
    pub(crate) files_change: bool,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    fields: Vec<(String, &'a str)>,
    body: &'a [u8],
    /// Bytes of it, head and body.
    pub(crate) bytes: usize,
    complete: bool,
}

impl<'a> Answer<'a> {
    fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// RFC 9110 section 6.6.1: the date is that of the answer, also when the clock jumps.
    fn check_date(&self, clock: &[i64]) {
        let text = self.field("date").expect("every answer has a date");
        let told = date::parse(text.as_bytes(), 0).expect("a date");
        assert!(clock.contains(&told), "{text} ({told}), and the clock was at {clock:?}");
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads an answer; none while its head is not whole. A body may be.
pub(crate) fn parse<'a>(wire: &'a [u8], no_body: bool) -> Option<Answer<'a>> {
    let head_bytes = wire.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&wire[..head_bytes - 4]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let status = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("a status line: {line}"));
    let status: u16 = status[..3].parse().unwrap();
    let fields: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("a field: {line}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let mut answer = Answer { status, fields, body: &[], bytes: head_bytes, complete: true };
    let bodiless = no_body || matches!(status, 100 | 204 | 304);
    if !bodiless {
        let length = answer.field("content-length").expect("an answer has a length");
        let length: usize = length.parse().unwrap();
        let body = &wire[head_bytes..];
        answer.complete = body.len() >= length;
        answer.body = &body[..length.min(body.len())];
        answer.bytes += answer.body.len();
    }
    Some(answer)
}

/// How far the answers have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Answers that are whole and right.
    pub(crate) answers: usize,
    /// Where the next one begins.
    pub(crate) at: usize,
    /// Whether the last one said that it is the last.
    pub(crate) closed: bool,
    /// Answers that were a file, whole or in part.
    pub(crate) files: u64,
    /// Answers that were a listing.
    pub(crate) listings: u64,
    /// Refusals for want of something.
    pub(crate) refused: u64,
}

impl Reading {
    /// Reads on as far as answers are whole; at the end also what there is of another. With the
    /// bytes come the seconds that the wall clock has shown meanwhile.
    pub(crate) fn advance(
        &mut self,
        (wire, clock): (&[u8], &[i64]),
        requests: &[Request],
        site: &[Content],
        tolerance: Tolerance,
        is_end: bool,
    ) {
        while self.at < wire.len() && !self.closed {
            let request = requests.get(self.answers);
            let no_body = request.is_some_and(|request| request.head);
            let Some(answer) = parse(&wire[self.at..], no_body) else { return };
            if answer.status == 100 {
                self.at += answer.bytes;
                continue;
            }
            answer.check_date(clock);
            if !answer.complete && !is_end {
                return;
            }
            // What was refused before it was read: by a time-out, or among too many.
            let unasked = answer.closes() && matches!(answer.status, 408 | 503);
            let answer = match unasked && no_body && tolerance.refusals {
                // It answers no request, not even the HEAD that comes next, and has a body.
                true => parse(&wire[self.at..], false).expect("it was parsed before"),
                false => answer,
            };
            match request {
                Some(request) => self.check(&answer, request, site, tolerance),
                None => assert!(unasked && tolerance.refusals, "nobody asked: {answer:?}"),
            }
            let told_shortly = unasked && no_body && answer.body.is_empty();
            if !(answer.complete || told_shortly) {
                return;
            }
            self.at += answer.bytes;
            self.closed = answer.closes();
            self.answers += 1;
        }
    }

    /// At the end of the connection: what is left is the beginning of an answer, or nothing.
    pub(crate) fn end(&self, wire: &[u8], tolerance: Tolerance) {
        let rest = &wire[self.at..];
        if self.closed {
            let rest = String::from_utf8_lossy(rest);
            assert!(rest.is_empty(), "after the last answer: {rest:?}");
        }
        let cut = tolerance.refusals || rest.is_empty();
        assert!(
            cut,
            "an answer was cut: {:?}",
            String::from_utf8_lossy(&rest[..rest.len().min(300)])
        );
    }

    fn check(
        &mut self,
        answer: &Answer<'_>,
        request: &Request,
        site: &[Content],
        tolerance: Tolerance,
    ) {
        let asked = String::from_utf8_lossy(&request.bytes[..request.bytes.len().min(200)]);
        let wrong =
            |why: &str| -> ! { panic!("{why}: {} {:?} to {asked}", answer.status, answer.fields) };
        if matches!(answer.status, 408 | 503) {
            self.refused += u64::from(answer.complete);
            if !tolerance.refusals {
                wrong("nothing was missing");
            }
            return;
        }
        match &request.expect {
            Expect::Status(expected) => {
                if !expected.contains(&answer.status) {
                    wrong("another status");
                }
                if answer.status == 200 && !MADE.starts_with(answer.body) {
                    wrong("another body");
                }
            }
            Expect::Listing => {
                if answer.status != 200 {
                    wrong("another status");
                }
                if answer.complete && names(answer.body) != LISTED {
                    wrong("another listing");
                }
                self.listings += u64::from(answer.complete);
            }
            Expect::File { path, body, gzip, ranges } => {
                // Of several parts each says its coding; the tag always does.
                let coded = answer.field("etag").is_some_and(|tag| tag.contains(".gz"));
                if coded && !(*gzip && *path == "page.html") {
                    wrong("a coding that nobody asked for");
                }
                let path = if coded { "page.html.gz" } else { *path };
                let file = site.iter().find(|file| file.path == path).unwrap();
                let file = File { file, tolerance };
                self.files += u64::from(answer.complete);
                let right = match answer.status {
                    200 => !*body || file.has(0, answer.body, None, answer),
                    206 => *ranges && file.has_parts(answer),
                    416 => *ranges && answer.field("content-range").is_some(),
                    _ => false,
                };
                if !right {
                    wrong("not what the file holds");
                }
            }
        }
    }
}

/// The names in a listing.
fn names(json: &[u8]) -> Vec<String> {
    let told: serde_json::Value = serde_json::from_slice(json).expect("a listing is JSON");
    let entries = told["entries"].as_array().expect("it has entries");
    entries.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

struct File<'a> {
    file: &'a Content,
    tolerance: Tolerance,
}

impl File<'_> {
    /// Whether one version of the file has these bytes there; a whole body has its length, too.
    fn has(&self, offset: usize, bytes: &[u8], total: Option<usize>, answer: &Answer<'_>) -> bool {
        let length: Option<usize> =
            answer.field("content-length").and_then(|text| text.parse().ok());
        self.file.versions.iter().any(|version| {
            let told = total.or(length).unwrap_or(0);
            // A file may have grown, or, where files are cut, shrunk, when it was asked.
            let long_enough = self.tolerance.files_change || told >= version.len();
            let own = &version[offset.min(version.len())..];
            let (own_bytes, grown) = bytes.split_at(own.len().min(bytes.len()));
            long_enough
                && own_bytes == &own[..own_bytes.len()]
                && grown.iter().all(|byte| *byte == GROWN)
        })
    }

    /// Whether one part, or several, are those of one version.
    fn has_parts(&self, answer: &Answer<'_>) -> bool {
        if let Some(range) = answer.field("content-range") {
            let (start, end, total) = content_range(range);
            return answer.field("content-length") == Some(&(end - start + 1).to_string())
                && self.has(start, answer.body, Some(total), answer);
        }
        let kind = answer.field("content-type").unwrap_or("");
        let Some((_, boundary)) = kind.split_once("boundary=") else { return false };
        let mut rest = answer.body;
        loop {
            let Some(head) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                let closing = format!("\r\n--{boundary}--\r\n");
                let opening = format!("\r\n--{boundary}");
                // A part head that is cut, or the end.
                return rest == closing.as_bytes()
                    || !answer.complete
                        && (rest.starts_with(opening.as_bytes())
                            || opening.as_bytes().starts_with(rest)
                            || rest.len() == answer.body.len());
            };
            let text = String::from_utf8_lossy(&rest[..head]).to_lowercase();
            assert!(text.contains(&format!("--{boundary}").to_lowercase()), "a part: {text}");
            let range = text.split("content-range: ").nth(1).expect("a part has a range");
            let (start, end, total) = content_range(range.split("\r\n").next().unwrap());
            rest = &rest[head + 4..];
            let count = (end - start + 1).min(rest.len());
            if !self.has(start, &rest[..count], Some(total), answer) {
                return false;
            }
            rest = &rest[count..];
            if rest.is_empty() {
                return !answer.complete;
            }
        }
    }
}

fn content_range(text: &str) -> (usize, usize, usize) {
    let text = text.strip_prefix("bytes ").expect("a range of bytes");
    let (range, total) = text.split_once('/').unwrap();
    let (start, end) = range.split_once('-').unwrap();
    (start.parse().unwrap(), end.parse().unwrap(), total.parse().unwrap())
}
