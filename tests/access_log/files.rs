//! Log files: rotation, durability, other writers, and disks in bad times.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{Launch, Scratch, Server, Stop, Wire, eventually, get, listens_at, skipped};
use crate::{answered, ask, assert_whole, lines, load, server, text, told};

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
fn an_archive_by_time_needs_no_further_record() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("logs")).unwrap();
    let log = scratch.join("logs/access.log");
    let options = ["--access-log-rotate-every", "1s", "--access-log-match", "/a.txt"];
    let path = ["--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    ask(&server, "/a.txt?n=only", "");
    let archive = eventually("it is archived while nobody asks", || {
        let found = fs::read_dir(scratch.join("logs")).unwrap();
        found.map(|entry| entry.unwrap().path()).find(|path| *path != log)
    });
    assert!(text(&archive).contains("n=only"));
    // An empty log makes no archive.
    eventually("a new one is begun", || log.exists().then_some(()));
    assert_eq!(text(&log), "");
}

#[test]
fn a_log_that_cannot_be_opened_again_is_tried_until_it_can() {
    let scratch = Scratch::new();
    let (logs, moved) = (scratch.join("logs"), scratch.join("moved"));
    fs::create_dir(&logs).unwrap();
    let log = logs.join("access.log");
    let server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
    ask(&server, "/a.txt?n=first", "");
    lines(&log, 1);
    fs::rename(&logs, &moved).unwrap();
    server.signal(Signal::USR1);
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
    // What is open is written meanwhile; that is not what was asked for.
    ask(&server, "/a.txt?n=meanwhile", "");
    eventually("it is written there", || {
        text(&moved.join("access.log")).contains("n=meanwhile").then_some(())
    });
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(server.stderr().matches("cannot be opened again").count(), 1);
    assert!(!server.stderr().contains("is written again"));
    fs::create_dir(&logs).unwrap();
    eventually("it is opened without another signal", || log.exists().then_some(()));
    eventually("it is told", || server.stderr().contains("is written again").then_some(()));
    ask(&server, "/a.txt?n=behind", "");
    eventually("records come there", || text(&log).contains("n=behind").then_some(()));
}

#[test]
fn the_number_of_the_last_durable_record_goes_on_over_reloads() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let options = ["--access-log-durability", "data", "--access-log-match", "/a.txt"];
    let path = ["--access-log", log.to_str().unwrap()];
    let server = server(&scratch, &[&options[..], &path].concat());
    for round in 0..3 {
        let before = round * 3;
        let durable = server.figure(&["log_sinks", "1", "durable"]);
        assert_eq!(durable, before, "after {round} reloads");
        for number in 0..3 {
            ask(&server, &format!("/a.txt?n={round}-{number}"), "");
        }
        let durable = server.figure_until(&["log_sinks", "1", "durable"], |n| n >= before + 3);
        assert!(durable <= server.figure(&["log_sinks", "1", "records"]));
        assert_eq!(durable, text(&log).lines().count() as u64);
        let reloads = server.figure(&["configuration", "reloads"]);
        server.signal(Signal::HUP);
        server.figure_until(&["configuration", "reloads"], |count| count > reloads);
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
    for (durability, flags) in [("none", 0), ("data", 0o10_000), ("full", 0o4_010_000)] {
        let scratch = Scratch::new();
        let log = scratch.join("access.log");
        let path = ["--access-log", log.to_str().unwrap()];
        // What is asked for here is numbered, and nothing else is recorded.
        let options = ["--access-log-durability", durability, "--access-log-match", "/a.txt"];
        // On a busy disk none may be dropped either.
        let waits = ["--access-log-full", "wait", "--access-log-wait", "10s"];
        let mut server = server(&scratch, &[&options[..], &waits, &path].concat());
        // A plain descriptor tells the kind of file before the durable one is opened.
        eventually("the log is durable", || {
            (open_flags(&server, &log) & 0o4_010_000 == flags).then_some(())
        });
        let stop = AtomicBool::new(false);
        let address = server.address();
        let durable = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load_in_order(address, &stop));
            let records = server.figure_until(&["log_sinks", "1", "records"], |last| last > 2000);
            let least = if durability == "none" { 0 } else { records };
            let durable = server.figure_until(&["log_sinks", "1", "durable"], |n| n >= least);
            let returned = server.figure(&["log_sinks", "1", "synchronous"]);
            match durability {
                "none" => assert_eq!((durable, returned), (0, 0)),
                _ => assert!(returned > 0, "no synchronous write has returned"),
            }
            server.signal(Signal::KILL);
            stop.store(true, Ordering::Relaxed);
            loading.join().unwrap();
            durable
        });
        server.wait();
        let all = text(&log);
        let whole = all.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut numbers = 0;
        for (number, line) in whole.lines().enumerate() {
            // Each in its place: none is missing, none is torn, and none is there twice.
            assert!(line.contains(&format!(" /a.txt?n={number} HTTP/1.1\" 200 6 ")), "{line}");
            numbers += 1;
        }
        assert!(numbers >= durable, "{durable} records were durable, {numbers} are there");
    }
}

