//! POSIX AIO: reads, writes and syncs that the C library carries out behind the program's back.
//!
//! glibc serves them with a few threads of its own that call pread and pwrite, one thread for
//! each descriptor, so that operations on one file run one after the other: the lab shows what
//! that costs against io_uring. Rests on aio(7), aio_read(3), aio_write(3), aio_fsync(3),
//! aio_error(3), aio_return(3), aio_suspend(3), aio_cancel(3), lio_listio(3), sigtimedwait(2).
//!
//! # Ownership
//!
//! An [`Operation`] owns its memory, its control block and a share of its descriptor until it is
//! done: nobody can touch the bytes, nor close the file under it. Dropping a pending operation
//! cancels it (see [`Operation::cancel`]) and waits until the library has let go of the memory;
//! leaking one leaks all three.
//! Only regular files and block devices are accepted, so that such a wait ends: a read from an
//! empty pipe might never.
//!
//! # Waiting
//!
//! Poll with [`Operation::is_done`], sleep in [`Operation::wait`] or [`suspend`], or have a
//! real-time signal sent and receive it with [`CompletionSignals`].

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, fstat};

use super::Memory;
use control::{Block, Control, Kind, Queue, Woken};

mod control;
mod error;
mod request;
mod signal;

pub use control::Cancellation;
pub use error::{AioError, NotListed, NotStarted};
pub use request::Request;
pub use signal::{CompletionSignals, Notice};

/// The largest number of operations in one [`start_list`] or [`suspend`]: glibc keeps an array of
/// this length on the caller's stack.
pub const LIST_MAX: usize = 1024;

/// A descriptor that operations can share.
///
/// ```
/// use pitcrew::techniques::posix_aio::{AioError, AioFile};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
/// let same = file.clone(); // the descriptor is closed with the last of them
/// # drop(same);
/// let (reader, _writer) = std::io::pipe()?;
/// assert_eq!(AioFile::new(reader).unwrap_err(), AioError::NotAFile);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AioFile {
    queue: Arc<Queue>,
}

impl AioFile {
    /// Takes over an open regular file or block device.
    ///
    /// # Errors
    ///
    /// [`AioError::NotAFile`] for pipes, sockets, terminals and directories.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioError, AioFile};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let directory = std::fs::File::open("src")?;
    /// assert_eq!(AioFile::new(directory).err(), Some(AioError::NotAFile));
    /// # drop(file);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(fd: impl Into<OwnedFd>) -> Result<AioFile, AioError> {
        let fd = fd.into();
        match FileType::from_raw_mode(fstat(&fd).map_err(AioError::from)?.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => {
                Ok(AioFile { queue: Arc::new(Queue::new(fd)) })
            }
            _ => Err(AioError::NotAFile),
        }
    }

    /// Cancels all operations on this descriptor that do not run yet (aio_cancel without an
    /// operation). Each of them still ends exactly once, with [`AioError::Cancelled`].
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Cancellation};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// assert_eq!(file.cancel_all(), Cancellation::AlreadyDone);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_all(&self) -> Cancellation {
        self.queue.cancel_all()
    }
}

impl AsFd for AioFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.fd.as_fd()
    }
}

