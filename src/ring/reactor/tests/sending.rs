//! Sends: their order, corks, full sockets.

use super::*;
use crate::limits::STALL;

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
fn a_long_turn_is_a_stall_and_told_apart_if_it_sent_a_file() {
    let mut rig = Rig::new();
    let owner = rig.owner();
    let (socket, _client) = rig.pair(100);
    let file = rig.file(b"0123456789");
    rig.turn();
    let after = |rig: &mut Rig, time| {
        rig.world.pass(time);
        rig.turn();
        (rig.reactor.stats.stalls.read(), rig.reactor.stats.stalls_sending.read())
    };
    assert_eq!(after(&mut rig, STALL / 2), (0, 0));
    assert_eq!(after(&mut rig, STALL), (1, 0));
    let sent = rig.reactor.io(owner).start(sendfile(&socket, &file, None));
    assert!(matches!(sent, Start::Executed(_)), "{sent:?}");
    assert_eq!(after(&mut rig, STALL), (2, 1));
    assert_eq!(after(&mut rig, STALL), (3, 1), "what was sent before is of the turn before");
}
