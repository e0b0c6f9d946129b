//! What is known of an open file.

use crate::base::WallClock;
use crate::limits::ACCESS_KEPT;

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
    /// mount(8)): once after each change, and once a day.
    pub fn is_access_due(&self, wall: WallClock) -> bool {
        self.accessed <= self.modified.max(self.changed) || wall.since(self.accessed) >= ACCESS_KEPT
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
