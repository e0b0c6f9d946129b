//! The cache of blocks behind the engine `direct`, with many connections over one simulated
//! kernel: what is read, what is not read again, and what happens when the disk or the file does
//! something else than hoped.

#![allow(clippy::unwrap_used)]

#[path = "blocks/bench.rs"]
mod bench;
mod quarantine;

use std::time::Duration;

use bench::{BLOCK, Bench, Setup, content};
use pitcrew::engines::{BodyError, Decline, Step};
use pitcrew::limits::{SEND_BYTES_MAX, SETTLED_COARSE};
use pitcrew::ring::simulated::{Fault, Faults, Random};
use pitcrew::ring::{MountKind, Technique};
use rustix::io::Errno;

fn setup() -> Setup {
    Setup { buffers: 16, foresees: false, send_buffer: 1 << 20, block: BLOCK }
}

#[test]
fn what_was_read_is_not_read_again() {
    let mut bench = Bench::new(1, setup());
    let bytes = bench.file("a", 5 * BLOCK + 77);
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    let reads = bench.operations(Technique::DirectRead);
    assert_eq!(reads, 6, "each block once");
    for (offset, count) in [(0, bytes.len()), (1, 3 * BLOCK), (5 * BLOCK, 77)] {
        bench.serve("a", offset as u64, count as u64).whole(&bytes[offset..offset + count]);
    }
    assert_eq!(bench.operations(Technique::DirectRead), reads, "and never again");
    assert!(bench.stats().block_hits.read() >= 10);
    assert_eq!(bench.stats().block_misses.read() + bench.stats().block_ahead.read(), 6);
    bench.end();
}

/// A block that goes in several sends is one that was asked for, and used, once.
#[test]
fn a_block_of_many_sends_is_asked_for_once() {
    let block = 8 * SEND_BYTES_MAX;
    let mut bench = Bench::new(26, Setup { buffers: 4, send_buffer: 2 * block, block, ..setup() });
    let bytes = bench.file("a", block);
    bench.serve("a", 0, block as u64).whole(&bytes);
    assert!(bench.operations(Technique::SendMsg) + bench.operations(Technique::Send) >= 8);
    assert_eq!(bench.stats().block_hits.read(), 0, "it was a miss");
    bench.serve("a", 0, block as u64).whole(&bytes);
    assert_eq!(bench.stats().block_hits.read(), 1);
    assert_eq!(bench.operations(Technique::DirectRead), 1);
    bench.end();
}

#[test]
fn a_head_leaves_with_the_first_bytes_in_one_call() {
    let mut bench = Bench::new(1, setup());
    let bytes = bench.file("a", 3000);
    bench.serve("a", 0, 3000).whole(&bytes);
    assert_eq!(bench.operations(Technique::SendMsg), 1);
    assert_eq!(bench.operations(Technique::Send), 0);
    bench.end();
}

#[test]
fn many_who_ask_for_one_block_cause_one_read() {
    let mut bench = Bench::new(2, setup());
    let bytes = bench.file("a", 2 * BLOCK);
    bench.world.script_every(Technique::DirectRead, 1, Fault::Late(Duration::from_millis(5)));
    let bodies: Vec<_> = (0..20).map(|_| bench.begin("a", 0, bytes.len() as u64)).collect();
    bench.run();
    for body in bodies {
        bench.result(body).whole(&bytes);
    }
    assert_eq!(bench.operations(Technique::DirectRead), 2);
    assert_eq!(bench.stats().block_shared.read(), 19 + 19, "all others waited for the same reads");
    bench.end();
}

/// Each would take the block from the other for ever, were it read for the last who asked alone.
#[test]
fn those_who_want_other_parts_of_one_block_all_come_to_their_end() {
    let mut bench = Bench::new(27, setup());
    let bytes = bench.file("a", BLOCK);
    bench.world.script_every(Technique::DirectRead, 1, Fault::Late(Duration::from_millis(5)));
    let parts = [0..100, 4 * 512..5 * 512, BLOCK - 10..BLOCK, 512..600];
    let bodies = parts.clone().map(|part| {
        let body = bench.begin("a", part.start as u64, part.len() as u64);
        bench.turn();
        body
    });
    bench.run();
    for (part, body) in parts.into_iter().zip(bodies) {
        bench.result(body).whole(&bytes[part]);
    }
    assert!(bench.operations(Technique::DirectRead) <= 3, "read alone, then for all who wait");
    bench.end();
}

