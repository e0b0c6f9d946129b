//! Disks that are slow, that hang and that fail, made by a file system in user space: who is served
//! meanwhile, and how it ends.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "cold_disks/crowds.rs"]
mod crowds;
#[path = "cold_disks/disk.rs"]
mod disk;
#[path = "cold_disks/local.rs"]
mod local;
#[path = "cold_disks/marked.rs"]
mod marked;
#[path = "cold_disks/noting.rs"]
mod noting;
#[path = "cold_disks/pinned.rs"]
mod pinned;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{ENGINES, Launch, Scratch, Server, Wire, eventually, get, skipped};
use disk::{Call, Disk, FILE_BYTES, IMAGE, content};
use local::Local;
use pinned::Pinned;
use rustix::process::Signal;
use tempfile::TempDir;

/// Clients that wait for the disk: more than one worker may have threads of the kernel for.
const MANY: usize = 40;
/// Clients that wait for it, of each of whom the queue of a device has a request: more than fit.
const CROWD: usize = 300;

struct Rig {
    /// It ends first: a disk with open files cannot be taken off.
    server: Server,
    disk: Disk,
    scratch: Scratch,
}

impl Drop for Rig {
    /// A server that is to end must not wait for its disk.
    fn drop(&mut self) {
        self.disk.release();
    }
}

/// A tree with files of its own, and the disk beneath `slow`; none where FUSE cannot be had.
fn rig(engine: &str) -> Option<Rig> {
    rig_with(engine, &[])
}

fn rig_with(engine: &str, more: &[&str]) -> Option<Rig> {
    let scratch = Scratch::new();
    scratch.write("fast.txt", "fast\n");
    scratch.write("other.txt", "other\n");
    let disk = mounted(&scratch)?;
    let arguments = ["--engine", engine, "--workers", "1", "--drain-timeout", "1s"];
    let server = Launch::new(&[&arguments[..], more].concat()).root(scratch.path()).start();
    Some(Rig { server, disk, scratch })
}

/// The disk beneath `slow`.
fn mounted(scratch: &Scratch) -> Option<Disk> {
    std::fs::create_dir(scratch.join("slow")).unwrap();
    let disk = Disk::mount(&scratch.join("slow"));
    if let Err(error) = &disk {
        skipped("disks that hang", &format!("no FUSE here: {error}"));
    }
    disk.ok()
}

/// A server over a disk of this machine, all of whose blocks lie on one that can be made to hang.
struct LocalRig {
    /// As above, each stands on the next.
    server: Server,
    _local: Local,
    disk: Disk,
    /// Where the local disk is mounted.
    at: PathBuf,
    _scratch: TempDir,
}

impl Drop for LocalRig {
    fn drop(&mut self) {
        self.disk.release();
    }
}

fn local_rig(engine: &str, image: &Path, more: &[&str]) -> Result<LocalRig, String> {
    rig_that_reads_ahead(engine, image, more, None)
}

/// The same, where the kernel reads so many bytes ahead.
fn rig_that_reads_ahead(
    engine: &str,
    image: &Path,
    more: &[&str],
    bytes: Option<usize>,
) -> Result<LocalRig, String> {
    // The directory of the build may lie beneath one that is for its owner alone.
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let root = scratch.path().join("root");
    let (at, beneath) = (root.join("slow"), scratch.path().join("beneath"));
    std::fs::create_dir_all(&at).and_then(|()| std::fs::create_dir(&beneath)).unwrap();
    std::fs::write(root.join("fast.txt"), "fast\n").unwrap();
    std::fs::write(root.join("other.txt"), "other\n").unwrap();
    let disk = Disk::mount_with_image(&beneath, image).map_err(|error| error.to_string())?;
    let local = Local::mount(&beneath.join(IMAGE), &at, bytes)?;
    let arguments = ["--engine", engine, "--workers", "1"];
    let server = Launch::new(&[&arguments[..], more].concat()).root(&root).start();
    Ok(LocalRig { server, _local: local, disk, at, _scratch: scratch })
}

