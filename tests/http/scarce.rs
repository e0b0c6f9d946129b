//! Buffers and pipes that somebody waits for: who is asked to give way, and who is left alone.

use pitcrew::ring::{Io, Lease, PipeLease};

use super::*;

impl Machine {
    /// Takes every buffer of a pool that is free, for somebody who waits for one more.
    fn takes_all(&mut self, pool: Pool) -> Vec<Lease> {
        let reactor = self.worker.reactor();
        let owner = reactor.register().expect("there is room for one more");
        let mut io = reactor.io(owner);
        std::iter::from_fn(|| io.lease(pool)).collect()
    }

    /// The same with pipes.
    fn takes_all_pipes(&mut self) -> Vec<PipeLease> {
        let reactor = self.worker.reactor();
        let owner = reactor.register().expect("there is room for one more");
        let mut io = reactor.io(owner);
        std::iter::from_fn(|| io.pipe().ok()).collect()
    }

    /// Whether a file is served in this moment, without its body.
    fn is_known(&mut self, line: &mut Line) -> bool {
        let before = line.received.len();
        self.send(line, b"HEAD /marker.txt HTTP/1.1\r\nHost: marker\r\n\r\n");
        line.received[before..].starts_with(b"HTTP/1.1 200 ")
    }
}

/// A listing and a body of the hot cache lie in no buffer of a pool: who sends them has nothing to
/// give, however slowly its client takes them.
#[test]
fn who_sends_what_is_kept_elsewhere_is_left_alone() {
    let bounds = Bounds::default();
    let mut machine = Machine::build(Kind::Sendfile, Setup::Listing, Beyond::Refuse, bounds);
    machine.world.file("hot.bin", vec![7; 15_000]);
    for number in 0..60 {
        machine.world.file(&format!("many/{number}.txt"), "x");
    }
    machine.pass(4 * SECOND);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    // A body is kept once it was asked for some times.
    for _ in 0..4 {
        let mut line = machine.connect();
        machine.send(&mut line, ask("/hot.bin").as_bytes());
        machine.pass(SECOND);
    }
    let hits = machine.shard.cache.hot_hits.read();
    let mut slow: Vec<_> = ["/hot.bin", "/many/"]
        .into_iter()
        .map(|path| {
            let line = machine.narrow(1000);
            line.client.write(ask(path).as_bytes());
            machine.pass(SECOND / 10);
            assert_eq!(line.client.available(), 1000, "{path} is on its way");
            line
        })
        .collect();
    assert_eq!(machine.shard.cache.hot_hits.read(), hits + 1, "it is sent from memory");
    let leased = machine.worker.reactor().leased().0;
    assert_eq!(leased[..4], [0; 4], "nothing is held");
    let _answers = machine.takes_all(Pool::Answer);
    let _bodies = machine.takes_all(Pool::Body);
    machine.pass(3 * SECOND);
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "it frees nothing");
    for line in &mut slow {
        machine.take_in(line);
        let answer = Wire::past(with_date_of_now(&line.received)).response().unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() > 3000, "{} bytes", answer.body.len());
    }
}

/// A head that is not out yet lies nowhere else, so its connection is lost with it: only where it
/// is the buffer of this head that is waited for, and only if the client takes nothing. The socket
/// of one that takes a little now and then shows room for long whiles in vain.
#[test]
fn a_head_that_is_not_out_is_lost_with_who_takes_nothing() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut line = machine.narrow(100);
    line.client.write(b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    machine.settle();
    assert_eq!(line.client.available(), 100);
    let leased = machine.worker.reactor().leased();
    assert_eq!(leased, ([0, 0, 1, 0, 0], 0), "the head is held");
    let others = [Pool::Body, Pool::Block].map(|pool| machine.takes_all(pool));
    let pipes = machine.takes_all_pipes();
    machine.pass(3 * SECOND);
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "it holds none of these");
    let _answers = machine.takes_all(Pool::Answer);
    for _ in 0..8 {
        machine.pass(SECOND * 2 / 5);
        line.received.extend(line.client.read(10));
    }
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "its client takes what it is sent");
    assert_eq!(machine.worker.reactor().leased().0[Pool::Answer as usize], 8, "it holds it still");
    machine.pass(3 * SECOND);
    assert_eq!(machine.farewells(Farewell::Crowded), 1);
    drop((others, pipes));
    line.client.read(usize::MAX);
    assert_eq!(line.client.end(), End::Reset);
}

