//! The reader of request heads.

mod random;
mod table;

use super::*;
use table::{FIELDS_REFUSED, KEPT, REFUSED, SERVED};

const HOST: &str = "Host: x\r\n";

fn read(input: &[u8]) -> Parsed<'_> {
    parse(input, &HeadLimits::default())
}

#[track_caller]
fn head(input: &[u8]) -> Head<'_> {
    match read(input) {
        Parsed::Complete(head) => head,
        other => panic!("{:?} gives {other:?}", input.escape_ascii().to_string()),
    }
}

fn refused(input: &[u8]) -> Option<Refusal> {
    match read(input) {
        Parsed::Refused(refusal) => Some(refusal),
        Parsed::Partial | Parsed::Complete(_) => None,
    }
}

/// A request with these lines, each ended, an empty one behind.
fn lines(lines: &[&str]) -> Vec<u8> {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

#[test]
fn whatever_puts_the_head_in_doubt_is_refused() {
    for &(clause, text, refusal) in REFUSED {
        assert_eq!(refused(text.as_bytes()), Some(refusal), "{clause}: {text:?}");
        assert!(refusal.closes());
    }
    for &(clause, fields, refusal) in FIELDS_REFUSED {
        let text = [b"GET / ".as_slice(), &lines(fields)].concat();
        assert_eq!(refused(&text), Some(refusal), "{clause}: {fields:?}");
        assert!(refusal.closes());
    }
}

#[test]
fn a_refused_method_or_target_keeps_the_framing() {
    for &(clause, line, refusal) in KEPT {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        let head = head(text.as_bytes());
        assert_eq!(head.refusal, Some(refusal), "{clause}: {line}");
        assert!(!refusal.closes());
        assert_eq!((head.framing, head.bytes), (Framing::Length(5), text.len() - 5), "{line}");
        assert_eq!(head.keep_alive, head.method != Method::Connect, "{line}");
        assert_eq!([head.method_token, head.target].join(&b' '), line.as_bytes());
    }
}

#[test]
fn targets_are_taken_apart_as_they_stand() {
    for &(clause, line, path, query, authority) in SERVED {
        let text = lines(&[&format!("{line} HTTP/1.1"), "Host: x"]);
        let head = head(&text);
        assert_eq!(head.refusal, None, "{clause}: {line}");
        assert_eq!(head.path, path.as_bytes(), "{clause}: {line}");
        assert_eq!(head.query, query.map(str::as_bytes), "{clause}: {line}");
        assert_eq!(head.authority, Some(authority.as_bytes()), "{clause}: {line}");
        assert!(head.keep_alive && !head.expect_continue && head.framing == Framing::None);
    }
}

/// Whatever byte a path holds is refused with the head, or by its resolution, or is a name's.
#[test]
fn a_path_that_is_taken_has_no_bad_byte_but_a_backslash_rfc9112_section_3_2() {
    for byte in 0..=u8::MAX {
        let text = [b"GET /a".as_slice(), &[byte], b"b HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let Parsed::Complete(head) = read(&text) else { continue };
        match crate::http::target::resolve(head.path, &mut Vec::new()).map_err(Refusal::from) {
            Ok(_) => assert!((0x21..0x7f).contains(&byte) && byte != b'\\', "{byte:#x}"),
            Err(Refusal::TargetBackslash) => assert_eq!(byte, b'\\'),
            Err(refusal) => assert_eq!((byte, refusal), (b'%', Refusal::TargetEscape)),
        }
    }
}

#[test]
fn valid_hosts_are_taken_rfc9112_section_3_2() {
    for host in [
        "x",
        "x:",
        "x:0",
        "x:65535",
        "127.0.0.1:80",
        "[::1]",
        "[::ffff:1.2.3.4]:8080",
        "[v1.a:b]",
        "a.b-c_d~e",
        "%61",
        "a!$&'()*+,;=b",
        "xn--bcher-kva.example.",
    ] {
        let text = lines(&["GET / HTTP/1.1", &format!("hOST:\t{host} ")]);
        assert_eq!(head(&text).authority, Some(host.as_bytes()), "{host}");
    }
}

#[test]
fn versions_one_x_are_served_rfc9110_section_2_5() {
    for (minor, version) in [(0, Version::Http10), (1, Version::Http11), (2, Version::Http11)]
        .into_iter()
        .chain([(9, Version::Http11)])
    {
        let text = lines(&[&format!("GET / HTTP/1.{minor}"), "Host: x"]);
        assert_eq!(head(&text).version, version, "1.{minor}");
    }
    let bare = head(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((bare.version, bare.authority), (Version::Http10, None));
    let absolute = head(b"GET http://y/ HTTP/1.0\r\n\r\n");
    assert_eq!(absolute.authority, Some(b"y".as_slice()));
}

#[test]
fn empty_lines_before_a_request_are_skipped_rfc9112_section_2_2() {
    let request = lines(&["GET / HTTP/1.1", "Host: x"]);
    for count in 0..=EMPTY_LINES_MAX {
        let text = [b"\r\n".repeat(count), request.clone()].concat();
        assert_eq!(head(&text).bytes, text.len());
    }
    let text = [b"\r\n".repeat(EMPTY_LINES_MAX + 1), request].concat();
    assert_eq!(refused(&text), Some(Refusal::EmptyLines));
}

#[test]
fn connection_persists_as_rfc9112_section_9_3_says() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], bool)] = &[
        ("HTTP/1.1", &[], true),
        ("HTTP/1.1", &["Connection: close"], false),
        ("HTTP/1.1", &["connection: CLOSE"], false),
        ("HTTP/1.1", &["Connection: keep-alive"], true),
        ("HTTP/1.1", &["Connection: keep-alive, Upgrade,close"], false),
        ("HTTP/1.1", &["Connection: Upgrade", "Connection: close"], false),
        ("HTTP/1.1", &["Connection: closed, x-close"], true),
        ("HTTP/1.1", &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"], true),
        ("HTTP/1.0", &[], false),
        ("HTTP/1.0", &["Connection: keep-alive"], true),
        ("HTTP/1.0", &["Connection: , Keep-Alive ,"], true),
        ("HTTP/1.0", &["Connection: keep-alive", "Connection: close"], false),
        ("HTTP/1.0", &["Proxy-Connection: keep-alive"], false),
    ];
    for &(version, fields, keep_alive) in rows {
        let line = format!("GET / {version}");
        let text = lines(&[&[line.as_str(), "Host: x"], fields].concat());
        let head = head(&text);
        assert_eq!(head.keep_alive, keep_alive, "{version} {fields:?}");
        assert_eq!(head.refusal, None);
    }
}

