//! Operations: what may be asked of the kernel, each owning every operand it needs.
//!
//! Operands move into the operation and come home with its completion. Nothing else refers to
//! memory that the kernel may touch.

use std::ffi::CString;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::RawFd;

use rustix::io::Errno;

use super::buffer::Lease;
pub use super::facts::{Facts, FileKind, Sheet};
use super::handle::{Descriptor, File, Socket, Tap};
use super::job::Job;
pub use super::links::Links;
use super::mount::UNKNOWN_MOUNT;
use super::outgoing::{Gather, Outgoing};
use super::pipe::PipeLease;
pub use super::reach::{Look, Via};
use crate::base::Key;

/// Where a request head is read to: a small buffer, and a large one behind it.
///
/// The bytes that spill into the large buffer start at the length of the small one, so the
/// small one's bytes can be put before them and the whole is contiguous.
#[derive(Debug)]
pub struct Scatter {
    /// The part that most requests fit in.
    pub small: Option<Lease>,
    /// The part for large or pipelined heads.
    pub large: Option<Lease>,
    /// Where in the part that is read to first the free space begins.
    pub filled: usize,
}

impl Scatter {
    /// The free space of both parts, in order.
    pub fn free(&mut self) -> [&mut [u8]; 2] {
        match (&mut self.small, &mut self.large) {
            (Some(small), Some(large)) => {
                let spill = small.len();
                [&mut small[self.filled..], &mut large[spill..]]
            }
            (Some(one), None) | (None, Some(one)) => [&mut one[self.filled..], &mut []],
            (None, None) => [&mut [], &mut []],
        }
    }
}