fn ask(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(&get(path, ""));
    wire
}

fn is_served(server: &Server, path: &str, body: &[u8]) {
    let response = ask(server, path)
        .response()
        .unwrap_or_else(|fault| panic!("{path}: {fault:?}\n{:#}", server.telemetry()));
    assert_eq!(response.status, 200, "{path}\n{:#}", server.telemetry());
    assert!(response.body == body, "{path}: other bytes, {} of them", response.body.len());
}

/// Everybody on the other mount is served, known or not.
fn others_are_served(server: &Server) {
    is_served(server, "/fast.txt", b"fast\n");
    is_served(server, "/other.txt", b"other\n");
}

#[test]
fn a_disk_that_hangs_delays_nobody_on_another_mount() {
    for engine in ENGINES {
        for call in [Call::Lookup, Call::Open, Call::Getattr, Call::Read] {
            if engine == "copy" && call == Call::Read {
                // It reads in the turn: see below.
                continue;
            }
            let Some(rig) = rig(engine) else { return };
            is_served(&rig.server, "/fast.txt", b"fast\n");
            is_served(&rig.server, "/slow/0", &content(0));
            if call != Call::Lookup {
                rig.disk.make_names_known(MANY);
            }
            rig.disk.hang(call);
            let late: Vec<_> =
                (1..=MANY).map(|number| ask(&rig.server, &format!("/slow/{number}"))).collect();
            eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
            for _ in 0..20 {
                others_are_served(&rig.server);
            }
            rig.disk.release();
            for (number, mut wire) in (1..=MANY).zip(late) {
                let response = wire.response().unwrap();
                assert!(response.body == content(number), "{engine} {call:?} {number}");
            }
        }
    }
}

