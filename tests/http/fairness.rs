//! Large bodies yield: what they move in one turn of the worker is bounded, and who asks for
//! something small meanwhile waits for a few turns, however many they are.

use super::*;

/// Clients that download.
const CROWD: usize = 5;
/// Turns from a small request to its answer: its bytes are waited for, read, answered and sent, and
/// some of these let the downloads have a turn in between.
const TURNS_MAX: usize = 12;
/// What all large bodies move in one turn at most: a whole turn of one of them begins as long as
/// anything is left of the one they share.
const BYTES_MAX: u64 = (limits::SHARED_TURN_BYTES + limits::TURN_BYTES) as u64 + HEADS_BYTES;
/// Heads of all of them, and the small answer, are less.
const HEADS_BYTES: u64 = 16 << 10;

/// Bytes that were given to sockets.
fn moved(machine: &Machine) -> u64 {
    machine.shard.connections.bytes.read()
}

#[test]
fn a_small_answer_waits_for_a_turn_of_bytes_and_not_for_all_downloads() {
    for engine in Kind::ALL {
        let mut machine = Machine::new(engine, Setup::Usual);
        machine.world.file("big.bin", site::content("big.bin"));
        machine.world.pass(HOUR);
        // The small file is in memory, and its name is known.
        let mut small = machine.connect();
        machine.send(&mut small, b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(small.received.starts_with(b"HTTP/1.1 200"), "{engine}");
        // Sockets that take all of the file, and clients that have read nothing yet.
        let room = site::BIG_BYTES as usize + 4096;
        let crowd: Vec<_> =
            (0..CROWD).map(|_| machine.world.connect(machine.listener, room, room)).collect();
        for client in &crowd {
            client.write(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        machine.world.set_alarm(None);
        let (mut turns, mut asked, mut answered) = (0, None, None);
        let all = CROWD as u64 * site::BIG_BYTES;
        let before = moved(&machine);
        while moved(&machine) - before < all {
            let start = moved(&machine);
            machine.worker.turn().expect("the kernel is entered");
            let bytes = moved(&machine) - start;
            assert!(bytes <= BYTES_MAX, "{engine}: {bytes} bytes in one turn");
            turns += 1;
            assert!(turns < 100_000, "{engine}: {} bytes of {all}", moved(&machine) - before);
            if asked.is_none() && moved(&machine) - before > all / 4 {
                small.client.write(b"GET /plain.txt HTTP/1.1\r\nHost: a\r\n\r\n");
                asked = Some(turns);
            }
            if asked.is_some() && answered.is_none() && !small.client.read(usize::MAX).is_empty() {
                answered = Some(turns);
            }
        }
        let asked = asked.expect("the downloads take many turns");
        let answered = answered.unwrap_or_else(|| panic!("{engine}: not before they ended"));
        // A read of the ring takes as long as the simulated disk does.
        let reads = matches!(engine, Kind::Uring | Kind::Direct);
        assert!(reads || answered - asked <= TURNS_MAX, "{engine}: {} turns", answered - asked);
        machine.settle();
        for client in crowd {
            let received = client.read(usize::MAX);
            assert!(received.ends_with(&site::content("big.bin")), "{engine}: the bytes");
            client.close();
        }
        small.client.close();
        machine.settle();
        machine.is_clean();
    }
}