/// One operation for the kernel.
#[derive(Debug)]
pub enum Op {
    /// Wait once until there is something to read, or the peer has closed. Result: 0.
    Readable {
        /// What is waited for.
        socket: Socket,
    },
    /// Wait once until a trigger fires (POLLPRI). Result: 0.
    Triggered {
        /// The trigger.
        trigger: Socket,
    },
    /// Wait once until there is room to write. Only the reactor starts it, for what was blocked.
    Writable {
        /// What is waited for.
        socket: Socket,
    },
    /// Accept connections until it fails or is cancelled; each comes with its own completion.
    Accept {
        /// The listening socket.
        listener: Socket,
        /// Whether it ends with the first one.
        once: bool,
    },
    /// Scatter-read request bytes (readv). Result: bytes, 0 at the end of the stream.
    ReadHead {
        /// The connection.
        socket: Socket,
        /// The buffers.
        parts: Scatter,
    },
    /// Read from a file by the ring, with the fixed-buffer form where the buffer is registered.
    /// Result: bytes, 0 at the end of the file.
    Read {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Where to.
        buffer: Lease,
        /// The part of the buffer that is read to.
        range: Range<u32>,
        /// Where they come from.
        via: Via,
    },
    /// Read from a file inline (pread). Result as `Read`. Without a look it blocks the turn if the
    /// disk does; with one it reads only what the page cache has, and ends with `AGAIN` where that
    /// lacks a part, and with the errors of `Resident`.
    Pread {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Where to.
        buffer: Lease,
        /// The part of the buffer that is read to.
        range: Range<u32>,
        /// How the page cache is asked before.
        look: Option<Look>,
    },
    /// Send bytes by the ring. Result: bytes.
    Send {
        /// The connection.
        socket: Socket,
        /// What is sent.
        bytes: Outgoing,
        /// Whether more follows at once, so that the kernel may wait with a part of a segment.
        more: bool,
    },
    /// Send bytes from several places by the ring in one call (sendmsg). Result: bytes.
    SendMsg {
        /// The connection.
        socket: Socket,
        /// What is sent, not empty.
        parts: Gather,
        /// Whether more follows at once.
        more: bool,
    },
    /// Send a head (held back so that it shares a segment), then a part of a file by
    /// sendfile(2), inline. Result: bytes of the file.
    Sendfile {
        /// The connection.
        socket: Socket,
        /// What goes before the file; none once it is sent.
        head: Option<Outgoing>,
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Bytes at most.
        count: u32,
        /// Whether more follows at once.
        more: bool,
    },
    /// Ask whether a part of a file is in the page cache, inline. Result: 1 if all of it is, else
    /// 0; OPNOTSUPP where the file cannot be asked in this way.
    Resident {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Bytes, at least one.
        count: u32,
        /// How it is asked.
        look: Look,
    },
    /// Bring a part of a file into the page cache, by the ring: left to a thread of the kernel.
    /// Result: bytes that are there now, 0 at the end of the file.
    Warm {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Bytes, [`crate::limits::WARM_BYTES`] at most.
        count: u32,
        /// [`Via::Edge`], [`Via::Cold`] or [`Via::Disk`]: what is known of them.
        via: Via,
    },
    /// Drop a part of a file from the page cache, by the ring. Whoever starts it is done with it.
    Forget {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Bytes.
        count: u32,
    },
    /// Move a part of a file into a pipe by splice(2), inline. Result: bytes.
    SpliceIn {
        /// The file.
        file: File,
        /// Offset in the file, in bytes.
        offset: u64,
        /// The pipe.
        pipe: PipeLease,
        /// Bytes at most.
        count: u32,
    },
    /// Send a head, then move bytes from a pipe to a socket by splice(2), inline. Result: bytes
    /// of the pipe.
    SpliceOut {
        /// The pipe.
        pipe: PipeLease,
        /// The connection.
        socket: Socket,
        /// What goes before the bytes of the pipe; none once it is sent.
        head: Option<Outgoing>,
        /// Bytes at most.
        count: u32,
        /// Whether more follows at once.
        more: bool,
    },
    /// Duplicate what a pipe holds into another one by tee(2), from its oldest byte on, inline.
    /// Result: bytes.
    Tee {
        /// The pipe; what it holds stays in it.
        from: PipeLease,
        /// The other one.
        to: Tap,
        /// Bytes at most.
        count: u32,
    },
    /// Put bytes into a pipe that another thread empties, inline. Result: bytes.
    PutIn {
        /// The pipe.
        pipe: Tap,
        /// What is put in.
        bytes: Vec<u8>,
    },
    /// Open beneath a directory (openat2, never leaving it but where `how` says so). The completion
    /// brings the handle.
    Open {
        /// The directory.
        root: File,
        /// The path, relative.
        path: CString,
        /// How.
        how: How,
    },
    /// Ask for the facts of an open file (statx): inline where that cannot block, else by the ring.
    Stat {
        /// The file.
        file: File,
        /// Who is asked.
        ask: Ask,
        /// The answer.
        facts: Box<Facts>,
        /// Where the ring has the kernel write it; none till then.
        sheet: Option<Box<Sheet>>,
    },
    /// Take what the kernel has noted of watched directories (inotify), inline, without waiting.
    /// Result: how many notices came.
    Notices {
        /// Who watches.
        watcher: File,
        /// What has come, in its order.
        notices: Vec<Notice>,
    },
    /// Watch a directory no longer, inline.
    Unwatch {
        /// Who watches.
        watcher: File,
        /// The watch.
        watch: Watch,
    },
    /// Shut the sending side of a connection.
    Shutdown {
        /// The connection.
        socket: Socket,
    },
    /// Ask who is at the other end, inline.
    Peer {
        /// The connection.
        socket: Socket,
        /// The answer; none for a unix socket.
        address: Option<SocketAddr>,
    },
    /// Ask how much of what was sent the client has not acknowledged, inline. Result: bytes.
    Unacknowledged {
        /// The connection.
        socket: Socket,
    },
    /// Arrange that the close of a connection resets it, inline: what was not delivered is thrown
    /// away, and the kernel keeps nothing of it.
    Reset {
        /// The connection.
        socket: Socket,
    },
    /// Close a descriptor whose last reference is gone. Only the reactor starts it.
    Close {
        /// Its number.
        raw: RawFd,
        /// The mount of the file that it is of; 0 for what is no file.
        mount: u64,
    },
    /// Have a helper thread do what the ring cannot.
    Job(Job),
}

/// How a file is opened; always for reading, without blocking, without becoming a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Past the page cache (O_DIRECT).
    pub direct: bool,
    /// What is done with symbolic links.
    pub links: Links,
    /// A directory to be served, by an absolute path that may lead anywhere: it is not read
    /// itself, names beneath it are opened.
    pub anywhere: bool,
    /// The mount that the path is expected to end in; 0 if that is not known.
    pub mount: u64,
    /// Whether it may end in another one after all, through a link. Where the mount is known and
    /// this is not so, a path that does is XDEV, whatever that mount is doing.
    pub crosses: bool,
}

