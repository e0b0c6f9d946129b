use super::*;
use crate::http::syntax::is_token;
use proptest::prelude::*;

/// Feeds `input` in pieces of `size` bytes.
fn feed_by(framing: Framing, input: &[u8], size: usize) -> Fed {
    let mut discard = Discard::new(framing);
    let mut consumed = 0;
    let mut last = discard.feed(&[]);
    for piece in input.chunks(size) {
        last = discard.feed(piece);
        consumed += last.consumed;
        if last.state != Progress::More {
            break;
        }
        assert_eq!(last.consumed, piece.len(), "what is not over takes everything");
    }
    Fed { consumed, state: last.state }
}

fn feed(framing: Framing, input: &[u8]) -> Fed {
    feed_by(framing, input, input.len().max(1))
}

#[rustfmt::skip]
const CHUNKED: &[(&str, &str, Progress)] = &[
    ("9112 7.1", "0\r\n\r\n", Progress::Done),
    ("9112 7.1", "5\r\nhello\r\n0\r\n\r\n", Progress::Done),
    ("9112 7.1", "0005\r\nhello\r\nA\r\n0123456789\r\na\r\n9876543210\r\n00\r\n\r\n",
     Progress::Done),
    ("9112 7.1", "5\r\nhel", Progress::More),
    ("9112 7.1", "5\r\nhello\r\n0\r\n", Progress::More),
    // The size.
    ("9112 7.1", "\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", ";a\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "+5\r\nhello\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "-1\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "0x5\r\nhello\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", " 5\r\nhello\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "5_0\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "5 \r\nhello\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "5 5\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "5\nhello\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "g\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "00000000000000000", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "10000000000000005\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "ffffffffffffffff\r\n", Progress::Refused(Refusal::BodyTooLong)),
    ("9112 7.1", "1\r\na\r\nffffffffffffffff\r\n", Progress::Refused(Refusal::BodyTooLong)),
    // Line ends.
    ("9112 7.1", "5\rhello\r\n", Progress::Refused(Refusal::ChunkEnd)),
    ("9112 7.1", "5\r\nhelloworld\r\n", Progress::Refused(Refusal::ChunkEnd)),
    ("9112 7.1", "5\r\nhello\n0\r\n\r\n", Progress::Refused(Refusal::ChunkEnd)),
    ("9112 7.1", "5\r\nhello\r0", Progress::Refused(Refusal::ChunkEnd)),
    ("9112 7.1", "5\r\nhello0\r\n\r\n", Progress::Refused(Refusal::ChunkEnd)),
    ("9112 7.1", "0\n\r\n", Progress::Refused(Refusal::ChunkSize)),
    ("9112 7.1", "0\r\n\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1", "0\r\n\rx", Progress::Refused(Refusal::ChunkEnd)),
    // Extensions.
    ("9112 7.1.1", "5;a\r\nhello\r\n0;b=c\r\n\r\n", Progress::Done),
    ("9112 7.1.1", "5 \t; a = \"b;c\" ; d\r\nhello\r\n0\r\n\r\n", Progress::Done),
    ("9112 7.1.1", "5;\r\nhello\r\n", Progress::Refused(Refusal::ChunkExtension)),
    ("9112 7.1.1", "5;=a\r\nhello\r\n", Progress::Refused(Refusal::ChunkExtension)),
    ("9112 7.1.1", "5;a\nhello\r\n", Progress::Refused(Refusal::ChunkExtension)),
    ("9112 7.1.1", "5;a=\"\n\"\r\n", Progress::Refused(Refusal::ChunkExtension)),
    ("9112 7.1.1", "5;a\0\r\n", Progress::Refused(Refusal::ChunkExtension)),
    ("9112 7.1.1", "5;a\rb\r\n", Progress::Refused(Refusal::ChunkEnd)),
    // Trailers.
    ("9112 7.1.2", "0\r\nA: b\r\nC:\r\n\r\n", Progress::Done),
    ("9112 7.1.2", "0\r\nContent-Length: 5\r\n\r\n", Progress::Done),
    ("9112 7.1.2", "0\r\nA: b\r\n c\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nA : b\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nA\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\n: b\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nA: b\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nA: b\rc\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nA: \0\r\n\r\n", Progress::Refused(Refusal::TrailerMalformed)),
    ("9112 7.1.2", "0\r\nGET / HTTP/1.1\r\n", Progress::Refused(Refusal::TrailerMalformed)),
];