/// Starts many reads and writes with one call (lio_listio with LIO_NOWAIT).
///
/// `notice` is sent once, when all of them are done. The operations come back in the order of the
/// requests. One that the library could not take is done at once with [`AioError::NotQueued`]; the
/// others run.
///
/// # Errors
///
/// Nothing is started and the requests come back with [`AioError::EmptyList`],
/// [`AioError::ListTooLong`] (more than [`LIST_MAX`]), [`AioError::SyncInList`], or those of
/// [`Request::start`] for any of them.
///
/// ```
/// use pitcrew::techniques::posix_aio::{AioFile, Request, start_list};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = AioFile::new(tempfile::tempfile()?)?;
/// let writes = (0..4).map(|at| Request::write(&file, vec![b'a' + at; 2], at as u64 * 2));
/// for mut write in start_list(writes.collect(), None)? {
///     write.wait(None)?;
///     assert_eq!(write.result()?, 2);
/// }
/// let mut bytes = [0; 8];
/// pitcrew::techniques::positional::pread(&file, &mut bytes, 0)?;
/// assert_eq!(&bytes, b"aabbccdd");
/// # Ok(())
/// # }
/// ```
pub fn start_list<M: Memory>(
    requests: Vec<Request<M>>,
    notice: Option<Notice>,
) -> Result<Vec<Operation<M>>, NotListed<M>> {
    if let Err(error) = check_list(&requests) {
        return Err(NotListed { error, requests });
    }
    let (mut controls, names): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .map(|Request { kind, file, memory, offset, name, notice }| {
            (Control::new(kind, file.queue, memory, offset, notice), name)
        })
        .unzip();
    Control::start_list(&mut controls, notice);
    let pairs = controls.into_iter().zip(names);
    Ok(pairs.map(|(control, name)| Operation { control, name }).collect())
}

fn check_list<M: Memory>(requests: &[Request<M>]) -> Result<(), AioError> {
    check_length(requests.len())?;
    if requests.iter().any(|request| matches!(request.kind, Kind::Sync | Kind::SyncData)) {
        return Err(AioError::SyncInList);
    }
    requests.iter().try_for_each(Request::check)
}

fn check_length(count: usize) -> Result<(), AioError> {
    match count {
        0 => Err(AioError::EmptyList),
        1..=LIST_MAX => Ok(()),
        _ => Err(AioError::ListTooLong { count }),
    }
}

/// An operation that was started. It owns its memory until it is done.
///
/// Dropping one that is pending waits for it, and what has not begun yet is only cancelled if it is
/// the last one on its descriptor: glibc may lose those behind another one. A `Vec` of operations
/// drops the first one first, so all but the last are carried out to their ends. To be rid of many
/// at once, call [`AioFile::cancel_all`] before they are dropped, or drop the last one first
/// (`while operations.pop().is_some() {}`).
#[must_use = "a pending operation that is dropped is cancelled"]
pub struct Operation<M: Memory> {
    control: Control<M>,
    name: Option<Cow<'static, str>>,
}

/// What an operation leaves behind.
#[derive(Debug)]
pub struct Finished<M> {
    /// The bytes read or written (0 for a sync), or why not.
    pub result: Result<usize, AioError>,
    /// The memory. After a read, the bytes up to the result are the file's.
    pub memory: M,
}

