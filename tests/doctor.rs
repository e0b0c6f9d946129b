//! What the doctor says on this machine, and on one that allows less.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use common::{Scratch, Server, skipped, with_little_memlock, without_io_uring};
use pitcrew::doctor::PROBES;
use pitcrew::engines::Kind;
use serde_json::Value;

/// The program behind a prefix, without variables of its own.
fn doctor(prefix: &[&str], arguments: &[&str], root: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_pitcrew");
    let mut command = Command::new(prefix.first().unwrap_or(&program));
    command.args(prefix.iter().skip(1)).args(prefix.first().map(|_| program));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PITCREW_")) {
        command.env_remove(name);
    }
    command.arg("doctor").args(arguments).arg(root).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The exit code, and the report as JSON.
fn told(prefix: &[&str], arguments: &[&str], root: &Path) -> (i32, Value) {
    let arguments = [arguments, &["--format", "json"]].concat();
    let output = doctor(prefix, &arguments, root);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    (code(&output), report)
}

/// What a probe has found, the first of it.
fn finding<'a>(report: &'a Value, probe: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    let found = all.iter().find(|one| one["probe"] == probe);
    found.unwrap_or_else(|| panic!("no {probe}: {report:#}"))
}

fn engine<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["engines"].as_array().unwrap().iter().find(|row| row["engine"] == name).unwrap()
}

fn site() -> Scratch {
    let scratch = Scratch::new();
    scratch.pattern("data.bin", 5, 100_000);
    scratch
}

/// The server says the same when it starts.
#[test]
fn the_file_that_tells_of_memory_is_named_and_why_it_is_that_one() {
    let site = site();
    let (_, report) = told(&[], &[], site.path());
    let found = finding(&report, "pressure");
    let server = Server::start(&["--sandbox", "off"], site.path());
    let said = common::eventually("the server says what tells it", || {
        let said = server.stderr();
        said.contains("memory that becomes short").then_some(said)
    });
    assert_eq!(said.matches("memory that becomes short").count(), 1, "{said}");
    let Some(file) = found["facts"]["file"].as_str() else {
        return assert!(said.contains("is not told here"), "{said}");
    };
    assert!(said.contains(file), "{file}: {said}");
    let of_group = found["facts"]["of_group"].as_bool().unwrap();
    assert_eq!(said.contains("by the control group of"), of_group, "{said}");
    assert_eq!(found["state"] == "good", of_group, "{found:#}");
    let says = found["says"].as_str().unwrap();
    assert!(of_group || says.contains("of the whole machine: "), "{says}");
}

/// What auto goes by is told, too: where the lab has found that O_DIRECT is never ahead, it is not
/// chosen.
#[test]
fn the_choices_follow_the_result_of_the_lab() {
    let scratch = site();
    let never = r#"{ "version": 1, "measured_at": 1, "laps": [],
        "crossover": { "small_bytes_max": 100000, "large_bytes_min": 4611686018427387904 } }"#;
    let kept = scratch.write("lab.json", never);
    let (_, report) = told(&[], &["--lab-results", kept.to_str().unwrap()], scratch.path());
    let choices = report["auto"].as_array().unwrap();
    let of =
        |bytes: u64| choices.iter().find(|row| row["bytes"] == bytes && row["in_memory"] == true);
    assert!(choices.iter().all(|row| row["engine"] != "direct"), "{report:#}");
    if report["io_uring"] == true {
        let middle = of(64 << 10).unwrap();
        assert_eq!((&middle["engine"], &middle["reason"]), (&"uring".into(), &"small".into()));
    }
}

#[test]
fn where_every_engine_can_run_the_exit_code_is_0() {
    let scratch = site();
    let (code, report) = told(&[], &[], scratch.path());
    let can = report["all_engines_run"].as_bool().unwrap();
    let ring = report["io_uring"].as_bool().unwrap();
    let wanted = if can {
        0
    } else if ring {
        9
    } else {
        6
    };
    assert_eq!(code, wanted, "{report:#}");
    if !can {
        skipped("a machine on which every engine runs", "this one is not");
    }
    for probe in PROBES {
        let found = finding(&report, probe.name);
        assert_eq!(found["remedy"].is_null(), found["state"] == "good", "{found:#}");
    }
    for kind in Kind::ALL {
        assert!(engine(&report, kind.name())["says"].is_string());
    }
    // Both ways to know the alignment agree, on a file system that tells it.
    let direct = &finding(&report, "direct")["facts"];
    if !direct["statx"].is_null() && !direct["read"].is_null() {
        assert_eq!(direct["statx"]["offset_bytes"], direct["read"]["offset_bytes"]);
    }
    let picked = report["auto"].as_array().unwrap();
    assert!(picked.len() >= 4 && picked.iter().all(|one| one["reason"].is_string()));
}

