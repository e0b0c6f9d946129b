//! The broker itself, asked by a stranger: what its configuration does not name is refused.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use crate::common::{PATIENCE, eventually};
use crate::{Site, can_confine, free_port, reload};
use pitcrew::sys::Exchange;
use rustix::process::Signal;

/// A broker of its own, and the line to it.
pub(crate) fn broker(site: &Site) -> (Child, Exchange) {
    let (child, line, _) = greeted(site);
    (child, line)
}

/// The same, and the digest of the configuration that it says it has read.
fn greeted(site: &Site) -> (Child, Exchange, Vec<u8>) {
    let (line, other) = Exchange::pair(PATIENCE).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
    command.args(["--config", site.file.to_str().unwrap()]).env("_PITCREW_ROLE", "broker");
    let child = command.stdin(Stdio::from(other)).stderr(Stdio::null()).spawn().unwrap();
    let (number, kind, digest, passed) = answer(&line);
    assert_eq!((number, kind, digest.len(), passed), (0, b'h', 8, 0), "it has read it");
    (child, line, digest)
}

/// The number of a request, the kind of the answer, its text, and how many descriptors came.
fn answer(line: &Exchange) -> (u32, u8, Vec<u8>, usize) {
    let (message, passed) = line.receive().unwrap();
    let number = u32::from_ne_bytes(message[..4].try_into().unwrap());
    (number, message[4], message[5..].to_vec(), passed.len())
}

fn ask(line: &Exchange, number: u32, request: &[u8]) -> (u8, usize) {
    let (kind, _, passed) = told(line, number, request);
    (kind, passed)
}

/// The same with the text of the answer.
pub(crate) fn told(line: &Exchange, number: u32, request: &[u8]) -> (u8, String, usize) {
    line.send(&[&number.to_ne_bytes()[..], request].concat(), &[]).unwrap();
    let (of, kind, text, passed) = answer(line);
    assert_eq!(of, number);
    (kind, String::from_utf8_lossy(&text).into_owned(), passed)
}

#[test]
fn a_greeting_tells_which_configuration_was_read() {
    let log = |name: &str| format!("root = \"../root\"\naccess-log = [\"/log/{name}\"]\n");
    let site = Site::new(&log("a"));
    let greeting = || {
        let (mut child, line, digest) = greeted(&site);
        drop(line);
        assert!(child.wait().unwrap().success());
        digest
    };
    let first = greeting();
    assert_eq!(greeting(), first, "two processes that read the same agree");
    site.rewrite(&log("b"));
    assert_ne!(greeting(), first);
    site.rewrite(&log("a"));
    assert_eq!(greeting(), first);
}

#[test]
fn nothing_is_done_that_the_configuration_does_not_name() {
    let site = Site::new("");
    let (log, port) = (site.scratch.join("log/a.log"), free_port());
    let precious = site.scratch.write("precious", "x");
    let marker = site.scratch.join("ran");
    site.rewrite(&format!(
        "root = \"../root\"\nlisten = [\"{port}\"]\naccess-log = [\"{}\", \"|cat > /dev/null\"]\n\
         workers = 2\n",
        log.display()
    ));
    let (mut child, line) = broker(&site);
    let other = free_port();
    let precious_path = precious.display().to_string();
    for request in [
        format!("f{precious_path}"),
        format!("f{}/../precious", site.scratch.join("log").display()),
        format!("f{}.1", log.display()),
        "f/etc/passwd".to_owned(),
        format!("ptouch {}", marker.display()),
        format!("pcat > /dev/null; touch {}", marker.display()),
        "w/run/place".to_owned(),
        format!("ltcp\0{other}"),
        format!("lunix\0{precious_path}"),
        format!("d{precious_path}"),
        format!("d{}", log.display()),
        "rather odd".to_owned(),
        String::new(),
    ] {
        assert_eq!(ask(&line, 5, request.as_bytes()), (b'r', 0), "{request}");
    }
    assert_eq!(fs::read(&precious).unwrap(), b"x");
    assert!(!marker.exists());
    // What it names is done, with as many sockets as it has workers.
    assert_eq!(ask(&line, 6, format!("f{}", log.display()).as_bytes()), (b'g', 1));
    assert_eq!(ask(&line, 7, format!("ltcp\0{port}").as_bytes()), (b'g', 2));
    assert_eq!(ask(&line, 8, b"pcat > /dev/null"), (b'g', 2));
    // A wrong configuration allows nothing more than the last that was right.
    site.rewrite(&format!("rooot = \"\"\naccess-log = [\"{precious_path}\"]\n"));
    assert_eq!(ask(&line, 9, b"r"), (b'r', 0));
    assert_eq!(ask(&line, 10, format!("f{precious_path}").as_bytes()), (b'r', 0));
    site.rewrite(&format!("root = \"../root\"\naccess-log = [\"{precious_path}\"]\n"));
    assert_eq!(ask(&line, 11, b"r"), (b'g', 0));
    assert_eq!(ask(&line, 12, format!("f{precious_path}").as_bytes()), (b'g', 1));
    // Signals are for the server; it ends with that alone.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, signal).unwrap();
    }
    assert_eq!(ask(&line, 13, b"t"), (b'g', 0));
    drop(line);
    let ended = eventually("the broker ends", || child.try_wait().unwrap());
    assert!(ended.success());
}

