//! A confined server serves, and says what it gave up and what it could not.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use common::{
    ENGINES, Launch, Pattern, Scratch, Server, children_of, eventually, get, skipped,
    without_landlock, without_lines, without_restrictions, without_seccomp,
};
use pitcrew::sandbox::landlock_abi;
use rustix::process::Signal;

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("root/inside.txt", "inside\n");
    scratch.write("outside.txt", "outside\n");
    symlink("../outside.txt", scratch.join("root/escape.txt")).unwrap();
    scratch.write("log/access.log", "");
    scratch
}

/// Whether the kernel can confine at all; a build service has to be able to.
fn can_confine() -> bool {
    if landlock_abi() > 0 {
        return true;
    }
    skipped("sandbox", "this kernel has no Landlock");
    false
}

fn status(server: &Server, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}"))[field.len() + 1..].trim().to_owned()
}

fn ask(server: &Server, path: &str) -> common::Response {
    let mut wire = server.connect();
    wire.send(&get(path, "Connection: close\r\n"));
    wire.response().unwrap()
}

#[test]
fn every_engine_serves_confined_and_every_thread_is() {
    if !can_confine() {
        return;
    }
    for engine in ENGINES {
        let scratch = tree();
        scratch.pattern("root/large.bin", 7, 3 << 20);
        let log = scratch.join("log/access.log");
        let options = ["--engine", engine, "--workers", "2", "--listing"];
        let log_options = ["--access-log", log.to_str().unwrap(), "--access-log-flush", "0"];
        let server = Server::start(&[&options[..], &log_options].concat(), &scratch.join("root"));
        let body = ask(&server, "/large.bin").body;
        assert!(body == Pattern::new(7).bytes(0, 3 << 20), "{engine}");
        assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
        assert_eq!(ask(&server, "/escape.txt").status, 404);
        let told = server.telemetry();
        for layer in ["no-new-privileges", "landlock", "seccomp", "broker", "rings"] {
            assert_eq!(told["server"]["sandbox"][layer]["applied"], true, "{layer}: {told:#}");
        }
        // What README says of rings that somebody else makes, no operator has to read there.
        let free = told["server"]["sandbox"]["seccomp"]["free"].to_string();
        assert!(free.contains("no operation of an io_uring"), "{free}");
        assert!(ask(&server, "/").text().contains("inside.txt"));
        assert_eq!(
            (status(&server, "NoNewPrivs"), status(&server, "Seccomp")),
            ("1".into(), "2".into())
        );
        for task in fs::read_dir(format!("/proc/{}/task", server.id())).unwrap() {
            let path = task.unwrap().path();
            let text = fs::read_to_string(path.join("status")).unwrap();
            // Threads of the kernel for a ring make no calls.
            assert!(text.contains("Seccomp:\t2") || text.contains("Name:\tiou-"), "{text}");
        }
        // Moved away and asked to open it again, the log begins a new file.
        fs::rename(&log, scratch.join("log/old.log")).unwrap();
        server.signal(Signal::USR1);
        eventually("the log is opened again", || log.exists().then_some(()));
        ask(&server, "/inside.txt");
        eventually("and written", || {
            fs::read_to_string(&log).unwrap().contains("/inside.txt").then_some(())
        });
    }
}

