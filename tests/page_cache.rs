//! What the page cache has of a large file that was sent, with `page-cache` and without.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::path::Path;

use common::{Digest, PATIENCE, Pattern, Scratch, Server, skipped};
use pitcrew::limits::FORGET_BEHIND_BYTES;
use pitcrew::techniques::residency;
use reqwest::blocking::Client;
use rustix::fs::{Advice, fadvise};

const SIZE: u64 = (12 << 20) + 345;
/// A look at a part this large.
const STEP: u64 = 4096;

/// How many of the file's pages are in memory, of how many.
fn resident(path: &Path) -> (u64, u64) {
    let file = File::open(path).unwrap();
    let pages = SIZE.div_ceil(STEP);
    let there = |page: &u64| {
        let count = STEP.min(SIZE - page * STEP);
        residency::mapped(&file, page * STEP, count).unwrap()
    };
    ((0..pages).filter(there).count() as u64, pages)
}

/// Has the kernel forget a file; whether it does.
fn chill(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    rustix::fs::fsync(&file).unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    resident(path).0 == 0
}

fn download(server: &Server) {
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let response = client.get(server.url("/large.bin")).send().unwrap();
    assert_eq!(Digest::of(response).unwrap(), Pattern::new(3).digest(0, SIZE));
}

fn server(engine: &str, scratch: &Scratch, page_cache: &str) -> Server {
    let arguments = ["--engine", engine, "--workers", "1", "--page-cache", page_cache];
    let arguments = [&arguments[..], &["--page-cache-drop-from", "1MiB"]].concat();
    Server::start(&arguments, scratch.path())
}

#[test]
fn a_large_file_leaves_nothing_that_was_not_there_before() {
    for engine in ["sendfile", "splice", "uring", "auto"] {
        let scratch = Scratch::new();
        let path = scratch.pattern("large.bin", 3, SIZE);
        if !chill(&path) {
            return skipped("what the page cache keeps", "the file system keeps its files there");
        }
        let kept = server(engine, &scratch, "keep");
        // Past the page cache nothing comes into it.
        let by_direct = || kept.figure(&["engines", "direct", "responses"]) > 0;
        download(&kept);
        let (there, pages) = resident(&path);
        assert!(by_direct() || there > pages - pages / 16, "{engine} keeps {there} of {pages}");
        drop(kept);

        let dropped = server(engine, &scratch, "drop");
        assert!(chill(&path));
        download(&dropped);
        // The last drop is on its way when the body ends; what was read ahead of it may stay.
        common::eventually("the page cache has let go", || {
            (resident(&path).0 < pages / 16).then_some(())
        });
        if dropped.figure(&["engines", "direct", "responses"]) == 0 {
            assert!(dropped.figure(&["techniques", "forget", "operations"]) >= 11, "{engine}");
        }
        let declined = dropped.figure(&["declines", "passes"]);
        assert_eq!(declined, u64::from(["sendfile", "splice"].contains(&engine)), "{engine}");
    }
}

/// Each part is a body of its own, and the kernel reads ahead for the next.
#[test]
fn a_large_file_that_is_sent_in_parts_leaves_no_more() {
    for engine in ["sendfile", "splice", "uring"] {
        let scratch = Scratch::new();
        let path = scratch.pattern("large.bin", 3, SIZE);
        if !chill(&path) {
            return skipped("what the page cache keeps", "the file system keeps its files there");
        }
        let options = ["--engine", engine, "--workers", "1", "--page-cache", "drop"];
        let rest = ["--page-cache-drop-from", "1MiB", "--rate-limit", "8MiB"];
        let server = Server::start(&[&options[..], &rest].concat(), scratch.path());
        download(&server);
        assert!(server.figure(&["connections", "pauses"]) >= 4, "{engine}");
        // A socket may still refer to the last 4 MiB.
        let refers = if engine == "uring" { 0 } else { FORGET_BEHIND_BYTES / STEP };
        let pages = resident(&path).1;
        common::eventually("the page cache has let go", || {
            (resident(&path).0 < refers + pages / 16).then_some(())
        });
    }
}

#[test]
fn a_large_file_that_was_there_before_stays() {
    for engine in ["sendfile", "uring", "auto"] {
        let scratch = Scratch::new();
        let path = scratch.pattern("large.bin", 3, SIZE);
        if !chill(&path) {
            return skipped("what the page cache keeps", "the file system keeps its files there");
        }
        std::fs::read(&path).unwrap();
        let server = server(engine, &scratch, "drop");
        download(&server);
        assert_eq!(server.figure(&["techniques", "forget", "operations"]), 0, "{engine}");
        // The kernel may take some pages back whenever it likes.
        let (there, pages) = resident(&path);
        assert!(there > pages - pages / 16, "{engine}: {there} of {pages}");
    }
}

/// Its tag is made of all of it, by HEAD and before any byte is sent.
#[test]
fn a_file_that_is_hashed_for_its_tag_leaves_nothing_that_was_not_there_before() {
    let scratch = Scratch::new();
    let path = scratch.pattern("large.bin", 3, SIZE);
    if !chill(&path) {
        return skipped("what the page cache keeps", "the file system keeps its files there");
    }
    let hashed = |page_cache| {
        let options = ["--workers", "1", "--etag", "content", "--page-cache", page_cache];
        let options = [&options[..], &["--page-cache-drop-from", "1MiB"]].concat();
        let server = Server::start(&options, scratch.path());
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let response = client.head(server.url("/large.bin")).send().unwrap();
        assert_eq!(server.figure(&["techniques", "digest", "bytes"]), SIZE);
        response.headers()["etag"].clone()
    };
    let tag = hashed("keep");
    let (there, pages) = resident(&path);
    assert!(there > pages - pages / 16, "{there} of {pages}");
    assert!(chill(&path));
    // Somebody else has read the second MiB, of which the kernel may have read ahead.
    let file = File::open(&path).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut vec![0; 1 << 20], 1 << 20).unwrap();
    let (before, _) = resident(&path);
    assert!(before >= 256, "{before} of {pages}");
    assert_eq!(hashed("drop"), tag);
    let (there, _) = resident(&path);
    assert!(there >= before - 16 && there < before + pages / 8, "{before}, {there} of {pages}");
}

/// One that is small enough to be kept in memory is read for that, too.
#[test]
fn a_hot_file_leaves_nothing_that_was_not_there_before() {
    let scratch = Scratch::new();
    let path = scratch.pattern("small.bin", 4, 16_000);
    let options = ["--workers", "1", "--page-cache", "drop", "--page-cache-drop-from", "1KiB"];
    let server = Server::start(&options, scratch.path());
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let file = File::open(&path).unwrap();
    rustix::fs::fsync(&file).unwrap();
    let chill = || {
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        !residency::mapped(&file, 0, 16_000).unwrap()
    };
    if !chill() {
        return skipped("what the page cache keeps", "the file system keeps its files there");
    }
    common::eventually("it is kept", || {
        assert!(chill());
        let response = client.get(server.url("/small.bin")).send().unwrap();
        assert_eq!(Digest::of(response).unwrap(), Pattern::new(4).digest(0, 16_000));
        (server.figure(&["hot_cache", "kept"]) > 0).then_some(())
    });
    common::eventually("the page cache has let go", || {
        (!residency::mapped(&file, 0, 16_000).unwrap()).then_some(())
    });
}
