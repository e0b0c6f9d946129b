//! The access log of a running server.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{ENGINES, Launch, Scratch, Server, Wire, eventually, get, skipped};
use rustix::process::Signal;
use serde_json::Value;

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
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..3u64 {
            let count = &count;
            scope.spawn(move || {
                let mut wire = Wire::tcp(address);
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    wire.send(&get(&format!("/a.txt?n={client}-{number}"), ""));
                    let answer = wire.response();
                    count.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
                    if answer.is_ok_and(|answer| !answer.says_close()) {
                        continue;
                    }
                    // The server was killed, or another generation of it goes on.
                    let Ok(next) = TcpStream::connect(address) else { break };
                    wire = Wire::over_tcp(next);
                }
            });
        }
    });
    count.load(Ordering::Relaxed)
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
fn a_file_that_is_rotated_from_outside_loses_and_doubles_nothing() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
    let stop = AtomicBool::new(false);
    let address = server.address();
    let (answers, files) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(address, &stop));
        let mut files: Vec<PathBuf> = Vec::new();
        for (number, signal) in [Signal::USR1, Signal::HUP, Signal::USR1].into_iter().enumerate() {
            lines(&log, 50);
            let moved = scratch.join(&format!("access.log.{number}"));
            fs::rename(&log, &moved).unwrap();
            server.signal(signal);
            eventually("the log is opened again", || log.exists().then_some(()));
            files.push(moved);
        }
        lines(&log, 50);
        stop.store(true, Ordering::Relaxed);
        files.push(log.clone());
        (loading.join().unwrap(), files)
    });
    assert_whole(&server, answers, &files);
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

#[test]
fn archives_by_size_lose_and_double_nothing() {
    for how in ["rename", "copy"] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("logs")).unwrap();
        let log = scratch.join("logs/access.log");
        let options = ["--access-log-rotate-size", "16KiB", "--access-log-archive", how];
        let path = ["--access-log", log.to_str().unwrap()];
        let server = server(&scratch, &[&options[..], &path].concat());
        let stop = AtomicBool::new(false);
        let address = server.address();
        let archives = || {
            let found = fs::read_dir(scratch.join("logs")).unwrap();
            found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let answers = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(address, &stop));
            eventually("some archives", || (archives().len() > 4).then_some(()));
            stop.store(true, Ordering::Relaxed);
            loading.join().unwrap()
        });
        server.figure_until(&["log_sinks", "1", "records"], |records| records >= answers);
        assert_whole(&server, answers, &archives());
    }
}

#[test]
fn archives_are_compressed_and_kept_to_a_count() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("logs")).unwrap();
    let log = scratch.join("logs/access.log");
    let options = ["--access-log-rotate-size", "4KiB", "--access-log-keep", "2"];
    let path = ["--access-log-compress", "--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(server.address(), &stop));
        server.figure_until(&["log_sinks", "1", "reopened"], |count| count > 5);
        stop.store(true, Ordering::Relaxed);
        loading.join().unwrap();
    });
    eventually("two archives are left, compressed", || {
        let names = fs::read_dir(scratch.join("logs")).unwrap();
        let names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let compressed = names.iter().filter(|name| name.ends_with(".gz")).count();
        (names.len() == 3 && compressed == 2).then_some(())
    });
}

#[test]
fn a_durable_record_survives_a_kill() {
    for (durability, flags) in [("data", 0o10_000), ("full", 0o4_010_000)] {
        let scratch = Scratch::new();
        let log = scratch.join("access.log");
        let path = ["--access-log", log.to_str().unwrap()];
        let options = ["--access-log-durability", durability];
        let mut server = server(&scratch, &[&options[..], &path].concat());
        // A plain descriptor tells the kind of file before the durable one is opened.
        eventually("the log is durable", || {
            (open_flags(&server, &log) & 0o4_010_000 == flags).then_some(())
        });
        let stop = AtomicBool::new(false);
        let address = server.address();
        let durable = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(address, &stop));
            let durable = server.figure_until(&["log_sinks", "1", "durable"], |last| last > 200);
            let told = server.telemetry();
            assert!(common::figure(&told, &["log_sinks", "1", "synchronous"]) > 0);
            server.signal(Signal::KILL);
            stop.store(true, Ordering::Relaxed);
            loading.join().unwrap();
            durable
        });
        server.wait();
        let all = text(&log);
        let whole = all.rsplit_once('\n').map_or("", |(whole, _)| whole);
        assert!(whole.lines().count() as u64 >= durable, "{durable} records were durable");
        let told = told(whole.lines().filter(|line| line.contains("?n=")).map(str::to_owned));
        assert!(told.values().all(|count| *count == 1), "a record stands there twice");
    }
}