/// The read under way goes on to what is asked for meanwhile, on both sides of it.
#[test]
fn no_byte_of_a_block_is_read_twice_for_those_who_ask_at_once() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (seed, order) in orders.into_iter().enumerate() {
        // The block is longer than the file.
        for size in [BLOCK, 3000] {
            let mut bench = Bench::new(seed as u64, setup());
            let bytes = bench.file("a", size);
            let late = Fault::Late(Duration::from_millis(5));
            bench.world.script_every(Technique::DirectRead, 1, late);
            let parts = [0..100, 1030..2000, size - 10..size];
            let bodies = order.map(|which| {
                let part = parts[which].clone();
                let body = bench.begin("a", part.start as u64, part.len() as u64);
                bench.brief_turn();
                (body, part)
            });
            bench.run();
            for (body, part) in bodies {
                bench.result(body).whole(&bytes[part]);
            }
            let (reads, read) =
                (bench.operations(Technique::DirectRead), bench.bytes(Technique::DirectRead));
            assert_eq!((reads <= 3, read), (true, size as u64), "{order:?} of {size}: {reads}");
            assert_eq!(bench.stats().block_misses.read(), 1, "{order:?}: one read for all");
            bench.end();
        }
    }
}

/// The part that could be read is not lost with the one that could not.
#[test]
fn a_part_that_cannot_be_read_spoils_no_other() {
    let mut bench = Bench::new(29, setup());
    let bytes = bench.file("a", BLOCK);
    bench.world.script(Technique::DirectRead, 0, Fault::Late(Duration::from_millis(5)));
    bench.world.script(Technique::DirectRead, 1, Fault::Fail(Errno::IO));
    bench.world.script(Technique::DirectRead, 2, Fault::Fail(Errno::IO));
    let first = bench.begin("a", 0, 100);
    bench.brief_turn();
    let second = bench.begin("a", 4096, 100);
    bench.run();
    bench.result(first).whole(&bytes[..100]);
    assert_eq!(bench.result(second).end, Step::Failed(BodyError::Read(Errno::IO)));
    bench.world.pass(Duration::from_millis(1));
    bench.turn();
    bench.serve("a", 4096, 100).whole(&bytes[4096..4196]);
    bench.end();
}

#[test]
fn a_client_that_leaves_strands_nobody() {
    let mut bench = Bench::new(3, setup());
    let bytes = bench.file("a", BLOCK);
    bench.world.script_every(Technique::DirectRead, 1, Fault::Late(Duration::from_millis(5)));
    let first = bench.begin("a", 0, BLOCK as u64);
    let second = bench.begin("a", 0, BLOCK as u64);
    bench.turn();
    bench.leave(first);
    bench.run();
    bench.result(second).whole(&bytes);
    assert_eq!(bench.operations(Technique::DirectRead), 1);
    bench.end();
}

/// Of a file whose begin alone is kept the rest would be read from the disk each time.
#[test]
fn a_file_is_kept_as_long_as_all_of_its_blocks_are() {
    let mut bench = Bench::new(25, Setup { buffers: 128, ..setup() });
    let bytes = bench.file("a", 100 * BLOCK + 100);
    assert!(!bench.keeps("a", 1) && !bench.keeps("a", 0));
    bench.serve("a", 0, 3 * BLOCK as u64).whole(&bytes[..3 * BLOCK]);
    bench.serve("a", 3 * BLOCK as u64, 50).whole(&bytes[3 * BLOCK..][..50]);
    assert!(bench.keeps("a", 1) && bench.keeps("a", 3 * BLOCK + 50));
    assert!(!bench.keeps("a", 4 * BLOCK), "the last one is there in part");
    assert!(!bench.keeps("a", 5 * BLOCK) && !bench.keeps("a", bytes.len()));
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    assert!(bench.keeps("a", bytes.len()));
    bench.end();
}

#[test]
fn a_replaced_file_is_another() {
    let mut bench = Bench::new(4, setup());
    let before = bench.file("a", 2 * BLOCK);
    bench.serve("a", 0, before.len() as u64).whole(&before);
    bench.world.pass(Duration::from_secs(1));
    let after = bench.file("a", 2 * BLOCK);
    assert_ne!(before, after);
    bench.serve("a", 0, after.len() as u64).whole(&after);
    assert_eq!(bench.operations(Technique::DirectRead), 4, "nothing of the old one was taken");
    bench.end();
}

#[test]
fn a_file_cut_between_blocks_cuts_the_body_and_pads_nothing() {
    let mut bench = Bench::new(5, Setup { send_buffer: 10_000, ..setup() });
    let bytes = bench.file("a", 40 * BLOCK);
    let body = bench.begin("a", 0, bytes.len() as u64);
    for _ in 0..6 {
        bench.turn();
    }
    bench.world.resize("a", 20 * BLOCK as u64 + 5);
    bench.run();
    let result = bench.result(body);
    result.prefix(&bytes);
    assert_eq!(result.end, Step::Failed(BodyError::Truncated));
    assert!(result.wire.len() <= 20 * BLOCK + 5 + bench::HEAD.len());
    bench.end();
}

/// What was read after the write is not sent under the validators of before.
#[test]
fn a_file_written_to_in_place_cuts_the_body() {
    let mut bench = Bench::new(28, Setup { send_buffer: 10_000, ..setup() });
    let bytes = bench.file("a", 40 * BLOCK);
    let body = bench.begin("a", 0, bytes.len() as u64);
    for _ in 0..6 {
        bench.turn();
    }
    bench.world.rewrite("a", content(99, bytes.len()));
    bench.run();
    let result = bench.result(body);
    result.prefix(&bytes);
    assert_eq!(result.end, Step::Failed(BodyError::Changed));
    assert!((1..bytes.len()).contains(&result.wire.len()), "begun, and not ended");
    bench.end();
}

