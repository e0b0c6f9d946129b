//! What a confined process can no longer do, and that a confined server serves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{ENGINES, Launch, Pattern, Scratch, Server, eventually, get, skipped};
use pitcrew::sandbox::{Ground, Layer, Mode, confine, landlock_abi};
use rustix::process::Signal;

/// Names the directory for [`inside`], which does nothing without it.
const INSIDE: &str = "SANDBOX_TEST_DIRECTORY";
/// What it does beside looking for files.
const DEED: &str = "SANDBOX_TEST_DEED";

/// Runs [`inside`] in a process of its own.
fn confined(scratch: &Scratch, deed: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "inside", "--ignored", "--nocapture", "--test-threads=1"]);
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

/// Called in a process of its own: confines itself as a server does, and tries what it may not.
#[test]
#[ignore = "it is run by the other tests, confined"]
fn inside() {
    let Some(directory) = std::env::var_os(INSIDE).map(PathBuf::from) else { return };
    let outside = directory.join("outside.txt");
    // What was opened before stays open; what is beneath a directory that was opened does not.
    let above = fs::File::open(&directory).unwrap();
    let mut ground = Ground::default();
    ground.serve(&directory.join("root"));
    ground.log(&directory.join("log/access.log"));
    let held = confine(Mode::On, None, &ground, false).unwrap();
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
    denied("a listing", fs::read_dir(&directory).map(drop));
    denied("a new file", fs::write(directory.join("root/new.txt"), "x"));
    denied("a file that is written", fs::write(directory.join("root/inside.txt"), "x"));
    use rustix::fs::{Mode as Bits, OFlags, ResolveFlags, openat2};
    let opened =
        openat2(&above, "outside.txt", OFlags::RDONLY, Bits::empty(), ResolveFlags::BENEATH);
    denied("a directory that is open", opened.map(drop).map_err(Into::into));
    let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&above));
    denied("its name in /proc", fs::read_dir(by_descriptor).map(drop));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).map(drop);
    if landlock_abi() >= 4 {
        denied("a connection to somewhere", connected);
    }
    let raw = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::RAW,
        None,
    );
    assert_eq!(raw.map(drop), Err(rustix::io::Errno::PERM));
    println!("nothing could be opened");
    if std::env::var(DEED).is_ok_and(|deed| deed == "execute") {
        let script = format!(": > '{}'", directory.join("log/ran").display());
        let ended = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(!ended.is_ok_and(|status| status.success()), "a program could be started");
    }
}

/// Whether the kernel can confine at all; a build service has to be able to.
fn can_confine() -> bool {
    if landlock_abi() > 0 {
        return true;
    }
    skipped("sandbox", "this kernel has no Landlock");
    false
}

#[test]
fn a_confined_process_opens_nothing_outside() {
    if !can_confine() {
        return;
    }
    let told = confined(&tree(), "look");
    let text = format!("{told:?}");
    assert!(told.status.success() && text.contains("nothing could be opened"), "{text}");
}

#[test]
fn a_confined_process_starts_no_program() {
    if !can_confine() {
        return;
    }
    let scratch = tree();
    let told = confined(&scratch, "execute");
    let text = format!("{told:?}");
    assert!(text.contains("nothing could be opened"), "{text}");
    // Whoever calls execve is ended: a child that was made for it, or the process itself.
    let ended = told.status.success() || told.status.signal() == Some(Signal::SYS.as_raw());
    assert!(ended && !scratch.join("log/ran").exists(), "{text}");
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
        let options = ["--engine", engine, "--sandbox", "on", "--workers", "2", "--listing"];
        let log_options = ["--access-log", log.to_str().unwrap(), "--access-log-flush", "0"];
        let server = Server::start(&[&options[..], &log_options].concat(), &scratch.join("root"));
        let body = ask(&server, "/large.bin").body;
        assert!(body == Pattern::new(7).bytes(0, 3 << 20), "{engine}");
        assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
        assert_eq!(ask(&server, "/escape.txt").status, 404);
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
fn a_later_configuration_stands_on_the_same_ground_or_is_refused() {
    if !can_confine() {
        return;
    }
    let scratch = tree();
    scratch.write("other/index.html", "other\n");
    scratch.write("conf/pitcrew.toml", "root = \"../root\"\n");
    let file = scratch.join("conf/pitcrew.toml");
    let server = Launch::new(&["--sandbox", "auto", "--config", file.to_str().unwrap()]).start();
    let figure = |name: &'static str| server.figure(&["configuration", name]);
    // A new file of the same name, as editors write it.
    scratch.write("conf/new.toml", "root = \"../root\"\nlisting = true\n");
    fs::rename(scratch.join("conf/new.toml"), &file).unwrap();
    server.signal(Signal::HUP);
    server.figure_until(&["configuration", "reloads"], |count| count == 1);
    for outside in ["root = \"../other\"\n", "root = \"../root\"\naccess-log = [\"|cat\"]\n"] {
        let before = figure("refused");
        fs::write(&file, outside).unwrap();
        server.signal(Signal::HUP);
        server.figure_until(&["configuration", "refused"], |count| count == before + 1);
    }
    let told = server.stderr();
    assert!(told.contains("is not among the directories that this process was confined to"));
    assert!(told.contains("a confined server starts no programs") && told.contains("sandbox ="));
    assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
}

#[test]
fn what_cannot_be_applied_is_told_or_refused() {
    let scratch = tree();
    let program = ["--access-log", "|cat > /dev/null"];
    let auto = [&program[..], &["--sandbox", "auto"]].concat();
    let server = Server::start(&auto, &scratch.join("root"));
    let told = server.stderr();
    for layer in ["landlock", "seccomp"] {
        assert!(told.contains(&format!("layer=\"{layer}\"")), "{told}");
    }
    assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
    let launch = Launch::new(&[&program[..], &["--sandbox", "on"]].concat());
    let (ended, told) = launch.root(&scratch.join("root")).refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("sandbox: landlock cannot be applied"), "{told}");
    let off = Server::start(&["--sandbox", "off"], &scratch.join("root"));
    assert_eq!(status(&off, "Seccomp"), "0");
    let launch = Launch::new(&["--user", "nobody-of-this-name"]).root(&scratch.join("root"));
    let (ended, told) = launch.refused();
    assert_eq!(ended.code(), Some(3), "{told}");
    assert!(told.contains("there is no user 'nobody-of-this-name'"), "{told}");
    assert_eq!(Layer::User.name(), "user");
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
    assert_eq!(status(&server, "Uid").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(status(&server, "Gid").split_whitespace().collect::<Vec<_>>(), ["65533"; 4]);
    assert_eq!(status(&server, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&server, set), "0000000000000000", "{set}");
    }
    assert_eq!(ask(&server, "/inside.txt").text(), "inside\n");
}
