//! A whole worker over the simulated kernel, while a mount hangs: who else is served, and how it
//! ends.

use std::time::Duration;

use pitcrew::connection::Farewell;
use pitcrew::engines::Kind;
use pitcrew::limits::{
    BLOCKING_OPERATIONS_MAX, DIGESTS_AT_ONCE, GIVE_WAY_FOR_GOOD_AFTER, LOADS_PER_MOUNT_MAX,
    LOOKUP_PATIENCE, WARM_BYTES,
};
use pitcrew::ring::simulated::{Client, End, Fault, World};
use pitcrew::ring::{MountKind, Technique};
use pitcrew::server::State;

use super::worker::{Mounts, Rig};

const SLOW: u64 = 2;
/// More than the mount may have in flight.
const MANY: usize = 3 * BLOCKING_OPERATIONS_MAX as usize;
/// How long names of the rig are good. Nothing tells of changes there.
const GOOD: Duration = Duration::from_secs(3600);

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

/// The answer to one request, and how long it took.
fn timed(rig: &mut Rig, path: &str) -> (String, Duration) {
    let begun = rig.world.now();
    let client = rig.ask(path);
    let answer = rig.first_of(&client);
    client.close();
    (answer, rig.world.now().since(begun))
}

/// A file of the slow mount is open, and its name is due.
fn make_due(rig: &mut Rig) {
    let (answer, _) = timed(rig, "/slow/open.txt");
    assert!(is_ok(&answer, "slow and open"), "{answer}");
    rig.world.pass(GOOD);
}

