//! What a table of single exchanges does not show: long pipelines, half-closed connections, any
//! bytes, and counters.

use std::time::{Duration, SystemTime};

use crate::common::{
    self, ENGINES, End, Fault, Pattern, Response, Scratch, Server, Wire, exchange, get,
};
use crate::site::{Site, content};

macro_rules! in_each_engine {
    ($($engine:ident),*) => {$(
        mod $engine {
            #[test]
            fn pipelines() { super::pipelines(stringify!($engine)) }
            #[test]
            fn half_closed_clients_get_what_they_are_owed() {
                super::half_close(stringify!($engine))
            }
        }
    )*};
}

in_each_engine!(sendfile, splice, uring, direct, copy, auto);

/// HEAD has the fields of GET (RFC 9110 section 9.3.2).
#[test]
fn head_says_what_get_would() {
    const PATHS: [&str; 8] = [
        "/",
        "/plain.txt",
        "/data.bin",
        "/empty.bin",
        "/page.html",
        "/missing",
        "/dir",
        "/noindex/",
    ];
    let site = Site::new();
    for engine in ENGINES {
        let server = Server::start(&["--engine", engine, "--precompressed", "on"], &site.root());
        for path in PATHS {
            let ask = |method: &str| {
                let mut wire = server.connect();
                let fields = "Host: test\r\nAccept-Encoding: gzip\r\n";
                wire.send(format!("{method} {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
                let answer = wire.answer(method).unwrap();
                wire.serves().unwrap();
                let mut fields = answer.fields;
                fields.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
                fields.sort();
                (answer.status, fields)
            };
            assert_eq!(ask("HEAD"), ask("GET"), "{engine} {path}");
        }
    }
}

/// Answers come in the order of their requests (RFC 9112 section 9.3.2), each whole.
fn pipelines(engine: &str) {
    let site = Site::new();
    let server = Server::engine(engine, &site.root());
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
                    assert!(answer.body == content(file), "{what}: wrong body");
                }
            }
            wire.serves().unwrap();
        }
    }
}

/// RFC 9112 section 9.3.2: good answers before a bad request are whole, then comes the refusal,
/// then the end.
#[test]
fn a_bad_request_ends_a_pipeline_behind_the_good_answers() {
    let site = Site::new();
    for engine in ENGINES {
        let server = Server::engine(engine, &site.root());
        let mut sent = get("/data.bin", "");
        sent.extend(get("/plain.txt", ""));
        sent.extend(b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        sent.extend(get("/plain.txt", ""));
        let mut wire = server.connect();
        wire.send(&sent);
        assert!(wire.response().unwrap().body == content("data.bin"), "{engine}");
        assert!(wire.response().unwrap().body == content("plain.txt"), "{engine}");
        let refusal = wire.response().unwrap();
        assert_eq!((refusal.status, refusal.says_close()), (400, true), "{engine}");
        assert_eq!(wire.end(), End::Closed, "{engine}");
    }
}

/// A request that lay behind another one is counted as such, whether the answer before it was
/// gathered or was the body of a file.
#[test]
fn pipelined_requests_are_counted() {
    let site = Site::new();
    let server = Server::engine("sendfile", &site.root());
    let mut wire = server.connect();
    for (path, count) in [("/missing", 5), ("/data.bin", 4), ("/plain.txt", 1)] {
        wire.send(&get(path, "").repeat(count));
        for _ in 0..count {
            wire.response().unwrap();
        }
    }
    assert_eq!(server.figure(&["connections", "pipelined"]), 4 + 3);
}

/// A lookup is a hit, a miss or a revalidation, and one of them once, however often the request
/// is looked at again.
#[test]
fn a_miss_is_not_counted_as_a_hit_too() {
    let site = Site::new();
    // A name that is asked for again while its directory comes to be watched is looked up anew.
    let server = Server::start(&["--engine", "sendfile", "--watches", "0"], &site.root());
    let mut wire = server.connect();
    let mut counted = |sent: &[u8], answers: usize| {
        wire.send(sent);
        (0..answers).for_each(|_| drop(wire.response().unwrap()));
        let figure = |name| server.figure(&["cache", name]);
        let misses = figure("misses");
        (misses, figure("hits") + misses + figure("revalidations"))
    };
    assert_eq!(counted(&get("/plain.txt", ""), 1), (1, 1));
    assert_eq!(counted(&get("/plain.txt", ""), 1), (1, 2));
    // The second of two finds what the first has waited for.
    assert_eq!(counted(&get("/app.js", "").repeat(2), 2), (2, 4));
    assert_eq!(counted(&get("/missing", ""), 1), (3, 5));
    // A body that is read away before does not make it another lookup.
    let body = b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(counted(&[&body[..], b"x"].concat(), 1), (3, 6));
    let expects =
        b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(counted(&[&expects[..], b"x"].concat(), 2), (3, 7));
}

/// RFC 9112 section 9.3.2: more requests than one buffer or one batch of answers holds, with bodies
/// in between.
#[test]
fn a_long_pipeline_is_answered_to_its_end() {
    let site = Site::new();
    for engine in ENGINES {
        let server = Server::engine(engine, &site.root());
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
                assert!(answer.body == content("plain.txt"), "{engine} {number}");
            }
        });
        wire.serves().unwrap();
    }
}

