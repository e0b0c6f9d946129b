//! Fields, Host and the form of the target that goes with it.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, raw, request, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [sound(), malformed(), limits(), hosts(), absolute(), forms()];
    tables.into_iter().flatten().collect()
}

/// A request with these lines behind a valid Host.
fn lines(name: &str, lines: &[u8]) -> Case {
    let mut sent = b"GET /plain.txt HTTP/1.1\r\nHost: test\r\n".to_vec();
    sent.extend(lines);
    sent.extend(b"\r\n");
    raw(name, sent)
}

fn sound() -> Vec<Case> {
    clause(
        "RFC 9112 section 5",
        [
            raw("names in any case", "GET /plain.txt HTTP/1.1\r\nhOST: a\r\nX: b\r\n\r\n"),
            raw("no space behind the colon", "GET /plain.txt HTTP/1.1\r\nHost:a\r\nX:b\r\n\r\n"),
            raw(
                "much space around a value",
                "GET /plain.txt HTTP/1.1\r\nHost: \t a\t \r\nX:\t b \t\r\n\r\n",
            ),
            lines("an empty value", b"X:\r\nY: \r\n"),
            lines("a colon in a value", b"X: a:b\r\n"),
            lines("tabs in a value", b"X: a\tb\r\n"),
            lines("obs-text in a value", b"X: gr\xf6\xdfe \x80\xff\r\n"),
            lines("every byte of a token in a name", b"!#$%&'*+-.^_`|~09azAZ: b\r\n"),
            lines("a field that stands twice", b"X: a\r\nX: b\r\n"),
            lines("a name with an underscore", b"Transfer_Encoding: chunked\r\n"),
        ]
        .map(|case| case.whole("plain.txt")),
    )
}

