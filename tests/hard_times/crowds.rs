//! Thousands of clients that are slow on purpose.

use std::fs;

use super::common::{ENGINES, Launch, Pattern, Scratch, Server, Wire, get, skipped};

const BIG: u64 = 8 << 20;
/// Slow connections, where descriptors allow as many.
const CROWD: usize = 4000;
/// What the server's memory may grow by for the crowd: the pools, which are bounded by the
/// arguments below, 4 KiB for each connection, and what an allocator keeps of what came and went.
const HEADS: u64 = 1 << 20;
const BODIES: u64 = 4 << 20;
const BLOCKS: u64 = 4 << 20;
const EACH: u64 = 4 << 10;
const KEPT: u64 = 2 << 20;

/// Bytes of memory that are the server's own (proc(5)).
fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes = line.trim().strip_suffix(" kB").unwrap();
    kilobytes.trim().parse::<u64>().unwrap() << 10
}

/// As many as the limit of descriptors leaves, which is raised as far as it goes.
fn crowd() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    CROWD.min(limit.saturating_sub(200) as usize)
}

/// A slow head, a slow body, a slow reader, and one that asks for many ranges and reads nothing.
fn slow(server: &Server, number: usize) -> Wire {
    let ranges: Vec<_> =
        (0..60).map(|at| format!("{}-{}", at * 100_000, at * 100_000 + 90_000)).collect();
    let request = match number % 4 {
        0 => b"GET /plain.txt HTTP/1.1\r\nHo".to_vec(),
        1 => b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf".to_vec(),
        2 => get("/big.bin", ""),
        _ => get("/big.bin", &format!("Range: bytes={}\r\n", ranges.join(","))),
    };
    let mut wire = Wire::far(server.address());
    wire.send(&request);
    wire
}

fn goes_on(server: &Server) {
    let mut wire = server.connect();
    wire.send(&get("/plain.txt", ""));
    assert_eq!(wire.response().unwrap().body, b"still here\n");
    wire.send(&get("/medium.bin", "Connection: close\r\n"));
    let (_, got, fault) = wire.hashed().unwrap();
    assert_eq!((got, fault), (Pattern::new(22).digest(0, 300_000), None));
}

/// While all of them are held, others are served and the server's memory stays what it was.
#[test]
fn thousands_of_slow_clients_hold_up_nobody() {
    let crowd = crowd();
    if crowd < CROWD {
        skipped("thousands of slow clients", &format!("descriptors allow {crowd} of {CROWD}"));
    }
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.pattern("big.bin", 21, BIG);
        scratch.pattern("medium.bin", 22, 300_000);
        scratch.write("plain.txt", "still here\n");
        let times = ["--head-timeout", "10m", "--body-timeout", "10m", "--send-timeout", "10m"];
        let rates = ["--head-rate", "0", "--send-rate", "0", "--workers", "1"];
        let memory_is = ["--head-buffers", "1MiB", "--body-buffers", "4MiB", "--engine", engine];
        let kept = ["--direct-cache", "4MiB", "--direct-block", "64KiB", "--hot-cache", "0B"];
        let arguments = [&times[..], &rates, &memory_is, &kept].concat();
        let launch = Launch::new(&arguments).root(scratch.path());
        let server = launch.without_quarantine().start();
        goes_on(&server);
        let before = memory(&server);
        let mut held = Vec::with_capacity(crowd);
        for number in 0..crowd {
            held.push(slow(&server, number));
            if number % 100 == 99 {
                goes_on(&server);
            }
        }
        for _ in 0..20 {
            goes_on(&server);
        }
        let grown = memory(&server).saturating_sub(before);
        let blocks = if ["direct", "auto"].contains(&engine) { BLOCKS } else { 0 };
        let budget = HEADS + BODIES + blocks + EACH * crowd as u64 + KEPT;
        assert!(grown <= budget, "{engine}: {grown} bytes for {crowd} clients, at most {budget}");
        // Slow heads have given way; slow readers are still there.
        let told = server.telemetry();
        let figure = |path: &[&str]| super::common::figure(&told, path);
        assert!(figure(&["farewells", "crowded"]) > 0, "{engine}: {:#}", told["farewells"]);
        let open = figure(&["connections", "open"]);
        assert!(open as usize > crowd / 4, "{engine}: {open} are open of {crowd}");
        if ["splice", "uring", "copy"].contains(&engine) {
            assert!(figure(&["connections", "given_way"]) > 0, "{engine}");
        }
        drop(held);
        server.figure_until(&["connections", "open"], |open| open <= 1);
        goes_on(&server);
    }
}
