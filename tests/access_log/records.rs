//! What a record tells, and of which answers there is one.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{self, ENGINES, Launch, Scratch, get, skipped};
use crate::{ask, lines, server, text};

#[test]
fn a_combined_record_is_as_nginx_writes_it() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
    ask(&server, "/a.txt?x=1", "Referer: http://r/\"\r\nUser-Agent: me\\you\u{ff}\r\n");
    ask(&server, "/none", "");
    let lines = lines(&log, 2);
    let (address, rest) = lines[0].split_once(" - - [").unwrap();
    assert_eq!(address, "127.0.0.1");
    let (time, rest) = rest.split_once("] ").unwrap();
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    let fields = r#""http://r/\x22" "me\x5cyou\xc3\xbf""#;
    assert_eq!(rest, format!("\"GET /a.txt?x=1 HTTP/1.1\" 200 6 {fields}"));
    assert!(lines[1].contains("\"GET /none HTTP/1.1\" 404 "), "{}", lines[1]);
}

#[test]
fn every_engine_records_every_answer_however_it_ends() {
    for engine in ENGINES {
        let scratch = Scratch::new();
        let log = scratch.join("access.log");
        scratch.pattern("root/large", 1, 8 << 20);
        let options =
            ["--engine", engine, "--access-log-format", "json", "--drain-timeout", "300ms"];
        let path = log.to_str().unwrap();
        let mut server = server(&scratch, &[&options[..], &["--access-log", path]].concat());
        ask(&server, "/a.txt", "Range: bytes=1-3\r\n");
        let mut leaving = server.connect();
        leaving.send(&get("/large", ""));
        leaving.head().unwrap();
        drop(leaving);
        let mut wrong = server.connect();
        wrong.send(b"NONSENSE\n\n");
        wrong.response().unwrap();
        lines(&log, 3);
        let mut staying = server.connect();
        staying.send(&get("/large", ""));
        staying.head().unwrap();
        server.signal(Signal::TERM);
        server.wait();
        let told: Vec<Value> =
            text(&log).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |farewell: &str| {
            told.iter().find(|one| one["farewell"] == farewell && one["target"] == "/large")
        };
        assert_eq!(told.len(), 4, "{engine}: {told:#?}");
        let small = told.iter().find(|one| one["target"] == "/a.txt").unwrap();
        assert_eq!((&small["status"], &small["range"]), (&206.into(), &"1-3".into()));
        assert_eq!((&small["body_bytes"], &small["body_owed"]), (&3.into(), &3.into()));
        assert_eq!(small["farewell"], "complete");
        let served = small["engine"].as_str().unwrap();
        let by_others = ["direct", "auto"].contains(&engine);
        assert!(served == engine || by_others && served != "auto", "{engine}: {served}");
        for end in ["client_abort", "shutdown"] {
            let cut = of(end).unwrap_or_else(|| panic!("{engine} {end}: {told:#?}"));
            assert_eq!(cut["body_owed"], 8 << 20);
            assert!(cut["body_bytes"].as_u64().unwrap() < 8 << 20, "{cut}");
        }
        assert!(told.iter().any(|one| one["status"] == 400), "{told:#?}");
    }
}

#[test]
fn records_are_chosen_by_status_path_and_sample() {
    let cases: [(&[&str], usize); 4] = [
        (&["--access-log-status", "4xx"], 3),
        (&["--access-log-match", "/a.*"], 3),
        (&["--access-log-sample", "2"], 3),
        (&["--access-log-status", "404,200", "--access-log-match", "/**/b"], 3),
    ];
    for (options, count) in cases {
        let scratch = Scratch::new();
        let log = scratch.join("access.log");
        let path = ["--access-log", log.to_str().unwrap()];
        let mut server = server(&scratch, &[options, &path].concat());
        for _ in 0..3 {
            ask(&server, "/a.txt", "");
            ask(&server, "/b", "");
        }
        server.signal(Signal::TERM);
        server.wait();
        assert_eq!(text(&log).lines().count(), count, "{options:?}: {}", text(&log));
    }
}

#[test]
fn records_of_many_requests_share_a_system_call() {
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let log = scratch.join("access.log");
    let arguments = ["--workers", "1", "--access-log", log.to_str().unwrap()];
    let server = Launch::new(&arguments).root(&scratch.join("root")).start();
    let mut wire = server.connect();
    for _ in 0..500 {
        wire.send(&get("/a.txt", ""));
        wire.response().unwrap();
    }
    lines(&log, 500);
    let told = server.telemetry();
    let figure = |path: &[&str]| common::figure(&told, path);
    let records = figure(&["access_log", "records"]);
    let writes = figure(&["techniques", "pipe_write", "operations"]);
    assert!(records >= 500 && writes * 4 < records, "{writes} writes for {records} records");
}

#[test]
fn the_kernel_sees_no_call_for_each_record() {
    let runs = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    if !runs.is_ok_and(|status| status.success()) {
        return skipped("the kernel's view of the log", "strace is not there");
    }
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let (log, seen) = (scratch.join("access.log"), scratch.join("seen"));
    let arguments = ["--workers", "1", "--access-log", log.to_str().unwrap()];
    let server = Launch::new(&arguments).root(&scratch.join("root")).start();
    // Everything that the log is written by, in the worker and in the log thread.
    let calls = "trace=write,writev,pwrite64,pwritev,pwritev2,splice,tee,fcntl,fstat,newfstatat,\
        lseek,poll,ppoll,futex";
    let mut watching = Command::new("strace")
        .args(["-f", "-e", calls, "-p", &server.id().to_string(), "-o"])
        .arg(&seen)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says so once it has stopped every thread and let it go again.
    let mut told = BufReader::new(watching.stderr.take().unwrap()).lines();
    told.next();
    std::thread::spawn(move || told.for_each(drop));
    const RECORDS: usize = 3200;
    let mut wire = server.connect();
    for _ in 0..RECORDS / 16 {
        wire.send(&get("/a.txt", "").repeat(16));
        for _ in 0..16 {
            wire.response().unwrap();
        }
    }
    lines(&log, RECORDS);
    kill_process(Pid::from_child(&watching), Signal::INT).unwrap();
    watching.wait().unwrap();
    let seen = text(&seen);
    let splices = seen.lines().filter(|line| line.contains("splice(")).count();
    assert!(splices > 0, "it was written in another way: {seen}");
    let calls = seen.lines().filter(|line| line.contains('(')).count();
    assert!(calls * 8 < RECORDS, "{calls} calls for {RECORDS} records");
}

#[test]
fn numbers_of_connections_go_on_over_a_reload() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let options = ["--access-log-format", "$connection", "--access-log-match", "/a.txt"];
    let server =
        server(&scratch, &[&options[..], &["--access-log", log.to_str().unwrap()]].concat());
    for count in 1..=9 {
        ask(&server, "/a.txt", "");
        lines(&log, count);
        if count % 3 == 0 {
            server.signal(Signal::HUP);
            server.figure_until(&["configuration", "reloads"], |done| done == count as u64 / 3);
        }
    }
    let numbers: Vec<u64> = lines(&log, 9).iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}
