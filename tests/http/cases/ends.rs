//! The end of a connection, as far as the bytes of one client decide it.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, raw};

pub(super) fn cases() -> Vec<Case> {
    let good = "GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases = clause(
        "RFC 9112 section 8",
        [
            raw("nothing", "").pending(),
            raw("one byte", "G").pending(),
            raw("half a method", "GE").pending(),
            raw("half a request line", "GET /plain.txt").pending(),
            raw("half a field", "GET /plain.txt HTTP/1.1\r\nHost: te").pending(),
            raw("a head without its end", "GET /plain.txt HTTP/1.1\r\nHost: test\r\n").pending(),
            raw("a head without its last byte", "GET /plain.txt HTTP/1.1\r\nHost: test\r\n\r")
                .pending(),
            raw("half a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
                .pending(),
            raw(
                "half a chunk",
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nh",
            )
            .pending(),
            raw("an answer, then half a head", format!("{good}GET /pl"))
                .whole("plain.txt")
                .pending(),
        ],
    );
    // The answer comes although much is left unread: the server reads on for a while.
    cases.extend(clause(
        "RFC 9112 section 9.6",
        [
            raw("much behind a refusal", format!("BAD\n{}", "x".repeat(100_000)))
                .ended(400, Refusal::BareLineFeed),
            raw("much behind a close", {
                let close = "GET /data.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                format!("{close}{}", good.repeat(1000))
            })
            .whole("data.bin")
            .closed(),
        ],
    ));
    cases
}
