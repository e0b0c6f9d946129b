//! Files that are written to in place while they are sent: what becomes of the connection.

use std::time::Duration;

use pitcrew::connection::Farewell;
use pitcrew::engines::Kind;
use pitcrew::http::status::Status;
use pitcrew::ring::Technique;
use pitcrew::ring::simulated::{End, Fault, World};

use super::worker::Rig;

/// The last bytes of it fit into a socket in the turn in which they go into a pipe.
const SIZE: usize = 75_000;
/// So much of an answer fits into the socket.
const WINDOW: usize = 20_000;

/// The bytes of an answer that the kernel has taken whole tell nobody that they are spoilt.
#[test]
fn an_answer_that_is_spoilt_is_cut_and_one_that_is_out_is_reset() {
    for (engine, technique) in
        [(Kind::Sendfile, Technique::Sendfile), (Kind::Splice, Technique::SpliceIn)]
    {
        let (mut cuts, mut resets) = (0, 0);
        for pass in 0.. {
            let world = World::new(pass);
            world.file("a", vec![b'a'; SIZE]);
            world.pass(Duration::from_secs(5));
            world.script(technique, pass as u32, Fault::Overwrite);
            let mut rig = Rig::with_engine(world, Vec::new(), engine);
            let client = rig.world.connect(rig.listener, 1 << 16, WINDOW);
            client.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut got = Vec::new();
            for _ in 0..300 {
                rig.world.pass(Duration::from_millis(1));
                rig.turn();
                if client.end() != End::Open {
                    break;
                }
                got.extend(client.read(usize::MAX));
            }
            let end = client.end();
            if end != End::Open {
                client.close();
                (0..5).for_each(|_| rig.turn());
            }
            let connections = &rig.shard.connections;
            let ends = connections.farewells(Farewell::Truncated).read();
            assert_eq!(connections.responses(Status::Ok).read(), 1, "{engine} {pass}");
            if rig.world.befallen() == 0 {
                assert_eq!((ends, end), (0, End::Open), "{engine} {pass}");
                break;
            }
            assert_eq!(ends, 1, "{engine} {pass}: {end:?}");
            assert_eq!(rig.shard.engines.engine(engine).failed.read(), 1);
            match end {
                End::Reset => resets += 1,
                End::Closed => {
                    let head = got.windows(4).position(|at| at == b"\r\n\r\n");
                    let body = head.map_or(0, |head| got.len() - head - 4);
                    assert!(body < SIZE, "{engine} {pass}: nobody takes it for whole");
                    cuts += 1;
                }
                End::Open => panic!("{engine} {pass}: the connection goes on"),
            }
        }
        assert!(cuts > 0 && resets > 0, "{engine}: {cuts} cuts, {resets} resets");
    }
}
