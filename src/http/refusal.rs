//! Every reason to refuse a request, in one table.
//!
//! A refusal is named by its cause. Its row says the status, whether the connection closes after
//! the answer, the name under which telemetry and the access log count it, and the sentence for
//! the client. The sentences speak of the request only: never of a path, a limit's value, an
//! error of the system or anything else inside the server.
//!
//! The connection closes when the end of the request cannot be trusted (RFC 9112 section 11.2):
//! whatever follows might be the next request or a body in disguise. Where the framing is sound
//! the connection goes on, and a refusal costs one answer only.

use super::status::Status;
use super::target::TargetError;
use crate::limits::RETRY_AFTER_SECONDS;

/// Methods a file offers, as the Allow field of a 405 and of the answer to OPTIONS says it
/// (RFC 9110 section 10.2.1).
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// One row of the table.
struct Row {
    status: Status,
    closes: bool,
    name: &'static str,
    text: &'static str,
}

macro_rules! refusals {
    ($(
        $(#[$doc:meta])*
        $variant:ident: $status:ident, $after:ident, $name:literal, $text:literal;
    )*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Refusal {
            $( $(#[$doc])* $variant, )*
        }

        impl Refusal {
            /// Every refusal, in the order of the table; [`Refusal::index`] is the place in it.
            pub const ALL: &'static [Refusal] = &[ $( Refusal::$variant, )* ];

            const fn row(self) -> Row {
                match self {
                    $( Refusal::$variant => Row {
                        status: Status::$status,
                        closes: refusals!(@ $after),
                        name: $name,
                        text: $text,
                    }, )*
                }
            }
        }
    };
    (@ closes) => { true };
    (@ keeps) => { false };
}

refusals! {
    // The request line and the line ends of the head (RFC 9112 sections 2 and 3).

    /// More empty lines before a request line than are skipped.
    EmptyLines: BadRequest, closes, "empty_lines",
        "Too many empty lines stand before the request line.";
    /// LF without CR before it. RFC 9112 section 2.2 allows to accept it; then two parsers in a
    /// row may disagree about where the head ends, so it is refused.
    BareLineFeed: BadRequest, closes, "bare_line_feed",
        "A line of the request head ends without CR.";
    /// CR without LF after it (RFC 9112 section 2.2).
    BareCarriageReturn: BadRequest, closes, "bare_carriage_return",
        "The request head holds a CR that does not end a line.";
    /// The request line begins with a space.
    MethodMissing: BadRequest, closes, "method_missing",
        "The request line does not begin with a method.";
    /// A byte in the method that no token has (RFC 9110 section 5.6.2).
    MethodByte: BadRequest, closes, "method_byte",
        "The method holds a byte that is not allowed there.";
    /// A token longer than any method (RFC 9112 section 3).
    MethodTooLong: NotImplemented, closes, "method_too_long",
        "The method is longer than any method.";
    /// The line ends after the method, or two spaces follow it.
    TargetMissing: BadRequest, closes, "target_missing",
        "The request line needs one space and a target after the method.";
    /// A control byte, `#` or a byte beyond ASCII in the target (RFC 9112 section 3.2).
    TargetByte: BadRequest, closes, "target_byte",
        "The target holds a byte that must be percent-encoded or left out.";
    /// A target longer than the limit.
    TargetTooLong: UriTooLong, closes, "target_too_long",
        "The target is too long.";
    /// The line ends after the target, as in HTTP/0.9.
    VersionMissing: BadRequest, closes, "version_missing",
        "The request line does not end with a version.";
    /// Not `HTTP/`, a digit, a dot and a digit (RFC 9112 section 2.3).
    VersionMalformed: BadRequest, closes, "version_malformed",
        "The request line does not end with one space and a version.";
    /// Another major version than 1.
    VersionUnsupported: HttpVersionNotSupported, closes, "version_unsupported",
        "This server speaks HTTP/1.1.";

    // The fields of the head (RFC 9112 section 5).

    /// A head longer than the limit.
    HeadTooLong: RequestHeaderFieldsTooLarge, closes, "head_too_long",
        "The request head is too long.";
    /// More fields than the limit.
    FieldsTooMany: RequestHeaderFieldsTooLarge, closes, "fields_too_many",
        "The request head has too many fields.";
    /// A line that begins with a space or tab (RFC 9112 section 5.2).
    FieldFolded: BadRequest, closes, "field_folded",
        "A field is folded over several lines.";
    /// A line that begins with a colon.
    FieldNameMissing: BadRequest, closes, "field_name_missing",
        "A field has no name.";
    /// A byte in a field name that no token has, or a line without a colon.
    FieldNameByte: BadRequest, closes, "field_name_byte",
        "A field name holds a byte that is not allowed there.";
    /// A space or tab before the colon (RFC 9112 section 5.1).
    FieldNameSpace: BadRequest, closes, "field_name_space",
        "A space stands between a field name and its colon.";
    /// A control byte in a field value (RFC 9110 section 5.5).
    FieldValueByte: BadRequest, closes, "field_value_byte",
        "A field value holds a control byte.";

    // What the fields say of the connection (RFC 9112 sections 3.2 and 6).

    /// HTTP/1.1 without Host.
    HostMissing: BadRequest, closes, "host_missing",
        "The request has no Host field.";
    /// Two Host fields.
    HostRepeated: BadRequest, closes, "host_repeated",
        "The request has more than one Host field.";
    /// A Host that is not a host with an optional port.
    HostInvalid: BadRequest, closes, "host_invalid",
        "The Host field does not name a host.";
    /// Transfer-Encoding and Content-Length together (RFC 9112 section 6.1).
    LengthAndCoding: BadRequest, closes, "length_and_coding",
        "The request has both Transfer-Encoding and Content-Length.";
    /// A Content-Length that is not one decimal number.
    LengthMalformed: BadRequest, closes, "length_malformed",
        "The Content-Length is not one decimal number.";
    /// A repeated Content-Length, even with equal values.
    LengthRepeated: BadRequest, closes, "length_repeated",
        "The request has more than one Content-Length.";
    /// A Transfer-Encoding that does not end in one plain `chunked`.
    CodingMalformed: BadRequest, closes, "coding_malformed",
        "The Transfer-Encoding is not a single chunked.";
    /// A coding before `chunked` that the server does not know.
    CodingUnknown: NotImplemented, closes, "coding_unknown",
        "The only transfer coding of this server is chunked.";
    /// Transfer-Encoding in HTTP/1.0, which has none.
    CodingInHttp10: BadRequest, closes, "coding_in_http10",
        "HTTP/1.0 has no Transfer-Encoding.";

    // Sound heads that ask for what is not offered; the connection goes on.

    /// A known method that a file does not offer (RFC 9110 section 15.5.6).
    MethodNotAllowed: MethodNotAllowed, keeps, "method_not_allowed",
        "Files are offered to GET, HEAD and OPTIONS only.";
    /// A method the server has never heard of (RFC 9110 section 15.6.2).
    MethodUnknown: NotImplemented, keeps, "method_unknown",
        "The method is not known here.";
    /// An expectation other than 100-continue (RFC 9110 section 10.1.1).
    ExpectationUnknown: ExpectationFailed, keeps, "expectation_unknown",
        "The only expectation that can be met is 100-continue.";
    /// A relative target, authority-form or asterisk where they have no place
    /// (RFC 9112 section 3.2).
    TargetForm: BadRequest, keeps, "target_form",
        "The target does not have the form that goes with the method.";
    /// An absolute target of another scheme than http.
    TargetScheme: BadRequest, keeps, "target_scheme",
        "The only scheme served is http.";
    /// An absolute target whose authority is not a host with an optional port.
    TargetAuthority: BadRequest, keeps, "target_authority",
        "The target does not name a host.";

    // The target, once it is decoded.

    /// A percent sign without two hex digits (RFC 3986 section 2.1).
    TargetEscape: BadRequest, keeps, "target_escape",
        "A percent sign in the target is not followed by two hex digits.";
    /// An encoded NUL.
    TargetNul: BadRequest, keeps, "target_nul",
        "The target holds an encoded NUL.";
    /// An encoded slash, which is neither a separator nor a byte a name can have.
    TargetSlash: BadRequest, keeps, "target_slash",
        "The target holds an encoded slash.";
    /// A raw backslash.
    TargetBackslash: BadRequest, keeps, "target_backslash",
        "The target holds a raw backslash.";
    /// Dot segments that climb above the root.
    TargetClimbs: BadRequest, keeps, "target_climbs",
        "The target leads above where it begins.";

    // What the name leads to.

    /// Nothing is served under this name; also a name longer than the file system allows.
    NotFound: NotFound, keeps, "not_found",
        "There is nothing here under this name.";
    /// A name that was ended by the rules (RFC 9110 section 15.5.11).
    Gone: Gone, keeps, "gone",
        "What was here is gone for good.";
    /// A file the server may not read, where the rules let that be told.
    Forbidden: Forbidden, keeps, "forbidden",
        "This may not be read.";
    /// A condition that does not hold (RFC 9110 section 13.2.2).
    PreconditionFailed: PreconditionFailed, keeps, "precondition_failed",
        "A condition of the request does not hold.";
    /// No asked range lies in the file (RFC 9110 section 15.5.17).
    RangeUnsatisfiable: RangeNotSatisfiable, keeps, "range_unsatisfiable",
        "No part of what was asked lies in the file.";

    // Bodies, which are read away (RFC 9112 section 7.1).

    /// A chunk size that is not a plain hex number.
    ChunkSize: BadRequest, closes, "chunk_size",
        "The size of a chunk is not a plain hex number.";
    /// Chunk extensions with a control byte, or more of them than the limit.
    ChunkExtension: BadRequest, closes, "chunk_extension",
        "A chunk has extensions that are not allowed here.";
    /// A chunk, its size line or the trailer does not end with CR LF where it must.
    ChunkEnd: BadRequest, closes, "chunk_end",
        "A chunk does not end where its size says.";
    /// A trailer section that is not made of fields.
    TrailerMalformed: BadRequest, closes, "trailer_malformed",
        "The fields after the last chunk are malformed.";
    /// A trailer section longer than the limit.
    TrailerTooLong: RequestHeaderFieldsTooLarge, closes, "trailer_too_long",
        "The fields after the last chunk are too many.";
    /// A body without a length that turns out longer than is read away.
    BodyTooLong: ContentTooLarge, closes, "body_too_long",
        "The body is too long, and a file takes none.";

    // Time and resources.

    /// A head that was begun and not finished in time.
    HeadTimeout: RequestTimeout, closes, "head_timeout",
        "The request head did not come in time.";
    /// A body that was announced and did not come in time.
    BodyTimeout: RequestTimeout, closes, "body_timeout",
        "The request body did not come in time.";
    /// More connections than the limit.
    ConnectionsTooMany: ServiceUnavailable, closes, "connections_too_many",
        "There are too many connections just now.";
    /// More connections of a client whom a trusted proxy names than its address may have.
    AddressTooMany: ServiceUnavailable, keeps, "address_too_many",
        "There are too many connections of this client just now.";
    /// The queue of a slow file system or of the helpers is full.
    Overloaded: ServiceUnavailable, keeps, "overloaded",
        "There is too much to do just now.";
    /// The system refused an open or a read for want of descriptors or memory, or with an
    /// input error: it may well succeed later.
    StorageUnavailable: ServiceUnavailable, keeps, "storage_unavailable",
        "This cannot be read just now.";
    /// A fault of the server's own.
    OwnFault: InternalServerError, closes, "own_fault",
        "Something went wrong here.";
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> Status {
        self.row().status
    }

    /// Whether the connection closes after the answer.
    #[must_use]
    pub const fn closes(self) -> bool {
        self.row().closes
    }

    /// The name under which it is counted and logged, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// One sentence for the client, in plain ASCII that needs no escaping in HTML.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// The place in [`Refusal::ALL`], for an array of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The Allow field of the answer: a 405 must have one (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn allow(self) -> Option<&'static str> {
        (self.status() == Status::MethodNotAllowed).then_some(ALLOW)
    }

    /// The Retry-After field of the answer, in seconds, where later may be better
    /// (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u32> {
        (self.status() == Status::ServiceUnavailable).then_some(RETRY_AFTER_SECONDS)
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Relative => Refusal::TargetForm,
            // Every other byte that a path may not have was refused with the head.
            TargetError::Byte => Refusal::TargetBackslash,
            TargetError::Escape => Refusal::TargetEscape,
            TargetError::Nul => Refusal::TargetNul,
            TargetError::Slash => Refusal::TargetSlash,
            TargetError::Climbs => Refusal::TargetClimbs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_an_error_with_its_own_name_and_a_plain_sentence() {
        for (index, &refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
            assert!(refusal.status().is_error(), "{refusal:?}");
            assert!(refusal.status().allows_body(), "{refusal:?}");

            let name = refusal.name();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            let same = Refusal::ALL.iter().filter(|other| other.name() == name).count();
            assert_eq!(same, 1, "{name} counts two causes");
            let letters: String = name.split('_').collect();
            assert_eq!(format!("{refusal:?}").to_lowercase(), letters, "name and variant differ");

            let text = refusal.text();
            assert!(text.ends_with('.') && text.len() <= 72, "{refusal:?}: {text}");
            assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b) && !b"<>&\"'".contains(&b)));
        }
    }

    /// RFC 9110 section 15.5: an explanation for the client, and for nobody else.
    #[test]
    fn sentences_say_nothing_of_the_inside() {
        const INSIDE: [&str; 8] =
            ["errno", "descriptor", "directory", "disk", "memory", "ring", "queue", "root"];
        for &refusal in Refusal::ALL {
            let told = refusal.text().to_lowercase().replace("http/", "");
            assert!(!told.contains('/'), "{refusal:?} names a path");
            let mut words = told.split(|letter: char| !letter.is_alphanumeric());
            assert!(!words.any(|word| INSIDE.contains(&word)), "{refusal:?} speaks of the inside");
        }
    }

    #[test]
    fn allow_goes_with_405_and_retry_after_with_503_rfc9110_sections_10_2_and_15() {
        for &refusal in Refusal::ALL {
            assert_eq!(refusal.allow().is_some(), refusal.status().code() == 405);
            assert_eq!(refusal.retry_after_seconds().is_some(), refusal.status().code() == 503);
        }
    }

    #[test]
    fn doubt_about_framing_and_time_closes_rfc9112_section_11_2() {
        for &refusal in Refusal::ALL {
            match refusal.status().code() {
                408 | 413 | 414 | 431 | 500 | 505 => assert!(refusal.closes(), "{refusal:?}"),
                403 | 404 | 405 | 412 | 416 | 417 => assert!(!refusal.closes(), "{refusal:?}"),
                _ => {}
            }
        }
        assert!(Refusal::LengthAndCoding.closes() && !Refusal::MethodUnknown.closes());
    }
}
