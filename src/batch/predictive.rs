//! Reading ahead what the pattern of the reads foretells.

use std::fmt;
use std::os::fd::OwnedFd;

use super::error::{BatchError, SetupError};
use super::queue::{Batch, Completion, Counts, Id};
use super::{Buffer, Setup, SharedFile};
use crate::limits;
use crate::predict::{Pattern, Predictor, Tally};
use crate::techniques::Error;
use crate::techniques::direct::{Alignment, DirectError, DirectFile};

/// Reads of one size from one file, which are read ahead as far as their pattern goes.
///
/// Sequential, strided and repeated reads are served from what is there already; reads at random
/// cost less than two in a hundred more. What was read ahead is as old as its reading:
/// [`forget`](Self::forget) it when somebody writes to the file.
///
/// Rests on a [`Batch`] (io_uring(7)) and on a [`Predictor`].
///
/// ```
/// use pitcrew::batch::PredictiveReader;
/// use pitcrew::predict::Pattern;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut file = tempfile::tempfile()?;
/// # std::io::Write::write_all(&mut file, &vec![7; 100_000])?;
/// let mut reader = PredictiveReader::new(file, 1000)?;
/// for part in 0..100 {
///     let bytes = reader.read(part * 1000)?;
///     assert_eq!(bytes.len(), 1000);
/// }
/// assert_eq!(reader.pattern(), Pattern::Sequential);
/// assert_eq!(reader.hit_rate(), 0.97); // after the third read the pattern is known
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PredictiveReader {
    batch: Batch,
    file: SharedFile,
    count: usize,
    alignment: Option<Alignment>,
    /// Where the file ends, as last asked.
    end: u64,
    predictor: Predictor,
    blocks: Vec<Block>,
    /// What the last read was answered with.
    current: Option<Buffer>,
    spare: Vec<Buffer>,
}

#[derive(Debug)]
struct Block {
    offset: u64,
    id: Id,
    /// None while it is read.
    done: Option<Completion>,
    /// Nobody wants it any more.
    given_up: bool,
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The kernel refused the read; what it says.
    Io(Error),
    /// The file is open with O_DIRECT, and an operand is not aligned, or the memory is not there.
    Direct(DirectError),
    /// The queue failed.
    Queue(BatchError),
}

impl PredictiveReader {
    /// Reads of `count` bytes through the page cache.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] when there is no queue.
    pub fn new(file: impl Into<OwnedFd>, count: u32) -> Result<Self, SetupError> {
        Self::with(SharedFile::new(file), count, None)
    }

