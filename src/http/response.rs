//! Response heads as bytes.
//!
//! What belongs to a file and not to a request is built once as [`EntityLines`] and kept beside
//! the open file; an answer is a status line, those lines, and the few that differ each time. One
//! head so costs some copies and two decimal numbers.

use super::date::{self, DateLine};
use super::media::Media;
use super::negotiate::Coding;
use super::range::Span;
use super::sink::Sink;
use super::status::Status;
use super::tag::Tag;
use super::target;

/// The interim answer to `Expect: 100-continue` (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer is known by, apart from its length.
#[derive(Clone, Copy, Debug)]
pub struct Entity<'a> {
    /// The content type, that of the original also for a precompressed variant.
    pub media: Media<'a>,
    /// How the bytes are coded.
    pub coding: Coding,
    /// The entity tag, if there is one.
    pub tag: Option<Tag>,
    /// Last-Modified in seconds since 1970. It must not be in the future (RFC 9110 section
    /// 8.8.2.1), so the caller gives the earlier of the file's time and now, and gives the same
    /// value to the conditions.
    pub last_modified: Option<i64>,
    /// Ranges of it are served.
    pub ranges: bool,
    /// What the answer depends on beside the target.
    pub vary: Vary,
}

/// The request fields that an answer depends on (RFC 9110 section 12.5.5). Caches mix up answers
/// when one is missing, so they are named whatever is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    /// Accept: there are other forms of it.
    pub accept: bool,
    /// Accept-Encoding: the name has variants.
    pub encoding: bool,
    /// Origin: it is shared with some origins and not with others.
    pub origin: bool,
}

impl Vary {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let all =
            [(self.accept, "Accept"), (self.encoding, "Accept-Encoding"), (self.origin, "Origin")];
        all.into_iter().filter(|(varies, _)| *varies).map(|(_, name)| name)
    }
}

impl<'a> Entity<'a> {
    /// An answer that is made and not a file: no validators, no ranges.
    pub fn of_text(media: Media<'a>) -> Entity<'a> {
        let coding = Coding::Identity;
        let vary = Vary::default();
        Entity { media, coding, tag: None, last_modified: None, ranges: false, vary }
    }
}

/// The lines of an entity, built once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityLines {
    bytes: Box<[u8]>,
    /// Where the lines end that also a 304 carries.
    kept: usize,
    /// Where the lines begin that describe the bytes, which in a multipart stand in its parts.
    content: usize,
}

impl EntityLines {
    /// Builds the lines, with the configured edits.
    pub fn new(entity: &Entity<'_>, edits: &[FieldEdit]) -> EntityLines {
        let mut lines = Builder { out: Vec::with_capacity(320), edits, generated: Vec::new() };
        lines.field("Server", b"pitcrew");
        if let Some(second) = entity.last_modified {
            lines.field("Last-Modified", &date::format(second));
        }
        if let Some(tag) = &entity.tag {
            lines.field("ETag", tag.as_bytes());
        }
        if entity.vary != Vary::default() {
            lines.vary(entity.vary);
        }
        lines.others();
        lines.field("X-Content-Type-Options", b"nosniff");
        let kept = lines.out.len();
        if entity.ranges {
            lines.field("Accept-Ranges", b"bytes");
        }
        let content = lines.out.len();
        if let Some(token) = entity.coding.token() {
            lines.field("Content-Encoding", token.as_bytes());
        }
        let mut media = Vec::with_capacity(64);
        entity.media.write(&mut media);
        lines.field("Content-Type", &media);
        EntityLines { bytes: lines.out.into_boxed_slice(), kept, content }
    }

    /// The lines for a 304 (RFC 9110 section 15.4.5).
    fn kept(&self) -> &[u8] {
        &self.bytes[..self.kept]
    }

    /// The lines but for those of [`EntityLines::content`].
    fn outer(&self) -> &[u8] {
        &self.bytes[..self.content]
    }

    /// Content-Type and Content-Encoding, with their line ends.
    pub fn content(&self) -> &[u8] {
        &self.bytes[self.content..]
    }

    /// Every line.
    pub fn all(&self) -> &[u8] {
        &self.bytes
    }
}

/// A configured change of the fields of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldEdit {
    name: String,
    value: Option<String>,
}

/// Why a configured field was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The name is no token.
    Name,
    /// The value holds a byte that could end the line.
    Value,
    /// The field frames the message or is computed, and would be wrong.
    Reserved,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Name => "this is not a name of a field",
            Self::Value => "a value holds visible ASCII, spaces and tabs only",
            Self::Reserved => "the server computes this field; it cannot be configured",
        })
    }
}