#[test]
fn chunks_are_read_strictly_in_any_split_rfc9112_section_7_1() {
    for &(clause, text, state) in CHUNKED {
        let whole = feed(Framing::Chunked, text.as_bytes());
        assert_eq!(whole.state, state, "{clause}: {text:?}");
        if let Progress::Refused(refusal) = state {
            assert!(refusal.closes());
        } else {
            assert_eq!(whole.consumed, text.len(), "{clause}: {text:?}");
        }
        for size in 1..=text.len() {
            assert_eq!(feed_by(Framing::Chunked, text.as_bytes(), size), whole, "{text:?}");
        }
        if state == Progress::Done {
            let next = [text.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            let fed = feed(Framing::Chunked, &next);
            assert_eq!(fed, whole, "the next request is left alone: {text:?}");
        }
    }
}

#[test]
fn a_body_of_known_length_is_counted_rfc9112_section_6_3() {
    let done = |consumed| Fed { consumed, state: Progress::Done };
    assert_eq!(feed(Framing::None, b"GET"), done(0));
    assert_eq!(feed(Framing::Length(0), b"GET"), done(0));
    assert_eq!(feed(Framing::Length(5), b"helloGET"), done(5));
    assert_eq!(feed_by(Framing::Length(5), b"helloGET", 2), done(5));
    assert_eq!(feed(Framing::Length(6), b"hello"), Fed { consumed: 5, state: Progress::More });
    assert_eq!(Discard::new(Framing::None).feed(&[]).state, Progress::Done);
}

#[test]
fn bodies_beyond_the_bound_are_not_read_rfc9110_section_15_5_14() {
    assert!(!Framing::Length(DISCARD_BYTES_MAX).too_long_to_discard(DISCARD_BYTES_MAX));
    assert!(Framing::Length(DISCARD_BYTES_MAX + 1).too_long_to_discard(DISCARD_BYTES_MAX));
    assert!(!Framing::Chunked.too_long_to_discard(0) && !Framing::None.too_long_to_discard(0));

    let refused = Progress::Refused(Refusal::BodyTooLong);
    let long = feed(Framing::Length(DISCARD_BYTES_MAX + 1), b"a");
    assert_eq!(long, Fed { consumed: 0, state: refused });

    let bound = usize::try_from(DISCARD_BYTES_MAX).expect("64 KiB fit");
    let full = format!("{bound:x}\r\n{}\r\n", "a".repeat(bound)).into_bytes();
    assert_eq!(feed(Framing::Length(DISCARD_BYTES_MAX), &full).consumed, bound);
    let fits = [full.as_slice(), b"0\r\n\r\n"].concat();
    assert_eq!(feed(Framing::Chunked, &fits), Fed { consumed: fits.len(), state: Progress::Done });
    let over = [full.as_slice(), b"1\r\n"].concat();
    assert_eq!(feed(Framing::Chunked, &over), Fed { consumed: over.len(), state: refused });
    let at_once = format!("{:x}\r\n", bound + 1);
    assert_eq!(feed(Framing::Chunked, at_once.as_bytes()).state, refused);
}

#[test]
fn extensions_and_trailers_are_bounded_over_the_body_rfc9112_section_7_1_1() {
    let extended = |bytes: usize| {
        let text = format!("1;{}\r\na\r\n0;a\r\n\r\n", "a".repeat(bytes - 3));
        feed(Framing::Chunked, text.as_bytes()).state
    };
    assert_eq!(extended(CHUNK_EXTENSION_BYTES_MAX), Progress::Done);
    let over = Progress::Refused(Refusal::ChunkExtension);
    assert_eq!(extended(CHUNK_EXTENSION_BYTES_MAX + 1), over);
    let spaces = format!("1{}", " ".repeat(CHUNK_EXTENSION_BYTES_MAX + 1));
    assert_eq!(feed(Framing::Chunked, spaces.as_bytes()).state, over);

    let trailing = |bytes: usize| {
        let text = format!("0\r\nA:{}\r\n\r\n", "a".repeat(bytes - 6));
        feed(Framing::Chunked, text.as_bytes()).state
    };
    assert_eq!(trailing(TRAILER_BYTES_MAX), Progress::Done);
    assert_eq!(trailing(TRAILER_BYTES_MAX + 1), Progress::Refused(Refusal::TrailerTooLong));
}

#[test]
fn a_refused_body_stays_refused_rfc9112_section_11_2() {
    let mut discard = Discard::new(Framing::Chunked);
    let refused = Progress::Refused(Refusal::ChunkSize);
    assert_eq!(discard.feed(b"x").state, refused);
    assert_eq!(discard.feed(b"0\r\n\r\n"), Fed { consumed: 0, state: refused });
}

/// The whole body in one string, read the slow and obvious way: how many bytes it takes, or none
/// when it is not over or not sound.
fn model(input: &[u8]) -> Option<usize> {
    fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        *rest = &rest[end + 2..];
        line.iter().all(|&byte| is_value_byte(byte)).then_some(line)
    }
    let mut rest = input;
    loop {
        let head = line(&mut rest)?;
        let digits = head.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = head.split_at(digits);
        if !extension.is_empty() {
            let name = extension.trim_ascii_start().strip_prefix(b";")?.trim_ascii_start();
            is_token_byte(*name.first()?).then_some(())?;
            quotes_end(name).then_some(())?;
        }
        let size = std::str::from_utf8(size).ok()?;
        let size = usize::from_str_radix(size, 16).ok().filter(|_| digits <= 16)?;
        if size == 0 {
            break;
        }
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let field = line(&mut rest)?;
        if field.is_empty() {
            return Some(input.len() - rest.len());
        }
        let colon = field.iter().position(|&byte| byte == b':')?;
        is_token(&field[..colon]).then_some(())?;
    }
}

