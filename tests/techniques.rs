//! The techniques from outside: what they move, and what they answer to misuse.
//!
//! Files live under the target directory, which is on a disk: tmpfs has no real O_DIRECT.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use pitcrew::batch::{Batch, Registration, Setup, SetupError, SharedFile};
use pitcrew::sys::probe::Blocked;
use pitcrew::sys::quarantine as freed;
use pitcrew::techniques::copy_range::{self, CopyError, Refusal};
use pitcrew::techniques::direct::{self, AlignmentSource, DirectError, DirectFile, Operand};
use pitcrew::techniques::memory::AlignmentError;
use pitcrew::techniques::pipe::{self, Pipe, SpliceFlags};
use pitcrew::techniques::positional::{self, Residency};
use pitcrew::techniques::posix_aio::{
    self, AioError, AioFile, Cancellation, LIST_MAX, Operation, Request,
};
use pitcrew::techniques::synchronous::{self, Durability, SynchronousFile};
use pitcrew::techniques::vectored::{self, IOV_MAX};
use pitcrew::techniques::{AlignedBuffer, Errno, Error, Transfer, sendfile};

#[path = "techniques/batch.rs"]
mod batch;
#[path = "techniques/predictive.rs"]
mod predictive;
mod quarantine;

const MIB: usize = 1 << 20;
/// Buffers of reads that are dropped: as many as a test has of them stay in quarantine.
const DROPPED_BYTES: usize = 30_001;
/// The same, with an alignment.
const DROPPED_ALIGNED_BYTES: usize = 8 * 4096;

