//! The four forms of a target (RFC 9112 section 3.2), and what a host may look like
//! (RFC 3986 section 3.2.2).

use super::fields::Single;
use super::{Method, Version};
use crate::http::refusal::Refusal;
use crate::http::syntax::is_name_byte;
use memchr::memchr;
use std::net::Ipv6Addr;

/// The parts of a target, all raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form<'a> {
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'a [u8]>,
    pub(super) authority: Option<&'a [u8]>,
}

/// Takes a target apart, if it has a form that goes with the method.
pub(super) fn split(method: Method, target: &[u8]) -> Result<Form<'_>, Refusal> {
    if method == Method::Connect {
        // Authority-form always names a port (RFC 9112 section 3.2.3).
        return match host_and_port(target) {
            Some(Some(_)) => Ok(Form { authority: Some(target), ..Form::default() }),
            _ => Err(Refusal::TargetForm),
        };
    }
    match target {
        [b'/', ..] => Ok(path_and_query(target)),
        b"*" if method == Method::Options => Ok(Form { path: target, ..Form::default() }),
        _ => absolute(method, target),
    }
}

fn path_and_query(target: &[u8]) -> Form<'_> {
    match memchr(b'?', target) {
        Some(mark) => {
            Form { path: &target[..mark], query: Some(&target[mark + 1..]), authority: None }
        }
        None => Form { path: target, ..Form::default() },
    }
}

fn absolute(method: Method, target: &[u8]) -> Result<Form<'_>, Refusal> {
    let colon = memchr(b':', target).ok_or(Refusal::TargetForm)?;
    let (scheme, rest) = (&target[..colon], &target[colon + 1..]);
    let rest = rest.strip_prefix(b"//").ok_or(Refusal::TargetForm)?;
    if !is_scheme(scheme) {
        return Err(Refusal::TargetForm);
    }
    if !scheme.eq_ignore_ascii_case(b"http") {
        return Err(Refusal::TargetScheme);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if host_and_port(authority).is_none() {
        return Err(Refusal::TargetAuthority);
    }
    let mut form = path_and_query(rest);
    if form.path.is_empty() {
        // OPTIONS for an authority without path or query asks about the server as a whole
        // (RFC 9112 section 3.2.4); every other empty path is the root's.
        let whole = method == Method::Options && form.query.is_none();
        form.path = if whole { b"*" } else { b"/" };
    }
    form.authority = Some(authority);
    Ok(form)
}

/// RFC 3986 section 3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    matches!(bytes, [first, rest @ ..] if first.is_ascii_alphabetic()
        && rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))
}

/// The value of Host: exactly one, and valid, in HTTP/1.1; at most one, and valid, in HTTP/1.0
/// (RFC 9112 section 3.2).
pub(super) fn host(version: Version, host: Single<'_>) -> Result<Option<&[u8]>, Refusal> {
    match host {
        Single::Repeated => Err(Refusal::HostRepeated),
        Single::One(value) if host_and_port(value).is_some() => Ok(Some(value)),
        Single::One(_) => Err(Refusal::HostInvalid),
        Single::Absent if version == Version::Http10 => Ok(None),
        Single::Absent => Err(Refusal::HostMissing),
    }
}

/// Whether this is a host with an optional port: some when it is, with the port if one is named.
///
/// An empty host is refused though reg-name may be empty: no http URI has one (RFC 9110
/// section 4.2.1). User information is refused (RFC 9110 section 4.2.4).
fn host_and_port(value: &[u8]) -> Option<Option<u16>> {
    let rest = if let Some(literal) = value.strip_prefix(b"[") {
        let close = memchr(b']', literal)?;
        if !is_ip_literal(&literal[..close]) {
            return None;
        }
        &literal[close + 1..]
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        if !is_name(&value[..end]) {
            return None;
        }
        &value[end..]
    };
    match rest {
        [] | [b':'] => Some(None),
        // Longer than five digits is zeros in front or no port at all.
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0'));
            u16::try_from(port).ok().map(Some)
        }
        _ => None,
    }
}

/// An IPv6 address, or a literal of a later version.
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = memchr(b'.', future) else { return false };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| is_name_byte(byte) || byte == b':');
    }
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// A registered name or IPv4 address, not empty.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        match rest {
            [] => return !name.is_empty(),
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = after;
            }
            [byte, after @ ..] if is_name_byte(*byte) => rest = after,
            _ => return false,
        }
    }
}
