//! The engine `direct` on the real kernel: a cache smaller than the file, a limit of locked memory
//! that is too low, a file system in memory, and a disk with sectors of 4096 bytes.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    Digest, Launch, PATIENCE, Pattern, Scratch, Server, get, skipped, with_little_memlock,
};
use reqwest::blocking::Client;
use reqwest::header::RANGE;

/// As little as one worker may have: eight blocks.
const SMALL: [&str; 8] =
    ["--engine", "direct", "--workers", "1", "--direct-cache", "512KiB", "--direct-block", "64KiB"];

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

fn opens_direct(path: &Path) -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::RDONLY | OFlags::DIRECT, Mode::empty()).is_ok()
}

/// Fetches a file whole and in parts, and compares every byte by its hash.
fn intact(server: &Server, name: &str, seed: u64, size: u64) {
    let client = client();
    let url = server.url(&format!("/{name}"));
    for _ in 0..2 {
        let got = Digest::of(client.get(&url).send().unwrap()).unwrap();
        assert_eq!(got, Pattern::new(seed).digest(0, size), "{name}");
    }
    for (first, count) in [(0, 1), (size / 2 - 1, 100_000.min(size / 2)), (size - 1, 1)] {
        let range = format!("bytes={first}-{}", first + count - 1);
        let answer = client.get(&url).header(RANGE, range).send().unwrap();
        assert_eq!(answer.status(), 206);
        assert_eq!(Digest::of(answer).unwrap(), Pattern::new(seed).digest(first, count), "{name}");
    }
}

fn figure(server: &Server, path: &[&str]) -> u64 {
    server.figure(path)
}

#[test]
fn a_file_many_times_the_cache_comes_whole() {
    let scratch = Scratch::new();
    let size = (24 << 20) + 12_345;
    let path = scratch.pattern("large.bin", 5, size);
    if !opens_direct(&path) {
        return skipped("a file larger than the cache", "the file system refuses O_DIRECT");
    }
    // Of what was just written nothing is read ahead, as it would not be kept.
    std::thread::sleep(2 * pitcrew::limits::SETTLED_FINE);
    let server = Server::start(&SMALL, scratch.path());
    intact(&server, "large.bin", 5, size);
    assert!(figure(&server, &["direct_cache", "evicted"]) > 300);
    assert!(figure(&server, &["direct_cache", "ahead"]) > 100, "blocks are read ahead");
    assert!(figure(&server, &["direct_cache", "bytes"]) <= 512 << 10);
    assert_eq!(figure(&server, &["direct_cache", "bytes_max"]), 512 << 10);
    assert_eq!(figure(&server, &["engines", "direct", "declined"]), 0);
}

#[test]
fn a_body_that_is_in_the_cache_does_not_touch_the_disk() {
    let scratch = Scratch::new();
    let path = scratch.pattern("a.bin", 6, 300_000);
    if !opens_direct(&path) {
        return skipped("a body from the cache", "the file system refuses O_DIRECT");
    }
    // What was just written is not kept: another change might not be told by another time.
    std::thread::sleep(2 * pitcrew::limits::SETTLED_FINE);
    let server = Server::engine("direct", scratch.path());
    let client = client();
    let fetch = || Digest::of(client.get(server.url("/a.bin")).send().unwrap()).unwrap();
    let expected = Pattern::new(6).digest(0, 300_000);
    assert_eq!(fetch(), expected);
    let reads = figure(&server, &["techniques", "direct_read", "operations"]);
    assert_eq!(reads, 2);
    for _ in 0..5 {
        assert_eq!(fetch(), expected);
    }
    assert_eq!(figure(&server, &["techniques", "direct_read", "operations"]), reads);
    assert_eq!(figure(&server, &["direct_cache", "hits"]), 10);
    // Replaced by rename: the next request has the new one, of another length.
    scratch.pattern("b.bin", 7, 299_999);
    std::fs::rename(scratch.join("b.bin"), &path).unwrap();
    common::eventually("the new file is seen", || {
        (fetch() == Pattern::new(7).digest(0, 299_999)).then_some(())
    });
}

/// One client asks for each block of a file, one after the other: what was predicted then, and what
/// of it came true.
fn asked_in_sequence(scratch: &Scratch, predictor: bool) -> (u64, u64) {
    let option = format!("--predictor={predictor}");
    let server = Server::start(&[&SMALL[..], &[&option]].concat(), scratch.path());
    let mut wire = server.connect();
    for block in 0..64u64 {
        let (from, last) = (block * 65_536, (block + 1) * 65_536 - 1);
        wire.send(&get("/a.bin", &format!("Range: bytes={from}-{last}\r\n")));
        let response = wire.response().unwrap();
        let expected = Pattern::new(9).bytes(from, 65_536);
        assert!(response.status == 206 && response.body == expected, "block {block}");
    }
    let told = |name| figure(&server, &["predictor", name]);
    (told("predicted"), told("used") + told("late"))
}

