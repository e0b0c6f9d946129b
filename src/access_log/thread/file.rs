//! A log file: locked for each batch, written at its end, archived when it is time.
//!
//! It is not opened with O_APPEND, which splice(2) refuses. So that two processes that hand over
//! and a truncation from outside lose nothing, each batch takes the file's lock, sets the offset
//! to where the file ends now, and lets go. A file that was archived by the other process is
//! opened anew before anything is written.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fdatasync, fstat, openat, stat};
use rustix::io::Errno;

use super::archive;
use super::sink::{said, some};
use crate::access_log::options::{Durability, Rotation};
use crate::broker::Broker;
use crate::limits::LOG_LOCK_PATIENCE;
use crate::sys::lock;
use crate::techniques::pipe::{SpliceFlags, splice_out};
use crate::techniques::synchronous::{self, SynchronousFile};

/// What lies at a path.
#[derive(Debug)]
pub(super) enum Found {
    File(LogFile),
    Stream(OwnedFd),
}

/// See the module.
#[derive(Debug)]
pub(super) struct LogFile {
    fd: OwnedFd,
    path: PathBuf,
    durability: Durability,
    broker: Option<Arc<Broker>>,
    locked: bool,
    /// Whether locks are refused, which was told.
    unlocked: bool,
    /// Where the next byte goes.
    offset: u64,
    /// Which span of the clock its records are of.
    span: u64,
    gone: bool,
    /// When it may be archived again, after that failed.
    archived_from: Option<Instant>,
}

/// How long a file that could not be archived is left as it is.
const ARCHIVE_RETRY: Duration = Duration::from_secs(60);

/// What was found at the begin of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Begun {
    /// It is another file than before.
    pub(super) rotated: bool,
    /// A line that was written in part does not stand at the end any more.
    pub(super) torn: bool,
}

impl Found {
    pub(super) fn open(
        path: &Path,
        durability: Durability,
        broker: Option<&Arc<Broker>>,
    ) -> Result<Self, String> {
        Self::open_as(path, durability, None, broker)
    }

    /// The same; a file that is made has this mode, whatever the umask takes away. The broker opens
    /// it where this process may not, and makes one as it makes any: its directory may be another
    /// one of that name than the one that the process was confined to.
    fn open_as(
        path: &Path,
        durability: Durability,
        mode: Option<Mode>,
        broker: Option<&Arc<Broker>>,
    ) -> Result<Self, String> {
        let fd = match (open(path, mode), broker) {
            (Err(Errno::ACCESS | Errno::PERM), Some(broker)) => {
                let file = broker
                    .file(path)
                    .map_err(|denied| format!("this process may not write there, and {denied}"))?;
                let broker = Some(Arc::clone(broker));
                return Ok(Self::File(LogFile::of(file, path, durability, broker)));
            }
            (opened, _) => opened.map_err(said)?,
        };
        match kind(&fd).map_err(said)? {
            FileType::RegularFile => {
                Ok(Self::File(LogFile::new(fd, path, durability, broker.cloned())?))
            }
            FileType::Directory => Err(said(Errno::ISDIR)),
            _ => {
                // It was opened without waiting for a reader; written it is by a thread that may
                // wait.
                let flags = rustix::fs::fcntl_getfl(&fd).map_err(said)?;
                rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(said)?;
                Ok(Self::Stream(fd))
            }
        }
    }
}

fn open(path: &Path, mode: Option<Mode>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // Asked to create it, the kernel refuses FIFOs of others in shared directories.
    match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            let usual = Mode::from_raw_mode(0o644);
            let fd = openat(CWD, path, flags | OFlags::CREATE, mode.unwrap_or(usual))?;
            if let Some(mode) = mode {
                fchmod(&fd, mode)?;
            }
            Ok(fd)
        }
        other => other,
    }
}

