//! The reactor over the simulated kernel.

use std::time::Duration;

use super::*;
use crate::ring::simulated::{Client, End, Fault, Faults, ListenerId, Simulated, World};
use crate::ring::{File, Gather, How, Kept, Outgoing, Scatter, Socket};
use crate::ring::{Io, NoPipe, Obstacle, Start};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    world: World,
    reactor: Reactor<Simulated>,
}

impl Rig {
    fn new() -> Self {
        Self::with(World::new(1), 64)
    }

    fn with(world: World, operations_max: usize) -> Self {
        let options = Options {
            operations_max,
            owners_max: 8,
            pools: [(4096, 2), (8192, 1), (4096, 1), (65_536, 1), (4096, 2)],
            pipes_max: 2,
            pipe_bytes: 65_536,
            turn_bytes: 100_000,
        };
        let stats = Arc::new(Stats::default());
        let reactor = Reactor::new(world.kernel(), options, stats, |_, _| Some(0)).unwrap();
        Self { world, reactor }
    }

    fn owner(&mut self) -> Owner {
        self.reactor.register().unwrap()
    }

    /// A connection with a send buffer of so many bytes.
    fn pair(&mut self, send_buffer: usize) -> (Socket, Client) {
        let (raw, client) = self.world.pair(1000, send_buffer);
        (self.reactor.take_in(raw).into(), client)
    }

    fn listener(&mut self) -> (Socket, ListenerId) {
        let (raw, id) = self.world.listen();
        (self.reactor.take_in(raw).into(), id)
    }

    fn file(&mut self, bytes: &[u8]) -> File {
        self.world.file("file", bytes);
        let raw = self.world.open("file", How::default()).unwrap();
        self.reactor.take_in(raw).into()
    }

    fn submit(&mut self, owner: Owner, op: Op) -> Ticket {
        match self.reactor.io(owner).start(op) {
            Start::Submitted(ticket) => ticket,
            other => panic!("not submitted: {other:?}"),
        }
    }

    fn read_head(&mut self, owner: Owner, socket: &Socket) -> Ticket {
        let small = self.reactor.io(owner).lease(Pool::Head);
        let parts = Scatter { small, large: None, filled: 0 };
        self.submit(owner, Op::ReadHead { socket: socket.clone(), parts })
    }

    /// One turn, and the wakes that it brings.
    fn turn(&mut self) -> Vec<(Owner, Wake)> {
        self.reactor.turn().unwrap();
        std::iter::from_fn(|| self.reactor.next_wake()).collect()
    }

    /// The one wake of the next turn that brings any.
    fn wake(&mut self) -> (Owner, Wake) {
        for _ in 0..100 {
            let mut wakes = self.turn();
            assert!(wakes.len() <= 1, "one wake: {wakes:?}");
            if let Some(wake) = wakes.pop() {
                return wake;
            }
        }
        panic!("nobody is woken");
    }

    fn done(&mut self) -> Completion {
        match self.wake() {
            (_, Wake::Done(done)) => done,
            other => panic!("not a completion: {other:?}"),
        }
    }

    /// Turns until nothing is in flight, and nobody is woken.
    fn settle(&mut self) {
        for _ in 0..100 {
            if self.reactor.in_flight() == 0 && self.reactor.nothing_to_close() {
                return;
            }
            let wakes = self.turn();
            assert!(wakes.is_empty(), "{wakes:?}");
        }
        panic!("{} operations stay in flight", self.reactor.in_flight());
    }
}

fn send(socket: &Socket, bytes: &[u8]) -> Op {
    Op::Send { socket: socket.clone(), bytes: Outgoing::shared(bytes.into()), more: false }
}

fn readable(socket: &Socket) -> Op {
    Op::Readable { socket: socket.clone() }
}

fn sendfile(socket: &Socket, file: &File, head: Option<&[u8]>) -> Op {
    Op::Sendfile {
        socket: socket.clone(),
        head: head.map(|bytes| Outgoing::shared(bytes.into())),
        file: file.clone(),
        offset: 0,
        count: 10,
        more: false,
    }
}

