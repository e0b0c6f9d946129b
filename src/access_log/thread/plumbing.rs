//! What the threads of the log ask of the kernel: pipes, places that records go to, and the time.
//!
//! [`Real`](super::real::Real) is Linux. Over another one the threads run as they are, step by
//! step, where the test wants them to. Calls may block but for those that say that they do not.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::access_log::options::{Durability, Rotation};

/// An end of a pipe.
pub(in crate::access_log) trait End {
    /// A number that no other end has that is open.
    fn number(&self) -> i32;
    /// Takes bytes out.
    fn read(&self, into: &mut [u8]) -> Result<usize, Errno>;
    /// Puts bytes in, without blocking.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno>;
    /// Doubles the first bytes into another pipe, without blocking.
    fn tee(&self, to: &Self, count: usize) -> Result<usize, Errno>;
    /// Bytes that lie in it.
    fn held(&self) -> Result<u64, Errno>;
}

/// A program that reads the log, which runs or has just ended.
pub(in crate::access_log) trait Process<E> {
    /// Moves bytes of a pipe into its input.
    fn splice(&self, from: &E, count: usize) -> Result<usize, Errno>;
    /// Writes into its input.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno>;
    /// Waits until more may be written there; says whether it may.
    fn wait_for_room(&self, time: Duration) -> bool;
    /// Whether its input is a pipe.
    fn is_pipe(&self) -> bool;
    /// Bytes that lie in its input, as far as that is known.
    fn unread(&self) -> Option<u64>;
    /// The same; none while somebody may read them.
    fn left_unread(&self) -> Option<u64>;
    /// Whether it has run for so long that it did not fail at its start.
    fn is_settled(&self) -> bool;
    /// Whether it has ended, and how. Does not block.
    fn ended(&mut self) -> Option<String>;
    /// It reads no more: why.
    fn gone(&mut self) -> String;
    /// Lets it read to the end, for a bounded time. Says how many bytes it has left unread, if that
    /// is known.
    fn finish(self) -> Option<u64>;
}

/// What was found at a path.
pub(in crate::access_log) enum Opened<F> {
    /// A regular file.
    File(F),
    /// A FIFO, a terminal or another device.
    Stream(F),
}

/// What is asked of a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::access_log) struct Facts {
    /// Which one it is: its device and its number there.
    pub(in crate::access_log) identity: (u64, u64),
    pub(in crate::access_log) has_name: bool,
    pub(in crate::access_log) bytes: u64,
    /// In seconds since 1970.
    pub(in crate::access_log) modified: i64,
    /// Who may read and write it.
    pub(in crate::access_log) mode: u32,
}

/// See the module.
pub(in crate::access_log) trait Plumbing: Clone {
    /// Of pipes.
    type End: End;
    /// A file that is open, or another place that bytes go to.
    type File;
    /// Of programs.
    type Program: Process<Self::End>;

    /// The monotonic clock. Does not block.
    fn now(&self) -> Instant;
    /// Seconds since 1970 by the wall clock. Does not block.
    fn wall_seconds(&self) -> i64;
    /// Lets time pass.
    fn sleep(&self, time: Duration);

    /// A pipe: the end that bytes go into, and the other one.
    fn pipe(&self) -> io::Result<(Self::End, Self::End)>;
    /// Waits until bytes may go into one of some pipes, so long at most.
    fn wait_for_pipes(&self, pipes: &[&Self::End], time: Duration);
    /// Throws away the first bytes of a pipe; fails before the first one where that cannot be.
    fn discard(&self, pipe: &Self::End, count: usize) -> Result<usize, Errno>;

    /// The standard output.
    fn stdout(&self) -> Result<Self::File, String>;
    /// Opens what lies at a path; a file that has to be made gets this mode.
    fn open(
        &self,
        path: &Path,
        durability: Durability,
        mode: Option<u32>,
    ) -> Result<Opened<Self::File>, String>;
    /// Starts a program.
    fn start(&self, command: &str) -> Result<Self::Program, String>;
    /// Moves bytes of a pipe, to an offset of a file or to what has none.
    fn splice(
        &self,
        from: &Self::End,
        to: &Self::File,
        offset: Option<&mut u64>,
        count: usize,
    ) -> Result<usize, Errno>;
    /// Writes, likewise.
    fn write(&self, to: &Self::File, bytes: &[u8], offset: Option<u64>) -> Result<usize, Errno>;
    /// Waits until more may be written there; says whether it may.
    fn wait_for_room(&self, file: &Self::File, time: Duration) -> bool;

    /// Whether a place is a pipe.
    fn is_pipe(&self, file: &Self::File) -> bool;
    /// Bytes that lie in it, as far as that is known.
    fn unread(&self, file: &Self::File) -> Option<u64>;
    /// The same; none while somebody may read them.
    fn left_unread(&self, file: &Self::File) -> Option<u64>;

    /// Locks a file; says whether whoever has the lock let go of it in time.
    fn lock(&self, file: &Self::File) -> io::Result<bool>;
    /// Lets go of it.
    fn unlock(&self, file: &Self::File);
    /// What a file is.
    fn look(&self, file: &Self::File) -> Result<Facts, Errno>;
    /// What a path names.
    fn look_at(&self, path: &Path) -> Result<Facts, Errno>;
    /// Archives what is in a file; says whether it was emptied, else it has another name now.
    fn archive(
        &self,
        path: &Path,
        file: &Self::File,
        rotation: &Rotation,
        durable: bool,
    ) -> Result<bool, String>;
    /// Compresses and counts archives, beside.
    fn tidy_up(&self, path: &Path, rotation: &Rotation, durable: bool);
}
