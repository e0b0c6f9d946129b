//! How `auto` learns whether the page cache keeps what is read into it.

use std::time::Duration;

use pitcrew::engines::Reason;
use pitcrew::ring::simulated::World;

use super::worker::Rig;

const FILES: usize = 8;
const BYTES: usize = 100_000;
const ASKS_MAX: usize = 2000;

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
        let client = rig.ask(&format!("/f{number}"));
        let mut got = Vec::new();
        while !got.ends_with(&vec![number as u8; BYTES]) {
            assert!(!rig.worker.turn().unwrap());
            got.extend(client.read(usize::MAX));
        }
        client.close();
        rig.world.pass(apart);
    }
}

fn chosen(rig: &Rig, why: Reason) -> u64 {
    rig.shard.engines.choices(why).read()
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
