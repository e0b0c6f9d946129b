//! How a record is written: a template with variables, as nginx has them.
//!
//! A template that begins with a brace is escaped for JSON, any other for text. A field that a
//! request does not have is `-` in text, empty in JSON; a number that there is none of is `-`
//! or `null`.

use std::fmt;
use std::net::IpAddr;

use super::escape::{self, Escape};
use super::record::{Mirrored, Record};
use crate::base::WallClock;
use crate::http::date;
use crate::http::sink::Sink;

const COMMON: &str =
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent";
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
     $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";
const JSON: &str = "{\"time\":\"$time_iso8601\",\"remote\":\"$remote_addr\",\
     \"method\":\"$request_method\",\"target\":\"$request_uri\",\
     \"protocol\":\"$server_protocol\",\"host\":\"$http_host\",\"status\":$status,\
     \"bytes\":$bytes_sent,\"body_bytes\":$body_bytes_sent,\"body_owed\":$body_owed,\
     \"duration\":$duration,\"first_byte\":$first_byte,\"engine\":\"$engine\",\
     \"farewell\":\"$farewell\",\"range\":\"$range\",\"coding\":\"$coding\",\
     \"referer\":\"$http_referer\",\"user_agent\":\"$http_user_agent\",\
     \"connection\":$connection,\"request\":$connection_requests,\"mirror\":\"$mirror\"}";

/// Templates by name.
const NAMED: [(&str, &str); 3] = [("common", COMMON), ("combined", COMBINED), ("json", JSON)];

/// A template, ready to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
    escape: Escape,
    wants: Wants,
}

/// What a template asks of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Fields by their names, in lower case.
    pub(super) fields: Vec<Box<str>>,
    /// Whether it says what became of a mirrored body.
    pub(super) mirror: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Variable(Variable),
}