impl How {
    /// Whether the path may lead to no other mount than the one that is expected.
    pub(super) fn stays(self) -> bool {
        self.mount != 0 && !self.crosses && !self.anywhere
    }
}

/// Who is asked for the facts of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// The file system, inline if its mount is known not to block.
    #[default]
    Mount,
    /// The file system, by the ring: the file may be of another mount than was expected.
    Anywhere,
    /// What this machine knows already, inline (AT_STATX_DONT_SYNC). Only where a file system has
    /// its truth elsewhere is that less.
    Here,
    /// The same behind a read, for bytes that wait in a buffer; by the ring where nobody here
    /// knows. It takes the place of the read in its mount's share.
    Behind,
}

impl Op {
    /// Asks for the facts of a file.
    pub fn stat(file: File, ask: Ask) -> Self {
        Self::Stat { file, ask, facts: Box::default(), sheet: None }
    }

    /// The mount whose file system answers, as far as that is known; 0 for what is of no file.
    pub fn mount(&self) -> u64 {
        match self {
            Self::Open { how, .. } if how.mount == 0 => UNKNOWN_MOUNT,
            Self::Open { how, .. } => how.mount,
            Self::Close { mount, .. } => *mount,
            Self::Stat { file, .. }
            | Self::Read { file, .. }
            | Self::Warm { file, .. }
            | Self::Forget { file, .. } => file.mount(),
            Self::Job(job) => job.mount(),
            _ => 0,
        }
    }
}

/// The number of a watched directory, given by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch(pub i32);

/// Something that happened in or to a watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What a name of it leads to was made, removed, renamed, replaced, or may be read by others
    /// than before.
    Name(Watch, Vec<u8>),
    /// The directory itself was removed, renamed, or may be read by others than before; or it is
    /// watched no longer.
    Itself(Watch),
    /// More has happened than could be kept, anywhere.
    Lost,
}

/// A started operation, to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) Key);

/// The end of an operation, or one of several results of it.
#[derive(Debug)]
pub struct Completion {
    /// What `start` said of it; none if it ran at once.
    pub ticket: Option<Ticket>,
    /// The operation with its operands; none while the kernel keeps them (`more`).
    pub op: Option<Op>,
    /// What the kernel said.
    pub result: Result<u32, Errno>,
    /// A descriptor that the operation opened or accepted.
    pub handle: Option<Descriptor>,
    /// Whether further completions of the same operation follow.
    pub more: bool,
}

/// What an operation waits for that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The socket takes no more; [`Wake::Writable`] comes.
    SocketFull,
    /// The pipe takes no more; the owner empties it.
    PipeFull,
    /// The pipe holds nothing; the owner fills it.
    PipeEmpty,
}

/// What became of an operation when it was started.
#[must_use]
#[derive(Debug)]
pub enum Start {
    /// It ran at once.
    Executed(Completion),
    /// The kernel owns it; it comes back as [`Wake::Done`].
    Submitted(Ticket),
    /// Nothing could be moved; what is in the way is said.
    Blocked(Op, Obstacle),
    /// A queue is full or the order of the socket forbids it now; [`Wake::Turn`] comes. For a job
    /// it is [`Wake::Ready`], when another job is done.
    Busy(Op),
}

/// Why an owner runs.
#[derive(Debug)]
pub enum Wake {
    /// It is new, or its next step begins.
    Begin,
    /// A socket that was full takes bytes again.
    Writable,
    /// A turn has passed since the owner yielded or was busy.
    Turn,
    /// An operation has completed.
    Done(Completion),
    /// The deadline has passed.
    Deadline(Deadline),
    /// What was waited for may be there: a buffer, room for a job, an answer of the cache.
    Ready,
}

/// Which deadline of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The next request must begin.
    Idle,
    /// The head of a request must be whole.
    Head,
    /// The body of a request must be whole.
    Body,
    /// Bytes must move towards the client.
    Send,
    /// What a refused client still sends is read no longer.
    Linger,
    /// Something that failed for want of a resource is tried again.
    Retry,
    /// The next part of an answer may be sent.
    Pace,
}
