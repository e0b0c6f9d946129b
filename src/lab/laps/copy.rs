//! Laps from a file to a file, inside the kernel or through memory.

use std::fs::File;
use std::os::fd::OwnedFd;

use super::super::course::Course;
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::write::look_at_copy;
use super::{Lap, Start, Tally, whole};
use crate::techniques::copy_range::copy_file_range;
use crate::techniques::pipe::{Pipe, SpliceFlags, splice_in, splice_out};
use crate::techniques::sendfile::sendfile;
use crate::techniques::{AlignedBuffer, positional};

type Made = Result<Box<dyn Lap>, LapError>;

enum Way {
    Memory(AlignedBuffer),
    Sendfile,
    Splice(Pipe),
    Range,
}

/// One block after the other into a file that was empty.
struct Copy {
    from: OwnedFd,
    to: File,
    way: Way,
}

fn lap(start: &Start<'_>, way: Way) -> Made {
    let opened = start.track.open_source(false);
    let from = opened.map_err(|error| LapError::new("open", error))?;
    let to = start.track.emptied_copy().map_err(|error| LapError::new("open", error))?;
    Ok(Box::new(Copy { from, to: to.into(), way }))
}

pub(super) fn through_memory(start: &Start<'_>) -> Made {
    lap(start, Way::Memory(start.track.buffer()))
}

pub(super) fn by_sendfile(start: &Start<'_>) -> Made {
    lap(start, Way::Sendfile)
}

pub(super) fn by_splice(start: &Start<'_>) -> Made {
    lap(start, Way::Splice(Pipe::with_size(start.track.block).map_err(LapError::plain("pipe"))?))
}

pub(super) fn by_range(start: &Start<'_>) -> Made {
    lap(start, Way::Range)
}

impl Lap for Copy {
    fn run(&mut self, course: &mut Course, _: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        let Self { from, to, way } = self;
        while let Some(span) = course.next() {
            let (mut read, mut written) = (span.offset, span.offset);
            let mut calls = 0;
            match way {
                Way::Memory(buffer) => {
                    let bytes = &mut buffer[..block];
                    whole(&mut tally, "pread", block, |done| {
                        positional::pread(&*from, &mut bytes[done..], read + done as u64)
                    })?;
                    // The writing half belongs to the same operation.
                    let mut half = Tally::default();
                    whole(&mut half, "pwrite", block, |done| {
                        positional::pwrite(&*to, &bytes[done..], written + done as u64)
                    })?;
                    tally.calls += half.calls;
                }
                // The output's own offset is where the block begins: courses of copies are
                // sequential and begin with an empty file.
                Way::Sendfile => {
                    let mut offset = read;
                    whole(&mut tally, "sendfile", block, |done| {
                        let count = block - done;
                        sendfile(&*from, &mut offset, &*to, count)
                    })?;
                }
                Way::Splice(pipe) => {
                    let flags = SpliceFlags::empty();
                    whole(&mut tally, "splice", block, |done| {
                        let left = block - done;
                        let count = splice_in(&*from, Some(&mut read), pipe.writer(), left, flags)?;
                        let mut out = 0;
                        while out < count {
                            calls += 1;
                            let to_offset = Some(&mut written);
                            out += splice_out(pipe.reader(), &*to, to_offset, count - out, flags)?;
                        }
                        Ok(count)
                    })?;
                    tally.calls += calls;
                }
                Way::Range => whole(&mut tally, "copy_file_range", block, |done| {
                    copy_file_range(&*from, &mut read, &*to, &mut written, block - done)
                })?,
            }
        }
        Ok(tally)
    }

    fn look_back(&mut self, course: &Course, inspector: &mut Inspector) -> Result<(), LapError> {
        look_at_copy(&self.to, course, inspector)
    }
}