/// A directory on the disk of the target directory, removed at the end of the test.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Bytes that differ at every offset and alignment, so that a shifted copy never compares equal.
fn pattern(count: usize) -> Vec<u8> {
    (0..count as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A file with `content`, open for reading.
fn file_with(directory: &tempfile::TempDir, content: &[u8]) -> (PathBuf, File) {
    let path = directory.path().join("source");
    std::fs::write(&path, content).unwrap();
    (path.clone(), File::open(path).unwrap())
}

/// A file of the scratch directory, open for both directions.
fn target_in(directory: &tempfile::TempDir) -> File {
    let path = directory.path().join("target");
    File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

fn content_of(mut file: &File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn scatter_read_basic() {
    let directory = scratch();
    let content = pattern(10 + 4096 + 777);
    let (_, file) = file_with(&directory, &content);
    let (mut first, mut second, mut third) = ([0; 10], vec![0; 4096], vec![0; 777]);
    let mut buffers = [&mut first[..], &mut second, &mut third].map(IoSliceMut::new);
    assert_eq!(vectored::readv(&file, &mut buffers), Ok(content.len()));
    assert_eq!([&first[..], &second, &third].concat(), content);
}

#[test]
fn gather_write_basic() {
    let directory = scratch();
    let target = target_in(&directory);
    let content = pattern(5000);
    let parts = [&content[..3], &content[3..4000], &content[4000..]].map(IoSlice::new);
    assert_eq!(vectored::writev(&target, &parts), Ok(5000));
    assert_eq!(content_of(&target), content);
}

#[test]
fn vectored_takes_as_many_buffers_as_the_kernel() {
    let directory = scratch();
    let content = pattern(IOV_MAX * 3);
    let (_, file) = file_with(&directory, &content);
    let mut memory = vec![0; content.len()];
    let mut buffers: Vec<_> = memory.chunks_mut(3).map(IoSliceMut::new).collect();
    assert_eq!(vectored::readv(&file, &mut buffers), Ok(content.len()));
    let parts: Vec<_> = memory.chunks(3).map(IoSlice::new).collect();
    let target = target_in(&directory);
    assert_eq!(vectored::writev(&target, &parts), Ok(content.len()));
    assert_eq!(content_of(&target), content);
}

#[test]
fn vectored_without_buffers_is_an_error() {
    let target = target_in(&scratch());
    let refused = Err(Error::NoBuffers);
    assert_eq!(vectored::readv(&target, &mut []), refused);
    assert_eq!(vectored::writev(&target, &[]), refused);
    assert_eq!(positional::preadv(&target, &mut [], 0), refused);
    assert_eq!(positional::pwritev(&target, &[], 0), refused);
    assert_eq!(positional::preadv2_nowait(&target, &mut [], 0), refused);
    assert_eq!(vectored::readv_all(&target, &mut []).unwrap_err().error, Error::NoBuffers);
    assert_eq!(vectored::writev_all(&target, &mut []).unwrap_err().error, Error::NoBuffers);
    assert_eq!(Error::NoBuffers.errno(), Errno::INVAL);
}

#[test]
fn vectored_with_too_many_buffers_is_an_error() {
    let target = target_in(&scratch());
    let count = IOV_MAX + 1;
    let refused = Error::TooManyBuffers { count };
    let mut memory = vec![0; count];
    let mut buffers: Vec<_> = memory.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(vectored::readv(&target, &mut buffers), Err(refused));
    assert_eq!(vectored::readv_all(&target, &mut buffers).unwrap_err().error, refused);
    assert_eq!(positional::preadv(&target, &mut buffers, 0), Err(refused));
    let mut parts = vec![IoSlice::new(b"x"); count];
    assert_eq!(vectored::writev(&target, &parts), Err(refused));
    assert_eq!(vectored::writev_all(&target, &mut parts).unwrap_err().error, refused);
    assert_eq!(positional::pwritev(&target, &parts, 0), Err(refused));
    assert_eq!(content_of(&target), b"", "a refused call must not write its first 1024 buffers");
}

#[test]
fn short_transfers_are_resumed_in_the_middle_of_a_buffer() {
    let pipe = Pipe::new().unwrap();
    let content = pattern(1000);
    let mut memory = vec![0; 1000];
    let mut buffers: Vec<_> = memory.chunks_mut(10).map(IoSliceMut::new).collect();
    let read = thread::scope(|scope| {
        // Pieces of seven bytes end inside buffers of ten; each waits until the last one is read.
        scope.spawn(|| {
            for piece in content.chunks(7) {
                vectored::writev(pipe.writer(), &[IoSlice::new(piece)]).unwrap();
                while pipe.queued_bytes().unwrap() > 0 {
                    thread::yield_now();
                }
            }
        });
        vectored::readv_all(pipe.reader(), &mut buffers).unwrap()
    });
    assert_eq!(read.bytes, 1000);
    // Only the last of the 143 pieces completes what its call asked for.
    assert_eq!(read.short_transfers, 142);
    assert_eq!(memory, content);
}

#[test]
fn a_gather_write_that_stops_says_where_and_can_go_on() {
    let (socket, mut peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let content = pattern(4 * MIB);
    let mut parts: Vec<_> = content.chunks(99_999).map(IoSlice::new).collect();
    let stopped = vectored::writev_all(&socket, &mut parts).unwrap_err();
    assert_eq!(stopped.error, Error::WouldBlock);
    assert_eq!(stopped.error.errno(), Errno::AGAIN);
    assert!(0 < stopped.done.bytes && stopped.done.bytes < content.len() as u64);
    assert!(stopped.done.short_transfers > 0);

    socket.set_nonblocking(false).unwrap();
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let rest = &content[stopped.done.bytes as usize..];
    vectored::writev_all(&socket, &mut [IoSlice::new(rest)]).unwrap();
    drop(socket);
    assert!(reader.join().unwrap() == content);
}

#[test]
fn pread_threadsafe() {
    let directory = scratch();
    let content = pattern(MIB);
    let (_, mut file) = file_with(&directory, &content);
    file.seek(std::io::SeekFrom::Start(12_345)).unwrap();
    thread::scope(|scope| {
        for worker in 0..8_usize {
            let (file, content) = (&file, &content);
            scope.spawn(move || {
                let mut bytes = [0; 1000];
                for turn in 0..500 {
                    let at = (worker * 104_729 + turn * 7919) % (MIB - bytes.len());
                    let read = positional::pread(file, &mut bytes, at as u64);
                    assert_eq!(read, Ok(bytes.len()));
                    assert_eq!(&bytes[..], &content[at..at + bytes.len()]);
                }
            });
        }
    });
    assert_eq!(file.stream_position().unwrap(), 12_345, "positional reads moved the offset");
}

#[test]
fn positional_calls_never_move_the_offset() {
    let directory = scratch();
    let mut target = target_in(&directory);
    target.write_all(&pattern(100)).unwrap();
    target.seek(std::io::SeekFrom::Start(5)).unwrap();
    let mut bytes = [0; 10];
    positional::pwrite(&target, b"abc", 50).unwrap();
    positional::pwrite_all(&target, b"abc", 60).unwrap();
    positional::pwritev(&target, &[IoSlice::new(b"abc")], 70).unwrap();
    positional::pread_all(&target, &mut bytes, 90).unwrap();
    positional::preadv(&target, &mut [IoSliceMut::new(&mut bytes)], 50).unwrap();
    positional::probe(&target, 0).unwrap();
    synchronous::pwrite_durable_all(&target, b"xyz", 80, Durability::Data).unwrap();
    // u64::MAX is -1 for preadv2, which would read at the offset and move it.
    let offset = u64::MAX;
    let refused = Err(Error::OffsetTooLarge { offset });
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    assert_eq!(positional::preadv2_nowait(&target, &mut buffers, offset), refused);
    assert_eq!(positional::pread(&target, &mut [0; 4], offset), refused);
    assert_eq!(positional::pwrite(&target, b"abc", offset), refused);
    let durable = synchronous::pwritev_durable(
        &target,
        &[IoSlice::new(b"x")],
        offset,
        Durability::DataAndMetadata,
    );
    assert_eq!(durable, refused);
    assert_eq!(target.stream_position().unwrap(), 5);
    assert_eq!(target.metadata().unwrap().len(), 100);
}

#[test]
fn probe_knows_resident_pages_and_the_end() {
    let directory = scratch();
    let (_, file) = file_with(&directory, &pattern(8192));
    let answer = positional::probe(&file, 4096).unwrap();
    assert!(matches!(answer, Residency::Resident | Residency::Unknown), "{answer:?}");
    if answer == Residency::Resident {
        assert_eq!(positional::probe(&file, 8192), Ok(Residency::PastEnd));
    }
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(positional::probe(&reader, 0), Err(Error::Kernel(Errno::SPIPE)));
}

#[test]
fn sendfile_copy() {
    let directory = scratch();
    let content = pattern(10 * MIB);
    let (_, mut file) = file_with(&directory, &content);

    let target = target_in(&directory);
    let mut offset = 0;
    let sent = sendfile::sendfile_all(&file, &mut offset, &target, content.len() as u64).unwrap();
    assert_eq!((sent.bytes, offset), (content.len() as u64, content.len() as u64));
    assert!(content_of(&target) == content, "the copy in a file differs");

    let (socket, mut peer) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let mut offset = 1;
    let sent = sendfile::sendfile_all(&file, &mut offset, &socket, u64::MAX).unwrap();
    assert_eq!(sent.bytes, content.len() as u64 - 1);
    drop(socket);
    assert!(reader.join().unwrap() == content[1..], "the copy through a socket differs");
    assert_eq!(file.stream_position().unwrap(), 0, "sendfile with an offset moved the file's own");
}

#[test]
fn sendfile_shows_a_full_socket_and_keeps_its_place() {
    let directory = scratch();
    let content = pattern(4 * MIB);
    let (_, file) = file_with(&directory, &content);
    let (socket, peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut offset = 0;
    let stopped = sendfile::sendfile_all(&file, &mut offset, &socket, 4 << 20).unwrap_err();
    assert_eq!(stopped.error, Error::WouldBlock);
    assert_eq!(offset, stopped.done.bytes);
    let full = sendfile::sendfile(&file, &mut offset, &socket, 100);
    assert_eq!((full, offset), (Err(Error::WouldBlock), stopped.done.bytes));
    drop(peer);
    let gone = sendfile::sendfile(&file, &mut offset, &socket, 100);
    assert_eq!((gone, offset), (Err(Error::Kernel(Errno::PIPE)), stopped.done.bytes));
    let (reader, _writer) = std::io::pipe().unwrap();
    let from_pipe = sendfile::sendfile(&reader, &mut 0, target_in(&directory), 1);
    assert!(from_pipe.is_err(), "a pipe is no source for sendfile at an offset");
}

#[test]
fn splice_pipe() {
    let directory = scratch();
    let content = pattern(3 * MIB + 123);
    let (_, mut file) = file_with(&directory, &content);
    let pipe = Pipe::with_size(256 << 10).unwrap();
    assert_eq!(pipe.asked_bytes(), 256 << 10);
    assert!(pipe.granted_bytes() >= 4096);

    let target = target_in(&directory);
    let mut offset = 0;
    let moved = pipe::splice_all(&file, &mut offset, &pipe, &target, u64::MAX).unwrap();
    assert_eq!((moved.bytes, offset), (content.len() as u64, content.len() as u64));
    assert!(content_of(&target) == content);
    assert_eq!(pipe.queued_bytes(), Ok(0));
    assert_eq!(file.stream_position().unwrap(), 0);

    // An offset on the way out leaves the target's own alone, too.
    let flags = SpliceFlags::empty();
    let (mut from_offset, mut to_offset) = (100, 7);
    let taken = pipe::splice_in(&file, Some(&mut from_offset), pipe.writer(), 50, flags);
    let given = pipe::splice_out(pipe.reader(), &target, Some(&mut to_offset), 50, flags);
    assert_eq!((taken, given, from_offset, to_offset), (Ok(50), Ok(50), 150, 57));
    assert_eq!(content_of(&target)[7..57], content[100..150]);
}

#[test]
fn splice_shows_full_and_empty_pipes_and_misuse() {
    let directory = scratch();
    let (_, file) = file_with(&directory, &pattern(MIB));
    let pipe = Pipe::nonblocking().unwrap();
    let flags = SpliceFlags::NONBLOCK;
    let (socket, _peer) = UnixStream::pair().unwrap();
    let empty = pipe::splice_out(pipe.reader(), &socket, None, 10, flags);
    assert_eq!(empty, Err(Error::WouldBlock));
    let mut offset = 0;
    while let Ok(moved) = pipe::splice_in(&file, Some(&mut offset), pipe.writer(), MIB, flags) {
        assert!(moved > 0);
    }
    assert_eq!(pipe.queued_bytes(), Ok(offset));
    let full = pipe::splice_in(&file, Some(&mut offset), pipe.writer(), 10, flags);
    assert_eq!(full, Err(Error::WouldBlock));

    let busy = pipe::splice_all(&file, &mut 0, &pipe, &socket, 10).unwrap_err();
    assert_eq!(busy.error, Error::Kernel(Errno::BUSY));
    let no_pipe = pipe::splice_in(&file, Some(&mut 0), &socket, 10, flags);
    assert_eq!(no_pipe, Err(Error::Kernel(Errno::INVAL)));
    let wrong_end = pipe::splice_in(&file, Some(&mut 0), pipe.reader(), 10, flags);
    assert_eq!(wrong_end, Err(Error::BadDescriptor));
    let offset = i64::MAX as u64 + 1;
    let beyond = pipe::splice_in(&file, Some(&mut { offset }), pipe.writer(), 10, flags);
    assert_eq!(beyond, Err(Error::OffsetTooLarge { offset }));
}

#[test]
fn a_pipe_that_cannot_grow_keeps_its_size() {
    let mut pipe = Pipe::new().unwrap();
    let before = pipe.granted_bytes();
    assert_eq!(pipe.resize(usize::MAX), Err(Error::Kernel(Errno::INVAL)));
    assert_eq!(pipe.granted_bytes(), before);
    // Above pipe-max-size: granted to a privileged user, kept at its size for others.
    let granted = pipe.resize(2 * MIB).unwrap();
    assert_eq!((pipe.asked_bytes(), pipe.granted_bytes()), (2 * MIB, granted));
    assert!(granted == 2 * MIB || granted == before);
}

#[test]
fn tee_duplicate() {
    let content = pattern(40_000);
    let (source, mirror) = (Pipe::new().unwrap(), Pipe::new().unwrap());
    let directory = scratch();
    let (_, file) = file_with(&directory, &content);
    let flags = SpliceFlags::empty();
    let size = content.len();
    assert_eq!(pipe::splice_in(&file, Some(&mut 0), source.writer(), size, flags), Ok(size));
    assert_eq!(pipe::tee(source.reader(), mirror.writer(), size, flags), Ok(size));
    assert_eq!(source.queued_bytes(), Ok(size as u64), "tee consumed what it duplicated");
    for pipe in [source, mirror] {
        let (reader, writer) = pipe.into_ends();
        drop(writer);
        assert!(content_of_pipe(reader) == content);
    }
    let lonely = Pipe::nonblocking().unwrap();
    let itself = pipe::tee(lonely.reader(), lonely.writer(), 1, flags);
    assert_eq!(itself, Err(Error::Kernel(Errno::INVAL)));
}

fn content_of_pipe(reader: std::os::fd::OwnedFd) -> Vec<u8> {
    let mut content = Vec::new();
    File::from(reader).read_to_end(&mut content).unwrap();
    content
}

#[test]
fn copy_file_range() {
    let directory = scratch();
    let content = pattern(5 * MIB);
    let (_, mut file) = file_with(&directory, &content);
    let mut target = target_in(&directory);
    let copied = copy_range::copy(&file, 0, &target, 0, u64::MAX).unwrap();
    assert_eq!(copied.bytes, content.len() as u64);
    if copied.fell_back.is_none() {
        assert_eq!(copied.in_kernel_bytes, copied.bytes);
    }
    assert_eq!((file.stream_position().unwrap(), target.stream_position().unwrap()), (0, 0));
    assert!(content_of(&target) == content);
}

#[test]
fn copy_falls_back_and_says_so() {
    // A file of /proc claims to be empty; the kernel copies nothing, reading does.
    let directory = scratch();
    let target = target_in(&directory);
    let cpuinfo = File::open("/proc/self/status").unwrap();
    let copied = copy_range::copy(&cpuinfo, 0, &target, 0, u64::MAX).unwrap();
    assert!(copied.bytes > 0 && copied.in_kernel_bytes == 0);
    assert!(copied.fell_back.is_some());
    assert!(content_of(&target).starts_with(b"Name:"));

    // memfd is on tmpfs, the target on a disk: EXDEV.
    let content = pattern(300_000);
    let memory = rustix::fs::memfd_create("source", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    positional::pwrite_all(&memory, &content, 0).unwrap();
    let copied = copy_range::copy(&memory, 10, &target, 0, 299_000).unwrap();
    assert_eq!((copied.bytes, copied.in_kernel_bytes), (299_000, 0));
    assert_eq!(copied.fell_back, Some(Refusal::AcrossFileSystems));
    assert!(content_of(&target)[..299_000] == content[10..299_010]);
}

#[test]
fn copies_that_overlap_or_have_no_place_are_refused() {
    let directory = scratch();
    let target = target_in(&directory);
    positional::pwrite_all(&target, &pattern(100_000), 0).unwrap();
    let overlap = copy_range::copy(&target, 0, &target, 1000, 50_000).unwrap_err();
    assert_eq!((overlap.error, overlap.done.bytes), (CopyError::Overlap, 0));
    assert!(content_of(&target) == pattern(100_000), "a refused copy changed the file");
    let (_, read_only) = file_with(&directory, b"abc");
    let error = copy_range::copy(&target, 0, &read_only, 0, 10).unwrap_err().error;
    assert_eq!(error, CopyError::Io(Error::BadDescriptor));
}

#[test]
fn copies_within_a_file_neither_overlap_nor_chase_their_own_end() {
    let directory = scratch();
    let target = target_in(&directory);
    positional::pwrite_all(&target, &pattern(100_000), 0).unwrap();
    // To its end, which the copy itself moves on.
    let copied = copy_range::copy(&target, 0, &target, 100_000, u64::MAX).unwrap();
    assert_eq!(copied.bytes, 100_000);
    assert!(content_of(&target) == [pattern(100_000), pattern(100_000)].concat());
    let nothing = copy_range::copy(&target, 300_000, &target, 0, u64::MAX).unwrap();
    assert_eq!(nothing.bytes, 0);
    // So far apart that no single call would overlap.
    let (far, size) = (1 << 30, (1 << 30) + 8192);
    target.set_len(size).unwrap();
    let overlap = copy_range::copy(&target, 0, &target, far, size).unwrap_err();
    assert_eq!((overlap.error, overlap.done.bytes), (CopyError::Overlap, 0));
    assert_eq!(target.metadata().unwrap().len(), size);
}

#[test]
fn bad_descriptors_are_a_typed_error() {
    let directory = scratch();
    let (path, read_only) = file_with(&directory, b"content");
    let write_only = File::options().write(true).open(&path).unwrap();
    let bad = Err(Error::BadDescriptor);
    let mut memory = [0; 4];
    assert_eq!(vectored::readv(&write_only, &mut [IoSliceMut::new(&mut memory)]), bad);
    assert_eq!(vectored::writev(&read_only, &[IoSlice::new(b"x")]), bad);
    assert_eq!(positional::pread(&write_only, &mut memory, 0), bad);
    assert_eq!(positional::pwrite(&read_only, b"x", 0), bad);
    assert_eq!(sendfile::sendfile(&write_only, &mut 0, &read_only, 1), bad);
    assert_eq!(copy_range::copy_file_range(&write_only, &mut 0, &read_only, &mut 0, 1), bad);

    // A descriptor that was open and is closed, as after a mistake in foreign code. The number is
    // far above those that the other threads of this test program are given.
    let closed = closed_descriptor();
    let (pipe, flags) = (Pipe::new().unwrap(), SpliceFlags::empty());
    assert_eq!(vectored::readv(closed, &mut [IoSliceMut::new(&mut memory)]), bad);
    assert_eq!(vectored::writev(closed, &[IoSlice::new(b"x")]), bad);
    assert_eq!(positional::pread(closed, &mut memory, 0), bad);
    assert_eq!(positional::probe(closed, 0), Err(Error::BadDescriptor));
    assert_eq!(sendfile::sendfile(closed, &mut 0, &write_only, 1), bad);
    assert_eq!(pipe::splice_in(closed, None, pipe.writer(), 1, flags), bad);
    assert_eq!(pipe::splice_out(pipe.reader(), closed, None, 1, flags), bad);
    assert_eq!(pipe::tee(closed, pipe.writer(), 1, flags), bad);
    assert_eq!(copy_range::copy_file_range(closed, &mut 0, &write_only, &mut 0, 1), bad);
    assert_eq!(synchronous::durability(closed), Err(Error::BadDescriptor));
    assert_eq!(direct::discover(closed), Err(DirectError::Io(Error::BadDescriptor)));
}

#[allow(unsafe_code)]
fn closed_descriptor() -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: not -1. The descriptor is not open, which is the point of the test, and nothing is
    // ever opened at this number, so no one else's file can be reached through it.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(900_000) }
}

#[test]
fn direct_aligned() {
    let directory = scratch();
    let path = directory.path().join("direct");
    let content = pattern(3 * MIB + 1000);
    std::fs::write(&path, &content).unwrap();
    let file = DirectFile::open(&path).expect("the target directory is on a disk with O_DIRECT");
    let alignment = file.alignment();
    assert!(alignment.offset_bytes.is_power_of_two() && alignment.memory_bytes.is_power_of_two());
    assert_ne!(alignment.source, AlignmentSource::Assumed);

    let unit = alignment.offset_bytes.max(4096);
    let mut buffer = AlignedBuffer::new(64 * unit, unit).unwrap();
    let mut offset = 0;
    while offset < content.len() {
        let read = file.read(&mut buffer, offset as u64).unwrap();
        assert!(buffer[..read] == content[offset..offset + read]);
        offset += read;
    }
    assert_eq!(offset, content.len());
    assert_eq!(file.read(&mut buffer, 4 * MIB as u64), Ok(0));

    let copy = DirectFile::create(directory.path().join("written")).unwrap();
    assert_eq!(copy.alignment().source, alignment.source);
    buffer.copy_from_slice(&content[..64 * unit]);
    assert_eq!(copy.write(&buffer, 0), Ok(64 * unit));
    let written = std::fs::read(directory.path().join("written")).unwrap();
    assert!(written == content[..64 * unit]);
}

#[test]
fn direct_unaligned() {
    let directory = scratch();
    let path = directory.path().join("direct");
    std::fs::write(&path, pattern(MIB)).unwrap();
    let file = DirectFile::open(&path).expect("the target directory is on a disk with O_DIRECT");
    let alignment = file.alignment();
    let needed = alignment.offset_bytes;
    let mut buffer = AlignedBuffer::new(16384, 4096).unwrap();
    let address = buffer.as_ptr() as usize;

    // The kernel's own EINVAL, and what it means.
    let raw = positional::pread(&file, &mut buffer[..4096], 1).unwrap_err();
    assert_eq!(raw, Error::Kernel(Errno::INVAL));
    let explained = alignment.explain(raw, address, 4096, 1);
    assert!(matches!(explained, DirectError::Unaligned(unaligned)
        if unaligned.operand == Operand::Offset && unaligned.needed == needed));
    let words = explained.to_string();
    assert!(words.contains("offset 1") && words.contains(&needed.to_string()), "{words}");

    let unaligned = |result| match result {
        Err(DirectError::Unaligned(unaligned)) => unaligned,
        other => panic!("{other:?} instead of an explanation"),
    };
    let offset = unaligned(file.read(&mut buffer[..4096], 100));
    assert_eq!((offset.operand, offset.value, offset.needed), (Operand::Offset, 100, needed));
    let length = unaligned(file.read(&mut buffer[..1000], 0));
    assert_eq!((length.operand, length.value, length.needed), (Operand::Length, 1000, needed));
    let memory = unaligned(file.read(&mut buffer[1..4097], 0));
    assert_eq!((memory.operand, memory.value), (Operand::Address, address as u64 + 1));
    assert_eq!(memory.needed, alignment.memory_bytes);
    assert_eq!(unaligned(file.write(&buffer[..100], 0)).operand, Operand::Length);
    assert_eq!(alignment.explain(raw, 0, 0, 0), DirectError::Refused { alignment });
}

#[test]
fn direct_ranges_are_trimmed_at_both_ends() {
    let directory = scratch();
    let path = directory.path().join("direct");
    let content = pattern(70_001);
    std::fs::write(&path, &content).unwrap();
    let file = DirectFile::open(&path).unwrap();
    let mut buffer = file.alignment().buffer(20_000).unwrap();
    for (offset, count) in [(0, 20_000), (1, 1), (511, 2), (4095, 12_289), (69_999, 2), (3, 0)] {
        let range = file.read_range(offset as u64, count, &mut buffer).unwrap();
        assert!(range == &content[offset..offset + count], "{count} bytes at {offset}");
    }
    let past = file.read_range(69_000, 20_000, &mut buffer).unwrap();
    assert!(past == &content[69_000..]);
    assert_eq!(file.read_range(70_001, 5, &mut buffer).unwrap(), b"");
    assert_eq!(file.read_range(1 << 40, 5, &mut buffer).unwrap(), b"");
    let offset = u64::MAX;
    let beyond = file.read_range(offset, 5, &mut buffer).unwrap_err();
    assert_eq!(beyond, DirectError::Io(Error::OffsetTooLarge { offset }));
    let mut small = AlignedBuffer::new(512, 512).unwrap();
    let refused = file.read_range(0, 20_000, &mut small).unwrap_err();
    assert!(
        matches!(refused, DirectError::BufferTooSmall { size: 512, needed } if needed >= 20_000)
    );
}

#[test]
fn direct_needs_the_flag() {
    let (_, buffered) = file_with(&scratch(), b"content");
    assert_eq!(direct::discover(&buffered), Err(DirectError::NotDirect));
    let missing = DirectFile::open("/nonexistent/file").unwrap_err();
    assert_eq!(missing, DirectError::Io(Error::Kernel(Errno::NOENT)));
    let proc = DirectFile::open("/proc/self/status").unwrap_err();
    assert_eq!(proc, DirectError::NotSupported);
}

#[test]
fn aligned_buffers_are_aligned_for_every_power_of_two() {
    let mut alignment = 512;
    while alignment <= MIB {
        for blocks in 1..4 {
            let buffer = AlignedBuffer::new(blocks * alignment, alignment).unwrap();
            assert_eq!(buffer.as_ptr() as usize % alignment, 0, "alignment {alignment}");
            assert_eq!(buffer.len(), blocks * alignment);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
        alignment *= 2;
    }
}

#[test]
fn aligned_buffers_refuse_what_cannot_be_aligned() {
    let refused = |size, alignment| AlignedBuffer::new(size, alignment).unwrap_err();
    for alignment in [0, 3, 511, 513, 1000, 4095, MIB + 512, usize::MAX] {
        assert_eq!(refused(4096, alignment), AlignmentError::NotPowerOfTwo { alignment });
    }
    assert_eq!(refused(4096, 256), AlignmentError::TooSmall { alignment: 256 });
    assert_eq!(refused(4 * MIB, 4 * MIB), AlignmentError::TooLarge { alignment: 4 * MIB });
    assert_eq!(refused(0, 512), AlignmentError::NoSize);
    let uneven = AlignmentError::SizeNotMultiple { size: 1000, alignment: 512 };
    assert_eq!(refused(1000, 512), uneven);
}

#[test]
fn synchronous_files_keep_what_they_promise() {
    let directory = scratch();
    for durability in [Durability::Data, Durability::DataAndMetadata] {
        let path = directory.path().join(format!("{durability:?}"));
        let file = SynchronousFile::open(&path, durability).unwrap();
        assert_eq!(synchronous::durability(&file), Ok(Some(durability)));
        assert_eq!(file.write(b"one "), Ok(4));
        let written = file.write_all(b"two").unwrap();
        assert_eq!(written, Transfer { bytes: 3, short_transfers: 0 });
        assert_eq!(file.write_at(b"T", 4), Ok(1));
        assert_eq!(std::fs::read(&path).unwrap(), b"one Two");
    }
    let plain = target_in(&directory);
    assert_eq!(synchronous::durability(plain.as_fd()), Ok(None));
}

/// A file of the scratch directory for asynchronous operations in both directions.
fn aio_target(directory: &tempfile::TempDir) -> AioFile {
    AioFile::new(target_in(directory)).unwrap()
}

#[test]
fn aio_read_complete() {
    let directory = scratch();
    let content = pattern(MIB);
    let (_, file) = file_with(&directory, &content);
    let file = AioFile::new(file).unwrap();

    // By polling.
    let mut read = Request::read(&file, vec![0; 1000], 5000).named("polled").start().unwrap();
    assert_eq!(read.name(), Some("polled"));
    assert!(format!("{read:?}").contains("polled"));
    while !read.is_done() {
        thread::yield_now();
    }
    assert_eq!((read.result(), read.result()), (Ok(1000), Ok(1000)));
    assert!(read.finish().unwrap().memory == content[5000..6000]);

    // By suspend, into aligned memory, and short at the end of the file.
    let memory = AlignedBuffer::new(8192, 4096).unwrap();
    let read = Request::read(&file, memory, MIB as u64 - 5000).start().unwrap();
    assert_eq!(read.wait(Some(Duration::from_secs(20))), Ok(()));
    let done = read.finish().unwrap();
    assert_eq!(done.result, Ok(5000));
    assert!(done.memory[..5000] == content[MIB - 5000..]);

    let mut past = Request::read(&file, vec![0; 10], MIB as u64).start().unwrap();
    past.wait(None).unwrap();
    assert_eq!((past.result(), past.cancel()), (Ok(0), Cancellation::AlreadyDone));
}

#[test]
fn aio_write_complete() {
    let directory = scratch();
    let file = aio_target(&directory);
    let content = pattern(MIB);
    let write = Request::write(&file, content.clone(), 4096).start().unwrap();
    let mut sync = Request::sync(&file, Durability::Data).named("sync").start().unwrap();
    sync.wait(None).unwrap();
    assert_eq!(sync.result(), Ok(0));
    write.wait(None).unwrap();
    assert_eq!(write.finish().unwrap().result, Ok(MIB));
    let mut all = Request::sync(&file, Durability::DataAndMetadata).start().unwrap();
    all.wait(None).unwrap();
    assert_eq!(all.result(), Ok(0));

    let mut back = vec![1; MIB + 4096];
    let other = File::open(directory.path().join("target")).unwrap();
    assert_eq!(positional::pread_all(&other, &mut back, 0).unwrap().bytes, back.len() as u64);
    assert!(back[..4096].iter().all(|&byte| byte == 0) && back[4096..] == content);
}

#[test]
fn aio_lists_run_every_operation() {
    let directory = scratch();
    let file = aio_target(&directory);
    let content = pattern(64 * 1000);
    let writes = content.chunks(1000).enumerate();
    let writes = writes.map(|(at, part)| Request::write(&file, part.to_vec(), at as u64 * 1000));
    let mut writes = posix_aio::start_list(writes.collect(), None).unwrap();
    assert_eq!(writes.len(), 64);
    for write in &mut writes {
        write.wait(None).unwrap();
        assert_eq!(write.result(), Ok(1000));
    }
    let reads = (0..64).rev().map(|at| Request::read(&file, vec![0; 1000], at * 1000));
    let reads = posix_aio::start_list(reads.collect(), None).unwrap();
    for (read, part) in reads.into_iter().zip(content.chunks(1000).rev()) {
        read.wait(None).unwrap();
        assert!(read.finish().unwrap().memory == part);
    }
}

#[test]
fn aio_in_progress_is_a_typed_error() {
    let directory = scratch();
    let content = pattern(32 * MIB);
    let (_, file) = file_with(&directory, &content);
    let file = AioFile::new(file).unwrap();
    // Operations on one descriptor run one after the other, so the last of many is not done at
    // once, unless this thread does not get to run for a while: then it is tried again.
    let seen = (0..2000).any(|_| {
        let reads: Vec<_> = (0..32)
            .map(|at| Request::read(&file, vec![0; MIB], at * MIB as u64).start().unwrap())
            .collect();
        let mut last = reads.into_iter().last().unwrap();
        let early = last.result() == Err(AioError::InProgress)
            && last.wait(Some(Duration::ZERO)) == Err(AioError::TimedOut);
        let (handed_back, last) = match last.finish() {
            Err(operation) => (true, operation),
            Ok(_) => return false,
        };
        last.wait(None).unwrap();
        let done = last.finish().unwrap();
        assert_eq!(done.result, Ok(MIB));
        assert!(done.memory == content[31 * MIB..]);
        early && handed_back
    });
    assert!(seen, "no operation was seen in progress");
    assert_eq!(AioError::InProgress.errno(), Errno::INPROGRESS);
}

#[test]
fn aio_cancelled_operations_end_once() {
    let directory = scratch();
    let (_, file) = file_with(&directory, &pattern(16 * MIB));
    let file = AioFile::new(file).unwrap();
    let mut reads: Vec<_> = (0..16)
        .map(|at| Request::read(&file, vec![0; MIB], at * MIB as u64).start().unwrap())
        .collect();
    let answer = reads[15].cancel();
    reads[15].wait(None).unwrap();
    match answer {
        Cancellation::Cancelled => assert_eq!(reads[15].result(), Err(AioError::Cancelled)),
        Cancellation::NotCancelled | Cancellation::AlreadyDone => {
            assert_eq!(reads[15].result(), Ok(MIB));
        }
    }
    assert_eq!(reads[15].cancel(), Cancellation::AlreadyDone);
    for read in &mut reads[..15] {
        read.wait(None).unwrap();
        assert_eq!(read.result(), Ok(MIB));
    }
}

#[test]
fn aio_cancelled_operations_do_not_hold_up_others() {
    let (_, file) = file_with(&scratch(), &pattern(4096));
    let file = AioFile::new(file).unwrap();
    // The first is often queued for a thread that does not run yet; glibc loses the second when
    // such a one is cancelled.
    for turn in 0..500 {
        let first = Request::read(&file, vec![0; 10], 0).start().unwrap();
        let mut second = Request::read(&file, vec![0; 20], 10).start().unwrap();
        if turn % 2 == 0 {
            first.cancel();
        }
        drop(first);
        assert_eq!(second.wait(Some(Duration::from_secs(20))), Ok(()), "turn {turn}");
        assert_eq!(second.result(), Ok(20));
    }
}

#[test]
fn aio_cancel_all_ends_every_operation() {
    let (_, file) = file_with(&scratch(), &pattern(MIB));
    let file = AioFile::new(file).unwrap();
    let mut reads: Vec<_> =
        (0..50).map(|_| Request::read(&file, vec![0; MIB], 0).start().unwrap()).collect();
    file.cancel_all();
    for read in &mut reads {
        read.wait(Some(Duration::from_secs(20))).unwrap();
        let result = read.result();
        assert!(matches!(result, Ok(MIB) | Err(AioError::Cancelled)), "{result:?}");
    }
    let mut after = Request::read(&file, vec![0; 7], 0).start().unwrap();
    after.wait(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(after.result(), Ok(7));
}

#[test]
fn aio_misuse_is_a_typed_error_and_the_memory_comes_home() {
    let directory = scratch();
    let (path, read_only) = file_with(&directory, b"content");
    let read_only = AioFile::new(read_only).unwrap();
    let write_only = AioFile::new(File::options().write(true).open(path).unwrap()).unwrap();

    let empty = Request::read(&read_only, Vec::new(), 0).start().unwrap_err();
    assert_eq!(empty.error, AioError::EmptyBuffer);
    let offset = u64::MAX;
    let beyond = Request::write(&write_only, vec![7; 3], offset).start().unwrap_err();
    assert_eq!(beyond.error, AioError::OffsetTooLarge { offset });
    assert_eq!(beyond.request.into_memory(), [7; 3]);

    let result_of = |mut operation: Operation<Vec<u8>>| {
        operation.wait(None).unwrap();
        operation.result()
    };
    let read = Request::read(&write_only, vec![0; 3], 0).start().unwrap();
    assert_eq!(result_of(read), Err(AioError::BadDescriptor));
    let write = Request::write(&read_only, vec![0; 3], 0).start().unwrap();
    assert_eq!(result_of(write), Err(AioError::BadDescriptor));

    let nothing = posix_aio::start_list(Vec::<Request<Vec<u8>>>::new(), None).unwrap_err();
    assert_eq!(nothing.error, AioError::EmptyList);
    let count = LIST_MAX + 1;
    let many = (0..count).map(|_| Request::read(&read_only, vec![0; 1], 0)).collect();
    let refused = posix_aio::start_list(many, None).unwrap_err();
    assert_eq!(refused.error, AioError::ListTooLong { count });
    assert_eq!(refused.requests.len(), count);
    let sync = vec![Request::sync(&read_only, Durability::Data)];
    assert_eq!(posix_aio::start_list(sync, None).unwrap_err().error, AioError::SyncInList);
    assert_eq!(posix_aio::suspend(&[], None), Err(AioError::EmptyList));
    let (socket, _peer) = UnixStream::pair().unwrap();
    assert_eq!(AioFile::new(socket).unwrap_err(), AioError::NotAFile);
}

#[test]
fn aio_dropped_in_flight_never_touches_freed_memory() {
    let directory = scratch();
    let path = directory.path().join("source");
    std::fs::write(&path, pattern(16 * MIB)).unwrap();
    let direct = DirectFile::open(&path).unwrap();
    let direct = AioFile::new(direct).unwrap();
    let buffered = AioFile::new(File::open(&path).unwrap()).unwrap();

    let mut in_flight = 0;
    for turn in 0..8 {
        let at = |read: u64| (read * DROPPED_ALIGNED_BYTES as u64) % (8 * MIB as u64);
        let vectors: Vec<_> = (0..32)
            .map(|read| Request::read(&buffered, vec![0; DROPPED_BYTES], at(read)))
            .map(|request| request.start().unwrap())
            .collect();
        let aligned: Vec<_> = (0..32)
            .map(|read| {
                let memory = AlignedBuffer::new(DROPPED_ALIGNED_BYTES, 4096).unwrap();
                Request::read(&direct, memory, at(read)).start().unwrap()
            })
            .collect();
        in_flight += vectors.iter().filter(|read| !read.is_done()).count();
        in_flight += aligned.iter().filter(|read| !read.is_done()).count();
        // Both ways round: the first ones run and must be waited for, the last ones are queued.
        if turn % 2 == 0 {
            vectors.into_iter().for_each(drop);
            aligned.into_iter().rev().for_each(drop);
        } else {
            aligned.into_iter().for_each(drop);
            vectors.into_iter().rev().for_each(drop);
        }
    }
    assert!(in_flight > 0, "every read was done before it could be dropped");
    // Longer than all of the reads would take.
    thread::sleep(Duration::from_millis(300));
    // A write to one of them ends this program.
    assert!(freed::check() > 0 || !freed::is_on());
}

#[test]
fn uring_batch() {
    let directory = scratch();
    let content = pattern(10 * 1000);
    let (_, file) = file_with(&directory, &content);
    let file = SharedFile::new(file);
    let mut batch = Batch::new(16).unwrap();
    for part in 0..10 {
        batch.read(&file, vec![0; 1000], part * 1000).unwrap();
    }
    let queued = batch.counts();
    assert_eq!((queued.queued, queued.submitted, queued.entries), (10, 0, 0));
    assert_eq!(batch.submit(), Ok(10));
    let submitted = batch.counts();
    assert_eq!((submitted.queued, submitted.submitted, submitted.entries), (0, 10, 1));

    batch.wait(10, None).unwrap();
    let mut parts = Vec::new();
    while let Some(done) = batch.take().unwrap() {
        assert_eq!(done.result, Ok(1000));
        let start = done.offset as usize;
        assert!(done.buffer[..] == content[start..start + 1000], "other bytes at {start}");
        parts.push(start);
    }
    parts.sort_unstable();
    assert_eq!(parts, (0..10).map(|part| part * 1000).collect::<Vec<_>>());
    assert_eq!((batch.counts().completed, batch.counts().in_flight), (10, 0));
}

#[test]
fn uring_throughput() {
    const OPERATIONS: u64 = 1000;
    const DEPTH: usize = 64;
    const BYTES: usize = 4096;
    let directory = scratch();
    let content = pattern(16 * MIB);
    let (_, file) = file_with(&directory, &content);
    let file = SharedFile::new(file);
    let mut batch = Batch::new(DEPTH as u32).unwrap();
    let mut free: Vec<_> = (0..DEPTH).map(|_| vec![0; BYTES].into()).collect();
    let blocks = (content.len() / BYTES) as u64;
    let (mut started, mut right) = (0, 0);
    let begin = Instant::now();
    while right < OPERATIONS {
        while started < OPERATIONS
            && let Some(buffer) = free.pop()
        {
            batch.read(&file, buffer, started * 7919 % blocks * BYTES as u64).unwrap();
            started += 1;
        }
        batch.submit_and_wait(1).unwrap();
        while let Some(done) = batch.take().unwrap() {
            assert_eq!(done.result, Ok(BYTES));
            let start = done.offset as usize;
            assert!(done.buffer[..] == content[start..start + BYTES], "other bytes at {start}");
            right += 1;
            free.push(done.buffer);
        }
    }
    let rate = OPERATIONS as f64 / begin.elapsed().as_secs_f64();
    // Past the capture of the test program: the rate is what one wants to see.
    writeln!(std::io::stderr(), "uring_throughput: {rate:.0} operations a second, checked")
        .unwrap();
    let counts = batch.counts();
    assert_eq!((counts.submitted, counts.completed), (OPERATIONS, OPERATIONS));
    assert!(counts.entries <= OPERATIONS, "more system calls than operations");
}

/// Set for the child in which [`ring_setup_failure_in_a_process_of_its_own`] does its work.
const CHILD: &str = "PITCREW_RING_SETUP_CHILD";

#[test]
fn ring_setup_failure_leaves_nothing() {
    // In a process of its own, since limits are the whole process's and other tests of this one
    // open and close descriptors meanwhile.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ring_setup_failure_in_a_process_of_its_own", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{errors}");
    assert!(said.contains("three ways to fail, nothing left"), "{said}{errors}");
}

#[test]
fn ring_setup_failure_in_a_process_of_its_own() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    drop(Batch::new(8).expect("a ring is allowed here"));
    let before = left_over();
    for _ in 0..20 {
        let refused = with_descriptors(0, || Batch::new(8)).unwrap_err();
        assert!(matches!(refused, SetupError::Blocked(Blocked::Descriptors)), "{refused}");
        assert_eq!(left_over(), before, "after a ring that could not be made");

        // More than the kernel registers as one: the ring is there already when it refuses.
        let buffers = Some((1025 * MIB, 1));
        let refused = Batch::with(&Setup { buffers, ..Setup::new(8) }).unwrap_err();
        assert!(
            matches!(refused, SetupError::NotRegistered { what: Registration::Buffers, .. }),
            "{refused}"
        );
        assert_eq!(left_over(), before, "after buffers that could not be registered");

        let file = SharedFile::new(File::open("/proc/self/status").unwrap());
        let files = vec![file; 64];
        let setup = Setup { files, ..Setup::new(8) };
        let refused = with_descriptors(1, || Batch::with(&setup)).unwrap_err();
        assert!(
            matches!(refused, SetupError::NotRegistered { what: Registration::Files, .. }),
            "{refused}"
        );
        drop(setup);
        assert_eq!(left_over(), before, "after files that could not be registered");
    }
    println!("three ways to fail, nothing left");
}

/// Descriptors of the process, mappings of rings, and bytes of all large mappings.
fn left_over() -> (usize, usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let large = maps.lines().filter_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(end)? - number(start)?).filter(|bytes| *bytes >= 256 * MIB)
    });
    let rings = maps.lines().filter(|line| line.contains("io_uring")).count();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, rings, large.sum())
}

/// Runs with room for so many more descriptors.
fn with_descriptors<T>(more: u64, work: impl FnOnce() -> T) -> T {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    // The lowest free number is the one that the kernel gives next.
    let next = std::os::fd::AsRawFd::as_raw_fd(&File::open("/dev/null").unwrap()) as u64;
    let mut few = before;
    few.current = Some(next + more);
    setrlimit(Resource::Nofile, few).unwrap();
    let result = work();
    setrlimit(Resource::Nofile, before).unwrap();
    result
}