/// The flags that the server's descriptor of a file was opened with.
fn open_flags(server: &Server, path: &Path) -> u32 {
    let descriptors = format!("/proc/{}/fd", server.id());
    let told = eventually("the log is open", || {
        let all = fs::read_dir(&descriptors).unwrap().map(|entry| entry.unwrap().path());
        let mut found = all.filter(|fd| fs::read_link(fd).is_ok_and(|to| to == path));
        let number = found.next()?.file_name()?.to_str()?.to_owned();
        // It may be closed by now.
        fs::read_to_string(format!("/proc/{}/fdinfo/{number}", server.id())).ok()
    });
    let flags = told.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap()
}

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

#[test]
fn a_directory_that_goes_and_comes_back_is_written_again() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("logs")).unwrap();
    let log = scratch.join("logs/access.log");
    let server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
    ask(&server, "/a.txt", "");
    lines(&log, 1);
    fs::remove_dir_all(scratch.join("logs")).unwrap();
    ask(&server, "/a.txt?n=kept", "");
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(server.stderr().matches("its directory is not there").count(), 1);
    fs::create_dir(scratch.join("logs")).unwrap();
    eventually("what waited is written", || text(&log).contains("n=kept").then_some(()));
}

#[test]
fn a_full_disk_is_told_once_and_serving_goes_on() {
    let scratch = Scratch::new();
    let disk = scratch.join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .output()
        .unwrap();
    if !mount.status.success() {
        return skipped("a full disk", "a small file system cannot be mounted here");
    }
    let ballast = disk.join("ballast");
    let log = disk.join("access.log");
    let run = || {
        let mut server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
        fs::write(&ballast, vec![0; 48 << 10]).unwrap();
        let stop = AtomicBool::new(false);
        let address = server.address();
        let answers = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(address, &stop));
            server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
            stop.store(true, Ordering::Relaxed);
            loading.join().unwrap()
        });
        assert_eq!(ask(&server, "/a.txt?n=after", "").status, 200);
        assert_eq!(server.stderr().matches("no space is left").count(), 1);
        fs::remove_file(&ballast).unwrap();
        let enlarged = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status();
        assert!(enlarged.unwrap().success());
        eventually("what waited is written", || text(&log).contains("n=after").then_some(()));
        server.signal(Signal::TERM);
        server.wait();
        let missing = text(&log).lines().filter(|line| line.starts_with('#')).count();
        let told = told(text(&log).lines().filter(|line| line.contains("?n=")).map(str::to_owned));
        assert!(told.values().all(|count| *count == 1));
        assert!(missing > 0 || told.len() as u64 == answers + 1, "{} of {answers}", told.len());
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    let _ = Command::new("umount").args(["-l"]).arg(&disk).status();
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

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
fn what_has_no_file_to_mirror_says_so() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let options = ["--engine", "splice", "--mirror", "/**", "--access-log-format", "json"];
    let path = ["--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    assert_eq!(ask(&server, "/none", "").status, 404);
    let line: Value = serde_json::from_str(&lines(&log, 1)[0]).unwrap();
    assert_eq!(line["mirror"], "none", "{line}");
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

/// A server whose log goes to a FIFO, and the reader of that, which has read nothing yet.
fn with_a_reader_that_reads_nothing(scratch: &Scratch, full: &str) -> (Server, File) {
    let fifo = scratch.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let opening = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let options = ["--access-log-full", full, "--access-log-wait", "60s"];
    let path = ["--access-log", fifo.to_str().unwrap()];
    let server = server(scratch, &[&options[..], &path].concat());
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
    assert!(server.figure(&["access_log", "dropped"]) > 0);
    assert_eq!(server.figure(&["access_log", "waits"]), 0);
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
    // Reading begins when nothing is answered any more; each record comes, and once.
    let mut before = u64::MAX;
    eventually("requests wait", || {
        let now = answered.load(Ordering::Relaxed);
        std::thread::sleep(std::time::Duration::from_secs(1));
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
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
    assert_eq!(server.figure(&["access_log", "dropped"]), 0);
    assert!(server.figure(&["access_log", "waits"]) > 0);
}

#[test]
fn where_splice_is_refused_it_writes_and_says_so_once() {
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let (out, told) = (scratch.join("out"), scratch.join("told"));
    // splice(2) refuses a file that was opened to append.
    let append = fs::OpenOptions::new().create(true).append(true).open(&out).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pitcrew"))
        .args(["--workers", "1", "--listen", "127.0.0.1:0", "--access-log", "stdout"])
        .args(["--access-log-flush", "0"])
        .arg(scratch.join("root"))
        .current_dir("/")
        .env("NO_COLOR", "1")
        .stdout(append)
        .stderr(File::create(&told).unwrap())
        .spawn()
        .unwrap();
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
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(text(&told).matches("splice(2) is refused").count(), 1, "{}", text(&told));
}

#[test]
fn two_servers_share_a_file_that_is_emptied_meanwhile() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let path = ["--access-log", log.to_str().unwrap()];
    let both = [server(&scratch, &path), server(&scratch, &path)];
    let mut kept = String::new();
    let mut total = 0;
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        total += std::thread::scope(|scope| {
            let loading: Vec<_> = both
                .iter()
                .map(|server| (server.address(), &stop))
                .map(|(address, stop)| scope.spawn(move || load(address, stop)))
                .collect();
            lines(&log, 100);
            // Whoever keeps to the lock takes everything and empties the file under load.
            kept += &take(&log);
            stop.store(true, Ordering::Relaxed);
            loading.into_iter().map(|one| one.join().unwrap()).sum::<u64>()
        });
    }
    for server in both {
        assert_eq!(server.figure(&["access_log", "dropped"]), 0);
        drop(server);
    }
    kept += &text(&log);
    assert!(kept.lines().all(|line| line.ends_with("\"-\" \"-\"")), "a line is torn");
    let found = kept.lines().filter(|line| line.contains("?n=")).count() as u64;
    assert_eq!(found, total, "a record is missing or stands there twice");
}

/// Takes the content of a log away under its lock.
fn take(log: &Path) -> String {
    let file = File::options().read(true).write(true).open(log).unwrap();
    pitcrew::sys::lock::exclusive(&file).unwrap();
    let all = text(log);
    file.set_len(0).unwrap();
    pitcrew::sys::lock::release(&file).unwrap();
    all
}

#[test]
fn archives_by_time_lose_and_double_nothing() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("logs")).unwrap();
    let log = scratch.join("logs/access.log");
    let options = ["--access-log-rotate-every", "1s"];
    let path = ["--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    let stop = AtomicBool::new(false);
    let files = || {
        let found = fs::read_dir(scratch.join("logs")).unwrap();
        found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let answers = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(server.address(), &stop));
        eventually("two archives", || (files().len() > 2).then_some(()));
        stop.store(true, Ordering::Relaxed);
        loading.join().unwrap()
    });
    server.figure_until(&["log_sinks", "1", "records"], |records| records >= answers);
    assert_whole(&server, answers, &files());
}

#[test]
fn a_log_that_may_not_be_written_is_told_once_and_found_later() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let log = scratch.join("access.log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o400)).unwrap();
    let arguments = ["--workers", "1", "--access-log", log.to_str().unwrap()];
    let mut launch = Launch::new(&arguments).root(&scratch.join("root"));
    if rustix::process::geteuid().is_root() {
        // The mode of a file does not bind who has these capabilities.
        launch = launch.through(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    }
    let server = launch.start();
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(ask(&server, "/a.txt?n=kept", "").status, 200);
    assert_eq!(server.stderr().matches("may not write there").count(), 1);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    eventually("what waited is written", || text(&log).contains("n=kept").then_some(()));
}
