//! Files that somebody writes to in place while they are sent.

use std::time::Duration;

use pitcrew::engines::{BodyError, Kind, Step};
use pitcrew::ring::simulated::{Fault, World};
use pitcrew::ring::{MountKind, Technique};

use super::rig::{FILE, Simulation, Task, assert_prefix, assert_same, content, options};

/// Engines that read bytes before they send them, and by what.
const COPYING: [(Kind, Technique); 3] = [
    (Kind::Uring, Technique::ReadFixed),
    (Kind::Direct, Technique::DirectRead),
    (Kind::Copy, Technique::Pread),
];
/// The others, and what brings bytes of the file on their way.
const BY_REFERENCE: [(Kind, Technique); 2] =
    [(Kind::Sendfile, Technique::Sendfile), (Kind::Splice, Technique::SpliceIn)];

const SIZE: u64 = 900_000;
/// So little of the body fits a socket that it takes many turns.
const SEND_BUFFER: usize = 30_000;
/// A time for which the clock of files shows another one.
const A_TICK: Duration = Duration::from_millis(20);

fn task(kind: Kind, size: u64, head: usize) -> Task {
    Task { kind, size, offset: 1000, head, leased: false, more: false }
}

/// Every byte is another one.
fn others(task: &Task) -> Vec<u8> {
    content(task.file_bytes()).iter().map(|byte| !byte).collect()
}

#[test]
fn a_file_that_is_written_to_between_two_turns_fails_its_body() {
    for kind in Kind::ALL {
        for turn in [1, 2, 5, 9] {
            for head in [0, 300, 5000] {
                let task = task(kind, SIZE, head);
                let world = World::new(turn);
                let mut simulation = Simulation::with(world.clone(), &task, SEND_BUFFER, options());
                let mut turns = 0;
                let (course, wire) = simulation.serve(&task, |client| {
                    turns += 1;
                    world.pass(A_TICK);
                    if turns == turn {
                        world.rewrite(FILE, others(&task));
                    }
                    client.read(usize::MAX)
                });
                let context = (&task, turn);
                assert_eq!(course.end, Step::Failed(BodyError::Changed), "{context:?}");
                assert_prefix(&wire, &task.expected(), &context);
                assert!(wire.len() < task.expected().len(), "{context:?}");
            }
        }
    }
}

/// What was read is looked at before any of it is sent.
#[test]
fn engines_that_read_first_send_nothing_that_was_read_after_a_write() {
    for mount in [MountKind::NonBlocking, MountKind::Foreign] {
        for (kind, technique) in COPYING {
            for pass in 0..6 {
                for (size, head) in [(SIZE, 300), (SIZE, 5000), (10_000, 0), (10_000, 300)] {
                    let task = task(kind, size, head);
                    let world = World::new(u64::from(pass));
                    world.mount(".", mount);
                    let mut simulation =
                        Simulation::with(world.clone(), &task, SEND_BUFFER, options());
                    world.pass(A_TICK);
                    world.script(technique, pass, Fault::Overwrite);
                    let (course, wire) = simulation.serve(&task, |client| {
                        world.pass(A_TICK);
                        client.read(usize::MAX)
                    });
                    let context = (&task, mount, pass);
                    assert_prefix(&wire, &task.expected(), &context);
                    let end = match world.befallen() {
                        0 => Step::Finished,
                        _ => Step::Failed(BodyError::Changed),
                    };
                    assert_eq!(course.end, end, "{context:?}");
                    assert!(pass > 0 || world.befallen() == 1, "{context:?}");
                }
            }
        }
    }
}

/// What is under way by reference cannot be looked at; but the body fails, also behind its last
/// byte.
#[test]
fn a_write_within_any_turn_fails_a_body_of_several_that_goes_by_reference() {
    for (kind, technique) in BY_REFERENCE {
        let mut behind_the_last = 0;
        for pass in 0.. {
            let task = task(kind, 200_000, 300);
            let world = World::new(u64::from(pass));
            let mut simulation = Simulation::with(world.clone(), &task, SEND_BUFFER, options());
            world.pass(A_TICK);
            world.script(technique, pass, Fault::Overwrite);
            let (course, wire) = simulation.serve(&task, |client| {
                world.pass(A_TICK);
                client.read(usize::MAX)
            });
            if world.befallen() == 0 {
                assert_same(&wire, &task.expected(), &task);
                break;
            }
            assert_eq!(course.end, Step::Failed(BodyError::Changed), "{kind} {pass}");
            behind_the_last += u32::from(course.progress.body == task.size);
        }
        assert!(behind_the_last > 0, "{kind}: the last transfer was met, too");
    }
}

/// What holds is what a log is served by.
#[test]
fn a_file_that_grows_all_the_time_is_sent_as_long_as_promised() {
    for kind in Kind::ALL {
        let task = task(kind, SIZE, 300);
        let world = World::new(1);
        let mut simulation = Simulation::with(world.clone(), &task, SEND_BUFFER, options());
        let mut size = task.file_bytes() as u64;
        let (course, wire) = simulation.serve(&task, |client| {
            world.pass(A_TICK);
            size += 1;
            world.resize(FILE, size);
            client.read(usize::MAX)
        });
        assert_eq!(course.end, Step::Finished, "{kind}");
        assert_same(&wire, &task.expected(), &task);
    }
}
