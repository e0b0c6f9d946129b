//! What may be expected of the files of a mount, found out by one of them.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::ring::mount::{MountKind, Noting};
use crate::sys;
use crate::techniques::{Error, residency};

/// An offset that no file reaches.
pub(in crate::ring) const FAR: u64 = i64::MAX as u64 - 1;

pub(super) fn look(file: BorrowedFd<'_>, mount: u64) -> Result<(MountKind, Noting), Errno> {
    match residency::read_ahead(file, FAR, 1).map_err(Error::errno) {
        Ok(_) => Ok(local(Noting::of(file))),
        Err(Errno::OPNOTSUPP) => {
            let name = sys::mounts::file_system(mount);
            let name = name.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            let kind = kind_of(name.as_deref());
            let silent = name.is_some_and(|name| notes_nothing(&name));
            match kind {
                MountKind::Blocking if !silent => match Noting::of(file) {
                    Noting::Always => Ok((MountKind::Remote, Noting::Never)),
                    noting => Ok((kind, noting)),
                },
                _ => Ok((kind, Noting::Never)),
            }
        }
        Err(errno) => Err(errno),
    }
}

/// What a file system is whose reads can be told not to wait.
pub(in crate::ring) fn local(noting: Noting) -> (MountKind, Noting) {
    match noting {
        Noting::Always => (MountKind::Remote, noting),
        Noting::Never | Noting::Rarely => (MountKind::NonBlocking, noting),
    }
}

/// Whether the kernel notes no reads of a file system, whatever its options say: its server does.
fn notes_nothing(file_system: &[u8]) -> bool {
    file_system.starts_with(b"fuse") || file_system == b"virtiofs"
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
