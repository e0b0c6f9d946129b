//! What happens where buffers, pipes, operations and descriptors run out.

use super::*;

#[test]
fn who_starves_is_woken_once_in_turn_and_never_in_vain() {
    let mut rig = Rig::new();
    let [first, second, third, gone] = std::array::from_fn(|_| rig.owner());
    let lease = rig.reactor.io(first).lease(Pool::Answer).unwrap();
    for owner in [gone, second, second, third, second] {
        assert!(rig.reactor.io(owner).lease(Pool::Answer).is_none());
    }
    rig.reactor.retire(gone);
    assert!(rig.turn().is_empty() && rig.world.is_asleep(), "there is nothing to give");
    drop(lease);
    assert!(matches!(rig.wake(), (woken, Wake::Ready) if woken == second));
    let lease = rig.reactor.io(second).lease(Pool::Answer).unwrap();
    assert!(rig.turn().is_empty() && rig.world.is_asleep());
    drop(lease);
    assert!(matches!(rig.wake(), (woken, Wake::Ready) if woken == third));
    assert!(rig.turn().is_empty() && rig.world.is_asleep(), "each was woken once");
}

#[test]
fn a_pipe_that_the_kernel_refuses_is_not_asked_for_in_every_turn() {
    let mut rig = Rig::new();
    let (first, second) = (rig.owner(), rig.owner());
    rig.world.set_bounds(1, 64, 65_536);
    assert_eq!(rig.reactor.io(first).pipe().unwrap_err(), NoPipe::Refused);
    assert_eq!(rig.world.descriptors(), 0, "no half of a pipe is left");
    rig.world.set_bounds(2, 64, 65_536);
    let mut pipe = rig.reactor.io(first).pipe().unwrap();
    assert_eq!(rig.reactor.io(second).pipe().unwrap_err(), NoPipe::Later);
    for _ in 0..3 {
        assert!(rig.turn().is_empty());
    }
    assert!(rig.world.is_asleep(), "the processor is idle");
    // A pipe that is given up with bytes in it is closed, and there is room for another.
    pipe.put_in(1);
    drop(pipe);
    assert!(matches!(rig.wake(), (woken, Wake::Ready) if woken == second));
    let pipe = rig.reactor.io(second).pipe().unwrap();
    drop(pipe);
    assert_eq!((rig.reactor.leased().1, rig.reactor.pipes_open()), (0, 1));
}

#[test]
fn a_full_table_hands_the_operation_back_and_waits_for_room() {
    let mut rig = Rig::with(World::new(1), 2);
    let owner = rig.owner();
    let sockets: [(Socket, Client); 3] = std::array::from_fn(|_| rig.pair(100));
    for (socket, _) in &sockets[..2] {
        rig.submit(owner, readable(socket));
    }
    let Start::Busy(op) = rig.reactor.io(owner).start(readable(&sockets[2].0)) else {
        panic!("the table is full")
    };
    assert!(matches!(rig.wake(), (_, Wake::Turn)), "it may try again");
    // A descriptor waits for room to be closed, without turning idly.
    drop(op);
    let [first, second, (third, late)] = sockets;
    drop(third);
    assert!(rig.turn().is_empty() && rig.world.is_asleep());
    assert!(!late.is_closed_by_server());
    first.1.write(b"x");
    assert!(rig.done().result.is_ok());
    assert!(rig.turn().is_empty());
    assert!(late.is_closed_by_server());
    drop(second);
}

#[test]
fn an_accept_goes_on_until_descriptors_run_out() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (listener, id) = rig.listener();
    rig.submit(owner, Op::Accept { listener: listener.clone(), once: false });
    let clients: Vec<_> = (0..3).map(|_| rig.world.connect(id, 10, 10)).collect();
    rig.world.set_bounds(3, 64, 4096);
    let wakes = rig.turn();
    let results: Vec<_> = wakes
        .iter()
        .map(|(_, wake)| match wake {
            Wake::Done(done) => (done.handle.is_some(), done.more, done.op.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(results, [(true, true, false), (true, true, false), (false, false, true)]);
    drop(wakes);
    rig.settle();
    assert!(clients[0].is_closed_by_server() && !clients[2].is_closed_by_server());
    rig.submit(owner, Op::Accept { listener, once: false });
    let done = rig.done();
    assert!(done.handle.is_some(), "the one that waited is accepted");
}
