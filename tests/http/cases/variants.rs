//! Precompressed neighbours, and which of them is sent.

use crate::case::{Case, Setup, clause, of, request, target};

pub(super) fn cases() -> Vec<Case> {
    let tables = [chosen(), fields(), conditional(), neighbours(), switched()];
    tables.into_iter().flatten().collect()
}

const BR: &str = "page.html.br";
const ZSTD: &str = "page.html.zst";
const GZIP: &str = "page.html.gz";
const PLAIN: &str = "page.html";

/// A GET of the page with this Accept-Encoding, answered by a file.
fn accepts(value: &str, file: &'static str) -> Case {
    let case = of("/page.html", &format!("Accept-Encoding: {value}")).named(value).whole(file);
    let case = case.varies().field("content-type", "text/html; charset=utf-8");
    match file {
        BR => case.field("content-encoding", "br"),
        ZSTD => case.field("content-encoding", "zstd"),
        GZIP => case.field("content-encoding", "gzip"),
        _ => case.lacks("content-encoding"),
    }
}

fn chosen() -> Vec<Case> {
    clause(
        "RFC 9110 section 12.5.3",
        [
            accepts("br", BR),
            accepts("zstd", ZSTD),
            accepts("gzip", GZIP),
            accepts("x-gzip", GZIP),
            accepts("GZIP", GZIP),
            accepts("identity", PLAIN),
            accepts("", PLAIN),
            accepts("deflate", PLAIN),
            accepts("compress, deflate", PLAIN),
            // Preferred at equal weight: br, zstd, gzip.
            accepts("gzip, deflate, br, zstd", BR),
            accepts("gzip, zstd", ZSTD),
            accepts("gzip;q=1.0, zstd;q=1.000, br;q=1", BR),
            accepts("*", BR),
            // By weight.
            accepts("br;q=0.9, gzip", GZIP),
            accepts("br;q=0.899, zstd;q=0.9", ZSTD),
            accepts("br;q=0.1, zstd;q=0.2, gzip;q=0.3", GZIP),
            accepts("br ; q=0.5 , gzip ;q=0.6", GZIP),
            accepts("br;Q=0.5, gzip;q=0.6", GZIP),
            // Excluded.
            accepts("br;q=0", PLAIN),
            accepts("br;q=0.000, gzip", GZIP),
            accepts("*, br;q=0", ZSTD),
            accepts("*;q=0, gzip", GZIP),
            accepts("*;q=0", PLAIN),
            // The original against its variants.
            accepts("identity, gzip;q=0.5", PLAIN),
            accepts("identity;q=0.5, gzip;q=0.5", GZIP),
            accepts("identity;q=0.5, gzip;q=0.4, br;q=0.6", BR),
            accepts("identity;q=0, gzip;q=0.001", GZIP),
            // Nothing fits: the original all the same.
            accepts("identity;q=0", PLAIN),
            accepts("identity;q=0, *;q=0", PLAIN),
            // What is malformed is read over.
            accepts("br;q=2, gzip", GZIP),
            accepts("br;q=0.1234, gzip", GZIP),
            accepts("br;q=, gzip", GZIP),
            accepts("br;level=1, gzip", GZIP),
            accepts("br gzip", PLAIN),
            accepts(",,gzip,", GZIP),
            // Several lines are one list (RFC 9110 section 5.3).
            accepts("gzip\r\nAccept-Encoding: br", BR),
            accepts("gzip;q=0.9\r\nX: y\r\naccept-encoding: br;q=0.8", GZIP),
            target("/page.html")
                .whole(PLAIN)
                .varies()
                .lacks("content-encoding")
                .named("no Accept-Encoding"),
        ],
    )
}

