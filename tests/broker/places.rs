//! Log programs, log files and listeners.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::common::{Launch, Server, broker_of, children_of, eventually, get, is_running, skipped};
use crate::{Site, ask, can_confine, free_port, kill, reload};
use rustix::process::Signal;

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn a_log_program_gets_the_records_is_started_again_and_ends_with_the_log() {
    if !can_confine() {
        return;
    }
    let site = Site::new("");
    let log = site.scratch.join("log/by-program.log");
    site.rewrite(&format!(
        "root = \"../root\"\naccess-log = [\"|exec cat >> {}\"]\naccess-log-flush = \"0ms\"\n",
        log.display()
    ));
    let mut server = site.launch(&["--sandbox", "on"]).start();
    ask(&server);
    eventually("the program has written", || (lines(&log) == 1).then_some(()));
    let broker = broker_of(&server);
    assert!(children_of(server.id()) == [broker], "the server itself starts its broker alone");
    let programs = children_of(broker);
    assert_eq!(programs.len(), 1);
    kill(programs[0]);
    eventually("the end of the program is told", || {
        server.stderr().contains("its program ended (signal: 9").then_some(())
    });
    let again = eventually("the program runs again", || children_of(broker).first().copied());
    ask(&server);
    eventually("it has written", || (lines(&log) == 2).then_some(()));
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert!(!is_running(again) && !is_running(broker), "a process is left behind");
}

#[test]
fn everything_ends_with_a_server_that_is_killed() {
    let site = Site::new("root = \"../root\"\naccess-log = [\"|cat > /dev/null\"]\n");
    let mut server = site.launch(&[]).start();
    let broker = broker_of(&server);
    let program = eventually("the program runs", || children_of(broker).first().copied());
    kill(server.id());
    server.wait();
    eventually("the broker and the program have ended", || {
        (!is_running(broker) && !is_running(program)).then_some(())
    });
}

#[test]
fn a_log_directory_that_is_made_again_is_written_by_the_broker() {
    if !can_confine() {
        return;
    }
    let site = Site::new("");
    let log = site.scratch.join("log/a.log");
    site.rewrite(&format!(
        "root = \"../root\"\naccess-log = [\"{}\"]\naccess-log-flush = \"0ms\"\n\
         access-log-durability = \"data\"\n",
        log.display()
    ));
    let server = site.launch(&["--sandbox", "on"]).start();
    ask(&server);
    eventually("it is written", || (lines(&log) == 1).then_some(()));
    fs::remove_dir_all(site.scratch.join("log")).unwrap();
    fs::create_dir(site.scratch.join("log")).unwrap();
    eventually("it is written again", || {
        ask(&server);
        (lines(&log) > 0).then_some(())
    });
    assert!(server.figure(&["broker", "granted"]) >= 1);
    // A link at its place is not followed, wherever it leads.
    let precious = site.scratch.write("precious", "");
    fs::remove_dir_all(site.scratch.join("log")).unwrap();
    fs::create_dir(site.scratch.join("log")).unwrap();
    std::os::unix::fs::symlink(&precious, &log).unwrap();
    eventually("the link is refused", || {
        ask(&server);
        server.stderr().contains("it is a link").then_some(())
    });
    assert_eq!(fs::read(&precious).unwrap(), b"");
}

#[test]
fn a_later_configuration_binds_new_addresses() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let server = site.launch(&["--sandbox", "on", "--workers", "2"]).start();
    let (port, socket) = (free_port(), site.scratch.join("conf/socket"));
    site.rewrite(&format!(
        "root = \"../root\"\ntelemetry-listen = [\"{port}\", \"unix:{}\"]\n",
        socket.display()
    ));
    server.signal(Signal::HUP);
    let answers = |mut stream: TcpStream| {
        stream.write_all(&get("/ready", "Connection: close\r\n")).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(())
    };
    eventually("the new address answers", || answers(TcpStream::connect(port).ok()?));
    assert!(socket.exists());
    site.rewrite("root = \"../root\"\n");
    server.signal(Signal::HUP);
    eventually("the path of the socket is given up", || (!socket.exists()).then_some(()));
    eventually("the site tells the figures again", || {
        let mut wire = server.connect();
        wire.send(&get("/telemetry", "Connection: close\r\n"));
        wire.response().is_ok_and(|answer| answer.status == 200).then_some(())
    });
    // What is in use is told as ever, by the process that asked.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    site.rewrite(&format!("root = \"../root\"\ntelemetry-listen = [\"{taken_at}\"]\n"));
    reload(&server, "refused");
    let told = server.stderr();
    assert!(
        told.contains(&format!("cannot listen on {taken_at}: the address is in use")),
        "{told}"
    );
    assert_eq!(ask(&server), "first\n");
}

