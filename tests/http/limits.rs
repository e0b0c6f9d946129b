//! Limits of what clients may take, by the clock of the simulated kernel.

use pitcrew::base::Network;
use pitcrew::connection::{Bounds, Farewell, Seats, Taken};
use pitcrew::http::forwarded::Trusted;
use pitcrew::ring::{Pool, Technique};

use super::*;

#[path = "scarce.rs"]
mod scarce;

const SECOND: Duration = Duration::from_secs(1);
const EACH: [Kind; 5] = [Kind::Sendfile, Kind::Splice, Kind::Uring, Kind::Direct, Kind::Copy];

impl Machine {
    /// Lets time pass in small steps, and the worker do what it does in it.
    fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.world.pass(Duration::from_millis(10));
            self.settle();
        }
    }

    fn farewells(&self, farewell: Farewell) -> u64 {
        self.shard.connections.farewells(farewell).read()
    }

    /// A client whose answers find room for so many bytes.
    fn narrow(&mut self, room: usize) -> Line {
        Line { client: self.world.connect(self.listener, 1 << 20, room), received: Vec::new() }
    }

    fn from(&mut self, address: &str) -> Line {
        let line = self.connect();
        line.client.set_address(format!("{address}:4711").parse().expect("an address"));
        line
    }

    fn serves(&mut self, line: &mut Line) {
        let before = line.received.len();
        self.send(line, MARKER);
        assert!(line.received[before..].starts_with(b"HTTP/1.1 200 "), "{:?}", line.client.end());
    }
}

fn bounded(engine: Kind, bounds: Bounds) -> Machine {
    Machine::build(engine, Setup::NoVariants, Beyond::Refuse, bounds)
}

fn networks(all: &[(&str, u8)]) -> Arc<Trusted> {
    let network = |(ip, bits): &(&str, u8)| Network::new(ip.parse().unwrap(), *bits).unwrap();
    Arc::new(Trusted { unix: false, networks: all.iter().map(network).collect() })
}

fn seats(count: u32) -> Option<Arc<Seats>> {
    Some(Arc::new(Seats::new(count)))
}

/// RFC 9110 section 15.5.9: a server may wait no longer than it likes.
#[test]
fn a_head_must_come_at_its_rate() {
    let bounds = Bounds { head_rate: 100, ..Bounds::default() };
    // A head has ten seconds in all.
    let mut machine = Machine::build(Kind::Sendfile, Setup::Hasty, Beyond::Refuse, bounds);
    let [mut slow, mut steady, mut endless] = std::array::from_fn(|_| {
        let mut line = machine.connect();
        machine.send(&mut line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nX: ");
        line
    });
    for second in 0..12 {
        // 10 bytes a second are too few, 120 are not.
        machine.send(&mut slow, &[b'x'; 10]);
        machine.send(&mut endless, &[b'x'; 120]);
        if second < 8 {
            machine.send(&mut steady, &[b'x'; 120]);
        }
        if second == 4 {
            assert_eq!(slow.client.end(), End::Open, "within the first seconds no rate counts");
        }
        if second == 8 {
            assert_eq!(machine.farewells(Farewell::HeadTimeout), 0);
            assert!(steady.received.is_empty());
            machine.send(&mut steady, b"\r\n\r\n");
            assert!(steady.received.starts_with(b"HTTP/1.1 200 "));
        }
        machine.pass(SECOND);
    }
    assert!(slow.received.starts_with(b"HTTP/1.1 408 "), "{}", slow.received.escape_ascii());
    // What still comes is read away for a while.
    machine.pass(limits::LINGER);
    machine.take_in(&mut endless);
    assert_eq!(machine.farewells(Farewell::HeadSlow), 1);
    // However fast it comes, its time is over.
    assert!(endless.received.starts_with(b"HTTP/1.1 408 "), "{}", endless.received.escape_ascii());
    assert_eq!(machine.farewells(Farewell::HeadTimeout), 1);
    machine.serves(&mut steady);
}

/// RFC 9110 section 15.5.9: so it is with the body of a request, which is read away.
#[test]
fn a_body_must_come_in_its_time() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Hasty);
    let mut slow = machine.connect();
    let head = b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    machine.send(&mut slow, head);
    let mut steady = machine.connect();
    machine.send(&mut steady, head);
    machine.send(&mut steady, &[b'x'; 1000]);
    assert!(steady.received.starts_with(b"HTTP/1.1 200 "));
    // Bytes now and then do not prolong it.
    while machine.farewells(Farewell::BodyTimeout) == 0 {
        machine.send(&mut slow, b"x");
        machine.pass(SECOND);
        assert!(machine.worker.open() > 0, "{:?}", slow.client.end());
    }
    assert!(slow.received.starts_with(b"HTTP/1.1 408 "), "{}", slow.received.escape_ascii());
    assert_eq!(machine.farewells(Farewell::BodyTimeout), 1);
    machine.serves(&mut steady);
}