#[test]
fn what_was_read_of_a_file_that_grew_meanwhile_is_served_and_not_kept() {
    let mut bench = Bench::new(6, setup());
    let bytes = bench.file("a", BLOCK / 2);
    bench.world.script(Technique::DirectRead, 0, Fault::Late(Duration::from_millis(5)));
    let body = bench.begin("a", 0, bytes.len() as u64);
    bench.turn();
    bench.world.resize("a", BLOCK as u64);
    bench.run();
    bench.result(body).whole(&bytes);
    assert_eq!(bench.blocks.clear(), 0);
    assert_eq!(bench.stats().block_bytes.read(), 0, "nothing was kept");
    bench.end();
}

/// A log that is written to while it is sent: what is read ahead of it would be thrown away.
#[test]
fn a_file_that_grows_all_the_time_is_read_once() {
    const BLOCKS: usize = 40;
    let mut bench = Bench::new(27, Setup { send_buffer: 3 * BLOCK, ..setup() });
    let bytes = bench.file("a", BLOCKS * BLOCK);
    let body = bench.begin("a", 0, bytes.len() as u64);
    let mut size = bytes.len() as u64;
    while bench.goes_on(body) {
        size += 100;
        bench.world.resize("a", size);
        bench.turn();
    }
    bench.result(body).whole(&bytes);
    let reads = bench.operations(Technique::DirectRead);
    assert!(reads <= BLOCKS as u64 * 11 / 10, "{reads} reads of {BLOCKS} blocks");
    bench.end();
}

#[test]
fn a_disk_that_fails_in_the_middle_cuts_and_the_next_request_reads_again() {
    let mut bench = Bench::new(7, Setup { buffers: 8, ..setup() });
    let bytes = bench.file("a", 9 * BLOCK);
    bench.world.script(Technique::DirectRead, 2, Fault::Fail(Errno::IO));
    let result = bench.serve("a", 0, bytes.len() as u64);
    result.prefix(&bytes);
    assert_eq!(result.end, Step::Failed(BodyError::Read(Errno::IO)));
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    bench.end();
    let mut bench = Bench::new(7, setup());
    bench.file("b", BLOCK);
    bench.world.script(Technique::Stat, 0, Fault::Fail(Errno::IO));
    let result = bench.serve("b", 0, BLOCK as u64);
    assert_eq!(result.end, Step::Failed(BodyError::Read(Errno::IO)));
    bench.end();
}

#[test]
fn a_refused_first_read_is_a_reason_to_decline_with_everything_given_back() {
    let mut bench = Bench::new(8, setup());
    bench.file("a", 3 * BLOCK);
    bench.world.script_every(Technique::DirectRead, 1, Fault::Fail(Errno::INVAL));
    let result = bench.serve("a", 0, 3 * BLOCK as u64);
    assert_eq!(result.end, Step::Declined(Decline::Unsupported(Errno::INVAL)));
    assert!(result.wire.is_empty());
    bench.end();
}

#[test]
fn clients_that_take_nothing_hold_up_nobody() {
    // Two buffers, and two clients who sit on one each.
    let mut bench = Bench::new(9, Setup { buffers: 2, send_buffer: 100, ..setup() });
    let bytes = bench.file("a", 8 * BLOCK);
    let idle: Vec<_> =
        [0, 3].map(|at| bench.begin("a", at * BLOCK as u64, BLOCK as u64)).into_iter().collect();
    for body in &idle {
        bench.sleeps(*body, true);
    }
    for _ in 0..20 {
        bench.turn();
    }
    let busy: Vec<_> = (0..5).map(|_| bench.begin("a", 0, bytes.len() as u64)).collect();
    bench.run_until(&busy);
    for body in busy {
        bench.result(body).whole(&bytes);
    }
    assert!(bench.stats().block_exhausted.read() > 0, "somebody went on without");
    for body in idle {
        bench.sleeps(body, false);
    }
    bench.run();
    bench.end();
}

#[test]
fn a_disk_that_hangs_holds_up_no_blocks_of_others() {
    let mut bench = Bench::new(15, Setup { buffers: 8, ..setup() });
    let mount = bench.world.mount("hung", MountKind::NonBlocking);
    let names: Vec<_> = (0..20).map(|number| format!("hung/{number}")).collect();
    let hung: Vec<_> = names.iter().map(|name| bench.file(name, 3 * BLOCK)).collect();
    let bytes = bench.file("a", 20 * BLOCK);
    bench.world.hang(mount, true);
    let waiting: Vec<_> = names.iter().map(|name| bench.begin(name, 0, 3 * BLOCK as u64)).collect();
    for _ in 0..9 {
        bench.world.pass(Duration::from_millis(50));
        bench.turn();
    }
    for _ in 0..3 {
        bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    }
    assert_eq!(bench.stats().block_exhausted.read(), 0, "with blocks, as ever");
    bench.world.hang(mount, false);
    bench.run();
    for (body, bytes) in waiting.into_iter().zip(hung) {
        bench.result(body).whole(&bytes);
    }
    bench.end();
}

