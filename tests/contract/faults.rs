//! Every operation of every engine meets every fault in turn.

use std::time::Duration;

use pitcrew::engines::{BodyError, Decline, Kind, Step};
use pitcrew::ring::Technique;
use pitcrew::ring::simulated::{Fault, World};
use rustix::io::Errno;

use super::rig::{Simulation, Task, assert_prefix, assert_same, options};

fn techniques(kind: Kind) -> &'static [Technique] {
    match kind {
        // By the size of the task.
        Kind::Sendfile | Kind::Auto => &[Technique::Sendfile, Technique::Poll],
        Kind::Splice => &[Technique::SpliceIn, Technique::SpliceOut, Technique::Poll],
        Kind::Uring => &[Technique::ReadFixed, Technique::Send],
        Kind::Direct => &[Technique::DirectRead, Technique::Send, Technique::SendMsg],
        Kind::Copy => &[Technique::Pread, Technique::Send],
    }
}

fn reads(technique: Technique) -> bool {
    matches!(
        technique,
        Technique::SpliceIn | Technique::ReadFixed | Technique::DirectRead | Technique::Pread
    )
}

const FAULTS: [Fault; 18] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::INVAL),
    Fault::Fail(Errno::NOMEM),
    Fault::Fail(Errno::CONNRESET),
    Fault::Fail(Errno::PIPE),
    Fault::Fail(Errno::TIMEDOUT),
    Fault::Fail(Errno::INTR),
    Fault::Fail(Errno::AGAIN),
    Fault::Fail(Errno::CANCELED),
    Fault::FailHead(Errno::CONNRESET),
    Fault::FailHead(Errno::AGAIN),
    Fault::ShortHead(1),
    Fault::Short(1),
    Fault::Short(513),
    Fault::Short(4096),
    Fault::Late(Duration::from_millis(70)),
    Fault::Shrink(0),
    Fault::Shrink(50_000),
];

/// How a body may end under one fault; none means that it is served whole.
fn failure(technique: Technique, fault: Fault) -> Option<BodyError> {
    match fault {
        Fault::Fail(errno) if technique == Technique::Poll => {
            // The wait fails, and what was waited for is tried again.
            let _ = errno;
            None
        }
        // The reactor submits again what a signal interrupted.
        Fault::Fail(Errno::INTR) if !inline(technique) => None,
        // It means that the socket is full: the engine waits and goes on.
        Fault::Fail(Errno::AGAIN)
            if matches!(technique, Technique::Sendfile | Technique::SpliceOut) =>
        {
            None
        }
        Fault::Fail(errno) if technique == Technique::Sendfile => {
            Some(BodyError::of_transfer(errno))
        }
        Fault::Fail(errno) if reads(technique) => Some(BodyError::Read(errno)),
        Fault::Fail(errno) => Some(BodyError::Send(errno)),
        Fault::FailHead(Errno::AGAIN) => None,
        Fault::FailHead(errno) => Some(BodyError::Send(errno)),
        Fault::Shrink(_) => Some(BodyError::Truncated),
        Fault::Overwrite => Some(BodyError::Changed),
        Fault::Short(_) | Fault::ShortHead(_) | Fault::Late(_) | Fault::Ends => None,
    }
}

fn inline(technique: Technique) -> bool {
    !matches!(
        technique,
        Technique::ReadFixed
            | Technique::DirectRead
            | Technique::Send
            | Technique::SendMsg
            | Technique::Poll
    )
}

#[test]
fn each_fault_leaves_a_right_prefix_and_its_cause() {
    let mut befallen = 0;
    for kind in Kind::ALL {
        for technique in techniques(kind) {
            for fault in FAULTS {
                for pass in [0, 1, 2, 3] {
                    for (head, send_buffer) in [(0, 30_000), (300, 500_000), (5000, 3_000)] {
                        let size = 200_000;
                        let leased = pass == 1;
                        let task = Task { kind, size, offset: 1000, head, leased, more: false };
                        befallen += one(&task, *technique, fault, pass, send_buffer);
                    }
                }
            }
        }
    }
    assert!(befallen > 500, "the faults do befall: {befallen}");
}

