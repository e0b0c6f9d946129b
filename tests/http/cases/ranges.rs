//! Ranges: one, several, of variants, and those that are not there.

use std::ops::Range;

use pitcrew::http::refusal::Refusal;

use crate::case::{Case, clause, of, request, with};

pub(super) fn cases() -> Vec<Case> {
    let tables = [single(), unsatisfiable(), ignored(), several(), if_range(), variants()];
    tables.into_iter().flatten().collect()
}

/// The length of `/plain.txt`.
const LENGTH: usize = 43;

fn range(set: &str) -> Case {
    with(&format!("Range: {set}")).named(set)
}

fn part(set: &str, span: Range<usize>) -> Case {
    let length = span.len().to_string();
    range(set).part("plain.txt", span).field("content-length", &length)
}

fn single() -> Vec<Case> {
    let data = |set: &str, span: Range<usize>| {
        of("/data.bin", &format!("Range: {set}")).part("data.bin", span)
    };
    clause(
        "RFC 9110 section 14.1.2",
        [
            part("bytes=0-0", 0..1),
            part("bytes=2-10", 2..11),
            part("bytes=0-42", 0..43),
            part("bytes=0-", 0..43),
            part("bytes=40-", 40..43),
            part("bytes=42-", 42..43),
            part("bytes=42-42", 42..43),
            part("bytes=-1", 42..43),
            part("bytes=-3", 40..43),
            part("bytes=-43", 0..43),
            part("bytes=-44", 0..43),
            part("bytes=-99999999999999999999999999", 0..43),
            part("bytes=40-43", 40..43),
            part("bytes=42-99999999999999999", 42..43),
            part("bytes=42-18446744073709551615", 42..43),
            part("bytes=42-18446744073709551616", 42..43),
            part("bytes=000000000000000000000000001-2", 1..3),
            part("Bytes=1-2", 1..3),
            part("bytes= 1-2", 1..3),
            part("bytes=\t1-2 ", 1..3),
            part("bytes=,,1-2,", 1..3),
            data("bytes=0-65535", 0..65_536),
            data("bytes=65535-65536", 65_535..65_537),
            data("bytes=1-70000", 1..70_001),
            data("bytes=-1", 70_000..70_001),
            of("/one.bin", "Range: bytes=0-").part("one.bin", 0..1),
        ],
    )
}

fn unsatisfiable() -> Vec<Case> {
    let beyond = |set: &str| {
        range(set)
            .refused(416, Refusal::RangeUnsatisfiable)
            .field("content-range", "bytes */43")
            .lacks("accept-ranges")
    };
    let of_nothing = |set: &str| {
        of("/empty.bin", &format!("Range: {set}"))
            .refused(416, Refusal::RangeUnsatisfiable)
            .field("content-range", "bytes */0")
    };
    clause(
        "RFC 9110 section 15.5.17",
        [
            beyond("bytes=43-"),
            beyond("bytes=43-50"),
            beyond("bytes=-0"),
            beyond("bytes=9999999999-"),
            beyond("bytes=18446744073709551615-"),
            beyond("bytes=18446744073709551616-18446744073709551617"),
            beyond("bytes=99999999999999999999999999-"),
            beyond("bytes=43-,50-60"),
            beyond("bytes=-0,43-"),
            of_nothing("bytes=0-"),
            of_nothing("bytes=0-0"),
            of_nothing("bytes=-5"),
            of_nothing("bytes=-0"),
            of("/page.html", "Range: bytes=99-\r\nAccept-Encoding: br")
                .refused(416, Refusal::RangeUnsatisfiable)
                .field("content-range", "bytes */18")
                .varies(),
        ],
    )
}

