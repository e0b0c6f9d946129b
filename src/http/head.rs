//! The head of a request: request line and fields (RFC 9112 sections 2 to 6).
//!
//! [`parse`] is a pure function of the bytes read so far. It never waits for what it does not
//! need: a fault is told at the byte that makes it one, so a hostile client is answered before it
//! has sent the rest, and the answer does not depend on how the bytes were split over packets.
//!
//! Two readers work together. The quick one finds the lines with memchr, decides line ends,
//! target bytes and version itself, and leaves the fields to httparse, which is fast but accepts
//! a bare LF and tells fewer versions apart than there are. Whatever the quick reader does not
//! take, the careful one in `fault` goes through byte by byte and names the first fault, or finds
//! that the head is not complete yet. The quick reader takes exactly the heads in which the
//! careful one finds nothing; a property test holds them together.
//!
//! Nothing is allocated: every part of a [`Head`] borrows from the input. On any
//! [`Parsed::Refused`] the end of the request is in doubt, and the connection closes after the
//! answer. A refusal inside a [`Head`] leaves the framing sound: the body is read away, the
//! answer is sent and the connection goes on.

mod fault;
mod fields;
mod form;
mod framing;

pub use self::fields::{FieldLines, Fields, List, Values};
pub use super::body::Framing;

use self::fault::Verdict;
use self::fields::Seen;
use super::refusal::Refusal;
use super::syntax::{is_target_byte, is_token};
use crate::limits::{
    EMPTY_LINES_MAX, FIELDS_CEILING, FIELDS_FEW, FIELDS_MAX, HEAD_BYTES_MAX, METHOD_BYTES_MAX,
    TARGET_BYTES_MAX,
};
use memchr::memchr;

/// Bounds of a head that an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the target; a longer one is 414.
    pub target_bytes_max: usize,
    /// Bytes of the whole head without skipped empty lines; a longer one is 431.
    pub head_bytes_max: usize,
    /// Fields of the head; more of them is 431. Never counts for more than [`FIELDS_CEILING`],
    /// for which there is room: the configuration refuses a higher one.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            target_bytes_max: TARGET_BYTES_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            fields_max: FIELDS_MAX,
        }
    }
}

impl HeadLimits {
    fn fields(&self) -> usize {
        self.fields_max.min(FIELDS_CEILING)
    }
}

/// What the bytes read so far amount to.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Matched at once where it is made; a box would allocate.
pub enum Parsed<'a> {
    /// No fault so far, and no end: read more.
    Partial,
    /// A head, whose [`Head::bytes`] are the first of the input.
    Complete(Head<'a>),
    /// Not a request this server can frame: answer, then close.
    Refused(Refusal),
}

/// The method of a request (RFC 9110 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Serve the file.
    Get,
    /// Serve the fields of the file.
    Head,
    /// Say what is allowed.
    Options,
    /// Known, refused with 405.
    Post,
    /// Known, refused with 405.
    Put,
    /// Known, refused with 405.
    Patch,
    /// Known, refused with 405.
    Delete,
    /// Known, refused with 405.
    Trace,
    /// Known, refused with 405.
    Connect,
    /// Any other token, refused with 501; methods are case-sensitive.
    Unknown,
}

impl Method {
    fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            _ => Method::Unknown,
        }
    }

    /// The refusal a method earns by itself.
    fn refusal(self) -> Option<Refusal> {
        match self {
            Method::Get | Method::Head | Method::Options => None,
            Method::Unknown => Some(Refusal::MethodUnknown),
            _ => Some(Refusal::MethodNotAllowed),
        }
    }
}

/// The version a request is served as (RFC 9112 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and every higher minor version of HTTP/1 (RFC 9110 section 2.5).
    Http11,
}

/// A complete request head.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// Bytes of the input it takes, skipped empty lines included. The body begins behind them.
    pub bytes: usize,
    /// The method.
    pub method: Method,
    /// The method as on the wire, for the log.
    pub method_token: &'a [u8],
    /// The version it is served as.
    pub version: Version,
    /// The target as on the wire, for the log.
    pub target: &'a [u8],
    /// The raw path of an origin-form or absolute-form target, `*` for asterisk-form. Empty for
    /// CONNECT and for a target that is refused by its form.
    pub path: &'a [u8],
    /// What follows the first `?` of the target.
    pub query: Option<&'a [u8]>,
    /// Host and port: those of an absolute target or of CONNECT, else the value of Host.
    pub authority: Option<&'a [u8]>,
    /// How the body is delimited.
    pub framing: Framing,
    /// The client waits for 100 before it sends its body. False without a body and in HTTP/1.0.
    /// With a refusal the answer goes out at once, without 100.
    pub expect_continue: bool,
    /// Whether the connection may go on after the answer (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// The answer is this refusal, and the framing is sound.
    pub refusal: Option<Refusal>,
    /// The fields.
    pub fields: Fields<'a>,
}

/// Reads a request head from the start of `input`.
#[must_use]
pub fn parse<'a>(input: &'a [u8], limits: &HeadLimits) -> Parsed<'a> {
    let skipped = match empty_lines(input) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Parsed::Partial,
        Err(refusal) => return Parsed::Refused(refusal),
    };
    let rest = &input[skipped..];
    let window = &rest[..rest.len().min(limits.head_bytes_max)];
    if let Some((line, seen, bytes)) = quick(window, limits) {
        return match complete(&line, seen, skipped + bytes) {
            Ok(head) => Parsed::Complete(head),
            Err(refusal) => Parsed::Refused(refusal),
        };
    }
    match fault::first(window, limits) {
        Verdict::Fault(refusal) => Parsed::Refused(refusal),
        // A full window without an end: whatever byte comes next, it is one too many.
        Verdict::Unfinished if rest.len() >= limits.head_bytes_max => {
            Parsed::Refused(Refusal::HeadTooLong)
        }
        Verdict::Unfinished => Parsed::Partial,
        Verdict::Sound => {
            debug_assert!(false, "the quick reader takes every head without a fault");
            Parsed::Refused(Refusal::OwnFault)
        }
    }
}