fn kind(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

impl LogFile {
    fn new(
        fd: OwnedFd,
        path: &Path,
        durability: Durability,
        broker: Option<Arc<Broker>>,
    ) -> Result<Self, String> {
        let fd = match durability {
            Durability::None => fd,
            Durability::Data => synchronous_file(path, synchronous::Durability::Data)?,
            Durability::Full => synchronous_file(path, synchronous::Durability::DataAndMetadata)?,
        };
        if durability != Durability::None {
            // What was written there before, by an earlier configuration, counts as durable, too.
            fdatasync(&fd).map_err(said)?;
            // It may be new, or stand where another was renamed: its records are only as durable
            // as its name.
            archive::sync_directory_of(path);
        }
        Ok(Self::of(fd, path, durability, broker))
    }

    fn of(fd: OwnedFd, path: &Path, durability: Durability, broker: Option<Arc<Broker>>) -> Self {
        Self {
            fd,
            path: path.to_owned(),
            durability,
            broker,
            locked: false,
            unlocked: false,
            // No line of this opening was begun before.
            offset: u64::MAX,
            span: u64::MAX,
            gone: false,
            archived_from: None,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it has no name any more, so that nobody would find what is written to it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Locks it and looks at it, once for each batch; `begun` says that a line was written in
    /// part.
    pub(super) fn begin(&mut self, rotation: &Rotation, begun: bool) -> Result<Begun, String> {
        let mut told = Begun::default();
        if self.locked {
            if !begun && self.is_due(rotation, self.offset) {
                self.archive(rotation, &mut told)?;
            }
            return Ok(told);
        }
        self.lock()?;
        let mut known = fstat(&self.fd).map_err(said)?;
        if known.st_nlink == 0 || rotation.is_on() && !begun && !self.is_at_its_path(&known) {
            // It was removed, or another process has archived it.
            self.gone = true;
            self.open_again()?;
            told.rotated = true;
            told.torn = begun;
            known = fstat(&self.fd).map_err(said)?;
        }
        let end = known.st_size as u64;
        told.torn |= begun && end != self.offset;
        if end == 0 {
            // What comes is of now.
            self.span = archive::span(rotation, archive::now_seconds());
        } else if self.span == u64::MAX || end < self.offset {
            // It was not looked at yet, or another process has emptied it into an archive.
            self.span = archive::span(rotation, known.st_mtime);
        }
        self.offset = end;
        if !begun && self.is_due(rotation, end) {
            self.archive(rotation, &mut told)?;
        }
        Ok(told)
    }

    /// Lets go of it.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.locked) {
            // Closing lets go, too; there is nothing else to be done about it.
            let _ = lock::release(&self.fd);
        }
    }

    fn lock(&mut self) -> Result<(), String> {
        match lock::exclusive(&self.fd, LOG_LOCK_PATIENCE) {
            Ok(true) => self.locked = true,
            Ok(false) => {
                return Err("another process holds its lock and does not let go".to_owned());
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unlocked, true) {
                    tracing::warn!(
                        file = %self.path.display(), %error,
                        "the access log cannot be locked; two servers must not write to it"
                    );
                }
            }
        }
        Ok(())
    }

    fn is_at_its_path(&self, known: &rustix::fs::Stat) -> bool {
        stat(&self.path)
            .is_ok_and(|named| (named.st_dev, named.st_ino) == (known.st_dev, known.st_ino))
    }

    /// Takes the file that its path names now, and locks it.
    fn open_again(&mut self) -> Result<(), String> {
        // Who may read the log may be told by its mode.
        let mode = Mode::from_raw_mode(fstat(&self.fd).map_err(said)?.st_mode & 0o777);
        self.end();
        let broker = self.broker.as_ref();
        let found = Found::open_as(&self.path, self.durability, Some(mode), broker)?;
        let Found::File(file) = found else {
            return Err("it is no regular file any more".to_owned());
        };
        *self = Self { unlocked: self.unlocked, ..file };
        self.lock()
    }

    /// Whether the time of its records may be over, by what is known without a look at it.
    pub(super) fn may_be_over(&self, rotation: &Rotation) -> bool {
        let allowed = self.archived_from.is_none_or(|from| from <= Instant::now());
        let now = archive::span(rotation, archive::now_seconds());
        !rotation.every.is_zero() && now != self.span && allowed
    }

    fn is_due(&self, rotation: &Rotation, bytes: u64) -> bool {
        let by_size = rotation.size > 0 && bytes >= rotation.size;
        let by_time = !rotation.every.is_zero()
            && archive::span(rotation, archive::now_seconds()) != self.span;
        let allowed = self.archived_from.is_none_or(|from| from <= Instant::now());
        bytes > 0 && (by_size || by_time) && allowed
    }

    /// Archives it under the lock, so that nobody writes to it meanwhile.
    fn archive(&mut self, rotation: &Rotation, told: &mut Begun) -> Result<(), String> {
        let durable = self.durability != Durability::None;
        let emptied = match archive::make(&self.path, &self.fd, rotation, durable) {
            Ok(emptied) => emptied,
            Err(why) => {
                // A file that grows too long is better than records that are lost.
                tracing::warn!(file = %self.path.display(), "{why}; tried again in a minute");
                self.archived_from = Some(Instant::now() + ARCHIVE_RETRY);
                return Ok(());
            }
        };
        if emptied {
            self.offset = 0;
            self.span = archive::span(rotation, archive::now_seconds());
        } else {
            self.open_again()?;
            self.offset = fstat(&self.fd).map_err(said)?.st_size as u64;
            self.span = archive::span(rotation, archive::now_seconds());
        }
        told.rotated = true;
        archive::tidy_up(&self.path, rotation, durable);
        Ok(())
    }

    pub(super) fn splice(&mut self, pipe: &OwnedFd, count: usize) -> Result<usize, Errno> {
        let moved = splice_out(pipe, &self.fd, Some(&mut self.offset), count, SpliceFlags::MOVE);
        moved.map_err(|error| error.errno()).and_then(some)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let written = rustix::io::pwrite(&self.fd, bytes, self.offset)?;
        self.offset += written as u64;
        some(written)
    }
}

fn synchronous_file(path: &Path, durability: synchronous::Durability) -> Result<OwnedFd, String> {
    let opened = SynchronousFile::open(path, durability);
    opened.map(OwnedFd::from).map_err(|error| said(error.errno()))
}

impl Rotation {
    fn is_on(&self) -> bool {
        self.size > 0 || !self.every.is_zero()
    }
}

/// Seconds since 1970.
pub(super) fn seconds_of(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
