//! Jobs: what the ring has no operation for and what may take long, done by helper threads.
//!
//! A job is an operation like any other to those who start it: it owns its operands, it
//! completes once, and its result comes home in it. What crosses to the helper thread is a
//! [`Work`], with descriptors of its own, so a job that was given up needs nothing of the ring
//! any more and may end whenever its file system lets it.

mod digest;
mod directory;
pub(super) mod line;
mod watch;
pub(super) mod way;

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::handle::File;
use super::mount::MountKind;
use super::op::Facts;
use crate::sys;

pub use watch::tells_all_changes;
pub use way::{End, Passed, Step, Way};

/// One job for a helper thread.
#[derive(Debug)]
pub enum Job {
    /// Read a directory and show each entry that could be opened to a reader. Result: how many
    /// entries it was shown.
    ReadDirectory {
        /// The directory.
        directory: File,
        /// The mount that it was reached by.
        mount: u64,
        /// What links of it have to stay beneath.
        root: File,
        /// The path from there to the directory; empty if they are the same.
        path: Box<[u8]>,
        /// Whether links are followed. Else they are passed over.
        follow_links: bool,
        /// Who sees the entries; gone if the job was given up or has failed by a panic.
        reader: Option<Box<dyn Reader>>,
    },
    /// Hash a whole file, as long as its facts hold; [`Errno::STALE`] if they do not. Result:
    /// bytes.
    Digest {
        /// The file.
        file: File,
        /// What is known of it.
        facts: Box<Facts>,
        /// Whether it leaves nothing in the page cache that was not there before.
        passes: bool,
        /// The digest: XXH3 in 128 bits.
        digest: u128,
    },
    /// Watch a directory and those on the way to it, from the one it lies beneath, and what names
    /// in it lead to by links. Result: how many steps were made.
    Watch {
        /// Who watches.
        watcher: File,
        /// The directory that the way begins at.
        root: File,
        /// The mount that this is about.
        mount: u64,
        /// What is watched from there.
        way: Way,
        /// What was found, one step for the root and one for each name of the path, up to the
        /// first that is not watched, then one for the names of the way if it has any.
        steps: Vec<Step>,
    },
    /// Find out what the file system of a mount is, whose files cannot be told not to block.
    Mount {
        /// The mount.
        mount: u64,
        /// How often mounts had come or gone when it was asked for.
        changes: u64,
        /// The answer.
        kind: MountKind,
    },
}

/// Who sees the entries of a directory, on a helper's thread.
pub trait Reader: Any + Send + std::fmt::Debug {
    /// Whether an entry of this name is of any interest; its facts are asked for if so.
    fn wants(&mut self, name: &[u8]) -> bool;

    /// Takes an entry, what a link leads to in place of the link. `false` ends the reading.
    fn take(&mut self, name: &[u8], facts: &Facts) -> bool;

    /// Makes of the entries what is wanted of them; there are no more.
    fn finish(&mut self);
}

impl Job {
    /// The mount that it is about. One helper at most works on each.
    pub(super) fn mount(&self) -> u64 {
        match self {
            Self::ReadDirectory { mount, .. } | Self::Watch { mount, .. } => *mount,
            Self::Digest { facts, .. } => facts.mount,
            // The list of mounts is asked, not the mount.
            Self::Mount { .. } => 0,
        }
    }

    /// The part that crosses to a helper.
    pub(super) fn hand_out(&mut self) -> Result<Work, Errno> {
        match self {
            Self::ReadDirectory { directory, root, path, follow_links, reader, .. } => {
                Ok(Work::ReadDirectory {
                    directory: duplicate(directory)?,
                    root: duplicate(root)?,
                    path: path.clone(),
                    follow_links: *follow_links,
                    reader: reader.take().expect("a job is started with its reader"),
                })
            }
            Self::Digest { file, facts, passes, .. } => {
                let (file, facts) = (duplicate(file)?, facts.clone());
                Ok(Work::Digest { file, facts, passes: *passes })
            }
            Self::Watch { watcher, root, way, .. } => Ok(Work::Watch {
                watcher: duplicate(watcher)?,
                root: duplicate(root)?,
                way: way.clone(),
            }),
            Self::Mount { mount, .. } => Ok(Work::Mount(*mount)),
        }
    }