#[test]
fn two_disks_that_hang_hold_up_no_blocks_of_a_third() {
    let mut bench = Bench::new(24, Setup { buffers: 8, ..setup() });
    let bytes = bench.file("a", 20 * BLOCK);
    let mut waiting = Vec::new();
    for name in ["one", "two"] {
        let mount = bench.world.mount(name, MountKind::NonBlocking);
        let path = format!("{name}/0");
        let hung = bench.file(&path, 20 * BLOCK);
        bench.world.hang(mount, true);
        for at in 0..20 {
            let body = bench.begin(&path, (at * BLOCK) as u64, BLOCK as u64);
            waiting.push((mount, body, hung[at * BLOCK..(at + 1) * BLOCK].to_vec()));
        }
    }
    for _ in 0..9 {
        bench.world.pass(Duration::from_millis(50));
        bench.turn();
    }
    for _ in 0..3 {
        bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    }
    assert_eq!(bench.stats().block_exhausted.read(), 0, "with blocks, as ever");
    for (mount, ..) in &waiting {
        bench.world.hang(*mount, false);
    }
    bench.run();
    for (_, body, bytes) in waiting {
        bench.result(body).whole(&bytes);
    }
    bench.end();
}

/// What was read ahead of bodies whose disks hang leaves room to read ahead of others.
#[test]
fn two_disks_that_hang_leave_a_third_room_to_read_ahead() {
    let mut bench = Bench::new(29, Setup { buffers: 64, send_buffer: 3 * BLOCK, ..setup() });
    let bytes = bench.file("a", 20 * BLOCK);
    for name in ["one", "two"] {
        let mount = bench.world.mount(name, MountKind::NonBlocking);
        let names: Vec<_> = (0..20).map(|number| format!("{name}/{number}")).collect();
        for name in &names {
            bench.file(name, 20 * BLOCK);
        }
        let before = bench.stats().block_ahead.read();
        for name in &names {
            let body = bench.begin(name, 0, 20 * BLOCK as u64);
            bench.sleeps(body, true);
        }
        while bench.stats().block_ahead.read() == before {
            bench.turn();
        }
        bench.world.hang(mount, true);
        (0..3).for_each(|_| bench.turn());
    }
    let before = bench.stats().block_ahead.read();
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    assert!(bench.stats().block_ahead.read() > before + 5, "most of it is read ahead");
    for mount in [2, 3] {
        bench.world.hang(mount, false);
    }
    bench.end();
}

/// What is read ahead leaves a read to what is asked for, of the same disk, too.
#[test]
fn what_is_read_ahead_leaves_a_read_to_what_is_asked_for() {
    let mut bench = Bench::new(32, Setup { buffers: 256, send_buffer: 100, ..setup() });
    let mount = bench.world.mount("hung", MountKind::NonBlocking);
    let late = bench.file("hung/late", BLOCK);
    let names: Vec<_> = (0..8).map(|number| format!("hung/{number}")).collect();
    for name in &names {
        let bytes = bench.file(name, 20 * BLOCK);
        // The first block is kept, so that all that is read next is read ahead.
        bench.serve(name, 0, BLOCK as u64).whole(&bytes[..BLOCK]);
    }
    bench.world.hang(mount, true);
    let bodies: Vec<_> = names.iter().map(|name| bench.begin(name, 0, 20 * BLOCK as u64)).collect();
    bodies.iter().for_each(|body| bench.sleeps(*body, true));
    (0..9).for_each(|_| bench.turn());
    assert!(bench.stats().block_ahead.read() > 1, "much is read ahead");
    let before = bench.world.in_flight();
    let asked = bench.begin("hung/late", 0, BLOCK as u64);
    (0..9).for_each(|_| bench.turn());
    assert_eq!(bench.world.in_flight(), before + 1, "it waits for what nobody has asked for");
    bench.world.hang(mount, false);
    bench.run_until(&[asked]);
    bench.result(asked).whole(&late);
    bodies.iter().for_each(|body| bench.sleeps(*body, false));
    bench.run();
    bench.end();
}

/// Who has waited for a slow read does not go on without blocks because of that.
#[test]
fn the_time_of_a_slow_read_is_no_wait_for_a_buffer() {
    let mut bench = Bench::new(30, Setup { buffers: 1, send_buffer: 100, ..setup() });
    let bytes = bench.file("a", BLOCK);
    bench.world.script(Technique::DirectRead, 0, Fault::Late(Duration::from_millis(300)));
    let part = bench.begin("a", 0, 512);
    bench.sleeps(part, true);
    bench.turn();
    let whole = bench.begin("a", 0, BLOCK as u64);
    while bench.operations(Technique::Stat) == 0 || !bench.blocks.is_short() {
        bench.turn();
    }
    bench.nudge(whole);
    assert_eq!(bench.stats().block_exhausted.read(), 0, "it has only begun to wait for a buffer");
    bench.run_until(&[whole]);
    assert_eq!(bench.stats().block_exhausted.read(), 1, "the other one keeps the only buffer");
    bench.result(whole).whole(&bytes);
    bench.sleeps(part, false);
    bench.run();
    bench.end();
}

