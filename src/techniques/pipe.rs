//! Pipes with a size that was asked for and one that was granted, splice(2) and tee(2).
//!
//! A pipe holds references to pages, not bytes: splice moves references in and out, tee
//! duplicates them, and the bytes themselves stay where they are. A pipe has one slot a page
//! (16 by default, 64 KiB), and a slot that holds one byte is as full as one that holds 4096, so
//! a pipe may be full long before its size in bytes.
//!
//! Rests on pipe(7), splice(2), tee(2), fcntl(2) (F_SETPIPE_SZ). splice blocks on file pages that
//! are not in memory, whatever the flags; SPLICE_F_NONBLOCK concerns the pipe only. An output
//! file that was opened with O_APPEND is EINVAL.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

pub use rustix::pipe::SpliceFlags;

use super::{Error, Stopped, Transfer, call_count, check_offset};

/// Both ends of a pipe, close-on-exec, and its capacity.
///
/// ```
/// use pitcrew::techniques::Pipe;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipe = Pipe::with_size(256 << 10)?;
/// if pipe.granted_bytes() < pipe.asked_bytes() {
///     // The user's pipe budget is used up, or pipe-max-size is lower: the pipe is smaller.
/// }
/// assert_eq!(pipe.queued_bytes()?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    asked_bytes: usize,
    granted_bytes: usize,
}

impl Pipe {
    /// A blocking pipe of the kernel's default size (64 KiB, or one to two pages for a user over
    /// the soft limit `/proc/sys/fs/pipe-user-pages-soft`).
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] with EMFILE or ENFILE when descriptors have run out.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pipe = pitcrew::techniques::Pipe::new()?;
    /// assert!(pipe.granted_bytes() >= 4096);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Pipe, Error> {
        Pipe::open(PipeFlags::CLOEXEC)
    }

    /// A pipe of the default size whose ends are both non-blocking.
    ///
    /// # Errors
    ///
    /// As for [`Pipe::new`].
    ///
    /// ```
    /// use pitcrew::techniques::{Error, Pipe, pipe};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (empty, other) = (Pipe::nonblocking()?, Pipe::nonblocking()?);
    /// let flags = pipe::SpliceFlags::empty();
    /// assert_eq!(pipe::tee(&empty.reader(), &other.writer(), 1, flags), Err(Error::WouldBlock));
    /// # Ok(())
    /// # }
    /// ```
    pub fn nonblocking() -> Result<Pipe, Error> {
        Pipe::open(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
    }

    /// A blocking pipe of at least `bytes`, if the kernel grants it: see [`Pipe::resize`].
    ///
    /// # Errors
    ///
    /// As for [`Pipe::new`], and EINVAL and ENOMEM as for [`Pipe::resize`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pipe = pitcrew::techniques::Pipe::with_size(128 << 10)?;
    /// assert_eq!(pipe.asked_bytes(), 128 << 10);
    /// if pipe.granted_bytes() < pipe.asked_bytes() {
    ///     println!("this user may have {} bytes in it", pipe.granted_bytes());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_size(bytes: usize) -> Result<Pipe, Error> {
        let mut pipe = Pipe::new()?;
        pipe.resize(bytes)?;
        Ok(pipe)
    }

    /// Asks for a capacity of `bytes`; the answer is the capacity that the pipe has now.
    ///
    /// The kernel rounds up to a power of two of pages. It refuses (EPERM) what lies above
    /// `/proc/sys/fs/pipe-max-size` or takes the user over `pipe-user-pages-soft`; the pipe then
    /// keeps its size, which is no error, as the pipe works: compare the answer with the wish.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] with EINVAL for more than 2 GiB, EBUSY when the pipe holds more than the
    /// new size, ENOMEM.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut pipe = pitcrew::techniques::Pipe::new()?;
    /// let granted = pipe.resize(5000)?;
    /// assert_eq!((pipe.asked_bytes(), pipe.granted_bytes()), (5000, granted));
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize(&mut self, bytes: usize) -> Result<usize, Error> {
        if i32::try_from(bytes).is_err() {
            return Err(Error::Kernel(Errno::INVAL));
        }
        self.asked_bytes = bytes;
        match fcntl_setpipe_size(&self.writer, bytes) {
            Ok(_) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.granted_bytes = fcntl_getpipe_size(&self.writer)?;
        Ok(self.granted_bytes)
    }

    fn open(flags: PipeFlags) -> Result<Pipe, Error> {
        let (reader, writer) = pipe_with(flags)?;
        let granted_bytes = fcntl_getpipe_size(&writer)?;
        Ok(Pipe { reader, writer, asked_bytes: granted_bytes, granted_bytes })
    }

    /// The end that bytes come out of.
    #[inline]
    #[must_use]
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// The end that bytes go into.
    #[inline]
    #[must_use]
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// The capacity in bytes that was asked for last; the default one if none was.
    #[inline]
    #[must_use]
    pub fn asked_bytes(&self) -> usize {
        self.asked_bytes
    }

    /// The capacity in bytes that the kernel granted.
    #[inline]
    #[must_use]
    pub fn granted_bytes(&self) -> usize {
        self.granted_bytes
    }

    /// Bytes in the pipe (FIONREAD). A pipe that is not empty must not be used for another
    /// transfer: what is left in it would be sent as part of that one.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`]; none is expected on an open pipe.
    pub fn queued_bytes(&self) -> Result<u64, Error> {
        Ok(ioctl_fionread(&self.reader)?)
    }

    /// Gives the ends away, reader first; dropping the writer lets the reader see the end.
    #[must_use]
    pub fn into_ends(self) -> (OwnedFd, OwnedFd) {
        (self.reader, self.writer)
    }
}