    /// Takes in what a helper has made.
    pub(super) fn bring_home(&mut self, made: Made) {
        match (self, made) {
            (Self::ReadDirectory { reader, .. }, Made::Read(back)) => *reader = Some(back),
            (Self::Digest { digest, .. }, Made::Digest(made)) => *digest = made,
            (Self::Watch { steps, .. }, Made::Watched(made)) => *steps = made,
            (Self::Mount { kind, .. }, Made::Kind(made)) => *kind = made,
            (_, Made::Nothing) => {}
            (job, made) => unreachable!("{job:?} does not make {made:?}"),
        }
    }
}

/// The operands of a job, on their own.
#[derive(Debug)]
pub(super) enum Work {
    ReadDirectory {
        directory: OwnedFd,
        root: OwnedFd,
        path: Box<[u8]>,
        follow_links: bool,
        reader: Box<dyn Reader>,
    },
    Digest {
        file: OwnedFd,
        facts: Box<Facts>,
        passes: bool,
    },
    Watch {
        watcher: OwnedFd,
        root: OwnedFd,
        way: Way,
    },
    Mount(u64),
}

/// What a job leaves beside its result.
#[derive(Debug, Default)]
pub(super) enum Made {
    #[default]
    Nothing,
    Read(Box<dyn Reader>),
    Digest(u128),
    Watched(Vec<Step>),
    Kind(MountKind),
}

/// Whether a job was given up: it then ends as soon as it can.
#[derive(Debug, Default)]
pub(super) struct GivenUp(AtomicBool);

impl GivenUp {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn check(&self) -> Result<(), Errno> {
        if self.0.load(Ordering::Relaxed) { Err(Errno::CANCELED) } else { Ok(()) }
    }
}

impl Work {
    /// Does it, on the thread that calls.
    pub(super) fn run(self, given_up: &GivenUp) -> (Result<u32, Errno>, Made) {
        match self {
            Self::ReadDirectory { directory, root, path, follow_links, mut reader } => {
                let links = follow_links.then_some((root.as_fd(), &*path));
                let result = directory::read(directory.as_fd(), links, &mut *reader, given_up);
                if result.is_ok() {
                    reader.finish();
                }
                (result, Made::Read(reader))
            }
            Self::Digest { file, facts, passes } => {
                match digest::digest(file.as_fd(), &facts, passes, given_up) {
                    Ok((bytes, digest)) => (Ok(bytes), Made::Digest(digest)),
                    Err(errno) => (Err(errno), Made::Nothing),
                }
            }
            Self::Watch { watcher, root, way } => {
                match watch::watch(watcher.as_fd(), root, &way, given_up) {
                    Ok(steps) => (Ok(steps.len() as u32), Made::Watched(steps)),
                    Err(errno) => (Err(errno), Made::Nothing),
                }
            }
            Self::Mount(mount) => match sys::mounts::file_system(mount) {
                Ok(name) => (Ok(0), Made::Kind(kind_of(name.as_deref()))),
                Err(error) => {
                    (Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)), Made::Nothing)
                }
            },
        }
    }
}

/// What a file system does whose files cannot be told not to block.
fn kind_of(file_system: Option<&[u8]>) -> MountKind {
    match file_system {
        Some(b"tmpfs" | b"ramfs" | b"devtmpfs" | b"hugetlbfs" | b"rootfs") => MountKind::InMemory,
        Some(
            b"overlay" | b"virtiofs" | b"vfat" | b"exfat" | b"iso9660" | b"udf" | b"squashfs"
            | b"erofs" | b"ntfs3" | b"hfsplus",
        ) => MountKind::Blocking,
        Some(name) if name.starts_with(b"fuse") => MountKind::Blocking,
        // What others may have changed meanwhile is asked of them, or of who has the lock.
        Some(
            b"9p" | b"afs" | b"beegfs" | b"cifs" | b"gfs2" | b"gpfs" | b"lustre" | b"ocfs2"
            | b"orangefs" | b"smb3",
        ) => MountKind::Foreign,
        _ => MountKind::Remote,
    }
}

/// A second descriptor: the helper's, which it closes itself.
fn duplicate(file: &File) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(file, 0)
}
