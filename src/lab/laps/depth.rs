//! Laps by io_uring: the batch queue at several depths, and the reader that predicts.

use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::course::{Course, Span};
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::write::Ink;
use super::{Lap, Start, Tally};
use crate::batch::{Batch, BatchError, Buffer, PredictiveReader, Setup, SetupError, SharedFile};
use crate::limits;
use crate::sys::probe::Blocked;
use crate::techniques::direct::DirectFile;

type Made = Result<Box<dyn Lap>, LapError>;

/// What a ring is set up with beside its depth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Registered buffers and a registered file.
    Fixed,
    /// The same, with a thread of the kernel that polls the queue.
    Polled,
}

/// Registered buffers are pages.
const REGISTERED_UNIT: usize = 4096;

/// How long a polling thread looks for work before it sleeps: longer than a lap has none.
const POLLED_FOR: Duration = Duration::from_millis(200);

/// Keeps as many operations in flight as the depth says. Whatever has ended is replaced, and all
/// replacements go to the kernel with one entry, which waits for the next end.
struct Queue {
    batch: Batch,
    file: SharedFile,
    free: Vec<Buffer>,
    ink: Option<Ink>,
}

fn setup_error(error: SetupError) -> LapError {
    let remedy = match locked_memory(&error) {
        true => "; raise it, or set a smaller --iodepth or --block-size",
        false => "",
    };
    LapError::new("io_uring_setup", std::io::Error::other(format!("{error}{remedy}")))
}

/// Whether the limit of locked memory is in the way.
fn locked_memory(error: &SetupError) -> bool {
    match error {
        SetupError::Blocked(Blocked::Memory) => true,
        SetupError::NotRegistered { error, .. } => {
            Errno::from_io_error(error) == Some(Errno::NOMEM)
        }
        _ => false,
    }
}

/// Sets a ring up. The kernel takes one down after its last descriptor is closed, and until then
/// its memory counts for this user: where there seems to be none left, it is asked again.
fn patiently<T>(
    mut set_up: impl FnMut() -> Result<Result<T, SetupError>, LapError>,
) -> Result<T, LapError> {
    let begun = Instant::now();
    loop {
        match set_up()? {
            Err(error) if locked_memory(&error) && begun.elapsed() < limits::LAB_RING_PATIENCE => {
                thread::sleep(limits::LAB_RING_PAUSE);
            }
            answer => return answer.map_err(setup_error),
        }
    }
}

fn batch_error(error: BatchError) -> LapError {
    LapError::new("io_uring_enter", std::io::Error::other(error.to_string()))
}

fn lap(start: &Start<'_>, kind: Kind, direct: bool, ink: Option<Ink>) -> Made {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    let file = match &ink {
        None => start.track.open_source(direct),
        Some(_) => start.track.open_written(flags),
    };
    let file = SharedFile::new(file.map_err(|error| LapError::new("open", error))?);
    let mut setup = Setup::new(start.depth);
    if kind != Kind::Plain {
        setup.files.push(file.clone());
        let bytes = start.track.block.next_multiple_of(REGISTERED_UNIT);
        setup.buffers = Some((bytes, start.depth as usize));
    }
    if kind == Kind::Polled {
        setup.polled = Some(POLLED_FOR);
    }
    let batch = patiently(|| Ok(Batch::with(&setup)))?;
    let free = (0..start.depth).map(|_| match kind {
        Kind::Plain => start.track.buffer().into(),
        _ => batch.lease().expect("as many were registered"),
    });
    let free = free.collect();
    Ok(Box::new(Queue { batch, file, free, ink }))
}

pub(super) fn plain(start: &Start<'_>) -> Made {
    lap(start, Kind::Plain, start.direct, None)
}

pub(super) fn fixed(start: &Start<'_>) -> Made {
    lap(start, Kind::Fixed, start.direct, None)
}

pub(super) fn polled(start: &Start<'_>) -> Made {
    lap(start, Kind::Polled, start.direct, None)
}

pub(super) fn direct(start: &Start<'_>) -> Made {
    lap(start, Kind::Fixed, true, None)
}

pub(super) fn write(start: &Start<'_>) -> Made {
    lap(start, Kind::Plain, start.direct, Some(Ink::new(start)?))
}

impl Lap for Queue {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, before) = (Tally::default(), self.batch.counts());
        let block = course.block() as u64;
        loop {
            while let Some(mut buffer) = self.free.pop() {
                let Some(span) = course.next() else {
                    self.free.push(buffer);
                    break;
                };
                let queued = match &self.ink {
                    None => {
                        let part = 0..course.block();
                        self.batch.read_part(&self.file, buffer, part, span.offset)
                    }
                    Some(ink) => {
                        ink.fill(&mut buffer, span.index);
                        self.batch.write(&self.file, buffer, span.offset)
                    }
                };
                queued.map_err(|not| batch_error(not.error))?;
            }
            let counts = self.batch.counts();
            if counts.queued + counts.in_flight == 0 {
                tally.calls = counts.entries - before.entries;
                tally.entries = counts.submitted - before.submitted;
                return Ok(tally);
            }
            self.batch.submit_and_wait(1).map_err(batch_error)?;
            while let Some(done) = self.batch.take().map_err(batch_error)? {
                let moved = done.result.map_err(LapError::plain("io_uring"))?;
                if moved < course.block() {
                    return Err(LapError::ended("io_uring"));
                }
                tally.operation(course.block());
                if self.ink.is_none() {
                    inspector.block(done.offset / block, &done.buffer[..course.block()]);
                }
                self.free.push(done.buffer);
            }
        }
    }

    fn look_back(&mut self, course: &Course, inspector: &mut Inspector) -> Result<(), LapError> {
        self.ink.as_ref().map_or(Ok(()), |ink| ink.look_back(course, inspector))
    }
}

/// Reads ahead what the pattern of its reads foretells.
struct Predicted {
    reader: PredictiveReader,
}

/// The order of its reads is the row's.
pub(super) fn predicted(start: &Start<'_>) -> Made {
    let count = u32::try_from(start.track.block).expect("a block has a bound");
    let reader = patiently(|| {
        let file = start.track.open_source(start.direct);
        let file = file.map_err(|error| LapError::new("open", error))?;
        if !start.direct {
            return Ok(PredictiveReader::new(file, count));
        }
        let file = DirectFile::from_fd(file).map_err(|error| LapError::direct("open", error))?;
        Ok(PredictiveReader::direct(file, count))
    })?;
    Ok(Box::new(Predicted { reader }))
}

impl Lap for Predicted {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let (mut tally, before) = (Tally::default(), self.reader.counts());
        while let Some(Span { index, offset }) = course.next() {
            let bytes = self.reader.read(offset).map_err(|error| {
                LapError::new("predictive read", std::io::Error::other(error.to_string()))
            })?;
            if bytes.len() < course.block() {
                return Err(LapError::ended("predictive read"));
            }
            tally.operation(bytes.len());
            inspector.block(index, bytes);
        }
        let after = self.reader.counts();
        tally.calls = after.entries - before.entries;
        tally.entries = after.submitted - before.submitted;
        Ok(tally)
    }
}
