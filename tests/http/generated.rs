//! Requests made by a grammar: most parts of each are sound and some are hostile, so that what
//! stands behind the first check is reached. No answer is a fault of the server, and no answer
//! leaves in doubt where the next request begins (RFC 9112 section 11.2, RFC 9110 section 15.6).

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

use super::{Machine, engine, with_date_of_now};
use crate::case::Setup;
use crate::check;
use crate::common::{Wire, long};
use crate::site::{self, MARKER, MARKER_FILE};

/// One request, and what an answer to it is read by.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    bytes: Vec<u8>,
}

/// Where a body is sound or not is said by its fields alone: it never holds fewer bytes than they
/// say, since what follows would be a part of it, and never more, as that would be a request.
#[derive(Clone, Debug, Default)]
struct Body {
    fields: String,
    bytes: Vec<u8>,
}

fn text(texts: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(texts.to_vec()).prop_map(str::to_owned)
}

fn methods() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text(&["GET"]),
        3 => text(&["HEAD"]),
        3 => text(&["OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"]),
        1 => text(&["get", "BREW", "PRI", "G(T", "", "GET ", "GE\tT", "G\0T"]),
        1 => (1..50usize).prop_map(|count| "M".repeat(count)),
    ]
}

/// Names that are there, in each setup some, and what else may stand between two slashes.
fn segments() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => text(&[
            "plain.txt", "data.bin", "empty.bin", "page.html", "only.css", "dir", "noindex",
            "odd%20names", "docs", "sub", "index.html", "link.txt", "link-dir", "up.txt",
            "%67r%c3%b6", "new%0D%0Aline", "odd%22dir%20%3C&%3E", "back%5Cslash.txt", "%2541.txt",
        ]),
        3 => text(&[
            "", ".", "..", "%2e", "%2E%2e", ".%2E", "...", "..two", "%2f", "..%2f..", "%5c..",
            "~", ";", "a;b=c", "@", ":80", "evil.example", "%ff%fe", "%7f", "*", "**", "'", "\"",
        ]),
        2 => text(&[
            ".hidden", "%2ehidden", ".well-known", "security.txt", ".secret", "absolute.txt",
            "outside.txt", "leaving.txt", "dangling.txt", "loop-one", "fifo", "returning.txt",
        ]),
        2 => text(&["old", "keep.txt", "shop", "buy", "dead", "elsewhere", "deep", "data.json"]),
        1 => text(&[
            "%", "%2", "%zz", "%00", "%0", "\\", "\u{e4}", "\u{1}", "\u{7f}", "#", "?", "{",
        ]),
        1 => (250..260usize).prop_map(|count| "n".repeat(count)),
        1 => (80..90usize).prop_map(|count| "%6E".repeat(count)),
    ]
}

fn targets() -> impl Strategy<Value = String> {
    let path = (vec(segments(), 0..6), any::<bool>()).prop_map(|(segments, ends)| {
        format!("/{}{}", segments.join("/"), if ends { "/" } else { "" })
    });
    let query = prop_oneof![
        6 => text(&[""]),
        3 => text(&[
            "?", "?a=b", "?format=json", "?format=html", "?format=%6Ason", "?sort=size&order=desc",
            "?sort=", "?%0d%0aX:%20y", "?//", "??", "?%", "?#", "?\u{fc}", "?\"<>",
        ]),
        1 => (8100..8300usize).prop_map(|count| format!("?{}", "q".repeat(count))),
    ];
    let origin = prop_oneof![
        9 => text(&[""]),
        2 => text(&[
            "http://test", "HTTP://b.example", "http://x.c.example:80", "http://[::1]", "https://a",
            "http://", "http://me@test", "http://test:0x50", "//evil.example", "ftp://a", "http:",
        ]),
    ];
    prop_oneof![
        20 => (origin, path, query).prop_map(|(origin, path, query)| origin + &path + &query),
        1 => text(&[
            "*", "test:80", "[::1]:443", "test", "", " ", "plain.txt", "?", "//", "///", "/ /x",
            "http://test", "http://test?q", "javascript:alert(1)", "file:///etc/passwd",
        ]),
        1 => (1200..1500usize).prop_map(|count| "/a/..".repeat(count)),
        1 => (3..4200usize).prop_map(|count| format!("/{}", "d/".repeat(count))),
        1 => (2000..2800usize).prop_map(|count| format!("/old/{}", "\"".repeat(3 * count))),
    ]
}

fn versions() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => text(&["HTTP/1.1"]),
        2 => text(&["HTTP/1.0", "HTTP/1.2", "HTTP/1.9"]),
        1 => text(&["HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "http/1.1", "HTTP/", "", "HTTP/1.1 "]),
    ]
}

/// A number at one of the edges of the files, or of 64 bits.
fn numbers() -> impl Strategy<Value = String> {
    text(&[
        "0",
        "1",
        "2",
        "42",
        "43",
        "44",
        "100",
        "69999",
        "70000",
        "70001",
        "70002",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "007",
        "",
        "-1",
        "+1",
        "0x1",
        " 1",
    ])
}

