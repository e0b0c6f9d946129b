//! `pitcrew log` over the log of a real server.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use common::{Launch, Scratch, Server, eventually, get};

fn log(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
    command.arg("log").args(arguments).env_remove("PITCREW_CONFIG");
    command
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// A server that writes a log, and the log.
fn serving(format: &str) -> (Scratch, Server, String) {
    let scratch = Scratch::new();
    scratch.write("root/small.txt", "small\n");
    let log = scratch.join("access.log").display().to_string();
    let options = ["--access-log", &log, "--access-log-format", format, "--workers", "1"];
    let server = Launch::new(&options).root(&scratch.join("root")).start();
    (scratch, server, log)
}

fn ask(server: &Server, paths: &[&str]) {
    let mut wire = server.connect();
    for path in paths {
        wire.send(&get(path, ""));
        wire.response().unwrap();
    }
}

fn written(log: &str, lines: usize) {
    eventually("the records are written", || {
        (std::fs::read_to_string(log).ok()?.lines().count() >= lines).then_some(())
    });
}

#[test]
fn records_are_shown_in_columns_and_filtered() {
    let (_scratch, server, path) = serving("json");
    ask(&server, &["/small.txt", "/missing", "/small.txt?a"]);
    written(&path, 3);
    let (out, err) = told(&log(&[&path]).output().unwrap());
    assert_eq!(err, "");
    assert!(out.starts_with("time  ") && out.lines().count() == 4, "{out}");
    assert!(!out.contains('\x1b'), "colour without a terminal");
    let row = out.lines().nth(1).unwrap();
    for part in ["127.0.0.1", " 200 ", "uring", "complete", "GET /small.txt"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    let rows = |filters: &[&str]| {
        let (out, _) = told(&log(&[&[&*path], filters].concat()).output().unwrap());
        out.lines().count() - 1
    };
    assert_eq!(rows(&["--status", "4xx"]), 1);
    assert_eq!(rows(&["--status", "200,404"]), 3);
    assert_eq!(rows(&["--path", "/small.*"]), 2);
    assert_eq!(rows(&["--engine", "splice"]), 0);
    assert_eq!(rows(&["--farewell", "complete", "--slower", "1h"]), 0);
    assert_eq!(rows(&["--lines", "1"]), 1);
    // As it is, from the standard input.
    let mut child = log(&["--format", "json", "--status", "404"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&path).unwrap()).unwrap();
    let (out, _) = told(&child.wait_with_output().unwrap());
    let record: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
    assert_eq!(record["target"], "/missing");
}

#[test]
fn a_log_is_followed_over_a_rotation() {
    let (scratch, server, path) = serving("json");
    ask(&server, &["/small.txt?1"]);
    written(&path, 1);
    let mut child = log(&["--follow", &path]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || lines.next().expect("it goes on");
    assert!(next().starts_with("time"));
    assert!(next().ends_with("/small.txt?1"));
    ask(&server, &["/small.txt?2"]);
    assert!(next().ends_with("/small.txt?2"));
    std::fs::rename(&path, scratch.join("access.log.1")).unwrap();
    server.signal(rustix::process::Signal::USR1);
    eventually("the log is opened again", || std::fs::exists(&path).unwrap().then_some(()));
    ask(&server, &["/small.txt?3"]);
    assert!(next().ends_with("/small.txt?3"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_shown_is_told() {
    let (_scratch, server, path) = serving("combined");
    ask(&server, &["/small.txt", "/small.txt"]);
    written(&path, 2);
    let output = log(&[&path]).output().unwrap();
    let (out, err) = told(&output);
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(err.contains("line 1: it is of the format common or combined"), "{err}");
    assert!(err.contains("access-log-format = \"json\"") && err.contains("2 lines"), "{err}");
    for (arguments, says) in [
        (&["/no/such"][..], "'/no/such' cannot be read"),
        (&["--status", "9xx", &path], "write a status as"),
        (&["--path", "x", &path], "--path"),
        (&["--follow"], "FILE"),
    ] {
        let output = log(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(told(&output).1.contains(says), "{arguments:?}: {}", told(&output).1);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let (_scratch, server, path) = serving("json");
    ask(&server, &["/small.txt"; 50]);
    written(&path, 50);
    let many = std::fs::read_to_string(&path).unwrap().repeat(200);
    std::fs::write(&path, many).unwrap();
    let mut child = log(&[&path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