/// What the head took is not laid to the charge of the body.
#[test]
fn the_time_of_a_body_begins_with_it() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Hasty);
    let mut line = machine.connect();
    machine.send(&mut line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n");
    machine.pass(SHORT - 2 * SECOND);
    machine.send(&mut line, b"Content-Length: 10\r\n\r\nhalf ");
    machine.pass(SHORT - 2 * SECOND);
    assert_eq!((line.client.end(), line.received.len()), (End::Open, 0));
    machine.send(&mut line, b"whole");
    assert!(line.received.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(machine.farewells(Farewell::BodyTimeout), 0);
}

/// RFC 9112 section 9.6: the last answer says that it is the last.
#[test]
fn a_connection_carries_so_many_requests() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::TwoRequests);
    let mut line = machine.connect();
    machine.serves(&mut line);
    assert!(!line.received.windows(19).any(|part| part == b"\r\nConnection: close"));
    let first = line.received.len();
    machine.serves(&mut line);
    let last = &line.received[first..];
    assert!(last.windows(19).any(|part| part == b"\r\nConnection: close"));
    assert_eq!(line.client.end(), End::Closed);
    // What was on its way meanwhile is read away: the close would be a reset, and take the answer.
    let whole = line.received.len();
    machine.send(&mut line, b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((line.client.end(), line.received.len()), (End::Closed, whole));
    line.client.close();
    machine.settle();
    let counts = [Farewell::RequestsMax, Farewell::Closed].map(|one| machine.farewells(one));
    assert_eq!(counts, [1, 0]);
}

