//! Request bodies, which are read away (RFC 9112 sections 6 and 7.1).
//!
//! A file takes no body, but a request may bring one, and the next request begins behind it. The
//! reader here finds that place. It keeps nothing of the body, decodes chunks in the strictest
//! reading of the grammar, and its answer does not depend on how the bytes were split.
//!
//! Limits: [`DISCARD_BYTES_MAX`] of body, and for chunked bodies bounds of their own for size
//! digits, extensions and trailer, so what one request makes the server read is bounded. Any
//! refusal leaves the end of the body unknown, and the connection closes.

use super::refusal::Refusal;
use super::syntax::{is_token_byte, is_value_byte};
use crate::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, DISCARD_BYTES_MAX, TRAILER_BYTES_MAX,
};

/// How the body of a request is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, or one of no bytes.
    None,
    /// So many bytes follow, at least one.
    Length(u64),
    /// Chunks follow, and a trailer section.
    Chunked,
}

impl Framing {
    /// Whether it is known from the head that the body is longer than `bytes_max`: then the
    /// answer goes out at once, and the connection closes.
    #[must_use]
    pub const fn too_long_to_discard(self, bytes_max: u64) -> bool {
        matches!(self, Framing::Length(bytes) if bytes > bytes_max)
    }
}

/// How far the body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input is taken, and more must come.
    More,
    /// The body is over. What is left of the input belongs to the next request.
    Done,
    /// The body is malformed or too long: answer, then close.
    Refused(Refusal),
}

/// What became of one piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the input that belong to the body.
    pub consumed: usize,
    /// How far the body has been read.
    pub state: Progress,
}

/// Reads one body away.
///
/// ```text
/// Size -> [SizeSpace ->] [ExtensionName -> Extension ->] SizeEnd
/// Extension -> Quoted [-> Escaped -> Quoted] -> Extension
/// SizeEnd -> Data -> DataEnd -> DataFeed -> Size
/// SizeEnd -> TrailerLine, after size 0
/// TrailerLine -> TrailerName -> TrailerValue -> TrailerFeed -> TrailerLine -> LastFeed -> Done
/// Length -> Done; every state but Done -> Refused
/// ```
#[derive(Clone, Debug)]
pub struct Discard {
    state: State,
    /// Size of the chunk whose size line is being read.
    size: u64,
    /// Bytes of all chunks up to that one.
    body: u64,
    extension: usize,
    trailer: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    Size { digits: usize },
    SizeSpace,
    ExtensionName,
    Extension,
    Quoted,
    Escaped,
    SizeEnd,
    Data { left: u64 },
    DataEnd,
    DataFeed,
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    LastFeed,
    Done,
    Refused(Refusal),
}

