//! The protocol from outside: bytes in; status, fields, body and the state of the connection out.
//!
//! One table, run in every engine, in one packet and byte by byte. Clauses are of RFC 9110 and
//! RFC 9112 where a name says nothing else.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "http/table.rs"]
mod table;

use std::time::Duration;

use common::{ENGINES, End, Fault, Pattern, Response, Scratch, Server, Wire, exchange, get};
use table::{After, Answer, Body, Case, Want, cases};

/// What the table asks for.
struct Site {
    scratch: Scratch,
}

impl Site {
    fn new() -> Self {
        let scratch = Scratch::new();
        for (name, content) in table::FILES {
            scratch.write(name, content);
        }
        scratch.pattern("data.bin", 5, 70_001);
        scratch.pattern("big.bin", 6, 6 << 20);
        Self { scratch }
    }

    fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.scratch.join(name)).unwrap()
    }
}

/// The validators of a file, as the server gives them.
struct Validators {
    etag: String,
    modified: String,
}

impl Validators {
    fn of(server: &Server, path: &str) -> Self {
        let mut wire = server.connect();
        wire.send(&get(path, ""));
        let answer = wire.response().unwrap();
        let field = |name: &str| answer.field(name).expect("validators are sent").to_owned();
        Self { etag: field("etag"), modified: field("last-modified") }
    }

    /// The bytes of a case with the marks replaced.
    fn fill(&self, sent: &[u8]) -> Vec<u8> {
        // Heads may hold bytes that are no text, so each is one character for the moment.
        let text: String = sent.iter().map(|byte| *byte as char).collect();
        let time = httpdate::parse_http_date(&self.modified).expect("Last-Modified is a date");
        let day = Duration::from_secs(24 * 60 * 60);
        let text = text
            .replace("{etag}", &self.etag)
            .replace("{modified}", &self.modified)
            .replace("{earlier}", &httpdate::fmt_http_date(time - day))
            .replace("{later}", &httpdate::fmt_http_date(time + day));
        text.chars().map(|one| one as u8).collect()
    }
}

fn run(site: &Site, server: &Server, validators: &Validators, case: &Case, bytewise: bool) {
    let sent = validators.fill(&case.sent);
    let mut wire = server.connect();
    if bytewise {
        wire.send_bytewise(&sent);
    } else {
        // A refusal may come before the last byte was taken.
        let _ = wire.try_send(&sent);
    }
    for (number, expected) in case.answers.iter().enumerate() {
        let what = format!("{} (answer {}, bytewise: {bytewise})", case.name, number + 1);
        let answer = wire
            .answer(expected.method)
            .unwrap_or_else(|fault| panic!("{what}: {fault:?} instead of {expected:?}"));
        check(site, &what, expected, &answer);
        check_always(&what, expected.method, &answer);
    }
    match case.after {
        After::Open => {
            wire.serves().unwrap_or_else(|fault| panic!("{}: not kept open: {fault:?}", case.name));
        }
        After::Closed => assert_eq!(wire.end(), End::Closed, "{}", case.name),
        After::Either => {}
    }
}

fn check(site: &Site, what: &str, expected: &Answer, answer: &Response) {
    assert!(expected.statuses.contains(&answer.status), "{what}: {expected:?}, not {answer:?}");
    for (name, want) in &expected.fields {
        let value = answer.field(name);
        let fits = match want {
            Want::Is(text) => value == Some(text.as_str()),
            Want::Any => value.is_some(),
            Want::Absent => value.is_none(),
        };
        assert!(fits, "{what}: {name}: {want:?}, not {value:?}");
    }
    match &expected.body {
        Body::Any => {}
        Body::Empty => assert!(answer.body.is_empty(), "{what}: {answer:?}"),
        Body::File(name) => {
            assert!(answer.body == site.content(name), "{what}: not the content of {name}");
        }
        Body::Part(name, span) => {
            assert!(
                answer.body == site.content(name)[span.clone()],
                "{what}: wrong part of {name}"
            );
        }
    }
}

/// What holds for every answer, whatever it is an answer to.
fn check_always(what: &str, method: &str, answer: &Response) {
    if answer.status < 200 {
        return;
    }
    let has = |name: &str| {
        answer.field(name).unwrap_or_else(|| panic!("{what}: no {name}: {answer:?}")).to_owned()
    };
    // Section 5.6.7: the preferred form, which is the only one that comes out the same.
    let date = has("date");
    let parsed = httpdate::parse_http_date(&date).unwrap_or_else(|_| panic!("{what}: {date}"));
    assert_eq!(httpdate::fmt_http_date(parsed), date, "{what}");
    match answer.status {
        200 | 206 | 304 => {
            let tag = has("etag");
            assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{what}: {tag}");
            let modified = httpdate::parse_http_date(&has("last-modified")).unwrap();
            // Section 8.8.2.1: never later than the message.
            assert!(modified <= parsed, "{what}: Last-Modified lies in the future");
            if answer.status != 304 {
                has("content-type");
                assert_eq!(has("accept-ranges"), "bytes", "{what}");
                assert_eq!(has("x-content-type-options"), "nosniff", "{what}");
            }
        }
        204 => {}
        301 => {
            let location = has("location");
            assert!(location.starts_with('/') && !location.starts_with("//"), "{what}: {location}");
            assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{what}");
        }
        status => {
            assert!(status >= 400, "{what}: an unexpected kind of answer: {answer:?}");
            has("content-type");
            assert!(has("content-length").parse::<u64>().unwrap() < 4096, "{what}: not short");
            assert!(method == "HEAD" || !answer.body.is_empty(), "{what}: a refusal says so");
            let said = answer.text().to_lowercase();
            for inside in ["src/", "panicked", "os error", ".rs:", "io_uring"] {
                assert!(!said.contains(inside), "{what}: tells about the inside: {said}");
            }
        }
    }
}

