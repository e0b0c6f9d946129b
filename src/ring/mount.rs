//! What is told apart of mounts.

use std::os::fd::AsFd;

use rustix::fs::StatVfsMountFlags as Flags;

/// The mount of a file that was opened without knowing where, until its facts tell.
pub(super) const UNKNOWN_MOUNT: u64 = u64::MAX;

/// What operations on the files of a mount may do to the thread that starts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// It is not known yet: they may block.
    #[default]
    Unproven,
    /// All is in memory, or in swap: they never block on anything else.
    InMemory,
    /// What is in memory is read without blocking, and reads can be told to wait for nothing else.
    NonBlocking,
    /// They may block for as long as somebody else wants, but for pages that are in memory: file
    /// systems in user space, those that pass on to others, and old ones of local disks.
    Blocking,
    /// They may block even for pages that are in memory, as those of the network do to ask whether
    /// these are still good, and those that note each read (strictatime).
    Remote,
    /// The same, and even facts of an open file are asked of others each time.
    Foreign,
}

impl MountKind {
    /// Whether an operation may block the thread that submits it.
    pub fn may_block(self) -> bool {
        matches!(self, Self::Unproven | Self::Blocking | Self::Remote | Self::Foreign)
    }
}

/// When reads of the files of a mount write down that they were read, for which they may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noting {
    /// Never: noatime, or nobody may write there.
    Never,
    /// The first after a change, and the first of a day (relatime), as on most.
    #[default]
    Rarely,
    /// Each of them (strictatime).
    Always,
}

impl Noting {
    /// Of the mount that an open file lies on, which is asked for it.
    pub(super) fn of(file: impl AsFd) -> Self {
        let told = rustix::fs::fstatvfs(file).map(|told| told.f_flag);
        match told {
            Ok(flags) if flags.intersects(Flags::NOATIME | Flags::RDONLY) => Self::Never,
            Ok(flags) if !flags.contains(Flags::RELATIME) => Self::Always,
            _ => Self::Rarely,
        }
    }
}
