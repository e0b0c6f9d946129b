//! A whole worker over the simulated kernel, while a mount hangs: who else is served, and how it
//! ends.

use std::time::Duration;

use pitcrew::connection::Farewell;
use pitcrew::engines::Kind;
use pitcrew::limits::{
    BLOCKING_OPERATIONS_MAX, DIGESTS_AT_ONCE, GIVE_WAY_FOR_GOOD_AFTER, LINGER, LOADS_PER_MOUNT_MAX,
};
use pitcrew::ring::simulated::{Client, End, Fault, World};
use pitcrew::ring::{MountKind, Technique};
use pitcrew::server::State;

use super::worker::{Mounts, Rig};

const SLOW: u64 = 2;
/// More than the mount may have in flight.
const MANY: usize = 3 * BLOCKING_OPERATIONS_MAX as usize;

fn rig(kind: MountKind) -> Rig {
    let (world, mounts) = world(kind);
    Rig::with_mounts(world, mounts)
}

fn world(kind: MountKind) -> (World, Mounts) {
    let world = World::new(5);
    world.file("open.txt", "open");
    world.file("other.txt", "other");
    assert_eq!(world.mount("slow", kind), SLOW);
    for number in 0..MANY {
        world.file(&format!("slow/{number}"), "late");
    }
    world.file("slow/open.txt", "slow and open");
    world.file("slow/large", vec![7; 1 << 20]);
    let mounts = vec![(Box::default(), 1), ((*b"slow").into(), SLOW)];
    (world, mounts)
}

fn is_ok(head: &str, body: &str) -> bool {
    head.starts_with("HTTP/1.1 200") && head.ends_with(body)
}

/// Everybody gets the whole answer.
fn all_are_answered(rig: &mut Rig, clients: &[Client]) {
    for client in clients {
        let head = rig.first_of(client);
        assert!(is_ok(&head, "late"), "{head}");
    }
}

#[test]
fn a_mount_that_hangs_in_open_delays_nobody_else() {
    for kind in [MountKind::Blocking, MountKind::NonBlocking] {
        let mut rig = rig(kind);
        let first = rig.ask("/open.txt");
        assert!(is_ok(&rig.first_of(&first), "open"));
        rig.world.hang(SLOW, true);
        let late: Vec<_> = (0..MANY).map(|number| rig.ask(&format!("/slow/{number}"))).collect();
        for (path, body) in [("/open.txt", "open"), ("/other.txt", "other")] {
            let client = rig.ask(path);
            assert!(is_ok(&rig.first_of(&client), body), "{path}");
        }
        assert!(late.iter().all(|client| client.available() == 0), "the hung ones still wait");
        rig.world.hang(SLOW, false);
        all_are_answered(&mut rig, &late);
    }
}

/// As many clients as there are buffers for heads, and more, wait for one name on a mount that
/// hangs: they give their buffers to others, and are told to come again (RFC 9110 section 15.6.4).
#[test]
fn clients_of_a_mount_that_hangs_leave_buffers_to_others() {
    for kind in [MountKind::Blocking, MountKind::NonBlocking] {
        let mut rig = rig(kind);
        let first = rig.ask("/open.txt");
        assert!(is_ok(&rig.first_of(&first), "open"));
        rig.world.hang(SLOW, true);
        // The rig has 256 of them.
        let late: Vec<_> = (0..300).map(|_| rig.ask("/slow/0")).collect();
        for _ in 0..20 {
            rig.turn();
        }
        let begun = rig.world.now();
        let client = rig.ask("/other.txt");
        assert!(is_ok(&rig.first_of(&client), "other"));
        let waited = rig.world.now().since(begun);
        assert!(waited < 2 * GIVE_WAY_FOR_GOOD_AFTER, "it waited for {waited:?}");
        let told: Vec<_> = late.iter().filter(|client| client.available() > 0).collect();
        assert!(!told.is_empty() && told.len() < 256, "{} gave way", told.len());
        for client in told {
            let answer = String::from_utf8_lossy(&client.read(400)).into_owned();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("\r\nRetry-After: "), "{answer}");
        }
        rig.world.pass(2 * LINGER);
        for _ in 0..20 {
            rig.turn();
        }
        let of = |farewell| rig.shard.connections.farewells(farewell).read();
        assert!(of(Farewell::Crowded) > 0, "they are told apart");
        assert_eq!(of(Farewell::Closed), 0);
        rig.world.hang(SLOW, false);
    }
}

