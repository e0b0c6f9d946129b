//! New configurations and new processes under load: no connection is refused or reset, no answer
//! is short, and what is wrong changes nothing.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{
    End, Launch, Listening, Manager, PATIENCE, Pattern, Scratch, Server, Stop, Wire, eventually,
    get, listens_at,
};
use pitcrew::sys::Exchange;
use pitcrew::sys::hand_over::Waiting;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

const BYTES: u64 = 300_000;

/// A tree with a small and a larger file, and a configuration beside it.
struct Site {
    scratch: Scratch,
    file: PathBuf,
}

impl Site {
    fn new(configuration: &str) -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("root")).unwrap();
        scratch.write("root/small.txt", "small\n");
        scratch.pattern("root/large.bin", 7, BYTES);
        let file = scratch.write("pitcrew.toml", configuration);
        Self { scratch, file }
    }

    fn launch(&self, more: &[&str]) -> Launch {
        let options = ["--config", self.file.to_str().unwrap()];
        Launch::new(&[&options[..], more].concat()).root(&self.scratch.join("root"))
    }

    fn rewrite(&self, configuration: &str) {
        fs::write(&self.file, configuration).unwrap();
    }
}

/// One connection with one request, whose answer has to be whole.
fn fetch(address: SocketAddr, path: &str, length: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&get(path, "Connection: close\r\n"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let whole = head.is_some_and(|at| answer.len() - at - 4 == length);
    if answer.starts_with(b"HTTP/1.1 200 ") && whole {
        Ok(())
    } else {
        let begin = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        Err(io::Error::other(format!("{} bytes: {begin}", answer.len())))
    }
}

/// One request on a connection that is kept. Whether it stays; none if the server has ended it in
/// order and without a byte of an answer.
fn ask_again(stream: &mut TcpStream) -> io::Result<Option<bool>> {
    stream.write_all(&get("/small.txt", ""))?;
    let (mut answer, mut part) = (Vec::new(), [0; 1000]);
    while !answer.ends_with(b"\r\n\r\nsmall\n") {
        match stream.read(&mut part)? {
            0 if answer.is_empty() => return Ok(None),
            0 => return Err(io::Error::other("the end of the connection in an answer")),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    Ok(Some(!answer.contains("\r\nconnection: close\r\n")))
}

/// Asks again and again on one connection, and on the next one when that has ended.
fn keeps_asking(address: SocketAddr, stop: &AtomicBool, load: &Load) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        while !stop.load(Ordering::Relaxed) {
            let stays = ask_again(&mut stream)?;
            load.asked.fetch_add(u64::from(stays.is_some()), Ordering::Relaxed);
            match stays {
                Some(true) => continue,
                Some(false) => load.told.fetch_add(1, Ordering::Relaxed),
                None => load.repeated.fetch_add(1, Ordering::Relaxed),
            };
            break;
        }
    }
    Ok(())
}

/// What came of a load.
#[derive(Debug, Default)]
struct Load {
    asked: AtomicU64,
    /// Connections that were kept and ended by an answer that said so.
    told: AtomicU64,
    /// Those that were ended in order before a request on them was answered. No failure: nothing of
    /// it was looked at, and a client asks again on another connection (RFC 9112 section 9.3.1). A
    /// reset would be one.
    repeated: AtomicU64,
}

impl Load {
    /// Kept connections were told of their end, and hardly one was left to guess.
    fn was_told(&self) {
        let (told, repeated) = (self.told.load(Ordering::Relaxed), &self.repeated);
        assert!(told > repeated.load(Ordering::Relaxed), "{self:?}");
    }
}

/// Loads a server while something is done to it. What failed, and how much was asked.
fn under_load(address: SocketAddr, act: impl FnOnce(&AtomicU64)) -> (Vec<String>, Load) {
    let (stop, load) = (AtomicBool::new(false), Load::default());
    let failures = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (stop, load) = (&stop, &load);
                scope.spawn(move || {
                    let mut failed = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let result = match number % 3 {
                            0 => fetch(address, "/small.txt", 6),
                            1 => fetch(address, "/large.bin", BYTES as usize),
                            _ => keeps_asking(address, stop, load),
                        };
                        // Who keeps its connection has counted.
                        load.asked.fetch_add(u64::from(number % 3 < 2), Ordering::Relaxed);
                        failed.extend(result.err().map(|error| error.to_string()));
                    }
                    failed
                })
            })
            .collect();
        let stopping = Stop(&stop);
        act(&load.asked);
        // Some more, by what serves now alone.
        more(&load.asked);
        drop(stopping);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (failures, load)
}

