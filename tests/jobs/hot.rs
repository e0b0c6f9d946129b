//! Small bodies in memory: in one send with their heads, and never older than the file.

use std::time::Duration;

use pitcrew::limits::WRITTEN_BACK;
use pitcrew::ring::Technique;
use pitcrew::ring::simulated::{Fault, World};
use rustix::io::Errno;

use super::worker::Rig;

/// Longer than a file has to be unchanged to be kept.
const A_WHILE: Duration = Duration::from_secs(5);

fn rig(hot_bytes: u64) -> Rig {
    let world = World::new(9);
    for number in 0..20 {
        world.file(&format!("f{number}"), body(number));
    }
    world.file("middle", vec![b'm'; 10_000]);
    world.file("large", vec![b'x'; 20_000]);
    world.pass(A_WHILE);
    Rig::with(world, true, hot_bytes)
}

fn body(number: usize) -> String {
    format!("{number:02}").repeat(50)
}

fn get(rig: &mut Rig, path: &str) -> String {
    let client = rig.ask(path);
    let answer = rig.first_of(&client);
    client.close();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn count(rig: &Rig, technique: Technique) -> u64 {
    rig.shard.ring.technique(technique).operations.read()
}

fn hits(rig: &Rig) -> u64 {
    rig.shard.cache.hot_hits.read()
}

/// Asks until the body is in memory.
fn heat(rig: &mut Rig, path: &str) {
    for _ in 0..8 {
        get(rig, path);
    }
}

#[test]
fn a_hot_body_leaves_with_its_head_in_one_send() {
    let mut rig = rig(1 << 20);
    heat(&mut rig, "/f3");
    let (sends, sendfiles, before) =
        (count(&rig, Technique::Send), count(&rig, Technique::Sendfile), hits(&rig));
    assert_eq!(get(&mut rig, "/f3"), body(3));
    assert_eq!(hits(&rig), before + 1);
    assert_eq!(count(&rig, Technique::Send), sends + 1);
    assert_eq!(count(&rig, Technique::Sendfile), sendfiles);
    // Pipelined ones too.
    let client = rig.ask_times("/f3", 16);
    rig.first_of(&client);
    assert_eq!(hits(&rig), before + 17);
    assert_eq!(count(&rig, Technique::Send), sends + 2);
}

/// Asks for it through so small a window, and waits for all of the body.
fn middle(rig: &mut Rig, window: usize) {
    let client = rig.world.connect(rig.listener, 1 << 16, window);
    client.write(b"GET /middle HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut got, body) = (Vec::new(), [b'm'; 10_000]);
    // Some turns for each byte, in the narrowest.
    for _ in 0..100_000 {
        if got.ends_with(&body) {
            break;
        }
        assert!(!rig.worker.turn().unwrap());
        got.extend(client.read(window));
    }
    let head = got.strip_suffix(&body).expect("the body comes whole, behind its head");
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n") && head.ends_with(b"\r\n\r\n"));
    client.close();
}

#[test]
fn a_larger_one_is_gathered_and_not_copied() {
    let mut rig = rig(1 << 20);
    heat(&mut rig, "/middle");
    let (sends, gathers) = (count(&rig, Technique::Send), count(&rig, Technique::SendMsg));
    middle(&mut rig, 1 << 20);
    assert_eq!(count(&rig, Technique::SendMsg), gathers + 1);
    assert_eq!(count(&rig, Technique::Send), sends);
    // A small window takes it in parts, and the rest follows.
    for window in [1, 100, 5000] {
        middle(&mut rig, window);
    }
}

#[test]
fn what_is_asked_for_once_or_large_is_not_kept() {
    let mut rig = rig(1 << 20);
    for number in 0..20 {
        get(&mut rig, &format!("/f{number}"));
    }
    heat(&mut rig, "/large");
    assert_eq!(rig.shard.cache.hot_kept.read(), 0);
    let mut without = self::rig(0);
    heat(&mut without, "/f1");
    assert_eq!(without.shard.cache.hot_kept.read(), 0);
}

#[test]
fn a_change_is_seen_at_once_and_drops_the_bytes() {
    let mut rig = rig(1 << 20);
    heat(&mut rig, "/f1");
    assert_eq!(rig.shard.cache.hot_bytes.read(), 1024, "whole sectors, and what aligns them");
    rig.world.resize("f1", 40);
    assert_eq!(get(&mut rig, "/f1"), body(1)[..40]);
    // Changed just now, it is not kept again yet.
    heat(&mut rig, "/f1");
    assert_eq!(rig.shard.cache.hot_bytes.read(), 0);
    rig.world.pass(A_WHILE);
    heat(&mut rig, "/f1");
    assert_eq!(rig.shard.cache.hot_bytes.read(), 1024);
    rig.world.file("f1", "another");
    assert_eq!(get(&mut rig, "/f1"), "another");
    assert_eq!(rig.shard.cache.hot_bytes.read(), 0);
}

/// A store into a page that was stored into a moment before, and not written back since, changes no
/// time of the file (mmap(2), MAP_SHARED).
#[test]
fn what_was_read_before_the_kernel_wrote_pages_back_is_read_once_more() {
    let mut rig = rig(1 << 20);
    heat(&mut rig, "/f1");
    let stored = "new ".repeat(25);
    rig.world.store("f1", stored.clone());
    assert_eq!(get(&mut rig, "/f1"), body(1), "nobody can tell");
    rig.world.pass(WRITTEN_BACK);
    assert_eq!(get(&mut rig, "/f1"), stored);
    heat(&mut rig, "/f1");
    let (before, reads) = (hits(&rig), count(&rig, Technique::Read));
    rig.world.pass(WRITTEN_BACK);
    heat(&mut rig, "/f1");
    assert_eq!(hits(&rig), before + 8, "and it stays");
    assert_eq!(count(&rig, Technique::Read), reads);
}

#[test]
fn a_body_that_was_read_short_or_not_at_all_is_not_kept() {
    for fault in [Fault::Short(7), Fault::Fail(Errno::IO), Fault::Shrink(50)] {
        let mut rig = rig(1 << 20);
        rig.world.script(Technique::Read, 0, fault);
        get(&mut rig, "/f2");
        for _ in 0..4 {
            let got = get(&mut rig, "/f2");
            assert!(body(2).starts_with(&got), "{got}");
        }
        rig.world.pass(A_WHILE);
        heat(&mut rig, "/f2");
        assert!(hits(&rig) > 0, "it is tried again after {fault:?}");
    }
}

#[test]
fn bodies_stay_within_their_budget() {
    let mut rig = rig(5 * 512 + 50);
    for round in 0..6 {
        for number in 0..20 {
            assert_eq!(get(&mut rig, &format!("/f{number}")), body(number), "{round}");
            assert!(rig.shard.cache.hot_bytes.read() <= 5 * 512);
        }
    }
    assert!(rig.shard.cache.hot_kept.read() > 5);
    assert!(rig.shard.cache.hot_evicted.read() > 0);
}
