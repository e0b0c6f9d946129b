//! FIFOs, programs, terminals and several sinks at once, and what happens when they are slow.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use crate::common::{self, Scratch, Server, Wire, eventually, get, skipped};
use crate::{ask, assert_whole, lines, load, server, text, told};

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

/// Requests whose records fit into a pipe, and such that do not; and how many bytes of them are
/// read before the reader ends.
const LEFT: [(Request, usize, u64, usize); 2] =
    [(short_request, 100, 100, 2500), (long_request, 60, 10, 10_000)];

/// The request with a number.
type Request = fn(usize) -> Vec<u8>;

fn short_request(number: usize) -> Vec<u8> {
    get(&format!("/a.txt?n={number}"), "")
}

/// Asks, and waits until some records are in the pipe.
fn fill(server: &Server, request: Request, count: usize, in_pipe: u64) {
    let mut wire = server.connect();
    for number in 0..count {
        wire.send(&request(number));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    server.figure_until(&["log_sinks", "1", "records"], |records| records >= in_pipe);
}

/// What one reader and the next have got and what the log says is missing is all there was.
fn assert_adds_up(server: &Server, first: &[u8], rest: &str, answers: usize) {
    let first = String::from_utf8(first.to_vec()).unwrap();
    // A line of which it got a part is of no use to anybody.
    let (whole, torn) = first.rsplit_once('\n').unwrap();
    assert!(!torn.is_empty(), "this test has it read a part of a line");
    let all = || whole.lines().chain(rest.lines()).filter(|line| !line.is_empty());
    let marker =
        |line: &str| line.strip_prefix("# pitcrew: missing records: ")?.parse::<u64>().ok();
    let missing: u64 = all().filter_map(marker).sum();
    let told = told(all().filter(|line| !line.starts_with('#')).map(str::to_owned));
    assert!(told.values().all(|count| *count == 1), "a record stands there twice");
    assert!(missing > 0);
    assert_eq!(told.len() as u64 + missing, answers as u64, "{missing} are said to be missing");
    assert_eq!(server.figure(&["log_sinks", "1", "missing"]), missing);
    assert_eq!(server.figure(&["access_log", "dropped"]), 0);
}

#[test]
fn what_a_program_leaves_unread_is_counted_and_the_next_is_told() {
    for (request, count, in_pipe, bytes) in LEFT {
        let scratch = Scratch::new();
        let place = |name: &str| scratch.join(name).display().to_string();
        let script = format!(
            "test -e {ran} && exec cat >>{rest}\n: >{ran}\n\
             until test -e {go}; do sleep 0.01; done\nexec dd bs=1 count={bytes} of={first}",
            ran = place("ran"),
            rest = place("rest"),
            go = place("go"),
            first = place("first"),
        );
        fs::write(scratch.join("program"), script).unwrap();
        let program = format!("|. {}", place("program"));
        let server = server(&scratch, &["--access-log-match", "/a.txt", "--access-log", &program]);
        fill(&server, request, count, in_pipe);
        fs::write(scratch.join("go"), "").unwrap();
        server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
        ask(&server, "/a.txt?n=last", "");
        eventually("the next program gets the last record", || {
            text(&scratch.join("rest")).contains("n=last ").then_some(())
        });
        let first = fs::read(scratch.join("first")).unwrap();
        assert_eq!(first.len(), bytes);
        assert_adds_up(&server, &first, &text(&scratch.join("rest")), count + 1);
    }
}

#[test]
fn what_the_reader_of_a_fifo_leaves_unread_is_counted_and_the_next_is_told() {
    for (request, count, in_pipe, bytes) in LEFT {
        let scratch = Scratch::new();
        let (server, mut reader) = with_a_reader(&scratch, &[]);
        fill(&server, request, count, in_pipe);
        let mut first = vec![0; bytes];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        // That nobody reads is found with the next record.
        ask(&server, "/a.txt?n=next", "");
        server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
        let mut reader = BufReader::new(File::open(scratch.join("fifo")).unwrap());
        ask(&server, "/a.txt?n=last", "");
        let mut rest = String::new();
        while !rest.contains("n=last ") {
            assert_ne!(reader.read_line(&mut rest).unwrap(), 0, "{rest}");
        }
        assert_adds_up(&server, &first, &rest, count + 2);
    }
}

#[test]
fn what_a_program_leaves_unread_at_the_end_is_told() {
    let scratch = Scratch::new();
    let (program, go) = (scratch.join("program"), scratch.join("go"));
    fs::write(&program, format!("until test -e {}; do sleep 0.01; done", go.display())).unwrap();
    let program = format!("|. {}", program.display());
    let options = ["--access-log-match", "/a.txt", "--access-log", &program];
    let mut server = server(&scratch, &options);
    fill(&server, short_request, 3, 3);
    server.signal(Signal::TERM);
    fs::write(&go, "").unwrap();
    assert!(server.wait().success());
    let told = server.stderr();
    assert!(told.contains("ends without these records") && told.contains("records=3"), "{told}");
}

/// A server whose log goes to a FIFO, and the reader of that, which has read nothing yet.
fn with_a_reader_that_reads_nothing(scratch: &Scratch, full: &str) -> (Server, File) {
    let options = ["--access-log-full", full, "--access-log-wait", "60s"];
    with_a_reader(scratch, &[&options[..], &["--telemetry-listen", "127.0.0.1:0"]].concat())
}

fn with_a_reader(scratch: &Scratch, options: &[&str]) -> (Server, File) {
    let fifo = scratch.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let opening = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let log = ["--access-log-match", "/a.txt", "--access-log", fifo.to_str().unwrap()];
    let server = server(scratch, &[options, &log].concat());
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
