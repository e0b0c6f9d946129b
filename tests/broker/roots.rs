//! New roots: the broker starts a process that takes the place of the one that was confined to
//! others.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use std::io::{Read, Write};

use crate::common::{
    Manager, Server, broker_of, children_of, eventually, get, is_running, skipped,
};
use crate::{Site, ask, can_confine, kill, reload};
use rustix::process::Signal;

/// Asks again and again, each time by a new connection. How often, and what was no whole answer.
fn load(address: SocketAddr, stop: &AtomicBool, asked: &AtomicU64) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut text = String::new();
        let answered = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(&get("/a.txt", "Connection: close\r\n"))?;
            stream.read_to_string(&mut text)
        });
        match answered {
            Ok(_) if ["first\n", "second\n", "third\n"].iter().any(|end| text.ends_with(end)) => {}
            Ok(_) => failed.push(format!("no answer: {text}")),
            Err(error) => failed.push(error.to_string()),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    failed
}

#[test]
fn a_new_root_is_served_by_a_successor_and_no_connection_fails() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let mut server = site.launch(&["--sandbox", "on", "--workers", "2"]).start();
    let (address, first) = (server.address(), broker_of(&server));
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let failed = std::thread::scope(|scope| {
        let loading: Vec<_> =
            (0..3).map(|_| scope.spawn(|| load(address, &stop, &asked))).collect();
        for (root, text) in [("other", "second\n"), ("third", "third\n"), ("root", "first\n")] {
            site.rewrite(&format!("root = \"../{root}\"\n"));
            server.signal(Signal::HUP);
            eventually("the new root is served", || (ask(&server) == text).then_some(()));
            let before = asked.load(Ordering::Relaxed);
            eventually("the load goes on", || {
                (asked.load(Ordering::Relaxed) > before + 20).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        loading.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(failed, Vec::<String>::new(), "of {asked:?} requests");
    // The process that was started stays, and passes on what it is told; the ones between are gone.
    assert!(server.runs());
    site.rewrite("root = \"../root\"\nlisting = true\n");
    reload(&server, "reloads");
    let told = eventually("the ones between end", || {
        let told = server.stderr();
        let ended = told.matches("ended; another process serves in this one's place").count();
        (ended == 2).then_some(told)
    });
    let successor = told.rsplit("draining process=").next().unwrap();
    let successor: u32 = successor.lines().next().unwrap().trim().parse().unwrap();
    assert!(is_running(successor) && is_running(first));
    let all = [successor, first].into_iter().chain(children_of(successor)).collect::<Vec<_>>();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    for process in all {
        eventually("no process is left", || (!is_running(process)).then_some(()));
    }
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_successor_ends_with_the_process_that_was_started() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let mut server = site.launch(&[]).start();
    let address = server.address();
    site.rewrite("root = \"../other\"\n");
    server.signal(Signal::HUP);
    eventually("the new root is served", || (ask(&server) == "second\n").then_some(()));
    kill(server.id());
    eventually("nobody serves", || TcpStream::connect(address).is_err().then_some(()));
    server.wait();
}

/// A server whose place a successor has taken: the process that was started, and the number of the
/// one that serves.
fn succeeded(site: &Site) -> (Server, u32) {
    site.rewrite("root = \"../root\"\n");
    let server = site.launch(&[]).start();
    site.rewrite("root = \"../other\"\n");
    server.signal(Signal::HUP);
    eventually("the new root is served", || (ask(&server) == "second\n").then_some(()));
    let successor = eventually("it is named", || {
        let told = server.stderr();
        told.split("draining process=").nth(1)?.lines().next()?.trim().parse().ok()
    });
    (server, successor)
}

#[test]
fn a_successor_that_is_killed_is_no_success() {
    if !can_confine() {
        return;
    }
    let site = Site::new("");
    let (mut server, successor) = succeeded(&site);
    let name = std::fs::read_to_string(format!("/proc/{successor}/comm")).unwrap();
    assert_eq!(name, "pitcrew\n");
    kill(successor);
    assert_eq!(server.wait().code(), Some(70), "{}", server.stderr());
    assert!(server.stderr().contains("was killed, or failed"), "{}", server.stderr());
}

/// More than two sockets hold.
const BYTES: u64 = 32 << 20;

/// As systemd stops a unit: every process of it gets the signal.
#[test]
fn a_signal_to_both_processes_is_one_signal() {
    if !can_confine() {
        return;
    }
    let site = Site::new("");
    site.scratch.pattern("other/large.bin", 7, BYTES);
    let (mut server, successor) = succeeded(&site);
    // An answer that is under way, and longer than what lies in sockets.
    let mut wire = TcpStream::connect(server.address()).unwrap();
    wire.write_all(&get("/large.bin", "Connection: close\r\n")).unwrap();
    let mut text = vec![0];
    wire.read_exact(&mut text).unwrap();
    let process = rustix::process::Pid::from_raw(successor.cast_signed()).unwrap();
    rustix::process::kill_process(process, Signal::TERM).unwrap();
    server.signal(Signal::TERM);
    eventually("it drains", || {
        server.stderr().contains("the same signal again ends at once").then_some(())
    });
    assert!(!server.stderr().contains("ended at once"), "{}", server.stderr());
    assert!(wire.read_to_end(&mut text).unwrap() as u64 > BYTES, "it was cut");
    assert!(server.wait().success(), "{}", server.stderr());
    assert!(!server.stderr().contains("ended at once"), "{}", server.stderr());
}

/// As root only: a process of its own name space, as in a container.
#[test]
fn the_first_process_of_a_container_hears_of_every_end() {
    let apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let can = std::process::Command::new(apart[0]).args(&apart[1..]).arg("true").status();
    if !can.is_ok_and(|ended| ended.success()) {
        return skipped("the first process of a container", "no name space of processes");
    }
    let site = Site::new("");
    let marker = site.scratch.join("log/marker");
    let orphan = format!("(sh -c 'echo > {}' &); exec cat > /dev/null", marker.display());
    site.rewrite(&format!("root = \"../root\"\naccess-log = [\"|{orphan}\"]\n"));
    let server = site.launch(&[]).through(&apart).start();
    let first = eventually("it runs", || children_of(server.id()).first().copied());
    eventually("the orphan has run", || marker.exists().then_some(()));
    let children = || {
        let tasks = format!("/proc/{first}/task/{first}/children");
        std::fs::read_to_string(tasks).unwrap().split_whitespace().count()
    };
    eventually("none but the broker is left", || (children() == 1).then_some(()));
    assert_eq!(ask(&server), "first\n");
}

#[test]
fn a_root_that_is_not_there_changes_nothing() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let server = site.launch(&[]).start();
    // What leads out of the ground, and needs an address that is not of this machine.
    site.rewrite("root = \"../other\"\ntelemetry-listen = [\"192.0.2.1:1\"]\n");
    reload(&server, "refused");
    eventually("it is told", || server.stderr().contains("192.0.2.1:1").then_some(()));
    assert_eq!(ask(&server), "first\n");
    site.rewrite("root = \"../root\"\nlisting = true\n");
    reload(&server, "reloads");
    // A file that is read again and lies elsewhere.
    let lab = site.scratch.write("third/lab.json", "{}");
    site.rewrite(&format!("root = \"../root\"\nlab-results = \"{}\"\n", lab.display()));
    reload(&server, "refused");
    assert!(server.stderr().contains("it has no version"), "{}", server.stderr());
}

#[test]
fn a_service_manager_is_told_which_process_serves() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let manager = Manager::at(site.scratch.join("conf/notify"));
    let heard = || manager.hears();
    let mut server = manager.of(site.launch(&[])).start();
    assert_eq!(heard(), "READY=1");
    site.rewrite("root = \"../other\"\n");
    server.signal(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\n"));
    // In any order: who serves says so, and the one before it has said the same, both words at
    // once, so that no order of the two processes loses them.
    let mut words = [heard(), heard(), heard()];
    words.sort();
    let main = words[0].clone();
    let successor: u32 = main.strip_prefix("MAINPID=").unwrap().parse().unwrap();
    assert_eq!(words[1..], [format!("{main}\nREADY=1"), "READY=1".to_owned()]);
    eventually("the first process ends", || (!server.runs()).then_some(()));
    assert_eq!(ask(&server), "second\n");
    assert!(is_running(successor));
    let successor = rustix::process::Pid::from_raw(successor.cast_signed()).unwrap();
    rustix::process::kill_process(successor, Signal::TERM).unwrap();
    assert_eq!(heard(), "STOPPING=1");
    server.wait();
}
