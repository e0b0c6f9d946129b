//! What is known of the page cache: for how long, and how `auto` learns whether it keeps what is
//! read into it.

use std::time::Duration;

use pitcrew::engines::{Kind, Reason};
use pitcrew::limits::WARM_BYTES;
use pitcrew::ring::simulated::{Client, Fault, World};
use pitcrew::ring::{MountKind, Technique};
use pitcrew::telemetry::{About, snapshot};

use super::worker::Rig;

const FILES: usize = 8;
const BYTES: usize = 100_000;
const ASKS_MAX: usize = 8000;

fn rig() -> Rig {
    let world = World::new(5);
    for number in 0..FILES {
        world.file(&format!("f{number}"), vec![number as u8; BYTES]);
    }
    let rig = Rig::auto(world);
    chill(&rig);
    rig
}

/// Empties the page cache.
fn chill(rig: &Rig) {
    for number in 0..FILES {
        rig.world.chill(&format!("f{number}"));
    }
}

/// Asks for every file, one after the other, with so much time behind each.
fn walk(rig: &mut Rig, apart: Duration) {
    for number in 0..FILES {
        whole(rig, &format!("/f{number}"), &vec![number as u8; BYTES]);
        rig.world.pass(apart);
    }
}

fn whole(rig: &mut Rig, path: &str, body: &[u8]) {
    let client = rig.ask(path);
    let mut got = Vec::new();
    while !got.ends_with(body) {
        assert!(!rig.worker.turn().unwrap());
        got.extend(client.read(usize::MAX));
    }
    client.close();
}

/// Clients of a file of which nothing is to stay drop its pages for each other.
#[test]
fn what_others_drop_behind_themselves_is_not_taken_to_be_there() {
    const BYTES: usize = 12 << 20;
    for kind in [Kind::Sendfile, Kind::Splice] {
        let world = World::new(6);
        world.file("large", vec![7; BYTES]);
        let mut rig = Rig::dropping(world, kind, 1 << 20);
        let clients = [(); 2].map(|()| {
            let client = rig.world.connect(rig.listener, 1 << 16, 256 << 10);
            client.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        });
        // It is there at first, so neither is declined.
        while clients.iter().any(|client| client.available() == 0) {
            rig.turn();
        }
        rig.world.evict("large");
        let (mut got, mut turns) = ([0, 0], 0);
        while got.iter().any(|got| *got < BYTES) {
            // The second is so slow that the first drops what was warmed for it.
            turns += 1;
            got[0] += clients[0].read(usize::MAX).len();
            got[1] += clients[1].read(if turns % 4 == 0 { 128 << 10 } else { 0 }).len();
            rig.turn();
        }
        assert_eq!(rig.world.stalled(), 0, "{kind}");
        assert!(rig.shard.ring.technique(Technique::Forget).operations.read() > 4, "{kind}");
        assert_eq!(rig.shard.engines.engine(kind).declined.read(), 0, "{kind}");
    }
}