/// One that takes a little again and again makes progress for ever; the rate ends it. A faster one
/// may take as long as it likes, however long the whole is.
#[test]
fn a_client_must_take_an_answer_at_its_rate() {
    for engine in EACH {
        let mut machine = bounded(engine, Bounds { send_rate: 1000, ..Bounds::default() });
        let [mut slow, mut steady] = std::array::from_fn(|_| machine.narrow(30_000));
        for line in [&mut slow, &mut steady] {
            line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        machine.settle();
        for _ in 0..65 {
            slow.received.extend(slow.client.read(100));
            steady.received.extend(steady.client.read(1040));
            machine.pass(SECOND);
        }
        assert_eq!(machine.farewells(Farewell::SendSlow), 1, "{engine}");
        // What it has not read yet may be lost.
        slow.client.read(usize::MAX);
        assert_eq!(slow.client.end(), End::Reset, "{engine}");
        machine.take_in(&mut steady);
        assert!(steady.received.ends_with(&site::content("data.bin")), "{engine}");
        machine.serves(&mut steady);
    }
}

/// What a client had no chance to take is not laid to its charge.
#[test]
fn a_slow_server_is_not_a_slow_client() {
    let bounds = Bounds { send_rate: 1 << 20, rate_limit: 2000, ..Bounds::default() };
    let mut machine = bounded(Kind::Sendfile, bounds);
    let mut line = machine.connect();
    line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..60 {
        machine.pass(SECOND);
        line.received.extend(line.client.read(usize::MAX));
    }
    assert!(line.received.ends_with(&site::content("data.bin")));
    assert_eq!(machine.farewells(Farewell::SendSlow), 0);
}

/// No more than the limit in any time, no less than it on the whole, and nothing held in between.
#[test]
fn a_limit_of_bandwidth_is_kept() {
    const RATE: usize = 10_000;
    for engine in EACH {
        let mut machine = bounded(engine, Bounds { rate_limit: RATE as u64, ..Bounds::default() });
        let mut line = machine.connect();
        line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        let begun = machine.world.now();
        let mut took = Duration::ZERO;
        while line.received.len() < site::content("data.bin").len() {
            machine.pass(Duration::from_millis(50));
            took = machine.world.now().since(begun);
            line.received.extend(line.client.read(usize::MAX));
            let may = RATE as f64 * (took.as_secs_f64() + 0.5);
            assert!((line.received.len() as f64) < may, "{engine}: {took:?}");
            assert!(took < 9 * SECOND, "{engine}: {} bytes", line.received.len());
            let (buffers, pipes) = machine.worker.reactor().leased();
            assert_eq!((buffers[..4].iter().sum::<usize>(), pipes), (0, 0), "{engine}");
        }
        assert!(took > 6 * SECOND, "{engine}: {took:?}");
        machine.pass(SECOND);
        machine.take_in(&mut line);
        assert!(line.received.ends_with(&site::content("data.bin")), "{engine}");
        let stats = &machine.shard.connections;
        assert!((30..=80).contains(&stats.pauses.read()), "{engine}: {}", stats.pauses.read());
        // Nobody polls the clock: each pause is a timer.
        assert_eq!(machine.shard.engines.engine(engine).responses.read(), 1, "{engine}");
    }
}

/// What is sent from memory keeps to it likewise: a listing, and a body that is kept there.
#[test]
fn a_limit_of_bandwidth_holds_for_bytes_in_memory() {
    const RATE: usize = 2000;
    const HOT_BYTES: usize = 15_000;
    let bounds = Bounds { rate_limit: RATE as u64, ..Bounds::default() };
    let mut machine = Machine::build(Kind::Sendfile, Setup::Listing, Beyond::Refuse, bounds);
    machine.world.file("hot.bin", vec![7; HOT_BYTES]);
    for number in 0..60 {
        machine.world.file(&format!("many/{number}.txt"), "x");
    }
    // From then on it is kept for good.
    machine.pass(limits::WRITTEN_BACK);
    // A body is kept once it was asked for some times.
    for _ in 0..4 {
        let mut line = machine.connect();
        line.client.write(b"GET /hot.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        machine.pass(10 * SECOND);
        line.received.extend(line.client.read(usize::MAX));
        assert!(line.received.len() > HOT_BYTES);
    }
    let hits = machine.shard.cache.hot_hits.read();
    for path in ["/hot.bin", "/many/"] {
        let mut line = machine.connect();
        line.client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let begun = machine.world.now();
        for _ in 0..60 {
            machine.pass(Duration::from_millis(50));
            let took = machine.world.now().since(begun);
            line.received.extend(line.client.read(usize::MAX));
            // A part of a kilobyte, and the head, may go ahead.
            let may = RATE as f64 * (took.as_secs_f64() + 1.0);
            let came = line.received.len();
            assert!((came as f64) < may, "{path}: {came} bytes in {took:?}");
        }
        machine.pass(10 * SECOND);
        line.received.extend(line.client.read(usize::MAX));
        let answer = Wire::past(with_date_of_now(&line.received)).response().unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() > 4 * RATE, "{path}: {} bytes", answer.body.len());
    }
    assert!(machine.shard.cache.hot_hits.read() > hits, "it was not sent from memory");
}

#[test]
fn a_limit_of_bandwidth_goes_by_path() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Rules);
    machine.world.file("slow.bin", vec![7; 70_000]);
    let mut ask = |path: &str, time: Duration| {
        let mut line = machine.connect();
        line.client.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        machine.pass(time);
        line.received.extend(line.client.read(usize::MAX));
        line.received.len()
    };
    assert!(ask("/data.bin", SECOND) > site::DATA_BYTES, "another path has no limit");
    let limited = ask("/slow.bin", SECOND);
    assert!((10_000..40_000).contains(&limited), "{limited}");
    assert!(ask("/slow.bin", 5 * SECOND) > 70_000);
    // An answer without a limit that stands before it, and leaves in one send with it, does not
    // take the limit away; by now both names are known.
    for _ in 0..4 {
        let mut line = machine.connect();
        let ask = |line: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        line.client.write([ask("HEAD /data.bin"), ask("GET /slow.bin")].concat().as_bytes());
        machine.pass(SECOND);
        line.received.extend(line.client.read(usize::MAX));
        assert!(line.received.len() < 40_000, "{}", line.received.len());
    }
}

