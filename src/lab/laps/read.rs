//! Laps that bring a file into memory.

use std::io::IoSliceMut;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::fs::{SeekFrom, seek};
use rustix::io::retry_on_intr;

use super::super::course::Course;
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::{Lap, PARTS, Start, Tally, whole};
use crate::limits;
use crate::sys::mapping::Mapping;
use crate::techniques::pipe::{Pipe, SpliceFlags, splice_in};
use crate::techniques::{AlignedBuffer, positional, vectored};

type Made = Result<Box<dyn Lap>, LapError>;

fn source(start: &Start<'_>) -> Result<OwnedFd, LapError> {
    start.track.open_source(start.direct).map_err(|error| LapError::new("open", error))
}

/// read(2) at the file's own offset, moved by lseek(2) where the course jumps.
struct Plain {
    file: OwnedFd,
    buffer: AlignedBuffer,
    /// Parts that each block is scattered over; one is plain read(2).
    parts: usize,
    at: u64,
}

pub(super) fn plain(start: &Start<'_>) -> Made {
    Ok(Box::new(Plain { file: source(start)?, buffer: start.track.buffer(), parts: 1, at: 0 }))
}

/// readv(2) into four parts of a block.
pub(super) fn scatter(start: &Start<'_>) -> Made {
    let (file, buffer) = (source(start)?, start.track.buffer());
    Ok(Box::new(Plain { file, buffer, parts: PARTS, at: 0 }))
}

impl Lap for Plain {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        let (file, bytes) = (&self.file, &mut self.buffer[..block]);
        while let Some(span) = course.next() {
            if self.at != span.offset {
                tally.calls += 1;
                let jump = seek(file, SeekFrom::Start(span.offset));
                jump.map_err(|errno| LapError::new("lseek", errno))?;
            }
            if self.parts == 1 {
                whole(&mut tally, "read", block, |done| {
                    Ok(retry_on_intr(|| rustix::io::read(file, &mut bytes[done..]))?)
                })?;
            } else {
                let mut chunks = bytes.chunks_mut(block / self.parts);
                let mut parts: [_; PARTS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                let mut rest = &mut parts[..];
                whole(&mut tally, "readv", block, |_| {
                    let read = vectored::readv(file, rest)?;
                    IoSliceMut::advance_slices(&mut rest, read);
                    Ok(read)
                })?;
            }
            self.at = span.offset + block as u64;
            inspector.block(span.index, bytes);
        }
        Ok(tally)
    }
}

/// pread(2), by one thread or several on one descriptor.
struct Positional {
    file: OwnedFd,
    buffers: Vec<AlignedBuffer>,
}

pub(super) fn positional(start: &Start<'_>) -> Made {
    Ok(Box::new(Positional { file: source(start)?, buffers: vec![start.track.buffer()] }))
}

pub(super) fn direct(start: &Start<'_>) -> Made {
    let file = start.track.open_source(true).map_err(|error| LapError::new("open", error))?;
    Ok(Box::new(Positional { file, buffers: vec![start.track.buffer()] }))
}

/// Processors that this process may use.
pub(super) fn threads_available() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Threads of the lap with several: one a processor, and two at least.
fn threads() -> usize {
    threads_available().clamp(2, limits::LAB_THREADS_MAX)
}

pub(super) fn positional_threads(start: &Start<'_>) -> Made {
    let buffers = (0..threads()).map(|_| start.track.buffer()).collect();
    Ok(Box::new(Positional { file: source(start)?, buffers }))
}

impl Positional {
    fn one(
        file: &OwnedFd,
        buffer: &mut AlignedBuffer,
        course: &mut Course,
        inspector: &mut Inspector,
    ) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        let bytes = &mut buffer[..block];
        while let Some(span) = course.next() {
            whole(&mut tally, "pread", block, |done| {
                positional::pread(file, &mut bytes[done..], span.offset + done as u64)
            })?;
            inspector.block(span.index, bytes);
        }
        Ok(tally)
    }
}

impl Lap for Positional {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let Self { file, buffers } = self;
        if let [buffer] = &mut buffers[..] {
            return Self::one(file, buffer, course, inspector);
        }
        let parts = course.split(buffers.len());
        thread::scope(|scope| {
            let running: Vec<_> = parts
                .into_iter()
                .zip(buffers)
                .map(|(mut part, buffer)| {
                    let (file, mut own) = (&*file, inspector.fork());
                    scope.spawn(move || {
                        Self::one(file, buffer, &mut part, &mut own).map(|tally| (tally, own, part))
                    })
                })
                .collect();
            let (mut tally, mut gone_over) = (Tally::default(), Vec::new());
            for thread in running {
                let (its, own, part) = thread.join().expect("a thread of a lap does not panic")?;
                tally.join(&its);
                inspector.join(&own);
                gone_over.push(part);
            }
            course.rejoin(gone_over);
            Ok(tally)
        })
    }
}

/// A mapping of the whole file, made and taken down within the lap, and copies out of it.
struct Mapped {
    file: OwnedFd,
    length: usize,
    buffer: AlignedBuffer,
}

pub(super) fn mapped(start: &Start<'_>) -> Made {
    let length = start.track.size as usize;
    Ok(Box::new(Mapped { file: source(start)?, length, buffer: start.track.buffer() }))
}

impl Lap for Mapped {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let mut tally = Tally { calls: 2, ..Tally::default() };
        let mapping = Mapping::new(&self.file, 0, self.length)
            .map_err(|errno| LapError::new("mmap", errno))?;
        let bytes = &mut self.buffer[..course.block()];
        while let Some(span) = course.next() {
            mapping.copy_out(span.offset as usize, bytes);
            tally.operation(bytes.len());
            inspector.block(span.index, bytes);
        }
        Ok(tally)
    }
}

/// splice(2) into a pipe, and read(2) out of it.
struct Spliced {
    file: OwnedFd,
    pipe: Pipe,
    buffer: AlignedBuffer,
}

pub(super) fn spliced(start: &Start<'_>) -> Made {
    let pipe = Pipe::with_size(start.track.block).map_err(LapError::plain("pipe"))?;
    Ok(Box::new(Spliced { file: source(start)?, pipe, buffer: start.track.buffer() }))
}

impl Lap for Spliced {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        let (pipe, bytes) = (&self.pipe, &mut self.buffer[..block]);
        while let Some(span) = course.next() {
            let (mut offset, mut calls) = (span.offset, 0);
            whole(&mut tally, "splice", block, |done| {
                let left = block - done;
                let flags = SpliceFlags::empty();
                let count = splice_in(&self.file, Some(&mut offset), pipe.writer(), left, flags)?;
                let mut taken = 0;
                while taken < count {
                    let room = &mut bytes[done + taken..done + count];
                    taken += retry_on_intr(|| rustix::io::read(pipe.reader(), &mut *room))?;
                    calls += 1;
                }
                Ok(count)
            })?;
            tally.calls += calls;
            inspector.block(span.index, bytes);
        }
        Ok(tally)
    }
}