fn malformed() -> Vec<Case> {
    use Refusal::{FieldFolded, FieldNameByte, FieldNameMissing, FieldNameSpace, FieldValueByte};
    let folded = |name: &str, sent: &str| raw(name, sent).ended(400, FieldFolded);
    let bad = |name: &str, sent: &[u8], refusal| lines(name, sent).ended(400, refusal);
    let mut cases = clause(
        "RFC 9112 section 5.2",
        [
            bad("a field folded with spaces", b"X: b\r\n  c\r\n", FieldFolded),
            bad("a field folded with a tab", b"X: b\r\n\tc\r\n", FieldFolded),
            bad("a folded empty line", b"X: b\r\n \r\n", FieldFolded),
            bad("a folded length", b"Content-Length:\r\n 5\r\n", FieldFolded),
            folded("a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
            folded("a tab before the first field", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        ],
    );
    cases.extend(clause(
        "RFC 9112 section 5.1",
        [
            bad("a space before the colon", b"X : b\r\n", FieldNameSpace),
            bad("a tab before the colon", b"X\t: b\r\n", FieldNameSpace),
            bad("a space in a name", b"X Y: b\r\n", FieldNameSpace),
            bad("a space behind Host", b"Content-Length : 0\r\n", FieldNameSpace),
            bad("no name", b": b\r\n", FieldNameMissing),
            bad("no colon", b"X\r\n", FieldNameByte),
            bad("no colon and words", b"words without end\r\n", FieldNameSpace),
            bad("a bracket in a name", b"X(y): b\r\n", FieldNameByte),
            bad("a slash in a name", b"X/Y: b\r\n", FieldNameByte),
            bad("a quote in a name", b"\"X\": b\r\n", FieldNameByte),
            bad("a byte beyond ASCII in a name", b"X\xe4: b\r\n", FieldNameByte),
            bad("NUL in a name", b"X\0: b\r\n", FieldNameByte),
            bad("DEL in a name", b"X\x7f: b\r\n", FieldNameByte),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 5.5",
        [
            bad("NUL in a value", b"X: b\0c\r\n", FieldValueByte),
            bad("SOH in a value", b"X: b\x01c\r\n", FieldValueByte),
            bad("a vertical tab in a value", b"X: b\x0bc\r\n", FieldValueByte),
            bad("ESC in a value", b"X: b\x1bc\r\n", FieldValueByte),
            bad("US in a value", b"X: b\x1fc\r\n", FieldValueByte),
            bad("DEL in a value", b"X: b\x7fc\r\n", FieldValueByte),
            bad("NUL alone as a value", b"X:\0\r\n", FieldValueByte),
        ],
    ));
    cases
}

/// Exact at the limits and one above.
fn limits() -> Vec<Case> {
    const HEAD: usize = 16 * 1024;
    const FIELDS: usize = 100;
    let fields = |count: usize| {
        // Host is one of them.
        lines(&format!("{count} fields"), "X: y\r\n".repeat(count - 1).as_bytes())
    };
    let head = |bytes: usize| {
        let fixed = "GET /plain.txt HTTP/1.1\r\nHost: test\r\nX: \r\n\r\n".len();
        lines(
            &format!("a head of {bytes} bytes"),
            format!("X: {}\r\n", "v".repeat(bytes - fixed)).as_bytes(),
        )
    };
    let late = |bytes: usize| {
        let mut case = head(bytes).named("the largest head behind empty lines");
        case.sent.splice(0..0, *b"\r\n\r\n\r\n\r\n");
        case
    };
    clause(
        "RFC 6585 section 5",
        [
            fields(FIELDS).whole("plain.txt"),
            fields(FIELDS + 1).ended(431, Refusal::FieldsTooMany),
            fields(3 * FIELDS).ended(431, Refusal::FieldsTooMany),
            head(HEAD - 1).whole("plain.txt"),
            head(HEAD).whole("plain.txt"),
            head(HEAD + 1).ended(431, Refusal::HeadTooLong),
            head(3 * HEAD).ended(431, Refusal::HeadTooLong),
            late(HEAD).whole("plain.txt"),
            raw(
                "a head that never ends",
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "v".repeat(HEAD)),
            )
            .ended(431, Refusal::HeadTooLong),
            raw("a head of empty values", {
                let many = "X:\r\n".repeat(5000);
                format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")
            })
            .ended(431, Refusal::FieldsTooMany),
            raw("one endless name", format!("GET / HTTP/1.1\r\n{}", "n".repeat(HEAD)))
                .ended(431, Refusal::HeadTooLong),
        ],
    )
}

fn hosts() -> Vec<Case> {
    use Refusal::{HostInvalid, HostMissing, HostRepeated};
    let host = |value: &str| {
        raw(&format!("Host {value:?}"), format!("GET /plain.txt HTTP/1.1\r\nHost: {value}\r\n\r\n"))
    };
    let good = |value: &str| host(value).whole("plain.txt");
    let bad = |value: &str| host(value).ended(400, HostInvalid);
    let fields = |name: &str, fields: &str, refusal| {
        raw(name, format!("GET /plain.txt HTTP/1.1\r\n{fields}\r\n")).ended(400, refusal)
    };
    let old =
        |name: &str, fields: &str| raw(name, format!("GET /plain.txt HTTP/1.0\r\n{fields}\r\n"));
    clause(
        "RFC 9112 section 3.2",
        [
            fields("no Host", "", HostMissing),
            fields("no Host among others", "X: y\r\nHosts: a\r\n", HostMissing),
            fields("two equal Hosts", "Host: a\r\nHost: a\r\n", HostRepeated),
            fields("two Hosts", "Host: a\r\nX: y\r\nhost: b\r\n", HostRepeated),
            fields("an empty Host beside another", "Host:\r\nHost: b\r\n", HostRepeated),
            good("test"),
            good("test:80"),
            good("test:"),
            good("test:00080"),
            good("test:65535"),
            good("127.0.0.1:8080"),
            good("[::1]"),
            good("[2001:db8::1]:8080"),
            good("[v1.a:b]"),
            good("under_score.example"),
            good("a%20b"),
            good("!$&'()*+,;="),
            bad(""),
            bad("a b"),
            bad("a/b"),
            bad("a?b"),
            bad("a#b"),
            bad("a\\b"),
            bad("a@b"),
            bad("me@test"),
            bad("http://test"),
            bad(":80"),
            bad("test:80:80"),
            bad("test:port"),
            bad("test:-1"),
            bad("test:65536"),
            bad("test:100000"),
            bad("::1"),
            bad("[::1"),
            bad("::1]"),
            bad("[::1]x"),
            bad("[gg::1]"),
            bad("[127.0.0.1]"),
            bad("[]"),
            bad("a%2"),
            bad("a%zz"),
            bad("\"test\""),
            bad("te\u{df}t"),
            bad("a<b>"),
            old("HTTP/1.0 with two Hosts", "Host: a\r\nHost: a\r\n").ended(400, HostRepeated),
            old("HTTP/1.0 with a bad Host", "Host: a b\r\n").ended(400, HostInvalid),
            old("HTTP/1.0 with a Host", "Host: a\r\n").whole("plain.txt").closed(),
        ],
    )
}

fn absolute() -> Vec<Case> {
    let get = |target: &str| request(&format!("GET {target} HTTP/1.1"), "").named(target);
    let mut cases = clause(
        "RFC 9112 section 3.2.2",
        [
            get("http://test/plain.txt").whole("plain.txt"),
            get("HTTP://TEST/plain.txt").whole("plain.txt"),
            get("http://elsewhere:8080/plain.txt").whole("plain.txt"),
            get("http://[::1]:8080/plain.txt").whole("plain.txt"),
            get("http://test").whole("index.html"),
            get("http://test/").whole("index.html"),
            get("http://test?query").whole("index.html"),
            get("http://test/dir").answered(301).field("location", "/dir/"),
            get("http://test/dir?a=b").answered(301).field("location", "/dir/?a=b"),
            get("http://test//evil.example/../dir").answered(301).field("location", "/dir/"),
            get("http://test/../plain.txt").refused(400, Refusal::TargetClimbs),
            raw("without Host", "GET http://test/plain.txt HTTP/1.1\r\nAccept: */*\r\n\r\n")
                .ended(400, Refusal::HostMissing),
            raw("with a bad Host", "GET http://test/plain.txt HTTP/1.1\r\nHost: a b\r\n\r\n")
                .ended(400, Refusal::HostInvalid),
            raw("of HTTP/1.0 without Host", "GET http://test/plain.txt HTTP/1.0\r\n\r\n")
                .whole("plain.txt")
                .closed(),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 4.2",
        [
            get("https://test/plain.txt").refused(400, Refusal::TargetScheme),
            get("ftp://test/plain.txt").refused(400, Refusal::TargetScheme),
            get("file:///plain.txt").refused(400, Refusal::TargetScheme),
            get("httpx://test/plain.txt").refused(400, Refusal::TargetScheme),
            get("http:///plain.txt").refused(400, Refusal::TargetAuthority),
            get("http://?").refused(400, Refusal::TargetAuthority),
            get("http://me@test/plain.txt").refused(400, Refusal::TargetAuthority),
            get("http://me:word@test/plain.txt").refused(400, Refusal::TargetAuthority),
            get("http://test:port/plain.txt").refused(400, Refusal::TargetAuthority),
            get("http://[::1/plain.txt").refused(400, Refusal::TargetAuthority),
            get("http:/plain.txt").refused(400, Refusal::TargetForm),
            get("http:plain.txt").refused(400, Refusal::TargetForm),
            get("1http://test/").refused(400, Refusal::TargetForm),
            get("://test/").refused(400, Refusal::TargetForm),
        ],
    ));
    cases
}

/// Forms of a target where they have no place.
fn forms() -> Vec<Case> {
    let form = |line: &str| request(line, "").refused(400, Refusal::TargetForm);
    let mut cases = clause(
        "RFC 9112 section 3.2",
        [
            form("GET * HTTP/1.1"),
            form("HEAD plain.txt HTTP/1.1").head(),
            form("GET plain.txt HTTP/1.1"),
            form("GET ./plain.txt HTTP/1.1"),
            form("GET ?query HTTP/1.1"),
            form("GET test:80 HTTP/1.1"),
            form("POST * HTTP/1.1"),
            form("OPTIONS ** HTTP/1.1"),
            form("OPTIONS *?a HTTP/1.1"),
            form("CONNECT / HTTP/1.1").closed(),
            form("CONNECT test HTTP/1.1").closed(),
            form("CONNECT test: HTTP/1.1").closed(),
            form("CONNECT http://test:80/ HTTP/1.1").closed(),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 10.1",
        [with("Max-Forwards: 0").whole("plain.txt"), with("TE: trailers").whole("plain.txt")],
    ));
    cases
}
