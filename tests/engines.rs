//! Every engine sends the right bytes, for every size and range, and does so by its own
//! technique.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Digest, ENGINES, PATIENCE, Pattern, Scratch, Server, Wire, get};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, RANGE};

/// Sizes around sectors, pages, pipe capacity and what one call moves.
const SIZES: [u64; 13] =
    [0, 1, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 65_537, (1 << 20) + 3, 64 << 20];

const GIB_4: u64 = 4 << 30;

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// A file for each size, its content different from every other's.
fn sized_files(scratch: &Scratch, sizes: &[u64]) {
    for &size in sizes {
        scratch.pattern(&format!("{size}.bin"), size, size);
    }
}

fn fetch(client: &Client, url: &str, range: Option<&str>) -> Response {
    let mut request = client.get(url);
    if let Some(range) = range {
        request = request.header(RANGE, range);
    }
    request.send().unwrap_or_else(|error| panic!("{url} {range:?}: {error:?}"))
}

fn field(response: &Response, name: HeaderName) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// Fetches `first..=last` by the given field and compares it with the content of the seed.
fn check_range(
    client: &Client,
    url: &str,
    seed: u64,
    size: u64,
    range: &str,
    first: u64,
    last: u64,
) {
    let what = format!("{url} of {size} bytes, {range}");
    let response = fetch(client, url, Some(range));
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{what}");
    let len = last - first + 1;
    let expected = (Some(format!("bytes {first}-{last}/{size}")), Some(len.to_string()));
    assert_eq!(
        (field(&response, CONTENT_RANGE), field(&response, CONTENT_LENGTH)),
        expected,
        "{what}"
    );
    let got = Digest::of(response).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(got, Pattern::new(seed).digest(first, len), "{what}");
}

/// RFC 9110 section 8.6: the length that is said is the length that comes.
fn whole_files(engine: &str) {
    let scratch = Scratch::new();
    sized_files(&scratch, &SIZES);
    let server = Server::engine(engine, scratch.path());
    let client = client();
    // Twice: the first time files are opened, the second time they may come from a cache.
    for round in 0..2 {
        for size in SIZES {
            let url = server.url(&format!("/{size}.bin"));
            let response = fetch(&client, &url, None);
            let length = field(&response, CONTENT_LENGTH);
            assert_eq!((response.status(), length), (StatusCode::OK, Some(size.to_string())));
            let got = Digest::of(response).unwrap();
            assert_eq!(got, Pattern::new(size).digest(0, size), "{engine} {size} round {round}");
        }
    }
}

/// RFC 9110 section 14.1.2, at the edges of files and of blocks.
fn ranges(engine: &str) {
    let scratch = Scratch::new();
    sized_files(&scratch, &SIZES);
    let server = Server::engine(engine, scratch.path());
    let client = client();
    for size in SIZES {
        let url = server.url(&format!("/{size}.bin"));
        let check = |range: &str, first: u64, last: u64| {
            check_range(&client, &url, size, size, range, first, last);
        };
        // RFC 9110 section 14.1.2: a first byte at or beyond the end is not satisfiable.
        let beyond = fetch(&client, &url, Some(&format!("bytes={size}-")));
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{url}");
        assert_eq!(field(&beyond, CONTENT_RANGE), Some(format!("bytes */{size}")), "{url}");
        if size == 0 {
            continue;
        }
        let last = size - 1;
        check("bytes=0-0", 0, 0);
        check("bytes=0-", 0, last);
        check(&format!("bytes={last}-"), last, last);
        check("bytes=-1", last, last);
        check(&format!("bytes=-{}", size + 5), 0, last);
        check(&format!("bytes=0-{}", size + 5), 0, last);
        let (middle, suffix) = ((size / 3) | 1, size / 2 + 1);
        if size > 3 {
            check(&format!("bytes={middle}-{}", middle + size / 3), middle, middle + size / 3);
            check(&format!("bytes=-{suffix}"), size - suffix, last);
        }
        for edge in [512, 4096, 65_536] {
            if edge < size {
                check(&format!("bytes={}-{edge}", edge - 1), edge - 1, edge);
                check(&format!("bytes={edge}-"), edge, last);
                check(&format!("bytes=1-{}", edge - 1), 1, edge - 1);
            }
        }
    }
}