/// What is mounted while the server runs has a share of its own, as what was there before.
#[test]
fn disks_that_are_mounted_later_and_hang_delay_nobody() {
    let scratch = Scratch::new();
    scratch.write("fast.txt", "fast\n");
    scratch.write("other.txt", "other\n");
    let places = ["slow", "slower"].map(|name| scratch.join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let server = Launch::new(&["--workers", "1"]).root(scratch.path()).start();
    let mut disks = Vec::new();
    for place in &places {
        match Disk::mount(place) {
            Ok(disk) => disks.push(disk),
            Err(error) => return skipped("disks that come later", &format!("no FUSE: {error}")),
        }
        eventually("the mount is noticed", || {
            let told = server.stderr().matches("beneath served directories has changed").count();
            (told == disks.len()).then_some(())
        });
    }
    for hung in [0, 1] {
        let (disk, name) = (&disks[hung], ["slow", "slower"][hung]);
        disk.hang(Call::Lookup);
        let late: Vec<_> =
            (1..=MANY).map(|number| ask(&server, &format!("/{name}/{number}"))).collect();
        eventually("the disk hangs", || (disk.held() > 0).then_some(()));
        for number in 0..20 {
            others_are_served(&server);
            // Nor is the other one of the two.
            let other = ["slower", "slow"][hung];
            is_served(&server, &format!("/{other}/{number}"), &content(number));
        }
        disk.release();
        for (number, mut wire) in (1..=MANY).zip(late) {
            assert!(wire.response().unwrap().body == content(number), "{name} {number}");
        }
    }
    // It is gone before its disks are.
    drop(server);
}

/// The engine `copy` is the measure and reads as the simplest server does: its worker waits in the
/// read. Whoever came meanwhile is served when the disk answers, and no byte is wrong.
#[test]
fn copy_waits_for_a_disk_that_hangs_in_read_and_goes_on_with_everybody() {
    let Some(rig) = rig("copy") else { return };
    is_served(&rig.server, "/fast.txt", b"fast\n");
    is_served(&rig.server, "/slow/0", &content(0));
    rig.disk.make_names_known(MANY);
    rig.disk.hang(Call::Read);
    let late: Vec<_> =
        (1..=MANY).map(|number| ask(&rig.server, &format!("/slow/{number}"))).collect();
    eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
    let others: Vec<_> = (0..MANY).map(|_| ask(&rig.server, "/fast.txt")).collect();
    rig.disk.release();
    for (number, mut wire) in (1..=MANY).zip(late) {
        assert!(wire.response().unwrap().body == content(number), "{number}");
    }
    for mut wire in others {
        assert_eq!(wire.response().unwrap().body, b"fast\n");
    }
}

/// Every answer of the disk is waited for, and others are served while it is.
#[test]
fn a_slow_disk_delays_nobody_and_its_bytes_come() {
    for engine in ENGINES.into_iter().filter(|engine| *engine != "copy") {
        let Some(rig) = rig(engine) else { return };
        rig.disk.hang(Call::Read);
        let mut late = ask(&rig.server, "/slow/7");
        let reading = std::thread::spawn(move || late.response().unwrap().body);
        let mut waited = 0;
        eventually("the slow body has come", || {
            if rig.disk.held() > 0 {
                waited += 1;
                others_are_served(&rig.server);
                rig.disk.answer_one();
            }
            reading.is_finished().then_some(())
        });
        assert!(reading.join().unwrap() == content(7), "{engine}");
        assert!(waited > 1, "{engine}: the disk was asked more than once");
    }
}

#[test]
fn a_file_that_is_open_and_resident_is_served_while_its_disk_hangs_in_read() {
    let Some(rig) = rig_with("sendfile", &["--open-files-valid", "1h"]) else { return };
    is_served_while_the_disk_hangs(&rig, Call::Read);
}

/// The facts of a file are asked of the disk when it is opened, and later of what this machine
/// knows. By every engine that does not read in the turn itself, and by `auto`.
#[test]
fn a_file_that_is_open_and_resident_is_served_while_its_disk_hangs_in_getattr() {
    for engine in ENGINES.into_iter().filter(|engine| *engine != "copy") {
        // A name that is due to be looked up again is one of those that wait.
        let Some(rig) = rig_with(engine, &["--open-files-valid", "1h"]) else { return };
        rig.disk.make_names_known(MANY);
        is_served_while_the_disk_hangs(&rig, Call::Getattr);
    }
}

/// Nothing tells of changes on such a disk, so a name of it is due now and then: it is looked up
/// again, and what is open stands in when that does not come back.
#[test]
fn a_file_whose_name_is_due_is_served_while_its_disk_hangs() {
    for (engine, call) in [("auto", Call::Open), ("sendfile", Call::Getattr), ("uring", Call::Open)]
    {
        let Some(rig) = rig_with(engine, &["--open-files-valid", "1s"]) else { return };
        rig.disk.make_names_known(MANY);
        learn_for_a_while(&rig.server);
        rig.disk.hang(call);
        let unproven = || rig.server.figure(&["cache", "served_unproven"]);
        eventually("the name is due, and the disk does not answer", || {
            is_served(&rig.server, "/slow/0", &content(0));
            (unproven() > 0).then_some(())
        });
        for _ in 0..5 {
            let before = unproven();
            is_served(&rig.server, "/slow/0", &content(0));
            assert!(unproven() > before, "{engine} {call:?}: it is not waited for again");
        }
        assert!(rig.disk.held() > 0, "it hangs no more");
        others_are_served(&rig.server);
        rig.disk.release();
        let proven = || rig.server.figure(&["cache", "revalidations"]);
        eventually("the name is looked up again, and that is waited for", || {
            let before = (unproven(), proven());
            is_served(&rig.server, "/slow/0", &content(0));
            (unproven() == before.0 && proven() > before.1).then_some(())
        });
    }
}

/// A file system of this machine on a device that hangs. Its opens and reads are not left to
/// threads of the kernel from the start, as it answers at once what is in memory.
#[test]
fn a_local_disk_that_hangs_delays_nobody_else_and_who_waits_for_it_is_told() {
    const WHAT: &str = "a local disk that hangs";
    let scratch = Scratch::new();
    let image = match local::image(&scratch, MANY + 1, content) {
        Ok(image) => image,
        Err(why) => return skipped(WHAT, &why),
    };
    // `copy` reads in the turn.
    for engine in ENGINES.into_iter().filter(|engine| *engine != "copy") {
        // Long enough for what a busy machine does not get to at once, which is no disk's fault.
        let rig = match local_rig(engine, &image, &["--send-timeout", "3s"]) {
            Ok(rig) => rig,
            Err(why) => return skipped(WHAT, &why),
        };
        is_served(&rig.server, "/fast.txt", b"fast\n");
        learn_for_a_while(&rig.server);
        let _pinned = Pinned::new(&rig.at.join("0"));
        rig.disk.hang(Call::Read);
        let late: Vec<_> =
            (1..=MANY).map(|number| ask(&rig.server, &format!("/slow/{number}"))).collect();
        eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
        for _ in 0..20 {
            others_are_served(&rig.server);
            is_served(&rig.server, "/slow/0", &content(0));
        }
        for mut wire in late {
            assert_eq!(wire.response().unwrap().status, 503, "{engine}");
        }
        rig.server.figure_until(&["farewells", "disk_timeout"], |count| count == MANY as u64);
        assert_eq!(rig.server.figure(&["farewells", "send_timeout"]), 0, "{engine}");
        others_are_served(&rig.server);
        assert!(rig.disk.held() > 0, "it hangs no more");
        rig.disk.release();
        eventually("the disk answers again", || {
            // What waits there since the disk hung may take longer than anybody waits for it.
            let response = ask(&rig.server, "/slow/1").response();
            response.is_ok_and(|one| one.status == 200 && one.body == content(1)).then_some(())
        });
    }
}

/// A page that is being read counts as one of the page cache, and whoever sends it waits.
#[test]
fn a_page_on_its_way_delays_nobody_else() {
    const WHAT: &str = "a page that is on its way";
    let scratch = Scratch::new();
    let image = match local::image(&scratch, 2, content) {
        Ok(image) => image,
        Err(why) => return skipped(WHAT, &why),
    };
    for engine in ["sendfile", "splice", "auto", "uring"] {
        let rig = match local_rig(engine, &image, &[]) {
            Ok(rig) => rig,
            Err(why) => return skipped(WHAT, &why),
        };
        is_served(&rig.server, "/fast.txt", b"fast\n");
        let path = rig.at.join("0");
        assert!(std::fs::read(&path).unwrap() == content(0), "all of it is there");
        // Far from the places at which a look might be content with every sixteenth page.
        let hole = 5 * 4096;
        let file = std::fs::File::open(&path).unwrap();
        let page = std::num::NonZeroU64::new(4096);
        rustix::fs::fadvise(&file, hole, page, rustix::fs::Advice::DontNeed).unwrap();
        rig.disk.hang(Call::Read);
        let reader = std::thread::spawn(move || {
            std::os::unix::fs::FileExt::read_at(&file, &mut [0], hole).unwrap()
        });
        eventually("the page is on its way", || (rig.disk.held() > 0).then_some(()));
        let mut late = ask(&rig.server, "/slow/0");
        for _ in 0..20 {
            others_are_served(&rig.server);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        rig.disk.release();
        assert_eq!(reader.join().unwrap(), 1);
        let response = late.response().unwrap();
        assert!(response.status == 200 && response.body == content(0), "{engine}");
    }
}

/// The queue of the device is full of what they wait for, and the kernel has whoever begins one
/// more read wait for a place: that must not be the worker. All is known but what the files hold,
/// so nothing else holds up the reads.
#[test]
fn a_crowd_that_waits_for_a_local_disk_that_hangs_delays_nobody_else() {
    const WHAT: &str = "a local disk with a full queue that hangs";
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
        let _pinned = Pinned::new(&rig.at.join("0"));
        for number in 1..=CROWD {
            std::fs::metadata(rig.at.join(number.to_string())).unwrap();
        }
        rig.disk.hang(Call::Read);
        let late: Vec<_> =
            (1..=CROWD).map(|number| ask(&rig.server, &format!("/slow/{number}"))).collect();
        eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
        for _ in 0..20 {
            others_are_served(&rig.server);
            // It was seen in memory, so the kernel is asked for it whoever owns it.
            is_served(&rig.server, "/slow/0", &content(0));
        }
        assert!(rig.disk.held() > 0, "it hangs no more");
        rig.disk.release();
        drop(late);
        eventually("the disk answers again", || {
            // What waits there since the disk hung may take longer than anybody waits for it.
            let response = ask(&rig.server, "/slow/1").response();
            response.is_ok_and(|one| one.status == 200 && one.body == content(1)).then_some(())
        });
    }
}

/// Others wait for the disk, and a file of it is served again and again.
fn is_served_while_the_disk_hangs(rig: &Rig, call: Call) {
    learn_for_a_while(&rig.server);
    let _pinned = Pinned::new(&rig.scratch.join("slow/0"));
    rig.disk.hang(call);
    let late: Vec<_> =
        (1..=MANY).map(|number| ask(&rig.server, &format!("/slow/{number}"))).collect();
    eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
    for _ in 0..5 {
        is_served(&rig.server, "/slow/0", &content(0));
    }
    others_are_served(&rig.server);
    assert!(rig.disk.held() > 0, "it hangs no more");
    rig.disk.release();
    for (number, mut wire) in (1..=MANY).zip(late) {
        assert!(wire.response().unwrap().body == content(number), "{call:?} {number}");
    }
}

/// A name of the disk is asked for until it is good for the revalidation time.
fn learn_for_a_while(server: &Server) {
    is_served(server, "/slow/0", &content(0));
    let revalidations = || server.figure(&["cache", "revalidations"]);
    // Each request looks the name up until it is known whether the directory can be watched.
    eventually("the name is good for a while", || {
        let before = revalidations();
        is_served(server, "/slow/0", &content(0));
        (revalidations() == before).then_some(())
    });
}

#[test]
fn a_disk_that_hangs_in_close_delays_nobody() {
    let Some(rig) = rig("sendfile") else { return };
    rig.disk.hang(Call::Flush);
    // Names are looked up again after a second, and what was opened for that is closed at once.
    for number in 0..MANY {
        is_served(&rig.server, &format!("/slow/{number}"), &content(number));
    }
    eventually("a file is closed", || {
        is_served(&rig.server, "/slow/0", &content(0));
        (rig.disk.held() > 0).then_some(())
    });
    others_are_served(&rig.server);
    is_served(&rig.server, "/slow/1", &content(1));
    rig.disk.release();
    others_are_served(&rig.server);
}

#[test]
fn a_disk_that_fails_in_the_middle_cuts_the_connection() {
    for engine in ENGINES {
        let Some(rig) = rig(engine) else { return };
        rig.disk.fail_from(FILE_BYTES as u64 / 2);
        let mut wire = ask(&rig.server, "/slow/3");
        let head = wire.head().unwrap();
        assert_eq!(head.status, 200);
        let (body, _) = wire.rest();
        assert!(body.len() < FILE_BYTES && content(3).starts_with(&body), "{engine}: wrong bytes");
        others_are_served(&rig.server);
        // It is counted at the end of the connection, which waits a little for the client.
        drop(wire);
        rig.server.figure_until(&["farewells", "disk_error"], |count| count == 1);
    }
}

/// RFC 9110 section 15.6.4: it may be there in a moment.
#[test]
fn a_disk_that_does_not_answer_in_time_is_503_and_not_the_client_s_fault() {
    for engine in ENGINES.into_iter().filter(|engine| *engine != "copy") {
        let Some(rig) = rig_with(engine, &["--send-timeout", "2s"]) else { return };
        rig.disk.hang(Call::Read);
        let mut wire = ask(&rig.server, "/slow/3");
        let response = wire.response().unwrap();
        assert_eq!(response.status, 503, "{engine}");
        drop(wire);
        rig.server.figure_until(&["farewells", "disk_timeout"], |count| count == 1);
        assert_eq!(rig.server.figure(&["farewells", "send_timeout"]), 0, "{engine}");
        others_are_served(&rig.server);
    }
}

#[test]
fn a_server_drains_while_a_disk_hangs() {
    for call in [Call::Open, Call::Read] {
        let Some(mut rig) = rig("sendfile") else { return };
        is_served(&rig.server, "/slow/0", &content(0));
        rig.disk.hang(call);
        let _late = ask(&rig.server, "/slow/5");
        eventually("the disk hangs", || (rig.disk.held() > 0).then_some(()));
        rig.server.signal(Signal::TERM);
        eventually("the server has drained", || {
            rig.server.stderr().contains("INFO ended").then_some(())
        });
        // What is left is the kernel's: a process goes when its calls into the disk have ended,
        // and those do not end before the disk answers, whatever signal comes.
        rig.disk.release();
        assert!(rig.server.wait().success(), "{call:?}");
    }
}

/// A server whose configuration names the disk.
fn rig_that_serves_the_disk() -> Option<Rig> {
    let scratch = Scratch::new();
    scratch.write("fast.txt", "fast\n");
    scratch.write("other.txt", "other\n");
    let disk = mounted(&scratch)?;
    let slow = scratch.join("slow");
    let mount = format!("[[mounts]]\npath = \"/disk/\"\nroot = \"{}\"\n", slow.display());
    let file = scratch.write("pitcrew.toml", &mount);
    let arguments = ["--config", file.to_str().unwrap(), "--workers", "1", "--drain-timeout", "1s"];
    let server = Launch::new(&arguments).root(scratch.path()).start();
    is_served(&server, "/disk/0", &content(0));
    Some(Rig { server, disk, scratch })
}

/// Who looks at the directories of a configuration hangs with them, and must not be who hears
/// signals.
#[test]
fn a_server_drains_while_a_reload_waits_for_a_disk() {
    let Some(mut rig) = rig_that_serves_the_disk() else { return };
    rig.disk.hang(Call::Getattr);
    rig.server.signal(Signal::HUP);
    eventually("the reload waits for the disk", || (rig.disk.held() > 0).then_some(()));
    others_are_served(&rig.server);
    rig.server.signal(Signal::TERM);
    eventually("the server has drained", || {
        rig.server.stderr().contains("INFO ended").then_some(())
    });
    // What is left is the kernel's, as above.
    rig.disk.release();
    assert!(rig.server.wait().success());
}

#[test]
fn a_reload_from_a_disk_that_hangs_is_refused_until_it_answers() {
    let Some(rig) = rig_that_serves_the_disk() else { return };
    let Rig { server, disk, scratch } = &rig;
    let refused =
        |count| server.figure_until(&["configuration", "refused"], |so_far| so_far == count);
    disk.hang(Call::Getattr);
    server.signal(Signal::HUP);
    refused(1);
    let held = disk.held();
    assert!(held > 0, "it waited for the disk");
    let why = format!("the disk of '{}' has not answered", scratch.join("slow").display());
    eventually("the disk is named", || server.stderr().contains(&why).then_some(()));
    // Nobody else hangs, too.
    server.signal(Signal::HUP);
    refused(2);
    assert_eq!(disk.held(), held);
    others_are_served(server);
    disk.release();
    eventually("it may be asked again", || {
        server.stderr().contains("the disk that a reload waited for has answered").then_some(())
    });
    server.signal(Signal::HUP);
    server.figure_until(&["configuration", "reloads"], |count| count == 1);
    is_served(server, "/disk/1", &content(1));
}

#[test]
fn what_is_known_of_mounts_is_shown() {
    let Some(rig) = rig("sendfile") else { return };
    is_served(&rig.server, "/fast.txt", b"fast\n");
    is_served(&rig.server, "/slow/0", &content(0));
    rig.server.figure_until(&["mounts", "known"], |count| count >= 2);
    assert!(rig.server.figure(&["mounts", "blocking"]) >= 1);
}