/// Bytes of empty lines before the request line (RFC 9112 section 2.2); none while it is open
/// whether more follow.
fn empty_lines(input: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut bytes = 0;
    loop {
        match &input[bytes..] {
            [b'\r', b'\n', ..] if bytes == 2 * EMPTY_LINES_MAX => return Err(Refusal::EmptyLines),
            [b'\r', b'\n', ..] => bytes += 2,
            [] | [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(Refusal::BareCarriageReturn),
            [b'\n', ..] => return Err(Refusal::BareLineFeed),
            _ => return Ok(Some(bytes)),
        }
    }
}

struct RequestLine<'a> {
    method: Method,
    method_token: &'a [u8],
    target: &'a [u8],
    version: Version,
}

/// Takes a complete head without fault, with its length; none for any other bytes.
fn quick<'a>(window: &'a [u8], limits: &HeadLimits) -> Option<(RequestLine<'a>, Seen<'a>, usize)> {
    let feed = memchr(b'\n', window)?;
    let line = request_line(window[..feed].strip_suffix(b"\r")?, limits)?;
    let begin = feed + 1;
    let mut end = begin;
    let mut count = 0;
    loop {
        let feed = memchr(b'\n', &window[end..])?;
        if feed == 0 || window[end + feed - 1] != b'\r' {
            return None;
        }
        end += feed + 1;
        if feed == 1 {
            break;
        }
        count += 1;
        if count > limits.fields() {
            return None;
        }
    }
    let seen = fields(&window[begin..end], count)?;
    Some((line, seen, end))
}

/// Takes a request line, without its line end, in which there is no fault.
fn request_line<'a>(line: &'a [u8], limits: &HeadLimits) -> Option<RequestLine<'a>> {
    let space = memchr(b' ', line)?;
    let (method_token, rest) = (&line[..space], &line[space + 1..]);
    let method = Method::of(method_token);
    if method == Method::Unknown
        && (!is_token(method_token) || method_token.len() > METHOD_BYTES_MAX)
    {
        return None;
    }
    let (rest, version) = rest.split_last_chunk::<9>()?;
    let version = match version {
        b" HTTP/1.0" => Version::Http10,
        b" HTTP/1.1" => Version::Http11,
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Version::Http11,
        _ => return None,
    };
    // Not `all`: without an early way out the compiler checks a whole vector at once.
    let sound = rest.iter().fold(true, |sound, &byte| sound & is_target_byte(byte));
    if !sound || rest.is_empty() || rest.len() > limits.target_bytes_max {
        return None;
    }
    Some(RequestLine { method, method_token, target: rest, version })
}

/// Takes the field lines of a head, `count` of them with an empty line behind.
fn fields(lines: &[u8], count: usize) -> Option<Seen<'_>> {
    if count <= FIELDS_FEW {
        fields_into(lines, &mut [httparse::EMPTY_HEADER; FIELDS_FEW])
    } else {
        fields_many(lines)
    }
}

#[cold]
#[inline(never)] // Its room on the stack is not the hot path's to prepare.
fn fields_many(lines: &[u8]) -> Option<Seen<'_>> {
    fields_into(lines, &mut [httparse::EMPTY_HEADER; FIELDS_CEILING])
}

fn fields_into<'a>(lines: &'a [u8], room: &mut [httparse::Header<'a>]) -> Option<Seen<'a>> {
    match httparse::parse_headers(lines, room) {
        Ok(httparse::Status::Complete((bytes, headers))) if bytes == lines.len() => {
            let mut seen = Seen::new(lines);
            for header in headers {
                seen.note(header.name, header.value);
            }
            Some(seen)
        }
        _ => None,
    }
}

/// Decides what a head without a fault of form asks for.
fn complete<'a>(line: &RequestLine<'a>, seen: Seen<'a>, bytes: usize) -> Result<Head<'a>, Refusal> {
    let RequestLine { method, method_token, target, version } = *line;
    let framing = framing::decide(version, seen.length, seen.coding)?;
    let host = form::host(version, seen.host)?;
    let (form, form_refusal) = match form::split(method, target) {
        Ok(form) => (form, None),
        Err(refusal) => (form::Form::default(), Some(refusal)),
    };
    let waits = version == Version::Http11 && seen.expect.waits;
    let expectation =
        (version == Version::Http11 && seen.expect.unknown).then_some(Refusal::ExpectationUnknown);
    let refusal = form_refusal.or(method.refusal()).or(expectation);
    let expect_continue = waits && framing != Framing::None;
    let persistent = match version {
        Version::Http11 => !seen.connection.close,
        Version::Http10 => !seen.connection.close && seen.connection.keep_alive,
    };
    // A client that is refused before its 100 may send its body or the next request, and a client
    // that is refused a tunnel may already talk through it: both look alike from here.
    let in_doubt = (expect_continue && refusal.is_some()) || method == Method::Connect;
    Ok(Head {
        bytes,
        method,
        method_token,
        version,
        target,
        path: form.path,
        query: form.query,
        authority: form.authority.or(host),
        framing,
        expect_continue,
        keep_alive: persistent && !in_doubt,
        refusal,
        fields: seen.into_fields(),
    })
}

#[cfg(test)]
mod tests;