#[test]
fn a_late_event_and_a_late_cancel_miss_the_operation_that_took_the_place() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(100);
    let old = rig.submit(owner, readable(&socket));
    client.write(b"a");
    assert_eq!(rig.done().ticket, Some(old));
    let (quiet, _client) = rig.pair(100);
    let new = rig.submit(owner, readable(&quiet));
    assert_eq!(old.0.index, new.0.index, "the place is used again");

    rig.world.inject(old.0.to_bits(), Ok(1));
    assert!(rig.turn().is_empty(), "the event belongs to nobody");
    rig.reactor.io(owner).cancel(old);
    assert!(rig.turn().is_empty(), "the cancel meets nobody");
    assert_eq!(rig.reactor.in_flight(), 1);
    rig.reactor.io(owner).cancel(new);
    let done = rig.done();
    assert_eq!((done.ticket, done.result), (Some(new), Err(Errno::CANCELED)));
    assert_eq!(rig.reactor.in_flight(), 0);
}

#[test]
fn an_owner_that_retires_lets_go_of_everything() {
    let mut rig = Rig::new();
    let (owner, other) = (rig.owner(), rig.owner());
    let (socket, client) = rig.pair(10);
    let (listener, id) = rig.listener();
    let file = rig.file(&[7; 9000]);
    rig.submit(owner, send(&socket, &[1; 30]));
    assert_eq!(rig.done().result, Ok(10));
    rig.submit(owner, send(&socket, &[1; 30]));
    rig.read_head(owner, &socket);
    rig.submit(owner, Op::Accept { listener, once: false });
    rig.world.script(Technique::ReadFixed, 0, Fault::Late(Duration::from_millis(3)));
    let buffer = rig.reactor.io(owner).lease(Pool::Body).unwrap();
    let read = Op::Read { file, offset: 0, buffer, range: 0..9000, direct: false };
    rig.submit(owner, read);
    let soon = rig.reactor.now() + Duration::from_millis(1);
    rig.reactor.io(owner).deadline(Some((Deadline::Idle, soon)));
    assert!(rig.reactor.io(other).lease(Pool::Body).is_none(), "the other one starves");
    drop(socket);
    let late = rig.world.connect(id, 10, 10);

    rig.reactor.retire(owner);
    assert_eq!(rig.reactor.owners(), 2, "it stays till its operations have ended");
    let mut woken = Vec::new();
    for _ in 0..20 {
        woken.extend(rig.turn().into_iter().map(|(owner, _)| owner));
        if rig.reactor.in_flight() == 0 && rig.reactor.nothing_to_close() {
            break;
        }
    }
    assert_eq!(woken, [other], "who waited for the buffer is woken, the retired one is not");
    assert_eq!((rig.reactor.in_flight(), rig.reactor.owners()), (0, 1));
    assert_eq!(rig.reactor.leased(), ([0; 5], 0));
    assert_eq!(rig.world.descriptors(), 0, "connection, listener and file are closed");
    assert_eq!(client.end(), End::Open, "ten bytes are to be read");
    assert_eq!(client.read(99).len(), 10);
    assert_eq!(client.end(), End::Closed);
    assert!(!late.is_closed_by_server() || late.end() != End::Open, "closed, not forgotten");
}

#[test]
fn a_cancelled_operation_completes_once_also_when_it_wins_the_race() {
    for race in [0, 1000] {
        let mut rig = Rig::new();
        rig.world.set_faults(Faults { race, late: 1000, ..Faults::NONE });
        let owner = rig.owner();
        let (socket, client) = rig.pair(10);
        let ticket = rig.read_head(owner, &socket);
        rig.reactor.wake_next_turn(owner);
        assert!(matches!(rig.wake(), (_, Wake::Turn)));
        client.write(b"head");
        rig.reactor.io(owner).cancel(ticket);
        rig.reactor.io(owner).cancel(ticket);
        let done = rig.done();
        let expected = if race == 0 { Err(Errno::CANCELED) } else { Ok(4) };
        assert_eq!(done.result, expected);
        let Some(Op::ReadHead { parts, .. }) = done.op else { panic!("it comes home") };
        assert_eq!(&parts.small.unwrap()[..4] == b"head", race > 0);
        assert!(rig.turn().is_empty());
        assert_eq!(rig.reactor.in_flight(), 0);
    }
}

