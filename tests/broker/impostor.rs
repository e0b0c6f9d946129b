//! A predecessor that was taken over: what it says at a hand-over, and who it is.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::Site;
use crate::common::{Launch, PATIENCE, skipped};
use pitcrew::sys::Exchange;
use pitcrew::sys::hand_over::Waiting;
use rustix::process::Signal;

/// Greets whoever asks at a place, which goes with the first value.
fn asked(waiting: &Waiting) -> Exchange {
    let exchange = waiting.accept(PATIENCE).unwrap();
    let (hello, _) = exchange.receive().unwrap();
    exchange.send(&hello, &[]).unwrap();
    exchange
}

#[test]
fn nothing_that_a_predecessor_names_is_removed_but_a_socket_that_it_passed() {
    let site = Site::new("");
    let place = site.scratch.join("conf/place");
    let precious = site.scratch.write("precious", "x");
    let (foreign, own) = (site.scratch.join("conf/foreign"), site.scratch.join("conf/own"));
    let _foreign = UnixListener::bind(&foreign).unwrap();
    site.rewrite(&format!("root = \"../root\"\nhand-over = \"{}\"\n", place.display()));
    let (waiting, path) = Waiting::open(&place).unwrap();
    let names = [precious.clone(), foreign.clone(), own.clone()];
    let hostile = std::thread::spawn(move || {
        let exchange = asked(&waiting);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(&names[2]).unwrap();
        for (name, socket) in [(0, tcp.as_fd()), (1, tcp.as_fd()), (1, unix.as_fd())] {
            let name = names[name].as_os_str().as_bytes();
            exchange.send(&[&b"site\0unix\0"[..], name].concat(), &[socket]).unwrap();
            // Another address between two of the same.
            exchange.send(b"telemetry\0tcp\x00127.0.0.1:1", &[tcp.as_fd()]).unwrap();
        }
        let name = names[2].as_os_str().as_bytes();
        exchange.send(&[&b"site\0unix\0"[..], name].concat(), &[unix.as_fd()]).unwrap();
        exchange.send(b"that is all", &[]).unwrap();
        let (word, _) = exchange.receive().unwrap();
        assert!(word.starts_with(b"serving"), "{word:?}");
        drop((waiting, path));
        exchange.send(b"leaving", &[]).unwrap();
        assert_eq!(exchange.receive().unwrap().0, b"");
    });
    let mut server = site.launch(&[]).start();
    hostile.join().unwrap();
    assert_eq!(crate::ask(&server), "first\n");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert_eq!(fs::read(&precious).unwrap(), b"x");
    assert!(foreign.exists());
}

#[test]
fn a_hand_over_without_an_end_is_given_up() {
    let site = Site::new("");
    let place = site.scratch.join("conf/place");
    site.rewrite(&format!("root = \"../root\"\nhand-over = \"{}\"\n", place.display()));
    let (waiting, _path) = Waiting::open(&place).unwrap();
    let endless = std::thread::spawn(move || {
        let exchange = asked(&waiting);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let send = || exchange.send(b"site\0tcp\x00127.0.0.1:1", &[socket.as_fd()]);
        while send().is_ok() {}
    });
    let (ended, told) = site.launch(&[]).refused();
    endless.join().unwrap();
    assert_eq!(ended.code(), Some(5), "{told}");
    assert!(told.contains("it sends without an end"), "{told}");
}

/// As root only, who alone can be somebody else.
#[test]
fn a_stranger_at_the_place_of_hand_over_is_not_spoken_with() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a stranger at the place", "only root becomes another user");
    }
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let place = scratch.path().join("place");
    let at = place.clone();
    let opened = std::thread::spawn(move || {
        // Of this thread alone.
        let user = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        Waiting::open(&at).unwrap()
    });
    let (_waiting, _path) = opened.join().unwrap();
    let launch = |more: &[&str]| {
        let place = ["--hand-over", place.to_str().unwrap()];
        Launch::new(&[&place[..], more].concat()).root(Path::new(env!("CARGO_MANIFEST_DIR")))
    };
    let (ended, told) = launch(&[]).refused();
    assert_eq!(ended.code(), Some(5), "{told}");
    assert!(told.contains("user 65534 waits there"), "{told}");
}
