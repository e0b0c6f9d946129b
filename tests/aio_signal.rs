//! Completion of POSIX AIO by signal. Without the test harness: the signal is the process's, and
//! must be blocked in every thread, so before the first one is started.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod quarantine;

use std::thread;
use std::time::{Duration, Instant};

use pitcrew::techniques::posix_aio::{self, AioError, AioFile, CompletionSignals, Request};

fn main() {
    let signals = CompletionSignals::new(5).unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("source");
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let file = AioFile::new(std::fs::File::open(&path).unwrap()).unwrap();
    let bystanders: Vec<_> =
        (0..4).map(|_| thread::spawn(|| thread::sleep(Duration::from_secs(2)))).collect();

    every_operation_is_notified(&signals, &file, &content);
    a_list_is_notified_once(&signals, &file);
    time_runs_out(&signals);
    impossible_signals_are_refused();
    bystanders.into_iter().for_each(|thread| thread.join().unwrap());
    println!("test aio_signal ... ok");
}

fn every_operation_is_notified(signals: &CompletionSignals, file: &AioFile, content: &[u8]) {
    let mut reads: Vec<_> = (0..20)
        .map(|at| Request::read(file, vec![0; 10_000], at as u64 * 10_000))
        .enumerate()
        .map(|(at, request)| Some(request.notify(signals.notice(at)).start().unwrap()))
        .collect();
    for _ in 0..reads.len() {
        let at = signals.wait(Duration::from_secs(20)).unwrap();
        let read = reads[at].take().expect("one notice for each operation");
        // glibc sends the notice a moment before the operation counts as done.
        read.wait(None).unwrap();
        assert!(read.finish().unwrap().memory == content[at * 10_000..][..10_000]);
    }
    assert!(reads.iter().all(Option::is_none));
}

fn a_list_is_notified_once(signals: &CompletionSignals, file: &AioFile) {
    let requests = (0..10).map(|at| Request::read(file, vec![0; 100], at * 100)).collect();
    let mut reads = posix_aio::start_list(requests, Some(signals.notice(4711))).unwrap();
    assert_eq!(signals.wait(Duration::from_secs(20)), Ok(4711));
    for read in &mut reads {
        read.wait(None).unwrap();
        assert_eq!(read.result(), Ok(100));
    }
}

fn time_runs_out(signals: &CompletionSignals) {
    let start = Instant::now();
    assert_eq!(signals.wait(Duration::from_millis(20)), Err(AioError::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

fn impossible_signals_are_refused() {
    let none = CompletionSignals::new(200).unwrap_err();
    assert_eq!(none, AioError::NoSuchSignal { number: 200 });
    assert!(CompletionSignals::new(5).is_ok(), "a second receiver of the same signal is allowed");
}
