//! The page in a real browser: it loads without a complaint, moves, agrees with the JSON, stops
//! when nobody looks, says when the server is gone. Pictures of it stay below the target directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::common::browser::Browser;
use crate::common::{Scratch, Server, Wire, eventually, figure, get, skipped};

/// Figures that do not move by looking at them, by their paths.
const STILL: [&str; 6] = [
    "engines.splice.bytes",
    "engines.splice.responses",
    "engines.splice.not_copied_bytes",
    "techniques.splice_in.bytes",
    "techniques.splice_out.operations",
    "responses.404",
];

fn pictures() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("telemetry-page");
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Clients of several kinds, until they are told to stop.
fn load(server: &Server, stop: &AtomicBool) {
    let mut wire = server.connect();
    for turn in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = ["/small.txt", "/large.bin", "/small.txt", "/nothing"][turn as usize % 4];
        wire.send(&get(path, ""));
        wire.response().unwrap();
        if turn % 50 == 0 {
            wire = server.connect();
        }
        std::thread::sleep(std::time::Duration::from_millis(2 + turn % 7));
    }
}

fn shown(browser: &Browser, path: &str) -> Option<u64> {
    let cell = format!("document.querySelector('[data-path=\"{path}\"]')?.dataset.value ?? null");
    browser.value(&cell).as_str()?.parse().ok()
}

fn fetches(browser: &Browser) -> u64 {
    browser.value("performance.getEntriesByType('resource').length").as_u64().unwrap()
}

fn hide(browser: &Browser, hidden: bool) {
    let script = format!(
        "(Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}), \
         document.dispatchEvent(new Event('visibilitychange')))"
    );
    browser.value(&script);
}

#[test]
fn the_page_lives_with_its_server() {
    let Some(browser) = Browser::start() else {
        return skipped("the page in a browser", "no chromium or no chromedriver");
    };
    let scratch = Scratch::new();
    scratch.write("small.txt", "a small answer");
    scratch.pattern("large.bin", 3, 3 << 20);
    let mut server = Server::engine("splice", scratch.path());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        scope.spawn(|| load(&server, &stop));
        browser.open(&server.url("/telemetry"));
        browser.until("!document.getElementById('live').hidden");
        it_moves(&browser);
        it_is_drawn_for_every_place(&browser);
        it_listens_to_keys(&browser);
        stop.store(true, Ordering::Relaxed);
    });
    it_agrees(&browser, &server);
    it_stops_when_nobody_looks(&browser);
    browser.has_no_complaint();
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    server.wait();
    browser.until("!document.getElementById('gone').hidden");
    let said = browser.value("document.getElementById('gone').textContent");
    assert!(said.as_str().unwrap().starts_with("The server is gone"), "{said}");
    assert_eq!(browser.value("document.getElementById('gone').getAttribute('role')"), "alert");
    browser.picture(&pictures().join("gone.png"));
}

/// Stops the load also when a check fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn it_moves(browser: &Browser) {
    let first = shown(browser, "engines.splice.bytes").unwrap();
    eventually("the page shows more bytes", || {
        shown(browser, "engines.splice.bytes").filter(|now| *now > first)
    });
    // A lane for each technique in use, the engine that serves, and a line in every chart.
    browser.until("!!document.querySelector('[data-technique=\"splice_out\"]')");
    browser.until("!!document.querySelector('[data-engine=\"splice\"] .meter')");
    let lines = "[...document.querySelectorAll('.chart')].every(chart => \
        [...chart.querySelectorAll('path')].some(path => path.getAttribute('d').includes('L')))";
    browser.until(lines);
    browser.has_no_complaint();
}

fn it_is_drawn_for_every_place(browser: &Browser) {
    // So that there is something to see in the pictures.
    browser.until("charts[0].points.length >= 25");
    for (name, scheme, width) in [
        ("narrow", "light", 390),
        ("narrow-dark", "dark", 390),
        ("dark", "dark", 1280),
        ("light", "light", 1280),
    ] {
        browser.show_as(scheme, width);
        browser.picture(&pictures().join(format!("{name}.png")));
    }
    // What is drawn is said, too.
    let named = "[...document.querySelectorAll('[role=img]')].length > 0 && \
        [...document.querySelectorAll('[role=img]')].every(one => one.getAttribute('aria-label'))";
    browser.until(named);
}

fn it_listens_to_keys(browser: &Browser) {
    browser.press("p");
    browser.until("document.getElementById('state').dataset.state === 'paused'");
    browser.press("p");
    browser.until("document.getElementById('state').dataset.state === 'live'");
    browser.press("t");
    browser.until("document.documentElement.dataset.theme === 'light'");
    browser.press("/");
    browser.until("document.activeElement.id === 'filter'");
    for key in ["h", "i", "t", "s"] {
        browser.press(key);
    }
    browser.until(
        "!document.querySelector('[data-path=\"cache.hits\"]').closest('tr').hidden && \
         document.querySelector('[data-path=\"ring.enters\"]').closest('tr').hidden",
    );
    browser.value("(document.querySelector('.chart').focus(), true)");
    browser.press("\u{E012}");
    browser.until("charts[0].cursor === 1");
    browser.value("(document.activeElement.blur(), true)");
}

fn it_agrees(browser: &Browser, server: &Server) {
    for path in STILL {
        let keys: Vec<&str> = path.split('.').collect();
        let told = figure(&server.telemetry(), &keys);
        assert!(told > 0, "{path} was to move");
        eventually(path, || shown(browser, path).filter(|shown| *shown == told));
    }
}

fn it_stops_when_nobody_looks(browser: &Browser) {
    hide(browser, true);
    // One may be under way.
    browser.until("!asking");
    let before = fetches(browser);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(fetches(browser), before, "a page that nobody sees asks for nothing");
    hide(browser, false);
    eventually("it asks again", || (fetches(browser) > before).then_some(()));
}

#[test]
fn the_page_needs_no_second_connection() {
    let server = Server::engine("sendfile", Scratch::new().path());
    let mut wire = Wire::tcp(server.address());
    wire.send(&get("/telemetry", "Accept: text/html\r\n"));
    let page = wire.response().unwrap().text();
    assert!(page.contains("<!doctype html>") && page.contains("\"group\":\"techniques\""));
}