#[test]
fn an_alignment_that_blocks_do_not_have_is_a_reason_to_decline() {
    let mut bench = Bench::new(31, setup());
    bench.world.set_direct(Some((8192, 512)));
    bench.file("a", 3 * BLOCK);
    let result = bench.serve("a", 0, 3 * BLOCK as u64);
    assert_eq!(result.end, Step::Declined(Decline::Alignment));
    bench.world.set_direct(Some((512, 2 * BLOCK as u32)));
    bench.file("b", 3 * BLOCK);
    let result = bench.serve("b", 0, 3 * BLOCK as u64);
    assert_eq!(result.end, Step::Declined(Decline::Alignment));
    assert_eq!(bench.operations(Technique::DirectRead), 0);
    bench.end();
}

/// What a wake costs does not depend on how many wait for a mount that has its share.
#[test]
fn a_thousand_who_wait_for_a_disk_that_hangs_are_not_looked_at_one_by_one() {
    const MANY: usize = 1000;
    let mut bench = Bench::new(21, Setup { buffers: 8, ..setup() });
    let mount = bench.world.mount("hung", MountKind::NonBlocking);
    let hung = bench.file("hung/0", MANY * BLOCK);
    let bytes = bench.file("a", 20 * BLOCK);
    bench.world.hang(mount, true);
    let places = (0..MANY).map(|number| number * BLOCK);
    let waiting: Vec<_> =
        places.clone().map(|at| bench.begin("hung/0", at as u64, BLOCK as u64)).collect();
    for _ in 0..3 {
        bench.turn();
        assert!(!bench.blocks.has_work(), "nothing is to be started");
    }
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    assert!(!bench.blocks.has_work());
    bench.world.hang(mount, false);
    bench.run();
    for (body, at) in waiting.into_iter().zip(places) {
        bench.result(body).whole(&hung[at..at + BLOCK]);
    }
    bench.end();
}

/// Who has gone is waited for by nobody, and what it had waited for is not read.
#[test]
fn what_nobody_waits_for_any_more_is_not_read() {
    let mut bench = Bench::new(22, Setup { buffers: 16, ..setup() });
    let mount = bench.world.mount("hung", MountKind::NonBlocking);
    let hung = bench.file("hung/0", 40 * BLOCK);
    bench.world.hang(mount, true);
    let begin = |bench: &mut Bench, at: usize| bench.begin("hung/0", (at * BLOCK) as u64, 1000);
    let gone: Vec<_> = (0..20).map(|at| begin(&mut bench, at)).collect();
    let stays = begin(&mut bench, 20);
    let shares = begin(&mut bench, 19);
    bench.turn();
    let begun = bench.world.in_flight() as u64;
    assert!((1..=8).contains(&begun), "a share of the reads: {begun}");
    gone.into_iter().for_each(|body| bench.leave(body));
    bench.world.hang(mount, false);
    bench.run();
    bench.result(stays).whole(&hung[20 * BLOCK..][..1000]);
    bench.result(shares).whole(&hung[19 * BLOCK..][..1000]);
    assert_eq!(bench.operations(Technique::DirectRead), begun + 2);
    bench.end();
}

/// What waits to be read ahead for a body goes with it, unless another body comes to it, too.
#[test]
fn what_waits_to_be_read_ahead_is_not_read_for_a_body_that_has_gone() {
    let mut bench = Bench::new(35, Setup { buffers: 256, send_buffer: 100, ..setup() });
    let mount = bench.world.mount("hung", MountKind::NonBlocking);
    let names: Vec<_> = (0..8).map(|number| format!("hung/{number}")).collect();
    for name in &names {
        let bytes = bench.file(name, 20 * BLOCK);
        bench.serve(name, 0, BLOCK as u64).whole(&bytes[..BLOCK]);
    }
    let read = bench.stats().block_ahead.read();
    bench.world.hang(mount, true);
    let begin = |bench: &mut Bench, name: &str| {
        let body = bench.begin(name, 0, 20 * BLOCK as u64);
        bench.sleeps(body, true);
        bench.turn();
        body
    };
    let gone: Vec<_> = names.iter().map(|name| begin(&mut bench, name)).collect();
    let stays = begin(&mut bench, &names[7]);
    bench.turn();
    let begun = bench.stats().block_ahead.read() - read;
    assert!((1..6).contains(&begun), "a share of the reads: {begun}");
    gone.into_iter().for_each(|body| bench.leave(body));
    bench.world.hang(mount, false);
    (0..20).for_each(|_| bench.turn());
    assert_eq!(bench.stats().block_ahead.read() - read, begun + 1, "for the one that stays");
    bench.sleeps(stays, false);
    bench.run();
    assert_eq!(bench.stats().block_ahead_wasted.read(), 0, "somebody may still come to it");
    assert_eq!(bench.blocks.clear(), 0);
    assert_eq!(bench.stats().block_ahead_wasted.read(), begun, "what those who left had begun");
    bench.end();
}

