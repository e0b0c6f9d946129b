//! Laps that write memory to a file, and what they write.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::retry_on_intr;

use super::super::course::Course;
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::{Lap, PARTS, Start, Tally, whole};
use crate::base::Random;
use crate::techniques::synchronous::{Durability, SynchronousFile};
use crate::techniques::{AlignedBuffer, positional, vectored};

type Made = Result<Box<dyn Lap>, LapError>;

/// What a lap writes: blocks that begin with a stamp of the run and of their place, so that a
/// block of an earlier run, or one at a wrong place, is seen.
pub(super) struct Ink {
    nonce: u64,
    /// Opened for reading back; buffered, whatever the lap wrote with.
    written: OwnedFd,
}

impl Ink {
    pub(super) fn new(start: &Start<'_>) -> Result<Self, LapError> {
        let written = start.track.open_written(OFlags::empty());
        let written = written.map_err(|error| LapError::new("open", error))?;
        Ok(Self { nonce: start.nonce, written })
    }

    /// Prepares a buffer once; after that [`Ink::fill`] only changes the stamp.
    fn prepare(&self, buffer: &mut [u8]) {
        let mut random = Random::new(self.nonce);
        for word in buffer[8..].chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_ne_bytes());
        }
    }

    fn stamp(&self, index: u64) -> u64 {
        Random::new(self.nonce ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next() | 1
    }

    /// Makes a buffer the block of this number. One that is still zeroed is prepared first.
    #[inline]
    pub(super) fn fill(&self, buffer: &mut [u8], index: u64) {
        if buffer[..8] == [0; 8] {
            self.prepare(buffer);
        }
        buffer[..8].copy_from_slice(&self.stamp(index).to_ne_bytes());
    }

    /// Reads back every block that was written, and compares all of it.
    pub(super) fn look_back(
        &self,
        course: &Course,
        inspector: &mut Inspector,
    ) -> Result<(), LapError> {
        if !inspector.looks() {
            return Ok(());
        }
        let (mut wanted, mut found) = (vec![0; course.block()], vec![0; course.block()]);
        for index in course.visited() {
            self.fill(&mut wanted, index);
            let read =
                positional::pread_all(&self.written, &mut found, index * wanted.len() as u64);
            read.map_err(|stopped| LapError::stopped("pread", stopped))?;
            inspector.compared(index, wanted == found);
        }
        Ok(())
    }
}

/// How a lap calls the kernel for one block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// At the file's own offset.
    Write,
    /// At the file's own offset, gathered from four parts.
    Gather,
    /// At an offset.
    Positional,
}

/// One block after the other by one thread.
struct Writer {
    file: Target,
    call: Call,
    ink: Ink,
    buffer: AlignedBuffer,
    at: u64,
}

enum Target {
    Plain(OwnedFd),
    Synchronous(SynchronousFile),
}

impl Target {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd) => fd.as_fd(),
            Self::Synchronous(file) => file.as_fd(),
        }
    }
}

fn lap(start: &Start<'_>, call: Call, direct: bool) -> Made {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    let file = start.track.open_written(flags);
    let file = file.map_err(|error| LapError::new("open", error))?;
    make(start, Target::Plain(file), call)
}

fn make(start: &Start<'_>, file: Target, call: Call) -> Made {
    let (ink, buffer) = (Ink::new(start)?, start.track.buffer());
    Ok(Box::new(Writer { file, call, ink, buffer, at: 0 }))
}

pub(super) fn plain(start: &Start<'_>) -> Made {
    lap(start, Call::Write, start.direct)
}

pub(super) fn gather(start: &Start<'_>) -> Made {
    lap(start, Call::Gather, start.direct)
}

pub(super) fn positional(start: &Start<'_>) -> Made {
    lap(start, Call::Positional, start.direct)
}

pub(super) fn direct(start: &Start<'_>) -> Made {
    lap(start, Call::Positional, true)
}

fn synchronous(start: &Start<'_>, durability: Durability) -> Made {
    let path = start.track.written_path().map_err(|error| LapError::new("open", error))?;
    let file = SynchronousFile::open(path, durability).map_err(LapError::plain("open"))?;
    make(start, Target::Synchronous(file), Call::Positional)
}

pub(super) fn data_synchronous(start: &Start<'_>) -> Made {
    synchronous(start, Durability::Data)
}

pub(super) fn all_synchronous(start: &Start<'_>) -> Made {
    synchronous(start, Durability::DataAndMetadata)
}

impl Lap for Writer {
    fn run(&mut self, course: &mut Course, _: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        while let Some(span) = course.next() {
            self.ink.fill(&mut self.buffer, span.index);
            let (fd, bytes) = (self.file.fd(), &self.buffer[..block]);
            if self.call != Call::Positional && self.at != span.offset {
                tally.calls += 1;
                let jump = seek(fd, SeekFrom::Start(span.offset));
                jump.map_err(|errno| LapError::new("lseek", errno))?;
            }
            match self.call {
                Call::Write => whole(&mut tally, "write", block, |done| {
                    Ok(retry_on_intr(|| rustix::io::write(fd, &bytes[done..]))?)
                })?,
                Call::Gather => {
                    let mut chunks = bytes.chunks(block / PARTS);
                    let mut parts: [_; PARTS] =
                        std::array::from_fn(|_| IoSlice::new(chunks.next().unwrap_or_default()));
                    let mut rest = &mut parts[..];
                    whole(&mut tally, "writev", block, |_| {
                        let written = vectored::writev(fd, rest)?;
                        IoSlice::advance_slices(&mut rest, written);
                        Ok(written)
                    })?;
                }
                Call::Positional => whole(&mut tally, "pwrite", block, |done| {
                    positional::pwrite(fd, &bytes[done..], span.offset + done as u64)
                })?,
            }
            self.at = span.offset + block as u64;
        }
        Ok(tally)
    }

    fn look_back(&mut self, course: &Course, inspector: &mut Inspector) -> Result<(), LapError> {
        self.ink.look_back(course, inspector)
    }
}

/// Compares a file that a lap copied to with what was to be copied.
pub(super) fn look_at_copy(
    copy: &File,
    course: &Course,
    inspector: &mut Inspector,
) -> Result<(), LapError> {
    if !inspector.looks() {
        return Ok(());
    }
    let mut found = vec![0; course.block()];
    for index in course.visited() {
        let offset = index * found.len() as u64;
        let read = positional::pread_all(copy, &mut found, offset);
        let read = read.map_err(|stopped| LapError::stopped("pread", stopped))?;
        inspector.block(index, &found[..read.bytes as usize]);
    }
    Ok(())
}