fn whole_table(engine: &str) {
    let site = Site::new();
    let server = Server::engine(engine, site.scratch.path());
    let validators = Validators::of(&server, "/plain.txt");
    for case in cases() {
        run(&site, &server, &validators, &case, false);
    }
}

macro_rules! table_in_each_engine {
    ($($engine:ident),*) => {$(
        mod $engine {
            #[test]
            fn whole_table() { super::whole_table(stringify!($engine)) }
            #[test]
            fn pipelines() { super::pipelines(stringify!($engine)) }
            #[test]
            fn half_closed_clients_get_what_they_are_owed() {
                super::half_close(stringify!($engine))
            }
        }
    )*};
}

table_in_each_engine!(sendfile, splice, uring, direct, copy);

/// RFC 9112 section 2.2: a message is a sequence of octets, however they are packed.
#[test]
fn whole_table_byte_by_byte() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    let validators = Validators::of(&server, "/plain.txt");
    for case in cases() {
        run(&site, &server, &validators, &case, true);
    }
}

#[test]
fn a_head_may_be_split_anywhere() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    let request = get("/plain.txt", "Accept: */*\r\nIf-None-Match: \"x\"\r\n");
    for at in 1..request.len() {
        let mut wire = server.connect();
        wire.send(&request[..at]);
        std::thread::sleep(Duration::from_millis(1));
        wire.send(&request[at..]);
        let answer = wire.response().unwrap_or_else(|fault| panic!("split at {at}: {fault:?}"));
        assert!(answer.body == site.content("plain.txt"), "split at {at}");
    }
}

/// HEAD has the fields of GET (RFC 9110 section 9.3.2).
#[test]
fn head_says_what_get_would() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    for path in ["/", "/plain.txt", "/data.bin", "/empty.bin", "/missing", "/dir", "/noindex/"] {
        let ask = |method: &str| {
            let mut wire = server.connect();
            wire.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
            let answer = wire.answer(method).unwrap();
            wire.serves().unwrap();
            let mut fields = answer.fields;
            fields.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            fields.sort();
            (answer.status, fields)
        };
        assert_eq!(ask("HEAD"), ask("GET"), "{path}");
    }
}

/// Answers come in the order of their requests (RFC 9112 section 9.3.2), each whole.
fn pipelines(engine: &str) {
    let site = Site::new();
    let server = Server::engine(engine, site.scratch.path());
    let round = [
        ("GET", "/plain.txt", 200, "plain.txt"),
        ("GET", "/data.bin", 200, "data.bin"),
        ("HEAD", "/data.bin", 200, ""),
        ("GET", "/missing", 404, ""),
        ("GET", "/empty.bin", 200, "empty.bin"),
        ("GET", "/dir/", 200, "dir/index.html"),
        ("GET", "/app.js", 200, "app.js"),
    ];
    for count in [1, 2, 16, 100] {
        let asked: Vec<_> = round.iter().cycle().take(count).collect();
        let mut sent = Vec::new();
        for (method, path, _, _) in &asked {
            sent.extend(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes());
        }
        for bytewise in [false, true] {
            let mut wire = server.connect();
            if bytewise {
                wire.send_bytewise(&sent);
            } else {
                wire.send(&sent);
            }
            for (number, (method, path, status, file)) in asked.iter().enumerate() {
                let what = format!("{number} of {count}, {method} {path}, bytewise: {bytewise}");
                let answer = wire.answer(method).unwrap_or_else(|f| panic!("{what}: {f:?}"));
                assert_eq!(answer.status, *status, "{what}");
                if !file.is_empty() {
                    assert!(answer.body == site.content(file), "{what}: wrong body");
                }
            }
            wire.serves().unwrap();
        }
    }
}