/// What others have brought is sent without waiting for one's own read of it, which holds nothing
/// up that the client asks for next.
#[test]
fn a_body_that_has_overtaken_its_own_reads_is_at_its_end() {
    const WINDOW: usize = WARM_BYTES as usize;
    const SENT: usize = 2 * WINDOW - 2000;
    let body: Vec<u8> = (0..4 * WINDOW - 20_000).map(|at| (at % 251) as u8).collect();
    let world = World::new(6);
    world.file("large", body.clone());
    world.file("small", "small");
    world.chill("large");
    let mut rig = Rig::with_engine(world, Vec::new(), Kind::Sendfile);
    let primer = rig.world.connect(rig.listener, 1 << 16, 64 << 20);
    let get = |more: &str| format!("GET /large HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    primer.write(get(&format!("Range: bytes={WINDOW}-{}\r\n", 3 * WINDOW - 1)).as_bytes());
    while primer.available() < 2 * WINDOW {
        rig.turn();
    }
    rig.world.pass(Duration::from_secs(1));
    // The first window is cold, the second there, and the others are read by threads that do not
    // come back.
    for read in 1..3 {
        rig.world.script(Technique::Warm, read, Fault::Late(Duration::from_secs(3600)));
    }
    let slow = rig.world.connect(rig.listener, 1 << 16, SENT);
    slow.write(get("").as_bytes());
    while slow.available() < SENT {
        rig.turn();
    }
    assert_eq!(rig.world.befallen(), 2);
    // What was only found in the second window is to be asked again.
    rig.world.pass(Duration::from_millis(300));
    whole(&mut rig, "/large", &body);
    let mut got = Vec::new();
    while !got.ends_with(&body) {
        rig.turn();
        got.extend(slow.read(usize::MAX));
    }
    let asked = rig.world.now();
    slow.write(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(rig.first_of(&slow).starts_with("HTTP/1.1 200 OK"));
    assert!(rig.world.now().since(asked) < Duration::from_secs(1), "it waits for nothing");
}

fn chosen(rig: &Rig, why: Reason) -> u64 {
    let told = snapshot(std::slice::from_ref(&rig.shard), About::default()).to_json();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    told["choices"][why.name()].as_u64().expect("each reason has its count")
}

/// A client that asks and takes nothing, through the narrowest of windows.
fn stuck(rig: &Rig, path: &str) -> Client {
    let client = rig.world.connect(rig.listener, 1 << 16, 1 << 10);
    client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    client
}

/// All of a body, in turns that take no more time than they do.
fn at_once(rig: &mut Rig, path: &str, body: &[u8]) {
    let client = rig.ask(path);
    let mut got = Vec::new();
    for _ in 0..10_000 {
        if got.ends_with(body) {
            return client.close();
        }
        rig.turn();
        got.extend(client.read(usize::MAX));
    }
    panic!("{path} does not come: {} bytes", got.len());
}

#[test]
fn what_the_page_cache_loses_is_read_past_it_until_it_keeps_it_again() {
    let mut rig = rig();
    let second = Duration::from_secs(1);
    let all = FILES as u64;
    walk(&mut rig, second);
    assert_eq!(chosen(&rig, Reason::Once), all, "nobody has asked for them before");
    walk(&mut rig, second);
    assert_eq!(chosen(&rig, Reason::Cold), all, "nothing is known against the page cache");
    // Whatever was read into it is gone when it is asked for again.
    for _ in 0..3 {
        chill(&rig);
        walk(&mut rig, second);
    }
    assert!(rig.shard.cache.page_cache_lost.read() > 0);
    let rare = chosen(&rig, Reason::Rare);
    assert!(rare > all, "{rare}");
    // From now on it keeps everything: what is tried now and then shows that.
    let mut walks = 0;
    while chosen(&rig, Reason::Resident) < all {
        walk(&mut rig, second);
        walks += 1;
        assert!(walks * FILES < ASKS_MAX, "it is never noticed");
    }
    assert!(rig.shard.cache.page_cache_kept.read() > 0);
}

#[test]
fn what_the_page_cache_keeps_goes_into_it_the_second_time() {
    let mut rig = rig();
    for _ in 0..5 {
        walk(&mut rig, Duration::from_millis(300));
    }
    let all = FILES as u64;
    let counts = [Reason::Once, Reason::Cold, Reason::Resident, Reason::Rare];
    assert_eq!(counts.map(|why| chosen(&rig, why)), [all, all, 3 * all, 0]);
}

/// Nobody but its owner is told of a file's place in memory without reading it.
#[test]
fn a_file_of_another_user_is_not_taken_to_be_lost() {
    let mut rig = rig();
    rig.world.give_away();
    for _ in 0..5 {
        walk(&mut rig, Duration::from_secs(2));
    }
    let lost = rig.shard.cache.page_cache_lost.read();
    assert_eq!((lost, chosen(&rig, Reason::Rare)), (0, 0));
    // A read would tell of them at first, but may begin one of the disk, so nobody looks.
    let all = FILES as u64;
    assert_eq!(chosen(&rig, Reason::Unknown), all);
    assert_eq!(chosen(&rig, Reason::Resident), 4 * all);
}

/// What was found in the page cache counts for a quarter of a second, and for no longer than until
/// memory is short.
#[test]
fn under_memory_pressure_the_page_cache_is_asked_again() {
    for pressed in [false, true] {
        let world = World::new(6);
        let body = vec![b'p'; BYTES];
        world.file("p", body.clone());
        let mut rig = Rig::auto(world);
        for _ in 0..2 {
            whole(&mut rig, "/p", &body);
        }
        // In the next turn, so that all of this is younger than what was found.
        rig.world.evict("p");
        if pressed {
            rig.world.add(rig.pressure, 1);
            rig.turn();
        }
        whole(&mut rig, "/p", &body);
        assert_eq!(rig.world.stalled() > 0, !pressed, "who looks again sends nothing cold");
        assert_eq!(rig.shard.ring.pressed.read(), u64::from(pressed));
    }
}

#[test]
fn a_mount_that_may_block_has_a_reason_of_its_own() {
    let world = World::new(7);
    let body = vec![b'm'; BYTES];
    world.mount("far", MountKind::Blocking);
    world.file("far/m", body.clone());
    world.chill("far/m");
    let mut rig = Rig::auto(world);
    whole(&mut rig, "/far/m", &body);
    assert_eq!(chosen(&rig, Reason::MayBlock), 1);
}

#[test]
fn a_slow_client_has_a_reason_of_its_own() {
    let world = World::new(8);
    let body = vec![b's'; 1 << 20];
    world.file("s", body.clone());
    let mut rig = Rig::auto(world);
    let client = rig.world.connect(rig.listener, 1 << 16, 8 << 10);
    let request = "GET /s HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..2 {
        client.write(request.as_bytes());
        let mut got = Vec::new();
        while !got.ends_with(&body[..1000]) || got.len() < body.len() {
            rig.turn();
            got.extend(client.read(usize::MAX));
            // 8 KiB each time: far less than a MiB a second.
            rig.world.pass(Duration::from_millis(100));
        }
    }
    assert_eq!(chosen(&rig, Reason::SlowClient), 1, "the second body");
}

#[test]
fn a_body_whose_begin_is_in_the_block_cache_has_a_reason_of_its_own() {
    let world = World::new(9);
    let body = vec![b'k'; BYTES];
    world.file("k", body.clone());
    world.chill("k");
    // Of what was changed just now nothing is kept.
    world.pass(Duration::from_secs(5));
    let mut rig = Rig::auto_with_blocks(world, 64);
    whole(&mut rig, "/k", &body);
    assert_eq!([Reason::Once, Reason::Kept].map(|why| chosen(&rig, why)), [1, 0]);
    for count in 1..=3 {
        whole(&mut rig, "/k", &body);
        assert_eq!(chosen(&rig, Reason::Kept), count);
    }
}

/// Nobody can ask for them any more, and others want the room.
#[test]
fn the_blocks_of_a_file_go_with_it() {
    let world = World::new(10);
    for name in ["one", "two", "stays"] {
        world.file(name, vec![b'k'; BYTES]);
    }
    world.pass(Duration::from_secs(5));
    let mut rig = Rig::watching(world, Kind::Direct);
    for name in ["/one", "/two", "/stays"] {
        whole(&mut rig, name, &[b'k'; BYTES]);
    }
    let kept = |rig: &Rig| rig.shard.cache.block_bytes.read();
    let all = kept(&rig);
    rig.world.file("one", "another");
    whole(&mut rig, "/one", b"another");
    rig.world.remove("two");
    let client = rig.ask("/two");
    assert!(rig.first_of(&client).starts_with("HTTP/1.1 404"));
    rig.turn();
    // The new one takes a block at most.
    assert!((all / 3..=all / 3 + 4096).contains(&kept(&rig)), "{} of {all}", kept(&rig));
    whole(&mut rig, "/stays", &[b'k'; BYTES]);
    assert!(rig.shard.cache.block_hits.read() > 0);
}

/// Clients that take nothing hold every block; who comes then does not wait for one.
#[test]
fn a_block_cache_without_room_has_a_reason_of_its_own() {
    let mut rig = rig();
    let stuck: Vec<_> = (0..FILES - 1).map(|number| stuck(&rig, &format!("/f{number}"))).collect();
    // Some turns: one of them waits for room in the cache by then.
    for _ in 0..50 {
        rig.turn();
    }
    let before = chosen(&rig, Reason::NoBlock);
    let last = FILES - 1;
    at_once(&mut rig, &format!("/f{last}"), &vec![last as u8; BYTES]);
    assert_eq!(chosen(&rig, Reason::NoBlock), before + 1);
    drop(stuck);
}

/// Clients that take nothing hold every buffer; what is small then travels without one.
#[test]
fn a_pool_without_a_buffer_has_a_reason_of_its_own() {
    let world = World::new(10);
    let body = vec![b'b'; 10_000];
    world.file("b", body.clone());
    let mut rig = Rig::auto(world);
    at_once(&mut rig, "/b", &body);
    assert_eq!([Reason::Small, Reason::NoBuffer].map(|why| chosen(&rig, why)), [1, 0]);
    let mut held = Vec::new();
    // One after the other: what is chosen for many at once finds the same buffer free.
    while chosen(&rig, Reason::NoBuffer) == 0 {
        assert!(held.len() < 64, "the pool has fewer buffers");
        held.push(stuck(&rig, "/b"));
        for _ in 0..10 {
            rig.turn();
        }
    }
    let before = chosen(&rig, Reason::NoBuffer);
    at_once(&mut rig, "/b", &body);
    assert_eq!(chosen(&rig, Reason::NoBuffer), before + 1);
    drop(held);
}

/// What the block cache has is sent from there, a copy each time. One more read of the disk brings
/// what is asked for often into the page cache.
#[test]
fn what_is_asked_for_often_moves_from_the_block_cache_to_the_page_cache() {
    let world = World::new(6);
    let body = vec![b'o'; BYTES];
    world.file("often", body.clone());
    let mut rig = Rig::auto_with_blocks(world, 64);
    rig.world.chill("often");
    // What was changed just now is not kept.
    rig.world.pass(Duration::from_secs(10));
    for _ in 0..10 {
        whole(&mut rig, "/often", &body);
        rig.world.pass(Duration::from_millis(10));
    }
    let counts = [Reason::Once, Reason::Kept, Reason::Resident];
    assert_eq!(counts.map(|why| chosen(&rig, why)), [1, 4, 5]);
}

/// The file may be larger than all memory.
#[test]
fn of_a_part_that_is_asked_for_often_only_the_part_is_moved() {
    let world = World::new(6);
    world.file("large", vec![b'l'; 1 << 20]);
    let mut rig = Rig::auto_with_blocks(world, 64);
    rig.world.chill("large");
    rig.world.pass(Duration::from_secs(10));
    let last = 8192 + BYTES - 1;
    let ask = format!("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=8192-{last}\r\n\r\n");
    for _ in 0..10 {
        let client = rig.world.connect(rig.listener, 1 << 20, 1 << 20);
        client.write(ask.as_bytes());
        let mut got = Vec::new();
        while !got.ends_with(&[b'l'; BYTES]) {
            assert!(!rig.worker.turn().unwrap());
            got.extend(client.read(usize::MAX));
        }
        client.close();
        rig.world.pass(Duration::from_millis(10));
    }
    assert_eq!(rig.shard.cache.page_cache_brought.read(), BYTES as u64);
    assert!(chosen(&rig, Reason::Resident) > 0);
}

/// Of more files than are kept open most are closed before they are asked for again.
#[test]
fn files_are_remembered_that_were_closed_meanwhile() {
    const MANY: usize = 600;
    let world = World::new(6);
    let body = vec![b'm'; BYTES];
    for number in 0..MANY {
        world.file(&format!("m{number}"), body.clone());
        world.chill(&format!("m{number}"));
    }
    let mut rig = Rig::auto(world);
    let mut walk = || {
        for number in 0..MANY {
            whole(&mut rig, &format!("/m{number}"), &body);
        }
        [Reason::Once, Reason::Cold, Reason::Resident].map(|why| chosen(&rig, why) as usize)
    };
    assert_eq!(walk(), [MANY, 0, 0]);
    assert_eq!(walk(), [2 * MANY, 0, 0], "twice may be by chance");
    assert_eq!(walk(), [2 * MANY, MANY, 0]);
    assert_eq!(walk(), [2 * MANY, MANY, MANY], "the page cache has them now");
}

/// Where reads are noted (relatime), the first one after a change and the first of a day write to
/// the disk, and wait for its journal. The simulated kernel sees that the loop makes none of them.
#[test]
fn a_read_that_is_noted_is_left_to_a_thread_of_the_kernel() {
    const SIZES: [usize; 5] = [0, 100, 20_000, BYTES, 20 << 20];
    for engine in Kind::ALL.into_iter().filter(|engine| *engine != Kind::Copy) {
        for case in 0..8 {
            let (resident, of_others, far) = (case & 1 == 0, case & 2 == 0, case & 4 == 0);
            let world = World::new(6);
            world.note_access(1, far);
            for (number, size) in SIZES.into_iter().enumerate() {
                world.file(&format!("n{number}"), vec![number as u8 + 1; size]);
            }
            if of_others {
                world.give_away();
            }
            let mut rig = Rig::with_engine(world, Vec::new(), engine);
            for _day in 0..2 {
                for (number, size) in SIZES.into_iter().enumerate() {
                    for _ in 0..3 {
                        if !resident {
                            rig.world.chill(&format!("n{number}"));
                        }
                        whole(&mut rig, &format!("/n{number}"), &vec![number as u8 + 1; size]);
                        rig.world.pass(Duration::from_secs(1));
                    }
                }
                rig.world.pass(Duration::from_secs(24 * 3600));
            }
        }
    }
}
