//! Jobs of the simulated kernel: helpers that work in virtual time, in the order of the line that
//! the threads have (`ring/job/line.rs`).

use std::os::fd::RawFd;

use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_128;

use super::operations::{NO_DESCRIPTOR, Outcome, What};
use super::state::State;
use crate::limits::HELPERS_MAX;
use crate::ring::job::{Job, Step};
use crate::ring::mount::{MountKind, Noting};
use crate::ring::op::{Facts, FileKind};

impl What {
    /// What it is about.
    pub(super) fn descriptor(&self) -> RawFd {
        match self {
            Self::Readable(fd)
            | Self::Triggered(fd)
            | Self::Writable(fd)
            | Self::Accept { fd, .. }
            | Self::ReadHead(fd)
            | Self::Shutdown(fd)
            | Self::Close(fd)
            | Self::Stat(fd)
            | Self::Read { fd, .. }
            | Self::Warm { fd, .. }
            | Self::Forget { fd, .. }
            | Self::Send { fd, .. }
            | Self::ReadDirectory { fd, .. }
            | Self::Digest { fd, .. }
            | Self::Watch { fd, .. }
            | Self::Open { fd, .. } => *fd,
            Self::Mount(_) => NO_DESCRIPTOR,
        }
    }

    pub(super) fn is_job(&self) -> bool {
        matches!(
            self,
            Self::ReadDirectory { .. } | Self::Digest { .. } | Self::Watch { .. } | Self::Mount(_)
        )
    }
}

impl State {
    /// Puts an operation that is a job into the line of the helpers.
    pub(super) fn queue_job(&mut self, order: u64, what: &What) {
        if what.is_job() {
            self.helpers.put(self.mount_of(what), order);
        }
    }

    /// Whether no helper has begun a job yet. Helpers that are free begin what they may.
    pub(super) fn waits_for_a_helper(&mut self, order: u64) -> bool {
        while self.helpers.at_work() < HELPERS_MAX
            && let Some((mount, begun)) = self.helpers.begin()
        {
            self.helped.insert(begun, mount);
        }
        !self.helped.contains_key(&order)
    }

    /// An operation has ended, or was taken back.
    pub(super) fn end_job(&mut self, order: u64) {
        match self.helped.remove(&order) {
            Some(mount) => self.helpers.end(mount),
            None => drop(self.helpers.take_back(|waiting| *waiting == order)),
        }
    }

    pub(super) fn read_directory(&mut self, fd: RawFd, follow_links: bool) -> Outcome {
        let (inode, _) = self.file(fd);
        match self.files.entries(inode, follow_links) {
            Ok(mut entries) => {
                // No file system promises an order.
                self.random.shuffle(&mut entries);
                Outcome { entries, ..Outcome::of(Ok(0)) }
            }
            Err(errno) => Outcome::of(Err(errno)),
        }
    }

    pub(super) fn digest(&mut self, fd: RawFd, known: Facts) -> Outcome {
        self.disturb(fd);
        let (inode, _) = self.file(fd);
        if !self.files.facts(inode).is_still(&known) {
            return Outcome::of(Err(Errno::STALE));
        }
        match self.files.bytes(inode, 0, usize::MAX) {
            Ok(bytes) => {
                let digest = xxh3_128(bytes).to_le_bytes().to_vec();
                Outcome { bytes: digest, ..Outcome::of(Ok(known.size as u32)) }
            }
            Err(errno) => Outcome::of(Err(errno)),
        }
    }
}

/// The reactor has found a job that ended well.
pub(super) fn bring_home(
    job: &mut Job,
    bytes: &[u8],
    entries: &[(Vec<u8>, Facts)],
    made: Vec<Step>,
) {
    match job {
        Job::Watch { steps, .. } => *steps = made,
        Job::ReadDirectory { reader, .. } => {
            let reader = reader.as_mut().expect("the reader of a job in flight lies in it");
            for (name, facts) in entries {
                let takes = facts.kind != FileKind::Special && reader.wants(name);
                if takes && !reader.take(name, facts) {
                    break;
                }
            }
            reader.finish();
        }
        Job::Digest { digest, .. } => {
            *digest = u128::from_le_bytes(bytes.try_into().expect("a digest has 16 bytes"));
        }
        Job::Mount { kind, noting, .. } => {
            *kind = match bytes[0] {
                0 => MountKind::InMemory,
                2 => MountKind::Remote,
                3 => MountKind::Foreign,
                4 => MountKind::NonBlocking,
                _ => MountKind::Blocking,
            };
            *noting = if bytes[1] == 1 { Noting::Rarely } else { Noting::Never };
        }
    }
}