/// Connections by address: beyond the limit one is closed without a word, until another one ends.
#[test]
fn an_address_has_so_many_connections() {
    let mut machine = bounded(Kind::Sendfile, Bounds { seats: seats(2), ..Bounds::default() });
    let mut first: Vec<_> = (0..2).map(|_| machine.from("192.0.2.1")).collect();
    for line in &mut first {
        machine.serves(line);
    }
    let mut third = machine.from("192.0.2.1");
    machine.send(&mut third, MARKER);
    assert!(third.client.end() != End::Open && third.received.is_empty());
    assert_eq!(machine.farewells(Farewell::AddressTooMany), 1);
    let mut other = machine.from("192.0.2.2");
    machine.serves(&mut other);
    first.pop().unwrap().client.close();
    machine.settle();
    let mut fourth = machine.from("192.0.2.1");
    machine.serves(&mut fourth);
    // All of one network of IPv6 count as one.
    let mut six: Vec<_> = (1..=3).map(|low| machine.from(&format!("[2001:db8::{low}]"))).collect();
    machine.serves(&mut six[0]);
    machine.serves(&mut six[1]);
    machine.send(&mut six[2], MARKER);
    assert_ne!(six[2].client.end(), End::Open);
    let mut elsewhere = machine.from("[2001:db8:0:1::1]");
    machine.serves(&mut elsewhere);
}

/// The header of a proxy names who counts, however it is cut; and only a trusted one may send it.
#[test]
fn a_trusted_proxy_introduces_its_clients() {
    let bounds = || Bounds {
        seats: seats(2),
        trusted: networks(&[("10.0.0.0", 8)]),
        proxy_header: true,
        ..Bounds::default()
    };
    let header = |ip: &str| format!("PROXY TCP4 {ip} 10.0.0.9 4711 80\r\n").into_bytes();
    let sent = [header("192.0.2.1"), MARKER.to_vec()].concat();
    for cut in 0..sent.len() {
        let mut machine = bounded(Kind::Sendfile, bounds());
        let mut line = machine.from("10.0.0.1");
        machine.send(&mut line, &sent[..cut]);
        machine.send(&mut line, &sent[cut..]);
        assert!(line.received.starts_with(b"HTTP/1.1 200 "), "cut at {cut}");
        machine.serves(&mut line);
    }
    let mut machine = bounded(Kind::Sendfile, bounds());
    let mut by_proxy = |ip: &str| {
        let mut line = machine.from("10.0.0.1");
        machine.send(&mut line, &header(ip));
        machine.send(&mut line, MARKER);
        (line.received.starts_with(b"HTTP/1.1 200 "), line)
    };
    let lines = [by_proxy("192.0.2.1"), by_proxy("192.0.2.1"), by_proxy("192.0.2.2")];
    assert!(lines.iter().all(|(served, _)| *served));
    assert!(!by_proxy("192.0.2.1").0, "each client counts for itself");
    assert_eq!(machine.farewells(Farewell::AddressTooMany), 1);
    // Without the header, or with half of another, the proxy is closed without a word.
    for bad in [MARKER, b"PROXY TCP4 192.0.2.1\r\n"] {
        let mut line = machine.from("10.0.0.1");
        machine.send(&mut line, bad);
        assert!(line.client.end() != End::Open && line.received.is_empty());
    }
    assert_eq!(machine.farewells(Farewell::ProxyHeader), 2);
    // From anybody else it is no request.
    let mut line = machine.from("192.0.2.7");
    machine.send(&mut line, &sent);
    assert!(line.received.starts_with(b"HTTP/1.1 400 "), "{}", line.received.escape_ascii());
    let mut line = machine.from("192.0.2.7");
    machine.serves(&mut line);
}