/// Moves up to `count` bytes from a file or socket into a pipe; 0 means the end of the input.
///
/// With an offset, the file is read there, `*offset` is advanced by the answer, and the file's
/// own offset is left alone; a socket takes `None`.
///
/// # Errors
///
/// [`Error::OffsetTooLarge`] before the kernel is asked; [`Error::WouldBlock`] when the pipe is
/// full and it or `flags` is non-blocking, or when a non-blocking socket is empty;
/// [`Error::BadDescriptor`]; [`Error::Kernel`] with EINVAL when `pipe` is none or the input
/// cannot be spliced, ESPIPE for an offset with a socket, EPIPE (and SIGPIPE) when the pipe's
/// reader is closed.
///
/// ```
/// use pitcrew::techniques::pipe::{self, Pipe, SpliceFlags};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to, pipe) =
///     (std::fs::File::open("Cargo.toml")?, tempfile::tempfile()?, Pipe::new()?);
/// let mut offset = 2;
/// let flags = SpliceFlags::empty();
/// let moved = pipe::splice_in(&from, Some(&mut offset), pipe.writer(), 20, flags)?;
/// assert_eq!((moved, offset, pipe.queued_bytes()?), (20, 22, 20));
/// assert_eq!(pipe::splice_out(pipe.reader(), &to, None, 20, flags)?, 20);
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn splice_in(
    from: impl AsFd,
    offset: Option<&mut u64>,
    pipe: impl AsFd,
    count: usize,
    flags: SpliceFlags,
) -> Result<usize, Error> {
    splice(from, offset, pipe, None, count, flags)
}

/// Moves up to `count` bytes out of a pipe to a file or socket; 0 means that the pipe is empty
/// and its writers are closed.
///
/// With an offset, the file is written there, `*offset` is advanced by the answer, and the
/// file's own offset is left alone; a socket takes `None`. [`SpliceFlags::MORE`] tells a socket
/// that more follows, as MSG_MORE does.
///
/// # Errors
///
/// As for [`splice_in`], with the roles changed: [`Error::WouldBlock`] when the pipe is empty or
/// the socket is full, EPIPE and ECONNRESET when the socket's peer is gone. What stays in the
/// pipe can be asked with [`Pipe::queued_bytes`].
///
/// ```
/// use pitcrew::techniques::pipe::{self, Pipe, SpliceFlags};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"through a pipe")?;
/// let (socket, mut peer) = UnixStream::pair()?;
/// assert_eq!(pipe::splice_out(&reader, &socket, None, 64, SpliceFlags::empty())?, 14);
/// let mut got = [0; 14];
/// peer.read_exact(&mut got)?;
/// assert_eq!(&got, b"through a pipe");
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn splice_out(
    pipe: impl AsFd,
    to: impl AsFd,
    offset: Option<&mut u64>,
    count: usize,
    flags: SpliceFlags,
) -> Result<usize, Error> {
    splice(pipe, None, to, offset, count, flags)
}