impl<M: Memory> Operation<M> {
    /// The name that the request was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// True if the operation is done, in whatever way (aio_error). Never waits.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let read = Request::read(&file, vec![0; 16], 0).start()?;
    /// while !read.is_done() {
    ///     std::thread::yield_now(); // something else
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.control.is_done()
    }

    /// The bytes read or written; 0 is the end of the file for a read (aio_return).
    ///
    /// # Errors
    ///
    /// [`AioError::InProgress`] if the operation is not done; [`AioError::Cancelled`];
    /// [`AioError::NotQueued`]; [`AioError::BadDescriptor`]; [`AioError::Kernel`] with the errors
    /// of pread(2), pwrite(2), fsync(2).
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioError, AioFile, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let mut read = Request::read(&file, vec![0; 16], 0).start()?;
    /// let count = loop {
    ///     match read.result() {
    ///         Err(AioError::InProgress) => read.wait(None)?,
    ///         other => break other?,
    ///     }
    /// };
    /// assert_eq!(count, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn result(&mut self) -> Result<usize, AioError> {
        match self.control.result() {
            None => Err(AioError::InProgress),
            Some(result) => result.map_err(AioError::from),
        }
    }

    /// Sleeps until the operation is done or the time is over (aio_suspend). Signals do not end
    /// the wait.
    ///
    /// # Errors
    ///
    /// [`AioError::TimedOut`]; the operation goes on.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioError, AioFile, Request};
    /// use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let read = Request::read(&file, vec![0; 64], 0).start()?;
    /// while read.wait(Some(Duration::from_millis(1))) == Err(AioError::TimedOut) {
    ///     // something else
    /// }
    /// assert!(read.is_done());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), AioError> {
        suspend(&[self], timeout)
    }

    /// Asks the library to give the operation up (aio_cancel). Whatever the answer, the operation
    /// still ends exactly once, with [`AioError::Cancelled`] or with its own result.
    ///
    /// Only the last operation on a descriptor is cancelled, as glibc may lose those behind it
    /// otherwise. To be rid of many, cancel or drop the last one first, or use
    /// [`AioFile::cancel_all`].
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioError, AioFile, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let mut read = Request::read(&file, vec![0; 16], 0).start()?;
    /// read.cancel();
    /// read.wait(None)?; // it ends in any case
    /// assert!(matches!(read.result(), Ok(16) | Err(AioError::Cancelled)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&self) -> Cancellation {
        self.control.cancel()
    }

    /// The result and the memory of an operation that is done.
    ///
    /// # Errors
    ///
    /// The operation itself if it is in progress.
    ///
    /// ```
    /// use pitcrew::techniques::posix_aio::{AioFile, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
    /// let read = Request::read(&file, vec![0; 16], 0).start()?;
    /// read.wait(None)?;
    /// let done = read.finish().map_err(|pending| format!("{pending:?} was waited for"))?;
    /// assert_eq!(done.memory[..done.result?], std::fs::read("Cargo.toml")?[..16]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish(mut self) -> Result<Finished<M>, Operation<M>> {
        match self.result() {
            Err(AioError::InProgress) => Err(self),
            result => Ok(Finished { result, memory: self.control.into_memory() }),
        }
    }
}

impl<M: Memory> fmt::Debug for Operation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// Any [`Operation`], for waiting for several whose memory is of different types. Sealed.
pub trait Pending: sealed::Blocks {}

impl<M: Memory> Pending for Operation<M> {}

mod sealed {
    use super::{Block, Memory, Operation};

    /// Gives access to the control block.
    pub trait Blocks {
        /// The block that aio_suspend waits for.
        fn block(&self) -> &Block;
    }

    impl<M: Memory> Blocks for Operation<M> {
        fn block(&self) -> &Block {
            self.control.block()
        }
    }
}

/// Sleeps until at least one of the operations is done or the time is over (aio_suspend), at once
/// if one is done already. Signals do not end the wait. No time limit means no limit.
///
/// # Errors
///
/// [`AioError::TimedOut`]; [`AioError::EmptyList`], [`AioError::ListTooLong`] (more than
/// [`LIST_MAX`]).
///
/// ```
/// use pitcrew::techniques::posix_aio::{AioFile, Request, suspend};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = AioFile::new(std::fs::File::open("Cargo.toml")?)?;
/// let first = Request::read(&file, vec![0; 8], 0).start()?;
/// let second = Request::read(&file, vec![0; 8], 8).start()?;
/// suspend(&[&first, &second], None)?;
/// assert!(first.is_done() || second.is_done());
/// # Ok(())
/// # }
/// ```
pub fn suspend(operations: &[&dyn Pending], timeout: Option<Duration>) -> Result<(), AioError> {
    check_length(operations.len())?;
    let blocks: Vec<&Block> = operations.iter().map(|operation| operation.block()).collect();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        match control::suspend(&blocks, left) {
            Ok(Woken::Done) => return Ok(()),
            Ok(Woken::TimedOut) => return Err(AioError::TimedOut),
            // The signal may have been the completion's own, so the operations are looked at
            // again.
            Ok(Woken::Interrupted) => {}
            Err(errno) => return Err(AioError::from(errno)),
        }
    }
}
