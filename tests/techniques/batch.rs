//! The batch queue: its bounds, its options, and what is in flight when it goes.

use super::*;
use pitcrew::batch::{BatchError, Completion};

/// Takes everything that can still come.
fn all_of(batch: &mut Batch) -> Vec<Completion> {
    let count = batch.counts().in_flight;
    let mut done = Vec::new();
    while done.len() < count {
        if let Some(one) = batch.take().unwrap() {
            done.push(one);
        } else {
            batch.wait(1, Some(Duration::from_secs(20))).unwrap();
        }
    }
    done
}

/// The reading end of an empty pipe, in which a read stays in flight, and its other end.
fn empty_pipe() -> (SharedFile, std::os::fd::OwnedFd) {
    let (reader, writer) = Pipe::new().unwrap().into_ends();
    (SharedFile::new(reader), writer)
}

#[test]
fn writes_and_reads_of_every_kind_of_memory() {
    let directory = scratch();
    let content = pattern(8 * 4096);
    let file = SharedFile::new(target_in(&directory));
    let plain = SharedFile::new(File::open(directory.path().join("target")).unwrap());
    let setup = Setup { files: vec![file.clone()], buffers: Some((4096, 4)), ..Setup::new(8) };
    let mut batch = Batch::with(&setup).unwrap();
    let memory = |batch: &mut Batch, kind: usize| match kind % 3 {
        0 => batch.lease().expect("four for three"),
        1 => AlignedBuffer::new(4096, 4096).unwrap().into(),
        _ => vec![0; 4096].into(),
    };
    for round in [0, 4] {
        for part in round..round + 4 {
            let mut buffer = memory(&mut batch, part);
            buffer.copy_from_slice(&content[part * 4096..][..4096]);
            batch.write(&file, buffer, part as u64 * 4096).unwrap();
        }
        batch.submit_and_wait(4).unwrap();
        assert!(all_done(&mut batch, 4).iter().all(|done| done.result == Ok(4096)));
    }
    assert!(std::fs::read(directory.path().join("target")).unwrap() == content);
    for source in [&file, &plain] {
        for part in 0..4 {
            let buffer = memory(&mut batch, part);
            batch.read(source, buffer, part as u64 * 4096).unwrap();
        }
        batch.submit_and_wait(4).unwrap();
        for done in all_done(&mut batch, 4) {
            assert_eq!(done.result, Ok(4096));
            assert!(done.buffer[..] == content[done.offset as usize..][..4096]);
        }
    }
    let leases: Vec<_> = std::iter::from_fn(|| batch.lease()).collect();
    assert_eq!(leases.len(), 4, "a registered buffer did not come home");
}

/// What is done already.
fn all_done(batch: &mut Batch, count: usize) -> Vec<Completion> {
    let done: Vec<_> = std::iter::from_fn(|| batch.take().unwrap()).collect();
    assert_eq!(done.len(), count);
    done
}

#[test]
fn a_registered_buffer_of_another_queue_is_memory_like_any_other() {
    let directory = scratch();
    let content = pattern(8192);
    let (_, file) = file_with(&directory, &content);
    let file = SharedFile::new(file);
    let with_buffers = || Batch::with(&Setup { buffers: Some((8192, 1)), ..Setup::new(2) });
    let (mut batch, other) = (with_buffers().unwrap(), with_buffers().unwrap());
    batch.read(&file, other.lease().unwrap(), 0).unwrap();
    batch.submit_and_wait(1).unwrap();
    let done = batch.take().unwrap().unwrap();
    assert_eq!(done.result, Ok(8192));
    assert!(done.buffer[..] == content);
}

#[test]
fn a_part_of_the_memory_is_filled_and_no_more() {
    let directory = scratch();
    let content = pattern(100);
    let (_, file) = file_with(&directory, &content);
    let mut batch = Batch::new(2).unwrap();
    let id = batch.read_part(&SharedFile::new(file), vec![1; 30], 10..20, 50).unwrap();
    batch.submit_and_wait(1).unwrap();
    let bytes = batch.finish(id).unwrap().buffer.into_vector();
    assert_eq!(bytes, [&[1; 10], &content[50..60], &[1; 10]].concat());
}

