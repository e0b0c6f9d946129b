//! The promised bytes or a cut connection, never wrong bytes, never a hang.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use pitcrew::limits::FOLIO_BYTES_MAX;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::common::{
    ENGINES, Fault, Pattern, Scratch, Server, Wire, digest_of_bytes, eventually, get,
};

/// More than the buffers of both sockets take, so that the server is in the middle of it.
const BIG: u64 = 24 << 20;
const SEED: u64 = 11;

/// A download that stands still because its client does not read.
struct Stalled {
    wire: Wire,
    taken: Vec<u8>,
}

impl Stalled {
    fn new(server: &Server, path: &str) -> Self {
        let mut wire = Wire::narrow(server.address());
        wire.send(&get(path, ""));
        let head = wire.head().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-length"), Some(BIG.to_string().as_str()));
        let taken = wire.exact(1_000).unwrap();
        Self { wire, taken }
    }

    /// Reads to the promised length, or as far as it goes.
    fn finish(mut self) -> (Vec<u8>, Option<Fault>) {
        self.wire.widen();
        match self.wire.exact(BIG as usize - self.taken.len()) {
            Ok(rest) => {
                self.taken.extend(rest);
                self.wire.serves().unwrap();
                (self.taken, None)
            }
            Err(fault) => {
                self.taken.extend_from_slice(self.wire.held());
                (self.taken, Some(fault))
            }
        }
    }
}

fn tree() -> Scratch {
    let scratch = Scratch::new();
    scratch.pattern("big.bin", SEED, BIG);
    scratch.write("plain.txt", "still here\n");
    scratch
}

fn goes_on(server: &Server) {
    let mut wire = server.connect();
    wire.send(&get("/plain.txt", ""));
    assert_eq!(wire.response().unwrap().body, b"still here\n");
}

/// RFC 9112 section 8: what is short of its length is incomplete, and nothing is padded.
#[test]
fn a_file_truncated_to_nothing_cuts_its_downloads() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        goes_on(&server);
        File::create(scratch.join("big.bin")).unwrap();
        let (taken, fault) = stalled.finish();
        assert!(matches!(fault, Some(Fault::Cut(_))), "{engine}: {fault:?}");
        assert!((taken.len() as u64) < BIG, "{engine}");
        assert!(taken == Pattern::new(SEED).bytes(0, taken.len()), "{engine}: wrong bytes");
        goes_on(&server);
    }
}

/// RFC 9112 section 8.
#[test]
fn a_file_truncated_in_the_middle_cuts_its_downloads() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        let left = (14 << 20) + 77;
        OpenOptions::new()
            .write(true)
            .open(scratch.join("big.bin"))
            .unwrap()
            .set_len(left)
            .unwrap();
        let (taken, fault) = stalled.finish();
        assert!(matches!(fault, Some(Fault::Cut(_))), "{engine}: {fault:?}");
        let expected = Pattern::new(SEED).bytes(0, taken.len());
        let kept = taken.len().min(left as usize);
        assert!(taken[..kept] == expected[..kept], "{engine}: wrong bytes");
        // What is on its way by reference shows the change: the kernel clears what is behind the
        // end in the piece of the page cache (a folio) in which the file now ends. It may not show
        // anything else.
        let by_reference = ["sendfile", "splice", "auto"].contains(&engine);
        let cleared = (left.next_multiple_of(FOLIO_BYTES_MAX)) as usize;
        for (at, (got, right)) in taken.iter().zip(&expected).enumerate().skip(kept) {
            let clear = by_reference && at < cleared && *got == 0;
            assert!(got == right || clear, "{engine}: wrong byte at {at}");
        }
        goes_on(&server);
    }
}