impl Discard {
    /// A reader at the first byte behind the head.
    ///
    /// A length beyond [`DISCARD_BYTES_MAX`] is refused with the first piece; the caller has asked
    /// [`Framing::too_long_to_discard`] before.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(_) if framing.too_long_to_discard(DISCARD_BYTES_MAX) => {
                State::Refused(Refusal::BodyTooLong)
            }
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Size { digits: 0 },
        };
        Self { state, size: 0, body: 0, extension: 0, trailer: 0 }
    }

    /// Takes the next piece of input.
    pub fn feed(&mut self, input: &[u8]) -> Fed {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            match self.state {
                State::Done => return Fed { consumed, state: Progress::Done },
                State::Refused(refusal) => {
                    return Fed { consumed, state: Progress::Refused(refusal) };
                }
                _ if rest.is_empty() => return Fed { consumed, state: Progress::More },
                State::Length { left } => {
                    let (taken, left) = take(rest, left);
                    consumed += taken;
                    self.state = if left == 0 { State::Done } else { State::Length { left } };
                }
                State::Data { left } => {
                    let (taken, left) = take(rest, left);
                    consumed += taken;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                }
                state => {
                    consumed += 1;
                    self.state = self.step(state, rest[0]).unwrap_or_else(State::Refused);
                }
            }
        }
    }

    /// One byte of what stands around the data of chunks.
    fn step(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        match (state, byte) {
            (State::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == CHUNK_SIZE_DIGITS_MAX {
                    return Err(Refusal::ChunkSize);
                }
                let value = char::from(byte).to_digit(16).map_or(0, u64::from);
                self.size = self.size << 4 | value;
                Ok(State::Size { digits: digits + 1 })
            }
            // A sign, a `0x` or nothing at all stands where the size must be.
            (State::Size { digits: 0 }, _) => Err(Refusal::ChunkSize),
            (State::Size { .. } | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Size { .. } | State::SizeSpace, b' ' | b'\t') => {
                self.extend()?;
                Ok(State::SizeSpace)
            }
            (State::Size { .. } | State::SizeSpace, b';') => {
                self.extend()?;
                Ok(State::ExtensionName)
            }
            (State::Size { .. } | State::SizeSpace, _) => Err(Refusal::ChunkSize),
            // Extensions are not understood and nobody needs them to be: the first must have a
            // name, and all keep to bytes that cannot be taken for a line end. A quote must end
            // in its line: another reader may look for its end behind it.
            (State::ExtensionName, b' ' | b'\t') => {
                self.extend()?;
                Ok(State::ExtensionName)
            }
            (State::ExtensionName, _) if !is_token_byte(byte) => Err(Refusal::ChunkExtension),
            (State::ExtensionName | State::Extension | State::Quoted | State::Escaped, _)
                if is_value_byte(byte) =>
            {
                self.extend()?;
                Ok(match (state, byte) {
                    (State::Quoted, b'\\') => State::Escaped,
                    (State::Quoted, b'"') => State::Extension,
                    (State::Quoted | State::Escaped, _) | (State::Extension, b'"') => State::Quoted,
                    _ => State::Extension,
                })
            }
            (State::ExtensionName | State::Extension | State::Quoted | State::Escaped, _) => {
                Err(Refusal::ChunkExtension)
            }
            (State::SizeEnd, b'\n') => self.size_read(),
            (State::DataEnd, b'\r') => Ok(State::DataFeed),
            (State::DataFeed, b'\n') => Ok(State::Size { digits: 0 }),
            (State::SizeEnd | State::DataEnd | State::DataFeed, _) => Err(Refusal::ChunkEnd),
            _ => self.trailer(state, byte),
        }
    }

    fn extend(&mut self) -> Result<(), Refusal> {
        self.extension += 1;
        if self.extension > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Refusal::ChunkExtension);
        }
        Ok(())
    }

    /// The size line of a chunk is over.
    fn size_read(&mut self) -> Result<State, Refusal> {
        let size = std::mem::take(&mut self.size);
        if size == 0 {
            return Ok(State::TrailerLine);
        }
        // Told by the size line, before a byte of the chunk is read.
        self.body = match self.body.checked_add(size) {
            Some(body) if body <= DISCARD_BYTES_MAX => body,
            _ => return Err(Refusal::BodyTooLong),
        };
        Ok(State::Data { left: size })
    }

    /// One byte behind the last chunk (RFC 9112 section 7.1.2).
    fn trailer(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        self.trailer += 1;
        if self.trailer > TRAILER_BYTES_MAX {
            return Err(Refusal::TrailerTooLong);
        }
        match (state, byte) {
            (State::TrailerLine, b'\r') => Ok(State::LastFeed),
            (State::TrailerLine | State::TrailerName, _) if is_token_byte(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerFeed),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerFeed, b'\n') => Ok(State::TrailerLine),
            (State::LastFeed, b'\n') => Ok(State::Done),
            (State::LastFeed, _) => Err(Refusal::ChunkEnd),
            _ => Err(Refusal::TrailerMalformed),
        }
    }
}

/// As much of `left` bytes as the input has: what is taken, and what is left then.
fn take(input: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    (taken, left - taken as u64)
}

#[cfg(test)]
mod tests;