#[test]
fn direct_reads_go_by_the_batch() {
    let directory = scratch();
    let path = directory.path().join("direct");
    let content = pattern(MIB);
    std::fs::write(&path, &content).unwrap();
    let file = DirectFile::open(&path).expect("the target directory is on a disk with O_DIRECT");
    let alignment = file.alignment();
    let file = SharedFile::new(file);
    let mut batch = Batch::new(16).unwrap();
    for part in 0..16 {
        batch.read(&file, AlignedBuffer::new(65_536, 4096).unwrap(), part * 65_536).unwrap();
    }
    assert_eq!(batch.submit(), Ok(16));
    for done in all_of(&mut batch) {
        assert_eq!(done.result, Ok(65_536));
        assert!(done.buffer[..] == content[done.offset as usize..][..65_536]);
    }
    let id = batch.read(&file, vec![0; 4096], 1).unwrap();
    batch.submit_and_wait(1).unwrap();
    let refused = batch.finish(id).unwrap();
    let explained = alignment.explain(refused.result.unwrap_err(), 0, 4096, 1);
    assert!(matches!(explained, DirectError::Unaligned(one) if one.operand == Operand::Offset));
}

#[test]
fn polled_submission_does_the_same_work() {
    let directory = scratch();
    let content = pattern(64 * 1000);
    let (_, file) = file_with(&directory, &content);
    let file = SharedFile::new(file);
    // The thread sleeps after a moment, so that it has to be woken up in between.
    let polled = Some(Duration::from_millis(1));
    let setup = Setup { polled, files: vec![file.clone()], ..Setup::new(16) };
    let mut batch = Batch::with(&setup).unwrap();
    for round in 0..4 {
        for part in 0..16 {
            batch.read(&file, vec![0; 1000], (round * 16 + part) * 1000).unwrap();
        }
        assert_eq!(batch.submit(), Ok(16));
        let done = all_of(&mut batch);
        assert_eq!(done.len(), 16);
        for one in done {
            assert_eq!(one.result, Ok(1000));
            assert!(one.buffer[..] == content[one.offset as usize..][..1000]);
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((batch.counts().submitted, batch.counts().completed), (64, 64));
}

#[test]
fn a_full_queue_hands_the_memory_back() {
    let (file, writer) = empty_pipe();
    let mut batch = Batch::new(3).unwrap();
    for _ in 0..3 {
        batch.read(&file, vec![0; 4], 0).unwrap();
    }
    let refused = batch.read(&file, vec![7; 4], 0).unwrap_err();
    assert_eq!((refused.error, refused.buffer.into_vector()), (BatchError::QueueFull, vec![7; 4]));
    assert_eq!(batch.submit(), Ok(3));
    // They are in flight now, and there is no more room than for them.
    assert_eq!(batch.read(&file, vec![0; 4], 0).unwrap_err().error, BatchError::QueueFull);
    File::from(writer).write_all(b"abcd").unwrap();
    batch.wait(1, None).unwrap();
    let first = batch.take().unwrap().unwrap();
    assert_eq!((first.result, &first.buffer[..]), (Ok(4), &b"abcd"[..]));
    assert!(batch.read(&file, vec![0; 4], 0).is_ok());
}

#[test]
fn an_overflow_of_completions_is_said_and_loses_nothing() {
    let directory = scratch();
    let content = pattern(4096);
    let (_, mut file) = file_with(&directory, &content);
    // In memory, so that each read is done when it is submitted.
    file.read_to_end(&mut Vec::new()).unwrap();
    let file = SharedFile::new(file);
    let setup = Setup { completions: Some(8), in_flight_max: 256, ..Setup::new(8) };
    let mut batch = Batch::with(&setup).unwrap();
    let mut submitted = 0;
    let refused = loop {
        assert!(submitted < 200, "200 completions in a queue of 8, and no overflow");
        for _ in 0..8 {
            batch.read(&file, vec![0; 64], submitted).unwrap();
        }
        match batch.submit() {
            Ok(taken) => submitted += taken as u64,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, BatchError::Overflow);
    assert_eq!((batch.counts().queued, batch.counts().submitted), (8, submitted));
    assert!(submitted > 8);
    let done = all_of(&mut batch);
    assert_eq!(done.len() as u64, submitted);
    assert_eq!(batch.submit(), Ok(8), "after the completions were taken it goes on");
    for one in done.into_iter().chain(all_of(&mut batch)) {
        assert_eq!(one.result, Ok(64));
        assert!(one.buffer[..] == content[one.offset as usize..][..64]);
    }
    assert_eq!(batch.counts().completed, submitted + 8);
}

#[test]
fn a_result_that_is_asked_for_too_early_is_a_typed_error() {
    let (file, writer) = empty_pipe();
    let mut batch = Batch::new(4).unwrap();
    let id = batch.read(&file, vec![0; 8], 0).unwrap();
    assert_eq!(batch.finish(id).unwrap_err(), BatchError::InProgress, "queued");
    assert_eq!(batch.wait(1, None), Err(BatchError::TooFew { asked: 1, there: 0 }));
    batch.submit().unwrap();
    assert_eq!(batch.finish(id).unwrap_err(), BatchError::InProgress, "in flight");
    assert!(batch.take().unwrap().is_none());
    let early = batch.wait(1, Some(Duration::from_millis(5)));
    assert_eq!(early, Err(BatchError::TimedOut));
    assert_eq!(batch.wait(2, None), Err(BatchError::TooFew { asked: 2, there: 1 }));
    assert_eq!(batch.submit_and_wait(2), Err(BatchError::TooFew { asked: 2, there: 1 }));

    File::from(writer).write_all(b"late").unwrap();
    batch.wait(1, Some(Duration::from_secs(20))).unwrap();
    let done = batch.finish(id).unwrap();
    assert_eq!((done.result, &done.buffer[..4]), (Ok(4), &b"late"[..]));
    assert_eq!(batch.finish(id).unwrap_err(), BatchError::Unknown);
    assert_eq!(BatchError::InProgress.errno(), Errno::INPROGRESS);
}

#[test]
fn a_cancelled_transfer_ends_once_and_its_memory_comes_home() {
    let (file, _writer) = empty_pipe();
    let mut batch = Batch::new(4).unwrap();
    let submitted = batch.read(&file, vec![5; 8], 0).unwrap();
    batch.submit().unwrap();
    let queued = batch.read(&file, vec![6; 8], 0).unwrap();
    batch.cancel(queued);
    batch.cancel(submitted);
    let cancelled = Err(Error::Kernel(Errno::CANCELED));
    let done = batch.finish(queued).unwrap();
    assert_eq!((done.result, done.buffer.into_vector()), (cancelled, vec![6; 8]));
    batch.submit().unwrap();
    batch.wait(1, Some(Duration::from_secs(20))).unwrap();
    let done = batch.finish(submitted).unwrap();
    assert_eq!((done.result, done.buffer.into_vector()), (cancelled, vec![5; 8]));
    batch.cancel(submitted);
    batch.submit().unwrap();
    let counts = batch.counts();
    assert_eq!((counts.submitted, counts.completed, counts.in_flight), (1, 2, 0));
}

#[test]
fn what_was_never_submitted_never_happens() {
    let directory = scratch();
    let target = target_in(&directory);
    let mut batch = Batch::new(4).unwrap();
    let file = SharedFile::new(target.try_clone().unwrap());
    batch.write(&file, b"never".to_vec(), 0).unwrap();
    drop(batch);
    assert_eq!(content_of(&target), b"");
}

#[test]
fn misuse_is_a_typed_error() {
    let directory = scratch();
    let (path, read_only) = file_with(&directory, b"content");
    let read_only = SharedFile::new(read_only);
    let write_only = SharedFile::new(File::options().write(true).open(path).unwrap());
    let mut batch = Batch::new(4).unwrap();
    let empty = batch.read(&read_only, Vec::new(), 0).unwrap_err();
    assert_eq!(empty.error, BatchError::EmptyBuffer);
    let offset = u64::MAX;
    let beyond = batch.write(&write_only, vec![7; 3], offset).unwrap_err();
    assert_eq!(beyond.error, BatchError::OffsetTooLarge { offset });
    assert_eq!(beyond.buffer.into_vector(), [7; 3]);
    let part = batch.read_part(&read_only, vec![0; 3], 1..4, 0).unwrap_err();
    assert_eq!(part.error, BatchError::NoSuchPart);
    assert_eq!(batch.counts().queued, 0);

    // The closed descriptor is a number that nothing is ever opened at.
    let read = batch.read(&write_only, vec![0; 3], 0).unwrap();
    let write = batch.write(&read_only, vec![0; 3], 0).unwrap();
    batch.submit_and_wait(2).unwrap();
    for id in [read, write] {
        assert_eq!(batch.finish(id).unwrap().result, Err(Error::BadDescriptor));
    }

    let refused = |setup: Setup| Batch::with(&setup).unwrap_err();
    for depth in [0, 32 * 1024 + 1, u32::MAX] {
        assert!(matches!(refused(Setup::new(depth)), SetupError::Depth { .. }), "{depth}");
    }
    let few = refused(Setup { in_flight_max: 7, ..Setup::new(8) });
    assert!(matches!(few, SetupError::InFlight { in_flight_max: 7 }), "{few}");
    let few = refused(Setup { completions: Some(7), ..Setup::new(8) });
    assert!(matches!(few, SetupError::Completions { completions: 7 }), "{few}");
    for buffers in [(0, 1), (4096, 0), (1000, 4), (usize::MAX & !4095, 4096)] {
        let odd = refused(Setup { buffers: Some(buffers), ..Setup::new(8) });
        assert!(matches!(odd, SetupError::Buffers { .. }), "{odd}");
    }
    let many = refused(Setup { files: vec![read_only; 65], ..Setup::new(8) });
    assert!(matches!(many, SetupError::Files { count: 65 }), "{many}");
}

#[test]
fn uring_dropped_in_flight_never_touches_freed_memory() {
    let directory = scratch();
    let path = directory.path().join("source");
    std::fs::write(&path, pattern(16 * MIB)).unwrap();
    let direct = SharedFile::new(DirectFile::open(&path).unwrap());
    let (pipe, writer) = empty_pipe();
    let mut in_flight = 0;
    for turn in 0..8 {
        let mut batch = Batch::new(64).unwrap();
        for at in 0..32 {
            // Reads of an empty pipe are in flight for certain when the queue goes.
            batch.read(&pipe, vec![0; DROPPED_BYTES], 0).unwrap();
            let memory = AlignedBuffer::new(DROPPED_ALIGNED_BYTES, 4096).unwrap();
            let offset = (turn * 32 + at) * DROPPED_ALIGNED_BYTES as u64 % (8 * MIB as u64);
            batch.read(&direct, memory, offset).unwrap();
        }
        assert_eq!(batch.submit(), Ok(64));
        in_flight += batch.counts().in_flight;
        drop(batch);
    }
    assert!(in_flight >= 8 * 32);
    // What a read that was not cancelled would still take.
    let mut writer = File::from(writer);
    writer.write_all(&[1; 40_000]).unwrap();
    thread::sleep(Duration::from_millis(300));
    // A write to one of them ends this program.
    assert!(freed::check() > 0 || !freed::is_on());
}
