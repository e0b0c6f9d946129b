//! The view in a terminal, over a server that runs.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Scratch, Server, get};

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pitcrew")).arg("top").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn one_table_shows_the_load_of_the_server() {
    let scratch = Scratch::new();
    scratch.pattern("large.bin", 3, 1 << 20);
    let server = Server::engine("splice", scratch.path());
    let stop = AtomicBool::new(false);
    let (url, place) = (server.url("/telemetry"), server.address().to_string());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut wire = server.connect();
            while !stop.load(Ordering::Relaxed) {
                wire.send(&get("/large.bin", ""));
                wire.response().unwrap();
            }
        });
        for place in [&url, &place] {
            let output = top(&["--once", "--interval", "500ms", place]);
            let text = stdout(&output);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!text.contains('\x1b'), "what is piped has no colour");
            for words in ["engine splice", "splice_out", "longest stall", "phases", "farewells"] {
                assert!(text.contains(words), "{words}:\n{text}");
            }
            assert!(!text.contains(" 0 /s"), "the load is seen:\n{text}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_socket_is_looked_at_by_its_path() {
    let scratch = Scratch::new();
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("t.sock");
    let listen = format!("unix:{}", socket.display());
    let flags = ["--telemetry-listen", &listen, "--telemetry-path", "/figures", "--workers", "1"];
    let _server = Server::start(&flags, scratch.path());
    for place in [&*listen, socket.to_str().unwrap()] {
        let output = top(&["--once", "--interval", "100ms", "--path", "/figures", place]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(stdout(&output).contains("1 worker "));
    }
    let output = top(&["--once", &listen]);
    assert_eq!(output.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&output.stderr).contains("answers 404"));
}

#[test]
fn a_server_that_is_not_there_has_its_exit_code_and_bad_words_have_theirs() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let output = top(&[&address]);
    assert_eq!(output.status.code(), Some(10));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("does not answer: nobody listens there"), "{said}");
    for (arguments, words) in [
        (&["https://a.example"][..], "there is no TLS"),
        (&["--interval", "1"], "has no unit"),
        (&["--interval", "1ms"], "out of range"),
        (&["--path", "x"], "is no path"),
    ] {
        let output = top(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
}

/// Tables follow each other, and a reader that has seen enough is no fault.
#[test]
fn piped_tables_come_once_in_each_interval_until_the_reader_ends() {
    use std::io::{BufRead, BufReader};
    let server = Server::engine("sendfile", Scratch::new().path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_pitcrew"))
        .args(["top", "--interval", "100ms", &server.url("/")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let titles = lines.map_while(Result::ok).filter(|line| line.contains("engine sendfile"));
    assert_eq!(titles.take(3).count(), 3);
    // The pipe is closed with the iterator.
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