/// Malformed, in another unit, or of another method: as if it were not there.
fn ignored() -> Vec<Case> {
    let whole = |set: &str| range(set).whole("plain.txt").lacks("content-range");
    clause(
        "RFC 9110 section 14.2",
        [
            whole("bytes=5-2"),
            whole("bytes=a-b"),
            whole("bytes=1-b"),
            whole("bytes=-"),
            whole("bytes="),
            whole("bytes=,"),
            whole("bytes"),
            whole(""),
            whole("=0-3"),
            whole("bytes 0-3"),
            whole("bytes:0-3"),
            whole("bytes =0-3"),
            whole("bytes=0 - 3"),
            whole("bytes=0- 3"),
            whole("bytes=1"),
            whole("bytes=+1-3"),
            whole("bytes=1-+3"),
            whole("bytes=--3"),
            whole("bytes=1--3"),
            whole("bytes=1-2-3"),
            whole("bytes=0x1-3"),
            whole("bytes=1.0-3"),
            whole("bytes=1-3;4-5"),
            whole("bytes=\"1-3\""),
            whole("lines=0-3"),
            whole("seconds=1-2"),
            whole("none"),
            whole("bytes=0-3,x"),
            whole("bytes=0-3,5-2"),
            with("Range: bytes=0-3\r\nRange: bytes=5-6").whole("plain.txt"),
            with("Content-Range: bytes 0-3/43").whole("plain.txt"),
            request("HEAD /plain.txt HTTP/1.1", "Range: bytes=0-3")
                .answered(200)
                .head()
                .field("content-length", "43")
                .lacks("content-range"),
            request("HEAD /plain.txt HTTP/1.1", "Range: bytes=99-").answered(200).head(),
            request("POST /plain.txt HTTP/1.1", "Range: bytes=0-3")
                .refused(405, Refusal::MethodNotAllowed),
            of("/missing", "Range: bytes=0-3").missing(),
            of("/dir", "Range: bytes=0-3").answered(301),
        ],
    )
}

fn several() -> Vec<Case> {
    let parts = |set: &str, spans: &[Range<usize>]| range(set).parts("plain.txt", spans);
    let whole = |set: &str| range(set).whole("plain.txt").lacks("content-range");
    let many = |count: usize| {
        let ranges: Vec<_> = (0..count).map(|at| format!("{0}-{0}", 2 * at)).collect();
        let spans: Vec<_> = (0..count).map(|at| 2 * at..2 * at + 1).collect();
        let set = format!("Range: bytes={}", ranges.join(","));
        (of("/data.bin", &set).named(&format!("{count} ranges")), spans)
    };
    let (at_limit, spans) = many(64);
    let (above, _) = many(65);
    let one = LENGTH - 1..LENGTH;
    let mut cases = clause(
        "RFC 9110 section 15.3.7.2",
        [
            parts("bytes=0-1,4-5", &[0..2, 4..6]),
            parts("bytes=0-0, -1", &[0..1, one]),
            // In the order asked.
            parts("bytes=40-, 0-1", &[40..43, 0..2]),
            parts("bytes=8-9,4-5,0-1", &[8..10, 4..6, 0..2]),
            // Overlapping and touching ones are one, in the place of the first.
            parts("bytes=0-3,2-5,10-11", &[0..6, 10..12]),
            parts("bytes=10-11,2-3,4-5", &[10..12, 2..6]),
            parts("bytes=4-5,20-21,6-7", &[4..8, 20..22]),
            parts("bytes=20-21,0-1,19-19,30-30", &[19..22, 0..2, 30..31]),
            // What is not there is left out.
            parts("bytes=0-1,43-,4-5", &[0..2, 4..6]),
            parts("bytes=0-1,,\t4-5 ,", &[0..2, 4..6]),
            parts("bytes=0-1,40-99", &[0..2, 40..43]),
            part("bytes=0-1,43-50", 0..2),
            part("bytes=0-1,2-3", 0..4),
            part("bytes=2-3,0-1", 0..4),
            part("bytes=0-5,1-2,3-9", 0..10),
            part("bytes=0-20,21-42", 0..43),
            of("/data.bin", "Range: bytes=0-0,30000-69999")
                .parts("data.bin", &[0..1, 30_000..70_000]),
            of("/data.bin", "Range: bytes=0-29999,30001-60000,-1")
                .parts("data.bin", &[0..30_000, 30_001..60_001, 70_000..70_001]),
            of("/picture.png", "Range: bytes=0-1,4-5").parts("picture.png", &[0..2, 4..6]),
        ],
    );
    cases.extend(clause(
        "RFC 9110 section 17.15",
        [
            at_limit.parts("data.bin", &spans),
            above.whole("data.bin"),
            // Together more than the file.
            whole("bytes=0-,0-"),
            whole("bytes=0-42,0-0"),
            whole("bytes=0-30,10-42"),
            whole(&format!("bytes={}", "0-,".repeat(50))),
            // Empty elements count too.
            whole(&format!("bytes=0-0{}", ",".repeat(64))),
            whole(&format!("bytes={}", "0-0,".repeat(2000))).named("2000 ranges"),
        ],
    ));
    cases
}

