//! The whole worker: every operation that it starts meets every fault in turn, with every engine.
//!
//! `tests/contract` does so with the engines alone and knows the cause that each fault must have.
//! Here it is the worker around them: accepting, reading heads, opening, asking for facts, looking
//! at the page cache, listing, hashing, watching, sending, shutting.

use std::collections::BTreeMap;

use super::*;
use crate::common::Fault as Broken;

/// What may befall any operation; an errno that its call never gives, a later kernel may give.
const FAULTS: [Fault; 12] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::INVAL),
    Fault::Fail(Errno::NOMEM),
    Fault::Fail(Errno::NOBUFS),
    Fault::Fail(Errno::MFILE),
    Fault::Fail(Errno::CONNRESET),
    Fault::Fail(Errno::PIPE),
    Fault::Fail(Errno::INTR),
    Fault::Fail(Errno::AGAIN),
    Fault::Fail(Errno::CANCELED),
    Fault::Short(1),
    Fault::Late(Duration::from_millis(70)),
];

/// Operations that pass before the fault.
const PASSES: [u32; 3] = [0, 1, 4];

/// What a client asks for, and what is right: the status, and the bytes where they are known.
struct Asked {
    request: &'static str,
    status: u16,
    body: Option<Vec<u8>>,
}

fn course(setup: Setup) -> Vec<Asked> {
    let data = site::content("data.bin");
    let plain = || Some(site::content("plain.txt"));
    let ask = |request, status, body| Asked { request, status, body };
    let mut all = vec![
        ask("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(large())),
        ask("GET /data.bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, Some(data.clone())),
        ask("GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, plain()),
        ask("GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, plain()),
        ask("GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, plain()),
        ask(
            "GET /data.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=70-9000\r\n\r\n",
            206,
            Some(data[70..=9000].to_vec()),
        ),
        // It is refused, and what may follow is read away.
        ask("GET /plain.txt HTTP/1.1\r\n\r\n", 400, None),
    ];
    if setup == Setup::Listing {
        all.insert(1, ask("GET /bare/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, None));
    }
    all
}

/// More than is read at once when it is cold.
fn large() -> Vec<u8> {
    Pattern::new(77).bytes(0, 200_000)
}

/// Operations that no course here starts, each with who has it meet its faults.
const ELSEWHERE: [Technique; 10] = [
    // Taps and pipes of the access log, and addresses for it: tests/simulation.
    Technique::Tee,
    Technique::PutIn,
    Technique::Peer,
    // Mounts of other kinds, caches that are full, large files of which nothing stays: there, too.
    Technique::Mount,
    Technique::Unwatch,
    Technique::Forget,
    // Asked of a socket that was full in vain: tests/contract.
    Technique::Unacknowledged,
    // Where the network does not copy: there, too.
    Technique::SendZc,
    // A descriptor that is closed is gone, whatever close(2) says.
    Technique::Close,
    // Told to the kernel with the close.
    Technique::Reset,
];

#[test]
fn every_operation_of_every_engine_meets_every_fault() {
    let mut befallen = BTreeMap::<&str, u64>::new();
    let mut failed = Vec::new();
    let tried = Technique::ALL.iter().filter(|one| !ELSEWHERE.contains(one));
    for technique in tried.clone() {
        for engine in Kind::ALL {
            for setup in [Setup::Listing, Setup::ContentTags] {
                for fault in FAULTS {
                    for pass in PASSES {
                        let context = format!("{engine} {setup:?} {technique:?} {fault:?} {pass}");
                        let play = || one(engine, setup, *technique, fault, pass, &context);
                        let Ok(met) = std::panic::catch_unwind(play) else {
                            failed.push(context);
                            break;
                        };
                        *befallen.entry(technique.name()).or_default() += met;
                        if met == 0 {
                            // Nor will it after more of them.
                            break;
                        }
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "see above: {failed:#?}");
    let never: Vec<_> = tried.filter(|one| befallen[one.name()] == 0).collect();
    assert!(never.is_empty(), "no fault befell {never:?}: {befallen:?}");
}

/// Plays the course under one fault; how often it befell.
fn one(
    engine: Kind,
    setup: Setup,
    technique: Technique,
    fault: Fault,
    pass: u32,
    context: &str,
) -> u64 {
    let mut machine = Machine::new(engine, setup);
    machine.world.file("bare/one.txt", "one");
    machine.world.file("large.bin", large());
    machine.world.pass(Duration::from_secs(60));
    machine.world.chill("large.bin");
    machine.world.chill("data.bin");
    machine.world.script(technique, pass, fault);
    let mut line = machine.connect();
    let mut asked = Vec::new();
    for one in course(setup) {
        if line.client.end() != End::Open {
            check(&line.received, &asked, fault, context);
            asked.clear();
            line.client.close();
            line = machine.connect();
        }
        line.client.write(one.request.as_bytes());
        asked.push(one);
        settle(&mut machine, &mut line);
    }
    check(&line.received, &asked, fault, context);
    line.client.close();
    let befallen = machine.world.befallen();
    // Whatever it was, it is over: somebody else is served whole, and nothing is held.
    let served = (0..4).any(|_| {
        let mut other = machine.connect();
        other.client.write(MARKER);
        settle(&mut machine, &mut other);
        other.client.close();
        settle(&mut machine, &mut other);
        other.received.starts_with(b"HTTP/1.1 200 ")
    });
    assert!(served, "{context}: nobody else is served");
    assert_eq!(machine.worker.open(), 0, "{context}");
    machine.is_clean();
    befallen
}

/// Lets the worker go on until nothing more comes, its waits by the clock included.
fn settle(machine: &mut Machine, line: &mut Line) {
    for _ in 0..8 {
        machine.take_in(line);
        machine.world.pass(limits::ACCEPT_RETRY / 4);
    }
}

/// Each answer is the right one or a refusal for now; one that is cut has right bytes until then,
/// and is the last.
fn check(received: &[u8], asked: &[Asked], fault: Fault, context: &str) {
    let mut wire = Wire::past(with_date_of_now(received));
    for Asked { status: expected, body: right, .. } in asked {
        let head = match wire.head() {
            Ok(head) => head,
            // A connection that was never accepted, or cut before it was answered.
            Err(Broken::Closed | Broken::Cut(_)) => return,
            Err(fault) => panic!("{context}: {fault:?} in {}", shown(received)),
        };
        let length = head.field("content-length").expect("every answer has one");
        let length: usize = length.parse().expect("a length");
        let whole = wire.exact(length);
        let (body, is_cut) = match whole {
            Ok(body) => (body, false),
            Err(_) => (wire.rest().0, true),
        };
        match head.status {
            status if status == *expected => {
                if let Some(right) = right {
                    assert_eq!(length, right.len(), "{context}: {head:?}");
                    assert!(right.starts_with(&body), "{context}: wrong bytes");
                }
            }
            // What cannot be read now is not said to be missing.
            408 | 503 => {}
            // What openat2(2) says of names that cannot be.
            404 if fault == Fault::Fail(Errno::INVAL) => {}
            status => panic!("{context}: {status} in {}", shown(received)),
        }
        if is_cut {
            assert!(wire.held().is_empty(), "{context}: more behind a cut answer");
            return;
        }
    }
}

/// The begin of what was received.
fn shown(received: &[u8]) -> String {
    received[..received.len().min(300)].escape_ascii().to_string()
}
