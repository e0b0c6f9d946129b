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

/// Switches a link at once: another one is renamed over it.
fn switch(scratch: &Scratch, link: &str, target: &str) {
    symlink(target, scratch.join("staged")).unwrap();
    fs::rename(scratch.join("staged"), scratch.join(link)).unwrap();
}

/// Asks for all names that are known until none is looked up any more, since all are watched, if
/// they can be.
fn relies_on_watches(server: &Server, paths: &[&str]) -> bool {
    let figures = || ["misses", "revalidations", "unwatched"].map(|n| server.figure(&["cache", n]));
    for _ in 0..10 {
        if !paths.iter().all(|path| settle(server, path)) {
            return false;
        }
        let before = figures();
        for path in [paths, paths, paths].concat() {
            body(server, path);
        }
        if figures() == before && before[2] == 0 {
            return true;
        }
    }
    panic!("not all of {paths:?} are watched: {:?}", figures());
}

#[test]
fn a_link_on_the_way_that_is_switched_is_seen() {
    let scratch = Scratch::new();
    scratch.write("releases/41/d/page", "41");
    scratch.write("releases/42/d/page", "42");
    symlink("releases/41", scratch.join("current")).unwrap();
    symlink("./current/d/", scratch.join("by")).unwrap();
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    let paths = ["/current/d/page", "/by/page", "/releases/41/d/page"];
    if !relies_on_watches(&server, &paths) {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    let asked = |path| body(&server, path);
    for round in 0..10 {
        let release = if round % 2 == 0 { "42" } else { "41" };
        fs::rename(
            scratch.write("file", release),
            scratch.join(&format!("releases/{release}/d/page")),
        )
        .unwrap();
        switch(&scratch, "current", &format!("releases/{release}"));
        assert_eq!(asked("/current/d/page"), release);
        assert_eq!(asked("/by/page"), release);
        assert!(relies_on_watches(&server, &paths));
        let text = format!("{release} in round {round}");
        let page = format!("releases/{release}/d/page");
        fs::rename(scratch.write("file", &text), scratch.join(&page)).unwrap();
        assert_eq!(asked("/current/d/page"), text);
        assert_eq!(asked("/by/page"), text);
        relies_on_watches(&server, &paths);
        fs::rename(scratch.join("releases"), scratch.join("away")).unwrap();
        assert_eq!(asked("/by/page"), "404");
        assert_eq!(asked("/current/d/page"), "404");
        relies_on_watches(&server, &paths);
        fs::rename(scratch.join("away"), scratch.join("releases")).unwrap();
        assert_eq!(asked("/current/d/page"), text);
        assert_eq!(asked("/by/page"), text);
        // A name beneath a link that is a link as well.
        relies_on_watches(&server, &paths);
        fs::remove_file(scratch.join(&page)).unwrap();
        symlink("../../../hop", scratch.join(&page)).unwrap();
        for text in ["behind", "behind another", "behind a third"] {
            // The file before keeps its name, so that it says nothing.
            scratch.write(text, text);
            switch(&scratch, "hop", text);
            assert_eq!(asked("/current/d/page"), text);
            relies_on_watches(&server, &paths);
        }
        fs::remove_file(scratch.join(&page)).unwrap();
        assert_eq!(asked("/current/d/page"), "404");
        scratch.write(&page, release);
        assert_eq!(asked("/current/d/page"), release);
    }
}

#[test]
fn a_name_that_is_a_link_and_is_switched_is_seen() {
    let scratch = Scratch::new();
    scratch.write("of/41.tar", "41");
    scratch.write("of/42.tar", "42");
    symlink("of/41.tar", scratch.join("latest.tar")).unwrap();
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    if !relies_on_watches(&server, &["/latest.tar"]) {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    let asked = || body(&server, "/latest.tar");
    for round in 0..10 {
        let release = if round % 2 == 0 { "42" } else { "41" };
        switch(&scratch, "latest.tar", &format!("of/{release}.tar"));
        assert_eq!(asked(), release);
        assert!(relies_on_watches(&server, &["/latest.tar"]));
        let (text, path) = (format!("{release} in round {round}"), format!("of/{release}.tar"));
        fs::rename(scratch.write("file", &text), scratch.join(&path)).unwrap();
        assert_eq!(asked(), text);
        relies_on_watches(&server, &["/latest.tar"]);
        fs::remove_file(scratch.join(&path)).unwrap();
        assert_eq!(asked(), "404");
        relies_on_watches(&server, &["/latest.tar"]);
        scratch.write(&path, release);
        assert_eq!(asked(), release);
        relies_on_watches(&server, &["/latest.tar"]);
        fs::remove_file(scratch.join("latest.tar")).unwrap();
        scratch.write("latest.tar", "no link");
        assert_eq!(asked(), "no link");
        relies_on_watches(&server, &["/latest.tar"]);
    }
}

/// RFC 9110 section 12.5.3: the neighbour is another representation of the same.
#[test]
fn a_neighbour_that_is_a_link_and_is_switched_is_seen() {
    let scratch = Scratch::new();
    scratch.write("page.html", "page");
    scratch.write("of/1", "one");
    scratch.write("of/2", "two");
    symlink("of/1", scratch.join("page.html.gz")).unwrap();
    let options = ["--open-files-valid", "1h", "--workers", "1", "--precompressed", "on"];
    let server = Server::start(&options, scratch.path());
    if !relies_on_watches(&server, &["/page.html"]) {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    let asked = || {
        let mut wire = server.connect();
        wire.send(&get("/page.html", "Accept-Encoding: gzip\r\n"));
        wire.response().unwrap().text()
    };
    assert_eq!(asked(), "one");
    for (target, text) in [("of/2", "two"), ("of/none", "page"), ("/etc/hosts", "page")] {
        switch(&scratch, "page.html.gz", target);
        assert_eq!(asked(), text, "{target}");
        settle(&server, "/page.html");
    }
    switch(&scratch, "page.html.gz", "of/1");
    assert_eq!(asked(), "one");
    assert!(relies_on_watches(&server, &["/page.html"]));
    fs::rename(scratch.write("file", "three"), scratch.join("of/1")).unwrap();
    assert_eq!(asked(), "three");
}

#[test]
fn a_link_that_leads_out_is_refused_until_it_leads_elsewhere() {
    let scratch = Scratch::new();
    let outside = Scratch::new();
    outside.write("d/file", "outside");
    scratch.write("d/file", "inside");
    let absolute = outside.join("d").to_str().unwrap().to_owned();
    let leaving = format!("../{}/d", outside.path().file_name().unwrap().to_str().unwrap());
    let server = Server::start(&["--open-files-valid", "1h", "--workers", "1"], scratch.path());
    if !relies_on_watches(&server, &["/d/file"]) {
        return skipped("watches", "the temporary directory cannot be watched");
    }
    for (number, target) in [absolute, leaving, "way2".to_owned()].iter().enumerate() {
        let (way, name) = (format!("way{number}"), format!("name{number}"));
        let (beneath, itself) = (format!("/{way}/file"), format!("/{name}"));
        symlink(target, scratch.join(&way)).unwrap();
        symlink(format!("{target}/file"), scratch.join(&name)).unwrap();
        for path in [&beneath, &itself] {
            assert_eq!(body(&server, path), "404", "{target}");
            settle(&server, path);
            assert_eq!(body(&server, path), "404", "{target}");
        }
        assert!(relies_on_watches(&server, &[&beneath, &itself, "/d/file"]));
        switch(&scratch, &way, "d");
        assert_eq!(body(&server, &beneath), "inside", "{target}");
        switch(&scratch, &name, "d/file");
        assert_eq!(body(&server, &itself), "inside", "{target}");
        for path in [&beneath, &itself] {
            settle(&server, path);
        }
    }
}

#[test]
fn links_that_are_not_followed_stay_an_error() {
    let scratch = Scratch::new();
    scratch.write("d/file", "file");
    symlink("d", scratch.join("way")).unwrap();
    symlink("d/file", scratch.join("name")).unwrap();
    let options = ["--open-files-valid", "1h", "--workers", "1", "--symlinks=false"];
    let server = Server::start(&options, scratch.path());
    for path in ["/way/file", "/name"] {
        settle(&server, path);
        assert_eq!(body(&server, path), "404", "{path}");
    }
    assert!(relies_on_watches(&server, &["/way/file", "/name"]));
    fs::remove_file(scratch.join("way")).unwrap();
    scratch.write("way/file", "no link");
    assert_eq!(body(&server, "/way/file"), "no link");
    fs::remove_file(scratch.join("name")).unwrap();
    scratch.write("name", "no link either");
    assert_eq!(body(&server, "/name"), "no link either");
    assert_eq!(body(&server, "/d/file"), "file");
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
