//! The fields of answers that are no refusals, and the form of those that are.

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, of, request, target, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [types(), fields(), refusals()];
    tables.into_iter().flatten().collect()
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

fn types() -> Vec<Case> {
    let typed = |path: &str, file: &'static str, kind: &str| {
        target(path).whole(file).field("content-type", kind)
    };
    const UNKNOWN: &str = "application/octet-stream";
    clause(
        "RFC 9110 section 8.3",
        [
            typed("/", "index.html", HTML),
            typed("/dir/page.html", "dir/page.html", HTML),
            typed("/plain.txt", "plain.txt", TEXT),
            typed("/SHOUT.TXT", "SHOUT.TXT", TEXT),
            typed("/style.css", "style.css", "text/css; charset=utf-8"),
            typed("/app.js", "app.js", "text/javascript; charset=utf-8"),
            typed("/data.json", "data.json", "application/json"),
            typed("/mark.svg", "mark.svg", "image/svg+xml"),
            typed("/picture.png", "picture.png", "image/png"),
            typed("/data.bin", "data.bin", UNKNOWN),
            typed("/no-ending", "no-ending", UNKNOWN),
            typed("/thing.strange-ending", "thing.strange-ending", UNKNOWN),
            typed("/trail..", "trail..", UNKNOWN),
        ],
    )
}

fn fields() -> Vec<Case> {
    let length = |path: &str, file: &'static str, length: &str| {
        target(path).whole(file).field("content-length", length)
    };
    let mut cases = clause(
        "RFC 9110 section 8.6",
        [
            length("/plain.txt", "plain.txt", "43").named("the length of a file"),
            length("/data.bin", "data.bin", "70001").named("the length of a larger file"),
            length("/empty.bin", "empty.bin", "0").named("the length of an empty file"),
            length("/one.bin", "one.bin", "1").named("the length of one byte"),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 8.8",
        [
            target("/plain.txt")
                .named("validators")
                .whole("plain.txt")
                .has("etag")
                .has("last-modified"),
            target("/empty.bin")
                .named("validators of an empty file")
                .whole("empty.bin")
                .has("etag"),
            target("/link.txt").named("validators through a link").whole("plain.txt").has("etag"),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 14.3",
        [target("/plain.txt")
            .named("ranges are offered")
            .whole("plain.txt")
            .field("accept-ranges", "bytes")],
    ));
    cases.extend(clause(
        "RFC 9110 section 12.5.5",
        [
            target("/plain.txt").named("no variants, no Vary").whole("plain.txt").lacks("vary"),
            with("Accept-Encoding: br, gzip")
                .whole("plain.txt")
                .lacks("vary")
                .lacks("content-encoding"),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 5.1",
        [
            // Unknown and odd fields change nothing.
            with("Accept: nothing/at-all").whole("plain.txt"),
            with("Accept-Language: tlh").whole("plain.txt"),
            with("Cookie: a=b; c=d").whole("plain.txt").lacks("set-cookie"),
            with("Authorization: Basic YTpi").whole("plain.txt"),
            with("Cache-Control: no-cache\r\nPragma: no-cache").whole("plain.txt"),
            with("X-HTTP-Method-Override: DELETE").whole("plain.txt"),
            with("Origin: http://evil.example")
                .whole("plain.txt")
                .lacks("access-control-allow-origin"),
        ],
    ));
    cases
}

/// Short, in the form that the client prefers, with what the status asks for.
fn refusals() -> Vec<Case> {
    let missing = |accept: &str| of("/missing", &format!("Accept: {accept}"));
    let plain = |accept: &str| missing(accept).missing().field("content-type", TEXT);
    let html = |accept: &str| {
        missing(accept).missing().field("content-type", HTML).says("<h1>404 Not Found</h1>")
    };
    let mut cases = clause(
        "RFC 9110 section 12.5.1",
        [
            target("/missing").missing().field("content-type", TEXT).named("plain unless asked"),
            plain("*/*"),
            plain("text/plain"),
            plain("image/png"),
            plain(""),
            plain("text/html;q=0"),
            html("text/html"),
            html("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            html("text/plain;q=0.5, text/html;q=0.6"),
            missing("application/json").missing().field("content-type", "application/json"),
            of("/dir", "Accept: text/html").answered(301).field("content-type", HTML),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 12.5.5",
        [target("/missing").missing().lists("vary", "accept").named("the form depends on Accept")],
    ));
    cases.extend(clause(
        "RFC 9110 section 15.5",
        [
            // A name that is asked for is not said again: nothing can be injected.
            target("/<script>alert(1)</script>").missing().field("content-type", TEXT),
            of("/<script>alert(1)</script>", "Accept: text/html").missing(),
            of("/%0d%0aSet-Cookie:%20a=b", "")
                .missing()
                .lacks("set-cookie")
                .named("a line end in a missing name"),
            of("/%zz", "Accept: text/html")
                .refused(400, Refusal::TargetEscape)
                .field("content-type", HTML),
            request("POST / HTTP/1.1", "Accept: text/html")
                .refused(405, Refusal::MethodNotAllowed)
                .field("content-type", HTML),
        ],
    ));
    cases
}
