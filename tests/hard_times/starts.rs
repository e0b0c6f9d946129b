//! Starts that cannot succeed say why in one line; sockets of the file system come and go.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, thread};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use super::common::{
    ENGINES, Launch, Listening, PATIENCE, Pattern, Scratch, Server, Stop, Wire, eventually, get,
    skipped, without_io_uring,
};

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.pattern("data.bin", 31, 300_007);
    scratch.write("plain.txt", "still here\n");
    scratch
}

/// A refused start: not a success, not a panic, and something said that names the cause.
fn says(what: &str, (status, stderr): (ExitStatus, String), words: &[&str]) {
    let code = status.code();
    // 101 is what a panic ends with.
    assert!(code.is_some_and(|code| code != 0 && code != 101), "{what}: {status}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    let said = stderr.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "{what}: no {word:?} in: {stderr}");
    }
    let lines = stderr.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 6, "{what}: {lines} lines: {stderr}");
}

#[test]
fn a_root_that_is_missing_or_no_directory_is_named() {
    let scratch = tree();
    let missing = scratch.join("not-there");
    says("missing root", Launch::new(&[]).root(&missing).refused(), &["not-there"]);
    let file = scratch.join("plain.txt");
    says("a file as root", Launch::new(&[]).root(&file).refused(), &["plain.txt", "directory"]);
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = tree();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let launch = Launch::new(&["--listen", &address]).root(scratch.path());
    says("port in use", launch.refused(), &[&address, "in use"]);
    // By another server of ours, too: sharing a port is for its own workers only.
    let server = Server::engine("sendfile", scratch.path());
    let address = server.address().to_string();
    let launch = Launch::new(&["--listen", &address]).root(scratch.path());
    says("port of another server", launch.refused(), &[&address, "in use"]);
}

#[test]
fn arguments_that_mean_nothing_are_named() {
    let scratch = tree();
    let refused = |arguments: &[&str]| Launch::new(arguments).root(scratch.path()).refused();
    says("an unknown engine", refused(&["--engine", "sendfil"]), &["sendfil", "sendfile"]);
    says("an unknown option", refused(&["--engin", "copy"]), &["--engin", "--engine"]);
    says("no number", refused(&["--workers", "many"]), &["many"]);
    says("no address", refused(&["--listen", "nowhere:port"]), &["nowhere:port"]);
    says("no such file", refused(&["--config", "/not/there.toml"]), &["/not/there.toml"]);
    let root = scratch.path().to_str().unwrap();
    says("two roots", refused(&["--root", root]), &["root"]);
    let config = scratch.write("bad.toml", "engine = \"copy\"\nenginee = \"copy\"\n");
    let told = refused(&["--config", config.to_str().unwrap()]);
    says("an unknown key", told, &["enginee", "bad.toml", "2"]);
}

/// A file of settings is obeyed, and a flag wins over it.
#[test]
fn a_configuration_is_read() {
    let scratch = tree();
    let config = scratch.write("good.toml", "engine = \"copy\"\nworkers = 1\n");
    let file = config.to_str().unwrap();
    let server = Server::start(&["--config", file], scratch.path());
    assert_eq!(server.telemetry()["server"]["engine"], "copy");
    assert_eq!(server.telemetry()["server"]["workers"], 1);
    let server = Server::start(&["--config", file, "--engine", "splice"], scratch.path());
    assert_eq!(server.telemetry()["server"]["engine"], "splice");
}

#[test]
fn a_forbidden_io_uring_is_named_with_its_remedy() {
    let scratch = tree();
    let Some(forbidding) = without_io_uring() else {
        return skipped("a forbidden io_uring", "no filter can be installed here");
    };
    let launch = Launch::new(&[]).root(scratch.path()).through(&forbidding);
    let (status, stderr) = launch.refused();
    says("a forbidden io_uring", (status, stderr), &["io_uring", "seccomp"]);
}

#[test]
fn several_listeners_are_announced_and_served() {
    let scratch = tree();
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("http");
    let unix = format!("unix:{}", path.display());
    let arguments =
        ["--listen", "127.0.0.1:0", "--listen", &unix, "--listen", "127.0.0.1:0", "--workers", "2"];
    let server = Server::start(&arguments, scratch.path());
    assert_eq!(server.listening().len(), 3);
    assert_eq!(server.listening()[1], Listening::Unix(path));
    for place in server.listening() {
        // Often enough that every worker gets some of them.
        for _ in 0..20 {
            let mut wire = match place {
                Listening::Tcp(address) => Wire::tcp(*address),
                Listening::Unix(path) => Wire::unix(path),
            };
            wire.send(&get("/plain.txt", ""));
            assert_eq!(wire.response().unwrap().body, b"still here\n");
        }
    }
}

