//! Sizes, offsets and heads, without faults, over the simulated kernel.

use pitcrew::engines::{Kind, Step};

use super::rig::{Simulation, Task, assert_same};

/// Around every boundary: sectors, pages, blocks, budgets.
pub(crate) const SIZES: [u64; 12] =
    [1, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_073, (1 << 20) + 3];
pub(crate) const OFFSETS: [u64; 4] = [0, 4096, 1, 70_001];
pub(crate) const HEADS: [usize; 4] = [0, 300, 4096, 5000];

/// Every task of the suite.
pub(crate) fn tasks() -> impl Iterator<Item = Task> {
    Kind::ALL.into_iter().flat_map(|kind| {
        SIZES.into_iter().flat_map(move |size| {
            OFFSETS.into_iter().flat_map(move |offset| {
                HEADS.into_iter().flat_map(move |head| {
                    [false, true].map(|more| {
                        let leased = offset % 2 == 0;
                        Task { kind, size, offset, head, leased, more }
                    })
                })
            })
        })
    })
}

#[test]
fn every_engine_serves_every_size_whole() {
    for (number, task) in tasks().enumerate() {
        for send_buffer in [5_000, 400_000] {
            if send_buffer == 5_000 && task.size > 200_000 && task.head != 300 {
                continue;
            }
            let mut simulation = Simulation::new(number as u64, &task, send_buffer);
            let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
            assert_eq!(course.end, Step::Finished, "{task:?}");
            assert_eq!(course.by, task.kind, "{task:?}: {:?}", course.declined);
            assert_eq!(course.progress.head, task.head as u64, "{task:?}");
            assert_eq!(course.progress.body, task.size, "{task:?}");
            assert_same(&wire, &task.expected(), &task);
            assert_eq!(simulation.world.waited_out(), 0, "{task:?}: bytes were held back");
        }
    }
}

#[test]
fn a_slow_client_gets_every_byte() {
    for kind in Kind::ALL {
        let task = Task { kind, size: 9_000, offset: 3, head: 200, leased: false, more: false };
        for send_buffer in [1, 2, 700, 1460, 4096] {
            let mut simulation = Simulation::new(1, &task, send_buffer);
            let (course, wire) = simulation.serve(&task, |client| client.read(97));
            assert_eq!(course.end, Step::Finished, "{task:?} {send_buffer}");
            assert_same(&wire, &task.expected(), &(&task, send_buffer));
        }
    }
}

#[test]
fn a_file_system_without_direct_reads_is_served_by_another_engine() {
    let task =
        Task { kind: Kind::Direct, size: 100_000, offset: 0, head: 200, leased: true, more: false };
    let world = pitcrew::ring::simulated::World::new(3);
    world.set_direct(None);
    let mut simulation = Simulation::with(world, &task, 100_000, super::rig::options());
    let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
    assert_eq!((course.end, course.by), (Step::Finished, Kind::Uring));
    assert_same(&wire, &task.expected(), &task);
}

#[test]
fn alignments_of_other_file_systems_are_kept() {
    for (memory, offset) in [(4, 512), (512, 4096), (4096, 4096)] {
        for start in [0, 1, 4095, 4096, 65_537] {
            for size in [1, 4096, 100_001] {
                let kind = Kind::Direct;
                let task = Task { kind, size, offset: start, head: 99, leased: false, more: false };
                let world = pitcrew::ring::simulated::World::new(4);
                world.set_direct(Some((memory, offset)));
                let mut simulation = Simulation::with(world, &task, 50_000, super::rig::options());
                let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
                assert_eq!((course.end, course.by), (Step::Finished, kind), "{task:?}");
                assert_same(&wire, &task.expected(), &task);
            }
        }
    }
}
