//! An operation before it is started.

use std::borrow::Cow;

use super::control::{Control, Kind};
use super::{AioError, AioFile, Memory, NotStarted, Notice, Operation};
use crate::techniques::synchronous::Durability;

/// An operation that is described, but not started.
#[derive(Debug)]
pub struct Request<M> {
    pub(super) kind: Kind,
    pub(super) file: AioFile,
    pub(super) memory: M,
    pub(super) offset: u64,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) notice: Option<Notice>,
}

impl<M: Memory> Request<M> {
    /// Reads at `offset` into all of `memory` (aio_read).
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let mut read = Request::read(&file, vec![0; 9], 0).named("head").start()?;
    /// read.wait(None)?;
    /// assert_eq!(read.result()?, 9);
    /// let bytes = read.finish().map_err(|_| "is done")?.memory;
    /// assert_eq!(bytes, std::fs::read("Cargo.toml")?[..9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(file: &AioFile, memory: M, offset: u64) -> Request<M> {
        Request::new(Kind::Read, file, memory, offset)
    }

    /// Writes all of `memory` at `offset` (aio_write); at the end if the file was opened with
    /// O_APPEND.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Request};
    /// use pitcrew::techniques::synchronous::Durability;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = AioFile::new(tempfile::tempfile()?)?;
    /// let mut write = Request::write(&file, b"record".to_vec(), 0).start()?;
    /// write.wait(None)?;
    /// assert_eq!(write.result()?, 6);
    /// let sync = Request::sync(&file, Durability::Data).start()?;
    /// sync.wait(None)?; // the record is on the device
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(file: &AioFile, memory: M, offset: u64) -> Request<M> {
        Request::new(Kind::Write, file, memory, offset)
    }

    fn new(kind: Kind, file: &AioFile, memory: M, offset: u64) -> Request<M> {
        Request { kind, file: file.clone(), memory, offset, name: None, notice: None }
    }

    /// Gives the operation a name for debugging; it shows in `Debug` and [`Operation::name`].
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Request<M> {
        self.name = Some(name.into());
        self
    }

    /// Has a signal sent when the operation is done or cancelled.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, CompletionSignals, Request};
    /// use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let signals = CompletionSignals::new(4)?; // SIGRTMIN+4
    /// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let read = Request::read(&file, vec![0; 16], 0).notify(signals.notice(5)).start()?;
    /// if let Ok(cookie) = signals.wait(Duration::from_millis(100)) {
    ///     assert_eq!(cookie, 5);
    /// }
    /// read.wait(None)?; // whoever received the notice
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn notify(mut self, notice: Notice) -> Request<M> {
        self.notice = Some(notice);
        self
    }

    /// Hands the operation to the C library.
    ///
    /// # Errors
    ///
    /// [`AioError::EmptyBuffer`], [`AioError::OffsetTooLarge`], or [`AioError::NotQueued`] when
    /// the library has no memory or no thread for it; the request comes back with the error. A
    /// descriptor that is not open for the direction is reported by the operation's result.
    pub fn start(self) -> Result<Operation<M>, NotStarted<M>> {
        if let Err(error) = self.check() {
            return Err(NotStarted { error, request: self });
        }
        let Request { kind, file, memory, offset, name, notice } = self;
        let mut control = Control::new(kind, file.queue.clone(), memory, offset, notice);
        match control.start() {
            Ok(()) => Ok(Operation { control, name }),
            Err(errno) => {
                let error = AioError::from(errno);
                let memory = control.into_memory_unstarted();
                let request = Request { kind, file, memory, offset, name, notice };
                Err(NotStarted { error, request })
            }
        }
    }

    /// The memory, if the operation is not to be started after all.
    #[must_use]
    pub fn into_memory(self) -> M {
        self.memory
    }

    pub(super) fn check(&self) -> Result<(), AioError> {
        if i64::try_from(self.offset).is_err() {
            return Err(AioError::OffsetTooLarge { offset: self.offset });
        }
        if matches!(self.kind, Kind::Read | Kind::Write) && self.memory.bytes().is_empty() {
            return Err(AioError::EmptyBuffer);
        }
        Ok(())
    }
}

impl Request<()> {
    /// Makes durable what was written by operations that were started before this one
    /// (aio_fsync), as fdatasync(2) or fsync(2) would.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Request};
    /// use pitcrew::techniques::synchronous::Durability;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = AioFile::new(tempfile::tempfile()?)?;
    /// let write = Request::write(&file, b"record".to_vec(), 0).start()?;
    /// let mut sync = Request::sync(&file, Durability::DataAndMetadata).start()?;
    /// sync.wait(None)?; // the write was started before, so it is done, too
    /// assert!(write.is_done());
    /// assert_eq!(sync.result()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sync(file: &AioFile, durability: Durability) -> Request<()> {
        let kind = match durability {
            Durability::Data => Kind::SyncData,
            Durability::DataAndMetadata => Kind::Sync,
        };
        Request::new(kind, file, (), 0)
    }
}