#[test]
fn every_engine_serves_a_unix_socket() {
    let scratch = tree();
    for engine in ENGINES {
        let sockets = tempfile::tempdir().unwrap();
        let unix = format!("unix:{}", sockets.path().join("http").display());
        let server = Server::start(&["--engine", engine, "--listen", &unix], scratch.path());
        let mut wire = server.connect();
        for _ in 0..5 {
            wire.send(&get("/data.bin", ""));
            let (_, got, fault) = wire.hashed().unwrap();
            assert_eq!((got, fault), (Pattern::new(31).digest(0, 300_007), None), "{engine}");
            wire.send(&get("/data.bin", "Range: bytes=4095-70000\r\n"));
            let (_, got, fault) = wire.hashed().unwrap();
            assert_eq!((got, fault), (Pattern::new(31).digest(4095, 65_906), None), "{engine}");
        }
        // The one that is asked for, or those that it chooses.
        let moved = if engine == "auto" { &["sendfile", "uring", "direct"][..] } else { &[engine] };
        let answers = moved.iter().map(|one| server.figure(&["engines", one, "responses"]));
        assert!(answers.sum::<u64>() >= 10, "{engine}");
    }
}

#[test]
fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let scratch = tree();
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("http");
    let unix = format!("unix:{}", path.display());
    let launch = Launch::new(&["--listen", &unix]).root(scratch.path());
    let mut first = launch.start();
    // Somebody answers there.
    let told = launch.refused();
    says("a live socket", told, &[path.to_str().unwrap(), "in use"]);
    Wire::unix(&path).serves().unwrap();
    // Ended without a chance to tidy up, it leaves the name behind.
    first.signal(Signal::KILL);
    first.wait();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let _second = launch.start();
    Wire::unix(&path).serves().unwrap();
}

#[test]
fn a_file_in_the_place_of_a_socket_is_left_alone() {
    let scratch = tree();
    let path = scratch.join("plain.txt");
    // The target directory may lie too deep for the name of a socket, so the way there is short.
    let sockets = tempfile::tempdir().unwrap();
    let place = sockets.path().join("http");
    fs::rename(&path, &place).or_else(|_| fs::copy(&path, &place).map(drop)).unwrap();
    let unix = format!("unix:{}", place.display());
    let told = Launch::new(&["--listen", &unix]).root(scratch.path()).refused();
    says("a file in the place", told, &[place.to_str().unwrap()]);
    assert_eq!(fs::read(&place).unwrap(), b"still here\n");
}

/// Opens a socket as descriptor 3, says so as a service manager does, and becomes the server.
const PASS_A_SOCKET: &str = "
import os, socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(64)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ['LISTEN_FDS'] = os.environ.get('PASSED', '1')
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
";

/// Whether there is somebody to pass sockets.
fn can_pass() -> bool {
    let there = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !there {
        skipped("a socket that was passed", "python3 is not there to pass one");
    }
    there
}

#[test]
fn a_socket_that_was_passed_is_served_by_all_workers() {
    let scratch = tree();
    if !can_pass() {
        return;
    }
    let pass = ["python3", "-c", PASS_A_SOCKET];
    // The passed one is announced first, the one that was asked for after it.
    let server = Launch::new(&["--workers", "2"]).root(scratch.path()).through(&pass).start();
    for _ in 0..20 {
        let mut wire = server.connect();
        wire.send(&get("/plain.txt", ""));
        assert_eq!(wire.response().unwrap().body, b"still here\n");
    }
    let pass = ["env", "PASSED=2", "python3", "-c", PASS_A_SOCKET];
    let refused = Launch::new(&[]).root(scratch.path()).through(&pass).refused();
    says("a descriptor that is none", refused, &["LISTEN_FDS", "4", "not a socket"]);
    // What was passed to a process that is gone is nobody's.
    let stale = Launch::new(&[]).variable("LISTEN_FDS", "1").variable("LISTEN_PID", "1");
    stale.root(scratch.path()).start().connect().serves().unwrap();
}

/// Passes on a descriptor that it was started with.
const PASS_ON: &str = "
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ['LISTEN_FDS'] = '1'
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
";

/// One connection with one request, whose answer has to be whole.
fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&get("/plain.txt", "Connection: close\r\n"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let whole = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nstill here\n");
    if whole { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
}

/// A service manager keeps the socket that it passes: whoever connects between two servers waits
/// in its queue.
#[test]
fn servers_come_and_go_at_a_passed_socket_under_load_and_no_connection_fails() {
    if !can_pass() {
        return;
    }
    let scratch = tree();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    // Whoever is started has it, too.
    fcntl_setfd(&kept, FdFlags::empty()).unwrap();
    let number = kept.as_raw_fd().to_string();
    let pass = ["python3", "-c", PASS_ON, &number];
    let launch = Launch::new(&["--workers", "2"]).root(scratch.path()).through(&pass);
    let mut serving = launch.start();
    assert_eq!(serving.address(), address);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let more = || {
        let before = asked.load(Ordering::Relaxed);
        eventually("the load goes on", || {
            (asked.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    };
    let load = || {
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            failed.extend(ask(address).err().map(|error| error.to_string()));
            asked.fetch_add(1, Ordering::Relaxed);
        }
        failed
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let stopping = Stop(&stop);
        // One after the other, and the next beside the last.
        for beside in [false, true, false] {
            more();
            let next = beside.then(|| launch.start());
            serving.signal(Signal::TERM);
            assert_eq!(serving.wait().code(), Some(0), "{}", serving.stderr());
            serving = next.unwrap_or_else(|| launch.start());
        }
        more();
        drop(stopping);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(failed, Vec::<String>::new(), "of {} requests", asked.load(Ordering::Relaxed));
    drop(kept);
}