/// Bytes from memory that lie in a buffer go likewise.
#[test]
fn an_answer_in_a_buffer_is_lost_with_who_takes_nothing() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let line = machine.narrow(100);
    line.client.write(b"HEAD /data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    machine.settle();
    let bodies = machine.takes_all(Pool::Body);
    machine.pass(3 * SECOND);
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "it holds none of these");
    let answers = machine.takes_all(Pool::Answer);
    assert_eq!((bodies.len(), answers.len()), (8, 7));
    machine.pass(SECOND / 2);
    assert_eq!(machine.farewells(Farewell::Crowded), 0, "it may be a moment's");
    machine.pass(2 * SECOND);
    assert_eq!(machine.farewells(Farewell::Crowded), 1);
}

/// Whose disk does not answer has taken all there was: others are asked in its place.
#[test]
fn who_waits_for_the_disk_is_passed_over() {
    let mut machine = bounded(Kind::Uring, Bounds::default());
    let ask = b"GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    machine.world.script(Technique::ReadFixed, 0, Fault::Late(60 * SECOND));
    let mut waits = machine.connect();
    waits.client.write(ask);
    machine.settle();
    assert_eq!((machine.world.befallen(), waits.client.available()), (1, 0));
    // The last of them finds one, the others two.
    let mut slow: Vec<_> = (0..4)
        .map(|_| {
            machine.pass(Duration::from_millis(10));
            let line = machine.narrow(30_000);
            line.client.write(ask);
            machine.settle();
            line
        })
        .collect();
    assert_eq!(machine.worker.reactor().leased().0[Pool::Body as usize], 8, "all are held");
    machine.pass(SECOND / 2);
    let mut line = machine.connect();
    machine.send(&mut line, ask);
    machine.pass(SECOND / 2);
    machine.take_in(&mut line);
    assert!(line.received.ends_with(&site::content("data.bin")), "it waits");
    assert!(machine.shard.connections.given_way.read() > 0);
    machine.pass(60 * SECOND);
    for line in slow.iter_mut().chain([&mut waits]) {
        for _ in 0..12 {
            machine.take_in(line);
            machine.pass(SECOND / 2);
        }
        assert!(line.received.ends_with(&site::content("data.bin")), "{:?}", line.client.end());
    }
    assert_eq!(machine.farewells(Farewell::Crowded), 0);
}

