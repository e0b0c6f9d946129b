//! The reactor over the simulated kernel.

mod deadlines;
mod scarcity;
mod sending;
mod turns;

use std::time::Duration;

use super::*;
use crate::ring::simulated::{Client, End, Fault, Faults, ListenerId, Simulated, World};
use crate::ring::{File, Gather, How, Kept, Outgoing, Scatter, Socket};
use crate::ring::{Io, NoPipe, Obstacle, Start, Via};

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
            rings: 1,
            operations_max,
            owners_max: 8,
            pools: [(4096, 2), (8192, 1), (4096, 1), (65_536, 1), (4096, 2)],
            pipes_max: 2,
            pipe_bytes: 65_536,
            turn_bytes: 100_000,
            shared_turn_bytes: 100_000,
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
    let read = Op::Read { file, offset: 0, buffer, range: 0..9000, via: Via::Memory };
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
        rig.submit(owner, Op::Read { file, offset: 0, buffer, range: 0..100, via: Via::Memory });
        rig.world.connect(id, 10, 10);
        drop(socket);
        let Rig { world, reactor } = rig;
        drop(reactor);
        assert_eq!((world.in_flight(), world.untaken()), (0, 0));
        assert_eq!(world.descriptors(), 0);
    }
}
