//! The batch queue.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::error::{BatchError, NotQueued, SetupError};
use super::{Buffer, Setup, SharedFile};
use crate::base::Key;
use crate::limits;
use crate::ring::{Direction, Transfer, TransferDone, TransferQueue};
use crate::techniques;

/// A queue of reads and writes on an io_uring of its own.
///
/// ```
/// use pitcrew::batch::{Batch, SharedFile};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = SharedFile::new(std::fs::File::open("Cargo.toml")?);
/// let mut batch = Batch::new(8)?;
/// for part in 0..4 {
///     batch.read(&file, vec![0; 16], part * 16)?; // asks nothing of the kernel
/// }
/// assert_eq!(batch.submit()?, 4); // one system call
/// batch.wait(4, None)?;
/// let expected = std::fs::read("Cargo.toml")?;
/// while let Some(done) = batch.take()? {
///     let start = done.offset as usize;
///     assert_eq!(done.result?, 16);
///     assert_eq!(done.buffer[..], expected[start..start + 16]);
/// }
/// assert_eq!((batch.counts().submitted, batch.counts().completed), (4, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch {
    queue: TransferQueue,
    done: VecDeque<Completion>,
    submitted: u64,
    completed: u64,
}

/// What a transfer of a queue is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(Key);

/// A transfer that has ended, with its memory.
#[derive(Debug)]
pub struct Completion {
    /// What it is known by.
    pub id: Id,
    /// Bytes read or written, 0 for a read at the end of the file, or why not: ECANCELED after
    /// [`Batch::cancel`], otherwise what pread(2) and pwrite(2) list.
    pub result: Result<usize, techniques::Error>,
    /// The memory. After a read, the part that was asked for holds the file's bytes, as many as
    /// the result.
    pub buffer: Buffer,
    /// Where in the file, in bytes.
    pub offset: u64,
}

/// What a queue has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transfers that wait to be submitted.
    pub queued: usize,
    /// Transfers that the kernel has.
    pub in_flight: usize,
    /// Transfers that were submitted in all.
    pub submitted: u64,
    /// Transfers that have ended in all, in whatever way.
    pub completed: u64,
    /// System calls in all.
    pub entries: u64,
}

impl Batch {
    /// Sets up a queue of this depth for the calling thread, with nothing registered.
    ///
    /// # Errors
    ///
    /// A [`SetupError`], which says what is in the way and what to do.
    ///
    /// ```
    /// use pitcrew::batch::{Batch, SetupError};
    /// assert!(matches!(Batch::new(0), Err(SetupError::Depth { depth: 0 })));
    /// ```
    pub fn new(depth: u32) -> Result<Self, SetupError> {
        Self::with(&Setup::new(depth))
    }

