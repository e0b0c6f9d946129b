//! Heads of random pieces, and cut at every byte.

use proptest::prelude::*;

use super::*;

/// Every prefix of `input` gives what the whole gives, or is not decided yet; once it is decided
/// it stays so. And the quick reader takes it exactly if the careful one finds no fault.
fn holds_together(input: &[u8], limits: &HeadLimits) {
    let same = |a: &Parsed<'_>, b: &Parsed<'_>| match (a, b) {
        (Parsed::Partial, Parsed::Partial) => true,
        (Parsed::Complete(a), Parsed::Complete(b)) => format!("{a:?}") == format!("{b:?}"),
        (Parsed::Refused(a), Parsed::Refused(b)) => a == b,
        _ => false,
    };
    let whole = parse(input, limits);
    let mut decided = false;
    for end in 0..input.len() {
        let part = parse(&input[..end], limits);
        if decided || !matches!(part, Parsed::Partial) {
            let text = input[..end].escape_ascii();
            assert!(same(&part, &whole), "{text} gives {part:?}, more gives {whole:?}");
            decided = true;
        }
    }
    if let Parsed::Complete(head) = &whole {
        assert!(head.bytes <= input.len());
        assert!(matches!(parse(&input[..head.bytes - 1], limits), Parsed::Partial));
    }
    if let Ok(Some(skipped)) = empty_lines(input) {
        let window = &input[skipped..];
        let window = &window[..window.len().min(limits.head_bytes_max)];
        let sound = fault::first(window, limits) == Verdict::Sound;
        assert_eq!(quick(window, limits).is_some(), sound, "{}", input.escape_ascii());
    }
}

#[test]
fn no_split_changes_the_answer_rfc9112_section_2() {
    let limits = HeadLimits::default();
    let refused = REFUSED.iter().map(|row| row.1.as_bytes().to_vec());
    let fields = FIELDS_REFUSED.iter().map(|row| [b"GET / ".as_slice(), &lines(row.1)].concat());
    let kept = KEPT.iter().map(|row| row.1).chain(SERVED.iter().map(|row| row.1));
    let kept = kept.map(|line| lines(&[&format!("{line} HTTP/1.1"), "Host: x", "Accept: a"]));
    for request in refused.chain(fields).chain(kept) {
        holds_together(&request, &limits);
        holds_together(&[b"\r\n".as_slice(), &request, b"GET"].concat(), &limits);
    }
}

#[test]
fn one_changed_byte_is_judged_alike_by_both_readers() {
    let limits = HeadLimits { target_bytes_max: 20, head_bytes_max: 60, fields_max: 2 };
    let request = b"\r\nGET /a?b HTTP/1.1\r\nHost: x\r\nA:  b c\r\n\r\n";
    for index in 0..request.len() {
        for byte in 0..=u8::MAX {
            let mut changed = request.to_vec();
            changed[index] = byte;
            holds_together(&changed, &limits);
        }
        let mut shorter = request.to_vec();
        shorter.remove(index);
        holds_together(&shorter, &limits);
    }
}

/// Pieces that heads are made of, sound ones and others.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "HEAD ",
        "BREW ",
        "/",
        "*",
        "/a?b",
        "http://y/",
        " ",
        "\t",
        "#",
        "\\",
        "%",
        "x",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/1.7\r\n",
        " HTTP/2.0\r\n",
        "HTTP/",
        "\r\n",
        "\r",
        "\n",
        "\0",
        "\u{e9}",
        ":",
        "Host: x\r\n",
        "host:y\r\n",
        "Content-Length: 3\r\n",
        "Content-Length:",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ",
        ",",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        "A: b\r\n",
        "A:\r\n",
        "A",
        "\r\n\r\n",
    ]);
    let sound =
        prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"]);
    (sound, prop::collection::vec(piece, 0..12))
        .prop_map(|(sound, pieces)| [sound, &pieces.concat()].concat().into_bytes())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        holds_together(&input, &HeadLimits::default());
    }

    #[test]
    fn heads_of_random_pieces_hold_together(input in pieces(), tight in any::<bool>()) {
        let tight_limits = HeadLimits { target_bytes_max: 6, head_bytes_max: 60, fields_max: 3 };
        holds_together(&input, &if tight { tight_limits } else { HeadLimits::default() });
    }

    #[test]
    fn arbitrary_values_come_back_trimmed(
        value in prop::collection::vec(
            prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8],
            0..40,
        ),
    ) {
        let begin = b"GET / HTTP/1.1\r\nHost: x\r\nX-Value:".as_slice();
        let text = [begin, &value, b"\r\n\r\n"].concat();
        let head = head(&text);
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let begin = value.iter().take_while(|byte| blank(byte)).count();
        let end = value.len() - value.iter().rev().take_while(|byte| blank(byte)).count();
        let trimmed = value.get(begin..end).unwrap_or_default();
        prop_assert_eq!(head.fields.find("x-value"), Some(trimmed));
    }
}
