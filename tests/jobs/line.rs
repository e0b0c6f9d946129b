//! A whole worker over the simulated kernel, with more large bodies than move in one turn.

use std::time::Duration;

use pitcrew::connection::Farewell;
use pitcrew::engines::Kind;
use pitcrew::ring::simulated::World;

use super::worker::Rig;

const CLIENTS: usize = 4;
const BYTES: usize = 4 << 20;
/// More than the time without progress after which an answer is ended.
const LONG: Duration = Duration::from_secs(61);

/// It is other downloads that are waited for: neither the disk nor a client is slow. The engines
/// that move bodies in the turn have nothing else to wait for.
#[test]
fn who_stands_in_line_for_long_is_not_ended_as_if_the_disk_were_slow() {
    for engine in [Kind::Sendfile, Kind::Splice] {
        let world = World::new(3);
        world.file("large", vec![7; BYTES]);
        let mut rig = Rig::with_engine(world, Vec::new(), engine);
        let clients = [(); CLIENTS].map(|()| rig.ask("/large"));
        while clients.iter().all(|client| client.available() == 0) {
            rig.turn();
        }
        let mut taken = [0; CLIENTS];
        let mut turns = 0;
        while taken.iter().any(|bytes| *bytes < BYTES) {
            // The worker comes to its next turn late each time.
            rig.world.pass(LONG);
            rig.turn();
            turns += 1;
            assert!(turns < 1000, "{engine}: {taken:?}");
            for (client, taken) in clients.iter().zip(&mut taken) {
                *taken += client.read(BYTES).iter().filter(|byte| **byte == 7).count();
            }
        }
        assert!(turns > CLIENTS, "{engine}: they stood in line");
        assert_eq!(rig.shard.connections.farewells(Farewell::DiskTimeout).read(), 0, "{engine}");
    }
}