/// RFC 9110 section 8.8.1: the tag that was sent is that of the bytes before the write.
#[test]
fn a_file_written_to_in_place_cuts_its_downloads() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        goes_on(&server);
        let path = scratch.join("big.bin");
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(&Pattern::new(SEED + 1).bytes(0, BIG as usize)).unwrap();
        let (taken, fault) = stalled.finish();
        assert!(matches!(fault, Some(Fault::Cut(_))), "{engine}: {fault:?}");
        assert!((taken.len() as u64) < BIG, "{engine}");
        let before = Pattern::new(SEED).bytes(0, taken.len());
        let after = Pattern::new(SEED + 1).bytes(0, taken.len());
        // What lies in the socket by reference shows the write.
        let by_reference = ["sendfile", "splice", "auto"].contains(&engine);
        for (at, got) in taken.iter().enumerate() {
            let shown = by_reference && *got == after[at];
            assert!(*got == before[at] || shown, "{engine}: wrong byte at {at}");
        }
        server.figure_until(&["farewells", "truncated"], |count| count == 1);
        goes_on(&server);
        // The connection after it gets the file as it is now.
        let mut wire = server.connect();
        wire.send(&get("/big.bin", "Range: bytes=1000000-1000999\r\n"));
        let now = Pattern::new(SEED + 1).bytes(1_000_000, 1000);
        assert_eq!(wire.response().unwrap().body, now, "{engine}");
    }
}

/// Who renames a file, links to it or says who may read it changes none of its bytes.
#[test]
fn a_file_whose_inode_alone_changes_is_sent_to_its_end() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        let path = scratch.join("big.bin");
        fs::hard_link(&path, scratch.join("link.bin")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::rename(&path, scratch.join("old.bin")).unwrap();
        let (taken, fault) = stalled.finish();
        assert_eq!(fault, None, "{engine}");
        assert!(taken == Pattern::new(SEED).bytes(0, BIG as usize), "{engine}: wrong bytes");
    }
}

/// RFC 9112 section 6.2: the length is that of the file that was opened.
#[test]
fn a_file_replaced_by_rename_is_sent_to_its_end_and_then_seen() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        scratch.pattern("new.bin", SEED + 1, BIG);
        fs::rename(scratch.join("new.bin"), scratch.join("big.bin")).unwrap();
        let (taken, fault) = stalled.finish();
        assert_eq!(fault, None, "{engine}");
        assert!(taken == Pattern::new(SEED).bytes(0, BIG as usize), "{engine}: wrong bytes");
        eventually("the new file is served", || {
            let mut wire = server.connect();
            wire.send(&get("/big.bin", "Range: bytes=0-999\r\n"));
            let body = wire.response().unwrap().body;
            let new = body == Pattern::new(SEED + 1).bytes(0, 1000);
            assert!(new || body == Pattern::new(SEED).bytes(0, 1000), "{engine}: a mixture");
            new.then_some(())
        });
    }
}

/// The tag and the length that were sent belong to the bytes that follow, however often the file
/// is replaced.
#[test]
fn a_file_that_is_replaced_all_the_time_is_never_mixed() {
    for engine in ENGINES {
        let scratch = Scratch::new();
        let size = |number: u64| 40_000 + number * 1_001;
        scratch.pattern("turn.bin", 0, size(0));
        let server = Server::engine(engine, scratch.path());
        let mut wire = server.connect();
        let mut tags = std::collections::BTreeMap::new();
        for number in 1..=60u64 {
            let path = scratch.pattern("next.bin", number, size(number));
            fs::rename(path, scratch.join("turn.bin")).unwrap();
            wire.send(&get("/turn.bin", ""));
            let answer = wire.response().unwrap();
            let which = (answer.body.len() as u64 - 40_000) / 1_001;
            let expected = Pattern::new(which).digest(0, size(which));
            assert_eq!(digest_of_bytes(&answer.body), expected, "{engine}: a mixture");
            let tag = answer.field("etag").unwrap().to_owned();
            assert_eq!(*tags.entry(tag).or_insert(which), which, "{engine}: a tag for two files");
        }
    }
}

#[test]
fn a_deleted_file_is_sent_to_its_end() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        fs::remove_file(scratch.join("big.bin")).unwrap();
        let (taken, fault) = stalled.finish();
        assert_eq!(fault, None, "{engine}");
        assert!(taken == Pattern::new(SEED).bytes(0, BIG as usize), "{engine}: wrong bytes");
        eventually("the file is gone", || {
            let mut wire = server.connect();
            wire.send(&get("/big.bin", "Range: bytes=0-9\r\n"));
            (wire.response().unwrap().status == 404).then_some(())
        });
    }
}