/// RFC 9110 section 14.1.1: positions beyond 32 bits.
fn beyond_four_gib(engine: &str) {
    let scratch = Scratch::new();
    let size = GIB_4 + (1 << 20) + 5;
    // Each span that is asked for lies in one island, so that the pattern tells the bytes.
    let islands = [
        (0, 8192),
        (GIB_4 / 2 - 100, 8192),
        (GIB_4 - 70_000, 140_000),
        (GIB_4 + 300_001, 100_000),
        (size - 4099, 4099),
    ];
    scratch.sparse("sparse.bin", 99, size, &islands);
    let server = Server::engine(engine, scratch.path());
    let client = client();
    let url = server.url("/sparse.bin");
    let check = |range: &str, first: u64, last: u64| {
        check_range(&client, &url, 99, size, range, first, last);
    };
    check("bytes=0-8191", 0, 8191);
    check("bytes=2147483640-2147483660", (1 << 31) - 8, (1 << 31) + 12);
    check("bytes=4294967295-4294967295", GIB_4 - 1, GIB_4 - 1);
    check("bytes=4294967296-4294967296", GIB_4, GIB_4);
    check("bytes=4294897297-4295036999", GIB_4 - 69_999, GIB_4 + 69_703);
    let (first, last) = (GIB_4 + 300_003, GIB_4 + 399_999);
    check(&format!("bytes={first}-{last}"), first, last);
    check("bytes=-4099", size - 4099, size - 1);
    check(&format!("bytes={}-", size - 1), size - 1, size - 1);
    check(&format!("bytes={}-99999999999999", size - 4000), size - 4000, size - 1);
    let head = client.head(&url).send().unwrap();
    assert_eq!(field(&head, CONTENT_LENGTH), Some(size.to_string()));
    // A hole is zeros, and its length passes every 32-bit edge on the way.
    let hole = fetch(&client, &url, Some("bytes=1048576-3145727"));
    let mut body = Vec::new();
    hole.take(4 << 20).read_to_end(&mut body).unwrap();
    assert!(body.len() == 2 << 20 && body.iter().all(|byte| *byte == 0));
    if common::long() {
        let got = Digest::of(fetch(&client, &url, None)).unwrap();
        assert_eq!(got, common::digest_of_file(&scratch.join("sparse.bin"), 0, size));
    }
}

/// The technique's own counters are the proof, and no other engine took part.
fn did_the_work(engine: &str) {
    if engine == "auto" {
        return chose();
    }
    let scratch = Scratch::new();
    let sizes = [1, 4096, 10_000, 65_537, (1 << 20) + 3];
    sized_files(&scratch, &sizes);
    if engine == "direct" && !opens_direct(&scratch) {
        common::skipped("the proof for engine direct", "the file system refuses O_DIRECT");
        return;
    }
    let server = Server::engine(engine, scratch.path());
    let client = client();
    for size in sizes {
        let got = Digest::of(fetch(&client, &server.url(&format!("/{size}.bin")), None)).unwrap();
        assert_eq!(got, Pattern::new(size).digest(0, size));
    }
    let count = sizes.len() as u64;
    let bytes = sizes.iter().sum::<u64>();
    server.figure_until(&["engines", engine, "responses"], |responses| responses >= count);
    let telemetry = server.telemetry();
    let figure = |path: &[&str]| common::figure(&telemetry, path);
    assert_eq!(telemetry["server"]["engine"], engine, "{telemetry:#}");
    assert_eq!(figure(&["engines", engine, "responses"]), count, "{telemetry:#}");
    assert_eq!(figure(&["engines", engine, "bytes"]), bytes, "{telemetry:#}");
    assert_eq!(figure(&["engines", engine, "declined"]), 0, "{telemetry:#}");
    for other in ENGINES.iter().filter(|other| ![engine, "auto"].contains(other)) {
        assert_eq!(figure(&["engines", other, "responses"]), 0, "{other}: {telemetry:#}");
    }
    // What moved the bodies, and whether it moves each byte exactly once: a direct read takes whole
    // blocks.
    let (techniques, exact): (&[&str], bool) = match engine {
        "sendfile" => (&["sendfile"], true),
        "splice" => (&["splice_in", "splice_out"], true),
        "uring" => (&["read_fixed"], true),
        "direct" => (&["direct_read"], false),
        "copy" => (&["pread"], true),
        other => panic!("no technique is known for {other}"),
    };
    for technique in techniques {
        assert!(figure(&["techniques", technique, "operations"]) >= count, "{telemetry:#}");
        let moved = figure(&["techniques", technique, "bytes"]);
        let right = if exact { moved == bytes } else { moved >= bytes };
        assert!(right, "{technique} moved {moved} of {bytes}: {telemetry:#}");
    }
    for other in ["sendfile", "splice_in", "splice_out", "read_fixed", "direct_read", "pread"] {
        if !techniques.contains(&other) {
            assert_eq!(figure(&["techniques", other, "bytes"]), 0, "{other}: {telemetry:#}");
        }
    }
}