#[test]
fn expectations_are_met_or_refused_rfc9110_section_10_1_1() {
    let body = "Content-Length: 5";
    let unknown = Some(Refusal::ExpectationUnknown);
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], bool, bool, _)] = &[
        ("GET / HTTP/1.1", &[body, "Expect: 100-continue"], true, true, None),
        ("GET / HTTP/1.1", &["Transfer-Encoding: chunked", "expect: 100-Continue"],
         true, true, None),
        ("GET / HTTP/1.1", &[body, "Expect: 100-continue, 100-continue"], true, true, None),
        ("GET / HTTP/1.1", &[body, "Expect:"], false, true, None),
        // Without a body there is nothing to continue with.
        ("GET / HTTP/1.1", &["Expect: 100-continue"], false, true, None),
        ("GET / HTTP/1.1", &["Content-Length: 0", "Expect: 100-continue"], false, true, None),
        // A final answer instead of 100 ends the connection: the body may come or not.
        ("PUT / HTTP/1.1", &[body, "Expect: 100-continue"],
         true, false, Some(Refusal::MethodNotAllowed)),
        ("GET * HTTP/1.1", &[body, "Expect: 100-continue"], true, false, Some(Refusal::TargetForm)),
        ("GET / HTTP/1.1", &[body, "Expect: 100-continue, x"], true, false, unknown),
        ("GET / HTTP/1.1", &[body, "Expect: 100-continue", "Expect: x"], true, false, unknown),
        ("GET / HTTP/1.1", &[body, "Expect: 200-ok"], false, true, unknown),
        ("GET / HTTP/1.1", &["Expect: 100-continue=1"], false, true, unknown),
        // The method comes before the expectation.
        ("PUT / HTTP/1.1", &["Expect: x"], false, true, Some(Refusal::MethodNotAllowed)),
        ("GET / HTTP/1.0", &["Connection: keep-alive", body, "Expect: 100-continue"],
         false, true, None),
        ("GET / HTTP/1.0", &["Connection: keep-alive", body, "Expect: x"], false, true, None),
    ];
    for &(line, fields, expect_continue, keep_alive, refusal) in rows {
        let text = lines(&[&[line, "Host: x"], fields].concat());
        let head = head(&text);
        assert_eq!(head.refusal, refusal, "{line} {fields:?}");
        assert_eq!(head.expect_continue, expect_continue, "{line} {fields:?}");
        assert_eq!(head.keep_alive, keep_alive, "{line} {fields:?}");
    }
}

