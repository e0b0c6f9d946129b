//! Jobs over the real kernel and real helper threads.
//!
//! The pool of helpers is the process's, so each test uses mounts of its own, which are numbers
//! that nothing else has, and one test at a time holds helpers up.

use std::any::Any;
use std::ffi::CString;
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pitcrew::limits::{HELPERS, JOBS_MAX, JOBS_PER_MOUNT_MAX};
use pitcrew::ring::{
    Ask, Completion, Facts, File, How, Io, Job, Op, Options, Owner, Reactor, Reader, Start, Stats,
    Ticket, Uring, Wake,
};
use rustix::io::Errno;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits inside of its job until it is released.
#[derive(Debug)]
struct Gate {
    begun: Sender<u64>,
    name: u64,
    released: Option<Receiver<()>>,
    seen: usize,
}

impl Reader for Gate {
    fn wants(&mut self, _name: &[u8]) -> bool {
        true
    }

    fn take(&mut self, _name: &[u8], _facts: &Facts) -> bool {
        if let Some(released) = self.released.take() {
            self.begun.send(self.name).unwrap();
            let _ = released.recv();
        }
        self.seen += 1;
        true
    }

    fn finish(&mut self) {}
}

#[derive(Debug)]
struct Panics;

impl Reader for Panics {
    fn wants(&mut self, _name: &[u8]) -> bool {
        panic!("as the test wants it")
    }

    fn take(&mut self, _name: &[u8], _facts: &Facts) -> bool {
        true
    }

    fn finish(&mut self) {}
}

struct Rig {
    reactor: Reactor<Uring>,
    owner: Owner,
    directory: File,
    stats: Arc<Stats>,
    begun: Receiver<u64>,
    begins: Sender<u64>,
    _place: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Rig {
    /// None where io_uring is forbidden.
    fn new() -> Option<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let uring = Uring::new().ok()?;
        let options = Options {
            rings: 1,
            operations_max: 256,
            owners_max: 4,
            pools: [(4096, 1); 5],
            pipes_max: 1,
            pipe_bytes: 4096,
            turn_bytes: 1,
            shared_turn_bytes: 1,
        };
        let stats = Arc::new(Stats::default());
        let mut reactor = Reactor::new(uring, options, Arc::clone(&stats), |_, _| None).unwrap();
        let owner = reactor.register().unwrap();
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "content").unwrap();
        let directory = fs::File::open(place.path()).unwrap();
        let directory = File::from(reactor.adopt(directory.into()));
        let (begins, begun) = channel();
        let (_place, _alone) = (place, alone);
        Some(Self { reactor, owner, directory, stats, begun, begins, _place, _alone })
    }

    fn read(&self, mount: u64, reader: Box<dyn Reader>) -> Op {
        Op::Job(Job::ReadDirectory {
            directory: self.directory.clone(),
            mount,
            root: self.directory.clone(),
            path: Box::default(),
            follow_links: true,
            reader: Some(reader),
        })
    }

    fn submit(&mut self, op: Op) -> Ticket {
        match self.reactor.io(self.owner).start(op) {
            Start::Submitted(ticket) => ticket,
            other => panic!("not submitted: {other:?}"),
        }
    }

    /// A job that begins, tells its name, and waits for its release.
    fn hold(&mut self, mount: u64, name: u64) -> (Ticket, Sender<()>) {
        let (release, released) = channel();
        let begun = self.begins.clone();
        let gate = Gate { begun, name, released: Some(released), seen: 0 };
        let op = self.read(mount, Box::new(gate));
        (self.submit(op), release)
    }

    fn wake(&mut self) -> Wake {
        loop {
            if let Some((_, wake)) = self.reactor.next_wake() {
                return wake;
            }
            self.reactor.turn().unwrap();
        }
    }

    fn done(&mut self) -> Completion {
        match self.wake() {
            Wake::Done(done) => done,
            other => panic!("not a completion: {other:?}"),
        }
    }

    /// Another operation of the ring, which must not wait for a helper.
    fn open(&mut self) {
        let path = CString::from(c"file");
        let op = Op::Open { root: self.directory.clone(), path, how: How::default() };
        let ticket = self.submit(op);
        let done = self.done();
        assert_eq!((done.ticket, done.result.is_ok()), (Some(ticket), true));
    }
}

fn seen(done: Completion) -> usize {
    let Some(Op::Job(Job::ReadDirectory { reader: Some(reader), .. })) = done.op else {
        panic!("no reader came home: {done:?}")
    };
    let reader: Box<dyn Any> = reader;
    reader.downcast::<Gate>().unwrap().seen
}

#[test]
fn the_ring_goes_on_while_a_helper_works() {
    let Some(mut rig) = Rig::new() else { return };
    let (ticket, release) = rig.hold(1 << 40, 1);
    assert_eq!(rig.begun.recv(), Ok(1));
    for _ in 0..10 {
        rig.open();
    }
    release.send(()).unwrap();
    let done = rig.done();
    assert_eq!((done.ticket, done.result), (Some(ticket), Ok(1)));
    assert_eq!(seen(done), 1);
}

#[test]
fn a_mount_has_one_helper_and_leaves_the_other() {
    let Some(mut rig) = Rig::new() else { return };
    let (first, second) = (1 << 41, 1 << 42);
    let (_, release_1) = rig.hold(first, 1);
    assert_eq!(rig.begun.recv(), Ok(1));
    let (_, release_2) = rig.hold(first, 2);
    let (_, release_3) = rig.hold(second, 3);
    // The third begins although the second was there before it.
    assert_eq!(rig.begun.recv(), Ok(3));
    release_3.send(()).unwrap();
    assert!(rig.done().result.is_ok());
    assert!(rig.begun.try_recv().is_err(), "the second waits for the first");
    release_1.send(()).unwrap();
    assert!(rig.done().result.is_ok());
    assert_eq!(rig.begun.recv(), Ok(2));
    release_2.send(()).unwrap();
    assert_eq!(seen(rig.done()), 1);
}

