//! Pages that the kernel has marked when it read a file ahead.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use pitcrew::techniques::residency::Map;
use rustix::fs::Advice;

use super::common::{ENGINES, Scratch, eventually, get, skipped};
use super::disk::{Call, content};
use super::{
    CROWD, LocalRig, is_served, learn_for_a_while, local, local_rig, others_are_served,
    rig_that_reads_ahead,
};

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

/// Bytes that the kernel reads ahead in one go, and half of what clients have read of each file.
const AHEAD: usize = 256 << 10;
/// Bytes of a file: as many as the kernel may have read ahead by then, and a window behind.
const LONG: usize = 6 * AHEAD;
/// Files of that length.
const LONG_FILES: usize = 4;

fn long(number: usize) -> Vec<u8> {
    content(number).into_iter().cycle().take(LONG).collect()
}

/// Bytes from the begin of a file on that are in memory, when the kernel has read ahead.
fn resident_bytes(path: &Path) -> usize {
    let map = Map::new(File::open(path).unwrap()).unwrap();
    let page = PAGE as u64;
    let count =
        || (0..LONG / PAGE).take_while(|at| map.has(*at as u64 * page, page).unwrap()).count();
    let mut before = 0;
    eventually("the kernel has read ahead", || {
        std::thread::sleep(Duration::from_millis(5));
        let now = count();
        (std::mem::replace(&mut before, now) == now).then_some(now * PAGE)
    })
}

/// The kernel remembers of each open file which page it has marked last: who touches it by that
/// has all of the next window read, though others have read the begin of that already. Here nobody
/// waits for it, as the queue has room; with that full the worker would.
#[test]
fn what_others_have_read_of_the_next_window_hides_no_mark() {
    const WHAT: &str = "windows that others have begun, on a local disk that hangs";
    let scratch = Scratch::new();
    let image = match local::image(&scratch, LONG_FILES, long) {
        Ok(image) => image,
        Err(why) => return skipped(WHAT, &why),
    };
    // The others read in the turn, or past the page cache.
    for engine in ["sendfile", "splice", "uring"] {
        let options = ["--open-files-valid", "1h"];
        let rig = match rig_that_reads_ahead(engine, &image, &options, Some(AHEAD)) {
            Ok(rig) => rig,
            Err(why) => return skipped(WHAT, &why),
        };
        others_are_served(&rig.server);
        let marked: Vec<_> = (0..LONG_FILES).map(|number| leave_a_window(&rig, number)).collect();
        rig.disk.hang(Call::Read);
        let late: Vec<_> = (0..LONG_FILES)
            .map(|number| {
                let from = marked[number];
                let range = format!("Range: bytes={from}-{}\r\n", from + READ - 1);
                let mut wire = rig.server.connect();
                wire.send(&get(&format!("/slow/{number}"), &range));
                wire
            })
            .collect();
        for _ in 0..20 {
            others_are_served(&rig.server);
        }
        for (number, mut wire) in late.into_iter().enumerate() {
            let (response, from) = (wire.response().unwrap(), marked[number]);
            assert_eq!(response.status, 206, "{engine}");
            assert!(response.body == long(number)[from..from + READ], "{engine} {number}");
        }
        assert_eq!(rig.disk.held(), 0, "{engine}: a read has begun");
        rig.disk.release();
    }
}

/// A client reads the begin of a file, and another process the begin of the window behind what the
/// kernel has read ahead for that. Where the page is that it has marked.
fn leave_a_window(rig: &LocalRig, number: usize) -> usize {
    let path = rig.at.join(number.to_string());
    // One window after the other, as threads that read two at once find no order in them.
    for from in [0, AHEAD] {
        let end = from + AHEAD;
        let mut wire = rig.server.connect();
        let range = format!("Range: bytes={from}-{}\r\n", end - 1);
        wire.send(&get(&format!("/slow/{number}"), &range));
        let response = wire.response().unwrap();
        assert!(response.status == 206 && response.body == long(number)[from..end]);
    }
    let end = resident_bytes(&path);
    assert!(end > 2 * AHEAD && end + AHEAD <= LONG, "{end} bytes are in memory");
    let other = File::open(&path).unwrap();
    rustix::fs::fadvise(&other, 0, None::<NonZeroU64>, Advice::Random).unwrap();
    other.read_exact_at(&mut vec![0; 2 * READ], end as u64).unwrap();
    end - AHEAD
}