#[test]
fn a_deadline_fires_once_after_it_was_moved_and_not_before_its_time() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let start = rig.reactor.now();
    for seconds in 1..=5 {
        let at = start + SECOND * seconds;
        rig.reactor.io(owner).deadline(Some((Deadline::Send, at)));
    }
    let entries = rig.world.calls().0;
    let (woken, wake) = rig.wake();
    assert!(woken == owner && matches!(wake, Wake::Deadline(Deadline::Send)));
    let waited = rig.reactor.now().since(start);
    assert!(waited >= SECOND * 5 && waited < SECOND * 6, "{waited:?}");
    let turns = rig.world.calls().0 - entries;
    assert!(turns <= 2, "a deadline that moved back costs one turn at most, not {turns}");
    assert!(rig.turn().is_empty() && rig.world.is_asleep(), "there is nothing more to wait for");
}

#[test]
fn an_earlier_deadline_comes_first_and_one_taken_back_never() {
    let mut rig = Rig::new();
    let (owner, other) = (rig.owner(), rig.owner());
    let start = rig.reactor.now();
    rig.reactor.io(owner).deadline(Some((Deadline::Body, start + SECOND * 60)));
    rig.reactor.io(owner).deadline(Some((Deadline::Head, start + SECOND)));
    rig.reactor.io(other).deadline(Some((Deadline::Idle, start + SECOND * 2)));
    rig.reactor.io(other).deadline(None);
    assert!(matches!(rig.wake(), (woken, Wake::Deadline(Deadline::Head)) if woken == owner));
    assert!(rig.reactor.now().since(start) < SECOND * 2);
    for _ in 0..5 {
        assert!(rig.turn().is_empty());
    }
    assert!(rig.world.is_asleep(), "the stale entries have gone");
    // Beyond one round of the wheel, and past a jump of the clock.
    let far = rig.reactor.now() + SECOND * 600;
    rig.reactor.io(owner).deadline(Some((Deadline::Linger, far)));
    assert!(matches!(rig.wake(), (_, Wake::Deadline(Deadline::Linger))));
    assert!(rig.reactor.now() >= far);
    let soon = rig.reactor.now() + SECOND;
    rig.reactor.io(owner).deadline(Some((Deadline::Retry, soon)));
    rig.world.pass(SECOND * 100_000);
    assert!(matches!(rig.wake(), (_, Wake::Deadline(Deadline::Retry))));
}

/// What comes before it in the same turn may have moved it: then the owner waits for something
/// else by now, which has its own time.
#[test]
fn a_deadline_that_is_set_anew_in_its_own_turn_does_not_come() {
    let mut rig = Rig::new();
    let [moved, taken_back, kept] = std::array::from_fn(|_| rig.owner());
    let at = rig.reactor.now() + SECOND;
    for owner in [moved, taken_back, kept] {
        rig.reactor.io(owner).deadline(Some((Deadline::Send, at)));
        rig.reactor.wake_next_turn(owner);
    }
    rig.world.pass(SECOND * 2);
    rig.reactor.turn().unwrap();
    for owner in [moved, taken_back, kept] {
        assert!(matches!(rig.reactor.next_wake(), Some((woken, Wake::Turn)) if woken == owner));
    }
    let later = rig.reactor.now() + SECOND * 5;
    rig.reactor.io(moved).deadline(Some((Deadline::Send, later)));
    rig.reactor.io(taken_back).deadline(None);
    let (woken, wake) = rig.reactor.next_wake().unwrap();
    assert!(woken == kept && matches!(wake, Wake::Deadline(Deadline::Send)));
    assert!(rig.reactor.next_wake().is_none());
    assert!(matches!(rig.wake(), (woken, Wake::Deadline(_)) if woken == moved));
    assert!(rig.reactor.now() >= later);
}

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
fn nothing_is_sent_inline_while_a_send_is_in_flight() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(8);
    let file = rig.file(b"0123456789");
    rig.submit(owner, send(&socket, b"before: "));
    let Start::Busy(op) = rig.reactor.io(owner).start(sendfile(&socket, &file, Some(b"head")))
    else {
        panic!("the order of the socket forbids it")
    };
    let wakes = rig.turn();
    assert!(matches!(wakes[..], [(_, Wake::Done(_)), (_, Wake::Turn)]), "{wakes:?}");
    drop(wakes);
    let Start::Blocked(op, Obstacle::SocketFull) = rig.reactor.io(owner).start(op) else {
        panic!("the socket is full")
    };
    assert!(rig.turn().is_empty(), "the client has read nothing");
    assert_eq!(client.read(99), b"before: ");
    assert!(matches!(rig.wake(), (_, Wake::Writable)));
    let Start::Executed(done) = rig.reactor.io(owner).start(op) else { panic!("there is room") };
    assert_eq!(done.result, Ok(4), "the head took the rest of the room");
    assert_eq!(client.read(99), b"head0123");
}