/// Asks for `/a.txt?n=NUMBER` by one connection, many at a time, until it is told to stop or
/// nobody answers.
fn load_in_order(address: SocketAddr, stop: &AtomicBool) {
    const AT_ONCE: u64 = 16;
    let mut wire = Wire::tcp(address);
    for first in (0..).step_by(AT_ONCE as usize) {
        let all = (first..first + AT_ONCE).flat_map(|n| get(&format!("/a.txt?n={n}"), ""));
        let sent = wire.try_send(&all.collect::<Vec<_>>());
        let answered = sent.is_ok() && (0..AT_ONCE).all(|_| wire.response().is_ok());
        if !answered || stop.load(Ordering::Relaxed) {
            return;
        }
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
fn two_servers_share_a_file_that_is_emptied_meanwhile() {
    let scratch = Scratch::new();
    let log = scratch.join("access.log");
    let path = ["--access-log", log.to_str().unwrap()];
    let both = [server(&scratch, &path), server(&scratch, &path)];
    let mut kept = String::new();
    let mut total = 0;
    for _ in 0..12 {
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

/// Whoever archives takes what both have written, and empties the file under the other's feet.
#[test]
fn two_servers_that_archive_one_file_by_copy_lose_and_double_nothing() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("logs")).unwrap();
    let log = scratch.join("logs/access.log");
    let one = |name: &str| {
        let format = format!("{name} $request");
        let rotation = ["--access-log-rotate-size", "8KiB", "--access-log-archive", "copy"];
        let options = ["--access-log-match", "/a.txt", "--access-log-format", &format];
        let path = ["--access-log", log.to_str().unwrap()];
        server(&scratch, &[&rotation[..], &options, &path].concat())
    };
    let mut both = ["first", "second"].map(|name| (name, one(name)));
    let stop = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let places = both.each_ref().map(|(_, server)| (server.address(), &stop));
        let loading = places.map(|(address, stop)| scope.spawn(move || answered(address, stop)));
        for (_, server) in &both {
            server.figure_until(&["log_sinks", "1", "reopened"], |count| count >= 5);
        }
        drop(stopping);
        loading.map(|one| one.join().unwrap())
    });
    for (_, server) in &mut both {
        assert_eq!(server.figure(&["access_log", "dropped"]), 0);
        server.signal(Signal::TERM);
        assert!(server.wait().success());
    }
    let files = fs::read_dir(scratch.join("logs")).unwrap();
    let files: Vec<_> = files.map(|entry| text(&entry.unwrap().path())).collect();
    assert!(files.len() > 10, "{} files", files.len());
    for ((name, _), asked) in both.iter().zip(asked) {
        let of = |line: &&str| line.starts_with(name);
        let lines = files.iter().flat_map(|text| text.lines()).filter(of).map(str::to_owned);
        let mut told = told(lines);
        for (number, fault) in asked {
            assert_eq!(told.remove(&number), fault.is_none().then_some(1), "{name} {number}");
        }
        assert!(told.is_empty(), "{told:?}");
    }
    for line in files.iter().flat_map(|text| text.lines()) {
        let torn = line.matches("HTTP/1.1").count() != 1 || !line.ends_with(" HTTP/1.1");
        assert!(!torn, "{line}");
    }
}

/// Takes the content of a log away under its lock.
fn take(log: &Path) -> String {
    let file = File::options().read(true).write(true).open(log).unwrap();
    assert!(pitcrew::sys::lock::exclusive(&file, Duration::from_secs(60)).unwrap());
    let all = text(log);
    file.set_len(0).unwrap();
    pitcrew::sys::lock::release(&file).unwrap();
    all
}