fn ranges() -> impl Strategy<Value = String> {
    let one = (numbers(), text(&["-", "-", "-", "-", "--", ""]), numbers())
        .prop_map(|(first, dash, last)| first + &dash + &last);
    let list = prop_oneof![
        6 => vec(one, 0..5).prop_map(|ranges| ranges.join(",")),
        1 => (60..70u32).prop_map(|count| {
            (0..count).map(|at| format!("{0}-{0}", at * 3)).collect::<Vec<_>>().join(", ")
        }),
    ];
    let unit = text(&["bytes=", "bytes=", "bytes=", "BYTES=", "bytes = ", "lines=", "=", ""]);
    (unit, list).prop_map(|(unit, list)| unit + &list)
}

fn dates() -> impl Strategy<Value = String> {
    text(&[
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 31 Feb 2023 08:49:37 GMT",
        "0",
        "-1",
        "",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "now",
    ])
}

fn tags() -> impl Strategy<Value = String> {
    let one = text(&[
        "\"\"",
        "\"x\"",
        "W/\"x\"",
        "w/\"x\"",
        "*",
        "\"",
        "x",
        "\"a,b\"",
        "\"a\\\"b\"",
        "",
        "W/",
    ]);
    vec(one, 0..5).prop_map(|tags| tags.join(", "))
}

/// Weighted lists, for Accept and Accept-Encoding.
fn wishes() -> impl Strategy<Value = String> {
    let one = text(&[
        "br",
        "gzip",
        "zstd",
        "x-gzip",
        "identity",
        "*",
        "*/*",
        "text/html",
        "text/*",
        "deflate",
        "application/json",
        "text/plain;version=0.0.4",
        "",
        "/",
        ";",
        "*/html",
    ]);
    let weight = text(&["", "", ";q=0", ";q=0.5", ";q=1.001", ";q=", " ; Q=0.001", ";q=-1", ";;"]);
    vec((one, weight).prop_map(|(one, weight)| one + &weight), 0..6)
        .prop_map(|wishes| wishes.join(","))
}

/// A line that has no part in where the request ends, or is refused with the connection.
fn fields() -> impl Strategy<Value = String> {
    let named = |name: &'static str, value: BoxedStrategy<String>| {
        value.prop_map(move |value| format!("{name}: {value}"))
    };
    prop_oneof![
        4 => named("Range", ranges().boxed()),
        2 => named("If-Range", prop_oneof![tags(), dates()].boxed()),
        2 => named("If-Match", tags().boxed()),
        2 => named("If-None-Match", tags().boxed()),
        2 => named("If-Modified-Since", dates().boxed()),
        2 => named("If-Unmodified-Since", dates().boxed()),
        2 => named("Accept-Encoding", wishes().boxed()),
        2 => named("Accept", wishes().boxed()),
        1 => named("Origin", text(&["https://a.example", "null", "", "*", "a b"]).boxed()),
        1 => named("Access-Control-Request-Method", text(&["GET", "PUT", "", "*"]).boxed()),
        1 => named("Access-Control-Request-Headers", text(&["Range, X", "", ",,"]).boxed()),
        2 => named(
            "Connection",
            text(&["keep-alive", "close", "Upgrade", "Content-Length", "Range", "", ",", "a b"])
                .boxed(),
        ),
        1 => named("Upgrade", text(&["h2c", "websocket", "TLS/1.0"]).boxed()),
        1 => named("Expect", text(&["100-continue", "100", "", "x", "100-continue, x"]).boxed()),
        1 => named("Host", text(&["test", "", "a b"]).boxed()),
        3 => named("X", "[ -~]{0,40}".boxed()),
        1 => (1..17_000usize).prop_map(|count| format!("X: {}", "v".repeat(count))),
        1 => (90..101usize).prop_map(|count| vec!["X: y"; count].join("\r\n")),
        1 => text(&[
            "X : y", ": y", " folded", "\tfolded", "X", "", "X\u{e4}: y", "X: \0", "X: a\rb",
            "X: a\nb", "X: \u{e4}", "(X): y", "Content-Length : 5", "Transfer-Encoding\t: chunked",
        ])
        .prop_filter("an empty line ends the head", |line| !line.is_empty()),
    ]
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => text(&["Host: test\r\n"]),
        3 => text(&["Host: b.example\r\n", "host:x.c.example:8080\r\n", "HOST: [::1]:80\r\n"]),
        1 => text(&[
            "", "Host:\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: a:x\r\n", "Host: ..\r\n",
            "Host: a\r\nHost: a\r\n", "Host: a@b\r\n", "Host: %41\r\n", "Host: \u{e4}\r\n",
        ]),
    ]
}

