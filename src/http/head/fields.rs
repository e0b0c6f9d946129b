//! The fields of a head: those that later stages use, captured in one pass, and a way to find
//! any other.

use crate::http::syntax::{members, trim};
use memchr::memchr;

/// The fields of a request head. Values are without the spaces around them.
///
/// A field that may stand only once and stands twice has no value that two recipients would
/// agree on: it is taken as absent, and where that would make the answer more than was asked for,
/// what depends on it is too (a repeated If-Range makes Range absent). The two that change
/// nothing but the log, Referer and User-Agent, keep their first value.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    lines: &'a [u8],
    /// Accept: what the client wants listings and telemetry as.
    pub accept: List<'a>,
    /// Accept-Encoding: which precompressed variants it takes.
    pub accept_encoding: List<'a>,
    /// If-Match.
    pub if_match: List<'a>,
    /// If-None-Match.
    pub if_none_match: List<'a>,
    /// If-Modified-Since.
    pub if_modified_since: Option<&'a [u8]>,
    /// If-Unmodified-Since.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// If-Range.
    pub if_range: Option<&'a [u8]>,
    /// Range.
    pub range: Option<&'a [u8]>,
    /// Origin, of a cross-origin request.
    pub origin: Option<&'a [u8]>,
    /// Access-Control-Request-Method, of a preflight.
    pub access_control_request_method: Option<&'a [u8]>,
    /// Referer, for the log.
    pub referer: Option<&'a [u8]>,
    /// User-Agent, for the log.
    pub user_agent: Option<&'a [u8]>,
    /// Whether Forwarded, X-Forwarded-For or Via is there: it came through a proxy.
    pub forwarded: bool,
}

impl<'a> Fields<'a> {
    /// Every field line in the order of the wire, name and value.
    #[must_use]
    pub fn lines(&self) -> FieldLines<'a> {
        FieldLines { rest: self.lines }
    }

    /// The value of the first field line with this name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.lines().find(|line| line.0.eq_ignore_ascii_case(name.as_bytes())).map(|line| line.1)
    }

    /// The values of all field lines with this name, in any case.
    #[must_use]
    pub fn all<'n>(&self, name: &'n str) -> Values<'a, 'n> {
        Values { first: None, lines: self.lines(), name }
    }
}

/// A field that may stand on several lines, whose values are one list (RFC 9110 section 5.3).
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    name: &'static str,
    first: Option<&'a [u8]>,
    /// All field lines when there is a second line of this name, else nothing.
    lines: &'a [u8],
}

impl<'a> List<'a> {
    /// Whether the field is there at all, be it empty.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.first.is_some()
    }

    /// The values line by line. The members of the list are theirs, one after the other.
    #[must_use]
    pub fn values(&self) -> Values<'a, 'static> {
        let repeated = !self.lines.is_empty();
        Values {
            first: if repeated { None } else { self.first },
            lines: FieldLines { rest: self.lines },
            name: self.name,
        }
    }

    fn note(&mut self, name: &'static str, value: &'a [u8], lines: &'a [u8]) {
        self.name = name;
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.lines = lines;
        }
    }
}

/// The values of the field lines of one name.
#[derive(Clone, Debug)]
pub struct Values<'a, 'n> {
    first: Option<&'a [u8]>,
    lines: FieldLines<'a>,
    name: &'n str,
}

impl<'a> Iterator for Values<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.first.take().or_else(|| {
            let name = self.name.as_bytes();
            self.lines.find(|line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1)
        })
    }
}

/// The field lines of a head, name and value.
#[derive(Clone, Debug)]
pub struct FieldLines<'a> {
    /// Lines that were found sound, each with its CR LF, and an empty one at the end.
    rest: &'a [u8],
}

impl<'a> Iterator for FieldLines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let feed = memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(feed + 1);
        self.rest = rest;
        let colon = memchr(b':', line)?; // the empty line has none
        Some((&line[..colon], trim(line[colon + 1..].strip_suffix(b"\r\n")?)))
    }
}

/// A field that may stand only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Single<'a> {
    #[default]
    Absent,
    One(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    fn note(&mut self, value: &'a [u8]) {
        *self = if *self == Single::Absent { Single::One(value) } else { Single::Repeated };
    }

    fn value(self) -> Option<&'a [u8]> {
        match self {
            Single::One(value) => Some(value),
            Single::Absent | Single::Repeated => None,
        }
    }
}

/// The options of Connection (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
}

/// The expectations of Expect (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expect {
    pub(super) waits: bool,
    pub(super) unknown: bool,
}

/// What the pass over the fields has seen.
#[derive(Default)]
pub(super) struct Seen<'a> {
    fields: Fields<'a>,
    if_modified_since: Single<'a>,
    if_unmodified_since: Single<'a>,
    if_range: Single<'a>,
    range: Single<'a>,
    origin: Single<'a>,
    access_control_request_method: Single<'a>,
    pub(super) host: Single<'a>,
    pub(super) length: Single<'a>,
    pub(super) coding: Single<'a>,
    pub(super) connection: Connection,
    pub(super) expect: Expect,
}

impl<'a> Seen<'a> {
    pub(super) fn new(lines: &'a [u8]) -> Self {
        Self { fields: Fields { lines, ..Fields::default() }, ..Self::default() }
    }

    /// Takes note of one field. The length of the name leaves one or two to compare with.
    pub(super) fn note(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let fields = &mut self.fields;
        match name.len() {
            3 if is("via") => fields.forwarded = true,
            4 if is("host") => self.host.note(value),
            5 if is("range") => self.range.note(value),
            6 if is("accept") => fields.accept.note("accept", value, fields.lines),
            6 if is("origin") => self.origin.note(value),
            6 if is("expect") => self.note_expect(value),
            7 if is("referer") => fields.referer = fields.referer.or(Some(value)),
            8 if is("if-match") => fields.if_match.note("if-match", value, fields.lines),
            8 if is("if-range") => self.if_range.note(value),
            9 if is("forwarded") => fields.forwarded = true,
            10 if is("connection") => self.note_connection(value),
            10 if is("user-agent") => fields.user_agent = fields.user_agent.or(Some(value)),
            13 if is("if-none-match") => {
                fields.if_none_match.note("if-none-match", value, fields.lines);
            }
            14 if is("content-length") => self.length.note(value),
            15 if is("accept-encoding") => {
                fields.accept_encoding.note("accept-encoding", value, fields.lines);
            }
            15 if is("x-forwarded-for") => fields.forwarded = true,
            17 if is("transfer-encoding") => self.coding.note(value),
            17 if is("if-modified-since") => self.if_modified_since.note(value),
            19 if is("if-unmodified-since") => self.if_unmodified_since.note(value),
            29 if is("access-control-request-method") => {
                self.access_control_request_method.note(value);
            }
            _ => {}
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in members(value) {
            self.connection.close |= option.eq_ignore_ascii_case(b"close");
            self.connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_expect(&mut self, value: &[u8]) {
        for expectation in members(value) {
            let waits = expectation.eq_ignore_ascii_case(b"100-continue");
            self.expect.waits |= waits;
            self.expect.unknown |= !waits;
        }
    }

    pub(super) fn into_fields(self) -> Fields<'a> {
        Fields {
            if_modified_since: self.if_modified_since.value(),
            if_unmodified_since: self.if_unmodified_since.value(),
            if_range: self.if_range.value(),
            // A condition that cannot be read does not hold, and then the whole is sent.
            range: self.range.value().filter(|_| self.if_range != Single::Repeated),
            origin: self.origin.value(),
            access_control_request_method: self.access_control_request_method.value(),
            ..self.fields
        }
    }
}