/// Those who wait for a disk have half of the buffers at most, whatever they hold: heads of
/// answers, requests whose names are looked up, and what was asked behind an answer. The others are
/// served in the same moment, and nobody has to give way.
#[test]
fn clients_whose_disk_hangs_leave_buffers_to_others() {
    use Technique::{Open, ReadFixed, Warm};
    const ASK: &[u8] = b"GET /slow.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        (Kind::Uring, ReadFixed, Pool::Answer, 1),
        (Kind::Sendfile, Warm, Pool::Answer, 1),
        (Kind::Splice, Warm, Pool::Head, 2),
        (Kind::Sendfile, Open, Pool::Head, 1),
    ];
    for (engine, hangs, pool, asked) in cases {
        let case = format!("{engine:?} {hangs:?} {asked}");
        let mut machine = bounded(engine, Bounds::default());
        let mut quick = machine.connect();
        machine.world.file("slow.bin", vec![7; 100_000]);
        machine.pass(60 * SECOND);
        (0..3).for_each(|_| assert!(machine.is_known(&mut quick)));
        if hangs != Open {
            // Its name is known, and nothing of what it holds is in memory.
            let mut line = machine.connect();
            machine.send(&mut line, b"HEAD /slow.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            machine.world.chill("slow.bin");
        }
        (0..100).for_each(|nth| machine.world.script(hangs, nth, Fault::Late(5 * SECOND)));
        let mut late: Vec<_> = (0..10)
            .map(|_| {
                let line = machine.connect();
                line.client.write(&ASK.repeat(asked));
                machine.settle();
                assert_eq!(line.client.available(), 0, "{case}: it waits");
                line
            })
            .collect();
        let held = machine.worker.reactor().leased().0;
        assert_eq!(held[pool as usize], 4, "{case}: half are held");
        assert!(held.iter().all(|count| *count <= 4), "{case}: {held:?}");
        let stats = &machine.shard.connections;
        assert!(stats.aside_bytes.read() > 0, "{case}");
        let heads = stats.aside_heads.read();
        assert!(heads >= 6, "{case}: {heads} heads");
        assert!(machine.is_known(&mut quick), "{case}: it waits");
        assert_eq!(machine.farewells(Farewell::Crowded), 0, "{case}");
        // Whoever waited gets all of it, and what it asked for behind it.
        machine.pass(60 * SECOND);
        for line in &mut late {
            for _ in 0..4 {
                machine.take_in(line);
                machine.pass(10 * SECOND);
            }
            let mut wire = Wire::past(with_date_of_now(&line.received));
            for _ in 0..asked {
                let answer = wire.response().unwrap();
                assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{case}");
            }
        }
        let stats = &machine.shard.connections;
        assert_eq!((stats.aside_bytes.read(), stats.aside_refused.read()), (0, 0), "{case}");
        assert_eq!(machine.farewells(Farewell::Crowded), 0, "{case}");
    }
}

/// Where they find no memory they are told to come again at once, and the others are served.
#[test]
fn who_finds_no_memory_to_wait_for_a_disk_is_told_so() {
    let mut machine = bounded(Kind::Sendfile, Bounds::default());
    let mut quick = machine.connect();
    machine.world.file("slow.bin", vec![7; 100_000]);
    machine.pass(60 * SECOND);
    (0..3).for_each(|_| assert!(machine.is_known(&mut quick)));
    (0..100).for_each(|nth| machine.world.script(Technique::Open, nth, Fault::Late(60 * SECOND)));
    // Of these the memory for one mount takes five.
    let ask = format!("GET /slow.bin HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(3000));
    let mut late: Vec<_> = (0..12)
        .map(|_| {
            let mut line = machine.connect();
            machine.send(&mut line, ask.as_bytes());
            line
        })
        .collect();
    late.retain(|line| line.received.starts_with(b"HTTP/1.1 503 "));
    assert_eq!(late.len(), 12 - 4 - 5);
    assert_eq!(machine.shard.connections.aside_refused.read(), 3);
    assert_eq!(machine.shard.connections.refusals(Refusal::StorageUnavailable).read(), 3);
    assert!(machine.is_known(&mut quick), "it waits");
    late.iter().for_each(|line| line.client.close());
    machine.settle();
    assert_eq!(machine.farewells(Farewell::Crowded), 3);
}

/// A worker with short times for its clients, and a longer one for what it lacks itself.
fn hasty() -> Machine {
    let bounds = Bounds::default();
    let (engine, setup) = (Kind::Sendfile, Setup::Hasty);
    Machine::fitted(engine, setup, Beyond::Refuse, bounds, Some(0), |_, parts| {
        parts.connection.idle_timeout = SHORT;
        parts.connection.send_timeout = 2 * SHORT;
    })
}

/// A request that finds no buffer to be read to is not idle, new or behind another one: it waits
/// for as long as one that waits for any other buffer, and is told to come again (RFC 9110 section
/// 15.6.4).
#[test]
fn a_request_that_no_buffer_is_free_for_waits_and_is_told_so() {
    let mut machine = hasty();
    let mut served = machine.connect();
    machine.serves(&mut served);
    let mut lines = [served, machine.connect()];
    let answered = lines[0].received.len();
    let taken = machine.takes_all(Pool::Head);
    for line in &mut lines {
        machine.send(line, MARKER);
    }
    machine.pass(SHORT + SECOND);
    let came = lines.each_mut().map(|line| {
        machine.take_in(line);
        (line.received.len(), line.client.end())
    });
    assert_eq!(came, [(answered, End::Open), (0, End::Open)]);
    drop(taken);
    for line in &mut lines {
        machine.take_in(line);
    }
    assert!(lines[0].received[answered..].starts_with(b"HTTP/1.1 200 "));
    assert!(lines[1].received.starts_with(b"HTTP/1.1 200 "));
    // Its own times begin anew: nothing of the wait is laid to its charge.
    machine.pass(SHORT - SECOND);
    let _taken = machine.takes_all(Pool::Head);
    let answered = lines.each_ref().map(|line| line.received.len());
    for line in &mut lines {
        machine.send(line, MARKER);
    }
    machine.pass(2 * SHORT + SECOND / 2);
    for (line, answered) in lines.iter_mut().zip(answered) {
        machine.take_in(line);
        let told = String::from_utf8_lossy(&line.received[answered..]).into_owned();
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("\r\nRetry-After: "), "{told}");
        assert_eq!(line.client.end(), End::Closed, "it can be read");
    }
    machine.pass(limits::LINGER + SECOND);
    let of = |farewell| machine.shard.connections.farewells(farewell).read();
    let ends = [Farewell::Closed, Farewell::Idle, Farewell::HeadTimeout, Farewell::Crowded];
    assert_eq!(ends.map(of), [2, 0, 0, 0]);
    assert_eq!(machine.shard.connections.refusals(Refusal::Overloaded).read(), 2);
    assert_eq!(machine.worker.open(), 0);
}

