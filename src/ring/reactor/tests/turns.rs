//! Whose turn it is to move bytes of a body.

use super::*;
use crate::limits::{LINE_PUT_OFF_MAX, SHORT_BODY_BYTES};

const LARGE: u64 = SHORT_BODY_BYTES + 1;
/// What the rig gives an owner in a turn, and all of them together.
const TURN: u32 = 100_000;

/// Owners that all have a large body to send, of which some have begun.
fn crowd(rig: &mut Rig, begun: &[bool]) -> Vec<(Owner, bool)> {
    begun.iter().map(|begun| (rig.owner(), *begun)).collect()
}

/// Who moves a whole turn of bytes when asked, in one turn of the worker; the others stand in line.
fn movers(rig: &mut Rig, crowd: &mut [(Owner, bool)], woken: &[(Owner, Wake)]) -> Vec<usize> {
    let mut moved = Vec::new();
    for (owner, _) in woken {
        let place = crowd.iter().position(|(other, _)| other == owner).unwrap();
        let (owner, begun) = crowd[place];
        match rig.reactor.io(owner).allowance(LARGE, begun) {
            0 => {}
            count => {
                assert_eq!(count, TURN);
                rig.reactor.spend(owner, count);
                crowd[place].1 = true;
                moved.push(place);
                assert_eq!(rig.reactor.io(owner).allowance(LARGE, true), 0, "it yields");
            }
        }
        rig.reactor.stand_in_line(owner);
    }
    moved
}

/// Who moves in the next turn of the worker.
fn next_movers(rig: &mut Rig, crowd: &mut [(Owner, bool)]) -> Vec<usize> {
    rig.reactor.turn().unwrap();
    let mut moved = Vec::new();
    while let Some(wake) = rig.reactor.next_wake() {
        moved.extend(movers(rig, crowd, &[wake]));
    }
    moved
}

fn ready(crowd: &[(Owner, bool)]) -> Vec<(Owner, Wake)> {
    crowd.iter().map(|(owner, _)| (*owner, Wake::Ready)).collect()
}

#[test]
fn all_together_move_a_turn_of_bytes_and_each_has_its_turn() {
    let mut rig = Rig::new();
    let mut crowd = crowd(&mut rig, &[true; 5]);
    rig.turn();
    let woken = ready(&crowd);
    assert_eq!(movers(&mut rig, &mut crowd, &woken), [0], "the turn is used up");
    let mut order = Vec::new();
    for _ in 0..10 {
        // Who is woken otherwise does not pass those in line.
        let woken = ready(&crowd[2..3]);
        assert!(movers(&mut rig, &mut crowd, &woken).is_empty());
        let moved = next_movers(&mut rig, &mut crowd);
        assert_eq!(moved.len(), 1);
        order.extend(moved);
    }
    assert_eq!(order, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}

#[test]
fn who_begins_and_who_has_begun_come_by_turns() {
    let mut rig = Rig::new();
    let mut crowd = crowd(&mut rig, &[true, true, true, false, false]);
    rig.turn();
    let woken = ready(&crowd);
    assert_eq!(movers(&mut rig, &mut crowd, &woken), [0]);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.extend(next_movers(&mut rig, &mut crowd));
    }
    assert_eq!(order[..4], [0, 3, 1, 4], "who began late does not wait for all others");
    assert_eq!(order[4..], [2, 0]);
}

#[test]
fn a_short_body_does_not_wait() {
    let mut rig = Rig::new();
    let (large, short) = (rig.owner(), rig.owner());
    rig.turn();
    assert_eq!(rig.reactor.io(large).allowance(LARGE, false), TURN);
    rig.reactor.spend(large, TURN);
    assert_eq!(rig.reactor.io(large).allowance(LARGE, true), 0);
    rig.reactor.stand_in_line(large);
    assert_eq!(rig.reactor.io(short).allowance(SHORT_BODY_BYTES, false), TURN);
    rig.reactor.spend(short, TURN);
    assert_eq!(rig.reactor.io(short).allowance(SHORT_BODY_BYTES, true), 0, "but for its own turn");
    let woken = rig.turn();
    assert!(matches!(woken[..], [(owner, Wake::Turn)] if owner == large), "{woken:?}");
    assert_eq!(rig.reactor.io(large).allowance(LARGE, true), TURN, "the other took nothing of it");
}

#[test]
fn what_was_started_for_others_goes_before_the_line() {
    let mut rig = Rig::new();
    let (large, small) = (rig.owner(), rig.owner());
    let (socket, client) = rig.pair(1000);
    rig.turn();
    rig.reactor.stand_in_line(large);
    let mut waited = 0;
    // Small answers without end: they go first, and the line is served all the same.
    for _ in 0..LINE_PUT_OFF_MAX + 1 {
        rig.reactor.turn().unwrap();
        client.read(99);
        rig.submit(small, send(&socket, b"answer"));
        let mut served = false;
        while let Some((owner, _)) = rig.reactor.next_wake() {
            served |= owner == large;
        }
        if served {
            break;
        }
        waited += 1;
    }
    assert_eq!(waited, LINE_PUT_OFF_MAX);
}

#[test]
fn who_goes_while_it_stands_in_line_is_not_woken() {
    let mut rig = Rig::new();
    let (one, other) = (rig.owner(), rig.owner());
    rig.turn();
    rig.reactor.stand_in_line(one);
    rig.reactor.stand_in_line(other);
    rig.reactor.retire(one);
    let woken = rig.turn();
    assert!(matches!(woken[..], [(owner, Wake::Turn)] if owner == other), "{woken:?}");
}