macro_rules! variables {
    ($($name:ident $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Variable { $($name,)* Field(usize) }

        /// Every variable but the `http_` ones.
        const VARIABLES: &[(&str, Variable)] = &[$(($text, Variable::$name),)*];
    };
}

variables! {
    RemoteAddress "remote_addr",
    RemotePort "remote_port",
    RemoteUser "remote_user",
    TimeLocal "time_local",
    TimeIso "time_iso8601",
    Seconds "msec",
    Request "request",
    Method "request_method",
    Target "request_uri",
    Protocol "server_protocol",
    Status "status",
    BytesSent "bytes_sent",
    BodyBytesSent "body_bytes_sent",
    BodyOwed "body_owed",
    RequestTime "request_time",
    Duration "duration",
    FirstByte "first_byte",
    Engine "engine",
    Farewell "farewell",
    Range "range",
    Coding "coding",
    Connection "connection",
    ConnectionRequests "connection_requests",
    Mirror "mirror",
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// It names nothing that is known and has no variable.
    Name(String),
    /// There is no such variable.
    Variable(String),
    /// A dollar sign without a name.
    Bare,
    /// A control character: a record is one line of text.
    Control,
    /// More than one `$mirror`.
    Mirrors,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) => write!(
                out,
                "unknown format '{text}'; write common, combined, json, or a template such as \
                 '$remote_addr $status'"
            ),
            Self::Variable(name) => {
                write!(out, "unknown variable '${name}'")?;
                let near = VARIABLES.iter().find(|(known, _)| {
                    known.starts_with(&**name) || name.starts_with(known) || known.contains(&**name)
                });
                match near {
                    Some((known, _)) => write!(out, "; did you mean '${known}'?"),
                    None => out.write_str("; fields of the request are $http_ and their name"),
                }
            }
            Self::Bare => out.write_str("a name follows a dollar sign; '$$' is the sign itself"),
            Self::Control => {
                out.write_str("a record is one line: a template has no control characters")
            }
            Self::Mirrors => out.write_str("a template may name $mirror once"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// One of those that have a name.
    pub fn named(name: &str) -> Option<Self> {
        let (name, text) = NAMED.iter().find(|(known, _)| *known == name)?;
        let mut template = Self::compile(text).expect("a test compiles each of them");
        template.text = (*name).to_owned();
        Some(template)
    }

    /// Reads a name or a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    ///
    /// ```
    /// use pitcrew::access_log::options::Template;
    /// assert!(Template::parse("combined").is_ok());
    /// assert!(Template::parse("$remote_addr \"$request\" ${status}").is_ok());
    /// let wrong = Template::parse("$remote_adr").unwrap_err();
    /// assert!(wrong.to_string().contains("$remote_adr"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if let Some(template) = Self::named(text) {
            return Ok(template);
        }
        if !text.contains('$') {
            return Err(TemplateError::Name(text.to_owned()));
        }
        Self::compile(text)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How fields are escaped.
    pub(super) fn escape(&self) -> Escape {
        self.escape
    }

    pub(super) fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Whether a record says what became of a mirrored body.
    pub fn tells_mirror(&self) -> bool {
        self.wants.mirror
    }

    fn compile(text: &str) -> Result<Self, TemplateError> {
        if text.chars().any(char::is_control) {
            return Err(TemplateError::Control);
        }
        let escape = if text.starts_with('{') { Escape::Json } else { Escape::Text };
        let mut template =
            Self { text: text.to_owned(), parts: Vec::new(), escape, wants: Wants::default() };
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('$') {
                literal.push(b'$');
                rest = behind;
                continue;
            }
            let (name, behind) = name(rest).ok_or(TemplateError::Bare)?;
            rest = behind;
            let variable = template.variable(name)?;
            if !literal.is_empty() {
                template.parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            template.parts.push(Part::Variable(variable));
        }
        literal.extend_from_slice(rest.as_bytes());
        literal.push(b'\n');
        template.parts.push(Part::Literal(literal.into()));
        Ok(template)
    }

    fn variable(&mut self, name: &str) -> Result<Variable, TemplateError> {
        if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            if *variable == Variable::Mirror && std::mem::replace(&mut self.wants.mirror, true) {
                return Err(TemplateError::Mirrors);
            }
            return Ok(*variable);
        }
        let field = name.strip_prefix("http_").filter(|field| !field.is_empty());
        let field = field.ok_or_else(|| TemplateError::Variable(name.to_owned()))?;
        let field = field.to_ascii_lowercase().replace('_', "-");
        let fields = &mut self.wants.fields;
        let known = fields.iter().position(|known| **known == *field);
        let index = known.unwrap_or(fields.len());
        if known.is_none() {
            fields.push(field.into());
        }
        Ok(Variable::Field(index))
    }

    /// Writes a record with its line end. Says where in it the digest belongs, if the template has
    /// one and the record is of a mirrored body.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &Record<'_>, at: &Moment) -> Option<u32> {
        let start = out.len();
        let mut hole = None;
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.put(bytes),
                Part::Variable(Variable::Mirror) => match record.mirror {
                    None => self.put_absent(out),
                    Some(Mirrored { owed: false, .. }) => out.put(b"none"),
                    Some(Mirrored { bytes: 0, .. }) => out.put(b"dropped"),
                    Some(Mirrored { bytes, whole, .. }) => {
                        out.put(if whole { b"complete:0-" } else { b"partial:0-" });
                        out.put_decimal(bytes - 1);
                        out.push(b':');
                        hole = Some((out.len() - start) as u32);
                    }
                },
                Part::Variable(variable) => self.put(out, *variable, record, at),
            }
        }
        // A line that begins so is a word of the log itself, which no record may look like.
        if out[start] == b'#' {
            out.remove(start);
            let mut escaped = Vec::new();
            escape::put_byte(&mut escaped, b'#');
            out.splice(start..start, escaped);
            hole = hole.map(|hole| hole + 3);
        }
        hole
    }

    fn put(&self, out: &mut Vec<u8>, variable: Variable, record: &Record<'_>, at: &Moment) {
        use Variable as V;
        let line = record.asked.map(|asked| asked.line());
        match variable {
            V::RemoteAddress => match record.peer {
                Some(peer) => put_address(out, peer.ip()),
                None => out.put(b"unix:"),
            },
            V::RemotePort => self.put_number(out, {
                // A proxy may name its client without a port.
                let port = record.peer.map(|peer| peer.port()).filter(|port| *port != 0);
                port.map(u64::from)
            }),
            V::RemoteUser => self.put_absent(out),
            V::TimeLocal => out.put(&at.local),
            V::TimeIso => put_iso(out, record.ended),
            V::Seconds => {
                out.put_decimal(record.ended.seconds.max(0).unsigned_abs());
                put_fraction(out, record.ended.nanoseconds / 1_000_000, 3);
            }
            V::Request => self.put_request(out, line),
            V::Method => self.put_text(out, line.map(|line| line[0])),
            V::Target => self.put_text(out, line.map(|line| line[1])),
            V::Protocol => self.put_text(out, line.map(|line| line[2])),
            V::Status => out.put_decimal(record.status.code().into()),
            V::BytesSent => out.put_decimal(record.sent),
            V::BodyBytesSent => out.put_decimal(record.body_sent),
            V::BodyOwed => out.put_decimal(record.body_owed),
            V::RequestTime => {
                out.put_decimal(record.duration.as_secs());
                put_fraction(out, record.duration.subsec_millis(), 3);
            }
            V::Duration => put_micros(out, record.duration),
            V::FirstByte => match record.first_byte {
                Some(time) => put_micros(out, time),
                None => self.put_number(out, None),
            },
            V::Engine => out.put(record.engine.as_bytes()),
            V::Farewell => out.put(record.farewell.as_bytes()),
            V::Range => match record.range {
                Some((first, count)) => {
                    out.put_decimal(first);
                    out.push(b'-');
                    out.put_decimal(first + count - 1);
                }
                None => self.put_absent(out),
            },
            V::Coding => self.put_text(out, record.coding.map(str::as_bytes)),
            V::Connection => out.put_decimal(record.connection),
            V::ConnectionRequests => out.put_decimal(record.request),
            V::Field(index) => {
                self.put_text(out, record.asked.and_then(|asked| asked.field(index)));
            }
            V::Mirror => unreachable!("the caller keeps its place free"),
        }
    }

    fn put_request(&self, out: &mut Vec<u8>, line: Option<[&[u8]; 3]>) {
        match line {
            Some([b"", b"", line]) => self.put_text(out, Some(line)),
            Some([method, target, protocol]) => {
                escape::put(out, method, self.escape);
                out.push(b' ');
                escape::put(out, target, self.escape);
                out.push(b' ');
                out.put(protocol);
            }
            None => self.put_absent(out),
        }
    }

    fn put_text(&self, out: &mut Vec<u8>, text: Option<&[u8]>) {
        match text {
            Some(text) if !text.is_empty() => escape::put(out, text, self.escape),
            _ => self.put_absent(out),
        }
    }

    fn put_number(&self, out: &mut Vec<u8>, number: Option<u64>) {
        match (number, self.escape) {
            (Some(number), _) => out.put_decimal(number),
            (None, Escape::Json) => out.put(b"null"),
            (None, Escape::Text) => out.put(b"-"),
        }
    }

    fn put_absent(&self, out: &mut Vec<u8>) {
        if self.escape == Escape::Text {
            out.put(b"-");
        }
    }
}

