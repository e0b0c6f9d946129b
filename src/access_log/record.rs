//! What a record tells.

use std::net::SocketAddr;
use std::time::Duration;

use super::template::Wants;
use crate::base::WallClock;
use crate::http::head::{Head, Version};
use crate::http::status::Status;
use crate::limits::LOG_FIELD_BYTES_MAX;

/// What is kept of a request until its answer has ended: copies of what the format names.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The parts, one behind the other.
    bytes: Vec<u8>,
    /// Where each part ends; none for one that the request did not have.
    ends: Vec<Option<u32>>,
    /// Where method, target and protocol end.
    method: u32,
    target: u32,
    line: u32,
    /// Whether its body is mirrored.
    pub mirrored: bool,
}

impl Asked {
    /// Of a request that could be read.
    pub(super) fn of(head: &Head<'_>, wants: &Wants) -> Self {
        let mut asked = Self { bytes: Vec::with_capacity(256), ..Self::default() };
        asked.put(head.method_token);
        asked.method = asked.bytes.len() as u32;
        asked.put(head.target);
        asked.target = asked.bytes.len() as u32;
        asked.put(match head.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        });
        asked.line = asked.bytes.len() as u32;
        for name in &wants.fields {
            let value = match &**name {
                "referer" => head.fields.referer,
                "user-agent" => head.fields.user_agent,
                "range" => head.fields.range,
                name => head.fields.find(name),
            };
            if let Some(value) = value {
                asked.put(value);
            }
            asked.ends.push(value.map(|_| asked.bytes.len() as u32));
        }
        asked
    }

    /// Of a request that could not: its first line, as far as it came.
    pub(super) fn unreadable(input: &[u8], wants: &Wants) -> Self {
        let line = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let mut asked = Self::default();
        asked.put(&input[..line.unwrap_or(input.len())]);
        asked.line = asked.bytes.len() as u32;
        asked.ends.resize(wants.fields.len(), None);
        asked
    }

    fn put(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&part[..part.len().min(LOG_FIELD_BYTES_MAX)]);
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        &self.bytes[from as usize..to as usize]
    }

    /// Method, target and protocol; the first two are empty if the request could not be read.
    pub(super) fn line(&self) -> [&[u8]; 3] {
        [
            self.part(0, self.method),
            self.part(self.method, self.target),
            self.part(self.target, self.line),
        ]
    }

    /// The value of a field that the format names, by its place in [`Wants::fields`].
    pub(super) fn field(&self, index: usize) -> Option<&[u8]> {
        let end = (*self.ends.get(index)?)?;
        let before = self.ends[..index].iter().rev().find_map(|end| *end);
        Some(self.part(before.unwrap_or(self.line), end))
    }
}

/// One answer that has ended.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The request; none for an answer that nobody asked for.
    pub asked: Option<&'a Asked>,
    /// Who asked; none on a unix socket.
    pub peer: Option<SocketAddr>,
    /// Its status.
    pub status: Status,
    /// Bytes that the kernel took, head and body.
    pub sent: u64,
    /// Those of the body among them.
    pub body_sent: u64,
    /// Bytes of the body that were owed.
    pub body_owed: u64,
    /// From the first byte of the request to the end of the answer.
    pub duration: Duration,
    /// To the first byte of the answer; none if there was none.
    pub first_byte: Option<Duration>,
    /// Who moved the body.
    pub engine: &'static str,
    /// How it ended.
    pub farewell: &'static str,
    /// First byte and count of the range that was sent, if it was one.
    pub range: Option<(u64, u64)>,
    /// The coding of the body, if it has one.
    pub coding: Option<&'static str>,
    /// What was mirrored of its body; none if it was not to be.
    pub mirror: Option<Mirrored>,
    /// The number of the connection.
    pub connection: u64,
    /// The number of the request on its connection, from 1 on.
    pub request: u64,
    /// When it ended.
    pub ended: WallClock,
}

/// How much of a body was mirrored, from its first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Whether there was anything to mirror: a body, and one of a file.
    pub owed: bool,
    /// Bytes.
    pub bytes: u64,
    /// Whether that is all that was sent, and all that was owed.
    pub whole: bool,
}
