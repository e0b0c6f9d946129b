//! A client costs only its own connection, and a shortage of descriptors passes.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use pitcrew::limits::ACCEPT_RETRY;

use super::common::{
    ENGINES, Fault, Launch, Pattern, Scratch, Server, Wire, eventually, figure, get,
};

const BIG: u64 = 8 << 20;
/// Entries into the kernel that a report of the figures takes: it is made in pieces, one a turn.
const TURNS_OF_A_REPORT: u64 = 40;

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.pattern("big.bin", 21, BIG);
    scratch.write("plain.txt", "still here\n");
    scratch
}

fn goes_on(server: &Server) {
    let mut wire = server.connect();
    wire.send(&get("/plain.txt", ""));
    assert_eq!(wire.response().unwrap().body, b"still here\n");
}

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// Waits until only the connection that asks is open and no descriptor is left behind.
fn settles(server: &Server, before: usize) {
    server.figure_until(&["connections", "open"], |open| open <= 1);
    // A pool may keep pipes and files that it has once opened, up to its own bound.
    eventually("descriptors are given back", || (descriptors(server) <= before).then_some(()));
}

#[test]
fn clients_that_vanish_cost_only_their_own_connection() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        goes_on(&server);
        // Once all kinds of ends, so that pools are filled before anything is counted.
        vanish(&server, 8);
        server.figure_until(&["connections", "open"], |open| open <= 1);
        let before = descriptors(&server) + 4;
        for _ in 0..3 {
            vanish(&server, 8);
            goes_on(&server);
        }
        settles(&server, before);
        let mut wire = server.connect();
        wire.send(&get("/big.bin", ""));
        let (_, got, fault) = wire.hashed().unwrap();
        assert_eq!((got, fault), (Pattern::new(21).digest(0, BIG), None), "{engine}");
    }
}

/// Downloads that end in every way a client can end them.
fn vanish(server: &Server, count: usize) {
    for number in 0..count {
        let mut wire = Wire::narrow(server.address());
        wire.send(&get("/big.bin", ""));
        match number % 4 {
            0 => wire.reset(),
            1 => {
                wire.head().unwrap();
                drop(wire);
            }
            2 => {
                wire.exact(10_000).unwrap();
                wire.reset();
            }
            _ => {
                wire.finish();
                wire.exact(10_000).unwrap();
                drop(wire);
            }
        }
    }
}

#[test]
fn clients_that_say_nothing_or_half_a_head_hold_up_nobody() {
    let scratch = tree();
    let server = Server::engine("sendfile", scratch.path());
    let mut waiting: Vec<Wire> = (0..200).map(|_| server.connect()).collect();
    for wire in waiting.iter_mut().step_by(2) {
        wire.send(b"GET /plain.txt HTTP/1.1\r\nHo");
    }
    for _ in 0..20 {
        goes_on(&server);
    }
    for wire in waiting.iter_mut().step_by(2) {
        wire.send(b"st: test\r\n\r\n");
        assert_eq!(wire.response().unwrap().body, b"still here\n");
    }
    for wire in waiting.iter_mut().skip(1).step_by(2) {
        wire.serves().unwrap();
    }
}

#[test]
fn five_hundred_connections_come_and_go() {
    let rounds = if super::common::long() { 20 } else { 1 };
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        goes_on(&server);
        let accepted = server.figure(&["connections", "accepted"]);
        let before = descriptors(&server) + 4;
        for number in 0..500 * rounds {
            let mut wire = server.connect();
            match number % 5 {
                // Nothing said at all.
                0 => drop(wire),
                1 => wire.reset(),
                _ => {
                    wire.send(&get("/plain.txt", ""));
                    assert_eq!(wire.response().unwrap().status, 200, "{engine} {number}");
                    if number % 2 == 0 {
                        wire.reset();
                    }
                }
            }
        }
        goes_on(&server);
        settles(&server, before);
        // A connection that is reset before it is accepted may never be seen.
        let seen = server.figure(&["connections", "accepted"]) - accepted;
        assert!(seen >= 300 * rounds as u64, "{engine}: {seen}");
    }
}