/// The time of records, made ready once a second.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    second: i64,
    local: [u8; 26],
}

impl Moment {
    pub(super) fn new(second: i64) -> Self {
        Self { second, local: date::format_log(second) }
    }

    pub(super) fn refresh(&mut self, second: i64) {
        if second != self.second {
            *self = Self::new(second);
        }
    }
}

/// The name of a variable and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('{') {
        let (name, behind) = rest.split_once('}')?;
        return Some((name, behind));
    }
    let end = text.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    let (name, behind) = text.split_at(end.unwrap_or(text.len()));
    (!name.is_empty()).then_some((name, behind))
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    use std::io::Write;
    // A client of an IPv4 address is the same whichever socket it came to.
    let written = match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.put_decimal(octet.into());
            }
            Ok(())
        }
        IpAddr::V6(address) => write!(out, "{address}"),
    };
    written.expect("a vector takes all that is written");
}

fn put_iso(out: &mut Vec<u8>, wall: WallClock) {
    let whole = date::format_rfc3339(wall.seconds);
    out.put(&whole[..19]);
    put_fraction(out, wall.nanoseconds / 1_000_000, 3);
    out.put(b"Z");
}

fn put_micros(out: &mut Vec<u8>, time: std::time::Duration) {
    out.put_decimal(time.as_secs());
    put_fraction(out, time.subsec_micros(), 6);
}