/// Behind a trusted proxy the client of a request counts while its request is answered.
#[test]
fn the_client_behind_a_proxy_counts_while_it_is_answered() {
    let bounds = Bounds {
        seats: seats(1),
        trusted: networks(&[("10.0.0.0", 8)]),
        rate_limit: 1024,
        ..Bounds::default()
    };
    let mut machine = bounded(Kind::Sendfile, bounds);
    let ask = |path: &str, ip: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {ip}\r\n\r\n").into_bytes()
    };
    let [mut one, mut two] = std::array::from_fn(|_| machine.from("10.0.0.1"));
    machine.send(&mut one, &ask("/data.bin", "192.0.2.1"));
    machine.send(&mut two, &ask("/plain.txt", "192.0.2.1"));
    assert!(two.received.starts_with(b"HTTP/1.1 503 "), "{}", two.received.escape_ascii());
    let causes = [Refusal::AddressTooMany, Refusal::Overloaded];
    let told = causes.map(|cause| machine.shard.connections.refusals(cause).read());
    assert_eq!(told, [1, 0]);
    let answered = two.received.len();
    machine.pass(2 * SECOND);
    machine.send(&mut two, &ask("/plain.txt", "192.0.2.2"));
    assert!(two.received[answered..].starts_with(b"HTTP/1.1 200 "));
    one.client.close();
    machine.pass(SECOND);
    let answered = two.received.len();
    machine.pass(2 * SECOND);
    machine.send(&mut two, &ask("/plain.txt", "192.0.2.1"));
    assert!(two.received[answered..].starts_with(b"HTTP/1.1 200 "));
    // Who is not trusted may say what it likes.
    let mut liar = machine.from("192.0.2.9");
    machine.send(&mut liar, &ask("/plain.txt", "192.0.2.1"));
    assert!(liar.received.starts_with(b"HTTP/1.1 200 "));
}

/// Where there is no place, who has waited for a request for the longest gives up its own, whether
/// it was ever asked anything or not; nobody does who has begun one or has waited for a moment.
#[test]
fn the_longest_idle_makes_room_for_a_newcomer() {
    for beyond in [Beyond::Refuse, Beyond::Wait] {
        let bounds = Bounds::default();
        let mut machine = Machine::build(Kind::Sendfile, Setup::NoVariants, beyond, bounds);
        let mut lines: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|number| {
                let mut line = machine.connect();
                machine.settle();
                if number % 2 == 0 {
                    machine.serves(&mut line);
                }
                machine.world.pass(Duration::from_millis(1));
                line
            })
            .collect();
        machine.pass(SECOND);
        machine.serves(&mut lines[0]);
        let mut newcomer = machine.connect();
        machine.serves(&mut newcomer);
        let farewells = [Farewell::Crowded, Farewell::TooMany].map(|one| machine.farewells(one));
        assert_eq!(farewells, [1, 0], "{beyond:?}");
        assert_ne!(lines[1].client.end(), End::Open, "{beyond:?}: the longest idle");
        let others = lines.iter().filter(|line| line.client.end() == End::Open);
        assert_eq!(others.count(), CONNECTIONS_MAX - 1, "{beyond:?}");
        // Where all of them are at something nobody makes room.
        let bounds = Bounds::default();
        let mut machine = Machine::build(Kind::Sendfile, Setup::NoVariants, beyond, bounds);
        let mut lines: Vec<_> = (0..CONNECTIONS_MAX).map(|_| machine.narrow(30_000)).collect();
        for line in &mut lines {
            line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            machine.settle();
        }
        machine.pass(2 * SECOND);
        let mut late = machine.connect();
        machine.send(&mut late, MARKER);
        assert_eq!(machine.farewells(Farewell::Crowded), 0, "{beyond:?}: nobody is idle");
        let refused = late.received.starts_with(b"HTTP/1.1 503 ");
        assert_eq!(refused, beyond == Beyond::Refuse, "{}", late.received.escape_ascii());
        machine.take_in(&mut lines[0]);
        assert!(lines[0].received.ends_with(&site::content("data.bin")), "{beyond:?}");
        if beyond == Beyond::Refuse {
            late = machine.connect();
            machine.send(&mut late, MARKER);
            assert!(late.received.starts_with(b"HTTP/1.1 503 "), "idle for a moment only");
        }
        machine.pass(2 * SECOND);
        if beyond == Beyond::Refuse {
            late = machine.connect();
            machine.send(&mut late, MARKER);
        }
        machine.take_in(&mut late);
        assert!(late.received.starts_with(b"HTTP/1.1 200 "), "{}", late.received.escape_ascii());
        assert_ne!(lines[0].client.end(), End::Open, "{beyond:?}");
    }
}

