//! FIFOs, programs, terminals and several sinks at once, and what happens when they are slow.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use crate::common::{self, Scratch, Server, Wire, eventually, get, skipped};
use crate::{ask, assert_whole, lines, load, server, text};

#[test]
fn several_sinks_get_the_same_and_a_slow_one_holds_none_back() {
    let scratch = Scratch::new();
    let (log, other, fifo) = (scratch.join("a.log"), scratch.join("b.log"), scratch.join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // It is read a little and then no more.
    let slow = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let program = format!("|cat >{}", other.display());
    let sinks = [log.to_str().unwrap(), &program, fifo.to_str().unwrap()];
    let options: Vec<_> = sinks.iter().flat_map(|sink| ["--access-log", sink]).collect();
    let mut server = server(&scratch, &options);
    let slow = slow.join().unwrap();
    let stop = AtomicBool::new(false);
    let address = server.address();
    let answers = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(address, &stop));
        // More than the FIFO and the pipe before it hold.
        server.figure_until(&["log_sinks", "3", "missing"], |missing| missing > 100);
        stop.store(true, Ordering::Relaxed);
        loading.join().unwrap()
    });
    assert_whole(&server, answers, std::slice::from_ref(&log));
    assert_whole(&server, answers, &[other]);
    // The slow one goes on behind a word of what it has missed.
    let reading = std::thread::spawn(move || {
        BufReader::new(slow).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    ask(&server, "/a.txt?n=last", "");
    eventually("the slow sink goes on", || {
        ask(&server, "/a.txt?n=last", "");
        let told = server.telemetry();
        let of = |name| common::figure(&told, &["log_sinks", name, "records"]);
        let missing = common::figure(&told, &["log_sinks", "3", "missing"]);
        (of("3") + missing + 3 > of("1")).then_some(())
    });
    server.signal(Signal::TERM);
    server.wait();
    let got = reading.join().unwrap();
    let missing: u64 = got
        .iter()
        .filter_map(|line| line.strip_prefix("# pitcrew: missing records: "))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let records = got.iter().filter(|line| line.ends_with("\"-\" \"-\"")).count() as u64;
    assert_eq!(records + missing, text(&log).lines().count() as u64);
}

#[test]
fn a_fifo_without_a_reader_is_told_once_and_found_later() {
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let server = server(&scratch, &["--access-log", fifo.to_str().unwrap()]);
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(ask(&server, "/a.txt", "").status, 200);
    assert_eq!(server.stderr().matches("FIFO that nobody reads").count(), 1);
    let mut reader = BufReader::new(File::open(&fifo).unwrap());
    let mut line = String::new();
    eventually("a record comes", || {
        ask(&server, "/a.txt", "");
        reader.read_line(&mut line).ok().filter(|count| *count > 0)
    });
    eventually("it is told", || server.stderr().contains("is written again").then_some(()));
}

#[test]
fn a_program_that_ends_at_once_is_told_once_and_started_again() {
    let scratch = Scratch::new();
    let (runs, works) = (scratch.join("runs"), scratch.join("works"));
    let (log, program) = (scratch.join("log"), scratch.join("program"));
    let script = format!(
        "echo run >>{}; test -e {} || exit 3; exec cat >>{}",
        runs.display(),
        works.display(),
        log.display()
    );
    fs::write(&program, script).unwrap();
    let server = server(&scratch, &["--access-log", &format!("|. {}", program.display())]);
    lines(&runs, 2);
    assert_eq!(ask(&server, "/a.txt", "").status, 200);
    assert_eq!(server.stderr().matches("its program ended (exit status: 3)").count(), 1);
    fs::write(&works, "").unwrap();
    eventually("the program gets records", || {
        ask(&server, "/a.txt", "");
        text(&log).contains("/a.txt").then_some(())
    });
}

/// A server whose log goes to a FIFO, and the reader of that, which has read nothing yet.
fn with_a_reader_that_reads_nothing(scratch: &Scratch, full: &str) -> (Server, File) {
    let fifo = scratch.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let opening = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let options = ["--access-log-full", full, "--access-log-wait", "60s"];
    let telemetry = ["--telemetry-listen", "127.0.0.1:0", "--access-log-match", "/a.txt"];
    let path = ["--access-log", fifo.to_str().unwrap()];
    let server = server(scratch, &[&options[..], &telemetry, &path].concat());
    (server, opening.join().unwrap())
}

/// A request with a record of some kilobytes.
fn long_request(number: usize) -> Vec<u8> {
    get(&format!("/a.txt?n={number}&x={}", "x".repeat(4000)), "")
}

const MORE_THAN_PIPES_HOLD: usize = 600;

#[test]
fn a_dead_reader_never_slows_an_answer_under_drop() {
    let scratch = Scratch::new();
    let (server, _reader) = with_a_reader_that_reads_nothing(&scratch, "drop");
    let mut wire = server.connect();
    for number in 0..MORE_THAN_PIPES_HOLD {
        wire.send(&long_request(number));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    // Nobody has read a byte, and nobody waited: what found no room is counted.
    assert!(figure_apart(&server, "dropped") > 0);
    assert_eq!(figure_apart(&server, "waits"), 0);
}

#[test]
fn requests_wait_for_the_log_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let (server, reader) = with_a_reader_that_reads_nothing(&scratch, "wait");
    let mut wire = server.connect();
    let answered = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&answered);
    let asking = std::thread::spawn(move || {
        for number in 0..MORE_THAN_PIPES_HOLD {
            wire.send(&long_request(number));
            assert_eq!(wire.response().unwrap().status, 200);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    // Reading begins when a request waits; each record comes, and once. That the listener for
    // telemetry answers meanwhile is a part of it.
    eventually("requests wait", || (figure_apart(&server, "waits") > 0).then_some(()));
    let before = answered.load(Ordering::Relaxed);
    assert!(before < MORE_THAN_PIPES_HOLD as u64, "nobody waited");
    let reading = std::thread::spawn(move || {
        let mut numbers = HashMap::new();
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            let Some((_, rest)) = line.split_once("?n=") else { continue };
            let number: usize = rest.split_once('&').unwrap().0.parse().unwrap();
            *numbers.entry(number).or_insert(0) += 1;
            if numbers.len() == MORE_THAN_PIPES_HOLD {
                break;
            }
        }
        numbers
    });
    asking.join().unwrap();
    let numbers = reading.join().unwrap();
    assert!(numbers.values().all(|count| *count == 1));
    assert_eq!(figure_apart(&server, "dropped"), 0);
}

#[test]
fn a_file_gets_every_record_beside_a_fifo_that_nobody_reads_while_a_full_log_is_waited_for() {
    let scratch = Scratch::new();
    let (log, fifo) = (scratch.join("a.log"), scratch.join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let sinks = ["--access-log", fifo.to_str().unwrap(), "--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&["--access-log-full", "wait"][..], &sinks].concat());
    let mut wire = server.connect();
    for number in 0..MORE_THAN_PIPES_HOLD {
        wire.send(&long_request(number));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    // Hundreds of records find no room in the FIFO's pipe; it is waited for once and not for each.
    assert_eq!(lines(&log, MORE_THAN_PIPES_HOLD).len(), MORE_THAN_PIPES_HOLD);
    assert!(server.figure(&["log_sinks", "1", "missing"]) > 0);
    assert_eq!(server.figure(&["log_sinks", "2", "missing"]), 0);
    assert_eq!(server.figure(&["access_log", "dropped"]), 0);
}

/// A figure of the log, by the listener for telemetry.
fn figure_apart(server: &Server, name: &str) -> u64 {
    let mut wire = server.for_telemetry()[0].connect();
    wire.send(&get("/telemetry", "Connection: close\r\nAccept: application/json\r\n"));
    let told = serde_json::from_slice(&wire.response().unwrap().body).unwrap();
    common::figure(&told, &["access_log", name])
}

#[test]
fn where_splice_is_refused_it_writes_and_says_so_once() {
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let (out, told) = (scratch.join("out"), scratch.join("told"));
    // splice(2) refuses a file that was opened to append.
    let append = fs::OpenOptions::new().create(true).append(true).open(&out).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_pitcrew"))
        .args(["--workers", "1", "--listen", "127.0.0.1:0", "--access-log", "stdout"])
        .args(["--access-log-flush", "0"])
        .arg(scratch.join("root"))
        .current_dir("/")
        .env("NO_COLOR", "1")
        .stdout(append)
        .stderr(File::create(&told).unwrap())
        .spawn()
        .unwrap();
    let _child = Ends(child);
    let address: SocketAddr = eventually("it listens", || {
        let all = text(&out);
        let (line, _) = all.split_once("listening on http://")?.1.split_once('\n')?;
        line.trim_end_matches('/').parse().ok()
    });
    let mut wire = Wire::tcp(address);
    for _ in 0..3 {
        wire.send(&get("/a.txt", ""));
        wire.response().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let records = || text(&out).matches("\"GET /a.txt HTTP/1.1\" 200 6").count();
    eventually("the records are written", || (records() == 3).then_some(()));
    assert_eq!(text(&told).matches("splice(2) is refused").count(), 1, "{}", text(&told));
}

/// A process that ends with the test, however that does.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_terminal_gets_every_record() {
    let scratch = Scratch::new();
    let (name, shown) = (scratch.join("name"), scratch.join("shown"));
    let shell = format!("tty >{}; exec sleep 1000", name.display());
    // It opens a terminal, and writes what is shown there to a file.
    let script = Command::new("script")
        .args(["--quiet", "--flush", "--command", &shell])
        .arg(&shown)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let Ok(script) = script else {
        return skipped("a terminal as a sink", "script(1) is not there");
    };
    let _script = Ends(script);
    let terminal = eventually("a terminal", || {
        text(&name).strip_suffix('\n').map(str::to_owned).filter(|name| name.starts_with("/dev/"))
    });
    let server = server(&scratch, &["--access-log", &terminal]);
    for number in 0..20 {
        ask(&server, &format!("/a.txt?n={number}"), "");
    }
    let count = |number| text(&shown).matches(&format!("?n={number} HTTP/1.1\" 200 6 ")).count();
    eventually("every record is shown", || (0..20).all(|number| count(number) > 0).then_some(()));
    assert!((0..20).all(|number| count(number) == 1), "{}", text(&shown));
    // Kernels since 5.11 splice into terminals again; where it is refused, that is said once.
    let refused = usize::from(!splices_into(Path::new(&terminal)));
    assert_eq!(server.stderr().matches("splice(2) is refused").count(), refused);
}

/// Whether splice(2) moves a byte there.
fn splices_into(place: &Path) -> bool {
    let file = File::options().write(true).open(place).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&writer, b"\n").unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    rustix::pipe::splice(&reader, None, &file, None, 1, flags).is_ok()
}