/// Whoever holds the lock may have stopped.
#[test]
fn a_log_that_stays_locked_is_told_once_and_written_later() {
    let scratch = Scratch::new();
    scratch.write("root/a.txt", "hello\n");
    let log = scratch.join("access.log");
    let server = server(&scratch, &["--access-log", log.to_str().unwrap()]);
    assert_eq!(ask(&server, "/a.txt?n=before", "").status, 200);
    eventually("it is written", || text(&log).contains("n=before").then_some(()));
    let file = File::options().write(true).open(&log).unwrap();
    assert!(pitcrew::sys::lock::exclusive(&file, Duration::from_secs(60)).unwrap());
    assert_eq!(ask(&server, "/a.txt?n=kept", "").status, 200);
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(server.stderr().matches("holds its lock").count(), 1);
    assert!(!text(&log).contains("n=kept"));
    pitcrew::sys::lock::release(&file).unwrap();
    eventually("what waited is written", || text(&log).contains("n=kept").then_some(()));
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
        let without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        let tried = Command::new(without[0]).args([without[1], "true"]).status();
        if !tried.is_ok_and(|status| status.success()) {
            return skipped("a log without permission", "setpriv cannot take rights away here");
        }
        launch = launch.through(&without);
    }
    let server = launch.start();
    server.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 2);
    assert_eq!(ask(&server, "/a.txt?n=kept", "").status, 200);
    assert_eq!(server.stderr().matches("may not write there").count(), 1);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    eventually("what waited is written", || text(&log).contains("n=kept").then_some(()));
}

#[test]
fn a_new_process_takes_over_the_log_and_nothing_is_lost_or_doubled() {
    let by_size = ["--access-log-rotate-size", "16KiB", "--access-log-archive", "copy"];
    for more in [&[][..], &by_size[..2], &by_size] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("logs")).unwrap();
        let (log, place) = (scratch.join("logs/access.log"), scratch.join("hand-over"));
        let paths = ["--access-log", log.to_str().unwrap(), "--hand-over", place.to_str().unwrap()];
        let files = || {
            let found = fs::read_dir(scratch.join("logs")).unwrap();
            found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let written =
            || files().iter().map(|file| text(file).matches("?n=").count()).sum::<usize>();
        scratch.write("root/a.txt", "hello\n");
        let options = ["--workers", "1", "--access-log-flush", "0", "--access-log-match", "/a.txt"];
        let arguments = [&options[..], &paths, more].concat();
        let start = || Launch::new(&arguments).root(&scratch.join("root")).start();
        let mut serving = start();
        let address = serving.address();
        let stop = AtomicBool::new(false);
        let asked = std::thread::scope(|scope| {
            let loading = scope.spawn(|| answered(address, &stop));
            let stopping = Stop(&stop);
            for _ in 0..4 {
                let before = written();
                eventually("some records more", || (written() > before + 200).then_some(()));
                listens_at(&place);
                let next = start();
                assert_eq!(next.address(), address, "another address");
                assert!(std::mem::replace(&mut serving, next).wait().success());
            }
            let before = written();
            eventually("some records of the last", || (written() > before + 200).then_some(()));
            drop(stopping);
            loading.join().unwrap()
        });
        let answers = asked.values().filter(|fault| fault.is_none()).count();
        assert!(answers > 1000, "{answers} answers");
        // A span stands in two places while it is copied.
        let distinct = || {
            let lines = files().iter().flat_map(|file| lines(file, 0)).collect::<Vec<_>>();
            let number = |line: &str| Some(line.split_once("?n=")?.1.split_once(' ')?.0.to_owned());
            lines.iter().filter_map(|line| number(line)).collect::<HashSet<_>>().len()
        };
        eventually("every record is written", || (distinct() >= answers).then_some(()));
        for line in files().iter().flat_map(|file| lines(file, 0)) {
            // That each answer has its record is looked at below.
            let number = told([line.clone()]).into_keys().next().unwrap();
            assert_eq!(asked[&number], None, "it was not answered: {line}");
        }
        assert_whole(&serving, answers as u64, &files());
        let all: Vec<_> = files().iter().flat_map(|file| lines(file, 0)).collect();
        let torn = all.iter().find(|line| !line.ends_with("\"-\" \"-\""));
        assert_eq!(torn, None, "a line is torn");
        assert_eq!(files().len() > 1, !more.is_empty(), "{:?}", files());
    }
}

