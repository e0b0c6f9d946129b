//! The first signal drains, the second ends.

use std::fs::{self, OpenOptions};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use super::common::{ENGINES, End, Pattern, Scratch, Server, Wire, eventually, figure, get};

const BIG: u64 = 24 << 20;

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.pattern("big.bin", 41, BIG);
    scratch.write("plain.txt", "still here\n");
    scratch
}

fn stalled(server: &Server) -> Wire {
    let mut wire = Wire::narrow(server.address());
    wire.send(&get("/big.bin", ""));
    assert_eq!(wire.head().unwrap().status, 200);
    wire
}

/// Waits until nobody can connect any more.
fn stops_accepting(server: &Server) {
    let address = server.address();
    eventually("the server stops accepting", || {
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).err()
    });
}

/// RFC 9112 section 9.6: what is owed is sent before the close.
#[test]
fn a_download_in_flight_is_finished_before_the_end() {
    for engine in ENGINES {
        for signal in [Signal::TERM, Signal::INT] {
            let scratch = tree();
            let mut server = Server::engine(engine, scratch.path());
            let mut wire = stalled(&server);
            server.signal(signal);
            stops_accepting(&server);
            wire.widen();
            let body = wire.exact(BIG as usize).unwrap();
            assert!(body == Pattern::new(41).bytes(0, BIG as usize), "{engine}: wrong bytes");
            assert_eq!(wire.end(), End::Closed, "{engine}");
            drop(wire);
            assert_eq!(server.wait().code(), Some(0), "{engine}: {}", server.stderr());
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let scratch = tree();
        let mut server = Server::engine("sendfile", scratch.path());
        let wire = stalled(&server);
        server.signal(first);
        stops_accepting(&server);
        assert!(server.runs(), "it waits for the download");
        server.signal(second);
        // The download still stands still: only the second signal can have ended the server.
        server.wait();
        drop(wire);
    }
}

/// Whoever reads the log takes nothing, so the last records wait for their time: a second signal is
/// heard meanwhile.
#[test]
fn a_second_signal_is_heard_while_the_last_records_wait_for_their_reader() {
    let scratch = tree();
    let fifo = scratch.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Open for both, it can be opened before anybody else has, and is never read.
    let held = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    fcntl_setpipe_size(&held, 4096).unwrap();
    let log = ["--workers", "1", "--access-log", fifo.to_str().unwrap()];
    let mut server = Server::start(&log, scratch.path());
    let mut wire = server.connect();
    // More than fits.
    for _ in 0..200 {
        wire.send(&get("/plain.txt", ""));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    drop(wire);
    server.signal(Signal::TERM);
    let threads = format!("/proc/{}/task", server.id());
    eventually("the workers have ended, and their records are waited for", || {
        let names = fs::read_dir(&threads).unwrap().filter_map(|one| {
            // One that ends meanwhile has no name.
            fs::read_to_string(one.ok()?.path().join("comm")).ok()
        });
        names.into_iter().any(|name| name.trim() == "log-end").then_some(())
    });
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let told = server.stderr();
    assert!(told.contains("ended at once") && !told.contains("takes its records too slowly"));
    drop(held);
}

/// RFC 9112 section 9.5: an idle connection may be closed at any time.
#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let scratch = tree();
    let mut server = Server::start(&["--engine", "sendfile", "--workers", "2"], scratch.path());
    let mut idle: Vec<Wire> = (0..40).map(|_| server.connect()).collect();
    for wire in idle.iter_mut().step_by(2) {
        wire.send(&get("/plain.txt", ""));
        assert_eq!(wire.response().unwrap().status, 200);
    }
    // The others were accepted when this figure says so; they have never asked anything.
    server.figure_until(&["connections", "accepted"], |count| count >= 40);
    server.signal(Signal::TERM);
    for wire in &mut idle {
        assert_eq!(wire.end(), End::Closed);
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

/// Every signal that does not end it, by the hundred, while a body is on its way: it is whole, who
/// comes meanwhile is served, and the last configuration serves to the end.
#[test]
fn signals_in_numbers_change_no_byte() {
    const KINDS: [Signal; 7] = [
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::CHILD,
        Signal::WINCH,
        Signal::STOP,
        Signal::CONT,
    ];
    for engine in ENGINES {
        let scratch = tree();
        let arguments = ["--engine", engine, "--workers", "1", "--drain-timeout", "10m"];
        let mut server = Server::start(&arguments, scratch.path());
        let mut wire = stalled(&server);
        let mut got = Vec::new();
        for _ in 0..100 {
            KINDS.into_iter().for_each(|signal| server.signal(signal));
            let mut other = server.connect();
            other.send(&get("/plain.txt", "Connection: close\r\n"));
            assert_eq!(other.response().unwrap().body, b"still here\n", "{engine}");
            got.extend(wire.exact(1000).unwrap());
        }
        server.figure_until(&["configuration", "reloads"], |count| count > 1);
        assert_eq!(server.figure(&["configuration", "refused"]), 0, "{engine}");
        wire.widen();
        got.extend(wire.exact(BIG as usize - got.len()).unwrap());
        assert!(got == Pattern::new(41).bytes(0, BIG as usize), "{engine}: wrong bytes");
        drop(wire);
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0), "{engine}: {}", server.stderr());
    }
}

/// Seen from a server that stands still for a while the clock leaps. What is due by then ends,
/// once, and nobody else does.
#[test]
fn a_clock_that_leaps_ends_what_is_due_once_and_nobody_else() {
    const TIMES: [&str; 4] = ["--head-timeout", "1s", "--idle-timeout", "1s"];
    const LEAP: Duration = Duration::from_millis(1500);
    let scratch = tree();
    let stopped = ENGINES.map(|engine| {
        let arguments = [&["--engine", engine, "--workers", "1"][..], &TIMES].concat();
        let server = Server::start(&arguments, scratch.path());
        let download = stalled(&server);
        let mut half = server.connect();
        half.send(b"GET /plain.txt HTTP/1.1\r\nHo");
        // Its answer shows that the worker has been with those before it.
        let mut idle = server.connect();
        idle.serves().unwrap();
        server.signal(Signal::STOP);
        let mut queued = server.connect();
        queued.send(&get("/plain.txt", "Connection: close\r\n"));
        (engine, server, download, [half, idle, queued])
    });
    std::thread::sleep(LEAP);
    stopped.iter().for_each(|(_, server, ..)| server.signal(Signal::CONT));
    for (engine, server, mut download, [mut half, mut idle, mut queued]) in stopped {
        assert_eq!(half.response().unwrap().status, 408, "{engine}");
        assert_eq!((half.end(), idle.end()), (End::Closed, End::Closed), "{engine}");
        drop(half);
        let mut newcomer = server.connect();
        newcomer.send(&get("/plain.txt", "Connection: close\r\n"));
        for wire in [&mut queued, &mut newcomer] {
            assert_eq!(wire.response().unwrap().body, b"still here\n", "{engine}");
        }
        download.widen();
        let body = download.exact(BIG as usize).unwrap();
        assert!(body == Pattern::new(41).bytes(0, BIG as usize), "{engine}: wrong bytes");
        drop(download);
        server.figure_until(&["farewells", "head_timeout"], |count| count >= 1);
        let told = server.telemetry();
        let ended = ["head_timeout", "idle", "head_slow", "send_timeout", "send_slow"]
            .map(|farewell| figure(&told, &["farewells", farewell]));
        assert_eq!(ended, [1, 1, 0, 0, 0], "{engine}: {:#}", told["farewells"]);
    }
}

/// A server that is killed under load leaves its port to the next one, which serves at once.
#[test]
fn a_server_that_is_killed_under_load_is_started_again_at_its_port() {
    for engine in ENGINES {
        let scratch = tree();
        let mut server = Server::engine(engine, scratch.path());
        let address = server.address();
        let mut loaded: Vec<_> = (0..8).map(|_| stalled(&server)).collect();
        // Some wait in its queue, too.
        server.signal(Signal::STOP);
        loaded.extend((0..8).map(|_| server.connect()));
        server.signal(Signal::KILL);
        assert!(!server.wait().success(), "{engine}");
        for (number, wire) in loaded.iter_mut().enumerate() {
            wire.widen();
            let body = wire.rest().0;
            assert!((body.len() as u64) < BIG, "{engine}: {number} is whole");
        }
        let listen = address.to_string();
        let arguments = ["--engine", engine, "--listen", &listen];
        let mut next = Server::start(&arguments, scratch.path());
        assert_eq!(next.address(), address);
        for _ in 0..20 {
            let mut wire = next.connect();
            wire.send(&get("/plain.txt", ""));
            assert_eq!(wire.response().unwrap().body, b"still here\n", "{engine}");
        }
        drop(loaded);
        next.signal(Signal::TERM);
        assert_eq!(next.wait().code(), Some(0), "{engine}: {}", next.stderr());
    }
}

/// Nothing to wait for at all.
#[test]
fn a_server_that_was_never_used_ends_cleanly() {
    let scratch = tree();
    for engine in ENGINES {
        let mut server = Server::engine(engine, scratch.path());
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0), "{engine}: {}", server.stderr());
    }
}

