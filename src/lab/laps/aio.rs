//! Laps by POSIX AIO: operations that threads of the C library carry out.

use rustix::fs::OFlags;

use super::super::course::{Course, Span};
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::write::Ink;
use super::{Lap, Start, Tally};
use crate::techniques::AlignedBuffer;
use crate::techniques::posix_aio::{AioFile, Operation, Pending, Request, suspend};

/// Operations in flight that are waited for at once, those of the first places. When these are the
/// youngest, all others end before the lap is woken: the C library carries out one after the other
/// for a descriptor, and waking the lap for each would cost more than it. fio does the same.
const SUSPENDED_OVER: usize = 8;

/// An operation on its way.
struct Flying {
    span: Span,
    operation: Operation<AlignedBuffer>,
}

/// Keeps as many operations in flight as the depth says, each in a place of its own. One that has
/// ended is replaced in its place; when none has, the lap sleeps until one of the first has.
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

impl Aio {
    /// Starts the operation of a block.
    fn start(&self, mut buffer: AlignedBuffer, span: Span) -> Result<Flying, LapError> {
        let request = match &self.ink {
            None => Request::read(&self.file, buffer, span.offset),
            Some(ink) => {
                ink.fill(&mut buffer, span.index);
                Request::write(&self.file, buffer, span.offset)
            }
        };
        let operation = request.start().map_err(|not| LapError::aio("aio", not.error))?;
        Ok(Flying { span, operation })
    }
}

impl Lap for Aio {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let mut tally = Tally::default();
        let mut places: Vec<Option<Flying>> = Vec::new();
        while let Some(buffer) = self.buffers.pop() {
            let Some(span) = course.next() else { break };
            tally.calls += 1;
            places.push(Some(self.start(buffer, span)?));
        }
        loop {
            let done = places
                .iter()
                .position(|place| place.as_ref().is_some_and(|flying| flying.operation.is_done()));
            let Some(at) = done else {
                let pending: Vec<&dyn Pending> = places
                    .iter()
                    .flatten()
                    .take(SUSPENDED_OVER)
                    .map(|flying| &flying.operation as &dyn Pending)
                    .collect();
                if pending.is_empty() {
                    return Ok(tally);
                }
                tally.calls += 1;
                suspend(&pending, None).map_err(|error| LapError::aio("aio_suspend", error))?;
                continue;
            };
            let Flying { span, operation } = places[at].take().expect("it was found done");
            let done = operation.finish().expect("it was found done");
            let moved = done.result.map_err(|error| LapError::aio("aio", error))?;
            if moved < course.block() {
                return Err(LapError::ended("aio"));
            }
            tally.operation(course.block());
            if self.ink.is_none() {
                inspector.block(span.index, &done.memory[..course.block()]);
            }
            if let Some(span) = course.next() {
                tally.calls += 1;
                places[at] = Some(self.start(done.memory, span)?);
            }
        }
    }

    fn look_back(&mut self, course: &Course, inspector: &mut Inspector) -> Result<(), LapError> {
        self.ink.as_ref().map_or(Ok(()), |ink| ink.look_back(course, inspector))
    }
}