/// The same where there is no descriptor for it.
#[test]
fn the_longest_idle_gives_its_descriptor_to_a_newcomer() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut lines: Vec<_> = (0..4).map(|_| machine.connect()).collect();
    for line in &mut lines {
        machine.serves(line);
    }
    machine.pass(2 * SECOND);
    let mut begun = lines.pop().unwrap();
    machine.send(&mut begun, b"GET /plain.txt HTTP/1.1\r\nHo");
    machine.world.set_bounds(machine.world.descriptors(), 256, 65_536);
    // Files that are kept open give way before connections do.
    let mut newcomers: Vec<_> = (0..3).map(|_| machine.connect()).collect();
    for line in &mut newcomers {
        machine.send(line, b"HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
        machine.take_in(line);
        assert!(line.received.starts_with(b"HTTP/1.1 "), "{:?}", line.client.end());
    }
    assert!(machine.farewells(Farewell::Crowded) >= 1);
    assert_eq!(begun.client.end(), End::Open);
    assert!(machine.shard.connections.accepts_starved.read() > 0);
}

/// A connection that was never asked anything has the time of a head, not that between requests.
#[test]
fn a_first_request_must_come_in_the_time_of_a_head() {
    let mut machine = Machine::new(Kind::Sendfile, Setup::Hasty);
    let silent = machine.connect();
    let mut served = machine.connect();
    machine.serves(&mut served);
    machine.pass(SHORT - SECOND);
    assert_eq!(silent.client.end(), End::Open);
    machine.pass(2 * SECOND);
    assert_eq!(silent.client.end(), End::Closed);
    assert_eq!(machine.farewells(Farewell::Idle), 1);
    machine.serves(&mut served);
}

/// So many answers gather, and the next requests wait till these are sent.
#[test]
fn so_many_pipelined_answers_gather() {
    for (depth, sends) in [(1, 6..=6), (3, 2..=4), (64, 1..=2)] {
        let bounds = Bounds { pipeline_depth: depth, ..Bounds::default() };
        let mut machine = bounded(Kind::Sendfile, bounds);
        let mut line = machine.connect();
        // Known from here on; the first answer may still wait till that is confirmed.
        let head = b"HEAD /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n";
        machine.send(&mut line, head);
        let technique = machine.shard.ring.technique(Technique::Send).operations.read();
        machine.send(&mut line, &head.repeat(6));
        let sent = machine.shard.ring.technique(Technique::Send).operations.read() - technique;
        assert!(sends.contains(&sent), "a depth of {depth}: {sent} sends");
        let answers = line.received.windows(12).filter(|bytes| bytes == b"HTTP/1.1 200").count();
        assert_eq!(answers, 7);
    }
}

/// The most that came to a client in one turn of the worker, with room for everything.
fn growth(machine: &mut Machine, asks: &[u8], whole: usize) -> usize {
    let client = machine.world.connect(machine.listener, 1 << 20, 64 << 20);
    client.write(asks);
    let (mut most, mut before) = (0, 0);
    for _ in 0..100_000 {
        machine.world.set_alarm(Some(machine.world.now() + MOMENT));
        assert!(!machine.worker.turn().unwrap());
        let now = client.available();
        most = most.max(now - before);
        before = now;
        if now >= whole {
            break;
        }
    }
    assert!(before >= whole, "{before} bytes of {whole}");
    client.close();
    machine.settle();
    most
}