#[inline]
fn splice(
    from: impl AsFd,
    mut from_offset: Option<&mut u64>,
    to: impl AsFd,
    mut to_offset: Option<&mut u64>,
    count: usize,
    flags: SpliceFlags,
) -> Result<usize, Error> {
    for offset in [&from_offset, &to_offset].into_iter().flatten() {
        check_offset(**offset)?;
    }
    let (from, to) = (from.as_fd(), to.as_fd());
    Ok(retry_on_intr(|| {
        let (from_offset, to_offset) = (from_offset.as_deref_mut(), to_offset.as_deref_mut());
        rustix::pipe::splice(from, from_offset, to, to_offset, count, flags)
    })?)
}

/// Duplicates up to `count` bytes of one pipe into another without consuming them; 0 means that
/// the first is empty and its writers are closed.
///
/// It always starts at the oldest byte, so a second tee before the first pipe is emptied
/// duplicates the same bytes again. It uses as many slots of the second pipe as the bytes
/// occupy in the first, and is short when the second one is full.
///
/// # Errors
///
/// [`Error::WouldBlock`] when the source is empty or the output is full and a pipe or `flags` is
/// non-blocking; [`Error::BadDescriptor`]; [`Error::Kernel`] with EINVAL when one of them is no
/// pipe or both are the same, EPIPE (and SIGPIPE) when the output's reader is closed.
///
/// ```
/// use pitcrew::techniques::pipe::{self, SpliceFlags};
/// use std::io::{Read, Write};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut reader, mut writer) = std::io::pipe()?;
/// let (mut mirror_reader, mirror_writer) = std::io::pipe()?;
/// writer.write_all(b"twice")?;
/// assert_eq!(pipe::tee(&reader, &mirror_writer, 64, SpliceFlags::empty())?, 5);
/// let (mut original, mut mirrored) = ([0; 5], [0; 5]);
/// reader.read_exact(&mut original)?;
/// mirror_reader.read_exact(&mut mirrored)?;
/// assert_eq!((&original, &mirrored), (b"twice", b"twice"));
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn tee(
    from: impl AsFd,
    to: impl AsFd,
    count: usize,
    flags: SpliceFlags,
) -> Result<usize, Error> {
    let (from, to) = (from.as_fd(), to.as_fd());
    Ok(retry_on_intr(|| rustix::pipe::tee(from, to, count, flags))?)
}

/// Moves `count` bytes of a file to a blocking output by way of `pipe`, until the count is
/// reached or the file ends. A short call in either direction counts as one short transfer.
///
/// The answer and `*offset` count bytes that reached the output. On an error, bytes may be left
/// in the pipe ([`Pipe::queued_bytes`]); close such a pipe instead of using it again.
///
/// # Errors
///
/// As for [`splice_in`] and [`splice_out`], with the bytes that were moved before. A pipe that
/// already holds bytes is [`Error::Kernel`] with EBUSY.
///
/// ```
/// use pitcrew::techniques::pipe::{self, Pipe};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to, pipe) =
///     (std::fs::File::open("Cargo.toml")?, tempfile::tempfile()?, Pipe::new()?);
/// let moved = pipe::splice_all(&from, &mut 0, &pipe, &to, u64::MAX)?;
/// assert_eq!(moved.bytes, from.metadata()?.len());
/// # Ok(())
/// # }
/// ```
pub fn splice_all(
    from: impl AsFd,
    offset: &mut u64,
    pipe: &Pipe,
    to: impl AsFd,
    count: u64,
) -> Result<Transfer, Stopped> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut done = Transfer::default();
    let stopped = |done, error| Stopped { done, error };
    if pipe.queued_bytes().map_err(Stopped::at_start)? > 0 {
        return Err(Stopped::at_start(Error::Kernel(Errno::BUSY)));
    }
    while done.bytes < count {
        let asked = call_count(count - done.bytes).min(pipe.granted_bytes);
        let mut read_offset = *offset;
        let flags = SpliceFlags::MOVE;
        let taken = splice_in(from, Some(&mut read_offset), pipe.writer(), asked, flags)
            .map_err(|error| stopped(done, error))?;
        if taken == 0 {
            break;
        }
        done.short_transfers += u32::from(taken < asked);
        let mut held = taken;
        while held > 0 {
            let given = splice_out(pipe.reader(), to, None, held, flags)
                .map_err(|error| stopped(done, error))?;
            if given == 0 {
                return Err(stopped(done, Error::NoProgress));
            }
            assert!(given <= held, "splice gave more bytes than it was asked for");
            done.short_transfers += u32::from(given < held);
            held -= given;
            done.bytes += given as u64;
            *offset += given as u64;
        }
    }
    Ok(done)
}