/// A socket in the file system goes away with its server.
#[test]
fn a_unix_socket_is_removed_at_the_end() {
    let scratch = tree();
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("http");
    let unix = format!("unix:{}", path.display());
    let mut server = Server::start(&["--listen", &unix], scratch.path());
    Wire::unix(&path).serves().unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(!path.exists(), "the socket is left behind");
}

/// A close of a listener resets who waits in its queue, so it accepts for a last time before.
#[test]
fn who_waits_in_the_queue_of_a_full_server_is_told_at_its_end() {
    let scratch = tree();
    let flags = ["--workers", "1", "--connections", "1", "--connections-beyond", "wait"];
    let mut server = Server::start(&flags, scratch.path());
    let mut held = server.connect();
    held.serves().unwrap();
    // What has begun gives its place to nobody.
    held.send(b"GET /plain.txt HTTP/1.1\r\nHost: test\r\n");
    let mut waiting: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    for wire in &mut waiting {
        wire.send(&get("/plain.txt", ""));
    }
    server.signal(Signal::TERM);
    for (number, wire) in waiting.iter_mut().enumerate() {
        let answer = wire.response().unwrap_or_else(|fault| panic!("{number}: {fault:?}"));
        assert!([200, 503].contains(&answer.status), "{number}: {}", answer.status);
    }
    held.send(b"\r\n");
    assert_eq!(held.response().unwrap().body, b"still here\n");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

/// A request that was there before the signal is answered, also one whose connection was not yet
/// accepted: its client could not know.
#[test]
fn requests_that_were_sent_before_the_signal_are_answered() {
    for _ in 0..8 {
        let scratch = tree();
        let mut server = Server::start(&["--workers", "2"], scratch.path());
        let mut wires: Vec<Wire> = (0..20).map(|_| server.connect()).collect();
        server.figure_until(&["connections", "accepted"], |count| count >= 20);
        // It stands still while it all comes, so that it finds everything at once.
        server.signal(Signal::STOP);
        wires.extend((0..20).map(|_| server.connect()));
        for wire in &mut wires {
            wire.send(&get("/plain.txt", ""));
        }
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for (number, wire) in wires.iter_mut().enumerate() {
            let answer = wire.response().unwrap_or_else(|fault| panic!("{number}: {fault:?}"));
            assert_eq!(answer.body, b"still here\n");
            assert_eq!(wire.end(), End::Closed);
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }
}
