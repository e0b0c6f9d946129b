//! Entity tags that are made of the bytes of files.

use xxhash_rust::xxh3::xxh3_128;

use crate::case::{Case, Setup, clause, of, request, target};
use crate::site;

pub(super) fn cases() -> Vec<Case> {
    let tables = [made(), conditional(), ranges()];
    let cases = tables.into_iter().flatten();
    cases.map(|case| case.setup(Setup::ContentTags)).collect()
}

/// The tag of these bytes, coded so.
fn tag(file: &str, coding: &str) -> String {
    format!("\"{:032x}{coding}\"", xxh3_128(&site::content(file)))
}

fn made() -> Vec<Case> {
    let whole = |path: &str, file: &'static str| {
        target(path).whole(file).field("etag", &tag(file, "")).has("last-modified")
    };
    let coded = |coding: &str, file: &'static str, suffix: &str| {
        of("/page.html", &format!("Accept-Encoding: {coding}"))
            .whole(file)
            .varies()
            .field("etag", &tag(file, suffix))
    };
    clause(
        "RFC 9110 section 8.8.3",
        [
            whole("/plain.txt", "plain.txt"),
            whole("/data.bin", "data.bin"),
            whole("/empty.bin", "empty.bin"),
            whole("/link.txt", "plain.txt"),
            whole("/", "index.html"),
            whole("/page.html", "page.html").varies(),
            // Each of the variants has its own (RFC 9110 section 8.8.3.3).
            coded("br", "page.html.br", ".br"),
            coded("zstd", "page.html.zst", ".zst"),
            coded("gzip", "page.html.gz", ".gz"),
            of("/void.txt", "Accept-Encoding: gzip")
                .whole("void.txt.gz")
                .varies()
                .field("etag", &tag("void.txt.gz", ".gz")),
            request("HEAD /plain.txt HTTP/1.1", "")
                .answered(200)
                .head()
                .field("etag", &tag("plain.txt", "")),
            target("/missing").missing(),
            target("/dir").answered(301).lacks("etag"),
        ],
    )
}

fn conditional() -> Vec<Case> {
    let plain = tag("plain.txt", "");
    clause(
        "RFC 9110 section 13.1",
        [
            of("/plain.txt", &format!("If-None-Match: {plain}")).not_modified(),
            of("/plain.txt", &format!("If-None-Match: W/{plain}")).not_modified(),
            of("/plain.txt", &format!("If-None-Match: {}", tag("data.bin", ""))).whole("plain.txt"),
            of("/plain.txt", &format!("If-Match: {plain}")).whole("plain.txt"),
            of("/plain.txt", &format!("If-Match: W/{plain}")).failed(),
            of("/plain.txt", &format!("If-Match: {}", tag("one.bin", ""))).failed(),
            of(
                "/page.html",
                &format!("Accept-Encoding: br\r\nIf-None-Match: {}", tag("page.html.br", ".br")),
            )
            .not_modified()
            .varies(),
            // The tag of another coding is another tag.
            of(
                "/page.html",
                &format!("Accept-Encoding: br\r\nIf-None-Match: {}", tag("page.html", "")),
            )
            .whole("page.html.br")
            .varies(),
            of("/plain.txt", "If-Modified-Since: {modified}").not_modified(),
        ],
    )
}

fn ranges() -> Vec<Case> {
    let data = tag("data.bin", "");
    clause(
        "RFC 9110 section 13.1.5",
        [
            of("/data.bin", &format!("Range: bytes=69000-\r\nIf-Range: {data}"))
                .part("data.bin", 69_000..70_001)
                .field("etag", &data),
            of("/data.bin", &format!("Range: bytes=0-9,1000-1999\r\nIf-Range: {data}"))
                .parts("data.bin", &[0..10, 1000..2000])
                .field("etag", &data),
            of("/data.bin", &format!("Range: bytes=0-9\r\nIf-Range: W/{data}")).whole("data.bin"),
            of("/data.bin", &format!("Range: bytes=0-9\r\nIf-Range: {}", tag("one.bin", "")))
                .whole("data.bin"),
        ],
    )
}