    /// Reads of `count` bytes past the page cache; offsets and the count are multiples of the
    /// file's alignment.
    ///
    /// # Errors
    ///
    /// A [`SetupError`] when there is no queue.
    ///
    /// ```
    /// use pitcrew::batch::PredictiveReader;
    /// use pitcrew::techniques::direct::{DirectError, DirectFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Where a file system has no O_DIRECT, the error says so.
    /// let file = match DirectFile::open("Cargo.toml") {
    ///     Err(DirectError::NotSupported) => return Ok(()),
    ///     opened => opened?,
    /// };
    /// let mut reader = PredictiveReader::direct(file, 4096)?;
    /// let expected = std::fs::read("Cargo.toml")?;
    /// let first = expected.len().min(4096);
    /// assert_eq!(reader.read(0)?, &expected[..first]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn direct(file: DirectFile, count: u32) -> Result<Self, SetupError> {
        let alignment = file.alignment();
        Self::with(SharedFile::new(file), count, Some(alignment))
    }

    fn with(
        file: SharedFile,
        count: u32,
        alignment: Option<Alignment>,
    ) -> Result<Self, SetupError> {
        // Reads that were given up may still be on their way when as many new ones start.
        let depth = 2 * limits::PREDICTED_MAX as u32;
        let mut setup = Setup::new(depth);
        setup.files.push(file.clone());
        Ok(Self {
            batch: Batch::with(&setup)?,
            file,
            count: count as usize,
            alignment,
            end: 0,
            predictor: Predictor::new(),
            blocks: Vec::new(),
            current: None,
            spare: Vec::new(),
        })
    }

    /// The bytes at `offset`, as many as every read has, fewer or none only where the file ends.
    ///
    /// # Errors
    ///
    /// A [`ReadError`]. A read ahead that failed is no error: it is read again when it is asked
    /// for.
    pub fn read(&mut self, offset: u64) -> Result<&[u8], ReadError> {
        self.check(offset)?;
        self.retire_current();
        self.collect()?;
        self.predictor.observe(offset, self.count as u32);
        let at = match self.find(offset) {
            Some(at) => at,
            None => self.start(offset)?,
        };
        let id = self.blocks[at].id;
        self.give_up_the_rest(id);
        self.read_ahead(offset)?;
        if self.batch.counts().queued > 0 {
            self.submit()?;
        }
        let done = self.wait_for(id)?;
        let (buffer, filled) = self.fill_up(done)?;
        Ok(&self.current.insert(buffer)[..filled])
    }

    /// The offsets that were predicted and not asked for yet, at most
    /// [`limits::PREDICTED_MAX`], the nearest in time first.
    ///
    /// ```
    /// use pitcrew::batch::PredictiveReader;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut file = tempfile::tempfile()?;
    /// # std::io::Write::write_all(&mut file, &vec![7; 100_000])?;
    /// let mut reader = PredictiveReader::new(file, 1000)?;
    /// assert!(reader.predictions().is_empty());
    /// for part in 0..5 {
    ///     reader.read(part * 1000)?;
    /// }
    /// assert_eq!(reader.predictions().first(), Some(&5000));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn predictions(&self) -> Vec<u64> {
        self.predictor.outlook()
    }

    /// How the reads follow each other.
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        self.predictor.pattern()
    }

    /// The share of the reads that had been read ahead or were on their way: 0 to 1.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        self.predictor.tally().hit_rate()
    }

    /// What was predicted, and what became of it.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.predictor.tally()
    }

    /// What its queue has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.batch.counts()
    }

    /// Throws away what was read ahead.
    ///
    /// ```
    /// use pitcrew::batch::PredictiveReader;
    /// use pitcrew::techniques::positional;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut file = tempfile::tempfile()?;
    /// # std::io::Write::write_all(&mut file, &vec![7; 100_000])?;
    /// let mut reader = PredictiveReader::new(file.try_clone()?, 1000)?;
    /// for part in 0..5 {
    ///     reader.read(part * 1000)?;
    /// }
    /// positional::pwrite(&file, b"new", 5000)?;
    /// reader.forget(); // or the old bytes may be answered with
    /// assert_eq!(reader.read(5000)?[..3], *b"new");
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(&mut self) {
        self.give_up(|_| true);
        self.predictor.leave();
    }

    fn check(&self, offset: u64) -> Result<(), ReadError> {
        let Some(alignment) = self.alignment else { return Ok(()) };
        // Memory from `Alignment::buffer` is aligned.
        let unaligned = alignment.check(0, self.count, offset);
        unaligned.map_err(|unaligned| ReadError::Direct(DirectError::Unaligned(unaligned)))
    }

    fn retire_current(&mut self) {
        if let Some(buffer) = self.current.take() {
            self.keep(buffer);
        }
    }

    fn keep(&mut self, buffer: Buffer) {
        if self.spare.len() < limits::PREDICTED_MAX {
            self.spare.push(buffer);
        }
    }

    /// Takes in what has been read by now.
    fn collect(&mut self) -> Result<(), ReadError> {
        while let Some(done) = self.batch.take()? {
            let Some(at) = self.blocks.iter().position(|block| block.id == done.id) else {
                continue;
            };
            if self.blocks[at].given_up {
                self.blocks.swap_remove(at);
                self.keep(done.buffer);
            } else {
                self.blocks[at].done = Some(done);
            }
        }
        Ok(())
    }

    /// The block that was read ahead, if there is one; it is counted here.
    fn find(&mut self, offset: u64) -> Option<usize> {
        let wanted = |block: &Block| block.offset == offset && !block.given_up;
        let at = self.blocks.iter().position(wanted)?;
        match &self.blocks[at].done {
            None => self.predictor.note_late(1),
            Some(Completion { result: Ok(_), .. }) => self.predictor.note_used(1),
            Some(_) => {
                self.predictor.note_wasted(1);
                self.blocks.swap_remove(at);
                return None;
            }
        }
        Some(at)
    }

    /// Queues the read of a block.
    fn start(&mut self, offset: u64) -> Result<usize, ReadError> {
        let buffer = match (self.spare.pop(), self.alignment) {
            (Some(buffer), _) => buffer,
            (None, None) => vec![0; self.count].into(),
            (None, Some(alignment)) => {
                let buffer = alignment.buffer(self.count);
                buffer.map_err(|error| ReadError::Direct(DirectError::Buffer(error)))?.into()
            }
        };
        let queued = self.batch.read_part(&self.file, buffer, 0..self.count, offset);
        let id = queued.map_err(|refused| ReadError::Queue(refused.error))?;
        self.blocks.push(Block { offset, id, done: None, given_up: false });
        Ok(self.blocks.len() - 1)
    }

    fn give_up_the_rest(&mut self, wanted: Id) {
        let outlook = self.predictor.outlook();
        self.give_up(|block| block.id != wanted && !outlook.contains(&block.offset));
    }

    fn give_up(&mut self, which: impl Fn(&Block) -> bool) {
        let mut at = 0;
        while at < self.blocks.len() {
            let block = &mut self.blocks[at];
            if block.given_up || !which(block) {
                at += 1;
                continue;
            }
            self.predictor.note_wasted(1);
            block.given_up = true;
            if block.done.is_none() {
                self.batch.cancel(block.id);
                at += 1;
            } else if let Some(done) = self.blocks.swap_remove(at).done {
                self.keep(done.buffer);
            }
        }
    }

    fn read_ahead(&mut self, offset: u64) -> Result<(), ReadError> {
        if offset.saturating_add(2 * self.count as u64) > self.end {
            self.end = self.file.end().map_err(|errno| ReadError::Io(errno.into()))?;
        }
        let free = (2 * limits::PREDICTED_MAX).saturating_sub(self.blocks.len() + 1);
        for ahead in self.predictor.predict(free, self.end) {
            // Only what a direct read can do; a stride need not be aligned.
            match self.check(ahead) {
                Ok(()) => drop(self.start(ahead)?),
                Err(_) => self.predictor.note_wasted(1),
            }
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), ReadError> {
        loop {
            match self.batch.submit() {
                Ok(_) => return Ok(()),
                Err(BatchError::Overflow) => self.collect()?,
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn wait_for(&mut self, id: Id) -> Result<Completion, ReadError> {
        loop {
            let at = self.blocks.iter().position(|block| block.id == id);
            let at = at.ok_or(ReadError::Queue(BatchError::Unknown))?;
            if self.blocks[at].done.is_some() {
                let done = self.blocks.swap_remove(at).done;
                return done.ok_or(ReadError::Queue(BatchError::Unknown));
            }
            self.batch.wait(1, None)?;
            self.collect()?;
        }
    }

    /// Goes on after a short read, until the block is full or the file ends.
    fn fill_up(&mut self, done: Completion) -> Result<(Buffer, usize), ReadError> {
        let Completion { result, mut buffer, offset, .. } = done;
        let mut filled = result.map_err(|error| self.explain(error, &buffer, offset))?;
        while (1..self.count).contains(&filled) {
            let next = offset + filled as u64;
            let cut = self
                .alignment
                .is_some_and(|alignment| !filled.is_multiple_of(alignment.offset_bytes));
            if cut || self.file.end().is_ok_and(|end| next >= end) {
                break;
            }
            let part = filled..self.count;
            let queued = self.batch.read_part(&self.file, buffer, part, next);
            let id = queued.map_err(|refused| ReadError::Queue(refused.error))?;
            self.blocks.push(Block { offset: next, id, done: None, given_up: false });
            self.submit()?;
            let more = self.wait_for(id)?;
            buffer = more.buffer;
            match more.result {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(self.explain(error, &buffer, next)),
            }
        }
        Ok((buffer, filled))
    }

    fn explain(&self, error: Error, buffer: &Buffer, offset: u64) -> ReadError {
        match self.alignment {
            None => ReadError::Io(error),
            Some(alignment) => {
                let address = buffer.as_ptr() as usize;
                ReadError::Direct(alignment.explain(error, address, self.count, offset))
            }
        }
    }
}

impl From<BatchError> for ReadError {
    fn from(error: BatchError) -> Self {
        Self::Queue(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Direct(error) => error.fmt(f),
            Self::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}