/// Those who leave give back what they had of the room for what nobody has asked for.
#[test]
fn who_leaves_leaves_room_to_read_ahead() {
    let mut bench = Bench::new(23, Setup { buffers: 16, ..setup() });
    let bytes = bench.file("a", 40 * BLOCK);
    for _ in 0..20 {
        let body = bench.begin("a", 0, bytes.len() as u64);
        bench.turn();
        bench.leave(body);
    }
    bench.run();
    let before = bench.stats().block_ahead.read();
    bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    assert!(bench.stats().block_ahead.read() > before + 10, "most of it is read ahead");
    bench.end();
}

#[test]
fn a_file_larger_than_the_cache_passes_through_it() {
    let mut bench = Bench::new(10, Setup { buffers: 4, ..setup() });
    let bytes = bench.file("a", 50 * BLOCK + 1);
    for _ in 0..2 {
        bench.serve("a", 0, bytes.len() as u64).whole(&bytes);
    }
    assert!(bench.stats().block_evicted.read() >= 90);
    bench.end();
}

/// Who asks for a block part by part asks for it once, and who has waited for it is the one that
/// brought it: what passes so does not take the place of what is asked for again and again.
#[test]
fn a_scan_in_parts_washes_nothing_away_that_is_asked_for_again() {
    let mut bench = Bench::new(34, Setup { buffers: 20, ..setup() });
    let often = bench.file("often", 8 * BLOCK);
    let once = bench.file("once", 100 * BLOCK);
    for _ in 0..3 {
        bench.serve("often", 0, often.len() as u64).whole(&often);
    }
    let [first, second] = [(); 2].map(|()| bench.conversation());
    for at in (0..once.len()).step_by(BLOCK) {
        bench.serve_on(first, "once", at as u64, BLOCK as u64).whole(&once[at..][..BLOCK]);
        for part in (at..at + BLOCK).step_by(BLOCK / 4) {
            let result = bench.serve_on(second, "once", part as u64, BLOCK as u64 / 4);
            result.whole(&once[part..][..BLOCK / 4]);
        }
    }
    assert!(bench.keeps("often", often.len()), "all of it is still there");
    let misses = bench.stats().block_misses.read();
    bench.serve("often", 0, often.len() as u64).whole(&often);
    assert_eq!(bench.stats().block_misses.read(), misses);
    bench.end();
}

/// Bytes asked for and bytes read, of requests at random over some files.
fn read_at_random(foresees: bool, names: u64) -> (u64, u64) {
    const COUNT: u64 = 4096;
    let mut bench = Bench::new(11, Setup { foresees, ..setup() });
    let blocks = 400 / names.min(8) as usize;
    let files: Vec<_> =
        (0..names).map(|name| bench.file(&name.to_string(), blocks * BLOCK)).collect();
    let conversations = [(); 3].map(|()| bench.conversation());
    let mut random = Random::new(99);
    for number in 0..3000 {
        let name = random.below(names);
        let offset = random.below(blocks as u64 * 8 - 8) * 512;
        let expected = &files[name as usize][offset as usize..(offset + COUNT) as usize];
        let owner = conversations[number % 3];
        bench.serve_on(owner, &name.to_string(), offset, COUNT).whole(expected);
    }
    let bytes = bench.bytes(Technique::DirectRead);
    bench.end();
    (3000 * COUNT, bytes)
}

#[test]
fn requests_at_random_cost_less_than_two_in_a_hundred_more() {
    for names in [1, 4, 40] {
        for foresees in [false, true] {
            let (asked, read) = read_at_random(foresees, names);
            assert!(
                read * 100 < asked * 102,
                "{names} files, {foresees}: {read} instead of {asked}"
            );
        }
    }
}

/// Bytes read of whole files that are asked for at random, of which the cache holds some, and those
/// of them that were read in vain.
fn read_whole_at_random(foresees: bool, names: u64, blocks: usize, seed: u64) -> (u64, u64) {
    let buffers = names as usize * blocks * 2 / 3;
    let mut bench = Bench::new(seed, Setup { foresees, buffers, ..setup() });
    let files: Vec<_> =
        (0..names).map(|name| bench.file(&name.to_string(), blocks * BLOCK)).collect();
    let conversations = [(); 2].map(|()| bench.conversation());
    let mut random = Random::new(seed);
    for number in 0..1500 {
        let name = random.below(names);
        let owner = conversations[number % (1 + seed as usize % 2)];
        let all = (blocks * BLOCK) as u64;
        bench.serve_on(owner, &name.to_string(), 0, all).whole(&files[name as usize]);
    }
    let bytes = bench.bytes(Technique::DirectRead);
    let in_vain = bench.stats().foreseen_wasted.read() * BLOCK as u64;
    bench.end();
    (bytes, in_vain)
}