#[test]
fn a_place_a_path_and_one_successor_are_given_as_they_are_named() {
    let site = Site::new("");
    let (place, socket) = (site.scratch.join("conf/place"), site.scratch.join("conf/socket"));
    site.rewrite(&format!(
        "root = \"../root\"\nlisten = [\"{}\", \"unix:{}\"]\nhand-over = \"{}\"\n",
        free_port(),
        socket.display(),
        place.display()
    ));
    let (_child, line) = broker(&site);
    let named = |kind: &str, path: &std::path::Path| format!("{kind}{}", path.display());
    assert_eq!(ask(&line, 1, format!("{}x", named("w", &place)).as_bytes()), (b'r', 0));
    assert_eq!(ask(&line, 2, named("w", &place).as_bytes()), (b'g', 1));
    assert_eq!(ask(&line, 3, named("d", &place).as_bytes()), (b'r', 0), "no listener");
    // What is there and is no socket stays.
    assert_eq!(ask(&line, 4, named("d", &socket).as_bytes()), (b'f', 0), "nothing is there");
    fs::write(&socket, "x").unwrap();
    assert_eq!(ask(&line, 5, named("d", &socket).as_bytes()), (b'f', 0));
    assert_eq!(fs::read(&socket).unwrap(), b"x");
    fs::remove_file(&socket).unwrap();
    let _bound = UnixListener::bind(&socket).unwrap();
    assert_eq!(ask(&line, 6, named("d", &socket).as_bytes()), (b'g', 0));
    assert!(!socket.exists());
    // One process at a time, which asks for listeners as any other.
    assert_eq!(ask(&line, 7, b"sother"), (b'r', 0));
    line.send(&[&8u32.to_ne_bytes()[..], b"s"].concat(), &[]).unwrap();
    let (message, mut passed) = line.receive().unwrap();
    assert_eq!((message[4], passed.len()), (b'g', 1));
    let second = (b'f', "a successor is starting already".to_owned(), 0);
    assert_eq!(told(&line, 9, b"s"), second);
    let successor = Exchange::adopt(passed.remove(0), PATIENCE).unwrap();
    assert_eq!(successor.receive().unwrap().0, b"pitcrew hand-over 1");
    drop(successor);
    eventually("it has ended", || (ask(&line, 10, b"s").0 == b'g').then_some(()));
}

#[test]
fn a_configuration_that_the_server_could_write_is_read_once() {
    let site = Site::new("");
    let log = |name: &str| {
        format!("root = \"../root\"\naccess-log = [\"{}\"]\n", site.scratch.join(name).display())
    };
    site.rewrite(&log("conf/a.log"));
    let (_child, line) = broker(&site);
    // What a server that was taken over would write.
    let marker = site.scratch.join("ran");
    site.rewrite(&format!("root = \"../root\"\naccess-log = [\"|touch {}\"]\n", marker.display()));
    for request in [&b"r"[..], b"t", b"s"] {
        let granted = ask(&line, 1, request).0 == b'g';
        assert_eq!(granted, request == b"t", "{request:?}");
    }
    let program = format!("ptouch {}", marker.display());
    assert_eq!(ask(&line, 2, program.as_bytes()), (b'r', 0));
    assert!(!marker.exists());
    // What the first one names is done as ever.
    let file = format!("f{}", site.scratch.join("conf/a.log").display());
    assert_eq!(ask(&line, 3, file.as_bytes()), (b'g', 1));
}

#[test]
fn a_server_beside_whose_log_the_configuration_lies_says_so_and_reloads_alone() {
    if !can_confine() {
        return;
    }
    let site = Site::new("");
    let text = format!(
        "root = \"../root\"\naccess-log = [\"{}\"]\n",
        site.scratch.join("conf/a.log").display()
    );
    site.rewrite(&text);
    let (ended, told) = site.launch(&["--sandbox", "on"]).refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("keep the configuration out of there"), "{told}");
    let server = site.launch(&[]).start();
    assert!(server.stderr().contains("reads the configuration once only"), "{}", server.stderr());
    let held = &server.telemetry()["server"]["sandbox"]["broker"];
    assert!(held["applied"] == true && !held["free"].as_array().unwrap().is_empty(), "{held}");
    site.rewrite(&format!("{text}listing = true\n"));
    reload(&server, "reloads");
    // Another root needs a process that the broker starts.
    site.rewrite(&text.replace("../root", "../other"));
    reload(&server, "refused");
    assert_eq!(crate::ask(&server), "first\n");
    assert!(server.stderr().contains("the broker refuses it"), "{}", server.stderr());
}

#[test]
fn the_variable_is_for_the_server_alone() {
    for role in ["broker", "successor", "file", "other"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitcrew"));
        command.env("_PITCREW_ROLE", role).stdin(Stdio::null());
        let told = command.output().unwrap();
        assert_eq!(told.status.code(), Some(70));
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(said.contains("_PITCREW_ROLE is set by the server alone"), "{said}");
    }
}
