//! How long the body of a request is (RFC 9112 section 6.3), in the strictest reading.
//!
//! Two recipients that disagree about the length of a body can be made to see different requests
//! (request smuggling, RFC 9112 section 11.2), so whatever two parsers might read differently is
//! refused.

use super::Version;
use super::fields::Single;
use crate::http::body::Framing;
use crate::http::refusal::Refusal;
use crate::http::syntax::{is_token, trim};

/// The framing that Content-Length and Transfer-Encoding call for.
pub(super) fn decide(
    version: Version,
    length: Single<'_>,
    coding: Single<'_>,
) -> Result<Framing, Refusal> {
    match (coding, length) {
        (Single::Absent, Single::Absent) => Ok(Framing::None),
        (Single::Absent, Single::One(value)) => match decimal(value) {
            Some(0) => Ok(Framing::None),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Refusal::LengthMalformed),
        },
        (Single::Absent, Single::Repeated) => Err(Refusal::LengthRepeated),
        (_, Single::One(_) | Single::Repeated) => Err(Refusal::LengthAndCoding),
        // RFC 9112 section 6.1: the framing of such a message is faulty.
        _ if version == Version::Http10 => Err(Refusal::CodingInHttp10),
        (Single::Repeated, Single::Absent) => Err(Refusal::CodingMalformed),
        (Single::One(value), Single::Absent) => transfer_coding(value),
    }
}

/// One plain decimal number: no sign, no list, no more than 64 bits hold.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A single `chunked`. Other codings before it are well formed but not known here; an empty
/// member, a parameter, or `chunked` anywhere but at the end is malformed.
fn transfer_coding(value: &[u8]) -> Result<Framing, Refusal> {
    let mut members = value.rsplit(|&byte| byte == b',').map(trim);
    if !members.next().is_some_and(is_chunked) {
        return Err(Refusal::CodingMalformed);
    }
    let mut unknown = false;
    for member in members {
        if !is_token(member) || is_chunked(member) {
            return Err(Refusal::CodingMalformed);
        }
        unknown = true;
    }
    if unknown { Err(Refusal::CodingUnknown) } else { Ok(Framing::Chunked) }
}

fn is_chunked(member: &[u8]) -> bool {
    member.eq_ignore_ascii_case(b"chunked")
}