/// Whether each quote of an extension has its end, which none has behind a backslash.
fn quotes_end(extension: &[u8]) -> bool {
    let text: String = extension.iter().map(|byte| char::from(*byte)).collect();
    let mut rest = text.as_str();
    while let Some((_, quoted)) = rest.split_once('"') {
        let mut behind = quoted;
        loop {
            match behind.find(['"', '\\']) {
                None => return false,
                Some(at) if behind[at..].starts_with('"') => break behind = &behind[at + 1..],
                Some(at) => {
                    let mut signs = behind[at + 1..].chars();
                    if signs.next().is_none() {
                        return false;
                    }
                    behind = signs.as_str();
                }
            }
        }
        rest = behind;
    }
    true
}

/// Chunked bodies, mostly sound.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..20), any::<bool>(), 0..4usize).prop_map(
        |(data, upper, zeros)| {
            let size = format!("{}{:x}", "0".repeat(zeros), data.len());
            let size = if upper { size.to_uppercase() } else { size };
            [size.as_bytes(), b"\r\n", &data, b"\r\n"].concat()
        },
    );
    let odd = prop::sample::select(vec![
        "",
        "0",
        "0\r\n",
        "\r\n",
        "1",
        ";a",
        " ;a=b",
        ";",
        " ",
        "\r",
        "\n",
        "A: b\r\n",
        ":",
        "f",
        "1;a=\"b\"\r\nx\r\n",
        "1;a=\"b\r\nx\r\n",
        "1;a=\"\\\"\r\nx\r\n",
        "\"",
        "\\",
    ]);
    let piece = prop_oneof![4 => chunk, 1 => odd.prop_map(|odd| odd.as_bytes().to_vec())];
    (prop::collection::vec(piece, 0..6), any::<bool>()).prop_map(|(pieces, ended)| {
        let end: &[u8] = if ended { b"0\r\nA: b\r\n\r\nGET" } else { b"0\r\n\r\n" };
        [pieces.concat().as_slice(), end].concat()
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn chunks_agree_with_the_obvious_reader(body in bodies(), size in 1..9usize) {
        let fed = feed(Framing::Chunked, &body);
        let over = (fed.state == Progress::Done).then_some(fed.consumed);
        prop_assert_eq!(over, model(&body), "{}", body.escape_ascii());
        prop_assert_eq!(feed_by(Framing::Chunked, &body, size), fed);
    }

    #[test]
    fn arbitrary_bytes_agree_and_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let fed = feed(Framing::Chunked, &body);
        let over = (fed.state == Progress::Done).then_some(fed.consumed);
        prop_assert_eq!(over, model(&body));
        prop_assert_eq!(feed_by(Framing::Chunked, &body, 1), fed);
    }
}
