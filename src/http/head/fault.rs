//! The careful reader: names the first fault of a head, byte by byte.
//!
//! It decides at each byte with no look at later ones, so a prefix of a faulty head gives either
//! no fault or the same one. It runs for heads that are faulty or not complete, never for good
//! ones.

use super::HeadLimits;
use crate::http::refusal::Refusal;
use crate::http::syntax::{is_target_byte, is_token_byte, is_value_byte};
use crate::limits::METHOD_BYTES_MAX;

/// What a head has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This fault comes first.
    Fault(Refusal),
    /// No fault, and no end.
    Unfinished,
    /// No fault up to the end of the head.
    Sound,
}

#[derive(Clone, Copy)]
enum State {
    Method,
    Target,
    Version,
    VersionEnd,
    LineBegin,
    Name,
    Value,
    ValueEnd,
    HeadEnd,
}

/// The first fault of a head that begins with the first byte, which is not CR.
#[cold]
pub(super) fn first(bytes: &[u8], limits: &HeadLimits) -> Verdict {
    let mut state = State::Method;
    let mut begin = 0; // where the part of the request line that is being read begins
    let mut fields = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        let length = index - begin;
        let step = match state {
            State::Method => method(byte, length),
            State::Target => target(byte, length, limits.target_bytes_max),
            State::Version => version(byte, length),
            State::VersionEnd => match byte {
                b'\n' if bytes[begin + 5] == b'1' => Ok(State::LineBegin),
                b'\n' => Err(Refusal::VersionUnsupported),
                _ => Err(Refusal::BareCarriageReturn),
            },
            State::LineBegin => line_begin(byte, &mut fields, limits.fields()),
            State::Name => name(byte),
            State::Value => value(byte),
            State::ValueEnd if byte == b'\n' => Ok(State::LineBegin),
            State::HeadEnd if byte == b'\n' => return Verdict::Sound,
            State::ValueEnd | State::HeadEnd => Err(Refusal::BareCarriageReturn),
        };
        match step {
            Ok(next) => {
                if matches!(
                    (state, next),
                    (State::Method, State::Target) | (State::Target, State::Version)
                ) {
                    begin = index + 1;
                }
                state = next;
            }
            Err(refusal) => return Verdict::Fault(refusal),
        }
    }
    Verdict::Unfinished
}

fn method(byte: u8, length: usize) -> Result<State, Refusal> {
    match byte {
        b' ' if length == 0 => Err(Refusal::MethodMissing),
        b' ' => Ok(State::Target),
        b'\n' => Err(Refusal::BareLineFeed),
        b'\r' => Err(Refusal::TargetMissing),
        _ if !is_token_byte(byte) => Err(Refusal::MethodByte),
        _ if length == METHOD_BYTES_MAX => Err(Refusal::MethodTooLong),
        _ => Ok(State::Method),
    }
}

fn target(byte: u8, length: usize, bytes_max: usize) -> Result<State, Refusal> {
    match byte {
        b' ' | b'\r' if length == 0 => Err(Refusal::TargetMissing),
        b' ' => Ok(State::Version),
        b'\r' => Err(Refusal::VersionMissing),
        b'\n' => Err(Refusal::BareLineFeed),
        _ if !is_target_byte(byte) => Err(Refusal::TargetByte),
        _ if length == bytes_max => Err(Refusal::TargetTooLong),
        _ => Ok(State::Target),
    }
}

/// `HTTP/`, a digit, a dot, a digit (RFC 9112 section 2.3): the name is case-sensitive.
fn version(byte: u8, length: usize) -> Result<State, Refusal> {
    let fits = match length {
        0..=4 => byte == b"HTTP/"[length],
        5 | 7 => byte.is_ascii_digit(),
        6 => byte == b'.',
        _ => false,
    };
    match byte {
        _ if fits => Ok(State::Version),
        b'\r' if length == 0 => Err(Refusal::VersionMissing),
        b'\r' if length == 8 => Ok(State::VersionEnd),
        b'\n' => Err(Refusal::BareLineFeed),
        _ => Err(Refusal::VersionMalformed),
    }
}

fn line_begin(byte: u8, fields: &mut usize, fields_max: usize) -> Result<State, Refusal> {
    match byte {
        b'\r' => Ok(State::HeadEnd),
        b'\n' => Err(Refusal::BareLineFeed),
        b' ' | b'\t' => Err(Refusal::FieldFolded),
        b':' => Err(Refusal::FieldNameMissing),
        _ if !is_token_byte(byte) => Err(Refusal::FieldNameByte),
        _ if *fields == fields_max => Err(Refusal::FieldsTooMany),
        _ => {
            *fields += 1;
            Ok(State::Name)
        }
    }
}

fn name(byte: u8) -> Result<State, Refusal> {
    match byte {
        b':' => Ok(State::Value),
        b' ' | b'\t' => Err(Refusal::FieldNameSpace),
        b'\n' => Err(Refusal::BareLineFeed),
        _ if is_token_byte(byte) => Ok(State::Name),
        _ => Err(Refusal::FieldNameByte),
    }
}

fn value(byte: u8) -> Result<State, Refusal> {
    match byte {
        b'\r' => Ok(State::ValueEnd),
        b'\n' => Err(Refusal::BareLineFeed),
        _ if is_value_byte(byte) => Ok(State::Value),
        _ => Err(Refusal::FieldValueByte),
    }
}