    /// Sets up a queue as described.
    ///
    /// # Errors
    ///
    /// A [`SetupError`]. Nothing that was made before is left.
    ///
    /// ```
    /// use pitcrew::batch::{Batch, Setup, SharedFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = SharedFile::new(std::fs::File::open("Cargo.toml")?);
    /// let mut setup = Setup::new(4);
    /// setup.files.push(file.clone());
    /// setup.buffers = Some((4096, 2));
    /// let mut batch = Batch::with(&setup)?;
    /// let buffer = batch.lease().ok_or("both are in use")?;
    /// batch.read_part(&file, buffer, 0..16, 0)?; // by the registered file and buffer
    /// batch.submit_and_wait(1)?;
    /// let done = batch.take()?.ok_or("it was waited for")?;
    /// assert_eq!(done.buffer[..done.result?], std::fs::read("Cargo.toml")?[..16]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with(setup: &Setup) -> Result<Self, SetupError> {
        check(setup)?;
        let queue = TransferQueue::new(setup)?;
        Ok(Self { queue, done: VecDeque::new(), submitted: 0, completed: 0 })
    }

    /// A registered buffer, if the queue has them and one is free. It goes back when it is
    /// dropped.
    #[must_use]
    pub fn lease(&self) -> Option<Buffer> {
        self.queue.lease().map(Buffer::from)
    }

    /// Queues a read at `offset` into all of the memory. No system call.
    ///
    /// A file that was registered, and memory from [`Batch::lease`], go by their registration.
    ///
    /// # Errors
    ///
    /// [`BatchError::QueueFull`], [`BatchError::EmptyBuffer`], [`BatchError::NoSuchPart`] (beyond
    /// 4 GiB), [`BatchError::OffsetTooLarge`], with the memory. A descriptor that is not open for
    /// reading, or memory that is not aligned for O_DIRECT, is reported by the completion.
    pub fn read(
        &mut self,
        file: &SharedFile,
        buffer: impl Into<Buffer>,
        offset: u64,
    ) -> Result<Id, NotQueued> {
        let buffer = buffer.into();
        let part = 0..buffer.len();
        self.push(Direction::Read, file, buffer, part, offset)
    }

    /// Queues a read into a part of the memory.
    ///
    /// # Errors
    ///
    /// As for [`Batch::read`]; [`BatchError::NoSuchPart`] for a part beyond the memory.
    pub fn read_part(
        &mut self,
        file: &SharedFile,
        buffer: impl Into<Buffer>,
        part: Range<usize>,
        offset: u64,
    ) -> Result<Id, NotQueued> {
        self.push(Direction::Read, file, buffer.into(), part, offset)
    }

    /// Queues a write of all of the memory at `offset`. No system call.
    ///
    /// # Errors
    ///
    /// As for [`Batch::read`].
    ///
    /// ```
    /// use pitcrew::batch::{Batch, SharedFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = SharedFile::new(tempfile::tempfile()?);
    /// let mut batch = Batch::new(4)?;
    /// batch.write(&file, b"two".to_vec(), 3)?;
    /// batch.write(&file, b"one".to_vec(), 0)?;
    /// batch.submit_and_wait(2)?;
    /// let mut bytes = [0; 6];
    /// pitcrew::techniques::positional::pread(&file, &mut bytes, 0)?;
    /// assert_eq!(&bytes, b"onetwo");
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(
        &mut self,
        file: &SharedFile,
        buffer: impl Into<Buffer>,
        offset: u64,
    ) -> Result<Id, NotQueued> {
        let buffer = buffer.into();
        let part = 0..buffer.len();
        self.push(Direction::Write, file, buffer, part, offset)
    }

    fn push(
        &mut self,
        direction: Direction,
        file: &SharedFile,
        buffer: Buffer,
        range: Range<usize>,
        offset: u64,
    ) -> Result<Id, NotQueued> {
        let error = if range.is_empty() {
            Some(BatchError::EmptyBuffer)
        } else if range.end > buffer.len() || u32::try_from(range.len()).is_err() {
            Some(BatchError::NoSuchPart)
        } else if i64::try_from(offset).is_err() {
            Some(BatchError::OffsetTooLarge { offset })
        } else {
            None
        };
        if let Some(error) = error {
            return Err(NotQueued { error, buffer });
        }
        let transfer = Transfer { direction, file: file.clone(), offset, buffer, range };
        let refused =
            |back: Transfer| NotQueued { error: BatchError::QueueFull, buffer: back.buffer };
        self.queue.push(transfer).map(Id).map_err(refused)
    }

    /// Submits all that is queued with one system call, or with none if the queue is polled. The
    /// answer is the number of transfers that the kernel has taken.
    ///
    /// # Errors
    ///
    /// [`BatchError::Overflow`], [`BatchError::CompletionsLost`]; [`BatchError::Kernel`] with the
    /// errors of io_uring_enter(2), EAGAIN for want of memory. What was not taken stays queued.
    pub fn submit(&mut self) -> Result<usize, BatchError> {
        self.submit_waiting(0)
    }

    /// Submits and waits until `count` completions can be taken, with one system call.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::submit`] and [`Batch::wait`].
    pub fn submit_and_wait(&mut self, count: usize) -> Result<usize, BatchError> {
        self.check_count(count, self.queue.queued())?;
        let there = self.done.len();
        let taken = self.submit_waiting(count.saturating_sub(there))?;
        self.wait(count, None)?;
        Ok(taken)
    }

    fn submit_waiting(&mut self, count: usize) -> Result<usize, BatchError> {
        if self.queue.overflowed() {
            return Err(BatchError::Overflow);
        }
        let before = self.queue.queued();
        let result = self.queue.submit(count);
        let taken = before - self.queue.queued();
        self.submitted += taken as u64;
        self.check_lost()?;
        result.map_err(BatchError::Kernel)
    }

    /// Waits until `count` completions can be taken, or until the time is over. Submits nothing.
    ///
    /// # Errors
    ///
    /// [`BatchError::TooFew`] at once, if so many can never come; [`BatchError::TimedOut`];
    /// [`BatchError::CompletionsLost`]; [`BatchError::Kernel`].
    ///
    /// ```
    /// use pitcrew::batch::{Batch, BatchError};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let refused = Batch::new(4)?.wait(1, None).unwrap_err();
    /// assert_eq!(refused, BatchError::TooFew { asked: 1, there: 0 });
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&mut self, count: usize, timeout: Option<Duration>) -> Result<(), BatchError> {
        self.check_count(count, 0)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.reap();
            if self.done.len() >= count {
                return Ok(());
            }
            self.check_lost()?;
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            match self.queue.wait(count - self.done.len(), left) {
                Ok(()) => {}
                Err(Errno::TIME) => {
                    self.reap();
                    let enough = self.done.len() >= count;
                    return if enough { Ok(()) } else { Err(BatchError::TimedOut) };
                }
                Err(errno) => return Err(BatchError::Kernel(errno)),
            }
        }
    }

    /// The next transfer that has ended, if there is one; never waits.
    ///
    /// # Errors
    ///
    /// [`BatchError::CompletionsLost`]; [`BatchError::Kernel`].
    ///
    /// ```
    /// use pitcrew::batch::{Batch, SharedFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = SharedFile::new(std::fs::File::open("Cargo.toml")?);
    /// let mut batch = Batch::new(2)?;
    /// assert!(batch.take()?.is_none());
    /// batch.read(&file, vec![0; 16], 0)?;
    /// batch.submit_and_wait(1)?;
    /// let done = batch.take()?.ok_or("it was waited for")?;
    /// assert_eq!((done.offset, done.result?), (0, 16));
    /// # Ok(())
    /// # }
    /// ```
    pub fn take(&mut self) -> Result<Option<Completion>, BatchError> {
        if self.done.is_empty() {
            self.look()?;
        }
        Ok(self.done.pop_front())
    }

    /// One transfer, if it has ended; never waits.
    ///
    /// # Errors
    ///
    /// [`BatchError::InProgress`]; [`BatchError::Unknown`]; those of [`Batch::take`].
    ///
    /// ```
    /// use pitcrew::batch::{Batch, BatchError, SharedFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = SharedFile::new(std::fs::File::open("Cargo.toml")?);
    /// let mut batch = Batch::new(4)?;
    /// let id = batch.read(&file, vec![0; 16], 0)?;
    /// assert_eq!(batch.finish(id).unwrap_err(), BatchError::InProgress);
    /// batch.submit_and_wait(1)?;
    /// assert_eq!(batch.finish(id)?.result, Ok(16));
    /// assert_eq!(batch.finish(id).unwrap_err(), BatchError::Unknown);
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish(&mut self, id: Id) -> Result<Completion, BatchError> {
        self.look()?;
        match self.done.iter().position(|done| done.id == id) {
            Some(at) => self.done.remove(at).ok_or(BatchError::Unknown),
            None if self.queue.has(id.0) => Err(BatchError::InProgress),
            None => Err(BatchError::Unknown),
        }
    }

    /// Asks for the end of a transfer. It still completes exactly once, with ECANCELED or with
    /// its own result; the request goes with the next submission. One that was not submitted is
    /// done at once.
    ///
    /// ```
    /// use pitcrew::batch::{Batch, SharedFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (nobody_writes, _writer) = std::io::pipe()?;
    /// let pipe = SharedFile::new(nobody_writes);
    /// let mut batch = Batch::new(4)?;
    /// let id = batch.read(&pipe, vec![0; 16], 0)?;
    /// batch.submit()?;
    /// batch.cancel(id);
    /// batch.submit_and_wait(1)?;
    /// let stopped = batch.finish(id)?.result.unwrap_err();
    /// assert_eq!(stopped.errno(), rustix::io::Errno::CANCELED);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&mut self, id: Id) {
        if let Some(transfer) = self.queue.cancel(id.0) {
            self.done.push_back(completion(TransferDone {
                key: id.0,
                transfer,
                result: Err(Errno::CANCELED),
            }));
            self.completed += 1;
        }
    }

    /// What the queue has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            queued: self.queue.queued(),
            in_flight: self.queue.in_flight(),
            submitted: self.submitted,
            completed: self.completed,
            entries: self.queue.entries(),
        }
    }

    fn look(&mut self) -> Result<(), BatchError> {
        self.reap();
        if self.done.is_empty() && self.queue.in_flight() > 0 {
            self.queue.poll().map_err(BatchError::Kernel)?;
            self.reap();
            self.check_lost()?;
        }
        Ok(())
    }

    fn reap(&mut self) {
        while let Some(done) = self.queue.take() {
            self.done.push_back(completion(done));
            self.completed += 1;
        }
    }

    fn check_count(&self, asked: usize, queued: usize) -> Result<(), BatchError> {
        let there = self.done.len() + self.queue.in_flight() + queued;
        if asked > there { Err(BatchError::TooFew { asked, there }) } else { Ok(()) }
    }

    fn check_lost(&mut self) -> Result<(), BatchError> {
        match self.queue.lost() {
            0 => Ok(()),
            count => Err(BatchError::CompletionsLost { count }),
        }
    }
}

