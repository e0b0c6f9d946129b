//! The body of a multipart/byteranges answer (RFC 9110 section 14.6): a head before each span, a
//! line at the end, and its length, which is known before the first byte is sent.

use super::range::Span;
use super::response::{self, EntityLines};
use super::sink::Sink;

/// Bytes of a [`Boundary`].
pub const BOUNDARY_BYTES: usize = 32;

/// The line that separates the parts. It must not be found in the file, which nobody can search
/// beforehand: the caller gives 128 bits that a client cannot foresee and does not use them twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary([u8; BOUNDARY_BYTES]);

impl Boundary {
    /// The boundary of a number, in hex.
    pub fn new(number: u128) -> Boundary {
        let mut text = [0; BOUNDARY_BYTES];
        for (at, place) in text.iter_mut().rev().enumerate() {
            *place = b"0123456789abcdef"[(number >> (4 * at) & 15) as usize];
        }
        Boundary(text)
    }

    /// The boundary as it stands in Content-Type.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes what stands before the bytes of a span, the line end behind the span before included.
pub fn part_head(
    out: &mut impl Sink,
    boundary: &Boundary,
    first: bool,
    lines: &EntityLines,
    span: Span,
    total: u64,
) {
    out.put(if first { b"--" } else { b"\r\n--" });
    out.put(boundary.as_bytes());
    out.put(b"\r\n");
    out.put(lines.content());
    response::content_range(out, span, total);
    out.put(b"\r\n");
}

/// Writes what stands behind the last span.
pub fn closing(out: &mut impl Sink, boundary: &Boundary) {
    out.put(b"\r\n--");
    out.put(boundary.as_bytes());
    out.put(b"--\r\n");
}

/// Content-Length of the whole body; `None` if 64 bits do not hold it.
pub fn length(boundary: &Boundary, lines: &EntityLines, spans: &[Span], total: u64) -> Option<u64> {
    let mut around = 0u64;
    for (at, span) in spans.iter().enumerate() {
        part_head(&mut around, boundary, at == 0, lines, *span, total);
    }
    closing(&mut around, boundary);
    spans.iter().try_fold(around, |sum, span| sum.checked_add(span.len))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::media::Media;
    use super::super::negotiate::Coding;
    use super::super::range::{Selection, select};
    use super::super::response::Entity;
    use super::*;
    use proptest::prelude::*;

    fn body(file: &[u8], spans: &[Span], boundary: &Boundary, lines: &EntityLines) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, span) in spans.iter().enumerate() {
            part_head(&mut out, boundary, at == 0, lines, *span, file.len() as u64);
            out.extend_from_slice(&file[span.start as usize..span.end() as usize]);
        }
        closing(&mut out, boundary);
        out
    }

    /// RFC 9110 section 14.6, its example.
    #[test]
    fn two_parts() {
        let boundary = Boundary::new(0xAB);
        let lines = EntityLines::new(&Entity::of_text(Media::new("text/plain")), &[]);
        let spans = [Span { start: 0, len: 2 }, Span { start: 7, len: 3 }];
        let text = String::from_utf8(body(b"0123456789", &spans, &boundary, &lines)).unwrap();
        let line = "000000000000000000000000000000ab";
        assert_eq!(
            text,
            format!(
                "--{line}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes 0-1/10\r\n\r\n01\r\n--{line}\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes 7-9/10\r\n\r\n789\r\n--{line}--\r\n"
            )
        );
        assert_eq!(length(&boundary, &lines, &spans, 10), Some(text.len() as u64));
    }

    /// RFC 9110 section 15.3.7.2: a part has the fields that a whole answer would have had.
    #[test]
    fn a_coded_part_says_its_coding() {
        let entity = Entity { coding: Coding::Br, ..Entity::of_text(Media::new("text/plain")) };
        let lines = EntityLines::new(&entity, &[]);
        let mut out = Vec::new();
        part_head(&mut out, &Boundary::new(0), true, &lines, Span { start: 0, len: 1 }, 2);
        assert!(String::from_utf8(out).unwrap().contains("\r\nContent-Encoding: br\r\n"));
    }

    #[test]
    fn a_length_beyond_64_bits_is_none() {
        let lines = EntityLines::new(&Entity::of_text(Media::new("text/plain")), &[]);
        let spans = [Span { start: 0, len: u64::MAX - 9 }];
        assert_eq!(length(&Boundary::new(0), &lines, &spans, u64::MAX), None);
    }

    proptest! {
        /// RFC 9112 section 6.2: the length said is the length sent.
        #[test]
        fn the_length_is_exact(
            ranges in prop::collection::vec((0..3000usize, 0..9usize), 2..20),
            number in any::<u128>(),
        ) {
            let file = vec![b'x'; 3000];
            let set: Vec<_> =
                ranges.iter().map(|(at, len)| format!("{at}-{}", at + len)).collect();
            let value = format!("bytes={}", set.join(","));
            if let Selection::Many(spans) = select(value.as_bytes(), 3000) {
                let boundary = Boundary::new(number);
                let lines = EntityLines::new(&Entity::of_text(Media::new("a/b")), &[]);
                let body = body(&file, &spans, &boundary, &lines);
                prop_assert_eq!(length(&boundary, &lines, &spans, 3000), Some(body.len() as u64));
            }
        }
    }
}
