//! The same sizes over the real kernel: files of a real file system, TCP and unix sockets.

use std::fs::{FileTimes, OpenOptions};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pitcrew::engines::{Decline, Kind, Step};
use pitcrew::ring::{File, Reactor, Socket, Stats, Uring};

use super::rig::{Rig, Task, assert_same, content, options};
use super::sizes::tasks;

const O_DIRECT: i32 = 0o40000;

/// A connection: the server's end, and a reader of everything that the client gets.
fn tcp() -> (OwnedFd, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (server.into(), read_all(client))
}

fn unix() -> (OwnedFd, std::thread::JoinHandle<Vec<u8>>) {
    let (server, client) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    (server.into(), read_all(client))
}

fn read_all(mut client: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).expect("the server ends the connection in order");
        all
    })
}

/// One ring for all bodies, as in a worker; none where the kernel forbids it.
fn reactor(registered: bool) -> Option<Reactor<Uring>> {
    let ring = match Uring::new() {
        Ok(ring) => ring,
        Err(fault) => {
            eprintln!("passed over: no io_uring here: {}", fault.0);
            return None;
        }
    };
    let register = move |ring: &mut Uring, regions: &[(*mut u8, usize)]| {
        (registered && ring.register_memory(regions).is_ok()).then_some(0)
    };
    Some(Reactor::new(ring, options(), Arc::new(Stats::default()), register).unwrap())
}

fn serve(path: &Path, registered: bool, tasks: impl Iterator<Item = Task>) {
    let Some(mut reactor) = reactor(registered) else { return };
    let (mut all, mut evicted) = (0, 0);
    for (number, task) in tasks.enumerate() {
        std::fs::write(path, content(task.file_bytes())).unwrap();
        if number % 7 > 0 {
            // The others are read for the first time since they were changed.
            let later = FileTimes::new().set_accessed(SystemTime::now() + Duration::from_secs(60));
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_times(later).unwrap();
        }
        let (server, reader) = if number % 5 == 4 { unix() } else { tcp() };
        let file = File::from(reactor.adopt(std::fs::File::open(path).unwrap().into()));
        let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(path).ok();
        let direct = direct.map(|file| File::from(reactor.adopt(file.into())));
        let socket = Socket::from(reactor.adopt(server));
        let mut rig = Rig::new(reactor, socket, file, direct);
        let course = rig.serve(&task, || ());
        assert_eq!(course.end, Step::Finished, "{task:?}");
        let no_direct = [(Kind::Direct, Decline::NoDirect)];
        // A kernel that is short of memory takes back what was written a moment ago.
        let cold = course.declined == [(task.kind, Decline::Cold)];
        (all, evicted) = (all + 1, evicted + u32::from(cold));
        assert!(
            course.by == task.kind || course.declined == no_direct || cold,
            "{task:?}: {:?}",
            course.declined
        );
        assert_eq!((course.progress.head, course.progress.body), (task.head as u64, task.size));
        if task.more {
            assert!(rig.send_marker(|| ()), "{task:?}");
        }
        rig.end();
        reactor = rig.reactor;
        assert_same(&reader.join().unwrap(), &task.expected(), &task);
    }
    assert!(5 * evicted <= all, "{evicted} of {all} files were not in memory");
}

/// Every engine, size and offset, with one of the heads and flags each: the rest is the
/// simulated kernel's.
fn some_tasks() -> impl Iterator<Item = Task> {
    tasks().enumerate().filter(|(number, _)| number % 3 == 0).map(|(_, task)| task)
}

#[test]
fn every_engine_serves_every_size_whole_on_the_real_kernel() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    serve(&scratch.path().join("file"), true, some_tasks());
}

#[test]
fn buffers_that_are_not_registered_serve_as_well() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let through_buffers = |task: &Task| matches!(task.kind, Kind::Uring | Kind::Direct);
    let tasks = some_tasks().filter(through_buffers).step_by(4);
    serve(&scratch.path().join("file"), false, tasks);
}

#[test]
fn a_file_system_in_memory_serves_as_well() {
    let Ok(scratch) = tempfile::tempdir_in("/dev/shm") else { return };
    serve(&scratch.path().join("file"), true, some_tasks().step_by(4));
}