/// RFC 9112 section 9.6: a client that has ended its sending side still reads.
fn half_close(engine: &str) {
    let site = Site::new();
    let server = Server::engine(engine, &site.root());
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

/// RFC 9112 section 2.2: bytes of every kind end in a refusal or a close, and the server goes on.
#[test]
fn garbage_costs_only_its_own_connection() {
    let site = Site::new();
    let server = Server::engine("sendfile", &site.root());
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

/// RFC 9112 section 3, what a browser sends when somebody writes https: it waits for an answer, so
/// the server must not wait for an end of line.
#[test]
fn a_tls_hello_is_refused_at_once() {
    let site = Site::new();
    let server = Server::engine("sendfile", &site.root());
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend(Pattern::new(1).bytes(0, 506).iter().map(|byte| byte | 0x80));
    let mut wire = server.connect();
    wire.send(&hello);
    let (rest, fault) = wire.rest();
    assert_eq!(fault, Fault::Closed);
    let said = String::from_utf8_lossy(&rest);
    assert!(rest.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
}

/// Names that are not text are names all the same: an escape stands for a byte (RFC 3986 section
/// 2.1).
#[test]
fn a_name_of_any_bytes_is_served() {
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    let name = std::ffi::OsStr::from_bytes(b"raw\xff\xfe.bin");
    std::fs::write(site.root().join(name), b"raw bytes").unwrap();
    for engine in ENGINES {
        let server = Server::engine(engine, &site.root());
        let mut wire = server.connect();
        wire.send(&get("/raw%FF%fe.bin", ""));
        assert_eq!(wire.response().unwrap().body, b"raw bytes", "{engine}");
    }
}

/// RFC 9110 section 8.8.2.1: a file whose time has not come yet is told as of now, and section
/// 8.8.2.2: such a date is weak, so that no download is resumed by it.
#[test]
fn a_file_of_the_future_is_of_now() {
    let site = Site::new();
    site.touch("data.bin", SystemTime::now() + Duration::from_secs(24 * 60 * 60));
    for engine in ENGINES {
        let server = Server::engine(engine, &site.root());
        let mut wire = server.connect();
        let mut ask = |fields: &str| {
            wire.send(&get("/data.bin", fields));
            wire.response().unwrap()
        };
        let time = |answer: &Response, name| {
            httpdate::parse_http_date(answer.field(name).unwrap()).unwrap()
        };
        let whole = ask("");
        assert_eq!(whole.status, 200, "{engine}");
        assert!(time(&whole, "last-modified") <= time(&whole, "date"), "{engine}: {whole:?}");
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let same = ask(&format!("If-Modified-Since: {later}\r\n"));
        assert_eq!(same.status, 304, "{engine}");
        assert!(time(&same, "last-modified") <= time(&same, "date"), "{engine}: {same:?}");
        let said = whole.field("last-modified").unwrap();
        for date in [said, &later] {
            let resumed = ask(&format!("Range: bytes=9-\r\nIf-Range: {date}\r\n"));
            assert_eq!(resumed.status, 200, "{engine}: {date} is no strong validator");
            assert!(resumed.body == content("data.bin"), "{engine}");
        }
    }
}

/// RFC 9110 section 8.8.3: the tag is of the time, to the nanosecond, the size and the coding, and
/// of nothing that differs between two copies of a tree.
#[test]
fn replicas_agree_on_entity_tags() {
    let tree = || {
        let scratch = Scratch::new();
        for name in ["one.txt", "one.txt.gz", "one.txt.br", "other.txt"] {
            scratch.write(name, "content");
        }
        scratch.write("longer.txt", "contents");
        scratch
    };
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let trees = [tree(), tree()];
    let touch = |scratch: &Scratch, name: &str, time| {
        let file = std::fs::File::options().append(true).open(scratch.join(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    for scratch in &trees {
        for name in ["one.txt", "one.txt.gz", "one.txt.br", "longer.txt"] {
            touch(scratch, name, time);
        }
        touch(scratch, "other.txt", time + Duration::from_nanos(1));
    }
    let inode = |scratch: &Scratch| {
        std::os::unix::fs::MetadataExt::ino(&scratch.join("one.txt").metadata().unwrap())
    };
    assert_ne!(inode(&trees[0]), inode(&trees[1]));
    let mut all = std::collections::BTreeSet::new();
    for engine in ENGINES {
        for scratch in &trees {
            let flags = ["--engine", engine, "--precompressed", "on"];
            let server = Server::start(&flags, scratch.path());
            let tag = |path: &str, coding: &str| {
                let mut wire = server.connect();
                wire.send(&get(path, &format!("Accept-Encoding: {coding}\r\n")));
                wire.response().unwrap().field("etag").unwrap().to_owned()
            };
            let asked = [
                ("/one.txt", "identity"),
                ("/one.txt", "gzip"),
                ("/one.txt", "br"),
                ("/other.txt", "identity"),
                ("/longer.txt", "identity"),
            ];
            let tags = asked.map(|(path, coding)| tag(path, coding));
            let different: std::collections::BTreeSet<_> = tags.iter().collect();
            assert_eq!(different.len(), tags.len(), "{engine}: {tags:?}");
            all.insert(tags);
        }
    }
    assert_eq!(all.len(), 1, "every replica and every engine says the same");
}

/// The figures by status add up to the answers that were given.
#[test]
fn answers_are_counted_by_status() {
    let site = Site::new();
    let server = Server::engine("sendfile", &site.root());
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