/// The engine that chooses says which one it took, and why, and counts it.
fn chose() {
    let scratch = Scratch::new();
    sized_files(&scratch, &[1, 16_384, 16_385, 1 << 20]);
    let server = Server::start(&["--workers", "1", "--server-timing"], scratch.path());
    let client = client();
    let timing = |size: u64, range: Option<&str>| {
        let response = fetch(&client, &server.url(&format!("/{size}.bin")), range);
        let told = field(&response, HeaderName::from_static("server-timing"));
        let (first, len) = if range.is_some() { (3, size - 3) } else { (0, size) };
        assert_eq!(Digest::of(response).unwrap(), Pattern::new(size).digest(first, len));
        told.unwrap_or_default()
    };
    assert_eq!(timing(1, None), "uring;desc=\"small\"");
    assert_eq!(timing(16_384, Some("bytes=3-")), "uring;desc=\"small\"");
    let by_sendfile = timing(16_385, None);
    assert!(by_sendfile.starts_with("sendfile;desc="), "{by_sendfile}");
    assert!(timing(1 << 20, None).starts_with("sendfile;desc="));
    let telemetry = server.telemetry();
    let figure = |path: &[&str]| common::figure(&telemetry, path);
    assert_eq!(telemetry["server"]["engine"], "auto");
    assert_eq!(figure(&["choices", "small"]), 2, "{telemetry:#}");
    assert_eq!(figure(&["choices", "resident"]) + figure(&["choices", "unknown"]), 2);
    assert_eq!(figure(&["choices", "fixed"]), 0);
    assert_eq!(figure(&["engines", "uring", "responses"]), 2);
    assert_eq!(figure(&["engines", "sendfile", "responses"]), 2);
    // Of several parts each way is told once.
    let parts = "bytes=1-2,5-6,300-100000";
    let response = fetch(&client, &server.url("/1048576.bin"), Some(parts));
    let told = field(&response, HeaderName::from_static("server-timing")).unwrap();
    assert!(told.starts_with("uring;desc=\"small\", sendfile;desc="), "{told}");
    assert_eq!(told.matches(';').count(), 2, "{told}");
    assert_eq!(server.figure(&["choices", "small"]), 4);
    // A file is kept once it was asked for again and has not changed for some seconds.
    common::eventually("the small file is hot", || {
        (timing(1, None) == "memory;desc=\"hot\"").then_some(())
    });
    assert!(server.figure(&["choices", "hot"]) >= 1);

    let plain = Server::start(&["--workers", "1"], scratch.path());
    let response = fetch(&client, &plain.url("/1.bin"), None);
    assert_eq!(field(&response, HeaderName::from_static("server-timing")), None);
}

fn opens_direct(scratch: &Scratch) -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open(scratch.join("4096.bin"), OFlags::RDONLY | OFlags::DIRECT, Mode::empty()).is_ok()
}