#[test]
fn a_file_that_grows_is_sent_as_long_as_promised() {
    for engine in ENGINES {
        let scratch = tree();
        let server = Server::engine(engine, scratch.path());
        let stalled = Stalled::new(&server, "/big.bin");
        let mut file = OpenOptions::new().append(true).open(scratch.join("big.bin")).unwrap();
        file.write_all(&Pattern::new(SEED).bytes(BIG, 100_000)).unwrap();
        let (taken, fault) = stalled.finish();
        assert_eq!(fault, None, "{engine}");
        assert!(taken == Pattern::new(SEED).bytes(0, BIG as usize), "{engine}: wrong bytes");
        eventually("the new length is told", || {
            let mut wire = server.connect();
            wire.send(b"HEAD /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
            let length = wire.answer("HEAD").unwrap().field("content-length")?.parse::<u64>();
            (length == Ok(BIG + 100_000)).then_some(())
        });
    }
}

/// A file whose length changes between requests on one connection: each answer is whole.
#[test]
fn a_length_is_never_stale() {
    for engine in ENGINES {
        let scratch = Scratch::new();
        scratch.write("plain.txt", "still here\n");
        let server = Server::engine(engine, scratch.path());
        let mut wire = server.connect();
        for round in 0..30u64 {
            // Written in place, so that a descriptor kept open sees it too.
            let len = [5_000, 70_001, 1, 0, 4_096][round as usize % 5];
            scratch.pattern("changing.bin", 3, len);
            wire.send(&get("/changing.bin", ""));
            let answer = wire.response().unwrap_or_else(|f| panic!("{engine} {round}: {f:?}"));
            assert_eq!(answer.status, 200, "{engine} {round}");
            assert_eq!(digest_of_bytes(&answer.body), Pattern::new(3).digest(0, len), "{engine}");
        }
    }
}

/// RFC 9110 section 15.5.5: nothing but regular files is opened for reading, and nothing waits for
/// a writer.
#[test]
fn what_is_no_file_is_not_found() {
    let scratch = Scratch::new();
    scratch.write("plain.txt", "still here\n");
    scratch.write("dir/inside.txt", "inside");
    mknodat(CWD, scratch.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _listener = UnixListener::bind(scratch.join("socket")).ok();
    // Only root may make a device, and only outside of some containers.
    let device = rustix::fs::makedev(1, 5);
    let has_device =
        mknodat(CWD, scratch.join("zero"), FileType::CharacterDevice, Mode::RWXU, device).is_ok();
    symlink("/etc/hostname", scratch.join("absolute")).unwrap();
    symlink("../../../../../etc/hostname", scratch.join("leaving")).unwrap();
    symlink("/dev/zero", scratch.join("to-a-device")).unwrap();
    symlink("pipe", scratch.join("to-a-pipe")).unwrap();
    symlink("two", scratch.join("one")).unwrap();
    symlink("one", scratch.join("two")).unwrap();
    symlink("missing", scratch.join("dangling")).unwrap();
    symlink(".", scratch.join("dir/again")).unwrap();
    for engine in ENGINES {
        let server = Server::engine(engine, scratch.path());
        let mut wire = server.connect();
        let mut names =
            vec!["absolute", "leaving", "to-a-device", "to-a-pipe", "one", "dangling", "pipe"];
        names.extend(["one/plain.txt", "pipe/", "pipe/x", "leaving/"]);
        if scratch.join("socket").exists() {
            names.push("socket");
        }
        if has_device {
            names.push("zero");
        }
        for name in names {
            wire.send(&get(&format!("/{name}"), ""));
            assert_eq!(wire.response().unwrap().status, 404, "{engine}: {name}");
        }
        // A link to the directory itself is a loop only for those who never stop.
        wire.send(&get(&format!("/dir/{}inside.txt", "again/".repeat(10)), ""));
        let answer = wire.response().unwrap();
        assert!([200, 404].contains(&answer.status), "{engine}");
        wire.send(&get(&format!("/dir/{}inside.txt", "again/".repeat(500)), ""));
        assert_eq!(wire.response().unwrap().status, 404, "{engine}: beyond 40 links");
        goes_on(&server);
    }
}

/// The same for HEAD, which opens too.
#[test]
fn a_pipe_holds_up_nobody() {
    let scratch = Scratch::new();
    scratch.write("plain.txt", "still here\n");
    mknodat(CWD, scratch.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let server = Server::engine("sendfile", scratch.path());
    let mut asking: Vec<Wire> = (0..50).map(|_| server.connect()).collect();
    for wire in &mut asking {
        wire.send(b"HEAD /pipe HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    goes_on(&server);
    for wire in &mut asking {
        assert_eq!(wire.answer("HEAD").unwrap().status, 404);
    }
}
