//! What a confined process can no longer do. Without the test harness: a process confines itself
//! before it has other threads, and stays so.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Scratch, skipped};
use pitcrew::sandbox::{Ground, Mode, Plan, confine, landlock_abi};
use rustix::process::Signal;

/// Names the directory for [`inside`].
const INSIDE: &str = "CONFINED_TEST_DIRECTORY";
/// What it does beside looking for files.
const DEED: &str = "CONFINED_TEST_DEED";

fn main() {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return inside(&PathBuf::from(directory));
    }
    if landlock_abi() == 0 {
        return skipped("a confined process", "this kernel has no Landlock");
    }
    it_opens_nothing_outside();
    a_ring_of_its_own_does_what_is_told_and_no_more();
    it_starts_no_program();
    println!("test confined ... ok");
}

/// Runs [`inside`] in a process of its own.
fn confined(scratch: &Scratch, deed: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(INSIDE, scratch.path()).env(DEED, deed).output().unwrap()
}

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("root/inside.txt", "inside\n");
    scratch.write("outside.txt", "outside\n");
    symlink("../outside.txt", scratch.join("root/escape.txt")).unwrap();
    scratch.write("log/access.log", "");
    scratch
}

fn it_opens_nothing_outside() {
    let told = confined(&tree(), "look");
    let text = format!("{told:?}");
    assert!(told.status.success() && text.contains("nothing could be opened"), "{text}");
}

/// As README says it: a ring that somebody makes who took the process over.
fn a_ring_of_its_own_does_what_is_told_and_no_more() {
    let told = confined(&tree(), "ring");
    let text = format!("{told:?}");
    assert!(told.status.success() && text.contains("the ring was tried"), "{text}");
}

fn it_starts_no_program() {
    let scratch = tree();
    let told = confined(&scratch, "execute");
    let text = format!("{told:?}");
    assert!(text.contains("nothing could be opened"), "{text}");
    // Whoever calls execve is ended: a child that was made for it, or the process itself.
    let ended = told.status.success() || told.status.signal() == Some(Signal::SYS.as_raw());
    assert!(ended && !scratch.join("log/ran").exists(), "{text}");
}

/// Confines itself as a server does, and tries what it may not.
fn inside(directory: &Path) {
    let outside = directory.join("outside.txt");
    // What was opened before stays open; what is beneath a directory that was opened does not.
    let above = fs::File::open(directory).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut ground = Ground::default();
    ground.serve(&directory.join("root"));
    ground.log(&directory.join("log/access.log"));
    let plan = Plan { mode: Mode::On, user: None, ground: &ground, programs: false, binds: false };
    let held = confine(&plan).unwrap();
    assert!(held.is_confined() && !held.starts_programs());
    assert!(fs::read(directory.join("root/inside.txt")).is_ok());
    assert!(fs::write(directory.join("log/new.log"), "x").is_ok());
    let denied = |what: &str, result: std::io::Result<()>| {
        let kind = result.expect_err(what).kind();
        assert_eq!(kind, std::io::ErrorKind::PermissionDenied, "{what}");
    };
    let read = |path: &Path| fs::read(path).map(drop);
    denied("a path", read(&outside));
    denied("a path upwards", read(&directory.join("root/../outside.txt")));
    denied("a link", read(&directory.join("root/escape.txt")));
    let by_proc = Path::new("/proc/self/root").join(outside.strip_prefix("/").unwrap());
    denied("the root of the process", read(&by_proc));
    denied("the password file", read(Path::new("/etc/passwd")));
    denied("a listing", fs::read_dir(directory).map(drop));
    denied("a new file", fs::write(directory.join("root/new.txt"), "x"));
    denied("a file that is written", fs::write(directory.join("root/inside.txt"), "x"));
    use rustix::fs::{Mode as Bits, OFlags, ResolveFlags, openat2};
    let opened =
        openat2(&above, "outside.txt", OFlags::RDONLY, Bits::empty(), ResolveFlags::BENEATH);
    denied("a directory that is open", opened.map(drop).map_err(Into::into));
    let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&above));
    denied("its name in /proc", fs::read_dir(by_descriptor).map(drop));
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).map(drop);
    denied("a connection to somewhere", connected);
    denied("an address to listen on", std::net::TcpListener::bind("127.0.0.1:0").map(drop));
    // Threads begin as ever, though clone3(2) is not there.
    std::thread::spawn(|| ()).join().unwrap();
    let raw = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::RAW,
        None,
    );
    assert_eq!(raw.map(drop), Err(rustix::io::Errno::PERM));
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert!(limits.current.is_some(), "its own limits are its own matter");
    let parent = rustix::process::getppid();
    let other = rustix::process::setpriority_process(parent, 19);
    assert_eq!(other, Err(rustix::io::Errno::PERM), "those of another process are not");
    let other = rustix::process::prlimit(parent, rustix::process::Resource::Nofile, limits);
    assert_eq!(other, Err(rustix::io::Errno::PERM), "nor are its limits");
    denied("another process", forked());
    println!("nothing could be opened");
    if std::env::var(DEED).is_ok_and(|deed| deed == "ring") {
        try_a_ring(&outside, &listener, &datagrams);
        println!("the ring was tried");
    }
    if std::env::var(DEED).is_ok_and(|deed| deed == "execute") {
        let script = format!(": > '{}'", directory.join("log/ran").display());
        let ended = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(!ended.is_ok_and(|status| status.success()), "a program could be started");
    }
}

