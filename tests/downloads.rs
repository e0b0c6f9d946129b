//! What a real client library does over many requests: it unpacks variants, goes on where a
//! download was broken off, fetches parts, and asks whether its copy is still good.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{ENGINES, PATIENCE, Pattern, Scratch, Server, digest_of_bytes, multipart};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

fn serve(engine: &str, root: &Path) -> Server {
    Server::start(&["--engine", engine, "--workers", "1", "--precompressed", "on"], root)
}

fn site() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www")
}

fn get(client: &Client, url: &str, fields: &[(HeaderName, &str)]) -> Response {
    let mut request = client.get(url);
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    request.send().unwrap_or_else(|error| panic!("{url} {fields:?}: {error:?}"))
}

fn field(response: &Response, name: &HeaderName) -> String {
    let value = response.headers().get(name);
    value.unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap().to_owned()
}

/// Makes a file old enough that its date is a strong validator (RFC 9110 section 8.8.2.2).
fn age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

fn unpack(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap(),
        "br" => {
            brotli_decompressor::Decompressor::new(packed, 4096).read_to_end(&mut plain).unwrap()
        }
        "zstd" => ruzstd::decoding::StreamingDecoder::new(packed)
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap(),
        other => panic!("no such coding: {other}"),
    };
    plain
}

/// RFC 9110 section 12.5.3: what a client says it takes comes, and unpacks to the original.
#[test]
fn variants_unpack_to_the_original() {
    let client = client();
    for engine in ENGINES {
        let server = serve(engine, &site());
        for (path, name) in
            [("/", "index.html"), ("/style.css", "style.css"), ("/engines/", "engines/index.html")]
        {
            let original = std::fs::read(site().join(name)).unwrap();
            for (asked, coding) in [
                ("br", "br"),
                ("zstd", "zstd"),
                ("gzip", "gzip"),
                ("gzip, deflate, br, zstd", "br"),
                ("gzip, deflate", "gzip"),
            ] {
                let what = format!("{engine} {path} as {asked}");
                let answer = get(&client, &server.url(path), &[(ACCEPT_ENCODING, asked)]);
                assert_eq!(field(&answer, &CONTENT_ENCODING), coding, "{what}");
                assert_eq!(field(&answer, &VARY), "Accept-Encoding", "{what}");
                let length: usize = field(&answer, &CONTENT_LENGTH).parse().unwrap();
                let packed = answer.bytes().unwrap();
                assert_eq!(packed.len(), length, "{what}");
                assert!(packed.len() < original.len(), "{what}: nothing gained");
                assert!(unpack(coding, &packed) == original, "{what}: another content");
            }
            let plain = get(&client, &server.url(path), &[]);
            assert!(plain.headers().get(CONTENT_ENCODING).is_none(), "{engine} {path}");
            assert!(plain.bytes().unwrap() == original, "{engine} {path}");
        }
    }
}

/// RFC 9110 section 14.2: the parts of a variant make up that variant.
#[test]
fn a_variant_fetched_in_parts_unpacks() {
    let client = client();
    for engine in ENGINES {
        let server = serve(engine, &site());
        let url = server.url("/index.html");
        let original = std::fs::read(site().join("index.html")).unwrap();
        for coding in ["br", "zstd", "gzip"] {
            let (mut packed, mut tag) = (Vec::new(), None);
            loop {
                let range = format!("bytes={}-{}", packed.len(), packed.len() + 499);
                let mut fields = vec![(ACCEPT_ENCODING, coding), (RANGE, &range)];
                fields.extend(tag.as_deref().map(|tag| (IF_RANGE, tag)));
                let answer = get(&client, &url, &fields);
                assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{engine} {coding}");
                let total: usize =
                    field(&answer, &CONTENT_RANGE).split('/').nth(1).unwrap().parse().unwrap();
                tag = Some(field(&answer, &ETAG));
                packed.extend(answer.bytes().unwrap());
                if packed.len() == total {
                    break;
                }
            }
            assert!(unpack(coding, &packed) == original, "{engine} {coding}");
        }
    }
}

/// RFC 9110 section 13.1.5: a download that breaks off is resumed, again and again, by tag and by
/// date.
#[test]
fn broken_downloads_are_resumed() {
    const BYTES: u64 = (9 << 20) + 77;
    let client = client();
    for engine in ENGINES {
        let scratch = Scratch::new();
        age(&scratch.pattern("large.bin", 3, BYTES), 1000);
        let server = serve(engine, scratch.path());
        let url = server.url("/large.bin");
        for validator in [ETAG, LAST_MODIFIED] {
            let mut answer = get(&client, &url, &[]);
            let condition = field(&answer, &validator);
            let mut got = Vec::new();
            // Each part is longer than the one before, and ends anywhere.
            for part in [1, 4_096, 65_537, 1 << 20, 3 << 20] {
                let mut taken = vec![0; part];
                answer.read_exact(&mut taken).unwrap();
                got.extend(taken);
                // Gone in the middle of the body.
                drop(answer);
                let range = format!("bytes={}-", got.len());
                answer = get(&client, &url, &[(RANGE, &range), (IF_RANGE, &condition)]);
                assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{engine} {range}");
                let said = format!("bytes {}-{}/{BYTES}", got.len(), BYTES - 1);
                assert_eq!(field(&answer, &CONTENT_RANGE), said, "{engine}");
            }
            answer.read_to_end(&mut got).unwrap();
            assert_eq!(digest_of_bytes(&got), Pattern::new(3).digest(0, BYTES), "{engine}");
        }
    }
}