#[test]
fn bodies_are_framed_rfc9112_section_6_3() {
    #[rustfmt::skip]
    let rows: &[(&[&str], Framing)] = &[
        (&[], Framing::None),
        (&["Content-Length: 0"], Framing::None),
        (&["Content-Length: 000"], Framing::None),
        (&["Content-Length:7\t"], Framing::Length(7)),
        (&["CONTENT-LENGTH: 18446744073709551615"], Framing::Length(u64::MAX)),
        (&["Transfer-Encoding: chunked"], Framing::Chunked),
        (&["transfer-encoding: \t CHUNKED \t"], Framing::Chunked),
        // Other names, whatever they remind of.
        (&["Content_Length: 7", "X-Content-Length: 7", "Transfer_Encoding: chunked"],
         Framing::None),
    ];
    for &(fields, framing) in rows {
        let text = lines(&[&["GET / HTTP/1.1", "Host: x"], fields].concat());
        assert_eq!(head(&text).framing, framing, "{fields:?}");
    }
}

#[test]
fn fields_that_later_stages_use_are_captured_rfc9110_section_5() {
    let text = lines(&[
        "GET / HTTP/1.1",
        "Host: x",
        "range: bytes=0-1",
        "IF-RANGE: \"a\"",
        "If-Match: \"a\"",
        "If-Match: \"b,c\" ",
        "If-None-Match: *",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "If-Unmodified-Since: soon",
        "Accept: text/html",
        "Accept-Encoding: br",
        "X-Other: 1",
        "Accept-Encoding:",
        "accept-encoding: gzip",
        "Origin: null",
        "Access-Control-Request-Method: PUT",
        "Referer: a",
        "User-Agent: b \u{e9}",
        "X-Other: 2",
    ]);
    let head = head(&text);
    let fields = &head.fields;
    let some = |text: &'static str| Some(text.as_bytes());
    assert_eq!(fields.range, some("bytes=0-1"));
    assert_eq!(fields.if_range, some("\"a\""));
    assert_eq!(fields.if_modified_since, some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(fields.if_unmodified_since, some("soon"));
    assert_eq!(fields.origin, some("null"));
    assert_eq!(fields.access_control_request_method, some("PUT"));
    assert_eq!((fields.referer, fields.user_agent), (some("a"), some("b \u{e9}")));
    assert!(!fields.forwarded);
    let values = |list: &List<'_>| -> Vec<String> {
        list.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    };
    assert_eq!(values(&fields.if_match), ["\"a\"", "\"b,c\""]);
    assert_eq!(values(&fields.if_none_match), ["*"]);
    assert_eq!(values(&fields.accept), ["text/html"]);
    assert_eq!(values(&fields.accept_encoding), ["br", "", "gzip"]);
    assert_eq!(fields.find("x-OTHER"), some("1"));
    assert_eq!(fields.find("x-none"), None);
    assert_eq!(fields.all("X-Other").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(fields.lines().count(), 18);
}

#[test]
fn absent_fields_differ_from_empty_ones_rfc9110_section_5_5() {
    let text = lines(&["GET / HTTP/1.1", "Host: x", "Accept-Encoding: \t "]);
    let fields = head(&text).fields;
    assert!(fields.accept_encoding.is_present() && !fields.accept.is_present());
    assert_eq!(fields.accept_encoding.values().collect::<Vec<_>>(), [b""]);
    assert_eq!(fields.accept.values().count(), 0);
}

#[test]
fn a_repeated_single_field_has_no_value_rfc9110_section_5_3() {
    let twice = |name: &str, more: &str| {
        let line = format!("{name}: a");
        lines(&["GET / HTTP/1.1", "Host: x", &line, more, &line])
    };
    assert_eq!(head(&twice("Range", "If-Range: b")).fields.range, None);
    assert_eq!(head(&twice("If-Range", "Range: bytes=0-")).fields.range, None);
    assert_eq!(head(&twice("If-Modified-Since", "A: b")).fields.if_modified_since, None);
    assert_eq!(head(&twice("If-Unmodified-Since", "A: b")).fields.if_unmodified_since, None);
    assert_eq!(head(&twice("Origin", "A: b")).fields.origin, None);
    assert_eq!(head(&twice("Referer", "Referer: b")).fields.referer, Some(b"a".as_slice()));
}

#[test]
fn proxies_are_seen_by_their_fields_rfc9110_section_7_6_3() {
    for name in ["Via", "forwarded", "X-Forwarded-For", "VIA"] {
        let text = lines(&["GET / HTTP/1.1", "Host: x", &format!("{name}:")]);
        assert!(head(&text).fields.forwarded, "{name}");
    }
    let text = lines(&["GET / HTTP/1.1", "Host: x", "X-Via: 1", "X-Forwarded-Host: y"]);
    assert!(!head(&text).fields.forwarded);
}

#[test]
fn bounds_hold_to_the_byte_rfc9112_section_3() {
    let limits = HeadLimits { target_bytes_max: 20, head_bytes_max: 80, fields_max: 3 };
    let verdict = |text: &str| match parse(text.as_bytes(), &limits) {
        Parsed::Complete(_) => Ok(true),
        Parsed::Partial => Ok(false),
        Parsed::Refused(refusal) => Err(refusal),
    };
    // The target, with and without what would end it.
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(verdict(&format!("GET {} HTTP/1.1\r\n{HOST}\r\n", target(20))), Ok(true));
    assert_eq!(verdict(&format!("GET {}", target(20))), Ok(false));
    assert_eq!(verdict(&format!("GET {}", target(21))), Err(Refusal::TargetTooLong));
    let whole = format!("GET {} HTTP/1.1\r\n{HOST}\r\n", target(21));
    assert_eq!(verdict(&whole), Err(Refusal::TargetTooLong));
    // The head; empty lines before it do not count.
    let sized = |bytes: usize| {
        let mut text = format!("GET / HTTP/1.1\r\n{HOST}A: ");
        text.push_str(&"a".repeat(bytes - text.len() - 4));
        text.push_str("\r\n\r\n");
        assert_eq!(text.len(), bytes);
        text
    };
    assert_eq!(verdict(&sized(80)), Ok(true));
    assert_eq!(verdict(&format!("\r\n{}", sized(80))), Ok(true));
    assert_eq!(verdict(&format!("{}more", sized(80))), Ok(true));
    assert_eq!(verdict(&sized(80)[..79]), Ok(false));
    assert_eq!(verdict(&sized(81)), Err(Refusal::HeadTooLong));
    assert_eq!(verdict(&sized(81)[..80]), Err(Refusal::HeadTooLong));
    // The fields.
    let start = "GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\n";
    assert_eq!(verdict(&format!("{start}\r\n")), Ok(true));
    assert_eq!(verdict(start), Ok(false));
    assert_eq!(verdict(&format!("{start}D")), Err(Refusal::FieldsTooMany));
    assert_eq!(verdict(&format!("{start}D:\r\n\r\n")), Err(Refusal::FieldsTooMany));
    // The method.
    let method = |bytes: usize| format!("{} / HTTP/1.0\r\n\r\n", "M".repeat(bytes));
    assert_eq!(verdict(&method(METHOD_BYTES_MAX)), Ok(true));
    assert_eq!(verdict(&method(METHOD_BYTES_MAX + 1)), Err(Refusal::MethodTooLong));
}

#[test]
fn many_fields_are_read_like_few_rfc9112_section_5() {
    for count in [0, 1, FIELDS_FEW - 1, FIELDS_FEW, FIELDS_FEW + 1, FIELDS_CEILING] {
        let limits = HeadLimits { fields_max: usize::MAX, ..HeadLimits::default() };
        let mut text = "GET / HTTP/1.0\r\n".to_owned();
        (0..count).for_each(|number| text.push_str(&format!("F{number}: {number}\r\n")));
        let more = format!("{text}More:\r\n\r\n");
        text.push_str("\r\n");
        let Parsed::Complete(head) = parse(text.as_bytes(), &limits) else { panic!("{count}") };
        assert_eq!(head.fields.lines().count(), count);
        if count == FIELDS_CEILING {
            let over = parse(more.as_bytes(), &limits);
            assert!(matches!(over, Parsed::Refused(Refusal::FieldsTooMany)));
        }
    }
}

#[test]
fn pipelined_requests_are_read_one_by_one_rfc9112_section_9_3_2() {
    let one = lines(&["GET /1 HTTP/1.1", "Host: x"]);
    let two = lines(&["HEAD /2 HTTP/1.1", "Host: x"]);
    let text = [one.as_slice(), &two, b"GET  "].concat();
    let first = head(&text);
    let second = head(&text[first.bytes..]);
    assert_eq!((first.path, second.path), (b"/1".as_slice(), b"/2".as_slice()));
    assert_eq!(refused(&text[first.bytes + second.bytes..]), Some(Refusal::TargetMissing));
}
