//! The name that was probably meant.

/// The known name nearest to `word`, when it is near enough to be meant: a third of its
/// letters may be wrong, and swapped neighbours count as one mistake. An underscore or a
/// capital is no mistake at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic; nothing this long is a misspelt name.
    const WORD_BYTES_MAX: usize = 64;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&word, name), name))
        .filter(|&(distance, name)| distance <= name.chars().count().div_ceil(3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_finds_none() {
        let names = ["sendfile", "splice", "uring", "direct", "copy"];
        assert_eq!(nearest("sendfil", names), Some("sendfile"));
        assert_eq!(nearest("SPLICE", names), Some("splice"));
        assert_eq!(nearest("io_uring", names), None);
        assert_eq!(nearest("epoll", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
        assert_eq!(nearest("head_timeout", ["head-timeout"]), Some("head-timeout"));
    }
}