#[test]
fn a_mount_that_hangs_in_read_delays_neither_others_nor_what_is_resident_on_it() {
    for kind in [MountKind::Blocking, MountKind::NonBlocking] {
        let mut rig = rig(kind);
        for path in ["/slow/open.txt", "/slow/large"] {
            let client = rig.ask(path);
            assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{path}");
        }
        rig.world.pass(Duration::from_millis(300));
        rig.world.chill("slow/large");
        rig.world.hang(SLOW, true);
        let late: Vec<_> = (0..MANY).map(|_| rig.ask("/slow/large")).collect();
        for (path, body) in [("/other.txt", "other"), ("/slow/open.txt", "slow and open")] {
            let client = rig.ask(path);
            assert!(is_ok(&rig.first_of(&client), body), "{path}");
        }
        assert!(late.iter().all(|client| client.available() == 0), "the hung ones still wait");
        rig.world.hang(SLOW, false);
        for client in &late {
            let head = rig.first_of(client);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
    }
}

/// With `direct` these are reads past the page cache into blocks that several may wait for. `copy`
/// reads in the turn and is the one that waits.
#[test]
fn a_mount_that_hangs_in_read_delays_no_other_whatever_the_engine() {
    for engine in Kind::ALL.into_iter().filter(|engine| *engine != Kind::Copy) {
        for kind in [MountKind::Blocking, MountKind::NonBlocking] {
            let (world, mounts) = world(kind);
            let mut rig = Rig::with_engine(world, mounts, engine);
            // The names are known, so it is the reads that hang.
            for path in ["/open.txt", "/other.txt", "/slow/large"] {
                let client = rig.ask(path);
                assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{engine} {path}");
            }
            rig.worker.blocks().clear();
            rig.world.pass(Duration::from_millis(300));
            rig.world.chill("slow/large");
            rig.world.hang(SLOW, true);
            let late: Vec<_> = (0..MANY).map(|_| rig.ask("/slow/large")).collect();
            for (path, body) in [("/other.txt", "other"), ("/open.txt", "open")] {
                let client = rig.ask(path);
                assert!(is_ok(&rig.first_of(&client), body), "{engine} {path}");
            }
            assert!(late.iter().all(|client| client.available() == 0), "{engine}: they wait");
            rig.world.hang(SLOW, false);
            for client in &late {
                let head = rig.first_of(client);
                assert!(head.starts_with("HTTP/1.1 200"), "{engine}: {head}");
            }
        }
    }
}

/// Runs until a connection has ended because of the disk, and none because of its client.
fn ends_by_the_disk(rig: &mut Rig) {
    let ends = |rig: &Rig, why| rig.shard.connections.farewells(why).read();
    for _ in 0..10_000 {
        if ends(rig, Farewell::DiskTimeout) == 1 {
            break;
        }
        assert!(!rig.worker.turn().unwrap());
    }
    assert_eq!(ends(rig, Farewell::DiskTimeout), 1);
    assert_eq!(ends(rig, Farewell::SendTimeout), 0, "the client has taken all there was");
}

/// RFC 9110 section 15.6.4. `copy` waits in the turn.
#[test]
fn a_disk_that_does_not_answer_in_time_is_503_or_a_cut_and_no_reset() {
    const BYTES: usize = 8 << 20;
    for engine in Kind::ALL.into_iter().filter(|engine| *engine != Kind::Copy) {
        for kind in [MountKind::Blocking, MountKind::NonBlocking] {
            let (world, mounts) = world(kind);
            world.file("slow/huge", vec![7; BYTES]);
            let mut rig = Rig::with_engine(world, mounts, engine);
            let known = rig.ask("/slow/huge");
            assert!(rig.first_of(&known).starts_with("HTTP/1.1 200"), "{engine}");
            known.close();
            rig.turn();
            rig.worker.blocks().clear();
            rig.world.pass(Duration::from_millis(300));
            rig.world.chill("slow/huge");
            rig.world.hang(SLOW, true);
            let client = rig.ask("/slow/huge");
            let head = rig.first_of(&client);
            assert!(head.starts_with("HTTP/1.1 503 "), "{engine} {kind:?}: {head}");
            assert!(head.contains("\r\nRetry-After: "), "{head}");
            ends_by_the_disk(&mut rig);
            assert_eq!(client.end(), End::Closed, "{engine} {kind:?}");
            rig.world.hang(SLOW, false);
        }
        let (world, mounts) = world(MountKind::NonBlocking);
        world.file("slow/huge", vec![7; BYTES]);
        world.chill("slow/huge");
        let mut rig = Rig::with_engine(world, mounts, engine);
        let client = rig.world.connect(rig.listener, 1 << 16, 64 << 10);
        client.write(b"GET /slow/huge HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{engine}");
        rig.world.hang(SLOW, true);
        let mut got = 0;
        while client.end() == End::Open {
            got += client.read(usize::MAX).len();
            assert!(!rig.worker.turn().unwrap());
        }
        assert!(got < BYTES, "{engine}: it was cut");
        assert_eq!(client.end(), End::Closed, "{engine}");
        client.close();
        ends_by_the_disk(&mut rig);
        rig.world.hang(SLOW, false);
    }
}

/// With `etag = "content"` a file is hashed before it is first served.
#[test]
fn a_mount_that_hangs_while_it_is_hashed_delays_no_tags_of_others() {
    let (world, mounts) = world(MountKind::NonBlocking);
    let mut rig = Rig::hashing(world, mounts);
    rig.world.script(Technique::Digest, 0, Fault::Late(Duration::from_secs(5)));
    let late: Vec<_> =
        (0..2 * DIGESTS_AT_ONCE).map(|number| rig.ask(&format!("/slow/{number}"))).collect();
    rig.until_a_job_is_out();
    for (path, body) in [("/open.txt", "open"), ("/other.txt", "other")] {
        let client = rig.ask(path);
        assert!(is_ok(&rig.first_of(&client), body), "{path}");
        assert!(late.iter().all(|client| client.available() == 0), "the late ones still wait");
    }
    all_are_answered(&mut rig, &late);
}

/// RFC 9110 section 15.6.4: who asks for more names of a mount than may be looked for at once is
/// told to come again later; names of others are found.
#[test]
fn a_full_queue_of_a_mount_that_hangs_is_503_with_retry_after() {
    let (world, mounts) = world(MountKind::Blocking);
    for number in MANY..=LOADS_PER_MOUNT_MAX {
        world.file(&format!("slow/{number}"), "late");
    }
    let mut rig = Rig::with_crowd(world, mounts, 4 * LOADS_PER_MOUNT_MAX);
    rig.world.hang(SLOW, true);
    let late: Vec<_> =
        (0..LOADS_PER_MOUNT_MAX).map(|number| rig.ask(&format!("/slow/{number}"))).collect();
    let client = rig.ask("/other.txt");
    assert!(is_ok(&rig.first_of(&client), "other"));
    assert!(late.iter().all(|client| client.available() == 0), "all of them wait");
    let beyond = rig.ask(&format!("/slow/{LOADS_PER_MOUNT_MAX}"));
    let head = rig.first_of(&beyond);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
    let client = rig.ask("/open.txt");
    assert!(is_ok(&rig.first_of(&client), "open"));
    rig.world.hang(SLOW, false);
    all_are_answered(&mut rig, &late);
}

#[test]
fn a_worker_drains_while_a_mount_hangs() {
    let mut rig = rig(MountKind::Blocking);
    rig.world.hang(SLOW, true);
    let late = rig.ask("/slow/1");
    let client = rig.ask("/other.txt");
    assert!(is_ok(&rig.first_of(&client), "other"));
    rig.control.set(State::Draining);
    rig.world.add(rig.bell, 1);
    let mut turns = 0;
    while !rig.worker.turn().unwrap() {
        turns += 1;
        assert!(turns < 10_000, "it never ends");
    }
    assert!(late.is_closed_by_server() || late.available() == 0);
    assert_eq!(rig.worker.open(), 0);
    rig.world.hang(SLOW, false);
}