/// What seccomp does not see.
fn try_a_ring(outside: &Path, listener: &std::net::TcpListener, datagrams: &std::net::UdpSocket) {
    use io_uring::{IoUring, opcode, types};
    use std::os::unix::ffi::OsStrExt;
    let Ok(mut ring) = IoUring::new(8) else {
        return skipped("a ring of its own", "this machine has no io_uring");
    };
    let path = std::ffi::CString::new(outside.as_os_str().as_bytes()).unwrap();
    let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).flags(libc::O_RDONLY);
    assert_eq!(done(&mut ring, &open.build()), -libc::EACCES, "an open is judged");
    let socket = |kind| opcode::Socket::new(libc::AF_INET, kind, 0).build();
    let mut connected = |kind, to: std::net::SocketAddr| {
        let socket = done(&mut ring, &socket(kind));
        assert!(socket >= 0, "a socket is made ({socket})");
        let to = socket2::SockAddr::from(to);
        let connect = opcode::Connect::new(types::Fd(socket), to.as_ptr().cast(), to.len());
        (socket, done(&mut ring, &connect.build()))
    };
    let (_, by_tcp) = connected(libc::SOCK_STREAM, listener.local_addr().unwrap());
    if landlock_abi() >= 4 {
        assert_eq!(by_tcp, -libc::EACCES, "a connection by TCP is judged");
    }
    let (socket, by_udp) = connected(libc::SOCK_DGRAM, datagrams.local_addr().unwrap());
    assert_eq!(by_udp, 0, "UDP is not: if it is by now, README may say so");
    let send = opcode::Send::new(types::Fd(socket), b"word".as_ptr(), 4);
    assert_eq!(done(&mut ring, &send.build()), 4);
    let mut heard = [0; 8];
    assert_eq!(datagrams.recv(&mut heard).unwrap(), 4);
}

/// Makes another process, which ends at once.
#[allow(unsafe_code)]
fn forked() -> std::io::Result<()> {
    // SAFETY: the child does nothing but end, by a call that may be made in it.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        // SAFETY: nothing of the parent is run down.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

/// What becomes of one operation.
#[allow(unsafe_code)]
fn done(ring: &mut io_uring::IoUring, entry: &io_uring::squeue::Entry) -> i32 {
    // SAFETY: what the entry points to belongs to the caller, who waits for its completion here.
    unsafe { ring.submission().push(entry) }.unwrap();
    ring.submit_and_wait(1).unwrap();
    let completion = ring.completion().next().unwrap();
    completion.result()
}
