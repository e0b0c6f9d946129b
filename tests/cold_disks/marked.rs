//! Pages that the kernel has marked when it read a file ahead.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::Advice;

use super::common::{ENGINES, Scratch, eventually, get, skipped};
use super::disk::{Call, content};
use super::{CROWD, is_served, learn_for_a_while, local, local_rig, others_are_served};

/// Bytes that are read of each file, and of which the kernel reads more ahead. The page behind them
/// is marked.
const READ: usize = 64 << 10;
/// Bytes of a page.
const PAGE: usize = 4096;

/// Leaves the begin of a file in memory, with what a read of it has had read ahead.
fn read_begin(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None::<NonZeroU64>, Advice::DontNeed).unwrap();
    file.read_exact_at(&mut vec![0; READ], 0).unwrap();
}

/// Who touches a marked page has what comes behind read, if that is not there, and waits where the
/// queue of the device is full. Here each of a crowd asks for one, of another file.
#[test]
fn what_is_there_but_not_what_comes_behind_delays_nobody_else() {
    const WHAT: &str = "marked pages on a local disk that hangs";
    let scratch = Scratch::new();
    let image = match local::image(&scratch, CROWD + 1, content) {
        Ok(image) => image,
        Err(why) => return skipped(WHAT, &why),
    };
    // `copy` reads in the turn. Of files of another user nothing but a read tells what is there.
    let owners: [&[&str]; 2] = [&[], &["--user", "65534:65534"]];
    let engines = ENGINES.into_iter().filter(|engine| *engine != "copy");
    for (engine, owner) in engines.flat_map(|engine| owners.map(|owner| (engine, owner))) {
        let rig = match local_rig(engine, &image, owner) {
            Ok(rig) => rig,
            Err(why) => return skipped(WHAT, &why),
        };
        others_are_served(&rig.server);
        learn_for_a_while(&rig.server);
        (1..=CROWD).for_each(|number| read_begin(&rig.at.join(number.to_string())));
        rig.disk.hang(Call::Read);
        let range = format!("Range: bytes=0-{}\r\n", READ + PAGE - 1);
        let ask = |number: usize| {
            let mut wire = rig.server.connect();
            wire.send(&get(&format!("/slow/{number}"), &range));
            wire
        };
        let late: Vec<_> = (1..=CROWD).map(ask).collect();
        eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
        for _ in 0..20 {
            others_are_served(&rig.server);
        }
        assert!(rig.disk.held() > 0, "it hangs no more");
        rig.disk.release();
        for (mut wire, number) in late.into_iter().zip(1..) {
            let response = wire.response().unwrap();
            // What waits there since the disk hung may take longer than anybody waits for it.
            let whole = response.status == 206 && response.body == content(number)[..READ + PAGE];
            assert!(whole || response.status == 503, "{engine}: {}", response.status);
        }
        is_served(&rig.server, "/fast.txt", b"fast\n");
    }
}
