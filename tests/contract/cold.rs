//! Pages that are not in the page cache: the simulated kernel panics when one is sent inline that
//! was not there for longer than what was seen may be remembered.

use std::time::Duration;

use pitcrew::engines::{BodyError, Decline, Kind, Step, Thresholds};
use pitcrew::limits::{BODY_BLOCK_BYTES, WARM_BYTES};
use pitcrew::ring::simulated::{Fault, World};
use pitcrew::ring::{MountKind, Technique};
use rustix::io::Errno;

use super::rig::{FILE, Simulation, Task, assert_prefix, assert_same, options};

const IN_KERNEL: [Kind; 2] = [Kind::Sendfile, Kind::Splice];

/// Whether a body of this size goes from the page cache to the socket inside the kernel.
fn in_kernel(kind: Kind, size: u64) -> bool {
    let by_auto = kind == Kind::Auto && size > Thresholds::default().small_bytes_max;
    IN_KERNEL.contains(&kind) || by_auto
}

fn task(kind: Kind, size: u64, offset: u64) -> Task {
    Task { kind, size, offset, head: 300, leased: false, more: false }
}

fn cold(world: &World, task: &Task, send_buffer: usize) -> Simulation {
    let simulation = Simulation::with(world.clone(), task, send_buffer, options());
    world.chill(FILE);
    simulation
}

#[test]
fn a_cold_file_is_warmed_by_the_ring_before_it_is_sent() {
    for kind in Kind::ALL {
        for size in [1, 4097, 65_536, 65_537, WARM_BYTES, 2 * WARM_BYTES + 1, 3 << 20] {
            for (offset, send_buffer) in [(0, 400_000), (70_001, 30_000), (4096, 1 << 20)] {
                let task = task(kind, size, offset);
                let mut simulation = cold(&World::new(size), &task, send_buffer);
                let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
                assert_eq!(course.end, Step::Finished, "{task:?}");
                assert_same(&wire, &task.expected(), &task);
                assert_eq!(simulation.world.stalled(), 0, "{task:?}");
                let small = size <= BODY_BLOCK_BYTES as u64;
                let expected = match in_kernel(kind, size) && small {
                    true => (Kind::Uring, vec![(kind, Decline::Cold)]),
                    false => (kind, vec![]),
                };
                assert_eq!((course.by, course.declined), expected, "{task:?}");
            }
        }
    }
}

/// Threads of the kernel have read by the very descriptor that bodies are sent from, as where there
/// is none for a second one. A page that was marked then has the next window read by whoever
/// touches it, though others have left the begin of that in memory.
#[test]
fn what_comes_behind_a_mark_of_ones_own_counts_twice_as_far() {
    const WHOLE: u64 = 3 << 20;
    for (kind, seed) in
        IN_KERNEL.into_iter().flat_map(|kind| (0..100).map(move |seed| (kind, seed)))
    {
        let world = World::new(seed);
        let whole = task(kind, WHOLE, 0);
        let mut simulation = Simulation::with(world.clone(), &whole, 400_000, options());
        world.chill_end(FILE);
        let client = simulation.client.clone();
        let end = task(kind, 70_000, WHOLE - 70_000);
        let course = simulation.rig.serve(&end, || drop(client.read(usize::MAX)));
        assert_eq!(course.end, Step::Finished, "{seed}");
        drop(client.read(usize::MAX));
        let (course, wire) = simulation.serve(&whole, |client| client.read(usize::MAX));
        assert_eq!(course.end, Step::Finished, "{seed}");
        assert_same(&wire, &whole.expected(), &seed);
    }
}

#[test]
fn pages_that_go_again_and_again_are_warmed_again() {
    for kind in IN_KERNEL {
        for every in [1, 2, 7] {
            let task = task(kind, 2 << 20, 100);
            let world = World::new(every);
            let mut simulation = cold(&world, &task, 100_000);
            let mut turn = 0;
            let (course, wire) = simulation.serve(&task, |client| {
                turn += 1;
                if turn % every == 0 {
                    world.evict(FILE);
                }
                // A slow client, so that what was seen is old when it goes on.
                world.pass(Duration::from_millis(if turn % 5 == 0 { 300 } else { 0 }));
                client.read(usize::MAX)
            });
            assert_eq!((course.end, course.by), (Step::Finished, kind));
            assert_same(&wire, &task.expected(), &task);
        }
    }
}

#[test]
fn faults_of_warming_leave_a_right_prefix_and_their_cause() {
    for kind in IN_KERNEL {
        for pass in [0, 1, 2, 5] {
            for fault in [
                Fault::Fail(Errno::IO),
                Fault::Fail(Errno::NOMEM),
                Fault::Fail(Errno::INTR),
                Fault::Short(1),
                Fault::Short(5000),
                Fault::Short(200_000),
                Fault::Late(Duration::from_millis(400)),
                Fault::Shrink(300_000),
            ] {
                let task = task(kind, 3 << 20, 1000);
                let world = World::new(7);
                world.script(Technique::Warm, pass, fault);
                let mut simulation = cold(&world, &task, 200_000);
                let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
                let context = (&task, pass, fault);
                assert_eq!(world.befallen(), 1, "{context:?}");
                assert_prefix(&wire, &task.expected(), &context);
                let expected = match fault {
                    Fault::Fail(Errno::INTR) => Step::Finished,
                    Fault::Fail(errno) => Step::Failed(BodyError::Read(errno)),
                    Fault::Shrink(_) => Step::Failed(BodyError::Truncated),
                    _ => Step::Finished,
                };
                assert_eq!(course.end, expected, "{context:?}");
                if course.end == Step::Finished {
                    assert_same(&wire, &task.expected(), &context);
                }
            }
        }
    }
}

#[test]
fn a_mount_that_may_block_is_read_by_threads_of_the_kernel() {
    let mounts = [MountKind::Blocking, MountKind::Remote];
    for (kind, mount) in Kind::ALL.into_iter().flat_map(|kind| mounts.map(|one| (kind, one))) {
        for size in [10, 200_000] {
            for is_cold in [false, true] {
                let task = task(kind, size, 5);
                let world = World::new(3);
                world.mount(".", mount);
                let mut simulation = Simulation::with(world.clone(), &task, 90_000, options());
                if is_cold {
                    world.chill(FILE);
                }
                let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
                assert_eq!(course.end, Step::Finished, "{task:?}");
                assert_same(&wire, &task.expected(), &task);
                let declines = (is_cold || mount == MountKind::Remote) && in_kernel(kind, size);
                let why = declines.then_some((kind, Decline::MayBlock));
                assert_eq!(course.declined, why.into_iter().collect::<Vec<_>>(), "{task:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_never_ready_is_not_taken_for_a_full_socket() {
    let task = task(Kind::Sendfile, 100_000, 0);
    let world = World::new(3);
    world.script_every(Technique::Sendfile, 1, Fault::Fail(Errno::AGAIN));
    let mut simulation = Simulation::with(world, &task, 90_000, options());
    let (course, _) = simulation.serve(&task, |client| client.read(usize::MAX));
    assert_eq!(course.end, Step::Failed(BodyError::Read(Errno::AGAIN)));
}