impl FieldEdit {
    /// The field is sent with this value, instead of any that the server would send.
    ///
    /// # Errors
    ///
    /// [`FieldError`] for what could not be sent, or not truthfully.
    pub fn set(name: &str, value: &str) -> Result<FieldEdit, FieldError> {
        let value = value.trim_matches([' ', '\t']);
        if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(FieldError::Value);
        }
        let computed = ["Accept-Ranges", "ETag", "Last-Modified"];
        if computed.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            return Err(FieldError::Reserved);
        }
        Ok(FieldEdit { value: Some(value.to_owned()), ..FieldEdit::remove(name)? })
    }

    /// The field is not sent.
    ///
    /// # Errors
    ///
    /// [`FieldError`] for a field that has to stay.
    pub fn remove(name: &str) -> Result<FieldEdit, FieldError> {
        const RESERVED: [&str; 11] = [
            "Connection",
            "Content-Encoding",
            "Content-Length",
            "Content-Range",
            "Date",
            "Keep-Alive",
            "Location",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ];
        if name.is_empty() || !name.bytes().all(super::media::is_token) {
            return Err(FieldError::Name);
        }
        if RESERVED.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            return Err(FieldError::Reserved);
        }
        Ok(FieldEdit { name: name.to_owned(), value: None })
    }

    /// The name as it is sent.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; none when the field is not sent.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    fn is_of(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// What an answer says of its connection (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, which HTTP/1.1 need not say.
    Implied,
    /// It stays open, and HTTP/1.0 has to be told.
    KeepAlive,
    /// It closes after this answer.
    Close,
}

/// The lines that differ with each answer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The Date.
    pub date: &'a DateLine,
    /// The Connection.
    pub persistence: Persistence,
    /// Further whole lines, such as Allow or Retry-After, each with its line end.
    pub extra: &'a [u8],
}

/// A head with a Content-Length: 200 to GET and HEAD, and every redirect and refusal.
pub fn whole(
    out: &mut impl Sink,
    status: Status,
    lines: &EntityLines,
    length: u64,
    frame: Frame<'_>,
) {
    debug_assert!(status.allows_body(), "an answer without body has no length");
    status_line(out, status);
    out.put(lines.all());
    content_length(out, length);
    finish(out, frame);
}

/// A head without a body or a Content-Length: 204 and 304 (RFC 9110 section 8.6).
pub fn bare(out: &mut impl Sink, status: Status, lines: &EntityLines, frame: Frame<'_>) {
    debug_assert!(!status.allows_body(), "an answer with a body says its length");
    status_line(out, status);
    out.put(lines.kept());
    finish(out, frame);
}

/// 206 with one span of a file of `total` bytes (RFC 9110 section 15.3.7.1).
pub fn partial(out: &mut impl Sink, lines: &EntityLines, span: Span, total: u64, frame: Frame<'_>) {
    status_line(out, Status::PartialContent);
    out.put(lines.all());
    content_range(out, span, total);
    content_length(out, span.len);
    finish(out, frame);
}

/// 206 with several spans; `length` is that of the whole multipart body (RFC 9110 section
/// 15.3.7.2).
pub fn multipart(
    out: &mut impl Sink,
    lines: &EntityLines,
    boundary: &[u8],
    length: u64,
    frame: Frame<'_>,
) {
    status_line(out, Status::PartialContent);
    out.put(lines.outer());
    out.put(b"Content-Type: multipart/byteranges; boundary=");
    out.put(boundary);
    out.put(b"\r\n");
    content_length(out, length);
    finish(out, frame);
}

/// 416 of a file of `total` bytes, with the lines and length of the refusal's body (RFC 9110
/// section 15.5.17).
pub fn unsatisfiable(
    out: &mut impl Sink,
    lines: &EntityLines,
    total: u64,
    length: u64,
    frame: Frame<'_>,
) {
    status_line(out, Status::RangeNotSatisfiable);
    out.put(lines.all());
    out.put(b"Content-Range: bytes */");
    out.put_decimal(total);
    out.put(b"\r\n");
    content_length(out, length);
    finish(out, frame);
}

/// Appends a whole Location line to a place on this server, for [`Frame::extra`].
///
/// It is up to three times as long as the path, which for the longest target is more than a buffer
/// for heads holds: the writer tells, and the answer is then 414.
pub fn location_line(path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    out.put(b"Location: ");
    target::location(path, query, out);
    out.put(b"\r\n");
}

