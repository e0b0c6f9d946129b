//! Random schedules: any engine, any body, any faults, any client.

use pitcrew::engines::{BodyError, Kind, Step};
use pitcrew::ring::simulated::{Faults, Random, World};

use super::rig::{Simulation, Task, assert_prefix, assert_same, options};

/// Schedules of one run of the test.
const SCHEDULES: u64 = 600;

#[test]
fn any_schedule_keeps_the_contract() {
    let alone = std::env::var("PITCREW_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = alone.map_or(0..SCHEDULES, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| schedule(seed));
        if let Err(panic) = ran {
            eprintln!("this schedule again: PITCREW_SEED={seed} cargo test --test contract");
            std::panic::resume_unwind(panic);
        }
    }
}

fn schedule(seed: u64) {
    let mut random = Random::new(seed);
    let size = 1 + random.below(*random.clone().pick(&[10, 5_000, 70_000, 300_000]));
    let mut task = Task {
        kind: *random.pick(&Kind::ALL),
        size,
        offset: random.below(*random.clone().pick(&[1, 2, 5_000, 100_000])),
        head: random.below(*random.clone().pick(&[1, 300, 4_097, 9_000])) as usize,
        leased: random.chance(500),
        more: random.chance(300),
    };
    let gentle = random.chance(500);
    let faults = if gentle { Faults::gentle(&mut random) } else { Faults::some(&mut random) };
    let send_buffer = 1 + random.below(*random.clone().pick(&[100, 5_000, 300_000])) as usize;
    // A tiny buffer takes about a byte a turn, so that a large body would take for ever.
    task.size = task.size.min(400 * send_buffer as u64);
    let mut options = options();
    options.operations_max = *random.pick(&[3, 4, 64]);
    options.pools[3].1 = *random.pick(&[1, 2, 3]);
    options.pools[4].1 = *random.clone().pick(&[1, 2, 5]);
    options.turn_bytes = *random.pick(&[1_000, 65_536, super::rig::TURN_BYTES]);
    let world = World::new(seed);
    let queue = *random.pick(&[1, 2, 256]);
    world.set_bounds(1000, queue, *random.pick(&[4096, 8192, 65_536]));
    let trouble = if gentle { u64::MAX } else { random.below(200) };
    let context = (&task, faults, send_buffer);

    let mut simulation = Simulation::with(world.clone(), &task, send_buffer, options);
    world.set_faults(faults);
    let slow = random.chance(300);
    let mut turn = 0;
    let (course, wire) = simulation.serve(&task, |client| {
        turn += 1;
        if turn == trouble {
            match random.below(3) {
                0 => client.reset(),
                1 => client.close(),
                _ => client.shut(),
            }
        }
        // A client that is asleep is the only one who can go on.
        if slow && random.chance(700) && !world.is_asleep() {
            return Vec::new();
        }
        let most = *random.pick(&[1, 50, 3_000, usize::MAX]);
        client.read(most.max(send_buffer / 40))
    });
    assert_prefix(&wire, &task.expected(), &context);
    let lost = turn >= trouble || matches!(course.failure(), Some(BodyError::Send(_)));
    match course.end {
        Step::Finished if lost => {}
        Step::Finished => assert_same(&wire, &task.expected(), &context),
        Step::Failed(error) => {
            assert!(!gentle, "{error:?} although nothing spoils the body: {context:?}");
            let told = course.progress.head + course.progress.body;
            assert!(lost || told <= wire.len() as u64, "{told} of {}: {context:?}", wire.len());
            if error == BodyError::Truncated {
                assert!(world.shrunk() > 0, "no file was cut: {context:?}");
            }
        }
        other => panic!("ended with {other:?}: {context:?}"),
    }
    // Each byte may need a few turns of a client that reads one at a time.
    let bound = 400 + 40 * (wire.len() + 1);
    assert!(course.turns < bound, "{} turns for {} bytes: {context:?}", course.turns, wire.len());
}
