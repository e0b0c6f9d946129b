//! A change of a file, a name or a directory is seen by the next request, however long names are
//! good where nothing tells of changes.

#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Scratch, Server, eventually, get, skipped};

fn body(server: &Server, path: &str) -> String {
    let mut wire = server.connect();
    wire.send(&get(path, ""));
    let answer = wire.response().unwrap();
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

/// Asks until the directories are watched, if they can be.
fn settle(server: &Server, path: &str) -> bool {
    for _ in 0..200 {
        body(server, path);
        let opens = || server.figure(&["techniques", "openat2", "operations"]);
        let before = opens();
        body(server, path);
        if opens() == before {
            return server.figure(&["cache", "watches"]) > 0;
        }
    }
    panic!("{path} is looked up each time");
}

#[test]
fn the_next_request_sees_what_has_happened() {
    let scratch = Scratch::new();
    scratch.write("a/b/file", "one");
    scratch.write("next/file", "moved");
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    if !settle(&server, "/a/b/file") {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    let asked = |path| body(&server, path);
    let put = |text: &str, path: &str| {
        fs::rename(scratch.write("staged", text), scratch.join(path)).unwrap();
    };
    for round in 0..20 {
        let text = format!("version {round}");
        put(&text, "a/b/file");
        assert_eq!(asked("/a/b/file"), text);
        put(&text, "a/b/new");
        assert_eq!(asked("/a/b/new"), text);
        fs::remove_file(scratch.join("a/b/new")).unwrap();
        assert_eq!(asked("/a/b/new"), "404");
        fs::rename(scratch.join("a"), scratch.join("z")).unwrap();
        assert_eq!(asked("/a/b/file"), "404");
        fs::rename(scratch.join("z"), scratch.join("a")).unwrap();
        assert_eq!(asked("/a/b/file"), text);
        fs::write(scratch.join("a/b/file"), "in place").unwrap();
        assert_eq!(asked("/a/b/file"), "in place");
    }
    settle(&server, "/a/b/file");
    fs::remove_dir_all(scratch.join("a/b")).unwrap();
    symlink("../next", scratch.join("a/b")).unwrap();
    assert_eq!(asked("/a/b/file"), "moved");
    assert!(server.figure(&["cache", "notices"]) > 0);
}

/// A file system that lies over a watched directory, until this goes.
struct Mounted(PathBuf);

impl Mounted {
    fn over(place: &Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(place);
        let output = mount.output().map_err(|error| error.to_string())?;
        let why = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(Self(place.to_path_buf())) } else { Err(why()) }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The server may have files of it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// inotify(7) tells nothing of it.
#[test]
fn what_is_mounted_over_a_watched_directory_is_seen() {
    let scratch = Scratch::new();
    scratch.write("a/b/file", "beneath");
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    if !settle(&server, "/a/b/file") {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    let noticed = |times| {
        eventually("the mount is noticed", || {
            let told = server.stderr().matches("beneath served directories has changed").count();
            (told == times).then_some(())
        });
    };
    let mounted = match Mounted::over(&scratch.join("a")) {
        Ok(mounted) => mounted,
        Err(why) => return skipped("a mount over a watched directory", &why),
    };
    noticed(1);
    assert_eq!(body(&server, "/a/b/file"), "404");
    scratch.write("a/b/file", "above");
    assert_eq!(body(&server, "/a/b/file"), "above");
    settle(&server, "/a/b/file");
    drop(mounted);
    noticed(2);
    assert_eq!(body(&server, "/a/b/file"), "beneath");
}

#[test]
fn who_may_read_it_is_seen_too() {
    if rustix::process::geteuid().is_root() {
        // Root may read everything.
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.write("d/file", "one");
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    if !settle(&server, "/d/file") {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(body(&server, "/d/file"), "404");
}

#[test]
fn without_watches_names_are_good_for_their_time() {
    let scratch = Scratch::new();
    let options = ["--open-files-valid", "1h", "--watches", "0", "--workers", "1"];
    let server = Server::start(&options, scratch.path());
    assert_eq!(body(&server, "/file"), "404");
    // A replaced file would be seen: its statx tells that it has lost a name.
    scratch.write("file", "two");
    assert_eq!(body(&server, "/file"), "404");
    assert_eq!(server.figure(&["cache", "watches"]), 0);
}

/// What is written in place or cut is seen by a look at the open file, which needs no watch.
#[test]
fn without_watches_a_file_that_is_written_in_place_is_seen() {
    let scratch = Scratch::new();
    let path = scratch.write("file", "one");
    let options = ["--open-files-valid", "1h", "--watches", "0", "--workers", "1"];
    let server = Server::start(&options, scratch.path());
    // Asked for often enough to be kept, by whoever keeps it.
    for _ in 0..4 {
        assert_eq!(body(&server, "/file"), "one");
    }
    for text in ["another, longer one", "cut", "one again"] {
        fs::write(&path, text).unwrap();
        for _ in 0..4 {
            assert_eq!(body(&server, "/file"), text);
        }
    }
    assert_eq!(server.figure(&["cache", "watches"]), 0);
}