/// Many parts of one body, and many answers behind each other, take no more of a turn than one
/// body does: others go on between.
#[test]
fn many_parts_and_pipelines_yield_in_bounded_turns() {
    const PART: usize = 200_000;
    for engine in EACH {
        let mut machine = bounded(engine, Bounds::default());
        machine.world.file("large.bin", vec![7; 40 * PART]);
        let ranges: Vec<_> =
            (0..40).map(|at| format!("{}-{}", at * PART, at * PART + PART - 2)).collect();
        let parts = format!(
            "GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes={}\r\n\r\n",
            ranges.join(",")
        );
        let one = format!("GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-{PART}\r\n\r\n");
        for asks in [parts, one.repeat(40)] {
            let most = growth(&mut machine, asks.as_bytes(), 40 * (PART - 1));
            // What the ring had taken before may come on top, and a head.
            let bound = limits::TURN_BYTES as usize + limits::BODY_BUFFER_BYTES + 4096;
            assert!(most <= bound, "{engine}: {most} bytes in one turn");
        }
    }
}

/// As many half heads as there are buffers hold up nobody: the oldest gives way.
#[test]
fn half_heads_give_way() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut half: Vec<_> = (0..12)
        .map(|_| {
            let mut line = machine.connect();
            machine.send(&mut line, b"GET /plain.txt HTTP/1.1\r\nHo");
            machine.world.pass(Duration::from_millis(1));
            line
        })
        .collect();
    machine.pass(SECOND);
    let mut line = machine.connect();
    machine.serves(&mut line);
    let given = machine.farewells(Farewell::Crowded);
    assert!((4..=6).contains(&given), "{given} gave way");
    // The others may still end what they began, the newest above all.
    let last = half.last_mut().unwrap();
    machine.send(last, b"st: a\r\n\r\n");
    assert!(last.received.starts_with(b"HTTP/1.1 200 "));
    assert_ne!(half[0].client.end(), End::Open);
}

/// A head that comes a byte now and then holds up nobody for longer than one that does not go on:
/// what counts is its rate.
#[test]
fn trickled_heads_give_way() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut slow: Vec<_> = (0..12).map(|_| machine.connect()).collect();
    for line in &mut slow {
        machine.send(line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nX: ");
    }
    let trickle = |machine: &mut Machine, slow: &mut [Line]| {
        machine.pass(Duration::from_millis(90));
        slow.iter_mut().for_each(|line| machine.send(line, b"x"));
    };
    trickle(&mut machine, &mut slow);
    let newcomer = machine.connect();
    newcomer.client.write(MARKER);
    let begun = machine.world.now();
    while newcomer.client.available() == 0 {
        trickle(&mut machine, &mut slow);
        let waited = machine.world.now().since(begun);
        assert!(waited < limits::GIVE_WAY_HALF_AFTER, "it waits for {waited:?}");
    }
    assert!(machine.farewells(Farewell::Crowded) > 0);
    // One that comes at its rate keeps its buffer a little longer.
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut steady: Vec<_> = (0..8).map(|_| machine.connect()).collect();
    let piece = [b'x'; 60];
    for line in &mut steady {
        machine.send(line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nX: ");
        machine.send(line, &piece);
    }
    let mut newcomer = machine.connect();
    newcomer.client.write(MARKER);
    for _ in 0..4 {
        machine.pass(Duration::from_millis(50));
        steady.iter_mut().for_each(|line| machine.send(line, &piece));
    }
    assert_eq!(machine.farewells(Farewell::Crowded), 0);
    machine.pass(SECOND);
    machine.take_in(&mut newcomer);
    assert!(newcomer.received.starts_with(b"HTTP/1.1 200 "));
}

/// Requests that wait behind answers which nobody takes give their buffers back, too: they are
/// dropped, and the connection ends with the answer on its way.
#[test]
fn requests_behind_an_answer_give_way() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut slow: Vec<_> = (0..8)
        .map(|_| {
            let mut line = machine.narrow(20_000);
            let twice = b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
            line.client.write(&twice);
            machine.settle();
            line.received.extend(line.client.read(1000));
            line
        })
        .collect();
    let heads = machine.worker.reactor().leased().0[Pool::Head as usize];
    assert_eq!(heads, 8, "all are held");
    machine.pass(SECOND);
    let mut line = machine.connect();
    machine.serves(&mut line);
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "no answer is lost");
    for line in &mut slow {
        for _ in 0..20 {
            machine.take_in(line);
            machine.pass(SECOND);
        }
    }
    let whole = |line: &&Line| line.received.len() > 70_001;
    assert_eq!(slow.iter().filter(whole).count(), 8, "each answer that had begun is whole");
    let told = [Farewell::Crowded, Farewell::Closed].map(|one| machine.farewells(one));
    assert!(told[0] > 0 && told[1] == 0, "who gave way is told apart: {told:?}");
}

