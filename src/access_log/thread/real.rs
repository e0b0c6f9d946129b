//! The plumbing of Linux.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fchmod, fdatasync, fstat, openat, stat};
use rustix::io::{Errno, ioctl_fionread};

use super::plumbing::{End, Facts, Opened, Plumbing};
use super::program::Program;
use super::target::{said, some};
use super::{Feed, archive};
use crate::access_log::options::{Durability, Rotation};
use crate::broker::Broker;
use crate::limits::LOG_LOCK_PATIENCE;
use crate::sys::lock;
use crate::techniques::pipe::{SpliceFlags, splice_out, tee};
use crate::techniques::synchronous::{self, SynchronousFile};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Real {
    broker: Option<Arc<Broker>>,
    /// Where bytes go that every sink has.
    nowhere: Option<Arc<OwnedFd>>,
}

impl Real {
    /// A broker starts programs, and opens what this process may not open any more. Bytes are
    /// thrown away where there are several sinks.
    pub(super) fn new(broker: Option<&Arc<Broker>>, sinks: usize) -> Self {
        let open = || std::fs::File::options().write(true).open("/dev/null").ok();
        let nowhere = if sinks > 1 { open() } else { None };
        let nowhere = nowhere.map(|nowhere| Arc::new(OwnedFd::from(nowhere)));
        Self { broker: broker.cloned(), nowhere }
    }
}

impl End for OwnedFd {
    fn number(&self) -> i32 {
        self.as_raw_fd()
    }

    fn read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(self, into)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(self, bytes)
    }

    fn tee(&self, to: &Self, count: usize) -> Result<usize, Errno> {
        tee(self, to, count, SpliceFlags::NONBLOCK).map_err(|error| error.errno())
    }

    fn held(&self) -> Result<u64, Errno> {
        ioctl_fionread(self)
    }
}

impl Plumbing for Real {
    type End = OwnedFd;
    type File = OwnedFd;
    type Program = Program;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_seconds(&self) -> i64 {
        archive::now_seconds()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Feed::pipe()
    }

    fn wait_for_pipes(&self, pipes: &[&OwnedFd], time: Duration) {
        let mut pipes: Vec<_> = pipes.iter().map(|fd| PollFd::new(*fd, PollFlags::OUT)).collect();
        // What an interrupt or the end of the time means is seen the next time.
        let _ = poll(&mut pipes, Some(&timespec(time)));
    }

    fn discard(&self, pipe: &OwnedFd, count: usize) -> Result<usize, Errno> {
        let nowhere = self.nowhere.as_ref().ok_or(Errno::NODEV)?;
        let moved = splice_out(pipe, nowhere, None, count, SpliceFlags::empty());
        moved.map_err(|error| error.errno())
    }

