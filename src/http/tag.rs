//! Strong entity tags (RFC 9110 section 8.8.3) in a fixed buffer.
//!
//! A tag is made of modification time, size and coding only, never of the inode, so that replicas
//! which hold the same tree agree. Numbers are written in digits of six bits, most significant
//! first: a tag in hex is five bytes longer, on every answer.

use crate::limits::TAG_BYTES_MAX;

use super::negotiate::Coding;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes of a content digest that a tag can hold: a SHA-256.
pub const DIGEST_BYTES_MAX: usize = 32;

// Two quotes and the longest coding beside the digest; the tag of a time is shorter.
const _: () = assert!(2 * DIGEST_BYTES_MAX + ".zst".len() + 2 <= TAG_BYTES_MAX);
const _: () = assert!(TAG_BYTES_MAX <= u8::MAX as usize);

/// An entity tag with its quotes.
#[derive(Clone, Copy)]
pub struct Tag {
    bytes: [u8; TAG_BYTES_MAX],
    len: u8,
}

impl Tag {
    /// The tag of a file by its modification time, in seconds and nanoseconds since 1970, its size
    /// and the coding in which it is sent.
    pub fn of_file(seconds: i64, nanoseconds: u32, size: u64, coding: Coding) -> Tag {
        let mut tag = Tag::open();
        // One number where it fits, which is from 1678 to 2262; else two, told apart by a dot.
        let whole = seconds.checked_mul(1_000_000_000);
        match whole.and_then(|whole| whole.checked_add(i64::from(nanoseconds))) {
            Some(time) => tag.number(time.cast_unsigned()),
            None => {
                tag.number(seconds.cast_unsigned());
                tag.push(b'.');
                tag.number(u64::from(nanoseconds));
            }
        }
        tag.push(b'-');
        tag.number(size);
        tag.close(coding)
    }

    /// The tag of a file by a digest of its bytes, of which the first [`DIGEST_BYTES_MAX`] count.
    /// A variant has a digest of its own; the coding tells it apart from the file of its name.
    pub fn of_content(digest: &[u8], coding: Coding) -> Tag {
        let mut tag = Tag::open();
        for byte in digest.iter().take(DIGEST_BYTES_MAX) {
            tag.push(HEX[usize::from(byte >> 4)]);
            tag.push(HEX[usize::from(byte & 15)]);
        }
        tag.close(coding)
    }

    /// The tag as it stands in a field, with its quotes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn open() -> Tag {
        let mut tag = Tag { bytes: [0; TAG_BYTES_MAX], len: 0 };
        tag.push(b'"');
        tag
    }

    fn close(mut self, coding: Coding) -> Tag {
        for byte in coding.suffix().bytes() {
            self.push(byte);
        }
        self.push(b'"');
        self
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn number(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(6).max(1);
        for place in (0..digits).rev() {
            self.push(DIGITS[(value >> (6 * place) & 63) as usize]);
        }
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Tag) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Tag {}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODINGS: [Coding; 4] = [Coding::Br, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// RFC 9110 section 8.8.3.
    #[test]
    fn the_shape_of_a_tag() {
        let tag = Tag::of_file(0, 1, 64, Coding::Identity);
        assert_eq!(tag.as_bytes(), b"\"1-10\"");
        assert_eq!(Tag::of_file(0, 1, 64, Coding::Br).as_bytes(), b"\"1-10.br\"");
        assert_eq!(Tag::of_content(&[0xAB, 0x01], Coding::Gzip).as_bytes(), b"\"ab01.gz\"");
        let today = Tag::of_file(1_763_900_000, 123_456_789, 40_000, Coding::Identity);
        assert!(today.as_bytes().len() <= 17, "{today:?}");
    }

    #[test]
    fn the_longest_tags_fit() {
        for coding in CODINGS {
            let _ = Tag::of_content(&[0xFF; 64], coding);
            let _ = Tag::of_file(i64::MIN, u32::MAX, u64::MAX, coding);
            let _ = Tag::of_file(-1, 0, u64::MAX, coding);
        }
    }

    proptest! {
        /// RFC 9110 section 8.8.1: different representations, different strong validators; and
        /// only bytes that section 8.8.3 allows.
        #[test]
        fn tags_differ_when_anything_differs(
            one in (any::<i64>(), 0..1_000_000_000u32, any::<u64>(), 0..4usize),
            two in (any::<i64>(), 0..1_000_000_000u32, any::<u64>(), 0..4usize),
            same in 0..16u8,
        ) {
            let two = (
                if same & 1 == 0 { one.0 } else { two.0 },
                if same & 2 == 0 { one.1 } else { two.1 },
                if same & 4 == 0 { one.2 } else { two.2 },
                if same & 8 == 0 { one.3 } else { two.3 },
            );
            let tag = |(seconds, nanoseconds, size, coding): (i64, u32, u64, usize)| {
                Tag::of_file(seconds, nanoseconds, size, CODINGS[coding])
            };
            prop_assert_eq!(tag(one) == tag(two), one == two);
            let bytes = tag(one);
            let inner = &bytes.as_bytes()[1..bytes.as_bytes().len() - 1];
            prop_assert!(inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7E)));
        }
    }
}
