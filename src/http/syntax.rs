//! Classes of bytes that several parts of a message share (RFC 9110 section 5.6).

/// A byte of a token (tchar, RFC 9110 section 5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || is_one_of(byte, b"!#$%&'*+-.^_`|~")
}

/// A token: at least one byte, and nothing but token bytes.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// A byte of a field value, obs-text included (RFC 9110 section 5.5): no control byte but a tab.
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)
}

/// A byte of a raw target: visible ASCII, and no fragment, which is never sent (RFC 9112
/// section 3.2). Wider than RFC 3986: clients send `|`, `"` and the like raw, and they mean
/// only themselves.
pub(crate) const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) & (byte != b'#')
}

/// Unreserved or sub-delims (RFC 3986 section 2), of which registered names are made.
pub(crate) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || is_one_of(byte, b"-._~!$&'()*+,;=")
}

const fn is_one_of(byte: u8, bytes: &[u8]) -> bool {
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

/// Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list of tokens, trimmed, without the empty ones (RFC 9110
/// section 5.6.1). Not for lists that may hold quoted strings: a comma in one would split it.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_rfc9110_section_5_6_2() {
        for byte in 0..=u8::MAX {
            let visible = (0x21..0x7f).contains(&byte);
            let delimiter = b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_token_byte(byte), visible && !delimiter, "{byte:#x}");
        }
        assert!(is_token(b"GET") && !is_token(b"") && !is_token(b"G T"));
    }

    #[test]
    fn members_are_trimmed_and_empty_ones_left_out_rfc9110_section_5_6_1() {
        let all: Vec<_> = members(b" , a ,\t,b\t,, c d ,").collect();
        assert_eq!(all, [b"a".as_slice(), b"b", b"c d"]);
        assert_eq!(members(b"").count(), 0);
        assert_eq!(trim(b" \t \t"), b"");
    }
}