fn completion(done: TransferDone) -> Completion {
    let TransferDone { key, transfer: Transfer { offset, buffer, .. }, result } = done;
    let result = result.map(|bytes| bytes as usize).map_err(techniques::Error::from);
    Completion { id: Id(key), result, buffer, offset }
}

fn check(setup: &Setup) -> Result<(), SetupError> {
    let Setup { depth, in_flight_max, completions, buffers, .. } = *setup;
    if !(1..=limits::BATCH_DEPTH_MAX).contains(&depth) {
        return Err(SetupError::Depth { depth });
    }
    let enough = depth..=limits::BATCH_IN_FLIGHT_MAX;
    if !enough.contains(&in_flight_max) {
        return Err(SetupError::InFlight { in_flight_max });
    }
    if let Some(completions) = completions.filter(|completions| !enough.contains(completions)) {
        return Err(SetupError::Completions { completions });
    }
    if let Some((bytes, count)) = buffers {
        let total = bytes.checked_mul(count).is_some_and(|total| total > 0);
        if !total || !bytes.is_multiple_of(4096) || u32::try_from(count + 1).is_err() {
            return Err(SetupError::Buffers { bytes, count });
        }
    }
    let count = setup.files.len();
    if count > limits::BATCH_FILES_MAX { Err(SetupError::Files { count }) } else { Ok(()) }
}