/// A poll completes at once when the peer has ended its side, room or not.
#[test]
fn a_full_socket_of_a_half_closed_peer_is_polled_ever_more_seldom() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(8);
    let file = rig.file(b"0123456789");
    client.shut();
    let mut tries = 0;
    let mut fill = |rig: &mut Rig| {
        while let Start::Executed(done) = {
            tries += 1;
            rig.reactor.io(owner).start(sendfile(&socket, &file, None))
        } {
            assert!(done.result.is_ok_and(|count| count > 0), "{done:?}");
        }
    };
    fill(&mut rig);
    let ten_seconds = rig.reactor.now() + SECOND * 10;
    while rig.reactor.now() < ten_seconds {
        for (_, wake) in rig.turn() {
            assert!(matches!(wake, Wake::Writable), "{wake:?}");
            fill(&mut rig);
        }
    }
    let polls = rig.reactor.stats.technique(Technique::Poll).operations.read();
    assert!((100..=200).contains(&polls), "{polls} polls in ten seconds");
    assert!((100..=200).contains(&rig.reactor.stats.write_rests.read()));
    // Once it takes something the next try is soon.
    client.read(8);
    assert!(matches!(rig.wake(), (_, Wake::Writable)));
    fill(&mut rig);
    let before = rig.reactor.now();
    assert!(matches!(rig.wake(), (_, Wake::Writable)));
    assert!(rig.reactor.now().since(before) < crate::limits::WRITE_REST_MIN * 2);
    // One that goes while it rests is not woken.
    rig.reactor.retire(owner);
    assert!(rig.turn().is_empty());
    assert_eq!(rig.reactor.in_flight(), 0);
}

#[test]
fn a_head_does_not_stay_corked_when_nothing_follows() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(1000);
    let file = rig.file(b"");
    let op = sendfile(&socket, &file, Some(b"head"));
    let Start::Executed(done) = rig.reactor.io(owner).start(op) else { panic!("it runs") };
    assert_eq!(done.result, Ok(0), "the file is empty");
    assert_eq!(client.read(99), b"head");
}

#[test]
fn what_completes_in_the_middle_of_a_turn_is_not_slept_over() {
    let world = World::new(1);
    world.set_bounds(100, 1, 65_536);
    let mut rig = Rig::with(world, 64);
    let owner = rig.owner();
    let (ready, client) = rig.pair(100);
    let (quiet, _client) = rig.pair(100);
    client.write(b"x");
    let first = rig.submit(owner, readable(&ready));
    rig.submit(owner, readable(&quiet));
    rig.submit(owner, readable(&quiet));
    let done = rig.done();
    assert_eq!(done.ticket, Some(first));
    assert!(!rig.world.is_asleep(), "an event was at hand");
}

#[test]
fn events_of_an_entry_that_fails_are_kept() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(100);
    client.write(b"head");
    rig.read_head(owner, &socket);
    rig.world.fail_entry(Errno::NOMEM);
    assert_eq!(rig.reactor.turn(), Err(Errno::NOMEM));
    let Some((_, Wake::Done(done))) = rig.reactor.next_wake() else { panic!("it was told") };
    assert_eq!(done.result, Ok(4));
    assert_eq!((rig.reactor.in_flight(), rig.world.untaken()), (0, 0));
}