#[test]
fn the_text_has_every_probe_and_no_colour_when_it_is_piped() {
    let output = doctor(&[], &[], site().path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'));
    for words in PROBES.iter().map(|probe| probe.name).chain(["What auto would choose", "Engines"])
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_filter_that_forbids_io_uring_is_named_as_the_blocker() {
    let Some(prefix) = without_io_uring() else {
        return skipped("a forbidden io_uring", "no filter can be installed here");
    };
    let scratch = site();
    let (code, report) = told(&prefix, &[], scratch.path());
    assert_eq!(code, 6);
    let found = finding(&report, "io_uring");
    assert_eq!((&found["state"], &found["facts"]["seccomp"]), (&"bad".into(), &true.into()));
    // A sysctl that forbids it as well is named first.
    if found["facts"]["io_uring_disabled"] == 0 || found["facts"]["io_uring_disabled"].is_null() {
        assert_eq!(found["facts"]["blocker"], "seccomp");
        assert!(found["says"].as_str().unwrap().contains("seccomp filter of this process"));
        assert!(found["remedy"].as_str().unwrap().contains("io_uring_setup"));
    }
    assert!(report["engines"].as_array().unwrap().iter().all(|row| row["runs"] == false));
    let none = |one: &Value| one["engine"].is_null() && one["reason"] == "no_io_uring";
    assert!(report["auto"].as_array().unwrap().iter().all(none));
    let text = doctor(&prefix, &[], scratch.path());
    assert!(String::from_utf8_lossy(&text.stdout).contains("The server cannot run here."));
}

#[test]
fn a_low_limit_of_locked_memory_is_a_note_and_nothing_worse() {
    let scratch = site();
    let Some(prefix) = with_little_memlock(2 << 20) else {
        return skipped("a low memlock limit", "prlimit or setpriv cannot take rights away here");
    };
    if told(&[], &[], scratch.path()).1["io_uring"] == false {
        return skipped("a low memlock limit", "io_uring is not available");
    }
    // It has room for some rings, and none for the buffers of a worker.
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let (_, report) = told(&prefix, &[], scratch.path());
    let found = finding(&report, "memlock");
    assert_eq!(found["facts"]["limit_bytes"], 2 << 20);
    assert_eq!(found["facts"]["cap_ipc_lock"], false);
    assert_eq!(found["facts"]["registered"], false, "{found:#}");
    assert_eq!((&found["state"], &found["blocks"]), (&"note".into(), &Value::Array(vec![])));
    assert!(found["remedy"].as_str().unwrap().contains("ulimit -l"));
    assert_eq!(engine(&report, "uring")["runs"], true);
}

#[test]
fn on_tmpfs_no_read_waits_and_o_direct_gains_nothing_or_is_refused() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
        return skipped("a tmpfs", "/dev/shm cannot be written");
    };
    std::fs::write(directory.path().join("file"), [7; 8192]).unwrap();
    let (code, report) = told(&[], &[], directory.path());
    let mount = finding(&report, "file_system");
    if mount["facts"]["file_system"] != "tmpfs" {
        return skipped("a tmpfs", "/dev/shm is something else");
    }
    assert_eq!(mount["facts"]["may_block"], false);
    let direct = finding(&report, "direct");
    // tmpfs takes O_DIRECT since Linux 6.6.
    let refused = direct["facts"]["read"].is_null();
    assert_eq!(direct["state"], if refused { "bad" } else { "note" }, "{direct:#}");
    assert_eq!(engine(&report, "direct")["runs"], report["io_uring"] == true && !refused);
    if report["io_uring"] == true {
        assert_eq!(code, if refused { 9 } else { 0 });
    }
    let cold = |one: &Value| one["in_memory"] == false;
    assert!(!report["auto"].as_array().unwrap().iter().any(cold), "nothing there is on a disk");
}

#[test]
fn names_that_are_not_served_as_one_would_expect_are_listed() {
    let scratch = site();
    scratch.write("page.html", "new");
    let stale = scratch.write("page.html.gz", "old");
    let past = SystemTime::now() - Duration::from_secs(60);
    std::fs::File::open(stale).unwrap().set_modified(past).unwrap();
    symlink("/etc/hostname", scratch.join("absolute")).unwrap();
    symlink("../..", scratch.join("leaving")).unwrap();
    symlink("nothing", scratch.join("dangling")).unwrap();
    symlink("page.html", scratch.join("right")).unwrap();
    let (_, report) = told(&[], &["--precompressed", "on"], scratch.path());
    let links: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["probe"] == "links")
        .map(|one| {
            (one["facts"]["kind"].as_str().unwrap(), one["facts"]["first"][0].as_str().unwrap())
        })
        .collect();
    assert_eq!(links, [("absolute", "absolute"), ("leaving", "leaving"), ("dangling", "dangling")]);
    let variants = finding(&report, "variants");
    assert_eq!(variants["facts"]["first"], Value::from(vec!["page.html.gz"]));
    assert!(variants["says"].as_str().unwrap().contains("are served and older"));
}

#[test]
fn what_the_configuration_needs_is_compared_with_the_limits() {
    let scratch = site();
    let (_, report) = told(&[], &["--connections", "1000000"], scratch.path());
    let found = finding(&report, "descriptors");
    let wanted = found["facts"]["wanted"].as_u64().unwrap();
    assert!(wanted >= 1_000_000);
    let enough = found["facts"]["hard"].as_u64().is_none_or(|hard| hard >= wanted);
    assert_eq!(found["state"], if enough { "good" } else { "note" });
    assert!(finding(&report, "pipes")["says"].as_str().unwrap().contains("1000000 connections"));
    let (_, report) = told(&[], &["--workers", "200"], scratch.path());
    let cores = &finding(&report, "cores")["facts"];
    assert_eq!(cores["workers"], 200);
}

#[test]
fn a_root_that_is_not_there_and_a_format_that_is_not_there_are_refused() {
    let scratch = Scratch::new();
    let output = doctor(&[], &[], &scratch.join("nothing"));
    assert_eq!(code(&output), 4);
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"));
    assert_eq!(code(&doctor(&[], &["--format", "xml"], scratch.path())), 2);
}