fn more(asked: &AtomicU64) {
    let before = asked.load(Ordering::Relaxed);
    eventually("the load goes on", || (asked.load(Ordering::Relaxed) > before + 20).then_some(()));
}

fn reloads(server: &Server) -> u64 {
    server.figure(&["configuration", "reloads"])
}

fn reload(server: &Server) {
    let before = reloads(server);
    server.signal(Signal::HUP);
    server.figure_until(&["configuration", "reloads"], |count| count == before + 1);
}

#[test]
fn configurations_change_under_load_and_no_connection_fails() {
    let site = Site::new("workers = 2\n");
    let server = site.launch(&[]).start();
    let address = server.address();
    let (failed, load) = under_load(address, |asked| {
        for configuration in [
            "workers = 1\nengine = \"splice\"\n",
            "workers = 3\nengine = \"uring\"\n",
            "workers = 2\nengine = \"direct\"\n",
            "workers = 1\nengine = \"copy\"\n",
            "workers = 2\nengine = \"sendfile\"\nlisting = true\n",
        ] {
            more(asked);
            site.rewrite(configuration);
            reload(&server);
        }
    });
    assert_eq!(failed, Vec::<String>::new(), "{load:?}");
    load.was_told();
    let told = server.telemetry();
    assert_eq!(told["server"]["workers"], 2);
    assert_eq!(told["server"]["engine"], "sendfile");
    // Counters go on over all configurations.
    assert!(common::figure(&told, &["responses", "200"]) >= load.asked.load(Ordering::Relaxed));
    // A worker that retires may accept for a moment yet.
    eventually("listings are on now", || {
        let mut wire = server.connect();
        wire.send(&get("/", "Accept: application/json\r\n"));
        wire.response().unwrap().text().contains("large.bin").then_some(())
    });
    // Earlier workers are gone, and their levels with them.
    server.figure_until(&["connections", "open"], |open| open <= 2);
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_why() {
    let site = Site::new("index = [\"small.txt\"]\n");
    let server = site.launch(&[]).start();
    for (count, (wrong, says)) in [
        ("index = [\"other.txt\"]\nenginne = \"copy\"\n", "did you mean 'engine'"),
        ("index = [\"other.txt\"]\nworkers = 0\n", "workers"),
        ("index = [\"other.txt\"]\n[[mounts]]\npath = \"/m/\"\nroot = \"/no/such\"\n", "/no/such"),
        ("index = [\"other.txt\"]\ntelemetry-listen = [\"192.0.2.1:1\"]\n", "192.0.2.1:1"),
    ]
    .into_iter()
    .enumerate()
    {
        site.rewrite(wrong);
        server.signal(Signal::HUP);
        let refused = count as u64 + 1;
        server.figure_until(&["configuration", "refused"], |count| count == refused);
        eventually(&format!("'{says}' is said of {wrong}"), || {
            let told = server.stderr();
            let said = told.matches("the earlier one stays in force").count() as u64 == refused;
            (said && told.contains(says)).then_some(())
        });
        let mut wire = server.connect();
        wire.send(&get("/", ""));
        assert_eq!(wire.response().unwrap().body, b"small\n");
    }
    assert_eq!(reloads(&server), 0);
    site.rewrite("index = [\"large.bin\"]\n");
    reload(&server);
    // A worker that retires may accept for a moment yet.
    eventually("the new index is served", || {
        let mut wire = server.connect();
        wire.send(&get("/", ""));
        (wire.response().unwrap().body.len() as u64 == BYTES).then_some(())
    });
}

/// Wherever a reload finds no descriptor any more, a ring included, which the second worker lacks
/// while the first one is ready: the earlier configuration serves on, and nothing is left behind.
#[test]
fn a_reload_that_runs_out_of_descriptors_changes_nothing() {
    let site = Site::new("workers = 2\nindex = [\"small.txt\"]\n");
    let server = site.launch(&[]).start();
    let ask = |wire: &mut Wire| {
        wire.send(&get("/", ""));
        wire.response().unwrap().body
    };
    let mut kept = server.connect();
    assert_eq!(ask(&mut kept), b"small\n");
    // So many leave no worker out: what each opens for its first request is open.
    (0..40).for_each(|_| assert_eq!(ask(&mut server.connect()), b"small\n"));
    server.figure_until(&["connections", "open"], |open| open <= 2);
    let descriptors = Descriptors::of(&server);
    // Whether the file is kept open is not of interest.
    let held = || descriptors.names().iter().filter(|name| !name.ends_with(".txt")).count();
    let usual = held();
    site.rewrite("workers = 2\nindex = [\"large.bin\"]\n");
    let said = |what: &str| server.stderr().matches(what).count();
    let (refused, taken) = ("the earlier one stays in force", "serving by the new configuration");
    for free in 0.. {
        let before = said(refused);
        let limit = descriptors.leave(free);
        server.signal(Signal::HUP);
        eventually("it is refused or taken", || {
            (said(refused) + said(taken) > before).then_some(())
        });
        drop(limit);
        if said(taken) > 0 {
            break;
        }
        assert_eq!(ask(&mut kept), b"small\n", "{free}: {}", server.stderr());
        // Till then a worker that is not to serve may accept.
        eventually(&format!("what was begun is given back: {:#?}", descriptors.names()), || {
            (held() <= usual).then_some(())
        });
        assert_eq!(ask(&mut server.connect()), b"small\n", "{free}: {}", server.stderr());
    }
    assert!(said("a worker has no ring: Too many open files") > 0, "{}", server.stderr());
    eventually("the new configuration is served", || {
        (ask(&mut server.connect()).len() as u64 == BYTES).then_some(())
    });
}

/// The descriptors of a server, and its limit of them.
struct Descriptors(Pid);

impl Descriptors {
    fn of(server: &Server) -> Self {
        Self(Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap())
    }

    /// Their numbers.
    fn open(&self) -> BTreeSet<u64> {
        let listed = fs::read_dir(format!("/proc/{}/fd", self.0.as_raw_nonzero())).unwrap();
        listed.map(|one| one.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// What they lead to.
    fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(format!("/proc/{}/fd", self.0.as_raw_nonzero())).unwrap();
        // What is closed meanwhile leads nowhere.
        let names = listed.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
        names.map(|name| name.display().to_string()).collect()
    }

    /// Leaves so many that may be opened, until the value is dropped.
    fn leave(&self, free: usize) -> Limit {
        let open = self.open();
        let mut unused = (0..).filter(|number| !open.contains(number));
        let usual = prlimit(Some(self.0), Resource::Nofile, limit_of(unused.nth(free))).unwrap();
        Limit { process: self.0, usual }
    }
}

/// A limit that is raised again when this is dropped.
struct Limit {
    process: Pid,
    usual: Rlimit,
}

impl Drop for Limit {
    fn drop(&mut self) {
        // One that has ended has none.
        let _ = prlimit(Some(self.process), Resource::Nofile, self.usual);
    }
}

/// The soft limit alone, which may be raised again.
fn limit_of(current: Option<u64>) -> Rlimit {
    Rlimit { current, maximum: getrlimit(Resource::Nofile).maximum }
}

/// accept(2) takes its descriptor before it waits, so one that has none fails at once.
#[test]
fn a_server_without_descriptors_hears_its_successor_once_there_are_some() {
    let site = Site::new("");
    let place = site.scratch.join("hand-over");
    let server = site.launch(&["--hand-over", place.to_str().unwrap()]).start();
    let hello = |exchange: &Exchange| exchange.send(b"pitcrew hand-over 1", &[]).unwrap();
    let ask = || Exchange::ask(&place, PATIENCE).unwrap();
    let first = eventually("it waits there", ask);
    hello(&first);
    while first.receive().unwrap().0 != b"that is all" {}
    drop(first);
    let gone = || server.stderr().contains("did not come to serve").then_some(());
    eventually("it hears the next one", gone);
    let limit = Descriptors::of(&server).leave(0);
    // Who leaves again has used what the thread had taken for the next one, if it had already.
    drop(ask().expect("it listens there"));
    let said = || server.stderr().matches("who asks for the listeners cannot be heard").count();
    eventually("it is said", || (said() > 0).then_some(()));
    let second = ask().expect("it listens there");
    hello(&second);
    // A thread that tries without a rest has said it often before this is answered.
    server.signal(Signal::USR1);
    eventually("signals are obeyed", || server.stderr().contains("no access log").then_some(()));
    drop(limit);
    while second.receive().unwrap().0 != b"that is all" {}
    assert_eq!(said(), 1, "{}", server.stderr());
}

#[test]
fn an_answer_begun_before_a_reload_is_finished_after_it() {
    let site = Site::new("");
    site.scratch.pattern("root/huge.bin", 9, 64 << 20);
    let server = site.launch(&["--workers", "1"]).start();
    let mut slow = server.connect();
    slow.send(&get("/huge.bin", ""));
    let head = slow.head().unwrap();
    reload(&server);
    let body = slow.exact(64 << 20).unwrap();
    assert_eq!(head.status, 200);
    assert!(body == Pattern::new(9).bytes(0, 64 << 20), "other bytes");
    // It is not kept by who has a successor.
    assert_eq!(slow.end(), End::Closed);
}

#[test]
fn addresses_come_and_go_with_a_reload() {
    let site = Site::new("");
    let socket = site.scratch.join("socket");
    let also = format!("telemetry-listen = [\"unix:{}\"]\n", socket.display());
    let mut server = site.launch(&[]).start();
    assert!(!socket.exists());
    site.rewrite(&also);
    let before = server.address();
    server.signal(Signal::HUP);
    // The path is there a moment before somebody listens.
    eventually("telemetry is told at its own address", || UnixStream::connect(&socket).ok());
    let ready = || {
        let mut wire = Listening::Unix(socket.clone()).connect();
        wire.send(&get("/ready", ""));
        wire.response().unwrap().status
    };
    assert_eq!(ready(), 200);
    site.rewrite("");
    server.signal(Signal::HUP);
    eventually("the address is given up", || (!socket.exists()).then_some(()));
    assert_eq!(server.address(), before);
    fetch(before, "/small.txt", 6).unwrap();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

#[test]
fn a_new_process_takes_over_under_load_and_no_connection_fails() {
    let site = Site::new("");
    let (place, local) = (site.scratch.join("hand-over"), site.scratch.join("local"));
    let options = |workers: &str| {
        let (place, local) = (place.display().to_string(), format!("unix:{}", local.display()));
        let listen = ["--listen", "127.0.0.1:0", "--listen", &local];
        [&["--hand-over", &place, "--workers", workers], &listen[..]].concat().join(" ")
    };
    let start =
        |workers: &str| site.launch(&options(workers).split(' ').collect::<Vec<_>>()).start();
    let mut serving = start("2");
    let address = serving.address();
    let (failed, load) = under_load(address, |asked| {
        for workers in ["1", "3", "2"] {
            more(asked);
            listens_at(&place);
            let next = start(workers);
            assert_eq!(next.address(), address, "another address");
            let ended = std::mem::replace(&mut serving, next).wait();
            assert_eq!(ended.code(), Some(0));
            let mut wire = Listening::Unix(local.clone()).connect();
            wire.send(&get("/small.txt", ""));
            assert_eq!(wire.response().unwrap().body, b"small\n");
        }
    });
    assert_eq!(failed, Vec::<String>::new(), "{load:?}");
    load.was_told();
    serving.signal(Signal::TERM);
    assert!(serving.wait().success());
    assert!(!place.exists() && !local.exists(), "a path is left behind");
}

#[test]
fn a_successor_that_does_not_come_up_changes_nothing() {
    let site = Site::new("");
    let place = site.scratch.join("hand-over").display().to_string();
    let mut server = site.launch(&["--hand-over", &place]).start();
    // It is announced before it can be succeeded.
    listens_at(Path::new(&place));
    let odd = Launch::new(&["--hand-over", &place, "--telemetry-listen", "192.0.2.1:1"]);
    let (status, told) = odd.root(&site.scratch.join("root")).refused();
    assert_eq!(status.code(), Some(5), "{told}");
    eventually("the server has noticed", || {
        server.stderr().contains("did not come to serve").then_some(())
    });
    fetch(server.address(), "/small.txt", 6).unwrap();
    assert!(server.runs());
    // Another program at that place is no server.
    let precious = site.scratch.write("precious", "x");
    let there = Launch::new(&["--hand-over", precious.to_str().unwrap()]);
    let (status, told) = there.root(&site.scratch.join("root")).refused();
    assert_eq!(status.code(), Some(5), "{told}");
    assert!(told.contains("hand-over"), "{told}");
    assert_eq!(fs::read(&precious).unwrap(), b"x");
}

#[test]
fn of_two_new_processes_one_takes_over_and_the_other_says_why_it_does_not() {
    let site = Site::new("");
    let place = site.scratch.join("hand-over");
    let name = place.display().to_string();
    let launch = site.launch(&["--hand-over", &name]);
    let mut server = launch.start();
    listens_at(&place);
    // The first one has the listeners, and is about to serve.
    let first = Exchange::ask(&place, PATIENCE).unwrap().unwrap();
    first.send(b"pitcrew hand-over 1", &[]).unwrap();
    while first.receive().unwrap().0 != b"that is all" {}
    let (status, told) = std::thread::scope(|scope| {
        let second = scope.spawn(|| launch.refused());
        // At that path: who listens, the first one, and the second behind it.
        eventually("the second one waits", || {
            let sockets = fs::read_to_string("/proc/net/unix").unwrap();
            (sockets.lines().filter(|line| line.ends_with(&name)).count() == 3).then_some(())
        });
        let own = std::process::id().to_ne_bytes();
        first.send(&[&b"serving"[..], &own].concat(), &[]).unwrap();
        second.join().unwrap()
    });
    assert_eq!(first.receive().unwrap().0, b"leaving");
    assert_eq!(status.code(), Some(5), "{told}");
    assert!(told.contains("another process takes its place; start this one again"), "{told}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

/// What a predecessor says, until its successor serves.
fn hand_to_whoever_asks(
    waiting: &Waiting,
    address: SocketAddr,
    listeners: &[BorrowedFd<'_>],
) -> Exchange {
    let exchange = pass_on_to_whoever_asks(waiting, address, listeners);
    assert!(exchange.receive().unwrap().0.starts_with(b"serving"));
    exchange
}

/// The same, until it has all.
fn pass_on_to_whoever_asks(
    waiting: &Waiting,
    address: SocketAddr,
    listeners: &[BorrowedFd<'_>],
) -> Exchange {
    let exchange = waiting.accept(PATIENCE).unwrap();
    let (hello, _) = exchange.receive().unwrap();
    exchange.send(&hello, &[]).unwrap();
    let message = format!("site\0tcp\0{address}");
    exchange.send(message.as_bytes(), listeners).unwrap();
    exchange.send(b"that is all", &[]).unwrap();
    exchange
}

/// So many listeners at one address, as a server has for its workers.
fn group(count: usize) -> (Vec<TcpListener>, SocketAddr) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut listeners = Vec::new();
    for _ in 0..count {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        listeners.push(socket.into());
    }
    (listeners, address)
}

/// A predecessor with more workers than its successor, which accepts nobody any more: whoever
/// waits in one of its queues is in that of the successor, and is reset if that has lost it.
#[test]
fn who_waits_in_any_queue_of_a_predecessor_is_served_by_its_successor() {
    let site = Site::new("");
    let path = site.scratch.join("hand-over");
    let (listeners, address) = group(5);
    let ask = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&get("/small.txt", "Connection: close\r\n")).unwrap();
        stream
    };
    // Which queue is whose is the kernel's choice: so many leave none empty.
    let clients: Vec<_> = (0..80).map(|_| ask()).collect();
    let (waiting, place) = Waiting::open(&path).unwrap();
    let address_text = address.to_string();
    let (place_text, workers) = (path.to_str().unwrap(), ["--workers", "2"]);
    let options = [&["--hand-over", place_text, "--listen", &address_text][..], &workers].concat();
    let server = std::thread::scope(|scope| {
        let predecessor = scope.spawn(|| {
            let all: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
            let exchange = hand_to_whoever_asks(&waiting, address, &all);
            drop((all, place));
            exchange.send(b"leaving", &[]).unwrap();
            // It ends, and with it its listeners.
            drop(listeners);
        });
        let server = site.launch(&options).start();
        predecessor.join().unwrap();
        server
    });
    // And who comes later.
    let later: Vec<_> = (0..80).map(|_| ask()).collect();
    for (number, mut client) in clients.into_iter().chain(later).enumerate() {
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        assert!(read.is_ok() && answer.ends_with("\r\n\r\nsmall\n"), "{number}: {read:?} {answer}");
    }
    drop(server);
}

/// The predecessor has gone by then: somebody has to serve.
#[test]
fn a_successor_that_cannot_wait_for_its_own_serves_all_the_same() {
    let site = Site::new("");
    let path = site.scratch.join("hand-over");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (waiting, place) = Waiting::open(&path).unwrap();
    let options = ["--hand-over", path.to_str().unwrap(), "--listen", &address.to_string()];
    let mut server = std::thread::scope(|scope| {
        let predecessor = scope.spawn(|| {
            let exchange = hand_to_whoever_asks(&waiting, address, &[listener.as_fd()]);
            // The path is left, and somebody else is quicker.
            drop(place);
            fs::write(&path, "in the way").unwrap();
            exchange.send(b"leaving", &[]).unwrap();
        });
        let server = site.launch(&options).start();
        predecessor.join().unwrap();
        server
    });
    drop((waiting, listener));
    eventually("it is said", || {
        let told = server.stderr();
        assert!(server.runs(), "{told}");
        told.contains("nobody can take the place of this one").then_some(())
    });
    fetch(address, "/small.txt", 6).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"in the way");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

/// It has all that the other one listened on: were it to end, too, nobody would serve, and whoever
/// waits in the queues would be reset.
#[test]
fn a_successor_whose_predecessor_is_killed_serves_all_the_same() {
    // Before it has read that the other one serves, and after.
    for reads in [true, false] {
        let site = Site::new("");
        let manager = Manager::at(site.scratch.join("notify"));
        let path = site.scratch.join("hand-over");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (waiting, place) = Waiting::open(&path).unwrap();
        let options = ["--hand-over", path.to_str().unwrap(), "--listen", &address.to_string()];
        let mut server = std::thread::scope(|scope| {
            let listener = &listener;
            let predecessor = scope.spawn(move || {
                let exchange = pass_on_to_whoever_asks(&waiting, address, &[listener.as_fd()]);
                match reads {
                    true => assert!(exchange.receive().unwrap().0.starts_with(b"serving")),
                    false => assert!(exchange.is_heard(PATIENCE)),
                }
                // All of it ends at once, and the successor hears of that by the line.
                drop(waiting);
                drop(exchange);
            });
            let server = manager.of(site.launch(&options)).start();
            predecessor.join().unwrap();
            server
        });
        drop(listener);
        assert_eq!(manager.hears(), format!("MAINPID={}", server.id()));
        assert_eq!(manager.hears(), "READY=1");
        // The path stays behind.
        std::mem::forget(place);
        eventually("it is said", || {
            let told = server.stderr();
            assert!(server.runs(), "{told}");
            told.contains("has ended without a word").then_some(())
        });
        fetch(address, "/small.txt", 6).unwrap();
        // It waits for a successor of its own, once it has put the path right.
        eventually("somebody waits there", || Exchange::ask(&path, PATIENCE).unwrap());
        let next = site.launch(&options).start();
        assert_eq!(server.wait().code(), Some(0));
        fetch(next.address(), "/small.txt", 6).unwrap();
    }
}

/// A process that lives says that the other one is not to serve, so that its silence means one
/// thing.
#[test]
fn a_successor_that_is_not_to_serve_is_told_and_ends() {
    let site = Site::new("");
    let path = site.scratch.join("hand-over");
    let options = ["--hand-over", path.to_str().unwrap()];
    let mut server = site.launch(&options).start();
    let exchange = eventually("it waits there", || Exchange::ask(&path, PATIENCE).unwrap());
    exchange.send(b"pitcrew hand-over 1", &[]).unwrap();
    while exchange.receive().unwrap().0 != b"that is all" {}
    server.signal(Signal::TERM);
    assert_eq!(exchange.receive().unwrap().0, b"ending");
    assert!(server.wait().success());
    // The same from the other side.
    let manager = Manager::at(site.scratch.join("notify"));
    let (waiting, _place) = Waiting::open(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = hand_to_whoever_asks(&waiting, address, &[listener.as_fd()]);
            exchange.send(b"ending", &[]).unwrap();
        });
        let (status, told) = manager.of(site.launch(&options)).refused();
        assert_eq!(status.code(), Some(5), "{told}");
        assert!(told.contains("does not leave"), "{told}");
    });
    assert!(manager.has_heard_all(), "it was told of a process that does not serve");
}

/// A connection chooses an address and no process: what was accepted is answered to the end.
#[test]
fn a_successor_that_is_not_to_serve_finishes_what_it_has_begun() {
    let site = Site::new("");
    site.scratch.pattern("root/huge.bin", 9, 64 << 20);
    let path = site.scratch.join("hand-over");
    let (waiting, _place) = Waiting::open(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (status, told) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = hand_to_whoever_asks(&waiting, address, &[listener.as_fd()]);
            // The other one accepts there, and nobody else does.
            let mut slow = Wire::narrow(address);
            slow.send(&get("/huge.bin", ""));
            assert_eq!(slow.head().unwrap().status, 200);
            let mut kept = TcpStream::connect(address).unwrap();
            assert_eq!(ask_again(&mut kept).unwrap(), Some(true));
            exchange.send(b"ending", &[]).unwrap();
            // It has heard that, and lets go of the line.
            assert_eq!(exchange.receive().unwrap().0, b"");
            ask_again(&mut kept).unwrap();
            slow.widen();
            let body = slow.exact(64 << 20).unwrap();
            assert!(body == Pattern::new(9).bytes(0, 64 << 20), "other bytes");
            assert_eq!(slow.end(), End::Closed);
        });
        let options = ["--hand-over", path.to_str().unwrap(), "--listen", &address.to_string()];
        site.launch(&[&options[..], &["--workers", "2"]].concat()).refused()
    });
    assert_eq!(status.code(), Some(5), "{told}");
    assert!(told.contains("draining, as clients may have connected already"), "{told}");
}