/// More mounts hang than there are helpers usually.
#[test]
fn mounts_that_hang_leave_a_helper_to_the_others() {
    let Some(mut rig) = Rig::new() else { return };
    let mount = 1 << 47;
    let hung: Vec<_> = (0..HELPERS as u64 + 3).map(|name| rig.hold(mount + name, name).1).collect();
    for _ in &hung {
        assert!(rig.begun.recv().is_ok(), "each has begun");
    }
    let (ticket, release) = rig.hold(mount - 1, 99);
    assert_eq!(rig.begun.recv(), Ok(99));
    release.send(()).unwrap();
    assert_eq!(rig.done().ticket, Some(ticket));
    drop(hung);
    for _ in 0..HELPERS + 3 {
        assert!(rig.done().result.is_ok());
    }
}

#[test]
fn a_job_that_is_given_up_ends_at_once() {
    let Some(mut rig) = Rig::new() else { return };
    let mount = 1 << 43;
    let (running, release) = rig.hold(mount, 1);
    assert_eq!(rig.begun.recv(), Ok(1));
    let (queued, _) = rig.hold(mount, 2);
    for ticket in [running, queued] {
        let owner = rig.owner;
        rig.reactor.io(owner).cancel(ticket);
        let done = rig.done();
        assert_eq!((done.ticket, done.result), (Some(ticket), Err(Errno::CANCELED)));
    }
    assert_eq!(rig.reactor.in_flight(), 0);
    // The helper is still at it; what it makes finds nobody, and the mount is free again.
    release.send(()).unwrap();
    let (_, release) = rig.hold(mount, 3);
    assert_eq!(rig.begun.recv(), Ok(3));
    release.send(()).unwrap();
    assert_eq!(seen(rig.done()), 1);
}

#[test]
fn a_ring_ends_although_a_helper_hangs() {
    let Some(mut rig) = Rig::new() else { return };
    let (_, release) = rig.hold(1 << 44, 1);
    assert_eq!(rig.begun.recv(), Ok(1));
    let Rig { reactor, directory, .. } = rig;
    drop(directory);
    drop(reactor);
    // Released only here: a drop that waited for the helper would never have come to it.
    let _ = release.send(());
}

#[test]
fn a_panic_is_an_error_of_the_job() {
    let Some(mut rig) = Rig::new() else { return };
    let op = rig.read(1 << 45, Box::new(Panics));
    rig.submit(op);
    assert_eq!(rig.done().result, Err(Errno::IO));
    let (_, release) = rig.hold(1 << 45, 1);
    release.send(()).unwrap();
    assert_eq!(seen(rig.done()), 1);
}

#[test]
fn there_is_room_for_so_many_and_who_found_none_is_woken() {
    let Some(mut rig) = Rig::new() else { return };
    let mount = 1 << 46;
    let held: Vec<_> = (0..JOBS_PER_MOUNT_MAX as u64).map(|name| rig.hold(mount, name).1).collect();
    let op = rig.read(mount, Box::new(Panics));
    let owner = rig.owner;
    assert!(matches!(rig.reactor.io(owner).start(op), Start::Busy(_)), "the mount is full");
    // Other mounts have the rest.
    for other in 0..(JOBS_MAX - JOBS_PER_MOUNT_MAX) as u64 {
        let op = rig.read(mount + 1 + other, Box::new(Gate::idle(&rig.begins)));
        rig.submit(op);
    }
    let op = rig.read(mount - 1, Box::new(Panics));
    assert!(matches!(rig.reactor.io(owner).start(op), Start::Busy(_)), "all is full");
    assert_eq!(rig.stats.jobs_refused.read(), 2);
    drop(held);
    let (mut done, mut ready) = (0, 0);
    while done < JOBS_MAX || ready == 0 {
        match rig.wake() {
            Wake::Done(one) => {
                assert!(one.result.is_ok(), "{one:?}");
                done += 1;
            }
            Wake::Ready => ready += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ready, 1, "once for both");
    assert_eq!(rig.reactor.in_flight(), 0);
}

impl Gate {
    fn idle(begins: &Sender<u64>) -> Self {
        Self { begun: begins.clone(), name: 0, released: None, seen: 0 }
    }
}

#[test]
fn a_digest_is_of_the_file_that_is_known() {
    let Some(mut rig) = Rig::new() else { return };
    let path = CString::from(c"file");
    rig.submit(Op::Open { root: rig.directory.clone(), path, how: How::default() });
    let file = File::from(rig.done().handle.unwrap());
    // Nobody has said on which mount it lies: the ring asks.
    rig.submit(Op::stat(file.clone(), Ask::Mount));
    let Some(Op::Stat { facts, .. }) = rig.done().op else { panic!("the operation comes home") };
    rig.submit(Op::Job(Job::Digest {
        file: file.clone(),
        facts: facts.clone(),
        passes: true,
        digest: 0,
    }));
    let done = rig.done();
    assert_eq!(done.result, Ok(7));
    let Some(Op::Job(Job::Digest { digest, .. })) = done.op else { panic!("{:?}", done.op) };
    assert_eq!(digest, xxhash_rust::xxh3::xxh3_128(b"content"));
    let mut other = facts;
    other.size += 1;
    rig.submit(Op::Job(Job::Digest { file, facts: other, passes: false, digest: 0 }));
    assert_eq!(rig.done().result, Err(Errno::STALE));
}