/// So it is with a head that needs the larger buffer: it is not the client that is slow.
#[test]
fn a_head_that_finds_no_larger_buffer_is_not_slow() {
    let mut machine = hasty();
    let taken = machine.takes_all(Pool::LargeHead);
    let [mut line, mut late] = std::array::from_fn(|_| {
        let mut line = machine.connect();
        machine.send(&mut line, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\nX: ");
        machine.send(&mut line, &[b'x'; 5000]);
        line
    });
    // Somebody waits for a smaller one, too, which it is no idle holder of.
    let _heads = machine.takes_all(Pool::Head);
    machine.pass(SHORT + SECOND);
    machine.take_in(&mut line);
    assert_eq!((line.client.end(), line.received.len()), (End::Open, 0));
    drop(taken);
    machine.settle();
    machine.send(&mut line, b"\r\n\r\n");
    assert!(line.received.starts_with(b"HTTP/1.1 200 "), "{}", line.received.escape_ascii());
    assert_eq!(machine.farewells(Farewell::Crowded), 0);
    // What was held up is added to its time, and no more than that.
    machine.pass(SHORT + SECOND);
    machine.take_in(&mut late);
    assert!(late.received.starts_with(b"HTTP/1.1 408 "), "{}", late.received.escape_ascii());
    assert_eq!(machine.farewells(Farewell::HeadTimeout), 0, "it lingers");
    machine.pass(limits::LINGER + SECOND);
    assert_eq!(machine.farewells(Farewell::HeadTimeout), 1);
}

/// Nor is it idle when the server drains.
#[test]
fn a_request_that_no_buffer_is_free_for_is_answered_in_a_drain() {
    let mut machine = hasty();
    let taken = machine.takes_all(Pool::Head);
    let mut line = machine.connect();
    machine.send(&mut line, MARKER);
    machine.control.set(State::Draining);
    machine.world.add(machine.bell, 1);
    machine.pass(SHORT + SECOND);
    assert_eq!(line.client.end(), End::Open);
    drop(taken);
    machine.says_close_and_ends([line]);
}
