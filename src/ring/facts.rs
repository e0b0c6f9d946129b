//! What is known of an open file.

use crate::base::WallClock;
use crate::limits::{ACCESS_KEPT, FUTURE_MIN};

/// What statx tells of an open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the file is.
    pub kind: FileKind,
    /// Bytes in the file.
    pub size: u64,
    /// Last change of the content.
    pub modified: WallClock,
    /// Last change of the content or of the inode.
    pub changed: WallClock,
    /// Last read that the file system took note of.
    pub accessed: WallClock,
    /// Major and minor number of the device that holds the file.
    pub device: (u32, u32),
    /// The inode's number on its device.
    pub inode: u64,
    /// The mount that the file was reached by.
    pub mount: u64,
    /// Alignment that O_DIRECT needs of memory, in bytes; 0 where it is refused. What the file
    /// system does not tell is assumed.
    pub direct_memory: u32,
    /// Alignment that O_DIRECT needs of offsets and lengths, in bytes; 0 likewise.
    pub direct_offset: u32,
}

impl Facts {
    /// Whether a read takes note of its time, where that is done as most mounts do it (relatime,
    /// mount(8)): once after each change, and once a day. As long as a change lies in the future,
    /// each read is before it.
    pub fn is_access_due(&self, wall: WallClock) -> bool {
        let changed = self.modified.max(self.changed);
        self.accessed <= changed
            || self.is_of_the_future(wall)
            || wall.since(self.accessed) >= ACCESS_KEPT
    }

    /// Whether its last change lies ahead, as somebody may have set it.
    pub fn is_of_the_future(&self, wall: WallClock) -> bool {
        self.modified.max(self.changed).since(wall) >= FUTURE_MIN
    }

    /// Whether both are of the same file, unchanged in between.
    pub fn is_still(&self, other: &Self) -> bool {
        (self.device, self.inode, self.size, self.modified, self.changed)
            == (other.device, other.inode, other.size, other.modified, other.changed)
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A device, FIFO or socket.
    #[default]
    Special,
}

/// Room for a `struct statx` as the kernel writes it.
pub type Sheet = [u64; 32];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_noted_after_a_change_once_a_day_and_as_long_as_a_change_is_in_the_future() {
        let at = |seconds| WallClock { seconds, nanoseconds: 0 };
        let facts = |accessed, modified| Facts {
            accessed: at(accessed),
            modified: at(modified),
            ..Facts::default()
        };
        let now = at(1_000_000);
        for (accessed, modified, due) in [
            (999_000, 990_000, false),
            (990_000, 999_000, true),
            (999_000, 999_000, true),
            (900_000, 100_000, true),
            (999_000, 2_000_000, true),
            (2_000_001, 2_000_000, true),
        ] {
            let told = facts(accessed, modified).is_access_due(now);
            assert_eq!(told, due, "read at {accessed}, changed at {modified}");
        }
    }
}
