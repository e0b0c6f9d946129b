//! Jobs: what the ring has no operation for and what may take long, done by helper threads.
//!
//! A job is an operation like any other to those who start it: it owns its operands, it
//! completes once, and its result comes home in it. What crosses to the helper thread is a
//! [`Work`], with descriptors of its own, so a job that was given up needs nothing of the ring
//! any more and may end whenever its file system lets it.

mod digest;
mod directory;
pub(super) mod line;
pub(super) mod mount;
mod watch;
pub(super) mod way;

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::handle::File;
use super::mount::{MountKind, Noting};
use super::op::{Facts, Via};

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
    /// Find out what may be expected of the files of a mount.
    Mount {
        /// One of them.
        file: File,
        /// The mount.
        mount: u64,
        /// How often mounts had come or gone when it was asked for.
        changes: u64,
        /// The answer.
        kind: MountKind,
        /// When their reads are noted.
        noting: Noting,
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
            Self::Mount { mount, .. } => *mount,
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
                let (file, facts) = (duplicate(file.of_read(Via::Disk))?, facts.clone());
                Ok(Work::Digest { file, facts, passes: *passes })
            }
            Self::Watch { watcher, root, way, .. } => Ok(Work::Watch {
                watcher: duplicate(watcher)?,
                root: duplicate(root)?,
                way: way.clone(),
            }),
            Self::Mount { file, mount, .. } => Ok(Work::Mount(duplicate(file)?, *mount)),
        }
    }

    /// Takes in what a helper has made.
    pub(super) fn bring_home(&mut self, made: Made) {
        match (self, made) {
            (Self::ReadDirectory { reader, .. }, Made::Read(back)) => *reader = Some(back),
            (Self::Digest { digest, .. }, Made::Digest(made)) => *digest = made,
            (Self::Watch { steps, .. }, Made::Watched(made)) => *steps = made,
            (Self::Mount { kind, noting, .. }, Made::Kind(made, notes)) => {
                (*kind, *noting) = (made, notes);
            }
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
    Mount(OwnedFd, u64),
}

/// What a job leaves beside its result.
#[derive(Debug, Default)]
pub(super) enum Made {
    #[default]
    Nothing,
    Read(Box<dyn Reader>),
    Digest(u128),
    Watched(Vec<Step>),
    Kind(MountKind, Noting),
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
            Self::Mount(file, mount) => match mount::look(file.as_fd(), mount) {
                Ok((kind, noting)) => (Ok(0), Made::Kind(kind, noting)),
                Err(errno) => (Err(errno), Made::Nothing),
            },
        }
    }
}

/// A second descriptor: the helper's, which it closes itself.
fn duplicate(file: &File) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(file, 0)
}
