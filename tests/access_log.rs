//! The access log of a running server.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "access_log/files.rs"]
mod files;
#[path = "access_log/mirror.rs"]
mod mirror;
#[path = "access_log/records.rs"]
mod records;
#[path = "access_log/sinks.rs"]
mod sinks;

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Fault, Launch, Scratch, Server, Wire, eventually, get};

/// A server of one small file, with this log.
fn server(scratch: &Scratch, log: &[&str]) -> Server {
    scratch.write("root/a.txt", "hello\n");
    let arguments = [&["--workers", "1", "--access-log-flush", "0"][..], log].concat();
    Launch::new(&arguments).root(&scratch.join("root")).start()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Lines of a log, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{count} lines in {}", path.display()), || {
        let lines: Vec<_> = text(path).lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn ask(server: &Server, path: &str, fields: &str) -> common::Response {
    let mut wire = server.connect();
    wire.send(&get(path, &format!("Connection: close\r\n{fields}")));
    wire.response().unwrap()
}

/// Asks for `/a.txt?n=NUMBER` on several connections until it is told to stop; how many answers
/// came.
fn load(address: SocketAddr, stop: &AtomicBool) -> u64 {
    answered(address, stop).values().filter(|fault| fault.is_none()).count() as u64
}

/// The same; the number of each request, and what came in place of an answer.
fn answered(address: SocketAddr, stop: &AtomicBool) -> HashMap<String, Option<Fault>> {
    let visit = |client: u64| {
        let (mut wire, mut all) = (Wire::tcp(address), Vec::new());
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let number = format!("{client}-{number}");
            let sent = wire.try_send(&get(&format!("/a.txt?n={number}"), ""));
            let answer = sent.map_err(|_| Fault::Closed).and_then(|()| wire.response());
            all.push((number, answer.as_ref().err().cloned()));
            if answer.is_ok_and(|answer| !answer.says_close()) {
                continue;
            }
            // The server was killed, or another generation of it goes on.
            let Ok(next) = TcpStream::connect(address) else { break };
            wire = Wire::over_tcp(next);
        }
        all
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|client| scope.spawn(move || visit(client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// How often each request stands in some lines.
fn told(lines: impl IntoIterator<Item = String>) -> HashMap<String, u64> {
    let mut told = HashMap::new();
    for line in lines {
        let (_, rest) = line.split_once("?n=").expect(&line);
        let (number, _) = rest.split_once(' ').expect(&line);
        *told.entry(number.to_owned()).or_default() += 1;
    }
    told
}

/// Every answer stands in the files once.
fn assert_whole(server: &Server, answers: u64, files: &[PathBuf]) {
    let all =
        || files.iter().flat_map(|file| text(file).lines().map(str::to_owned).collect::<Vec<_>>());
    let dropped = server.figure(&["access_log", "dropped"]);
    assert_eq!(dropped, 0, "the log was too slow for this test");
    eventually("every record is written", || {
        (all().filter(|line| line.contains("?n=")).count() as u64 >= answers).then_some(())
    });
    let told = told(all().filter(|line| line.contains("?n=")));
    assert!(told.values().all(|count| *count == 1), "a record stands there twice");
    assert_eq!(told.len() as u64, answers);
    assert!(all().all(|line| !line.starts_with('#')), "nothing is missing");
}