/// The same beside a predecessor that serves on, which gets who comes meanwhile and after.
#[test]
fn a_successor_that_is_not_to_serve_fails_no_connection() {
    let site = Site::new("workers = 2\n");
    let (place, other) = (site.scratch.join("hand-over"), site.scratch.join("other"));
    // Whoever accepts one at a time stands last among those who wait for the next: the other one
    // gets nearly all of them.
    let beyond = ["--connections-beyond", "wait"];
    let waits = ["--hand-over", place.to_str().unwrap()];
    let serving = site.launch(&[beyond, waits].concat()).start();
    let address = serving.address();
    let asked = eventually("it waits there", || Exchange::ask(&place, PATIENCE).unwrap());
    asked.send(b"pitcrew hand-over 1", &[]).unwrap();
    let mut listeners = Vec::new();
    loop {
        match asked.receive().unwrap() {
            (word, _) if word == b"that is all" => break,
            (_, sockets) => listeners.extend(sockets),
        }
    }
    drop(asked);
    let log = site.scratch.join("log");
    let listen = address.to_string();
    let options = ["--hand-over", other.to_str().unwrap(), "--listen", &listen];
    let logged = ["--access-log", log.to_str().unwrap(), "--access-log-flush", "0"];
    let launch = site.launch(&[options, logged].concat());
    let (waiting, _place) = Waiting::open(&other).unwrap();
    let (failed, load) = under_load(address, |asked| {
        more(asked);
        let (status, told) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let all: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
                let exchange = hand_to_whoever_asks(&waiting, address, &all);
                eventually("it has answered", || {
                    (fs::read_to_string(&log).ok()?.lines().count() > 20).then_some(())
                });
                exchange.send(b"ending", &[]).unwrap();
            });
            launch.refused()
        });
        assert_eq!(status.code(), Some(5), "{told}");
    });
    assert_eq!(failed, Vec::<String>::new(), "{load:?}");
}