/// Writes a Content-Range line.
pub(super) fn content_range(out: &mut impl Sink, span: Span, total: u64) {
    out.put(b"Content-Range: bytes ");
    out.put_decimal(span.start);
    out.put(b"-");
    out.put_decimal(span.end() - 1);
    out.put(b"/");
    out.put_decimal(total);
    out.put(b"\r\n");
}

fn status_line(out: &mut impl Sink, status: Status) {
    match status {
        Status::Ok => out.put(b"HTTP/1.1 200 OK\r\n"),
        Status::PartialContent => out.put(b"HTTP/1.1 206 Partial Content\r\n"),
        Status::NotModified => out.put(b"HTTP/1.1 304 Not Modified\r\n"),
        _ => {
            out.put(b"HTTP/1.1 ");
            out.put_decimal(u64::from(status.code()));
            out.put(b" ");
            out.put(status.reason().as_bytes());
            out.put(b"\r\n");
        }
    }
}

fn content_length(out: &mut impl Sink, length: u64) {
    out.put(b"Content-Length: ");
    out.put_decimal(length);
    out.put(b"\r\n");
}

fn finish(out: &mut impl Sink, frame: Frame<'_>) {
    debug_assert!(frame.extra.is_empty() || frame.extra.ends_with(b"\r\n"), "whole lines");
    out.put(frame.date.line());
    match frame.persistence {
        Persistence::Implied => {}
        Persistence::KeepAlive => out.put(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.put(b"Connection: close\r\n"),
    }
    out.put(frame.extra);
    out.put(b"\r\n");
}

/// Writes generated lines with the edits applied to them.
struct Builder<'a> {
    out: Vec<u8>,
    edits: &'a [FieldEdit],
    generated: Vec<&'static str>,
}

impl Builder<'_> {
    /// A line that the server generates, unless an edit replaces or removes it.
    fn field(&mut self, name: &'static str, value: &[u8]) {
        self.generated.push(name);
        match self.edits.iter().rev().find(|edit| edit.is_of(name)) {
            None => self.line(name, value),
            Some(edit) => {
                if let Some(value) = &edit.value {
                    self.line(&edit.name, value.as_bytes());
                }
            }
        }
    }

    /// What the answer depends on, beside what is configured.
    fn vary(&mut self, vary: Vary) {
        self.generated.push("Vary");
        let edits = self.edits;
        let edit = edits.iter().rev().find(|edit| edit.is_of("Vary"));
        let configured: &str = edit.and_then(|edit| edit.value.as_deref()).unwrap_or_default();
        if names(configured, "*") {
            return self.line("Vary", configured.as_bytes());
        }
        let mut all: Vec<&str> = Vec::new();
        for name in vary.names().filter(|name| !names(configured, name)) {
            all.push(name);
        }
        all.extend(Some(configured).filter(|list| !list.is_empty()));
        self.line("Vary", all.join(", ").as_bytes());
    }

    /// The configured fields that the server does not generate itself; the last of a name counts.
    fn others(&mut self) {
        const LATER: [&str; 3] = ["Accept-Ranges", "X-Content-Type-Options", "Content-Type"];
        for (at, edit) in self.edits.iter().enumerate() {
            let generated = self.generated.iter().chain(&LATER).any(|name| edit.is_of(name));
            let replaced = self.edits[at + 1..].iter().any(|later| later.is_of(&edit.name));
            if let Some(value) = &edit.value
                && !generated
                && !replaced
            {
                self.line(&edit.name, value.as_bytes());
            }
        }
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        self.out.put(name.as_bytes());
        self.out.put(b": ");
        self.out.put(value);
        self.out.put(b"\r\n");
    }
}

