//! Conditions, in the order of RFC 9110 section 13.2.2.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, of, request, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [if_match(), if_unmodified(), if_none_match(), if_modified(), order(), nowhere()];
    tables.into_iter().flatten().collect()
}

fn whole(fields: &str) -> Case {
    with(fields).whole("plain.txt")
}

fn not_modified(fields: &str) -> Case {
    with(fields).not_modified()
}

fn failed(fields: &str) -> Case {
    with(fields).failed()
}

fn if_match() -> Vec<Case> {
    clause(
        "RFC 9110 section 13.1.1",
        [
            whole("If-Match: {etag}"),
            whole("If-Match: *"),
            whole("If-Match: \"x\", {etag}"),
            whole("If-Match: \"x,y\",,{etag} , \"z\""),
            whole("If-Match: \"x\"\r\nIf-Match: {etag}"),
            failed("If-Match: \"x\""),
            // The comparison is strong.
            failed("If-Match: W/{etag}"),
            failed("If-Match: \"x\", W/{etag}"),
            failed("If-Match: \"\""),
            failed("If-Match:"),
            failed("If-Match: nonsense"),
            failed("If-Match: \"x\"\r\nIf-Match: \"y\""),
            request("HEAD /plain.txt HTTP/1.1", "If-Match: \"x\"")
                .refused(412, Refusal::PreconditionFailed)
                .head(),
        ],
    )
}