/// RFC 9110 section 13.1.5: a file that was replaced in between is sent whole and never mixed.
#[test]
fn a_replaced_file_is_not_resumed() {
    let client = client();
    for engine in ENGINES {
        let scratch = Scratch::new();
        age(&scratch.pattern("file.bin", 1, 200_000), 1000);
        let server = serve(engine, scratch.path());
        let url = server.url("/file.bin");
        let first = get(&client, &url, &[]);
        let (tag, date) = (field(&first, &ETAG), field(&first, &LAST_MODIFIED));
        drop(first);
        let new = scratch.pattern("new.bin", 2, 200_000);
        age(&new, 500);
        std::fs::rename(new, scratch.join("file.bin")).unwrap();
        // The name is looked up again after a while at the latest.
        common::eventually("the new file is seen", || {
            let answer = get(&client, &url, &[(IF_NONE_MATCH, &tag)]);
            (answer.status() == StatusCode::OK).then_some(())
        });
        for condition in [&tag, &date] {
            let answer = get(&client, &url, &[(RANGE, "bytes=1000-"), (IF_RANGE, condition)]);
            assert_eq!(answer.status(), StatusCode::OK, "{engine} {condition}");
            let got = digest_of_bytes(&answer.bytes().unwrap());
            assert_eq!(got, Pattern::new(2).digest(0, 200_000), "{engine} {condition}");
        }
    }
}

/// RFC 9110 section 15.3.7.2: several parts in one answer, small and large, in the order asked.
#[test]
fn many_parts_come_in_one_answer() {
    const BYTES: u64 = 5 << 20;
    let client = client();
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.pattern("large.bin", 4, BYTES);
        let server = serve(engine, scratch.path());
        let url = server.url("/large.bin");
        let scattered: Vec<(u64, u64)> =
            (0..64).map(|at| (BYTES / 64 * at, BYTES / 64 * at + 99 + at * 17)).collect();
        let large = vec![(4 << 20, (4 << 20) + 700_000), (0, 1_500_000), (BYTES - 1, BYTES - 1)];
        for spans in [vec![(0, 0), (10, 19)], scattered, large] {
            let set: Vec<_> = spans.iter().map(|(a, b)| format!("{a}-{b}")).collect();
            let answer = get(&client, &url, &[(RANGE, &format!("bytes={}", set.join(",")))]);
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{engine} {set:?}");
            let parts = multipart::parts(&plain(answer)).unwrap();
            assert_eq!(parts.len(), spans.len(), "{engine} {set:?}");
            for (part, (first, last)) in parts.iter().zip(spans) {
                assert_eq!(part.range, (first, last, BYTES), "{engine}");
                let wanted = Pattern::new(4).digest(first, last - first + 1);
                assert_eq!(digest_of_bytes(&part.bytes), wanted, "{engine} {first}-{last}");
            }
        }
    }
}

fn plain(answer: Response) -> common::Response {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    common::Response {
        status: answer.status().as_u16(),
        reason: String::new(),
        fields: answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: answer.bytes().unwrap().to_vec(),
    }
}

/// RFC 9110 sections 13.1.2 and 13.1.3: a copy that is still good is not sent again.
#[test]
fn a_good_copy_is_not_sent_again() {
    let client = client();
    let server = serve("sendfile", &site());
    for path in ["/", "/style.css", "/mark.svg"] {
        for coding in ["identity", "br", "gzip"] {
            let url = server.url(path);
            let answer = get(&client, &url, &[(ACCEPT_ENCODING, coding)]);
            let (tag, date) = (field(&answer, &ETAG), field(&answer, &LAST_MODIFIED));
            assert!(!answer.bytes().unwrap().is_empty());
            for condition in [(IF_NONE_MATCH, &tag), (IF_MODIFIED_SINCE, &date)] {
                let (name, value) = condition;
                let again = get(&client, &url, &[(ACCEPT_ENCODING, coding), (name, value)]);
                assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path} {coding} {value}");
                assert_eq!(field(&again, &ETAG), tag, "{path} {coding}");
                assert!(again.bytes().unwrap().is_empty());
            }
        }
    }
}

/// RFC 9110 section 15.4.2: a redirect to the slash leads to the page, its query kept.
#[test]
fn a_redirect_is_followed() {
    let server = serve("sendfile", &site());
    let answer = get(&client(), &server.url("/engines?from=here"), &[]);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.url().as_str(), server.url("/engines/?from=here"));
    let page = std::fs::read(site().join("engines/index.html")).unwrap();
    assert!(answer.bytes().unwrap() == page);
}
