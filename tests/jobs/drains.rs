//! A whole worker over the simulated kernel that is told to end while clients wait in the queue of
//! its listener.

use std::time::Duration;

use pitcrew::connection::Farewell;
use pitcrew::limits::ACCEPT_RETRY;
use pitcrew::ring::Technique;
use pitcrew::ring::simulated::{Client, End, Fault, World};
use pitcrew::server::State;
use rustix::io::Errno;

use super::worker::Rig;

const BYTES: usize = 1 << 20;

/// Two clients that have every descriptor and read nothing, and others behind them.
fn starved() -> (Rig, [Client; 2], Vec<Client>) {
    let world = World::new(3);
    world.file("large.bin", vec![7; BYTES]);
    let mut rig = Rig::with_mounts(world, Vec::new());
    let mut slow = || {
        let client = rig.world.connect(rig.listener, 1 << 16, 4096);
        client.write(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        while client.available() == 0 {
            rig.turn();
        }
        client
    };
    let slow = [slow(), slow()];
    rig.world.set_bounds(rig.world.descriptors(), 256, 1 << 16);
    // An open that finds nothing needs no descriptor.
    let waiting: Vec<_> = (0..5).map(|_| rig.ask("/none")).collect();
    while rig.shard.connections.accepts_starved.read() == 0 {
        rig.turn();
    }
    assert_eq!(rig.shard.connections.accepted.read(), 2);
    (rig, slow, waiting)
}

fn drain(rig: &Rig) {
    finish(rig, State::Draining);
}

fn finish(rig: &Rig, how: State) {
    rig.control.set(how);
    rig.world.add(rig.bell, 1);
}

#[test]
fn who_waits_for_a_descriptor_at_the_end_is_served_as_connections_end() {
    for again in [false, true] {
        let (mut rig, slow, waiting) = starved();
        drain(&rig);
        for _ in 0..20 {
            rig.turn();
        }
        assert_eq!(rig.shard.connections.accepted.read(), 2);
        // Once more in between, as when others of the process are faster.
        if again {
            rig.world.script_every(Technique::Accept, 2, Fault::Fail(Errno::MFILE));
        }
        let mut taken = [0; 2];
        let mut ended = false;
        while !ended {
            for (client, taken) in slow.iter().zip(&mut taken) {
                *taken += client.read(BYTES).len();
            }
            ended = rig.worker.turn().unwrap();
        }
        assert!(taken.iter().all(|taken| *taken > BYTES), "{taken:?}: what had begun was cut");
        for (number, client) in waiting.iter().enumerate() {
            let answer = String::from_utf8_lossy(&client.read(400)).into_owned();
            assert!(answer.starts_with("HTTP/1.1 404 "), "{number}, {again}: {answer:?}");
        }
        assert_eq!(rig.shard.connections.accepted.read(), 7);
    }
}

#[test]
fn where_none_ends_the_time_limit_does() {
    let (mut rig, slow, waiting) = starved();
    let begun = rig.world.now();
    drain(&rig);
    while !rig.worker.turn().unwrap() {}
    assert!(rig.world.now().since(begun).as_secs() < 2);
    assert_eq!(rig.shard.connections.accepted.read(), 2);
    assert!(waiting.iter().all(|client| client.available() == 0));
    drop((slow, rig.worker));
    assert_eq!(rig.world.in_flight(), 0);
}

/// An accept that ends in another way than by its cancel has left who stood behind, and a close
/// resets them.
#[test]
fn whatever_ends_the_last_accept_nobody_behind_it_is_reset() {
    let errors = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::INTR,
        Errno::INVAL,
    ];
    let faults = errors.map(Fault::Fail).into_iter().chain([Fault::Ends]);
    for (fault, queue) in faults.flat_map(|fault| [256, 1].map(|queue| (fault, queue))) {
        let what = format!("{fault:?}, {queue} entries");
        let mut rig = Rig::with_mounts(World::new(3), Vec::new());
        rig.world.set_bounds(1 << 20, queue, 1 << 16);
        // The accept that is in flight hears of nobody, until it is cancelled.
        rig.world.script(Technique::Accept, 0, Fault::Late(Duration::from_secs(60)));
        rig.world.script(Technique::Accept, 1, fault);
        for _ in 0..10 {
            rig.turn();
        }
        let waiting: Vec<_> = (0..3).map(|_| rig.ask("/none")).collect();
        rig.turn();
        assert_eq!(rig.shard.connections.accepted.read(), 0, "{what}");
        drain(&rig);
        while !rig.worker.turn().unwrap() {}
        assert_eq!(rig.world.befallen(), 2, "{what}");
        for (number, client) in waiting.iter().enumerate() {
            let answer = String::from_utf8_lossy(&client.read(400)).into_owned();
            assert!(answer.starts_with("HTTP/1.1 404 "), "{number}, {what}: {answer:?}");
        }
        assert_eq!(rig.shard.connections.accepted.read(), 3, "{what}");
    }
}

