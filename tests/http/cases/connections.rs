//! Persistence, pipelines and upgrades.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, Setup, clause, raw, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [persistent(), old(), pipelined(), bounded(), upgrades()];
    tables.into_iter().flatten().collect()
}

/// Requests with these field lines, all of one kind.
fn times(count: usize, version: &str, fields: &str) -> Case {
    let one = format!("GET /plain.txt HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
    raw(&format!("{count} times HTTP/{version} with {fields:?}"), one.repeat(count))
}

fn persistent() -> Vec<Case> {
    let kept = |fields: &str| times(2, "1.1", fields).whole("plain.txt").whole("plain.txt");
    // The second is never answered.
    let closed = |fields: &str| {
        times(2, "1.1", fields).whole("plain.txt").field("connection", "close").closed()
    };
    let mut cases = clause(
        "RFC 9112 section 9.3",
        [
            kept(""),
            kept("Connection: keep-alive\r\n"),
            kept("Connection: closed\r\n"),
            kept("Connection: not-close\r\n"),
            kept("Connection:\r\n"),
            kept("Proxy-Connection: close\r\n"),
            kept("Keep-Alive: timeout=1\r\n"),
            closed("Connection: close\r\n"),
            closed("Connection: CLOSE\r\n"),
            closed("connection:close\r\n"),
            closed("Connection: keep-alive, close\r\n"),
            closed("Connection: close, keep-alive\r\n"),
            closed("Connection: something ,\tClose\r\n"),
            closed("Connection: keep-alive\r\nConnection: close\r\n"),
        ],
    );
    let close = |line: &str| {
        raw(
            &format!("{line}, then close"),
            format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n"),
        )
    };
    cases.extend(clause(
        "RFC 9112 section 9.6",
        [
            close("GET /data.bin HTTP/1.1").whole("data.bin").closed(),
            close("HEAD /data.bin HTTP/1.1").answered(200).head().closed(),
            close("GET /missing HTTP/1.1").missing().closed(),
            close("GET /%zz HTTP/1.1").refused(400, Refusal::TargetEscape).closed(),
            close("GET /dir HTTP/1.1").answered(301).closed(),
            close("OPTIONS * HTTP/1.1").answered(204).closed(),
            close("POST / HTTP/1.1").refused(405, Refusal::MethodNotAllowed).closed(),
            close("BREW / HTTP/1.1").refused(501, Refusal::MethodUnknown).closed(),
            raw(
                "304, then close",
                "GET /plain.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                 If-None-Match: *\r\n\r\n",
            )
            .not_modified()
            .closed(),
            raw(
                "a body, then close",
                "GET /plain.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                 Content-Length: 5\r\n\r\nhello",
            )
            .whole("plain.txt")
            .closed(),
        ],
    ));
    cases
}

/// HTTP/1.0 closes unless it asks for more, and is told so.
fn old() -> Vec<Case> {
    let closed = |fields: &str| times(2, "1.0", fields).whole("plain.txt").closed();
    let kept =
        |fields: &str| times(1, "1.0", fields).whole("plain.txt").field("connection", "keep-alive");
    clause(
        "RFC 9112 section 9.3",
        [
            closed(""),
            closed("Connection: close\r\n"),
            closed("Connection: keep-alive, close\r\n"),
            closed("Connection: something\r\n"),
            closed("Keep-Alive: 300\r\n"),
            kept("Connection: keep-alive\r\n"),
            kept("Connection: Keep-Alive\r\n"),
            kept("connection: x, keep-alive\r\n"),
            raw("HTTP/1.0 twice", {
                let one = "GET /plain.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
                format!("{one}GET /plain.txt HTTP/1.0\r\n\r\n")
            })
            .whole("plain.txt")
            .field("connection", "keep-alive")
            .whole("plain.txt")
            .closed(),
            raw("HTTP/1.0 with a refusal", "GET /missing HTTP/1.0\r\n\r\n").missing().closed(),
            raw(
                "HTTP/1.0 kept alive after a refusal",
                "GET /missing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            )
            .missing()
            .field("connection", "keep-alive"),
            raw("HEAD of HTTP/1.0", "HEAD /plain.txt HTTP/1.0\r\n\r\n")
                .answered(200)
                .head()
                .closed(),
            raw("a range of HTTP/1.0", "GET /plain.txt HTTP/1.0\r\nRange: bytes=0-3\r\n\r\n")
                .part("plain.txt", 0..4)
                .closed(),
        ],
    )
}

fn pipelined() -> Vec<Case> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let bad = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    clause(
        "RFC 9112 section 9.3.2",
        [
            raw(
                "answers of every kind",
                [
                    get("/plain.txt"),
                    get("/missing"),
                    "HEAD /data.bin HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
                    get("/data.bin"),
                    get("/empty.bin"),
                    get("/dir"),
                    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
                    get("/%zz"),
                    get("/page.html"),
                ]
                .concat(),
            )
            .whole("plain.txt")
            .missing()
            .answered(200)
            .head()
            .whole("data.bin")
            .whole("empty.bin")
            .answered(301)
            .answered(204)
            .refused(400, Refusal::TargetEscape)
            .whole("page.html"),
            raw("a bad request behind good ones", get("/plain.txt") + &get("/data.bin") + bad)
                .whole("plain.txt")
                .whole("data.bin")
                .ended(400, Refusal::HostRepeated),
            raw("a bad request, then a good one", format!("{bad}{}", get("/plain.txt")))
                .ended(400, Refusal::HostRepeated),
            raw(
                "bodies between requests",
                [
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
                    get("/plain.txt"),
                    "GET /empty.bin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                     1\r\nx\r\n0\r\n\r\n"
                        .to_owned(),
                    get("/one.bin"),
                ]
                .concat(),
            )
            .refused(405, Refusal::MethodNotAllowed)
            .whole("plain.txt")
            .whole("empty.bin")
            .whole("one.bin"),
            raw(
                "ranges behind each other",
                [
                    "GET /plain.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3,8-9\r\n\r\n",
                    "GET /plain.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-3\r\n\r\n",
                    "GET /plain.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=99-\r\n\r\n",
                ]
                .concat(),
            )
            .parts("plain.txt", &[0..4, 8..10])
            .part("plain.txt", 40..43)
            .refused(416, Refusal::RangeUnsatisfiable),
            raw("100 of them", get("/plain.txt").repeat(100)).whole_times(100),
            raw("half a request behind a whole one", get("/plain.txt") + "GET /plain.txt HT")
                .whole("plain.txt")
                .pending(),
        ],
    )
}

impl Case {
    fn whole_times(mut self, count: usize) -> Self {
        for _ in 0..count {
            self = self.whole("plain.txt");
        }
        self
    }
}

/// A connection that may carry two requests.
fn bounded() -> Vec<Case> {
    clause(
        "RFC 9112 section 9.6",
        [
            times(1, "1.1", "").whole("plain.txt").lacks("connection").alone(),
            times(3, "1.1", "")
                .whole("plain.txt")
                .lacks("connection")
                .whole("plain.txt")
                .field("connection", "close")
                .closed(),
            raw(
                "refusals count",
                "GET /missing HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .missing()
            .missing()
            .closed(),
        ]
        .map(|case| case.setup(Setup::TwoRequests)),
    )
}

fn upgrades() -> Vec<Case> {
    let mut cases = clause(
        "RFC 9110 section 7.8",
        [
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
            with("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"),
            with("Connection: upgrade\r\nUpgrade: HTTP/2.0"),
            with("Upgrade: TLS/1.2"),
            with("Connection: Upgrade"),
        ]
        .map(|case| case.whole("plain.txt").lacks("upgrade")),
    );
    cases.extend(clause(
        "RFC 9110 section 7.6.1",
        [
            // Fields that it names are not for others; they are for this recipient all the same.
            with("Connection: Range\r\nRange: bytes=0-3").part("plain.txt", 0..4),
            with("Connection: Host").whole("plain.txt"),
        ],
    ));
    cases
}
