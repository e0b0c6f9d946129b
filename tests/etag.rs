//! Entity tags made of content.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use common::{ENGINES, Pattern, Response, Scratch, Server, get};
use xxhash_rust::xxh3::xxh3_128;

fn serve(root: &Path, more: &[&str]) -> Server {
    let content = ["--etag", "content", "--workers", "1", "--open-files-valid", "0s"];
    Server::start(&[&content, more].concat(), root)
}

fn ask(server: &Server, path: &str, fields: &str) -> Response {
    let mut wire = server.connect();
    wire.send(&get(path, fields));
    wire.response().unwrap()
}

fn tag(server: &Server, path: &str) -> String {
    let answer = ask(server, path, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.field("etag").unwrap().to_owned()
}

/// Every file of a build often bears the same time.
fn stamp(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// RFC 9110 section 8.8.3.
#[test]
fn a_tag_is_of_the_bytes_and_not_of_the_time_in_every_engine() {
    let root = Scratch::new();
    let [one, other] = [root.write("one", "first"), root.write("other", "fIrst")];
    let copy = root.write("copy", "first");
    root.write("empty", "");
    [&one, &other].into_iter().for_each(|path| stamp(path));
    let _ = copy;
    for engine in ENGINES {
        let server = serve(root.path(), &["--engine", engine]);
        let first = tag(&server, "/one");
        assert_eq!(first, format!("\"{:032x}\"", xxh3_128(b"first")), "{engine}");
        assert_eq!(tag(&server, "/copy"), first);
        assert_ne!(tag(&server, "/other"), first);
        assert_eq!(tag(&server, "/empty"), format!("\"{:032x}\"", xxh3_128(b"")));
        assert_eq!(ask(&server, "/one", &format!("If-None-Match: {first}\r\n")).status, 304);
        // A strong tag carries a resumed download (RFC 9110 section 13.1.5).
        let fields = format!("Range: bytes=2-\r\nIf-Range: {first}\r\n");
        let rest = ask(&server, "/one", &fields);
        assert_eq!((rest.status, &rest.body[..]), (206, &b"rst"[..]));
    }
}

/// RFC 9110 section 8.8.1: a strong validator changes whenever the bytes do.
#[test]
fn another_version_of_the_same_size_and_time_has_another_tag() {
    let root = Scratch::new();
    let path = root.write("page", "version 1");
    stamp(&path);
    let server = serve(root.path(), &[]);
    let first = tag(&server, "/page");
    let next = root.write("next", "version 2");
    stamp(&next);
    fs::rename(&next, &path).unwrap();
    let second = tag(&server, "/page");
    assert_ne!(first, second);
    // In place, which leaves the inode the same.
    fs::write(&path, "version 3").unwrap();
    stamp(&path);
    let third = tag(&server, "/page");
    assert_eq!(third, format!("\"{:032x}\"", xxh3_128(b"version 3")));
    assert_eq!(server.figure(&["techniques", "digest", "operations"]), 3);
}

#[test]
fn a_version_is_hashed_once_however_many_ask() {
    let root = Scratch::new();
    root.pattern("large", 7, 32 << 20);
    let server = serve(root.path(), &[]);
    let tags: BTreeSet<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..24)
            .map(|_| scope.spawn(|| ask(&server, "/large", "Range: bytes=0-0\r\n")))
            .collect();
        asking
            .into_iter()
            .map(|one| one.join().unwrap().field("etag").unwrap().to_owned())
            .collect()
    });
    let bytes = Pattern::new(7).bytes(0, 32 << 20);
    assert_eq!(tags, [format!("\"{:032x}\"", xxh3_128(&bytes))].into());
    assert_eq!(server.figure(&["techniques", "digest", "operations"]), 1);
    assert_eq!(server.figure(&["techniques", "digest", "bytes"]), 32 << 20);
}

/// RFC 9110 section 8.8.3.3: the tag of a coding is another one.
#[test]
fn variants_have_tags_of_their_own_bytes() {
    let root = Scratch::new();
    root.write("a.txt", "the file itself");
    root.write("a.txt.gz", "stands for gzip");
    root.write("a.txt.br", "stands for brotli");
    let server = serve(root.path(), &["--precompressed", "on"]);
    for (coding, suffix, bytes) in
        [("gzip", ".gz", "stands for gzip"), ("br", ".br", "stands for brotli")]
    {
        let answer = ask(&server, "/a.txt", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!(answer.text(), bytes);
        let expected = format!("\"{:032x}{suffix}\"", xxh3_128(bytes.as_bytes()));
        assert_eq!(answer.field("etag"), Some(expected.as_str()));
    }
    assert_eq!(tag(&server, "/a.txt"), format!("\"{:032x}\"", xxh3_128(b"the file itself")));
}

/// RFC 9110 section 8.8.1: its time and size take the place of its bytes.
#[test]
fn a_file_above_the_bound_is_known_by_its_time() {
    let root = Scratch::new();
    root.sparse("huge", 1, (64 << 20) + 1, &[]);
    let server = serve(root.path(), &[]);
    let mut wire = server.connect();
    wire.send(b"HEAD /huge HTTP/1.1\r\nHost: a\r\n\r\n");
    let by_time = wire.answer("HEAD").unwrap().field("etag").unwrap().to_owned();
    assert_ne!(by_time.len(), 34);
    assert_eq!(server.figure(&["techniques", "digest", "operations"]), 0);
}

#[test]
fn many_files_at_once_wait_for_their_turn() {
    let root = Scratch::new();
    for number in 0..300 {
        root.write(&format!("{number}"), format!("content {number}"));
    }
    let server = serve(root.path(), &[]);
    let mut wires: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.send(&get(&format!("/{number}"), ""));
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        let answer = wire.response().unwrap();
        assert_eq!(answer.text(), format!("content {number}"));
        let expected = format!("\"{:032x}\"", xxh3_128(answer.text().as_bytes()));
        assert_eq!(answer.field("etag"), Some(expected.as_str()));
    }
    assert_eq!(server.figure(&["techniques", "digest", "operations"]), 300);
}

#[test]
fn listings_and_hashes_of_a_mount_take_turns() {
    let root = Scratch::new();
    for number in 0..50 {
        root.pattern(&format!("dir/{number}"), number, 1 << 20);
    }
    let server = serve(root.path(), &["--listing"]);
    thread::scope(|scope| {
        for number in 0..50 {
            let server = &server;
            scope.spawn(move || {
                assert_eq!(ask(server, "/dir/", "").status, 200);
                assert_eq!(ask(server, &format!("/dir/{number}"), "").body.len(), 1 << 20);
            });
        }
    });
    assert_eq!(server.figure(&["jobs", "in_flight"]), 0);
}
