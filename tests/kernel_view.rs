//! What the kernel saw: an engine that claims a system call has made it.
//!
//! The telemetry is the server's own word; strace(1) or perf-trace(1) is another's.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Pattern, Scratch, Server, get, skipped};
use rustix::process::{Pid, Signal, kill_process};

const SIZE: u64 = 300_007;

#[derive(Clone, Copy, Debug)]
enum Observer {
    Strace,
    Perf,
}

impl Observer {
    /// Watches all threads of a process and writes what it sees to a file.
    fn watch(self, pid: u32, into: &Path) -> Child {
        let pid = pid.to_string();
        let mut command = match self {
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-e", "trace=sendfile,splice", "-p", &pid, "-o"]);
                command
            }
            Self::Perf => {
                let mut command = Command::new("perf");
                command.args(["trace", "-e", "sendfile*,splice", "-p", &pid, "-o"]);
                command
            }
        };
        command.arg(into).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        match self {
            // It says so once it has stopped every thread and let it go again.
            Self::Strace => drop(lines.next()),
            // It says nothing; the caller asks again when this was too short.
            Self::Perf => std::thread::sleep(Duration::from_secs(1)),
        }
        // Read on, so that the observer never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        child
    }
}

/// An observer that can watch a process of ours on this machine.
fn observer() -> Option<Observer> {
    let runs = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if runs("strace", "--version") {
        return Some(Observer::Strace);
    }
    runs("perf", "--version").then_some(Observer::Perf)
}

/// The lines an observer wrote while a file was fetched several times.
fn seen(observer: Observer, engine: &str) -> String {
    let scratch = Scratch::new();
    scratch.pattern("data.bin", 51, SIZE);
    let server = Server::engine(engine, scratch.path());
    let report = scratch.join("seen");
    let mut text = String::new();
    for _ in 0..5 {
        let mut watching = observer.watch(server.id(), &report);
        let mut wire = server.connect();
        for _ in 0..5 {
            wire.send(&get("/data.bin", ""));
            let (_, got, fault) = wire.hashed().unwrap();
            assert_eq!((got, fault), (Pattern::new(51).digest(0, SIZE), None), "{engine}");
        }
        let _ = kill_process(Pid::from_child(&watching), Signal::INT);
        let _ = watching.wait();
        text = fs::read_to_string(&report).unwrap_or_default();
        if !text.is_empty() {
            break;
        }
    }
    text
}

/// Calls of this name that moved something.
fn moved(text: &str, call: &str) -> usize {
    let begins = format!("{call}(");
    let calls = text.lines().filter(|line| {
        line.contains(&begins) || line.contains(&format!("{call}64(")) || {
            // A call that was interrupted by another thread's is told in two lines.
            line.contains(&format!("<... {call} resumed>"))
        }
    });
    calls.filter(|line| result(line).is_some_and(|count| count > 0)).count()
}

/// The number behind the last `= ` of a line.
fn result(line: &str) -> Option<i64> {
    let text = line.rsplit("= ").next()?;
    text.split_whitespace().next()?.parse().ok()
}

#[test]
fn an_engine_makes_the_calls_it_is_named_after() {
    let Some(observer) = observer() else {
        skipped("the kernel's view of the engines", "neither strace nor perf is there");
        return;
    };
    for (engine, call, other) in
        [("sendfile", "sendfile", "splice"), ("splice", "splice", "sendfile")]
    {
        let text = seen(observer, engine);
        if text.is_empty() {
            skipped("the kernel's view of the engines", "nothing can be watched here");
            return;
        }
        assert!(moved(&text, call) >= 5, "{engine} does not use {call}:\n{text}");
        assert_eq!(moved(&text, other), 0, "{engine} uses {other}:\n{text}");
    }
}

/// Lines as strace 6 and perf 6 write them.
#[test]
fn lines_of_an_observer_are_understood() {
    let text = "123 sendfile(9, 10, [0] => [300007], 300007) = 300007\n\
        123 sendfile(9, 10, [0], 300007) = -1 EAGAIN (Resource temporarily unavailable)\n\
        124 <... sendfile resumed> => [5], 5) = 5\n\
        123 splice(5, NULL, 6, NULL, 65536, SPLICE_F_MOVE) = 4096\n\
        1.100 ( 0.012 ms): worker/7 sendfile64(out_fd: 9, in_fd: 10, count: 7) = 7\n";
    assert_eq!((moved(text, "sendfile"), moved(text, "splice")), (3, 1));
}
