//! More clients wait for a disk than there are buffers for heads and answers: the others are served
//! at once, and nobody has to give way for them.

use crate::common::{Server, Wire, eventually, figure, get};
use crate::disk::{Call, content};
use crate::pinned::Pinned;
use crate::{Rig, is_served, learn_for_a_while, others_are_served, rig_with};

/// Clients that wait: more than there are buffers of any kind with [`FEW`].
const WAITING: usize = 200;
/// Memory for 64 heads, and as many answers.
const FEW: &str = "1MiB";
/// Bytes that each asks for.
const PART: usize = 100;

/// A disk that hangs, whose file 0 is open and in memory.
fn hung(engine: &str, head_buffers: &str, call: Call) -> Option<(Rig, Pinned)> {
    let more = ["--head-buffers", head_buffers, "--open-files-valid", "1h"];
    let rig = rig_with(engine, &more)?;
    rig.disk.make_names_known(WAITING);
    others_are_served(&rig.server);
    learn_for_a_while(&rig.server);
    let pinned = Pinned::new(&rig.scratch.join("slow/0"));
    rig.disk.hang(call);
    Some((rig, pinned))
}

/// A client for the begin of a file.
fn ask_for_a_part(server: &Server, number: usize) -> Wire {
    let mut wire = server.connect();
    let range = format!("Range: bytes=0-{}\r\n", PART - 1);
    wire.send(&get(&format!("/slow/{number}"), &range));
    wire
}

/// Clients that wait, each for the file of its number or all for one.
fn all_wait(server: &Server, one_name: bool) -> Vec<(usize, Wire)> {
    let number_of = |client| if one_name { 1 } else { client };
    let ask = |client| (number_of(client), ask_for_a_part(server, number_of(client)));
    (1..=WAITING).map(ask).collect()
}

/// How many wait, without the one who asks.
fn waiting(server: &Server) -> u64 {
    let told = server.telemetry();
    figure(&told, &["phases", "resolving"]) + figure(&told, &["phases", "body"]) - 1
}

fn are_served_at_once(server: &Server) {
    for _ in 0..10 {
        others_are_served(server);
        is_served(server, "/slow/0", &content(0));
    }
}

#[test]
fn clients_that_wait_for_a_disk_leave_buffers_to_everybody_else() {
    let cases = [
        ("sendfile", Call::Read, false),
        ("sendfile", Call::Open, true),
        ("auto", Call::Open, false),
        ("uring", Call::Open, true),
    ];
    for (engine, call, one_name) in cases {
        let case = format!("{engine} {call:?} {one_name}");
        let Some((rig, _pinned)) = hung(engine, FEW, call) else { return };
        let late = all_wait(&rig.server, one_name);
        eventually("all wait", || (waiting(&rig.server) == WAITING as u64).then_some(()));
        are_served_at_once(&rig.server);
        for path in [["farewells", "crowded"], ["connections", "given_way"]] {
            assert_eq!(rig.server.figure(&path), 0, "{case}: {path:?}");
        }
        assert_eq!(waiting(&rig.server), WAITING as u64, "{case}: all wait still");
        assert!(rig.server.figure(&["aside", "heads"]) > 0, "{case}");
        assert!(rig.disk.held() > 0, "{case}: it hangs no more");
        rig.disk.release();
        for (number, mut wire) in late {
            let response = wire.response().unwrap();
            assert_eq!(response.status, 206, "{case} {number}");
            assert!(response.body == content(number)[..PART], "{case} {number}");
        }
        rig.server.figure_until(&["aside", "bytes"], |bytes| bytes == 0);
    }
}

/// Where there is no memory left for those of one disk, who comes next is told so at once.
#[test]
fn who_finds_no_memory_to_wait_for_a_disk_is_told_so_and_the_others_are_served() {
    for (call, one_name) in [(Call::Read, false), (Call::Open, true)] {
        let Some((rig, _pinned)) = hung("sendfile", "64KiB", call) else { return };
        let late = all_wait(&rig.server, one_name);
        let refused = || rig.server.figure(&["refusals", "storage_unavailable"]);
        eventually("all wait where they will, or are told", || {
            let told = rig.server.telemetry();
            // The one who asks waits as if for a name.
            let waiting = match call {
                Call::Read => figure(&told, &["phases", "body"]),
                _ => figure(&told, &["phases", "resolving"]) - 1,
            };
            let refused = figure(&told, &["refusals", "storage_unavailable"]);
            (waiting + refused == WAITING as u64).then_some(())
        });
        let told = refused();
        assert!(told > 0 && told < WAITING as u64, "{call:?}: {told}");
        are_served_at_once(&rig.server);
        assert_eq!(refused(), told, "{call:?}: nobody has to go for them");
        rig.disk.release();
        let statuses = late.into_iter().map(|(_, mut wire)| wire.response().unwrap().status);
        let (served, refused): (Vec<_>, Vec<_>) = statuses.partition(|status| *status == 206);
        assert!(refused.iter().all(|status| *status == 503), "{call:?}: {refused:?}");
        // A name that was waited for is followed by a body, whose head may find no memory again.
        assert!(!served.is_empty() && refused.len() as u64 >= told, "{call:?}: {}", served.len());
    }
}