#[test]
fn a_sequence_is_read_before_it_is_asked_for_unless_the_predictor_is_off() {
    let scratch = Scratch::new();
    let path = scratch.pattern("a.bin", 9, 64 * 65_536);
    if !opens_direct(&path) {
        return skipped("a sequence that is foreseen", "the file system refuses O_DIRECT");
    }
    // Of what was just written nothing is read ahead, as it would not be kept.
    std::thread::sleep(2 * pitcrew::limits::SETTLED_FINE);
    assert_eq!(asked_in_sequence(&scratch, false), (0, 0));
    // A machine that stands still for a while makes a cache of eight blocks give some way.
    let tries = [(); 3].map(|()| asked_in_sequence(&scratch, true));
    assert!(tries.iter().all(|(predicted, used)| *predicted > 0 && used <= predicted), "{tries:?}");
    assert!(tries.iter().any(|(predicted, used)| used * 2 >= *predicted), "{tries:?}");
}

#[test]
fn a_limit_of_locked_memory_that_is_too_low_is_said_and_served_with() {
    let scratch = Scratch::new();
    let path = scratch.pattern("a.bin", 8, 3 << 20);
    if !opens_direct(&path) {
        return skipped("a low limit of locked memory", "the file system refuses O_DIRECT");
    }
    // Enough for the rings, and not for their buffers.
    let Some(through) = with_little_memlock(2 << 20) else {
        return skipped("a low limit of locked memory", "setpriv or prlimit cannot lower it here");
    };
    let through: Vec<_> = through.iter().map(String::as_str).collect();
    let arguments = ["--engine", "direct", "--workers", "2"];
    let server = Launch::new(&arguments).through(&through).root(scratch.path()).start();
    intact(&server, "a.bin", 8, 3 << 20);
    let said = server.stderr();
    let count = said.matches("not registered with its ring").count();
    assert_eq!(count, 1, "it is said once for all workers:\n{said}");
    assert!(said.contains("LimitMEMLOCK"), "with the remedy:\n{said}");
    assert_eq!(figure(&server, &["ring", "registered"]), 0);
    assert_eq!(figure(&server, &["pools", "block", "registered_bytes"]), 0);
    assert!(figure(&server, &["techniques", "direct_read", "operations"]) > 0);
    assert_eq!(figure(&server, &["engines", "direct", "declined"]), 0);
}

#[test]
fn a_limit_that_leaves_no_room_for_a_ring_is_named() {
    let Some(through) = with_little_memlock(16 << 10) else {
        return skipped("no locked memory at all", "setpriv or prlimit cannot lower it here");
    };
    let scratch = Scratch::new();
    let through: Vec<_> = through.iter().map(String::as_str).collect();
    let (status, said) = Launch::new(&[]).through(&through).root(scratch.path()).refused();
    assert_eq!(status.code(), Some(6), "{said}");
    assert!(said.contains("LimitMEMLOCK"), "{said}");
}

#[test]
fn memory_is_registered_where_the_limit_allows_it() {
    let scratch = Scratch::new();
    let server = Server::start(&SMALL, scratch.path());
    let registered = figure(&server, &["pools", "block", "registered_bytes"]);
    let told = server.stderr().contains("not registered with its ring");
    assert_eq!(registered, if told { 0 } else { 512 << 10 });
}

#[test]
fn a_file_system_in_memory_is_served_by_another_engine_and_counted() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("a file system in memory", "/dev/shm cannot be written to");
    };
    std::fs::write(memory.path().join("a.bin"), Pattern::new(9).bytes(0, 200_000)).unwrap();
    let server = Server::engine("direct", memory.path());
    intact(&server, "a.bin", 9, 200_000);
    assert_eq!(figure(&server, &["engines", "direct", "responses"]), 0);
    let declined = figure(&server, &["engines", "direct", "declined"]);
    assert!(declined >= 5);
    let reasons = ["no_direct", "unsupported"].map(|why| figure(&server, &["declines", why]));
    assert_eq!(reasons.iter().sum::<u64>(), declined, "each has its reason");
}

/// A loop device that is detached with the value.
struct Loop(String, std::path::PathBuf);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.1).status();
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// A file system on a device with sectors of 4096 bytes; none where that cannot be made.
fn large_sectors(scratch: &Scratch) -> Option<Loop> {
    let image = scratch.join("image");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("losetup")
        .args(["--find", "--show", "--direct-io=off", "--sector-size", "4096"])
        .arg(&image)
        .output()
        .ok()?;
    let device = String::from_utf8(made.stdout).ok()?.trim().to_owned();
    if device.is_empty() {
        return None;
    }
    let mounted = scratch.join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let device = Loop(device, mounted);
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let there = done(Command::new("mkfs.ext4").args(["-q", "-b", "4096"]).arg(&device.0))
        && done(Command::new("mount").arg(&device.0).arg(&device.1));
    there.then_some(device)
}

#[test]
fn sectors_of_4096_bytes_are_read_on_their_alignment() {
    let scratch = Scratch::new();
    let Some(device) = large_sectors(&scratch) else {
        return skipped("a disk with sectors of 4096 bytes", "no loop device can be made here");
    };
    let size = (3 << 20) + 777;
    std::fs::write(device.1.join("a.bin"), Pattern::new(4).bytes(0, size)).unwrap();
    let server = Server::start(&SMALL, &device.1);
    intact(&server, "a.bin", 4, size as u64);
    assert_eq!(figure(&server, &["engines", "direct", "declined"]), 0);
    assert!(figure(&server, &["techniques", "direct_read", "bytes"]) >= size as u64);
    drop(server);
}
