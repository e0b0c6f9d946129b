//! Listings of directories, as clients get them.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use common::browser::Browser;
use common::{ENGINES, Launch, Response, Scratch, Server, get, skipped};
use serde_json::Value;

const JSON: &str = "Accept: application/json\r\n";

fn serve(root: &Path, more: &[&str]) -> Server {
    Server::start(&[&["--listing", "--workers", "1"], more].concat(), root)
}

fn ask(server: &Server, path: &str, fields: &str) -> Response {
    let mut wire = server.connect();
    wire.send(&get(path, fields));
    wire.response().unwrap()
}

fn names(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["truncated"], false);
    let entries = told["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

/// A directory with what is served and what is not.
fn tree() -> Scratch {
    let root = Scratch::new();
    root.write("dir/b.txt", "twelve bytes");
    root.write("dir/a.txt", "one");
    root.write("dir/sub/inner.txt", "x");
    root.write("dir/.secret", "x");
    root.write("dir/.well-known/known.txt", "x");
    root.write("indexed/index.html", "an index");
    let at = |name: &str| root.join(name);
    symlink("b.txt", at("dir/inside")).unwrap();
    symlink("/etc/passwd", at("dir/absolute")).unwrap();
    symlink("../../..", at("dir/above")).unwrap();
    symlink("nowhere", at("dir/dangling")).unwrap();
    symlink("../indexed", at("dir/to-directory")).unwrap();
    let fifo = at("dir/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    root
}

/// RFC 9110 section 17.3: a listing does not tell of what is not served.
#[test]
fn what_would_be_served_is_listed_and_nothing_else() {
    let root = tree();
    let server = serve(root.path(), &[]);
    let all = ["sub", "to-directory", "a.txt", "b.txt", "inside"];
    let seen = names(&ask(&server, "/dir/", JSON));
    assert_eq!(seen, [&[".well-known"], &all[..]].concat());
    for (name, bytes) in [("a.txt", 3), ("b.txt", 12), ("inside", 12), ("sub/inner.txt", 1)] {
        assert_eq!(ask(&server, &format!("/dir/{name}"), "").body.len(), bytes, "{name}");
    }
    for name in ["absolute", "above", "dangling", "fifo", ".secret"] {
        assert_eq!(ask(&server, &format!("/dir/{name}"), "").status, 404, "{name}");
    }

    let server = serve(root.path(), &["--dotfiles"]);
    assert!(names(&ask(&server, "/dir/", JSON)).contains(&".secret".to_owned()));
    let server = serve(root.path(), &["--symlinks=false"]);
    assert_eq!(names(&ask(&server, "/dir/", JSON)), [".well-known", "sub", "a.txt", "b.txt"]);
}

/// RFC 9110 section 15.5.5.
#[test]
fn a_directory_is_listed_only_where_nothing_else_answers() {
    let root = tree();
    let server = serve(root.path(), &[]);
    assert_eq!(ask(&server, "/indexed/", "").body, b"an index");
    let answer = ask(&server, "/dir?sort=size", "");
    assert_eq!((answer.status, answer.field("location")), (301, Some("/dir/?sort=size")));
    assert_eq!(names(&ask(&server, "/", JSON)), ["dir", "indexed"]);
    for path in ["/none/", "/dir/a.txt/", "/dir/.secret/"] {
        assert_eq!(ask(&server, path, "").status, 404, "{path}");
    }
    let off = Server::start(&["--workers", "1"], root.path());
    assert_eq!(ask(&off, "/dir/", "").status, 404);
}

#[test]
fn the_form_is_negotiated_rfc9110_section_12_5_1() {
    let root = tree();
    let server = serve(root.path(), &[]);
    for (path, accept, json) in [
        ("/dir/", "", false),
        ("/dir/", "Accept: text/html,application/json;q=0.5\r\n", false),
        ("/dir/", JSON, true),
        ("/dir/?format=json", "", true),
        ("/dir/?format=html", JSON, false),
    ] {
        let answer = ask(&server, path, accept);
        let media = if json { "application/json" } else { "text/html; charset=utf-8" };
        assert_eq!(answer.field("content-type"), Some(media), "{path} {accept}");
        assert_eq!(answer.field("vary"), Some("Accept"));
        assert_eq!(answer.field("cache-control"), Some("no-cache"));
        assert!(answer.field("last-modified").is_none() && answer.field("accept-ranges").is_none());
        assert_eq!(json, answer.body.starts_with(b"{\"path\":\"/dir/\""));
    }
    let by_size = names(&ask(&server, "/dir/?sort=size&order=desc", JSON));
    let place = |name: &str| by_size.iter().position(|one| one == name).unwrap();
    assert!(place("b.txt") < place("a.txt"));
}

#[test]
fn head_and_conditions_hold_for_listings_rfc9110_section_13() {
    let root = tree();
    let server = serve(root.path(), &[]);
    let whole = ask(&server, "/dir/", "");
    let mut wire = server.connect();
    wire.send(b"HEAD /dir/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = wire.answer("HEAD").unwrap();
    assert_eq!(head.field("content-length"), whole.field("content-length"));
    assert_eq!(head.field("etag"), whole.field("etag"));
    let tag = whole.field("etag").unwrap();
    let same = ask(&server, "/dir/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((same.status, same.field("etag")), (304, Some(tag)));
    assert_eq!(same.field("vary"), Some("Accept"));
    assert_eq!(ask(&server, "/dir/", "If-Match: \"other\"\r\n").status, 412);
    let ranged = ask(&server, "/dir/", "Range: bytes=0-9\r\n");
    assert_eq!((ranged.status, &ranged.body), (200, &whole.body));
    // Another entry makes another listing, at once.
    root.write("dir/new.txt", "x");
    let other = ask(&server, "/dir/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(other.status, 200);
    assert!(other.text().contains("new.txt"));
}

/// RFC 9110 section 15.5.4.
#[test]
fn a_directory_that_may_not_be_read_is_not_there() {
    let root = Scratch::new();
    root.write("closed/file.txt", "x");
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, but for these two of its powers.
    let powers = "--bounding-set=-dac_override,-dac_read_search";
    let mut launch = Launch::new(&["--listing", "--workers", "1"]).root(root.path());
    if fs::read_dir(root.join("closed")).is_ok() {
        let tried = Command::new("setpriv").args([powers, "true"]).status();
        if !tried.is_ok_and(|status| status.success()) {
            return skipped("a closed directory", "setpriv cannot take powers away");
        }
        launch = launch.through(&["setpriv", powers]);
    }
    let server = launch.start();
    assert_eq!(ask(&server, "/closed/", "").status, 404);
    assert!(names(&ask(&server, "/", JSON)).is_empty());
}

#[test]
fn a_hundred_thousand_entries_are_listed_by_every_engine() {
    const COUNT: usize = 100_000;
    let root = Scratch::new();
    root.write("small.txt", "small");
    let first = root.write("big/entry-000000", "x");
    for number in 1..COUNT {
        fs::hard_link(&first, root.join(&format!("big/entry-{number:06}")))
            .or_else(|_| fs::write(root.join(&format!("big/entry-{number:06}")), "x"))
            .unwrap();
    }
    for engine in ENGINES {
        let server = serve(root.path(), &["--engine", engine]);
        let seen = names(&ask(&server, "/big/", JSON));
        assert_eq!(seen.len(), COUNT, "{engine}");
        assert!(seen.is_sorted(), "{engine}");
    }
    let server = serve(root.path(), &[]);
    let page = ask(&server, "/big/", "");
    assert_eq!(page.text().matches("<data value=1>").count(), COUNT);
    assert!(page.body.len() < 20 << 20, "{} bytes", page.body.len());
    assert!(page.text().contains("100000 files"));
    // Nobody sends the page any more, and a little later nobody keeps it.
    server.figure_until(&["listings", "page_bytes"], |bytes| bytes == 0);
    assert_eq!(server.figure(&["techniques", "read_directory", "operations"]), 1);
    assert_eq!(server.figure(&["jobs", "in_flight"]), 0);
}

/// RFC 9110 section 15.6.4.
#[test]
fn pages_on_their_way_are_bounded() {
    let root = Scratch::new();
    for number in 0..8000 {
        root.write(&format!("big/{}-{number:06}", "n".repeat(100)), "");
    }
    let server = serve(root.path(), &["--listing-memory", "1MiB", "--send-timeout", "60s"]);
    // A client that reads nothing holds a page above the budget.
    let mut slow = common::Wire::narrow(server.address());
    slow.send(&get("/big/", ""));
    server.figure_until(&["listings", "page_bytes"], |bytes| bytes > 1 << 20);
    let refused = ask(&server, "/big/?sort=time", "");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
    assert_eq!(server.figure(&["listings", "refused"]), 1);
    drop(slow);
    server.figure_until(&["listings", "page_bytes"], |bytes| bytes == 0);
    assert_eq!(ask(&server, "/big/?sort=time", "").status, 200);
}

#[test]
fn many_at_once_share_what_is_made() {
    let root = Scratch::new();
    for number in 0..20_000 {
        root.write(&format!("big/{number:06}"), "");
    }
    let server = serve(root.path(), &[]);
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(names(&ask(&server, "/big/", JSON)).len(), 20_000));
        }
    });
    let made = server.figure(&["listings", "made"]);
    assert!((1..=40).contains(&made), "{made}");
}

/// RFC 9112 section 9.3.2.
#[test]
fn listings_pipeline_with_files() {
    let root = tree();
    for engine in ENGINES {
        let server = serve(root.path(), &["--engine", engine]);
        let mut wire = server.connect();
        let paths = ["/dir/a.txt", "/dir/", "/dir/b.txt", "/none", "/dir/sub/"];
        let requests: Vec<u8> = paths.iter().flat_map(|path| get(path, JSON)).collect();
        wire.send(&requests);
        let statuses: Vec<_> = paths.iter().map(|_| wire.response().unwrap().status).collect();
        assert_eq!(statuses, [200, 200, 200, 404, 200], "{engine}");
    }
}

/// RFC 9110 section 5.1, and RFC 9110 section 12.5.5 for Vary.
#[test]
fn rules_hold_for_listings() {
    let scratch = Scratch::new();
    scratch.write("site/dir/a.txt", "x");
    scratch.write("site/media/hidden-by-the-mount", "x");
    scratch.write("site/lost.html", "lost");
    scratch.write("media/sub/clip.mp4", "clip");
    scratch.write("media/sub/b.txt", "hidden by the mount");
    symlink("../sub/clip.mp4", scratch.join("media/sub/inside")).unwrap();
    symlink("../../site/lost.html", scratch.join("media/sub/outside")).unwrap();
    let rules = r#"
        root = "site"
        listing = true
        [errors]
        404 = "lost.html"
        [[fields]]
        match = "/media/**"
        set = { Cache-Control = "max-age=5", X-Media = "1" }
        [[cors]]
        match = "/dir/**"
        origins = ["https://a.example", "https://b.example"]
        [[mounts]]
        path = "/media/"
        root = "media"
        [[mounts]]
        path = "/only a mount/"
        root = "media"
        [[mounts]]
        path = "/dir/deep/"
        root = "media"
        [[mounts]]
        path = "/dir/.hidden/"
        root = "media"
        [[mounts]]
        path = "/media/sub/b.txt/"
        root = "site"
        [[mounts]]
        path = "/nowhere/beneath/"
        root = "media"
        [[hosts]]
        names = ["b.example"]
        root = "media"
        mounts = []
        "#;
    let config = scratch.write("config.toml", rules);
    let options = ["--workers", "1", "--config", config.to_str().unwrap()];
    let server = Launch::new(&options).start();

    // Mounts are where they lead to, whatever the directory has under their names.
    let top = ask(&server, "/", JSON);
    assert_eq!(names(&top), ["dir", "media", "only a mount", "lost.html"]);
    assert_eq!(top.text().matches("\"modified\"").count(), 2, "{}", top.text());
    assert_eq!(names(&ask(&server, "/dir/", JSON)), ["deep", "a.txt"]);
    assert_eq!(names(&ask(&server, "/dir/deep/", JSON)), ["sub"]);
    for path in ["/only%20a%20mount/", "/dir/deep/", "/media/sub/b.txt/"] {
        assert_eq!(ask(&server, path, "").status, 200, "{path}");
    }
    for path in ["/dir/.hidden/", "/nowhere/"] {
        assert_eq!(ask(&server, path, "").status, 404, "{path} is not listed");
    }

    assert_eq!(names(&ask(&server, "/media/", JSON)), ["sub"]);
    let mounted = ask(&server, "/media/sub/", JSON);
    assert_eq!(names(&mounted), ["b.txt", "clip.mp4", "inside"]);
    assert!(mounted.text().starts_with("{\"path\":\"/media/sub/\""));
    assert_eq!(mounted.field("cache-control"), Some("max-age=5"));
    assert_eq!((mounted.field("x-media"), mounted.field("vary")), (Some("1"), Some("Accept")));
    assert_eq!(ask(&server, "/media/sub", "").field("location"), Some("/media/sub/"));

    let shared = ask(&server, "/dir/", "Origin: https://b.example\r\n");
    assert_eq!(shared.field("access-control-allow-origin"), Some("https://b.example"));
    assert_eq!(shared.field("vary"), Some("Accept, Origin"));
    assert_eq!(shared.field("cache-control"), Some("no-cache"));

    let none = ask(&server, "/media/none/", "");
    assert_eq!((none.status, &none.body[..]), (404, &b"lost"[..]));
    let mut wire = server.connect();
    wire.send(format!("GET /sub/ HTTP/1.1\r\nHost: b.example\r\n{JSON}\r\n").as_bytes());
    assert_eq!(names(&wire.response().unwrap()), ["b.txt", "clip.mp4", "inside"]);
}

/// What has the focus: the text and the address of a link.
fn focus(browser: &Browser) -> String {
    let said = browser.value("document.activeElement?.textContent ?? ''");
    said.as_str().unwrap().trim().to_owned()
}

/// Goes from link to link by the keyboard until one says so, and follows it.
fn follow(browser: &Browser, link: &str) {
    const TAB: &str = "\u{E004}";
    const ENTER: &str = "\u{E007}";
    for _ in 0..20 {
        browser.press(TAB);
        if focus(browser) == link {
            let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
            assert_ne!(outline, "none", "the focus is seen");
            return browser.press(ENTER);
        }
    }
    panic!("the keyboard does not reach {link}");
}

#[test]
fn a_listing_is_used_by_the_keyboard_in_light_and_dark() {
    let Some(browser) = Browser::start() else {
        return skipped("a listing in a browser", "no chromium or no chromedriver");
    };
    let root = tree();
    // Browsers ask every site for it.
    root.write("favicon.ico", "");
    let server = serve(root.path(), &[]);
    let shown = |first: &str, second: &str| {
        let rows = "[...document.querySelectorAll('tbody td:first-child')]";
        let files = format!("{rows}.map(cell => cell.textContent.trim()).filter(name => ");
        let wanted = format!("['{first}', '{second}']");
        browser.until(&format!(
            "JSON.stringify({files}{wanted}.includes(name))) === JSON.stringify({wanted})"
        ));
    };
    browser.open(&server.url("/dir/"));
    shown("a.txt", "b.txt");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("listing-page");
    fs::create_dir_all(&place).unwrap();
    for (scheme, width) in [("dark", 390), ("light", 390), ("dark", 1280), ("light", 1280)] {
        browser.show_as(scheme, width);
        browser.picture(&place.join(format!("{scheme}-{width}.png")));
    }
    follow(&browser, "Size");
    browser.until("location.search === '?sort=size&order=asc'");
    shown("a.txt", "b.txt");
    follow(&browser, "Size \u{2191}");
    browser.until("location.search === '?sort=size&order=desc'");
    shown("b.txt", "a.txt");
    let sorted = "document.querySelector('th[aria-sort=descending]').textContent.includes('Size')";
    browser.until(sorted);
    follow(&browser, "sub/");
    browser.until("location.pathname === '/dir/sub/'");
    follow(&browser, "inner.txt");
    browser.until("location.pathname === '/dir/sub/inner.txt'");
    browser.has_no_complaint();
}