/// A small generator of numbers for choosing files and ranges.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn many_clients(engine: &str) {
    const CLIENTS: u64 = 24;
    let requests = if common::long() { 400 } else { 40 };
    let scratch = Scratch::new();
    let sizes = [1, 513, 4096, 30_001, 65_537, 300_007, (1 << 20) + 3];
    sized_files(&scratch, &sizes);
    let server = Server::start(&["--engine", engine, "--workers", "2"], scratch.path());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut dice = Dice(number + 1);
                let mut wire = server.connect();
                for _ in 0..requests {
                    let size = sizes[dice.below(sizes.len() as u64) as usize];
                    let first = dice.below(size);
                    let last = first + dice.below(size - first);
                    let range = format!("Range: bytes={first}-{last}\r\n");
                    let whole = dice.below(2) == 0;
                    let fields = if whole { "" } else { &range };
                    wire.send(&get(&format!("/{size}.bin"), fields));
                    let (answer, got, fault) = wire.hashed().unwrap();
                    assert_eq!(fault, None, "{size} {fields}");
                    let (status, first, len) =
                        if whole { (200, 0, size) } else { (206, first, last - first + 1) };
                    assert_eq!(answer.status, status);
                    let expected = Pattern::new(size).digest(first, len);
                    assert_eq!(got, expected, "{engine} {size} {fields}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), CLIENTS as usize * requests);
}

/// Clients with tiny windows that hardly read hold up nobody, and get every byte in the end.
fn slow_readers(engine: &str) {
    let scratch = Scratch::new();
    // More than the socket's own buffers take, so that the server does meet a full socket.
    let (big, small) = (24 << 20, 10_000);
    sized_files(&scratch, &[big, small]);
    let server = Server::engine(engine, scratch.path());
    let mut slow: Vec<Wire> = (0..6).map(|_| Wire::narrow(server.address())).collect();
    for wire in &mut slow {
        wire.send(&get(&format!("/{big}.bin"), ""));
        assert_eq!(wire.head().unwrap().status, 200);
    }
    let mut taken: Vec<Vec<u8>> = vec![Vec::new(); slow.len()];
    let mut quick = server.connect();
    for round in 0..20 {
        for (wire, taken) in slow.iter_mut().zip(&mut taken) {
            taken.extend(wire.exact(500 + round).unwrap());
        }
        quick.send(&get(&format!("/{small}.bin"), ""));
        let (_, got, fault) = quick.hashed().unwrap();
        assert_eq!((got, fault), (Pattern::new(small).digest(0, small), None));
    }
    for (wire, mut taken) in slow.into_iter().zip(taken) {
        let mut wire = wire;
        wire.widen();
        taken.extend(wire.exact(big as usize - taken.len()).unwrap());
        assert!(taken == Pattern::new(big).bytes(0, big as usize), "wrong bytes");
        wire.serves().unwrap();
    }
    // How often a full socket was met, where the technique can say so.
    let technique = match engine {
        "sendfile" => "sendfile",
        "splice" => "splice_out",
        _ => return,
    };
    server.figure_until(&["techniques", technique, "would_block"], |count| count > 0);
}

/// A reader that pauses between pieces for as long as the server's timers may notice, but not
/// long enough to be cut.
fn pausing_reader(engine: &str) {
    let scratch = Scratch::new();
    let size = 16 << 20;
    sized_files(&scratch, &[size]);
    let server = Server::engine(engine, scratch.path());
    let mut wire = Wire::narrow(server.address());
    wire.send(&get(&format!("/{size}.bin"), ""));
    wire.head().unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(wire.exact(1_000).unwrap());
        std::thread::sleep(Duration::from_millis(400));
    }
    wire.widen();
    taken.extend(wire.exact(size as usize - taken.len()).unwrap());
    assert!(taken == Pattern::new(size).bytes(0, size as usize), "wrong bytes");
}

fn one_connection(engine: &str) {
    let scratch = Scratch::new();
    let sizes = [0, 1, 4096, 65_537, 300_007];
    sized_files(&scratch, &sizes);
    let server = Server::engine(engine, scratch.path());
    let before = server.figure(&["connections", "accepted"]);
    let mut wire = server.connect();
    for round in 0..40 {
        for size in sizes {
            wire.send(&get(&format!("/{size}.bin"), ""));
            let (answer, got, fault) = wire.hashed().unwrap();
            assert_eq!((answer.status, answer.says_close(), fault), (200, false, None));
            assert_eq!(got, Pattern::new(size).digest(0, size), "round {round}");
        }
    }
    // This connection and the one that asks.
    assert_eq!(server.figure(&["connections", "accepted"]), before + 2);
}

/// All engines, one test each, so that a failure names its engine.
macro_rules! for_each_engine {
    ($($engine:ident),*) => {$(
        mod $engine {
            const ENGINE: &str = stringify!($engine);

            #[test]
            fn whole_files() { super::whole_files(ENGINE) }
            #[test]
            fn ranges() { super::ranges(ENGINE) }
            #[test]
            fn beyond_four_gib() { super::beyond_four_gib(ENGINE) }
            #[test]
            fn did_the_work() { super::did_the_work(ENGINE) }
            #[test]
            fn many_clients() { super::many_clients(ENGINE) }
            #[test]
            fn slow_readers() { super::slow_readers(ENGINE) }
            #[test]
            fn pausing_reader() { super::pausing_reader(ENGINE) }
            #[test]
            fn one_connection() { super::one_connection(ENGINE) }
        }
    )*};
}

for_each_engine!(sendfile, splice, uring, direct, copy, auto);