    fn stdout(&self) -> Result<OwnedFd, String> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        stdout.map_err(|error| error.to_string())
    }

    /// The broker opens it where this process may not, and makes one as it makes any: its directory
    /// may be another one of that name than the one that the process was confined to.
    fn open(
        &self,
        path: &Path,
        durability: Durability,
        mode: Option<u32>,
    ) -> Result<Opened<OwnedFd>, String> {
        let fd = match (open(path, mode), &self.broker) {
            (Err(Errno::ACCESS | Errno::PERM), Some(broker)) => {
                let file = broker.file(path);
                return file
                    .map(Opened::File)
                    .map_err(|denied| format!("this process may not write there, and {denied}"));
            }
            (opened, _) => opened.map_err(said)?,
        };
        match FileType::from_raw_mode(fstat(&fd).map_err(said)?.st_mode) {
            FileType::RegularFile => durable(fd, path, durability).map(Opened::File),
            FileType::Directory => Err(said(Errno::ISDIR)),
            _ => {
                // It was opened without waiting for a reader; written it is by a thread that may
                // wait.
                let flags = rustix::fs::fcntl_getfl(&fd).map_err(said)?;
                rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(said)?;
                Ok(Opened::Stream(fd))
            }
        }
    }

    fn start(&self, command: &str) -> Result<Program, String> {
        Program::start(command, self.broker.as_deref())
    }

    fn splice(
        &self,
        from: &OwnedFd,
        to: &OwnedFd,
        offset: Option<&mut u64>,
        count: usize,
    ) -> Result<usize, Errno> {
        // Not to be interrupted by a full pipe of a reader: this thread may wait.
        let flags = if offset.is_some() { SpliceFlags::MOVE } else { SpliceFlags::empty() };
        let moved = splice_out(from, to, offset, count, flags);
        moved.map_err(|error| error.errno()).and_then(some)
    }

    fn write(&self, to: &OwnedFd, bytes: &[u8], offset: Option<u64>) -> Result<usize, Errno> {
        let written = match offset {
            Some(offset) => rustix::io::pwrite(to, bytes, offset),
            None => rustix::io::write(to, bytes),
        };
        written.and_then(some)
    }

    fn wait_for_room(&self, file: &OwnedFd, time: Duration) -> bool {
        is_writable(file, time)
    }

    fn is_pipe(&self, file: &OwnedFd) -> bool {
        is_pipe(file)
    }

    fn unread(&self, file: &OwnedFd) -> Option<u64> {
        ioctl_fionread(file).ok()
    }

    fn left_unread(&self, file: &OwnedFd) -> Option<u64> {
        left_unread(file)
    }

    fn lock(&self, file: &OwnedFd) -> io::Result<bool> {
        lock::exclusive(file, LOG_LOCK_PATIENCE)
    }

    fn unlock(&self, file: &OwnedFd) {
        // Closing lets go, too; there is nothing else to be done about it.
        let _ = lock::release(file);
    }

    fn look(&self, file: &OwnedFd) -> Result<Facts, Errno> {
        fstat(file).map(|known| facts(&known))
    }

    fn look_at(&self, path: &Path) -> Result<Facts, Errno> {
        stat(path).map(|known| facts(&known))
    }

    fn archive(
        &self,
        path: &Path,
        file: &OwnedFd,
        rotation: &Rotation,
        durable: bool,
    ) -> Result<bool, String> {
        archive::make(path, file, rotation, durable)
    }

    fn tidy_up(&self, path: &Path, rotation: &Rotation, durable: bool) {
        archive::tidy_up(path, rotation, durable);
    }
}

pub(super) fn is_writable(fd: impl AsFd, time: Duration) -> bool {
    let time = timespec(time);
    matches!(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&time)), Ok(1..))
}

pub(super) fn is_pipe(fd: impl AsFd) -> bool {
    let kind = fstat(fd).map(|known| FileType::from_raw_mode(known.st_mode));
    kind == Ok(FileType::Fifo)
}

/// How many bytes lie in a pipe that nobody reads any more; none while somebody does. That is told
/// whatever is asked for (poll(2)).
pub(super) fn left_unread(fd: impl AsFd) -> Option<u64> {
    let mut polled = [PollFd::new(&fd, PollFlags::empty())];
    poll(&mut polled, Some(&timespec(Duration::ZERO))).ok()?;
    polled[0].revents().contains(PollFlags::ERR).then(|| ioctl_fionread(&fd).ok())?
}

pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() }
}

fn facts(known: &Stat) -> Facts {
    Facts {
        identity: (known.st_dev, known.st_ino),
        has_name: known.st_nlink > 0,
        bytes: known.st_size as u64,
        modified: known.st_mtime,
        mode: known.st_mode & 0o777,
    }
}

/// Opens it; one that is made has this mode, whatever the umask takes away.
fn open(path: &Path, mode: Option<u32>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // Asked to create it, the kernel refuses FIFOs of others in shared directories.
    match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            let asked = Mode::from_raw_mode(mode.unwrap_or(0o644));
            let fd = openat(CWD, path, flags | OFlags::CREATE, asked)?;
            if mode.is_some() {
                fchmod(&fd, asked)?;
            }
            Ok(fd)
        }
        other => other,
    }
}

fn durable(fd: OwnedFd, path: &Path, durability: Durability) -> Result<OwnedFd, String> {
    let durability = match durability {
        Durability::None => return Ok(fd),
        Durability::Data => synchronous::Durability::Data,
        Durability::Full => synchronous::Durability::DataAndMetadata,
    };
    let opened = SynchronousFile::open(path, durability);
    let fd = opened.map(OwnedFd::from).map_err(|error| said(error.errno()))?;
    // What was written there before, by an earlier configuration, counts as durable, too.
    fdatasync(&fd).map_err(said)?;
    // It may be new, or stand where another was renamed: its records are only as durable as its
    // name.
    archive::sync_directory_of(path);
    Ok(fd)
}