fn one(task: &Task, technique: Technique, fault: Fault, pass: u32, send_buffer: usize) -> u64 {
    let world = World::new(u64::from(pass));
    world.script(technique, pass, fault);
    let context = (task, technique, fault, pass, send_buffer);
    let mut simulation = Simulation::with(world.clone(), task, send_buffer, options());
    let (course, wire) = simulation.serve(task, |client| client.read(usize::MAX));
    let expected = task.expected();
    assert_prefix(&wire, &expected, &context);
    let befallen = world.befallen();
    let failure = failure(technique, fault).filter(|_| befallen > 0);
    let declines = course
        .declined
        .iter()
        .all(|(kind, why)| *kind == task.kind && matches!(why, Decline::Unsupported(Errno::INVAL)));
    assert!(declines, "{context:?}: {:?}", course.declined);
    match course.end {
        Step::Finished => {
            assert_same(&wire, &expected, &context);
            let excused = match fault {
                // The head filled the socket, so the transfer was not tried.
                _ if pass == 0 && task.head > send_buffer && carries(technique) => true,
                // A block that was read ahead in vain is read again when its turn has come.
                Fault::Fail(_) if technique == Technique::DirectRead && pass > 0 => true,
                // The first call of a technique that the kernel does not know is declined.
                Fault::Fail(Errno::INVAL) => course.by != task.kind,
                // A fault of the head befalls nothing where the head travels otherwise, nor a
                // shrinking a pipe.
                Fault::FailHead(_) => !course_has_head(task, technique, pass),
                Fault::Shrink(_) => technique != Technique::Sendfile && !reads(technique),
                _ => false,
            };
            assert!(failure.is_none() || excused, "{context:?}: finished in spite of {failure:?}");
        }
        Step::Failed(error) => {
            assert_eq!(Some(error), failure, "{context:?}");
            let told = course.progress.head + course.progress.body;
            let lost = matches!(error, BodyError::Send(Errno::CONNRESET | Errno::PIPE));
            assert!(lost || told <= wire.len() as u64, "{context:?}: {told} of {}", wire.len());
        }
        other => panic!("{context:?}: ended with {other:?}"),
    }
    befallen
}

fn carries(technique: Technique) -> bool {
    matches!(technique, Technique::Sendfile | Technique::SpliceOut)
}

/// Whether the call that the fault befalls carries the head.
fn course_has_head(task: &Task, technique: Technique, pass: u32) -> bool {
    // A head of 5000 bytes takes two calls where the send buffer has 3000.
    carries(technique) && task.head > 0 && (pass == 0 || task.head == 5000 && pass <= 1)
}

#[test]
fn no_pipe_at_all_is_a_reason_to_decline() {
    let kind = Kind::Splice;
    let task = Task { kind, size: 10_000, offset: 0, head: 10, leased: false, more: false };
    let world = World::new(1);
    let mut simulation = Simulation::with(world.clone(), &task, 100_000, options());
    // Three descriptors are open: the connection and the file twice.
    world.set_bounds(4, 64, 65_536);
    let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
    assert_eq!(course.declined, [(Kind::Splice, Decline::NoPipe)]);
    assert_eq!((course.end, course.by), (Step::Finished, Kind::Uring));
    assert_same(&wire, &task.expected(), &task);
    assert_eq!(world.descriptors(), 0, "half a pipe was closed");
}

#[test]
fn a_small_pipe_serves_as_well() {
    for size in [1, 4096, 4097, 100_000] {
        let kind = Kind::Splice;
        let task = Task { kind, size, offset: 5, head: 10, leased: false, more: true };
        let world = World::new(1);
        world.set_bounds(100, 2, 4096);
        let mut simulation = Simulation::with(world, &task, 50_000, options());
        let (course, wire) = simulation.serve(&task, |client| client.read(usize::MAX));
        assert_eq!((course.end, course.by), (Step::Finished, Kind::Splice));
        assert_same(&wire, &task.expected(), &task);
    }
}