/// Which of few files comes next is often guessed right. What gives way to a wrong guess is read
/// once more; how much that is differs by chance, so it is taken of all together.
#[test]
fn whole_files_at_random_cost_less_than_two_in_a_hundred_more() {
    let [mut with, mut without] = [0, 0];
    for (names, blocks) in [(3, 8), (3, 4), (4, 8), (5, 4)] {
        for seed in 0..4 {
            let (read, in_vain) = read_whole_at_random(true, names, blocks, seed);
            assert!(in_vain * 100 < read, "{names} of {blocks}: {in_vain} in vain of {read}");
            with += read;
            without += read_whole_at_random(false, names, blocks, seed).0;
        }
    }
    assert!(with * 100 < without * 102, "{with} instead of {without}");
}

/// Nothing is there to be spent before it was earned.
#[test]
fn a_few_requests_at_random_cost_no_more_either() {
    const REQUESTS: u64 = 100;
    for (unit, count) in [(BLOCK, BLOCK), (BLOCK, 512), (512, 4096), (512, 512)] {
        for (seed, foresees) in (0..40).flat_map(|seed| [(seed, false), (seed, true)]) {
            let mut bench = Bench::new(seed, Setup { buffers: 32, foresees, ..setup() });
            let bytes = bench.file("a", 300 * BLOCK);
            let conversation = bench.conversation();
            let mut random = Random::new(seed);
            for _ in 0..REQUESTS {
                let offset = random.below(((bytes.len() - count) / unit) as u64) as usize * unit;
                let result = bench.serve_on(conversation, "a", offset as u64, count as u64);
                result.whole(&bytes[offset..offset + count]);
            }
            let (read, asked) = (bench.bytes(Technique::DirectRead), REQUESTS * count as u64);
            assert!(read * 100 < asked * 102, "{read} for {asked}, {unit}, {foresees}, {seed}");
            bench.end();
        }
    }
}

/// What is asked for in small parts, one after the other, is read in blocks all the same, and so is
/// what is asked for at random again and again.
#[test]
fn parts_of_a_block_that_are_asked_for_have_it_read_whole() {
    let mut bench = Bench::new(19, setup());
    let bytes = bench.file("a", 10 * BLOCK);
    let conversation = bench.conversation();
    for at in (0..10 * BLOCK).step_by(512) {
        bench.serve_on(conversation, "a", at as u64, 512).whole(&bytes[at..at + 512]);
    }
    let reads = bench.operations(Technique::DirectRead);
    assert!(reads <= 3 * 10, "{reads} reads of 10 blocks");
    bench.end();
}

/// Two changes within one step of a file system's clock bear the same time.
#[test]
fn what_was_changed_just_now_is_not_kept() {
    let mut bench = Bench::new(20, setup());
    let bytes = bench.fresh_file("a", BLOCK);
    for reads in 1..=2 {
        bench.serve("a", 0, BLOCK as u64).whole(&bytes);
        assert_eq!(bench.operations(Technique::DirectRead), reads);
    }
    bench.world.pass(SETTLED_COARSE);
    for _ in 0..2 {
        bench.serve("a", 0, BLOCK as u64).whole(&bytes);
        assert_eq!(bench.operations(Technique::DirectRead), 3);
    }
    bench.end();
}

#[test]
fn a_part_is_not_paid_with_a_whole_block() {
    let mut bench = Bench::new(12, setup());
    let bytes = bench.file("a", 100 * BLOCK);
    bench.serve("a", 7 * BLOCK as u64 + 600, 100).whole(&bytes[7 * BLOCK + 600..][..100]);
    assert_eq!(bench.bytes(Technique::DirectRead), 512, "one sector");
    bench.end();
}

#[test]
fn a_pattern_of_requests_is_read_ahead() {
    for stride in [1, 3] {
        let mut bench = Bench::new(13, Setup { foresees: true, ..setup() });
        let bytes = bench.file("a", 200 * BLOCK);
        let conversation = bench.conversation();
        for step in 0..60 {
            let at = step * stride * BLOCK;
            let result = bench.serve_on(conversation, "a", at as u64, BLOCK as u64);
            result.whole(&bytes[at..at + BLOCK]);
        }
        let stats = bench.stats();
        let (all, used) = (stats.foreseen.read(), stats.foreseen_used.read());
        assert!(used + stats.foreseen_late.read() > 30, "{used} of {all} with stride {stride}");
        bench.end();
    }
}

