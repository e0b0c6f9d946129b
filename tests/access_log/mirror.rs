//! Bodies that are doubled into the log.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use rustix::process::Signal;

use crate::common::{self, Scratch, Server, get};
use crate::{ask, lines, server};

#[test]
fn a_mirrored_body_has_the_digest_of_its_file() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("bodies")).unwrap();
    let log = scratch.join("access.log");
    scratch.pattern("root/large", 7, 3 << 20);
    let store = scratch.join("bodies");
    let options = ["--engine", "splice", "--mirror", "/large", "--mirror-digest", "sha256"];
    let more = ["--access-log-format", "json", "--mirror-store", store.to_str().unwrap()];
    let path = ["--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &more, &path].concat());
    let file = fs::read(scratch.join("root/large")).unwrap();
    assert!(ask(&server, "/large", "").body == file, "the answer is the file");
    let line: Value = serde_json::from_str(&lines(&log, 1)[0]).unwrap();
    let word = line["mirror"].as_str().unwrap();
    let sum = Command::new("sha256sum").arg(scratch.join("root/large")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let digest = sum.split(' ').next().unwrap();
    let told = server.telemetry();
    let figure = |name| common::figure(&told, &["access_log", name]);
    if figure("mirrored") == 1 {
        let begin = format!("complete:0-{}:sha256={digest}:", file.len() - 1);
        let name = word.strip_prefix(&begin).unwrap_or_else(|| panic!("{word}"));
        assert!(fs::read(store.join(name)).unwrap() == file, "the stored body is the file");
    } else {
        // The log thread was too slow for a body of that size: the record says how far it came.
        assert!(word.starts_with("partial:0-"), "{word}");
        assert_eq!(figure("mirrored_partly"), 1);
    }
    assert!(figure("mirrored_bytes") > 0);
    assert_eq!(ask(&server, "/a.txt", "").body, b"hello\n");
    let line: Value = serde_json::from_str(&lines(&log, 2)[1]).unwrap();
    assert_eq!(line["mirror"], "", "it was not to be mirrored");
}

#[test]
fn who_leaves_has_a_mirror_that_says_how_far_it_came() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    scratch.pattern("root/large", 7, 16 << 20);
    let options = ["--engine", "splice", "--mirror", "/large", "--mirror-digest", "sha256"];
    let path = ["--access-log-format", "json", "--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    let mut leaving = server.connect();
    leaving.send(&get("/large", ""));
    leaving.head().unwrap();
    drop(leaving);
    let line: Value = serde_json::from_str(&lines(&log, 1)[0]).unwrap();
    assert_eq!(line["farewell"], "client_abort", "{line}");
    let word = line["mirror"].as_str().unwrap();
    let (range, digest) = word.strip_prefix("partial:0-").unwrap().split_once(":sha256=").unwrap();
    let last: usize = range.parse().unwrap();
    let file = fs::read(scratch.join("root/large")).unwrap();
    let sum = Sha256::digest(&file[..=last]);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, sum, "the digest is of the bytes that the record names");
}

#[test]
fn what_has_no_file_to_mirror_says_so() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let options = ["--engine", "splice", "--mirror", "/**", "--access-log-format", "json"];
    let path = ["--listing", "--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    scratch.write("root/empty", "");
    // A notice, and what is made in memory: a listing is no file.
    for (number, (target, status)) in
        [("/none", 404), ("/", 200), ("/empty", 200)].iter().enumerate()
    {
        assert_eq!(ask(&server, target, "").status, *status);
        let line: Value = serde_json::from_str(&lines(&log, number + 1)[number]).unwrap();
        assert_eq!((&line["target"], &line["mirror"]), (&(*target).into(), &"none".into()));
    }
    assert_eq!(server.figure(&["access_log", "mirror_dropped"]), 0);
}

#[test]
fn a_mirror_that_nobody_would_see_is_warned_of() {
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let told = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
        command.args(["check", "--mirror", "/**"]).args(options).arg(scratch.join("root"));
        let output = command.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let with_log = |engine, format| {
        told(&["--engine", engine, "--access-log", "stdout", "--access-log-format", format])
    };
    assert!(with_log("copy", "json").contains("nothing is mirrored by the engine copy"));
    assert!(with_log("splice", "combined").contains("$mirror"));
    assert!(told(&["--engine", "splice"]).contains("without an access log"));
    assert_eq!(with_log("splice", "json"), "");
}

#[test]
fn what_is_stored_is_never_overwritten() {
    let scratch = Scratch::new();
    let (store, log) = (scratch.join("bodies"), scratch.join("access.log"));
    fs::create_dir(&store).unwrap();
    scratch.write("root/b.txt", "another\n");
    let server = storing(&scratch, &[]);
    // What a process of the same number has left behind, as they all have in containers.
    fs::write(store.join(format!("{}-1.body", server.id())), "older").unwrap();
    for (index, path) in ["/a.txt", "/b.txt"].into_iter().enumerate() {
        ask(&server, path, "");
        lines(&log, index + 1);
        server.signal(Signal::HUP);
        server.figure_until(&["configuration", "reloads"], |count| count == index as u64 + 1);
    }
    assert_eq!(stored(&store), ["another\n", "hello\n", "older"]);
}

/// A server that stores every body.
fn storing(scratch: &Scratch, more: &[&str]) -> Server {
    let (store, log) = (scratch.join("bodies"), scratch.join("access.log"));
    let (store, log) = (store.to_str().unwrap(), log.to_str().unwrap());
    let options = ["--engine", "splice", "--mirror", "/**", "--mirror-store", store];
    server(scratch, &[&options[..], &["--access-log", log], more].concat())
}

fn stored(store: &Path) -> Vec<String> {
    let files = fs::read_dir(store).unwrap();
    let mut bodies: Vec<_> =
        files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    bodies.sort();
    bodies
}

#[test]
fn a_body_that_cannot_be_stored_is_told_once_and_counted() {
    let scratch = Scratch::new();
    let (store, log) = (scratch.join("bodies"), scratch.join("access.log"));
    fs::create_dir(&store).unwrap();
    let server = storing(&scratch, &["--access-log-format", "json"]);
    let name_of = |number: usize| {
        ask(&server, "/a.txt", "");
        let line: Value = serde_json::from_str(&lines(&log, number)[number - 1]).unwrap();
        let word = line["mirror"].as_str().unwrap().to_owned();
        word.rsplit_once(':').unwrap().1.to_owned()
    };
    let first = name_of(1);
    let process = first.strip_suffix("-1.body").unwrap_or_else(|| panic!("{first}"));
    let place = |number: u32, kind: &str| store.join(format!("{process}-{number}.{kind}"));
    // Where the next two will go, and what the one after them would be called meanwhile.
    let taken = [place(2, "body"), place(3, "body"), place(4, "part")];
    taken.iter().for_each(|path| fs::write(path, "older").unwrap());
    assert!(name_of(2).starts_with("blake3="), "no name is told");
    name_of(3);
    assert_eq!(name_of(4), format!("{process}-5.body"));
    assert_eq!(stored(&store), ["hello\n", "hello\n", "older", "older", "older"]);
    assert_eq!(server.figure(&["access_log", "mirror_unstored"]), 2);
    assert_eq!(server.stderr().matches("a mirrored body cannot be stored").count(), 1);
}