/// As when another process that has the same socket shuts it down: to try again would find the
/// same, all the time.
#[test]
fn a_listener_that_somebody_has_shut_down_is_tried_by_the_clock() {
    let mut rig = Rig::with_mounts(World::new(3), Vec::new());
    rig.world.script_every(Technique::Accept, 1, Fault::Fail(Errno::INVAL));
    for _ in 0..100 {
        rig.turn();
    }
    let tries = rig.shard.ring.technique(Technique::Accept).operations.read();
    assert_eq!(tries, 1);
    rig.world.pass(ACCEPT_RETRY);
    for _ in 0..100 {
        rig.turn();
    }
    let tries = rig.shard.ring.technique(Technique::Accept).operations.read();
    assert_eq!(tries, 2);
}

const PROBE: &[u8] = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n";

fn comes_for_telemetry(rig: &Rig) -> Client {
    rig.world.connect(rig.for_telemetry.unwrap(), 1 << 16, 1 << 16)
}

/// To the end of the worker; each is answered, and told that the connection closes.
fn all_are_answered(rig: &mut Rig, clients: &[Client], what: &str) {
    while !rig.worker.turn().unwrap() {}
    for (number, client) in clients.iter().enumerate() {
        let answer = String::from_utf8_lossy(&client.read(400)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{number}, {what}: {answer:?}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{number}, {what}: {answer:?}");
        assert_eq!(client.end(), End::Closed, "{number}, {what}");
    }
}

/// A worker whose site is idle has nothing else to wait for.
#[test]
fn whoever_came_for_telemetry_before_the_end_is_answered() {
    for how in [State::Draining, State::Retiring] {
        let what = format!("{how:?}");
        let mut rig = Rig::with_telemetry(World::new(3));
        let clients: Vec<_> = (0..3).map(|_| comes_for_telemetry(&rig)).collect();
        while rig.shard.connections.accepted.read() < 3 {
            rig.turn();
        }
        finish(&rig, how);
        for _ in 0..10 {
            rig.turn();
        }
        // What they ask was on its way.
        for client in &clients {
            client.write(PROBE);
        }
        all_are_answered(&mut rig, &clients, &what);
    }
}

#[test]
fn whoever_waits_in_the_queue_for_telemetry_at_the_end_is_answered() {
    for how in [State::Draining, State::Retiring] {
        let what = format!("{how:?}");
        let mut rig = Rig::with_telemetry(World::new(3));
        // Behind that of the site; it hears of nobody, until it is cancelled.
        rig.world.script(Technique::Accept, 1, Fault::Late(Duration::from_secs(60)));
        for _ in 0..10 {
            rig.turn();
        }
        let clients: Vec<_> = (0..3).map(|_| comes_for_telemetry(&rig)).collect();
        for client in &clients {
            client.write(PROBE);
        }
        rig.turn();
        assert_eq!((rig.shard.connections.accepted.read(), rig.world.befallen()), (0, 1), "{what}");
        finish(&rig, how);
        all_are_answered(&mut rig, &clients, &what);
    }
}

/// Nobody who asks nothing, or takes nothing, holds up the end for longer than a drain may last.
#[test]
fn who_came_for_telemetry_and_stays_holds_up_the_end_for_its_time_at_most() {
    for how in [State::Draining, State::Retiring] {
        let mut rig = Rig::with_telemetry(World::new(3));
        let asks_nothing = comes_for_telemetry(&rig);
        let takes_nothing = rig.world.connect(rig.for_telemetry.unwrap(), 1 << 16, 10);
        takes_nothing.write(PROBE);
        while takes_nothing.available() == 0 {
            rig.turn();
        }
        let begun = rig.world.now();
        finish(&rig, how);
        while !rig.worker.turn().unwrap() {}
        assert!(rig.world.now().since(begun) < Duration::from_secs(2), "{how:?}");
        drop((asks_nothing, takes_nothing, rig.worker));
        assert_eq!(rig.world.in_flight(), 0, "{how:?}");
    }
}

/// While the site drains, whoever comes learns that it is not ready, as often as he asks.
#[test]
fn telemetry_is_told_until_the_site_has_drained() {
    let mut rig = Rig::with_telemetry(World::new(3));
    rig.world.file("large.bin", vec![7; BYTES]);
    let slow = rig.world.connect(rig.listener, 1 << 16, 4096);
    slow.write(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    while slow.available() == 0 {
        rig.turn();
    }
    drain(&rig);
    for _ in 0..5 {
        let client = comes_for_telemetry(&rig);
        client.write(PROBE);
        assert!(rig.first_of(&client).starts_with("HTTP/1.1 404 "));
    }
    let mut ended = false;
    let mut taken = 0;
    while !ended {
        taken += slow.read(BYTES).len();
        ended = rig.worker.turn().unwrap();
    }
    assert!(taken > BYTES, "what had begun was cut: {taken}");
}

/// A listener that stays shut down has no queue to take in.
#[test]
fn a_listener_that_somebody_has_shut_down_holds_up_no_drain() {
    let mut rig = Rig::with_mounts(World::new(3), Vec::new());
    rig.world.script_every(Technique::Accept, 1, Fault::Fail(Errno::INVAL));
    for _ in 0..10 {
        rig.turn();
    }
    let tries = || rig.shard.ring.technique(Technique::Accept).operations.read();
    let before = tries();
    let begun = rig.world.now();
    drain(&rig);
    while !rig.worker.turn().unwrap() {}
    assert!(rig.world.now().since(begun) < Duration::from_millis(900), "its time is a second");
    assert_eq!(tries() - before, 2, "it is tried once more by the clock");
}

/// Who comes as a full worker drains is told to come again: that a kept connection had nothing to
/// do is no reason to reset what it may be asking.
#[test]
fn who_is_kept_in_a_drain_gives_its_place_to_nobody() {
    let mut rig = Rig::with_crowd(World::new(3), Vec::new(), 1);
    // The accept behind the first connection hears of nobody, until it is cancelled.
    rig.world.script(Technique::Accept, 0, Fault::Ends);
    rig.world.script(Technique::Accept, 1, Fault::Late(Duration::from_secs(60)));
    let kept = rig.ask("/none");
    rig.first_of(&kept);
    let late = rig.ask("/none");
    for _ in 0..10 {
        rig.turn();
    }
    assert_eq!((rig.shard.connections.accepted.read(), rig.world.befallen()), (1, 2));
    drain(&rig);
    let told = rig.first_of(&late);
    assert!(told.starts_with("HTTP/1.1 503 "), "{told:?}");
    kept.write(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let told = rig.first_of(&kept);
    assert!(told.starts_with("HTTP/1.1 404 "), "{told:?}");
    while !rig.worker.turn().unwrap() {}
    assert_eq!((kept.end(), late.end()), (End::Closed, End::Closed));
    assert_eq!(rig.shard.connections.farewells(Farewell::Crowded).read(), 0);
}