/// Good answers before a bad request are whole, then comes the refusal, then the end.
#[test]
fn a_bad_request_ends_a_pipeline_behind_the_good_answers() {
    let site = Site::new();
    for engine in ENGINES {
        let server = Server::engine(engine, site.scratch.path());
        let mut sent = get("/data.bin", "");
        sent.extend(get("/plain.txt", ""));
        sent.extend(b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        sent.extend(get("/plain.txt", ""));
        let mut wire = server.connect();
        wire.send(&sent);
        assert!(wire.response().unwrap().body == site.content("data.bin"), "{engine}");
        assert!(wire.response().unwrap().body == site.content("plain.txt"), "{engine}");
        let refusal = wire.response().unwrap();
        assert_eq!((refusal.status, refusal.says_close()), (400, true), "{engine}");
        assert_eq!(wire.end(), End::Closed, "{engine}");
    }
}

/// More requests than one buffer or one batch of answers holds, with bodies in between.
#[test]
fn a_long_pipeline_is_answered_to_its_end() {
    let site = Site::new();
    for engine in ENGINES {
        let server = Server::engine(engine, site.scratch.path());
        let count = 2_000;
        let sent = get("/plain.txt", "X-Padding: 0123456789\r\n").repeat(count);
        let address = server.address();
        let mut wire = Wire::tcp(address);
        // Two hands, because neither side may wait for the other with full sockets.
        std::thread::scope(|scope| {
            let mut sender = wire.second_hand();
            scope.spawn(move || sender.send(&sent));
            for number in 0..count {
                let answer = wire.response().unwrap_or_else(|f| panic!("{engine} {number}: {f:?}"));
                assert!(answer.body == site.content("plain.txt"), "{engine} {number}");
            }
        });
        wire.serves().unwrap();
    }
}

/// RFC 9112 section 9.6: a client that has ended its sending side still reads.
fn half_close(engine: &str) {
    let site = Site::new();
    let server = Server::engine(engine, site.scratch.path());
    let mut sent = get("/big.bin", "");
    sent.extend(get("/plain.txt", ""));
    sent.extend(get("/data.bin", "Range: bytes=1-70000\r\n"));
    for _ in 0..5 {
        let (answers, end) = exchange(server.connect(), &sent);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!((statuses, end), (vec![200, 200, 206], End::Closed));
        assert!(answers[0].body == Pattern::new(6).bytes(0, 6 << 20));
        assert!(answers[2].body == Pattern::new(5).bytes(1, 70_000));
    }
}

#[test]
fn an_end_inside_a_head_is_no_request() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    for part in ["", "G", "GET /plain.txt", "GET /plain.txt HTTP/1.1\r\nHost: te", "\r\n"] {
        let mut wire = server.connect();
        wire.send(part.as_bytes());
        wire.finish();
        let (rest, fault) = wire.rest();
        assert_eq!(fault, Fault::Closed, "{part:?}");
        let said = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || said.starts_with("HTTP/1.1 400 "), "{part:?}: {said}");
    }
}

/// Bytes of every kind end in a refusal or a close, and the server goes on.
#[test]
fn garbage_costs_only_its_own_connection() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    for seed in 0..if common::long() { 2_000 } else { 200 } {
        let garbage = Pattern::new(seed).bytes(0, 1 + (seed as usize * 37) % 3_000);
        let mut wire = server.connect();
        let _ = wire.try_send(&garbage);
        wire.finish();
        let (rest, fault) = wire.rest();
        assert_ne!(fault, Fault::Silent, "seed {seed} hangs");
        let said = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || said.starts_with("HTTP/1.1 "), "seed {seed}: {said}");
        assert!(!said.starts_with("HTTP/1.1 2"), "seed {seed} is served: {said}");
    }
    let mut wire = server.connect();
    wire.serves().unwrap();
}

/// What a browser sends when somebody writes https: it waits for an answer, so the server must
/// not wait for an end of line.
#[test]
fn a_tls_hello_is_refused_at_once() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend(Pattern::new(1).bytes(0, 506).iter().map(|byte| byte | 0x80));
    let mut wire = server.connect();
    wire.send(&hello);
    let (rest, fault) = wire.rest();
    assert_eq!(fault, Fault::Closed);
    let said = String::from_utf8_lossy(&rest);
    assert!(rest.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
}

/// Names that are not text are names all the same.
#[test]
fn a_name_of_any_bytes_is_served() {
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    let name = std::ffi::OsStr::from_bytes(b"raw\xff\xfe.bin");
    std::fs::write(site.scratch.path().join(name), b"raw bytes").unwrap();
    let server = Server::engine("sendfile", site.scratch.path());
    let mut wire = server.connect();
    wire.send(&get("/raw%FF%fe.bin", ""));
    assert_eq!(wire.response().unwrap().body, b"raw bytes");
}

/// The figures by status add up to the answers that were given.
#[test]
fn answers_are_counted_by_status() {
    let site = Site::new();
    let server = Server::engine("sendfile", site.scratch.path());
    let mut wire = server.connect();
    for (path, status) in [("/plain.txt", 200), ("/plain.txt", 200), ("/missing", 404)] {
        wire.send(&get(path, ""));
        assert_eq!(wire.response().unwrap().status, status);
    }
    wire.send(&get("/plain.txt", "Range: bytes=0-3\r\n"));
    assert_eq!(wire.response().unwrap().status, 206);
    server.figure_until(&["responses", "206"], |count| count == 1);
    let telemetry = server.telemetry();
    let figure = |status: &str| common::figure(&telemetry, &["responses", status]);
    assert_eq!((figure("404"), figure("206")), (1, 1), "{telemetry:#}");
    assert!(figure("200") >= 2, "{telemetry:#}");
}