/// What was foreseen of a block is of no use to who asks for another part of it, whether it is
/// there or still on its way.
#[test]
fn another_part_of_a_block_than_the_one_that_was_foreseen_does_not_make_it_true() {
    for hangs in [false, true] {
        let mut bench = Bench::new(33, Setup { foresees: true, buffers: 128, ..setup() });
        let mount = bench.world.mount("disk", MountKind::NonBlocking);
        let bytes = bench.file("disk/a", 40 * BLOCK);
        let conversation = bench.conversation();
        for block in 0..10 {
            bench.world.hang(mount, hangs && block == 9);
            let result = bench.serve_on(conversation, "disk/a", (block * BLOCK) as u64, 512);
            result.whole(&bytes[block * BLOCK..][..512]);
            (0..9).for_each(|_| bench.turn());
        }
        let figures = |bench: &Bench| {
            let stats = bench.stats();
            let true_ones = stats.foreseen_used.read() + stats.foreseen_late.read();
            (stats.foreseen.read(), true_ones, stats.foreseen_wasted.read())
        };
        let (foreseen, true_ones, wasted) = figures(&bench);
        assert!(foreseen > true_ones && wasted == 0, "some is foreseen and not asked for yet");
        assert_eq!(bench.world.in_flight() > 0, hangs);
        for block in 10..40 {
            bench.begin("disk/a", (block * BLOCK) as u64 + 4096, 512);
        }
        assert_eq!(figures(&bench), (foreseen, true_ones, foreseen - true_ones));
        bench.world.hang(mount, false);
        bench.run();
        bench.end();
    }
}

#[test]
fn a_file_that_comes_after_another_is_there_when_it_is_asked_for() {
    // So small a cache that others have washed the files out in between.
    let mut bench = Bench::new(14, Setup { foresees: true, buffers: 8, ..setup() });
    let page = bench.file("page", 1000);
    let style = bench.file("style", BLOCK);
    let other = bench.file("other", 40 * BLOCK);
    let conversation = bench.conversation();
    for _ in 0..8 {
        bench.serve_on(conversation, "page", 0, 1000).whole(&page);
        bench.serve_on(conversation, "style", 0, BLOCK as u64).whole(&style);
        bench.serve("other", 0, other.len() as u64).whole(&other);
    }
    let stats = bench.stats();
    assert!(stats.foreseen_used.read() + stats.foreseen_late.read() > 0);
    bench.end();
}

#[test]
fn a_file_that_comes_next_and_is_in_the_page_cache_is_not_read_past_it() {
    let foreseen = |resident: bool| {
        let mut bench = Bench::new(14, Setup { foresees: true, buffers: 64, ..setup() });
        let [page, style] = ["page", "style"].map(|name| bench.file(name, BLOCK));
        let other = bench.file("other", 200 * BLOCK);
        bench.serve("other", 0, other.len() as u64).whole(&other);
        let conversation = bench.conversation();
        for _ in 0..3 {
            bench.serve_on(conversation, "page", 0, BLOCK as u64).whole(&page);
            bench.serve_on(conversation, "style", 0, BLOCK as u64).whole(&style);
        }
        while bench.keeps("style", 1) {
            bench.serve("other", 0, other.len() as u64).whole(&other);
        }
        if resident {
            bench.is_resident("style");
        }
        let before = bench.stats().foreseen.read();
        bench.serve_on(conversation, "page", 0, BLOCK as u64).whole(&page);
        bench.turn();
        let foreseen = bench.stats().foreseen.read() - before;
        bench.end();
        foreseen
    };
    assert_eq!([false, true].map(foreseen), [1, 0]);
}

#[test]
fn whatever_goes_wrong_everything_comes_home() {
    let alone = std::env::var("PITCREW_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in alone.map_or(0..400, |seed: u64| seed..seed + 1) {
        let ran = std::panic::catch_unwind(|| schedule(seed));
        if let Err(panic) = ran {
            eprintln!("this schedule again: PITCREW_SEED={seed} cargo test --test blocks");
            std::panic::resume_unwind(panic);
        }
    }
}

fn schedule(seed: u64) {
    let mut random = Random::new(seed);
    let gentle = random.chance(400);
    let faults = if gentle { Faults::gentle(&mut random) } else { Faults::some(&mut random) };
    let buffers = *random.pick(&[1, 2, 3, 8, 16]);
    let send_buffer = *random.pick(&[700, 30_000, 1 << 20]);
    let foresees = random.chance(700);
    let mut bench = Bench::new(seed, Setup { buffers, foresees, send_buffer, block: BLOCK });
    let names = ["a", "b", "c"];
    let files = names.map(|name| bench.file(name, 1 + random.below(8 * BLOCK as u64) as usize));
    bench.world.set_faults(faults);
    let mut bodies = Vec::new();
    for _ in 0..random.below(12) {
        let number = random.below(3) as usize;
        let offset = random.below(files[number].len() as u64);
        let count = 1 + random.below(files[number].len() as u64 - offset);
        bodies.push((bench.begin(names[number], offset, count), number, offset, count));
        for _ in 0..random.below(6) {
            bench.turn();
        }
        if !gentle && random.chance(150) {
            let (body, ..) = bodies.remove(random.below(bodies.len() as u64) as usize);
            bench.leave(body);
        }
    }
    bench.run();
    for (body, number, offset, count) in bodies {
        let result = bench.result(body);
        let expected = &files[number][offset as usize..(offset + count) as usize];
        result.prefix(expected);
        match result.end {
            Step::Finished => result.whole(expected),
            other => assert!(!gentle, "{other:?} although nothing spoils it"),
        }
    }
    bench.end();
}

#[test]
fn contents_differ() {
    assert_ne!(content(1, 100), content(2, 100));
}