/// A point and so many digits.
fn put_fraction(out: &mut Vec<u8>, mut value: u32, digits: usize) {
    let mut text = *b".000000";
    for digit in text[1..=digits].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.put(&text[..=digits]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access_log::marker::{put_marker, records_of_line};
    use crate::access_log::record::Asked;
    use crate::http::head::{self, HeadLimits, Parsed};
    use crate::http::status::Status;
    use proptest::prelude::*;
    use std::time::Duration;

    fn record(asked: Option<&Asked>) -> Record<'_> {
        Record {
            asked,
            peer: Some("192.0.2.1:4000".parse().unwrap()),
            status: Status::Ok,
            sent: 300,
            body_sent: 100,
            body_owed: 100,
            duration: Duration::from_micros(1500),
            first_byte: None,
            engine: "splice",
            farewell: "complete",
            range: Some((5, 10)),
            coding: None,
            mirror: None,
            connection: 7,
            request: 2,
            ended: WallClock { seconds: 784_111_777, nanoseconds: 5_000_000 },
        }
    }

    fn written(format: &str, request: &[u8]) -> String {
        let template = Template::parse(format).unwrap();
        let asked = match head::parse(request, &HeadLimits::default()) {
            Parsed::Complete(head) => Asked::of(&head, template.wants()),
            _ => Asked::unreadable(request, template.wants()),
        };
        let mut out = Vec::new();
        let record = record(Some(&asked));
        template.write(&mut out, &record, &Moment::new(record.ended.seconds));
        String::from_utf8(out).unwrap()
    }

    const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: h\r\nCookie: c\r\n\r\n";

    #[test]
    fn formats_and_variables() {
        let common = "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 100";
        assert_eq!(written("common", GET), format!("{common}\n"));
        assert_eq!(written("combined", GET), format!("{common} \"-\" \"-\"\n"));
        let own = "$remote_port $http_cookie ${http_x} $request_time $duration $first_byte $$ \
                   $range $connection/$connection_requests $msec $time_iso8601 $http_host";
        assert_eq!(
            written(own, GET),
            "4000 c - 0.001 0.001500 - $ 5-14 7/2 784111777.005 1994-11-06T08:49:37.005Z h\n"
        );
        let json: serde_json::Value = serde_json::from_str(&written("json", GET)).unwrap();
        assert_eq!(
            (&json["first_byte"], &json["range"]),
            (&serde_json::Value::Null, &"5-14".into())
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, told) in [
            ("combine", "unknown format 'combine'"),
            ("$remote", "did you mean '$remote_addr'"),
            ("$ x", "a name follows"),
            ("$status\n", "one line"),
            ("$mirror $mirror", "once"),
            ("$http_", "unknown variable"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_record_never_looks_like_a_word_of_the_log() {
        let line =
            written("$http_cookie", b"GET / HTTP/1.1\r\nHost: h\r\nCookie: # pitcrew: x\r\n\r\n");
        assert_eq!(line, "\\x23 pitcrew: x\n");
        for escape in [Escape::Text, Escape::Json] {
            let mut marker = Vec::new();
            put_marker(&mut marker, escape, 17);
            assert_eq!(records_of_line(&marker, escape), 17);
            assert_eq!(records_of_line(line.as_bytes(), escape), 1);
        }
    }

    proptest! {
        #[test]
        fn no_request_forges_a_line(target in "[!-~]{0,40}", value: Vec<u8>, junk: Vec<u8>) {
            let head = [b"GET /", target.as_bytes(), b" HTTP/1.1\r\nHost: h\r\nUser-Agent: ",
                &value, b"\r\n\r\n"].concat();
            for request in [&head, &junk] {
                for format in ["common", "combined", "json", "$request_uri $http_user_agent"] {
                    let line = written(format, request);
                    prop_assert!(line.bytes().filter(|byte| *byte == b'\n').count() == 1);
                    prop_assert!(line.ends_with('\n') && !line.starts_with('#'));
                    if format == "json" {
                        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                        prop_assert_eq!(&read["status"], 200);
                        prop_assert_eq!(read.as_object().unwrap().len(), 21);
                    }
                    if format == "combined" {
                        prop_assert_eq!(line.matches('"').count(), 6);
                    }
                }
            }
        }
    }
}