fn is_served_at_once(rig: &mut Rig, body: &str) {
    let (answer, took) = timed(rig, "/slow/open.txt");
    assert!(is_ok(&answer, body), "{answer}");
    assert!(took < LOOKUP_PATIENCE / 4, "it waited for {took:?}");
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

/// The same of a mount that was not there when they were listed.
#[test]
fn a_mount_that_was_not_listed_and_hangs_delays_nobody_else() {
    for kind in [MountKind::Blocking, MountKind::NonBlocking] {
        let (world, mut mounts) = world(kind);
        mounts.truncate(1);
        let mut rig = Rig::with_mounts(world, mounts);
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

/// 9p and some cluster file systems ask others for the facts of a file that is open, whatever the
/// flags of statx(2) say: the simulated kernel fails if the loop does while they do not answer.
#[test]
fn facts_that_others_have_to_be_asked_for_delay_nobody_else() {
    for engine in Kind::ALL.into_iter().filter(|engine| *engine != Kind::Copy) {
        let (world, mounts) = world(MountKind::Foreign);
        let mut rig = Rig::with_engine(world, mounts, engine);
        for _ in 0..3 {
            for (path, body) in [("/slow/open.txt", "slow and open"), ("/open.txt", "open")] {
                let client = rig.ask(path);
                assert!(is_ok(&rig.first_of(&client), body), "{engine}: {path}");
            }
        }
        rig.world.hang(SLOW, true);
        let late = rig.ask("/slow/open.txt");
        for (path, body) in [("/open.txt", "open"), ("/other.txt", "other")] {
            let client = rig.ask(path);
            assert!(is_ok(&rig.first_of(&client), body), "{engine}: {path}");
        }
        assert_eq!(late.available(), 0);
        rig.world.hang(SLOW, false);
        assert!(is_ok(&rig.first_of(&late), "slow and open"), "{engine}");
    }
}

/// As long as one of its files is open a mount is the same one, whatever else comes and goes, and
/// nobody asks again what it is: till that was told, what is in memory would wait for its disk.
#[test]
fn a_mount_of_which_a_file_is_open_stays_known_when_others_come_and_go() {
    let (world, mounts) = world(MountKind::Blocking);
    let other = world.mount("third", MountKind::InMemory);
    let mut rig = Rig::with_mounts(world, mounts);
    let first = rig.ask("/slow/open.txt");
    assert!(is_ok(&rig.first_of(&first), "slow and open"));
    let asked = |rig: &Rig| rig.shard.ring.technique(Technique::Mount).operations.read();
    let before = asked(&rig);
    assert!(before > 0, "it was asked for once");
    rig.world.mount_anew(other, MountKind::InMemory);
    for number in 0..3 {
        let client = rig.ask(&format!("/slow/{number}"));
        assert!(is_ok(&rig.first_of(&client), "late"));
    }
    assert_eq!(asked(&rig), before);
}

/// The kernel gives the number and the device of a mount that is gone to the next one.
#[test]
fn a_mount_in_the_place_of_another_that_hangs_delays_nobody_else() {
    use MountKind::{Blocking, InMemory, NonBlocking, Remote};
    for (before, after) in [(InMemory, Blocking), (InMemory, NonBlocking), (NonBlocking, Remote)] {
        for engine in [Kind::Sendfile, Kind::Auto, Kind::Uring, Kind::Direct] {
            let (world, mounts) = world(before);
            let mut rig = Rig::with_engine(world, mounts, engine);
            for (path, body) in [("/slow/0", "late"), ("/slow/1", "late"), ("/open.txt", "open")] {
                let client = rig.ask(path);
                assert!(is_ok(&rig.first_of(&client), body), "{path}");
            }
            // As long as one of its files is open, no other mount has its number.
            for path in ["slow/0", "slow/1"] {
                rig.world.remove(path);
                rig.world.pass(GOOD);
                let client = rig.ask(&format!("/{path}"));
                assert!(rig.first_of(&client).starts_with("HTTP/1.1 404"), "{path}");
            }
            rig.world.mount_anew(SLOW, after);
            for number in 2..MANY {
                rig.world.chill(&format!("slow/{number}"));
            }
            // Opened while it answers, and read while it does not.
            let open = rig.ask("/slow/2");
            assert!(is_ok(&rig.first_of(&open), "late"));
            rig.world.pass(Duration::from_millis(300));
            rig.world.chill("slow/2");
            rig.world.hang(SLOW, true);
            let ask = |number| rig.ask(&format!("/slow/{number}"));
            let late: Vec<_> = (2..MANY).map(ask).collect();
            for (path, body) in [("/open.txt", "open"), ("/other.txt", "other")] {
                let client = rig.ask(path);
                assert!(is_ok(&rig.first_of(&client), body), "{path}");
            }
            rig.world.hang(SLOW, false);
            all_are_answered(&mut rig, &late);
        }
    }
}

/// As many clients as there are buffers for heads, and more, wait for one name on a mount that
/// hangs: they leave half of the buffers to others, and nobody has to give way.
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
        let (answer, took) = timed(&mut rig, "/other.txt");
        assert!(is_ok(&answer, "other"), "{answer}");
        assert!(took < GIVE_WAY_FOR_GOOD_AFTER / 4, "it waited for {took:?}");
        assert!(late.iter().all(|client| client.available() == 0), "nobody is told to go");
        let crowded = rig.shard.connections.farewells(Farewell::Crowded).read();
        assert_eq!(crowded, 0);
        rig.world.hang(SLOW, false);
        all_are_answered(&mut rig, &late);
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
/// reads in the turn and is the one that waits. The simulated kernel sees that nobody in the turn
/// begins a read of what is not there, or but a few, where there is no other way to learn that.
#[test]
fn a_mount_that_hangs_in_read_delays_no_other_whatever_the_engine() {
    for engine in Kind::ALL.into_iter().filter(|engine| *engine != Kind::Copy) {
        for (kind, of_others) in [
            (MountKind::Blocking, false),
            (MountKind::NonBlocking, false),
            (MountKind::NonBlocking, true),
        ] {
            let (world, mounts) = world(kind);
            if of_others {
                world.give_away();
            }
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

/// Of files of another user only a read tells what is in memory, and begins one where it is not. Of
/// what was found there before that is not to be feared.
#[test]
fn what_was_seen_in_memory_is_served_while_its_disk_hangs_whoever_owns_it() {
    for engine in [Kind::Sendfile, Kind::Splice, Kind::Uring, Kind::Auto] {
        let (world, mounts) = world(MountKind::NonBlocking);
        world.give_away();
        world.file("slow/hot", vec![9; 200 << 10]);
        let mut rig = Rig::with_engine(world, mounts, engine);
        let hot = ["/slow/open.txt", "/slow/hot"];
        for path in hot.into_iter().chain(["/slow/large"]) {
            let client = rig.ask(path);
            assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{engine} {path}");
        }
        // The others are open, and nobody has looked for them in memory.
        for number in 0..MANY {
            rig.world.chill(&format!("slow/{number}"));
            let client = rig.world.connect(rig.listener, 1 << 16, 1 << 16);
            client.write(format!("HEAD /slow/{number} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{engine} {number}");
            client.close();
        }
        rig.world.chill("slow/large");
        rig.worker.blocks().clear();
        rig.world.pass(Duration::from_millis(300));
        rig.world.hang(SLOW, true);
        // All that may be waited for is, and all looks at what may be cold are used up.
        let late: Vec<_> = (0..MANY).map(|number| rig.ask(&format!("/slow/{number}"))).collect();
        let _: Vec<_> = (0..3).map(|_| rig.ask("/slow/large")).collect();
        rig.world.pass(Duration::from_millis(300));
        for path in hot.into_iter().chain(["/other.txt"]) {
            let client = rig.ask(path);
            assert!(rig.first_of(&client).starts_with("HTTP/1.1 200"), "{engine} {path}");
        }
        assert!(late.iter().all(|client| client.available() == 0), "{engine}: they wait");
        rig.world.hang(SLOW, false);
        all_are_answered(&mut rig, &late);
    }
}

/// Who asks first waits to be told that the file is still the one of its name, for as long as a
/// disk that works may take; who asks later does not.
#[test]
fn a_file_whose_name_is_due_is_served_while_its_mount_hangs() {
    for engine in [Kind::Sendfile, Kind::Splice] {
        for kind in [MountKind::Blocking, MountKind::NonBlocking] {
            let (world, mounts) = world(kind);
            let mut rig = Rig::with_engine(world, mounts, engine);
            make_due(&mut rig);
            rig.world.hang(SLOW, true);
            let begun = rig.world.now();
            let first = [(); 2].map(|()| rig.ask("/slow/open.txt"));
            for client in &first {
                assert!(is_ok(&rig.first_of(client), "slow and open"), "{engine} {kind:?}");
            }
            let waited = rig.world.now().since(begun);
            assert!((LOOKUP_PATIENCE..2 * LOOKUP_PATIENCE).contains(&waited), "{waited:?}");
            is_served_at_once(&mut rig, "slow and open");
            // What takes its place is not known of until the disk tells.
            rig.world.file("slow/open.txt", "another");
            is_served_at_once(&mut rig, "slow and open");
            let (other, took) = timed(&mut rig, "/other.txt");
            assert!(is_ok(&other, "other") && took < LOOKUP_PATIENCE / 4, "{took:?}");
            let shard = rig.shard.clone();
            let unproven = || shard.cache.served_unproven.read();
            assert_eq!((unproven(), shard.cache.revalidations.read()), (4, 1));
            rig.world.hang(SLOW, false);
            (0..20).for_each(|_| rig.turn());
            is_served_at_once(&mut rig, "another");
            assert_eq!(unproven(), 4, "it is proven");
        }
    }
}

/// The same for each step of a look-up, by every engine: here the reads do not hang with it.
#[test]
fn a_file_whose_name_is_due_is_served_while_a_step_of_its_look_up_hangs() {
    const LATE: Duration = Duration::from_secs(30);
    for engine in Kind::ALL {
        for (technique, kind) in [
            (Technique::Open, MountKind::NonBlocking),
            (Technique::Open, MountKind::Blocking),
            // Elsewhere it is asked inline.
            (Technique::Stat, MountKind::Blocking),
        ] {
            let what = format!("{engine} {technique:?} {kind:?}");
            let (world, mounts) = world(kind);
            let mut rig = Rig::with_engine(world, mounts, engine);
            make_due(&mut rig);
            rig.world.script(technique, 0, Fault::Late(LATE));
            let (answer, waited) = timed(&mut rig, "/slow/open.txt");
            assert!(is_ok(&answer, "slow and open"), "{what}: {answer}");
            assert!((LOOKUP_PATIENCE..2 * LOOKUP_PATIENCE).contains(&waited), "{what} {waited:?}");
            is_served_at_once(&mut rig, "slow and open");
            rig.world.remove("slow/open.txt");
            is_served_at_once(&mut rig, "slow and open");
            assert_eq!((rig.shard.cache.served_unproven.read(), rig.world.befallen()), (3, 1));
            rig.world.pass(LATE);
            (0..20).for_each(|_| rig.turn());
            // What was opened before it was removed is found to be the same, and good for a while.
            let status = if technique == Technique::Open { " 404 " } else { " 200 " };
            let (answer, _) = timed(&mut rig, "/slow/open.txt");
            assert!(answer[8..].starts_with(status), "{what}: {answer}");
            assert_eq!(rig.shard.cache.served_unproven.read(), 3, "{what}");
        }
    }
}

#[test]
fn a_file_that_was_seen_to_change_is_not_served_while_its_mount_hangs() {
    for kind in [MountKind::Blocking, MountKind::NonBlocking] {
        let mut rig = rig(kind);
        make_due(&mut rig);
        rig.world.hang(SLOW, true);
        let (answer, _) = timed(&mut rig, "/slow/open.txt");
        assert!(is_ok(&answer, "slow and open"), "{kind:?}: {answer}");
        rig.world.rewrite("slow/open.txt", "slow AND open");
        let late = rig.ask("/slow/open.txt");
        for _ in 0..20 {
            rig.turn();
            rig.world.pass(LOOKUP_PATIENCE / 4);
        }
        assert_eq!(late.available(), 0, "{kind:?}: it is another version");
        rig.world.hang(SLOW, false);
        assert!(is_ok(&rig.first_of(&late), "slow AND open"), "{kind:?}");
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

/// Runs until a worker that was told to drain has.
fn drains(rig: &mut Rig) {
    rig.control.set(State::Draining);
    rig.world.add(rig.bell, 1);
    let mut turns = 0;
    while !rig.worker.turn().unwrap() {
        turns += 1;
        assert!(turns < 10_000, "it never ends");
    }
    assert_eq!(rig.worker.open(), 0);
}

#[test]
fn a_worker_drains_while_a_mount_hangs() {
    let mut rig = rig(MountKind::Blocking);
    rig.world.hang(SLOW, true);
    let late = rig.ask("/slow/1");
    let client = rig.ask("/other.txt");
    assert!(is_ok(&rig.first_of(&client), "other"));
    drains(&mut rig);
    assert!(late.is_closed_by_server() || late.available() == 0);
    rig.world.hang(SLOW, false);
}

/// Who waits to be told of a file that is open is still served.
#[test]
fn a_worker_that_drains_while_a_mount_hangs_serves_what_is_open_on_it() {
    let mut rig = rig(MountKind::Blocking);
    make_due(&mut rig);
    rig.world.hang(SLOW, true);
    let late = rig.ask("/slow/open.txt");
    while rig.shard.cache.revalidations.read() == 0 {
        rig.turn();
    }
    assert_eq!(late.available(), 0, "it waits");
    drains(&mut rig);
    let answer = String::from_utf8_lossy(&late.read(400)).into_owned();
    assert!(is_ok(&answer, "slow and open"), "{answer}");
    rig.world.hang(SLOW, false);
}

/// What a thread has read for a client that takes its time is looked at again, and not read again.
#[test]
fn what_was_read_ahead_for_a_slow_client_is_read_once_whoever_owns_it() {
    const BYTES: usize = 2 << 20;
    for engine in [Kind::Sendfile, Kind::Splice] {
        for of_others in [false, true] {
            let (world, mounts) = world(MountKind::NonBlocking);
            world.file("slow/long", vec![7; BYTES]);
            world.chill("slow/long");
            if of_others {
                world.give_away();
            }
            let mut rig = Rig::with_engine(world, mounts, engine);
            let client = rig.world.connect(rig.listener, 1 << 16, 64 << 10);
            client.write(b"GET /slow/long HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut got = 0;
            while got < BYTES {
                rig.turn();
                got += client.read(64 << 10).len();
                rig.world.pass(Duration::from_millis(100));
            }
            let warmed = rig.shard.ring.technique(Technique::Warm).operations.read();
            assert_eq!(warmed, BYTES as u64 / WARM_BYTES, "{engine}, of others: {of_others}");
        }
    }
}