#[test]
fn what_cannot_be_applied_is_told_or_refused() {
    let scratch = tree();
    let Some(prefix) = without_seccomp() else {
        return skipped("a machine without seccomp", "no filter can be installed here");
    };
    let server = Launch::new(&[]).root(&scratch.join("root")).through(&prefix).start();
    let told = server.stderr();
    let warned = told.lines().filter(|line| line.contains("that are not applied")).count();
    assert!(told.contains("not applied: seccomp: ") && warned == 1, "{told}");
    let stays_root = told.contains("the server stays root (uid 0)");
    assert_eq!(stays_root, rustix::process::geteuid().is_root(), "{told}");
    let figures = server.telemetry();
    let seccomp = &figures["server"]["sandbox"]["seccomp"];
    assert!(seccomp["applied"] == false && seccomp["why"].is_string(), "{seccomp}");
    let text = ask(&server, "/telemetry?format=prometheus").text();
    let line =
        text.lines().find(|line| line.starts_with("pitcrew_sandbox_applied{layer=\"seccomp\""));
    assert!(line.is_some_and(|line| line.ends_with("} 0")), "{line:?}");
    assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
    let launch = Launch::new(&["--sandbox", "on"]).root(&scratch.join("root"));
    let (ended, told) = launch.through(&prefix).refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("sandbox: seccomp cannot be applied"), "{told}");
    let off = Server::start(&["--sandbox", "off"], &scratch.join("root"));
    assert_eq!(status(&off, "Seccomp"), "0");
    assert!(children_of(off.id()).is_empty(), "who gives up nothing needs no broker");
    let launch = Launch::new(&["--user", "nobody-of-this-name"]).root(&scratch.join("root"));
    let (ended, told) = launch.refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("there is no user 'nobody-of-this-name'"), "{told}");
    let launch = Launch::new(&["--user", "4294967295:5"]).root(&scratch.join("root"));
    let (ended, told) = launch.refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("is nobody's number"), "{told}");
}

/// What a filter of a container may refuse: each is told by itself, and shown, or refused.
#[test]
fn each_layer_that_is_refused_is_told_and_on_means_all_of_them() {
    if !can_confine() {
        return;
    }
    let scratch = tree();
    for (layer, prefix, said, refused) in [
        (
            "landlock",
            without_landlock(),
            "not applied: landlock: ",
            "sandbox: landlock cannot be applied",
        ),
        (
            "rings",
            without_restrictions(),
            "takes no restrictions of a ring",
            "sandbox: rings cannot be applied",
        ),
        ("broker", without_lines(), "there is no broker", "sandbox: there is no broker"),
    ] {
        let Some(prefix) = prefix else {
            return skipped("a machine without layers", "no filter can be installed here");
        };
        let launch = Launch::new(&["--sandbox", "auto", "--workers", "1"]);
        let server = launch.root(&scratch.join("root")).through(&prefix).start();
        eventually(&format!("{said:?} is said"), || server.stderr().contains(said).then_some(()));
        assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
        let figures = server.telemetry();
        let held = figures["server"]["sandbox"].as_object().unwrap();
        for (name, row) in held {
            assert_eq!(row["applied"] == false, name == layer, "{layer}: {name}: {row}");
            assert_eq!(row["why"].is_string(), name == layer, "{layer}: {name}: {row}");
        }
        assert!(held.contains_key(layer), "{held:?}");
        let launch = Launch::new(&["--sandbox", "on"]).root(&scratch.join("root"));
        let (ended, told) = launch.through(&prefix).refused();
        assert_eq!(ended.code(), Some(3), "{told}");
        assert!(told.contains(refused), "{told}");
    }
    // Rings have nothing to do with the rest: they are restricted whatever is asked for.
    let off = Server::start(&["--sandbox", "off"], &scratch.join("root"));
    let figures = off.telemetry();
    let held = figures["server"]["sandbox"].as_object().unwrap();
    assert_eq!(held.keys().collect::<Vec<_>>(), ["rings"]);
    assert_eq!(held["rings"]["applied"], true);
}

#[test]
fn root_becomes_the_user_and_keeps_no_capability() {
    if !rustix::process::geteuid().is_root() {
        return skipped("user", "only root becomes another user");
    }
    // The directory of the build may lie beneath one that is for its owner alone.
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(scratch.path().join("inside.txt"), "inside\n").unwrap();
    let server = Server::start(&["--user", "65534:65533", "--sandbox", "auto"], scratch.path());
    assert!(!server.stderr().contains("stays root"), "{}", server.stderr());
    assert_eq!(status(&server, "Uid").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(status(&server, "Gid").split_whitespace().collect::<Vec<_>>(), ["65533"; 4]);
    assert_eq!(status(&server, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&server, set), "0000000000000000", "{set}");
    }
    assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
}