fn if_unmodified() -> Vec<Case> {
    clause(
        "RFC 9110 section 13.1.4",
        [
            whole("If-Unmodified-Since: {modified}"),
            whole("If-Unmodified-Since: {later}"),
            whole("If-Unmodified-Since: {just-after}"),
            failed("If-Unmodified-Since: {earlier}"),
            failed("If-Unmodified-Since: {just-before}"),
            failed("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
            failed("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
            failed("If-Unmodified-Since: Sun Nov  6 08:49:37 1994"),
            // What is no date is ignored.
            whole("If-Unmodified-Since: yesterday"),
            whole("If-Unmodified-Since:"),
            whole("If-Unmodified-Since: 0"),
            whole("If-Unmodified-Since: Sun, 31 Feb 1994 08:49:37 GMT"),
            // Nor is one that stands twice.
            whole("If-Unmodified-Since: {earlier}\r\nIf-Unmodified-Since: {earlier}"),
            // Ignored beside If-Match.
            whole("If-Match: {etag}\r\nIf-Unmodified-Since: {earlier}"),
            failed("If-Match: \"x\"\r\nIf-Unmodified-Since: {later}"),
        ],
    )
}

fn if_none_match() -> Vec<Case> {
    let mut cases = clause(
        "RFC 9110 section 13.1.2",
        [
            not_modified("If-None-Match: {etag}").field("etag", "{etag}"),
            not_modified("If-None-Match: *"),
            not_modified("If-None-Match:\t*\t"),
            // The comparison is weak.
            not_modified("If-None-Match: W/{etag}"),
            not_modified("If-None-Match: \"x\", {etag}"),
            not_modified("If-None-Match: \"x\",W/{etag}"),
            not_modified("If-None-Match: \"x,y\",,{etag} , \"z\""),
            not_modified("If-None-Match: \"x\"\r\nIf-None-Match: {etag}"),
            not_modified("If-None-Match: {etag}\r\nIf-None-Match: \"x\""),
            whole("If-None-Match: \"x\""),
            whole("If-None-Match:"),
            whole("If-None-Match: \"\""),
            whole("If-None-Match: \"*\""),
            whole("If-None-Match: w/{etag}"),
            whole("If-None-Match: {etag}x"),
            whole("If-None-Match: nonsense, {etag}"),
            whole("If-None-Match: \"not closed, {etag}"),
            request("HEAD /plain.txt HTTP/1.1", "If-None-Match: {etag}").not_modified().head(),
            request("HEAD /plain.txt HTTP/1.1", "If-None-Match: \"x\"").answered(200).head(),
            of("/empty.bin", "If-None-Match: *").not_modified(),
            of("/", "If-None-Match: *").not_modified(),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 15.4.5",
        [
            not_modified("If-None-Match: {etag}\r\nAccept: text/html").field("etag", "{etag}"),
            not_modified("If-None-Match: {etag}\r\nConnection: keep-alive").lacks("accept-ranges"),
            with("If-None-Match: {etag}")
                .not_modified()
                .field("last-modified", "{modified}")
                .named("304 has the same Last-Modified"),
        ],
    ));
    cases
}

fn if_modified() -> Vec<Case> {
    clause(
        "RFC 9110 section 13.1.3",
        [
            not_modified("If-Modified-Since: {modified}"),
            not_modified("If-Modified-Since: {just-after}"),
            not_modified("If-Modified-Since: {later}"),
            whole("If-Modified-Since: {earlier}"),
            whole("If-Modified-Since: {just-before}"),
            // Every form of a date (RFC 9110 section 5.6.7).
            not_modified("If-Modified-Since: {rfc850}"),
            not_modified("If-Modified-Since: {asctime}"),
            whole("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
            whole("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
            whole("If-Modified-Since: Sun Nov  6 08:49:37 1994"),
            whole("If-Modified-Since: yesterday"),
            whole("If-Modified-Since:"),
            whole("If-Modified-Since: {modified}x"),
            whole("If-Modified-Since: 1706933106"),
            whole("If-Modified-Since: {modified}\r\nIf-Modified-Since: {modified}"),
            // Ignored beside If-None-Match.
            not_modified("If-None-Match: {etag}\r\nIf-Modified-Since: {earlier}"),
            whole("If-None-Match: \"x\"\r\nIf-Modified-Since: {later}"),
            whole("If-None-Match:\r\nIf-Modified-Since: {later}"),
            request("HEAD /plain.txt HTTP/1.1", "If-Modified-Since: {modified}")
                .not_modified()
                .head(),
        ],
    )
}

/// If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, Range with If-Range.
fn order() -> Vec<Case> {
    clause(
        "RFC 9110 section 13.2.2",
        [
            failed("If-Match: \"x\"\r\nIf-None-Match: {etag}"),
            not_modified("If-Match: {etag}\r\nIf-None-Match: {etag}"),
            failed("If-Unmodified-Since: {earlier}\r\nIf-None-Match: {etag}"),
            failed("If-Unmodified-Since: {earlier}\r\nIf-Modified-Since: {later}"),
            not_modified("If-Unmodified-Since: {later}\r\nIf-Modified-Since: {later}"),
            not_modified("If-Match: *\r\nIf-Modified-Since: {modified}"),
            not_modified("If-None-Match: {etag}\r\nRange: bytes=0-3"),
            not_modified("If-Modified-Since: {modified}\r\nRange: bytes=0-3"),
            not_modified("If-None-Match: {etag}\r\nRange: bytes=99-"),
            not_modified("If-None-Match: {etag}\r\nIf-Range: \"x\"\r\nRange: bytes=0-3"),
            failed("If-Match: \"x\"\r\nRange: bytes=0-3"),
            failed("If-Match: \"x\"\r\nRange: bytes=99-"),
            with("If-Match: {etag}\r\nRange: bytes=0-3").part("plain.txt", 0..4),
            with("If-None-Match: \"x\"\r\nRange: bytes=0-3").part("plain.txt", 0..4),
            with("If-Unmodified-Since: {modified}\r\nRange: bytes=0-3").part("plain.txt", 0..4),
            with("If-Match: {etag}\r\nIf-Range: {etag}\r\nRange: bytes=0-3")
                .part("plain.txt", 0..4),
            whole("If-Match: {etag}\r\nIf-Range: \"x\"\r\nRange: bytes=0-3"),
        ],
    )
}

/// No condition where the answer would not be 2xx without it.
fn nowhere() -> Vec<Case> {
    let line = |line: &str, fields: &str| request(line, fields);
    clause(
        "RFC 9110 section 13.2.1",
        [
            of("/missing", "If-None-Match: *").missing(),
            of("/missing", "If-Match: *").missing(),
            of("/missing", "If-Match: \"x\"").missing(),
            of("/missing", "If-Unmodified-Since: {earlier}").missing(),
            of("/.hidden", "If-Match: \"x\"").missing(),
            of("/dir", "If-Match: \"x\"").answered(301),
            of("/dir", "If-None-Match: *").answered(301),
            of("/%zz", "If-Match: \"x\"").refused(400, Refusal::TargetEscape),
            line("POST /plain.txt HTTP/1.1", "If-Match: \"x\"")
                .refused(405, Refusal::MethodNotAllowed),
            line("BREW /plain.txt HTTP/1.1", "If-None-Match: *")
                .refused(501, Refusal::MethodUnknown),
            line("OPTIONS * HTTP/1.1", "If-Match: \"x\"").answered(204),
            line("OPTIONS /plain.txt HTTP/1.1", "If-None-Match: *").answered(204),
        ],
    )
}