#[test]
fn what_a_signal_interrupts_is_done_again_unless_it_was_cancelled() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(100);
    for _ in 0..3 {
        rig.world.script(Technique::Send, 0, Fault::Fail(Errno::INTR));
    }
    rig.submit(owner, send(&socket, b"whole"));
    assert_eq!(rig.done().result, Ok(5));
    assert_eq!(client.read(99), b"whole");

    rig.world.script(Technique::Readv, 0, Fault::Fail(Errno::INTR));
    let ticket = rig.read_head(owner, &socket);
    rig.reactor.io(owner).cancel(ticket);
    let done = rig.done();
    assert!(matches!(done.result, Err(Errno::INTR | Errno::CANCELED)), "{done:?}");
    assert_eq!(rig.reactor.in_flight(), 0);
}

#[test]
fn a_send_without_copy_brings_its_operands_home_at_the_second_event() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(100);
    let mut lease = rig.reactor.io(owner).lease(Pool::Body).unwrap();
    lease[..5].copy_from_slice(b"bytes");
    let bytes = Outgoing::leased(lease, 0..5);
    rig.submit(owner, Op::SendZc { socket, bytes, more: false });
    let wakes = rig.turn();
    let [(_, Wake::Done(done)), (_, Wake::Released(Op::SendZc { bytes, .. }))] = &wakes[..] else {
        panic!("{wakes:?}")
    };
    assert!(done.more && done.op.is_none() && done.result == Ok(5));
    assert_eq!(bytes.bytes(), b"bytes");
    assert_eq!(client.read(99), b"bytes");
    drop(wakes);
    assert_eq!(rig.reactor.leased(), ([0; 5], 0));
}

#[test]
fn a_gather_send_takes_what_the_socket_takes_and_keeps_the_order() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, client) = rig.pair(7);
    let mut lease = rig.reactor.io(owner).lease(Pool::Block).unwrap();
    lease[..4].copy_from_slice(b"body");
    let block: Rc<dyn Kept> = Rc::new(lease);
    let mut parts = Gather::default();
    parts.push(Outgoing::shared(b"head:".as_slice().into()));
    parts.push(Outgoing::kept(Rc::clone(&block), 0..4));
    parts.push(Outgoing::kept(block, 2..4));
    rig.submit(owner, Op::SendMsg { socket: socket.clone(), parts, more: true });
    assert_eq!(socket.sends_in_flight(), 1);
    let done = rig.done();
    let Some(Op::SendMsg { mut parts, .. }) = done.op else { panic!("the operands come home") };
    assert_eq!((done.result, socket.sends_in_flight()), (Ok(7), 0));
    parts.advance(7);
    assert_eq!((parts.len(), parts.parts()[0].bytes()), (4, &b"dy"[..]));
    let mut seen = client.read(99);
    rig.submit(owner, Op::SendMsg { socket, parts, more: false });
    let done = rig.done();
    seen.extend(client.read(99));
    assert_eq!((done.result, seen.as_slice()), (Ok(4), &b"head:bodydy"[..]));
    drop(done);
    assert_eq!(rig.reactor.leased(), ([0; 5], 0), "what was kept is home");
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

#[test]
fn a_reactor_that_goes_takes_everything_out_of_flight() {
    for late in [0, 1000] {
        let mut rig = Rig::new();
        rig.world.set_faults(Faults { late, race: 500, ..Faults::NONE });
        let owner = rig.owner();
        let (socket, _client) = rig.pair(10);
        let (listener, id) = rig.listener();
        let file = rig.file(&[3; 100]);
        rig.submit(owner, Op::Accept { listener, once: false });
        rig.submit(owner, send(&socket, &[1; 30]));
        rig.read_head(owner, &socket);
        let buffer = rig.reactor.io(owner).lease(Pool::Body).unwrap();
        rig.submit(owner, Op::Read { file, offset: 0, buffer, range: 0..100, direct: false });
        rig.world.connect(id, 10, 10);
        drop(socket);
        let Rig { world, reactor } = rig;
        drop(reactor);
        assert_eq!((world.in_flight(), world.untaken()), (0, 0));
        assert_eq!(world.descriptors(), 0);
    }
}