/// Clients that take nothing of bodies through memory or pipes hold up nobody: what is held for
/// them is given to others, and they get every byte all the same once they read.
#[test]
fn bodies_that_nobody_takes_give_way() {
    for engine in [Kind::Uring, Kind::Direct, Kind::Copy, Kind::Splice] {
        let mut machine = bounded(engine, Bounds::default());
        let mut slow: Vec<_> = (0..12)
            .map(|_| {
                let mut line = machine.narrow(30_000);
                line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
                machine.settle();
                line.received.extend(line.client.read(10_000));
                machine.settle();
                line
            })
            .collect();
        machine.pass(SECOND / 2);
        let mut line = machine.connect();
        machine.send(&mut line, b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        machine.pass(SECOND / 2);
        machine.take_in(&mut line);
        assert!(line.received.ends_with(&site::content("data.bin")), "{engine}: it waits");
        for line in &mut slow {
            for _ in 0..12 {
                machine.take_in(line);
                machine.pass(SECOND / 2);
            }
            let whole = line.received.ends_with(&site::content("data.bin"));
            let (bytes, end) = (line.received.len(), line.client.end());
            let lost: Vec<_> = machine.shard.connections.by_farewell().collect();
            assert!(whole, "{engine}: {bytes} bytes, {end:?}, {lost:?}");
        }
        let given = machine.shard.connections.given_way.read();
        // Of `direct` all of them send the same blocks, and nobody waits.
        assert!(given > 0 || engine == Kind::Direct, "{engine}: nobody gave way");
        let lost = machine.farewells(Farewell::Crowded);
        assert_eq!(lost, 0, "{engine}: no connection was lost");
        for line in slow.iter().chain([&line]) {
            line.client.close();
        }
        machine.settle();
        let (buffers, pipes) = machine.worker.reactor().leased();
        assert_eq!((&buffers[..4], pipes), (&[0; 4][..], 0), "{engine}: all came home");
    }
}

/// A reload may begin to limit what was not limited: what is open then counts.
#[test]
fn a_worker_that_retires_counts_what_it_still_has() {
    let taken = Taken::default();
    let beside = |count| Some(Arc::new(Seats::beside(&taken, count)));
    let bounds = Bounds { seats_later: beside(u32::MAX), ..Bounds::default() };
    let mut earlier = bounded(Kind::Sendfile, bounds);
    let slow = earlier.narrow(1000);
    slow.client.set_address("192.0.2.1:4711".parse().unwrap());
    slow.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    earlier.settle();
    let mut later = bounded(Kind::Sendfile, Bounds { seats: beside(1), ..Bounds::default() });
    let mut before = later.from("192.0.2.1");
    later.serves(&mut before);
    before.client.close();
    later.settle();
    earlier.control.set(State::Retiring);
    earlier.world.add(earlier.bell, 1);
    earlier.settle();
    let mut second = later.from("192.0.2.1");
    later.send(&mut second, MARKER);
    assert!(second.received.is_empty(), "{}", second.received.escape_ascii());
    let mut other = later.from("192.0.2.2");
    later.serves(&mut other);
    slow.client.reset();
    // Its worker has come to its end with it.
    while !earlier.worker.turn().unwrap() {}
    let mut third = later.from("192.0.2.1");
    later.serves(&mut third);
}
