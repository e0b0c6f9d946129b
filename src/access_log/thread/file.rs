//! A log file: locked for each batch, written at its end, archived when it is time.
//!
//! It is not opened with O_APPEND, which splice(2) refuses. So that two processes that hand over
//! and a truncation from outside lose nothing, each batch takes the file's lock, sets the offset
//! to where the file ends now, and lets go. A file that was archived by the other process is
//! opened anew before anything is written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;

use super::archive;
use super::plumbing::{Facts, Opened, Plumbing};
use super::target::said;
use crate::access_log::options::{Durability, Rotation};

/// What lies at a path.
pub(super) enum Found<P: Plumbing> {
    File(LogFile<P>),
    Stream(P::File),
}

/// See the module.
pub(super) struct LogFile<P: Plumbing> {
    fd: P::File,
    path: PathBuf,
    durability: Durability,
    plumbing: P,
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

impl<P: Plumbing> Found<P> {
    pub(super) fn open(path: &Path, durability: Durability, plumbing: &P) -> Result<Self, String> {
        Self::open_as(path, durability, None, plumbing)
    }

    /// The same; a file that is made has this mode, whatever the umask takes away.
    fn open_as(
        path: &Path,
        durability: Durability,
        mode: Option<u32>,
        plumbing: &P,
    ) -> Result<Self, String> {
        match plumbing.open(path, durability, mode)? {
            Opened::File(fd) => Ok(Self::File(LogFile::of(fd, path, durability, plumbing))),
            Opened::Stream(fd) => Ok(Self::Stream(fd)),
        }
    }
}

impl<P: Plumbing> LogFile<P> {
    fn of(fd: P::File, path: &Path, durability: Durability, plumbing: &P) -> Self {
        Self {
            fd,
            path: path.to_owned(),
            durability,
            plumbing: plumbing.clone(),
            locked: false,
            unlocked: false,
            // No line of this opening was begun before.
            offset: u64::MAX,
            span: u64::MAX,
            gone: false,
            archived_from: None,
        }
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
        let mut known = self.plumbing.look(&self.fd).map_err(said)?;
        if !known.has_name || rotation.is_on() && !begun && !self.is_at_its_path(&known) {
            // It was removed, or another process has archived it.
            self.gone = true;
            self.open_again()?;
            told.rotated = true;
            told.torn = begun;
            known = self.plumbing.look(&self.fd).map_err(said)?;
        }
        let end = known.bytes;
        told.torn |= begun && end != self.offset;
        if end == 0 {
            // What comes is of now.
            self.span = archive::span(rotation, self.plumbing.wall_seconds());
        } else if self.span == u64::MAX || end < self.offset {
            // It was not looked at yet, or another process has emptied it into an archive.
            self.span = archive::span(rotation, known.modified);
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
            self.plumbing.unlock(&self.fd);
        }
    }

    fn lock(&mut self) -> Result<(), String> {
        match self.plumbing.lock(&self.fd) {
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

    fn is_at_its_path(&self, known: &Facts) -> bool {
        let named = self.plumbing.look_at(&self.path);
        named.is_ok_and(|named| named.identity == known.identity)
    }

    /// Takes the file that its path names now, and locks it.
    fn open_again(&mut self) -> Result<(), String> {
        // Who may read the log may be told by its mode.
        let mode = self.plumbing.look(&self.fd).map_err(said)?.mode;
        self.end();
        let found = Found::open_as(&self.path, self.durability, Some(mode), &self.plumbing)?;
        let Found::File(file) = found else {
            return Err("it is no regular file any more".to_owned());
        };
        *self = Self { unlocked: self.unlocked, ..file };
        self.lock()
    }

    /// Whether the time of its records may be over, by what is known without a look at it.
    pub(super) fn may_be_over(&self, rotation: &Rotation) -> bool {
        let allowed = self.archived_from.is_none_or(|from| from <= self.plumbing.now());
        let now = archive::span(rotation, self.plumbing.wall_seconds());
        !rotation.every.is_zero() && now != self.span && allowed
    }

    fn is_due(&self, rotation: &Rotation, bytes: u64) -> bool {
        let by_size = rotation.size > 0 && bytes >= rotation.size;
        let by_time = !rotation.every.is_zero()
            && archive::span(rotation, self.plumbing.wall_seconds()) != self.span;
        let allowed = self.archived_from.is_none_or(|from| from <= self.plumbing.now());
        bytes > 0 && (by_size || by_time) && allowed
    }

    /// Archives it under the lock, so that nobody writes to it meanwhile.
    fn archive(&mut self, rotation: &Rotation, told: &mut Begun) -> Result<(), String> {
        let durable = self.durability != Durability::None;
        let emptied = match self.plumbing.archive(&self.path, &self.fd, rotation, durable) {
            Ok(emptied) => emptied,
            Err(why) => {
                // A file that grows too long is better than records that are lost.
                tracing::warn!(file = %self.path.display(), "{why}; tried again in a minute");
                self.archived_from = Some(self.plumbing.now() + ARCHIVE_RETRY);
                return Ok(());
            }
        };
        if emptied {
            self.offset = 0;
            self.span = archive::span(rotation, self.plumbing.wall_seconds());
        } else {
            self.open_again()?;
            self.offset = self.plumbing.look(&self.fd).map_err(said)?.bytes;
            self.span = archive::span(rotation, self.plumbing.wall_seconds());
        }
        told.rotated = true;
        self.plumbing.tidy_up(&self.path, rotation, durable);
        Ok(())
    }

    pub(super) fn splice(&mut self, pipe: &P::End, count: usize) -> Result<usize, Errno> {
        self.plumbing.splice(pipe, &self.fd, Some(&mut self.offset), count)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let written = self.plumbing.write(&self.fd, bytes, Some(self.offset))?;
        self.offset += written as u64;
        Ok(written)
    }
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