fn bodies() -> impl Strategy<Value = Body> {
    let body = |fields: &str, bytes: &[u8]| Body { fields: fields.to_owned(), bytes: bytes.into() };
    let smuggled = b"GET /missing HTTP/1.1\r\nHost: inner\r\n\r\n";
    let counted = prop_oneof![vec(any::<u8>(), 0..80), Just(smuggled.to_vec())]
        .prop_map(|bytes| Body { fields: format!("Content-Length: {}\r\n", bytes.len()), bytes });
    let chunk = (vec(any::<u8>(), 1..60), text(&["", "", ";a=\"b\"", " ;a", "\t"])).prop_map(
        |(data, extension)| {
            let line = format!("{:x}{extension}\r\n", data.len());
            [line.as_bytes(), &data, b"\r\n"].concat()
        },
    );
    let end =
        text(&["0\r\n\r\n", "0\r\nA: b\r\n\r\n", "0\r\nA b\r\n\r\n", "00;x\r\n\r\n", "x\r\n"]);
    let chunked = (vec(chunk, 0..4), end, any::<bool>()).prop_map(|(chunks, end, waits)| Body {
        fields: format!(
            "Transfer-Encoding: chunked\r\n{}",
            if waits { "Expect: 100-continue\r\n" } else { "" }
        ),
        bytes: [chunks.concat().as_slice(), end.as_bytes()].concat(),
    });
    let framed = |fields: &'static str| body(fields, b"");
    prop_oneof![
        20 => Just(Body::default()),
        4 => counted,
        4 => chunked,
        1 => Just(body("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n")),
        1 => Just(body("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
        2 => select(vec![
            framed("Content-Length: 0\r\n"), framed("Content-Length: 00\r\n"),
            framed("Content-Length:\r\n"), framed("Content-Length: +0\r\n"),
            framed("Content-Length: 0, 0\r\n"),
            framed("Content-Length: 0\r\nContent-Length: 0\r\n"),
            framed("Content-Length: 99999999\r\n"), framed("Content-Length: 1e9\r\n"),
            framed("Content-Length: 18446744073709551616\r\n"), framed("Transfer-Encoding:\r\n"),
            framed("Transfer-Encoding: identity\r\n"), framed("Transfer-Encoding: gzip\r\n"),
            framed("Transfer-Encoding: gzip, chunked\r\n"),
            framed("Transfer-Encoding: chunked, chunked\r\n"),
            framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ]),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let line = (methods(), targets(), versions());
    let empty = text(&["", "", "", "", "", "\r\n", "\r\n\r\n"]);
    (empty, line, hosts(), vec(fields(), 0..5), bodies(), 0..6usize).prop_map(
        |(empty, (method, target, version), host, mut fields, body, at)| {
            fields.insert(at.min(fields.len()), body.fields.trim_end().to_owned());
            let mut bytes = format!("{empty}{method} {target} {version}\r\n{host}").into_bytes();
            for line in fields.iter().filter(|line| !line.is_empty()) {
                bytes.extend_from_slice(line.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&body.bytes);
            Request { method, bytes }
        },
    )
}

/// Plays requests with the marker behind them and reads an answer for each. Returns how many
/// were answered with the connection going on.
fn play(machine: &mut Machine, requests: &[Request], cut: prop::sample::Index) -> usize {
    let mut input: Vec<u8> = requests.iter().flat_map(|one| one.bytes.clone()).collect();
    input.extend(MARKER);
    let whole = machine.play([&input[..]], false);
    let what = || input.escape_ascii().to_string();
    let mut wire = Wire::past(with_date_of_now(&whole.received));
    let mut passed = 0;
    for request in requests {
        let answer = loop {
            let answer = wire
                .answer(&request.method)
                .unwrap_or_else(|fault| panic!("{}: {fault:?}: {whole:?}", what()));
            check::always(&what(), &request.method, &answer);
            if answer.status >= 200 {
                break answer;
            }
        };
        if answer.says_close() {
            assert!(wire.held().is_empty(), "{}: more behind the last answer: {whole:?}", what());
            assert!(!whole.is_open(), "{}: said to close, and open", what());
            break;
        }
        passed += 1;
    }
    if passed == requests.len() {
        let marker = wire.response().unwrap_or_else(|fault| panic!("{}: {fault:?}", what()));
        let body = site::content(MARKER_FILE);
        assert_eq!((marker.status, marker.body), (200, body), "{}: the marker", what());
        assert!(whole.is_open() && wire.held().is_empty(), "{}: {whole:?}", what());
    }
    let (one, two) = input.split_at(1 + cut.index(input.len() - 1));
    machine.play([one, two], false).assert_like(&whole, &what);
    passed
}

#[test]
fn no_request_confuses_rfc9112_section_11_2() {
    const CASES: u32 = 1500;
    const SETUPS: [Setup; 5] =
        [Setup::Usual, Setup::Rules, Setup::Listing, Setup::Dotfiles, Setup::ContentTags];
    let config = ProptestConfig {
        cases: if long() { 20 * CASES } else { CASES },
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let passed = Cell::new(0);
    let strategy = (vec(requests(), 1..4), 0..SETUPS.len() * 5, any::<prop::sample::Index>());
    TestRunner::new(config)
        .run(&strategy, |(requests, number, cut)| {
            let mut machine = Machine::new(engine(number / SETUPS.len()), SETUPS[number % 5]);
            passed.set(passed.get() + play(&mut machine, &requests, cut));
            machine.is_clean();
            Ok(())
        })
        .unwrap();
    // Most are sound enough that what follows matters.
    assert!(passed.get() > CASES as usize / 2, "{} were answered and went on", passed.get());
}
