//! Text inside HTML and JSON.

use super::sink::Sink;

/// Writes text for HTML, in an element or a quoted attribute.
///
/// Bytes that are not UTF-8 and control characters, which a name may hold, become the replacement
/// character: what is shown is for reading, a link beside it is exact.
pub(super) fn html(out: &mut impl Sink, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '&' => out.put(b"&amp;"),
                '<' => out.put(b"&lt;"),
                '>' => out.put(b"&gt;"),
                '"' => out.put(b"&quot;"),
                '\'' => out.put(b"&#39;"),
                character if character.is_control() => out.put("\u{FFFD}".as_bytes()),
                character => out.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.put("\u{FFFD}".as_bytes());
        }
    }
}

/// Writes text as a JSON string with its quotes (RFC 8259 section 7); bytes that are not UTF-8
/// become the replacement character.
pub(super) fn json(out: &mut impl Sink, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let quoted = serde_json::to_string(text.as_ref()).expect("a string has a JSON form");
    out.put(quoted.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut out = Vec::new();
        html(&mut out, b"<a b=\"c\" d='e'>&\xff\n\xc3\xa4");
        let expected = "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{FFFD}\u{FFFD}\u{e4}";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        out.clear();
        json(&mut out, b"a\"\\\n\xff");
        assert_eq!(String::from_utf8_lossy(&out), "\"a\\\"\\\\\\n\u{FFFD}\"");
    }
}