/// Also of connections that began where addresses were not limited.
#[test]
fn connections_of_an_address_count_on_over_a_reload() {
    for before in ["connections-per-address = 20\n", ""] {
        let site = Site::new(before);
        site.scratch.pattern("root/huge.bin", 9, 64 << 20);
        let server = site.launch(&["--workers", "1"]).start();
        let mut slow = server.connect();
        slow.send(&get("/huge.bin", ""));
        slow.head().unwrap();
        site.rewrite("connections-per-address = 2\n");
        server.signal(Signal::HUP);
        // Who asks for the figures counts, too.
        eventually("it is served by the new configuration", || {
            server.stderr().contains("serving by the new configuration").then_some(())
        });
        let served = || {
            let mut wire = server.connect();
            wire.send(&get("/small.txt", ""));
            let answered = wire.response().is_ok();
            answered.then_some(wire)
        };
        // Those that asked for figures may be there a moment yet.
        eventually("there is room for one beside the download, and for no more", || {
            let one = served()?;
            let other = served();
            drop(one);
            other.is_none().then_some(())
        });
        drop(slow);
        eventually("its place is free", || {
            let _one = served()?;
            served().map(drop)
        });
    }
}

#[test]
fn a_service_manager_is_told() {
    let site = Site::new("");
    let manager = Manager::at(site.scratch.join("notify"));
    let heard = || manager.hears();
    let mut server = manager.of(site.launch(&[])).start();
    assert_eq!(heard(), "READY=1");
    server.signal(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert!(server.wait().success());
}

#[test]
fn reloads_leave_nothing_behind() {
    let site = Site::new("access-log = [\"LOG\"]\n");
    let log = site.scratch.join("access.log");
    site.rewrite(&format!("workers = 2\naccess-log = [\"{}\"]\n", log.display()));
    let server = site.launch(&[]).start();
    let held = || {
        let of_process = Path::new("/proc").join(server.id().to_string());
        let names = |what: &str, name: &dyn Fn(&Path) -> Option<String>| {
            let listed = fs::read_dir(of_process.join(what)).unwrap();
            // What is gone before it is looked at has no name.
            let mut names: Vec<_> =
                listed.filter_map(|entry| name(&entry.unwrap().path())).collect();
            names.sort();
            names
        };
        let descriptors =
            names("fd", &|path| Some(fs::read_link(path).ok()?.display().to_string()));
        // A file may have been asked for of a worker that retires; then the cache has none.
        let descriptors: Vec<_> =
            descriptors.into_iter().filter(|name| !name.ends_with("/small.txt")).collect();
        let threads = names("task", &|path| fs::read_to_string(path.join("comm")).ok());
        // The kernel has threads for a ring as it sees fit, and ends them in its own time.
        let threads: Vec<_> =
            threads.into_iter().filter(|name| !name.starts_with("iou-")).collect();
        (descriptors, threads)
    };
    reload(&server);
    fetch(server.address(), "/small.txt", 6).unwrap();
    let settled = eventually("the first generation is gone", || {
        let now = held();
        std::thread::sleep(std::time::Duration::from_millis(300));
        (held() == now).then_some(now)
    });
    for _ in 0..10 {
        reload(&server);
        fetch(server.address(), "/small.txt", 6).unwrap();
    }
    eventually(&format!("no more descriptors and threads than {settled:#?}"), || {
        let now = held();
        (now.0.len() <= settled.0.len() && now.1.len() <= settled.1.len()).then_some(())
    });
    eventually("every record is written", || {
        let text = fs::read_to_string(&log).unwrap();
        (text.lines().filter(|line| line.contains("/small.txt")).count() == 11).then_some(())
    });
}