fn fields() -> Vec<Case> {
    let asks = |coding: &str| of("/page.html", &format!("Accept-Encoding: {coding}"));
    let mut cases = clause(
        "RFC 9110 section 8.8.3",
        [
            // Each variant has a tag, a length and a time of its own.
            asks("identity").whole(PLAIN).field("etag", "{page.identity}"),
            asks("br").whole(BR).field("etag", "{page.br}").field("content-length", "18"),
            asks("zstd").whole(ZSTD).field("etag", "{page.zstd}").field("content-length", "22"),
            asks("gzip").whole(GZIP).field("etag", "{page.gzip}").field("content-length", "23"),
            asks("br").whole(BR).field("last-modified", "{page.br.modified}").named("its own time"),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 8.8.2",
        [
            // An original that was written ten seconds after its variant.
            of("/stale.txt", "Accept-Encoding: identity")
                .whole("stale.txt")
                .varies()
                .field("last-modified", "{ten-after}"),
            of("/stale.txt", "Accept-Encoding: gzip")
                .whole("stale.txt.gz")
                .varies()
                .field("last-modified", "{modified}"),
            of("/stale.txt", "Accept-Encoding: gzip\r\nIf-Modified-Since: {modified}")
                .not_modified()
                .varies(),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 9.3.2",
        [
            request("HEAD /page.html HTTP/1.1", "Accept-Encoding: br")
                .answered(200)
                .head()
                .varies()
                .field("content-encoding", "br")
                .field("content-length", "18"),
            request("HEAD /page.html HTTP/1.1", "").answered(200).head().varies(),
        ],
    ));
    cases
}

fn conditional() -> Vec<Case> {
    let asks = |coding: &str, fields: &str| {
        of("/page.html", &format!("Accept-Encoding: {coding}\r\n{fields}"))
    };
    let mut cases = clause(
        "RFC 9110 section 15.4.5",
        [
            asks("br", "If-None-Match: {page.br}")
                .not_modified()
                .varies()
                .field("etag", "{page.br}")
                .lacks("content-encoding"),
            asks("gzip", "If-None-Match: {page.gzip}").not_modified().varies(),
            asks("identity", "If-None-Match: {page.identity}").not_modified().varies(),
            asks("br", "If-Modified-Since: {later}").not_modified().varies(),
            of("/page.html", "If-None-Match: *").not_modified().varies(),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 13.1.2",
        [
            // A copy of another variant is not the one that is chosen now.
            asks("br", "If-None-Match: {page.identity}").whole(BR),
            asks("br", "If-None-Match: {page.gzip}").whole(BR),
            asks("identity", "If-None-Match: {page.br}").whole(PLAIN),
            asks("br", "If-None-Match: {page.gzip}, {page.br}").not_modified().varies(),
        ],
    ));
    cases.extend(clause(
        "RFC 9110 section 13.1.1",
        [
            asks("br", "If-Match: {page.br}").whole(BR),
            asks("br", "If-Match: {page.identity}").failed().varies(),
            asks("identity", "If-Match: {page.br}").failed().varies(),
        ],
    ));
    cases
}

/// What is a neighbour and what is not.
fn neighbours() -> Vec<Case> {
    let plain = |path: &str, file: &'static str| {
        of(path, "Accept-Encoding: br, zstd, gzip").whole(file).lacks("content-encoding")
    };
    let packed = |path: &str, file: &'static str, coding: &str| {
        of(path, "Accept-Encoding: br, zstd, gzip")
            .whole(file)
            .field("content-encoding", coding)
            .varies()
    };
    clause(
        "RFC 9110 section 8.4",
        [
            packed("/only.css", "only.css.gz", "gzip")
                .field("content-type", "text/css; charset=utf-8"),
            packed("/docs/", "docs/index.html.br", "br")
                .field("content-type", "text/html; charset=utf-8"),
            packed("/void.txt", "void.txt.gz", "gzip").field("content-length", "0"),
            packed("/linked.txt", "marker.txt", "gzip"),
            of("/only.css", "Accept-Encoding: br").whole("only.css").varies(),
            // A directory, and a link that leaves the root.
            plain("/none.txt", "none.txt").lacks("vary"),
            plain("/leaving.txt", "leaving.txt").lacks("vary"),
            plain("/linked.txt", "linked.txt").setup(Setup::NoLinks).lacks("vary"),
            // No original, no variant of it.
            of("/alone.txt", "Accept-Encoding: gzip").missing(),
            // Asked for by their own names they are files like others.
            plain("/page.html.gz", GZIP).field("content-type", "application/gzip").lacks("vary"),
            plain("/page.html.br", BR).lacks("vary"),
            plain("/page.html.zst", ZSTD).field("content-type", "application/zstd").lacks("vary"),
            plain("/alone.txt.gz", "alone.txt.gz").lacks("vary"),
            plain("/plain.txt", "plain.txt").lacks("vary"),
        ],
    )
}

/// By configuration.
fn switched() -> Vec<Case> {
    let asks = |path: &str| of(path, "Accept-Encoding: br, gzip");
    let mut cases = clause(
        "RFC 9110 section 12.5.3",
        [
            asks("/page.html").whole(PLAIN).lacks("content-encoding").lacks("vary"),
            asks("/page.html.gz").whole(GZIP).lacks("content-encoding"),
        ]
        .map(|case| case.setup(Setup::NoVariants)),
    );
    cases.extend(clause(
        "RFC 9110 section 12.5.3",
        [
            asks("/fresh.txt").whole("fresh.txt.gz").field("content-encoding", "gzip").varies(),
            asks("/same.txt").whole("same.txt.gz").field("content-encoding", "gzip").varies(),
            asks("/stale.txt").whole("stale.txt").lacks("content-encoding"),
            asks("/page.html").whole(BR).field("content-encoding", "br"),
        ]
        .map(|case| case.setup(Setup::FreshVariants)),
    ));
    cases.extend(clause(
        "RFC 9110 section 12.5.3",
        [asks("/stale.txt").whole("stale.txt.gz").field("content-encoding", "gzip").varies()],
    ));
    cases
}