fn if_range() -> Vec<Case> {
    let with = |value: &str| {
        with(&format!("If-Range: {value}\r\nRange: bytes=0-3")).named(&format!("If-Range {value}"))
    };
    let part = |value: &str| with(value).part("plain.txt", 0..4);
    let whole = |value: &str| with(value).whole("plain.txt").lacks("content-range");
    clause(
        "RFC 9110 section 13.1.5",
        [
            part("{etag}"),
            part("{modified}"),
            part("{rfc850}"),
            part("{asctime}"),
            // Strong tags and exact dates only.
            whole("W/{etag}"),
            whole("\"x\""),
            whole("{etag}, \"x\""),
            whole("*"),
            whole("{earlier}"),
            whole("{just-before}"),
            whole("{just-after}"),
            whole("{later}"),
            whole("yesterday"),
            whole(""),
            crate::case::with("If-Range: {etag}\r\nIf-Range: {etag}\r\nRange: bytes=0-3")
                .whole("plain.txt"),
            // Without a Range it means nothing.
            crate::case::with("If-Range: {etag}").whole("plain.txt"),
            crate::case::with("If-Range: \"x\"").whole("plain.txt"),
            // A range that is not there is not asked for when the condition fails.
            crate::case::with("If-Range: \"x\"\r\nRange: bytes=99-").whole("plain.txt"),
            crate::case::with("If-Range: {etag}\r\nRange: bytes=99-")
                .refused(416, Refusal::RangeUnsatisfiable),
            of("/data.bin", "If-Range: {data}\r\nRange: bytes=100-199,300-399")
                .parts("data.bin", &[100..200, 300..400]),
            of("/data.bin", "If-Range: {etag}\r\nRange: bytes=100-199,300-399").whole("data.bin"),
        ],
    )
}

/// Of the variant that was chosen.
fn variants() -> Vec<Case> {
    let asks = |coding: &str, fields: &str| {
        of("/page.html", &format!("Accept-Encoding: {coding}\r\n{fields}"))
    };
    clause(
        "RFC 9110 section 14.2",
        [
            asks("br", "Range: bytes=0-3")
                .part("page.html.br", 0..4)
                .field("content-encoding", "br")
                .varies(),
            asks("gzip", "Range: bytes=-4")
                .part("page.html.gz", 19..23)
                .field("content-encoding", "gzip")
                .varies(),
            asks("zstd", "Range: bytes=0-1,4-5")
                .parts("page.html.zst", &[0..2, 4..6])
                .lacks("content-encoding")
                .varies(),
            asks("br", "Range: bytes=18-").refused(416, Refusal::RangeUnsatisfiable),
            asks("br", "If-Range: {page.br}\r\nRange: bytes=1-2").part("page.html.br", 1..3),
            asks("br", "If-Range: {page.gzip}\r\nRange: bytes=1-2").whole("page.html.br"),
            asks("br", "If-Range: {page.identity}\r\nRange: bytes=1-2").whole("page.html.br"),
            asks("identity", "If-Range: {page.br}\r\nRange: bytes=1-2").whole("page.html"),
            asks("identity", "Range: bytes=1-2").part("page.html", 1..3).varies(),
        ],
    )
}