#[test]
fn a_log_that_never_could_be_opened_holds_up_no_end() {
    const WAITED: &str = "takes its records too slowly";
    let scratch = Scratch::new();
    let (log, other) = (scratch.join("logs/access.log"), scratch.join("other.log"));
    let (log, other) = (log.to_str().unwrap(), other.to_str().unwrap());
    for places in [&["--access-log", log][..], &["--access-log", log, "--access-log", other]] {
        let mut idle = server(&scratch, &[places, &["--access-log-match", "/none"]].concat());
        idle.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
        assert_eq!(ask(&idle, "/a.txt", "").status, 200);
        idle.signal(Signal::TERM);
        assert!(idle.wait().success());
        // It is what is said when the time for the last records is over.
        assert!(!idle.stderr().contains(WAITED), "{}", idle.stderr());
    }
    // A record is waited for.
    let mut waiting = server(&scratch, &["--access-log", log]);
    waiting.figure_until(&["log_sinks", "1", "failures"], |failures| failures >= 1);
    ask(&waiting, "/a.txt?n=kept", "");
    waiting.signal(Signal::TERM);
    fs::create_dir(scratch.join("logs")).unwrap();
    assert!(waiting.wait().success());
    assert!(!waiting.stderr().contains(WAITED), "{}", waiting.stderr());
    assert!(text(Path::new(log)).contains("n=kept"));
}

#[test]
fn names_of_a_log_are_as_durable_as_its_records() {
    let runs = Command::new("strace").arg("--version").output();
    if !runs.is_ok_and(|output| output.status.success()) {
        return skipped("how durable the names of logs are", "strace is not there");
    }
    let kinds = [("none", "copy"), ("data", "copy"), ("data", "rename"), ("none", "rename")];
    for (durability, archive) in kinds {
        let scratch = Scratch::new();
        let logs = fs::canonicalize(scratch.path()).unwrap().join("logs");
        fs::create_dir(&logs).unwrap();
        scratch.write("root/a.txt", "hello\n");
        let (log, seen) = (logs.join("access.log"), scratch.join("seen"));
        let options = ["--workers", "1", "--access-log-flush", "0", "--access-log-compress"];
        let rotation = ["--access-log-rotate-size", "4KiB", "--access-log-archive", archive];
        let durable =
            ["--access-log-durability", durability, "--access-log", log.to_str().unwrap()];
        let calls = "trace=fsync,fdatasync,ftruncate,renameat2";
        let strace = ["strace", "-D", "-f", "-y", "-e", calls, "-o", seen.to_str().unwrap()];
        let arguments = [&options[..], &rotation, &durable].concat();
        let launch = Launch::new(&arguments).root(&scratch.join("root")).through(&strace);
        let mut server = launch.start();
        let compressed = || {
            let names = fs::read_dir(&logs).unwrap();
            let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.any(|name| name.ends_with(".gz"))
        };
        eventually("an archive is compressed", || {
            ask(&server, "/a.txt", "");
            compressed().then_some(())
        });
        server.signal(Signal::TERM);
        server.wait();
        let seen = eventually("all is told", || {
            let seen = text(&seen);
            seen.contains("+++ exited with 0 +++").then_some(seen)
        });
        let what = format!("{durability}, {archive}: {seen}");
        if durability == "none" {
            assert!(!seen.contains("sync("), "{what}");
            continue;
        }
        let directory = format!("<{}>", logs.display());
        let names =
            |text: &str| text.matches("fsync(").count().min(text.matches(&*directory).count());
        match archive {
            // The log's own when it was opened, then the archive's; only then is the log emptied.
            "copy" => {
                let (before, _) = seen.split_once("ftruncate(").expect(&what);
                let (_, filled) = before.rsplit_once("fdatasync(").expect(&what);
                assert_eq!((names(before), names(filled)), (2, 1), "{what}");
            }
            // That of the archive and of the log that follows it at once.
            _ => {
                let (before, behind) = seen.split_once("access.log.").expect(&what);
                assert!(names(before) == 1 && names(behind) >= 1, "{what}");
            }
        }
    }
}