/// Whether a list names a token.
fn names(list: &str, token: &str) -> bool {
    list.split(',').any(|element| element.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::sink::{HeadWriter, Overflow};
    use super::*;

    const ENCODING: Vary = Vary { accept: false, encoding: true, origin: false };

    fn entity() -> Entity<'static> {
        Entity {
            media: Media::new("image/png"),
            coding: Coding::Identity,
            tag: Some(Tag::of_file(1_763_900_000, 123_456_789, 40_000, Coding::Identity)),
            last_modified: Some(784_111_777),
            ranges: true,
            vary: Vary::default(),
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>, Frame<'_>)) -> String {
        let date = DateLine::new(784_111_778);
        let mut out = Vec::new();
        write(&mut out, Frame { date: &date, persistence: Persistence::Implied, extra: b"" });
        String::from_utf8(out).unwrap()
    }

    /// RFC 9110 sections 8 and 14.3: what an answer with a file says of it.
    #[test]
    fn a_plain_file() {
        let tag = Tag::of_file(0, 1, 5, Coding::Identity);
        let lines = EntityLines::new(&Entity { tag: Some(tag), ..entity() }, &[]);
        let head = text(|out, frame| whole(out, Status::Ok, &lines, 5, frame));
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\n\
             Server: pitcrew\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             ETag: \"1-5\"\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Accept-Ranges: bytes\r\n\
             Content-Type: image/png\r\n\
             Content-Length: 5\r\n\
             Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n\r\n"
        );
    }

    /// The fields that a common server sends for the same file, for comparisons to be fair.
    #[test]
    fn a_head_is_about_as_long_as_usual() {
        let usual = "HTTP/1.1 200 OK\r\nServer: nginx/1.28.0\r\n\
            Date: Sun, 06 Nov 1994 08:49:38 GMT\r\nContent-Type: image/png\r\n\
            Content-Length: 40000\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Connection: keep-alive\r\nETag: \"6922fb60-9c40\"\r\nAccept-Ranges: bytes\r\n\r\n";
        let lines = EntityLines::new(&entity(), &[]);
        let head = text(|out, frame| whole(out, Status::Ok, &lines, 40_000, frame));
        assert!(head.len() <= usual.len() + 16, "{} to {}", head.len(), usual.len());
    }

    /// RFC 9110 section 15.4.5: the fields that would have been in a 200, but no length.
    #[test]
    fn not_modified_describes_no_bytes() {
        let entity = Entity { vary: ENCODING, coding: Coding::Br, ..entity() };
        let cache = FieldEdit::set("Cache-Control", "max-age=60").unwrap();
        let lines = EntityLines::new(&entity, &[cache]);
        let head = text(|out, frame| bare(out, Status::NotModified, &lines, frame));
        for field in ["Server", "Last-Modified", "ETag", "Vary", "Cache-Control", "Date"] {
            assert!(head.contains(&format!("\r\n{field}: ")), "{field} in {head}");
        }
        // It is on every answer.
        assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
        for field in ["Content-", "Accept-Ranges", "Transfer-Encoding"] {
            assert!(!head.contains(&format!("\r\n{field}")), "{field} in {head}");
        }
    }

    /// RFC 9110 sections 14.4 and 15.3.7.
    #[test]
    fn partial_answers() {
        let lines = EntityLines::new(&Entity { coding: Coding::Gzip, ..entity() }, &[]);
        let span = Span { start: 10, len: 20 };
        let head = text(|out, frame| partial(out, &lines, span, 100, frame));
        assert!(head.starts_with("HTTP/1.1 206 Partial Content\r\n"));
        assert!(head.contains("\r\nContent-Range: bytes 10-29/100\r\nContent-Length: 20\r\n"));
        assert!(head.contains("\r\nContent-Encoding: gzip\r\nContent-Type: image/png\r\n"));
        let head = text(|out, frame| multipart(out, &lines, b"xyz", 321, frame));
        assert!(head.contains(
            "\r\nContent-Type: multipart/byteranges; boundary=xyz\r\nContent-Length: 321\r\n"
        ));
        assert!(!head.contains("Content-Range") && !head.contains("Content-Encoding"));
        let refusal = EntityLines::new(&Entity::of_text(Media::new("text/plain")), &[]);
        let head = text(|out, frame| unsatisfiable(out, &refusal, 100, 7, frame));
        assert!(head.starts_with("HTTP/1.1 416 Range Not Satisfiable\r\n"));
        assert!(head.contains("\r\nContent-Range: bytes */100\r\nContent-Length: 7\r\n"));
    }

    /// RFC 9112 section 9.3.
    #[test]
    fn the_connection_is_said_when_it_has_to_be() {
        let lines = EntityLines::new(&Entity::of_text(Media::new("text/plain")), &[]);
        let of = |persistence| {
            text(|out, frame| {
                let frame = Frame { persistence, extra: b"Allow: GET\r\n", ..frame };
                bare(out, Status::NoContent, &lines, frame);
            })
        };
        assert!(of(Persistence::Close).ends_with("\r\nConnection: close\r\nAllow: GET\r\n\r\n"));
        assert!(of(Persistence::KeepAlive).contains("\r\nConnection: keep-alive\r\n"));
        assert!(!of(Persistence::Implied).contains("Connection"));
        assert!(of(Persistence::Implied).starts_with("HTTP/1.1 204 No Content\r\n"));
        assert!(!of(Persistence::Implied).contains("Content-Length"));
    }

    /// RFC 9110 section 10.2.2.
    #[test]
    fn a_redirect_stays_on_this_host() {
        let lines = EntityLines::new(&Entity::of_text(Media::new("text/plain")), &[]);
        let mut extra = Vec::new();
        location_line(b"//evil.example/a b/", Some(b"x=1"), &mut extra);
        let head = text(|out, frame| {
            whole(out, Status::MovedPermanently, &lines, 0, Frame { extra: &extra, ..frame });
        });
        assert!(head.starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
        assert!(head.contains("\r\nContent-Length: 0\r\n"));
        assert!(head.ends_with("\r\nLocation: /evil.example/a%20b/?x=1\r\n\r\n"));
    }

    /// RFC 9110 section 5.1, and section 12.5.5 for Vary.
    #[test]
    fn edits_set_replace_and_remove() {
        let edits = [
            FieldEdit::set("server", "other").unwrap(),
            FieldEdit::set("X-A", "1").unwrap(),
            FieldEdit::set("x-a", " 2 ").unwrap(),
            FieldEdit::set("X-B", "3").unwrap(),
            FieldEdit::remove("x-b").unwrap(),
            FieldEdit::set("content-type", "text/x-mine").unwrap(),
            FieldEdit::set("Vary", "Origin").unwrap(),
            FieldEdit::remove("ETag").unwrap(),
        ];
        let lines = EntityLines::new(&Entity { vary: ENCODING, ..entity() }, &edits);
        assert_eq!(
            std::str::from_utf8(lines.all()).unwrap(),
            "server: other\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Vary: Accept-Encoding, Origin\r\n\
             x-a: 2\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Accept-Ranges: bytes\r\n\
             content-type: text/x-mine\r\n"
        );
        let vary = |value| {
            let edits = [FieldEdit::set("Vary", value).unwrap()];
            let lines = EntityLines::new(&Entity { vary: ENCODING, ..entity() }, &edits);
            String::from_utf8(lines.all().to_vec()).unwrap()
        };
        assert!(vary("Origin, accept-encoding").contains("\r\nVary: Origin, accept-encoding\r\n"));
        assert!(vary("*").contains("\r\nVary: *\r\n"));
        let edits = [FieldEdit::remove("Vary").unwrap()];
        let lines = EntityLines::new(&Entity { vary: ENCODING, ..entity() }, &edits);
        assert!(lines.all().windows(21).any(|at| at == b"Vary: Accept-Encoding"));
    }

    /// RFC 9110 section 5.5.
    #[test]
    fn an_edit_cannot_break_the_message() {
        assert_eq!(FieldEdit::set("a", "b\r\nc: d"), Err(FieldError::Value));
        assert_eq!(FieldEdit::set("a", "\u{e4}"), Err(FieldError::Value));
        assert_eq!(FieldEdit::set("a:", "b"), Err(FieldError::Name));
        assert_eq!(FieldEdit::set("", "b"), Err(FieldError::Name));
        assert_eq!(FieldEdit::set("content-LENGTH", "1"), Err(FieldError::Reserved));
        assert_eq!(FieldEdit::set("etag", "\"1\""), Err(FieldError::Reserved));
        assert_eq!(FieldEdit::remove("transfer-encoding"), Err(FieldError::Reserved));
    }

    #[test]
    fn a_head_that_does_not_fit_is_told() {
        let lines = EntityLines::new(&entity(), &[]);
        let date = DateLine::new(0);
        let frame = Frame { date: &date, persistence: Persistence::Implied, extra: b"" };
        let mut counted = 0u64;
        whole(&mut counted, Status::Ok, &lines, 5, frame);
        let mut room = vec![0; counted as usize];
        let mut writer = HeadWriter::new(&mut room);
        whole(&mut writer, Status::Ok, &lines, 5, frame);
        assert_eq!(writer.finish(), Ok(counted as usize));
        let mut writer = HeadWriter::new(&mut room[1..]);
        whole(&mut writer, Status::Ok, &lines, 5, frame);
        assert_eq!(writer.finish(), Err(Overflow));
    }
}