/// Descriptors run out while clients connect: no spinning, and all is well as soon as some are
/// free.
#[test]
fn a_shortage_of_descriptors_passes() {
    for engine in ENGINES {
        let scratch = tree();
        let arguments = ["--engine", engine, "--workers", "1", "--telemetry-listen", "127.0.0.1:0"];
        let patient = ["--head-timeout", "10m", "--head-rate", "0"];
        let server = Launch::new(&[&arguments[..], &patient].concat())
            .root(scratch.path())
            .through(&["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .start();
        goes_on(&server);
        // It is there before descriptors run out, and asks while they are.
        let mut asking = server.for_telemetry()[0].connect();
        let mut asked = 0;
        let mut ask = |paths: [&[&str]; 2]| {
            asked += 1;
            asking.send(&get("/telemetry", "Accept: application/json\r\n"));
            let told = serde_json::from_slice(&asking.response().unwrap().body).unwrap();
            (paths.map(|path| figure(&told, path)), asked)
        };
        let mut clients: Vec<Wire> = (0..120).map(|_| server.connect()).collect();
        // Were they idle they would give their places to others.
        let request = get("/plain.txt", "");
        let (begun_with, rest) = request.split_at(20);
        for wire in &mut clients {
            let _ = wire.try_send(begun_with);
        }
        const STARVED: &[&str] = &["connections", "accepts_starved"];
        const ENTERS: &[&str] = &["ring", "enters"];
        // Two in a row that were not for files that gave way, nor for clients that ended.
        let quiet = eventually("nobody gives way any more", || {
            let ([before, _], _) = ask([STARVED, ENTERS]);
            let begun = Instant::now();
            std::thread::sleep(ACCEPT_RETRY / 5);
            let ([starved, enters], asked) = ask([STARVED, ENTERS]);
            (before > 0 && starved <= before + 1).then_some((begun, starved, enters, asked))
        });
        // While it is starved it tries again by its clock alone, and enters the kernel for that and
        // for those who ask: counts of what it does, whatever the machine's pace. A loop that spins
        // makes thousands of both.
        let (begun, starved_before, enters_before, asked_before) = quiet;
        let ([starved, enters], asked) = eventually("it tries again", || {
            std::thread::sleep(ACCEPT_RETRY / 5);
            let told = ask([STARVED, ENTERS]);
            (told.0[0] >= starved_before + 3).then_some(told)
        });
        let ticks = begun.elapsed().as_millis() / ACCEPT_RETRY.as_millis();
        let tries = starved - starved_before;
        assert!(u128::from(tries) <= ticks + 1, "{engine}: {tries} tries in {ticks} ticks");
        let most = 2 * tries + TURNS_OF_A_REPORT * (asked - asked_before);
        let entered = enters - enters_before;
        assert!(entered <= most, "{engine}: {entered} entries for {tries} tries, {asked} reports");
        // The first ones go away, and everybody behind them is answered: served, or told to come
        // again.
        let behind = clients.split_off(70);
        drop(clients);
        for (number, mut wire) in behind.into_iter().enumerate() {
            wire.send(rest);
            let answer = wire.response().unwrap_or_else(|f| panic!("{engine} {number}: {f:?}"));
            match answer.status {
                200 => assert_eq!(answer.body, b"still here\n"),
                503 => assert!(answer.field("retry-after").is_some(), "{answer:?}"),
                _ => panic!("{engine}: {answer:?}"),
            }
        }
        let mut wire = server.connect();
        wire.send(&get("/big.bin", ""));
        let (_, got, fault) = wire.hashed().unwrap();
        assert_eq!((got, fault), (Pattern::new(21).digest(0, BIG), None), "{engine}");
    }
}

/// Idle connections take every place, or every descriptor: those that have waited for the longest
/// make room, and a newcomer is served.
#[test]
fn idle_connections_keep_nobody_out() {
    for (limit, beyond) in [("40", "refuse"), ("40", "wait"), ("10000", "refuse")] {
        let scratch = tree();
        let arguments = ["--workers", "1", "--connections", limit, "--connections-beyond", beyond];
        let server =
            Launch::new(&[&arguments[..], &["--telemetry-listen", "127.0.0.1:0"]].concat())
                .root(scratch.path())
                .through(&["sh", "-c", "ulimit -n 80; exec \"$0\" \"$@\""])
                .start();
        // More than there is room for, half of which were asked something.
        let mut held = Vec::new();
        for number in 0..100 {
            let mut wire = server.connect();
            if number < 30 && number % 2 == 0 {
                wire.send(&get("/plain.txt", ""));
                assert_eq!(wire.response().unwrap().status, 200, "{limit} {beyond}");
            }
            held.push(wire);
        }
        eventually("newcomers are served", || {
            let mut wires: Vec<_> = (0..5).map(|_| server.connect()).collect();
            wires.iter_mut().all(|wire| wire.serves().is_ok()).then_some(())
        });
        let mut asking = server.for_telemetry()[0].connect();
        asking.send(&get("/telemetry", "Accept: application/json\r\n"));
        let told = serde_json::from_slice(&asking.response().unwrap().body).unwrap();
        assert!(figure(&told, &["farewells", "crowded"]) > 0, "{limit} {beyond}: {told:#}");
    }
}

/// Fewer descriptors than files that may be kept open: those that are only kept give way to the
/// next one, so nobody is told to come again. The engine `direct` has two descriptors of each of
/// these.
#[test]
fn files_that_are_only_kept_give_way_to_others() {
    let scratch = tree();
    let name = |number: usize| format!("many/{number}.txt");
    for number in 0..300 {
        scratch.write(&name(number), format!("{number}\n"));
    }
    for engine in ENGINES {
        let server = Launch::new(&["--engine", engine, "--workers", "1", "--open-files", "4096"])
            .root(scratch.path())
            .through(&["sh", "-c", "ulimit -n 100; exec \"$0\" \"$@\""])
            .start();
        let mut wire = server.connect();
        for number in 0..300 {
            wire.send(&get(&format!("/{}", name(number)), ""));
            let answer = wire.response().unwrap();
            let expected = (200, format!("{number}\n"));
            assert_eq!((answer.status, answer.text()), expected, "{engine}");
        }
        assert!(server.figure(&["cache", "starved"]) > 0, "{engine}");
        assert_eq!(server.figure(&["refusals", "storage_unavailable"]), 0, "{engine}");
    }
}

/// Connections that are queued when the server is busy are all served in the end.
#[test]
fn a_burst_of_connections_is_served() {
    let scratch = tree();
    let server = Server::start(&["--engine", "sendfile", "--workers", "2"], scratch.path());
    let streams: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let mut wires: Vec<Wire> = streams.into_iter().map(Wire::over_tcp).collect();
    for wire in &mut wires {
        wire.send(&get("/plain.txt", ""));
    }
    for wire in &mut wires {
        assert_eq!(wire.response().unwrap().body, b"still here\n");
    }
}

/// More names are asked for at once than files are kept open: each is found out all the same.
#[test]
fn more_names_at_once_than_are_kept_are_all_served() {
    let scratch = tree();
    let name = |number: usize| format!("many/{number}.txt");
    for number in 0..300 {
        scratch.write(&name(number), format!("{number}\n"));
    }
    let kept = "64";
    for engine in ["sendfile", "direct"] {
        let arguments = ["--workers", "1", "--open-files", kept, "--engine", engine];
        let server = Server::start(&arguments, scratch.path());
        for _ in 0..3 {
            let mut wires: Vec<Wire> = (0..300).map(|_| server.connect()).collect();
            for (number, wire) in wires.iter_mut().enumerate() {
                wire.send(&get(&format!("/{}", name(number)), ""));
            }
            for (number, wire) in wires.iter_mut().enumerate() {
                let answer = wire.response().unwrap();
                let expected = (200, format!("{number}\n"));
                assert_eq!((answer.status, answer.text()), expected, "{engine}");
            }
        }
        // The file asked for last makes the others go.
        goes_on(&server);
        server.figure_until(&["cache", "entries"], |entries| entries <= 64);
    }
}

/// A client that reads slowly, but reads, is served to the end: the kernel takes nothing of its
/// answer for longer than the time without progress, since a third of a full send buffer has to be
/// free before it takes more.
#[test]
fn a_slow_reader_makes_progress() {
    std::thread::scope(|scope| {
        for engine in ENGINES {
            scope.spawn(move || read_slowly(engine));
        }
    });
}

fn read_slowly(engine: &str) {
    let scratch = tree();
    let arguments = ["--engine", engine, "--workers", "1", "--send-timeout", "3s"];
    let server = Server::start(&arguments, scratch.path());
    let mut wire = Wire::with_receive_buffer(server.address(), 64 << 10);
    wire.send(&get("/big.bin", ""));
    wire.head().unwrap();
    let mut got = Vec::new();
    // 200 kB/s for three times as long.
    for _ in 0..450 {
        got.extend(wire.exact(4_000).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    wire.widen();
    got.extend(wire.exact(BIG as usize - got.len()).unwrap());
    assert!(got == Pattern::new(21).bytes(0, BIG as usize), "{engine}: wrong bytes");
}

/// RFC 9112 section 9.5: one that reads nothing at all is given up.
#[test]
fn a_reader_that_stands_still_is_cut() {
    for engine in ENGINES {
        let scratch = tree();
        let arguments = ["--engine", engine, "--workers", "1", "--send-timeout", "200ms"];
        let server = Server::start(&arguments, scratch.path());
        let mut wire = Wire::narrow(server.address());
        wire.send(&get("/big.bin", ""));
        server.figure_until(&["farewells", "send_timeout"], |count| count == 1);
        assert!(matches!(wire.rest().1, Fault::Reset(_)), "{engine}");
    }
}

/// A client that has ended its side and reads nothing: a poll for room in its socket completes at
/// once, so it is tried by the clock, ever more seldom.
#[test]
fn a_half_closed_reader_that_stands_still_is_not_polled_without_end() {
    for engine in ["sendfile", "splice"] {
        let scratch = tree();
        let arguments = ["--engine", engine, "--workers", "1"];
        let server = Server::start(&arguments, scratch.path());
        let mut wire = Wire::narrow(server.address());
        wire.send(&get("/big.bin", ""));
        wire.finish();
        let rests = |told: &serde_json::Value| figure(told, &["ring", "write_rests"]);
        let polls = |told: &serde_json::Value| figure(told, &["techniques", "poll", "operations"]);
        server.figure_until(&["ring", "write_rests"], |count| count > 5);
        let before = server.telemetry();
        let mut asked = 0;
        let after = eventually("it rests again and again", || {
            asked += 1;
            let now = server.telemetry();
            (rests(&now) >= rests(&before) + 10).then_some(now)
        });
        // Each question is a connection, with a few polls of its own.
        let most = rests(&after) - rests(&before) + 4 * (asked + 1);
        let polled = polls(&after) - polls(&before);
        assert!(polled <= most, "{engine}: {polled} polls, at most {most}");
        // It is served to the end all the same.
        wire.widen();
        let (_, got, fault) = wire.hashed().unwrap();
        assert_eq!((got, fault), (Pattern::new(21).digest(0, BIG), None), "{engine}");
    }
}

/// Beyond the connections of an address one is closed without a word, till another one ends; other
/// addresses have their own.
#[test]
fn an_address_has_so_many_connections() {
    let scratch = tree();
    let arguments =
        ["--connections-per-address", "3", "--workers", "2", "--telemetry-listen", "127.0.0.1:0"];
    let server = Server::start(&arguments, scratch.path());
    let mut held: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|wire| wire.serves().unwrap());
    let mut one_more = server.connect();
    let _ = one_more.try_send(&get("/plain.txt", ""));
    assert!(one_more.rest().0.is_empty(), "it is served");
    let mut elsewhere = Wire::from_address("127.0.0.2".parse().unwrap(), server.address());
    elsewhere.serves().unwrap();
    let mut asking = server.for_telemetry()[0].connect();
    asking.send(&get("/telemetry", "Accept: application/json\r\n"));
    let told = serde_json::from_slice(&asking.response().unwrap().body).unwrap();
    assert_eq!(figure(&told, &["farewells", "address_too_many"]), 1);
    held.iter_mut().for_each(|wire| wire.serves().unwrap());
    drop(held.pop());
    eventually("a place is free again", || server.connect().serves().ok());
}

/// A client that takes some bytes again and again makes progress for ever, and is ended by its
/// rate. That counts over half a minute twice, so only the long form waits for it; the clock of the
/// simulated kernel does so each time.
#[test]
fn a_reader_below_the_rate_is_ended() {
    if !super::common::long() {
        return;
    }
    std::thread::scope(|scope| {
        for engine in ENGINES {
            scope.spawn(move || {
                let scratch = tree();
                let arguments = ["--engine", engine, "--workers", "1", "--send-rate", "64KiB"];
                let server = Server::start(&arguments, scratch.path());
                let mut slow = Wire::with_receive_buffer(server.address(), 64 << 10);
                let mut steady = Wire::with_receive_buffer(server.address(), 64 << 10);
                for wire in [&mut slow, &mut steady] {
                    wire.send(&get("/big.bin", ""));
                    wire.head().unwrap();
                }
                // 8 kB/s are too few, 80 kB/s are not.
                for _ in 0..700 {
                    steady.exact(8_000).unwrap();
                    let _ = slow.exact(800);
                    std::thread::sleep(Duration::from_millis(100));
                }
                assert_eq!(server.figure(&["farewells", "send_slow"]), 1, "{engine}");
                assert!(matches!(slow.rest().1, Fault::Reset(_)), "{engine}");
                steady.exact(BIG as usize - 700 * 8_000).unwrap();
            });
        }
    });
}
