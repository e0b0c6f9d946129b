//! An access log that nobody reads, with requests that wait for room: for a bounded time.

use std::time::Duration;

use pitcrew::access_log::Options;
use pitcrew::access_log::options::{Full, Place};
use pitcrew::connection::Farewell;
use pitcrew::http::refusal::Refusal;
use pitcrew::limits::LOG_RETRY;
use pitcrew::ring::simulated::{End, World};

use super::worker::Rig;

const BOUND: Duration = Duration::from_millis(700);
/// What turns take beside it.
const SLACK: Duration = Duration::from_millis(5);

fn rig() -> Rig {
    waiting(BOUND)
}

/// With requests that wait for room for so long.
fn waiting(wait: Duration) -> Rig {
    let world = World::new(3);
    world.file("small.txt", "small");
    let options = Options {
        sinks: vec![Place::Stdout],
        full: Full::Wait,
        wait,
        buffer: 400,
        flush: Duration::ZERO,
        ..Options::default()
    };
    Rig::logging(world, options)
}

/// Asks once more; how long the answer took, by the clock of the simulated kernel.
fn ask(rig: &mut Rig) -> Duration {
    let begun = rig.world.now();
    let client = rig.ask("/small.txt");
    assert!(rig.first_of(&client).starts_with("HTTP/1.1 200 OK"));
    client.close();
    rig.world.now().since(begun)
}

/// What the log thread takes out of the pipe: lines, some of them torn by its end.
fn read(rig: &mut Rig) -> String {
    let (pipe, ledger) = rig.log.as_mut().unwrap();
    let mut text = Vec::new();
    while let Some(entry) = ledger.take() {
        text.extend(rig.world.empty_pipe(*pipe, entry.length as usize));
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_log_that_nobody_reads_holds_a_request_up_for_its_bound_and_no_longer() {
    let mut rig = rig();
    let mut asked = 0;
    let late = loop {
        let took = ask(&mut rig);
        asked += 1;
        if rig.shard.access_log.waits.read() > 0 {
            break took;
        }
        assert!(took <= SLACK, "{took:?} while there is room");
        assert_eq!(rig.shard.access_log.dropped.read(), 0, "dropped while there is room");
        assert!(asked < 1000, "the log never becomes full");
    };
    assert_eq!(rig.shard.access_log.dropped.read(), 1, "its own record finds no room either");
    assert!(late > BOUND / 2, "{late:?}: it was not held up");
    assert!(late <= BOUND + LOG_RETRY + SLACK, "{late:?} for a bound of {BOUND:?}");
    // From now on nobody waits: records that find no room are dropped, and counted.
    for _ in 0..50 {
        let took = ask(&mut rig);
        asked += 1;
        assert!(took <= SLACK, "{took:?} behind the bound");
    }
    let stats = &rig.shard.access_log;
    let (records, dropped) = (stats.records.read(), stats.dropped.read());
    assert_eq!(stats.waits.read(), 1);
    assert!(dropped >= 45, "{dropped} dropped");
    assert_eq!(records + dropped, asked, "each answer has a record or is counted");
    // A reader that comes back finds all that was kept, and how many are missing.
    let mut text = String::new();
    for _ in 0..100 {
        text += &read(&mut rig);
        rig.world.set_alarm(Some(rig.world.now() + LOG_RETRY));
        assert!(!rig.worker.turn().unwrap());
    }
    ask(&mut rig);
    for _ in 0..3 {
        rig.world.set_alarm(Some(rig.world.now() + LOG_RETRY));
        assert!(!rig.worker.turn().unwrap());
        text += &read(&mut rig);
    }
    let lines = text.lines().filter(|line| line.contains("/small.txt")).count() as u64;
    assert_eq!(lines, records + 1, "{text}");
    assert!(text.contains(&format!("# pitcrew: missing records: {dropped}\n")), "{text}");
    assert_eq!(rig.shard.access_log.waits.read(), 1);
}

/// Who waits for longer than an answer may stay without progress is told to come again, and is not
/// reset: its client did nothing wrong (RFC 9110 section 15.6.4).
#[test]
fn a_request_that_waits_for_the_log_too_long_is_told_to_come_again() {
    let mut rig = waiting(Duration::from_secs(3600));
    let mut asked = 0;
    let (client, answer) = loop {
        let client = rig.ask("/small.txt");
        let answer = rig.first_of(&client);
        if !answer.starts_with("HTTP/1.1 200 OK") {
            break (client, answer);
        }
        client.close();
        asked += 1;
        assert!(asked < 1000, "the log never becomes full");
    };
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert_ne!(client.end(), End::Reset);
    let stats = &rig.shard.connections;
    assert_eq!(stats.farewells(Farewell::SendTimeout).read(), 0);
    assert_eq!(stats.refusals(Refusal::Overloaded).read(), 1);
}
