//! Deadlines of owners.

use super::*;

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
