//! Laps by POSIX AIO: operations that threads of the C library carry out.

use std::collections::VecDeque;

use rustix::fs::OFlags;

use super::super::course::{Course, Span};
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::write::Ink;
use super::{Lap, Start, Tally};
use crate::techniques::AlignedBuffer;
use crate::techniques::posix_aio::{AioFile, Operation, Request};

/// Keeps as many operations in flight as the depth says, and waits for the oldest.
struct Aio {
    file: AioFile,
    buffers: Vec<AlignedBuffer>,
    /// What is written; without it the lap reads.
    ink: Option<Ink>,
}

/// Reads.
pub(super) fn read(start: &Start<'_>) -> Result<Box<dyn Lap>, LapError> {
    reading(start, start.direct)
}

/// Reads by O_DIRECT.
pub(super) fn read_direct(start: &Start<'_>) -> Result<Box<dyn Lap>, LapError> {
    reading(start, true)
}

fn reading(start: &Start<'_>, direct: bool) -> Result<Box<dyn Lap>, LapError> {
    let file = start.track.open_source(direct);
    let file = file.map_err(|error| LapError::new("open", error))?;
    lap(start, file.into(), None)
}

/// Writes.
pub(super) fn write(start: &Start<'_>) -> Result<Box<dyn Lap>, LapError> {
    let flags = if start.direct { OFlags::DIRECT } else { OFlags::empty() };
    let file = start.track.open_written(flags);
    let file = file.map_err(|error| LapError::new("open", error))?;
    lap(start, file.into(), Some(Ink::new(start)?))
}

fn lap(start: &Start<'_>, file: std::fs::File, ink: Option<Ink>) -> Result<Box<dyn Lap>, LapError> {
    let file = AioFile::new(file).map_err(|error| LapError::aio("aio", error))?;
    // The buffer of a lap is as long as its block: an operation fills all of its memory.
    let buffers = (0..start.depth).map(|_| start.track.buffer()).collect();
    Ok(Box::new(Aio { file, buffers, ink }))
}

impl Lap for Aio {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let mut tally = Tally::default();
        let mut flying: VecDeque<(Span, Operation<AlignedBuffer>)> = VecDeque::new();
        loop {
            while let Some(mut buffer) = self.buffers.pop() {
                let Some(span) = course.next() else {
                    self.buffers.push(buffer);
                    break;
                };
                let request = match &self.ink {
                    None => Request::read(&self.file, buffer, span.offset),
                    Some(ink) => {
                        ink.fill(&mut buffer, span.index);
                        Request::write(&self.file, buffer, span.offset)
                    }
                };
                let started = request.start();
                let operation = started.map_err(|not| LapError::aio("aio", not.error))?;
                tally.calls += 1;
                flying.push_back((span, operation));
            }
            let Some((span, operation)) = flying.pop_front() else { return Ok(tally) };
            if !operation.is_done() {
                tally.calls += 1;
                operation.wait(None).map_err(|error| LapError::aio("aio_suspend", error))?;
            }
            let done = operation.finish().expect("it was waited for");
            let moved = done.result.map_err(|error| LapError::aio("aio", error))?;
            if moved < course.block() {
                return Err(LapError::ended("aio"));
            }
            tally.operation(course.block());
            if self.ink.is_none() {
                inspector.block(span.index, &done.memory[..course.block()]);
            }
            self.buffers.push(done.memory);
        }
    }

    fn look_back(&mut self, course: &Course, inspector: &mut Inspector) -> Result<(), LapError> {
        self.ink.as_ref().map_or(Ok(()), |ink| ink.look_back(course, inspector))
    }
}