#[test]
fn a_broker_that_ends_is_told_and_the_server_serves_on() {
    if !can_confine() {
        return;
    }
    let site = Site::new("root = \"../root\"\n");
    let mut server = site.launch(&["--sandbox", "on"]).start();
    kill(broker_of(&server));
    eventually("the end of the broker is told", || {
        server.stderr().contains("the broker has ended (signal: 9").then_some(())
    });
    assert_eq!(ask(&server), "first\n");
    // What needs nobody else is taken.
    site.rewrite("root = \"../root\"\nlisting = true\n");
    reload(&server, "reloads");
    for more in [
        &format!("root = \"../root\"\ntelemetry-listen = [\"{}\"]\n", free_port())[..],
        "root = \"../other\"\n",
    ] {
        site.rewrite(more);
        reload(&server, "refused");
    }
    let told = server.stderr();
    assert_eq!(told.matches("the broker has ended (").count(), 1, "{told}");
    assert_eq!(told.matches("the broker, which would do it").count(), 2, "{told}");
    assert_eq!(ask(&server), "first\n");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

/// As root only: a port that the user of the server could not bind, and a log directory of that
/// user.
#[test]
fn a_server_of_another_user_has_the_broker_do_what_root_may() {
    if !rustix::process::geteuid().is_root() {
        return skipped("the broker of root", "only root becomes another user");
    }
    // The directory of the build may lie beneath one that is for its owner alone.
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (log, file) = (at("log/a.log"), at("pitcrew.toml"));
    let owned = || {
        fs::create_dir(at("log")).unwrap();
        chown(at("log"), Some(65534), Some(65533)).unwrap();
    };
    fs::write(at("a.txt"), "first\n").unwrap();
    owned();
    let options = format!(
        "root = \".\"\naccess-log = [\"{}\", \"|id -u > {}/user; exec cat > /dev/null\"]\n\
         access-log-flush = \"0ms\"\nhand-over = \"{}\"\n",
        log.display(),
        at("log").display(),
        at("log/place").display(),
    );
    fs::write(&file, &options).unwrap();
    let socket = format!("unix:{}", at("socket").display());
    let listen = ["--listen", "127.0.0.1:0", "--listen", &socket];
    let user = ["--config", file.to_str().unwrap(), "--user", "65534:65533"];
    let mut server = Launch::new(&[&user[..], &listen].concat()).start();
    eventually("the program is the user's", || {
        (fs::read_to_string(at("log/user")).ok()? == "65534\n").then_some(())
    });
    eventually("the place is the user's", || {
        (fs::metadata(at("log/place")).ok()?.uid() == 65534).then_some(())
    });
    fs::remove_dir_all(at("log")).unwrap();
    owned();
    eventually("the log is written again, as the user", || {
        ask(&server);
        (fs::metadata(&log).ok()?.uid() == 65534).then_some(())
    });
    let port = (600..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let port = port.unwrap().local_addr().unwrap();
    fs::write(&file, format!("{options}telemetry-listen = [\"{port}\"]\n")).unwrap();
    reload_of(&server);
    assert!(TcpStream::connect(port).is_ok(), "{}", server.stderr());
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert!(!at("socket").exists(), "a path is left behind in a directory of root");
}

/// The log directory is another one now, so the configuration is served by another process.
fn reload_of(server: &Server) {
    server.signal(Signal::HUP);
    eventually("another process serves", || {
        server.stderr().contains("another process serves in this one's place").then_some(())
    });
}
