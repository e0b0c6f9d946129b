//! Fields as they stand in a record, so that no request can write what another field or another
//! line would.
//!
//! In text, as nginx does: a quote, a backslash, control bytes and bytes beyond ASCII become
//! `\xHH`. In JSON: text that is UTF-8 stays, but for quotes, backslashes and controls (also
//! those of U+0080 to U+009F, which steer terminals); other bytes become the character of their
//! number.

use crate::http::sink::Sink;

/// How fields of a record are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `\xHH`.
    Text,
    /// As within a string of JSON.
    Json,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes bytes of a client.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8], escape: Escape) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let safe = bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len());
    out.extend_from_slice(&bytes[..safe]);
    if safe < bytes.len() {
        match escape {
            Escape::Text => put_text(out, &bytes[safe..]),
            Escape::Json => put_json(out, &bytes[safe..]),
        }
    }
}

fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..b' ' | 0x7f.. => put_byte(out, byte),
            _ => out.push(byte),
        }
    }
}

/// `\xHH`.
pub(super) fn put_byte(out: &mut Vec<u8>, byte: u8) {
    out.put(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn put_json(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for sign in chunk.valid().chars() {
            match sign {
                '"' => out.put(b"\\\""),
                '\\' => out.put(b"\\\\"),
                sign if sign.is_control() => put_code(out, sign as u32 as u8),
                sign => out.put(sign.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|&byte| put_code(out, byte));
    }
}

/// `\u00HH`.
fn put_code(out: &mut Vec<u8>, byte: u8) {
    out.put(b"\\u00");
    out.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8], escape: Escape) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, bytes, escape);
        out
    }

    #[test]
    fn text_is_as_nginx_has_it() {
        let out = escaped(b"a \"b\"\\\n\x7f\xc3\xa9", Escape::Text);
        assert_eq!(out, br"a \x22b\x22\x5c\x0a\x7f\xc3\xa9");
    }

    #[test]
    fn json_keeps_text_and_names_what_is_none() {
        let out = escaped("a\"é\\\n\u{9b}".as_bytes(), Escape::Json);
        assert_eq!(String::from_utf8(out).unwrap(), r#"a\"é\\\u000a\u009b"#);
        assert_eq!(escaped(b"\xff", Escape::Json), br"\u00ff");
    }

    proptest! {
        #[test]
        fn nothing_leaves_its_quotes_or_its_line(bytes: Vec<u8>) {
            let text = escaped(&bytes, Escape::Text);
            prop_assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"'));
            let json = [b"\"", &*escaped(&bytes, Escape::Json), b"\""].concat();
            prop_assert!(json.iter().all(|byte| *byte >= b' '));
            let read: String = serde_json::from_slice(&json).unwrap();
            let meant: String = match std::str::from_utf8(&bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => read.clone(),
            };
            prop_assert_eq!(read, meant);
        }
    }
}
