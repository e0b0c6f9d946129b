//! Watching directories (inotify(7)), from the one that is served down.
//!
//! Each directory is watched before the next name of the path is opened beneath it, so that
//! whatever happens to that name from then on is noted.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;

use super::GivenUp;
use crate::limits::OPEN_TRIES_MAX;
use crate::ring::op::Watch;

/// What became of one directory on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is watched.
    Watched(Watch),
    /// There is no directory of this name. Were there one, the directory above would tell.
    Absent,
    /// It cannot be watched: a link, which may lead anywhere; a file system that others change or
    /// that does not tell; or the limit of watches (fs.inotify.max_user_watches) is reached.
    Unwatchable,
}

/// Everything that changes what a name leads to. Changes of content are seen by statx of the
/// open file: other names of it may lie in directories that nobody watches.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

pub(super) fn watch(
    watcher: BorrowedFd<'_>,
    root: OwnedFd,
    path: &[u8],
    given_up: &GivenUp,
) -> Result<Vec<Step>, Errno> {
    let mut here = root;
    let mut steps = vec![watch_one(watcher, &here)];
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    while let Some(Step::Watched(_)) = steps.last()
        && let Some(name) = names.next()
    {
        given_up.check()?;
        let step = match open(&here, name) {
            Ok(directory) => {
                here = directory;
                watch_one(watcher, &here)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Step::Absent,
            // LOOP: a link.
            Err(_) => Step::Unwatchable,
        };
        steps.push(step);
    }
    Ok(steps)
}

fn open(at: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut tries = 0;
    loop {
        match openat2(at, &name, flags, Mode::empty(), resolve) {
            // openat2(2): a rename raced with the walk.
            Err(Errno::AGAIN | Errno::INTR) if tries < OPEN_TRIES_MAX => tries += 1,
            opened => return opened,
        }
    }
}

fn watch_one(watcher: BorrowedFd<'_>, directory: &OwnedFd) -> Step {
    if !tells_all_changes(directory.as_fd()) {
        return Step::Unwatchable;
    }
    // inotify has no call that takes a descriptor.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    match inotify::add_watch(watcher, path, CHANGES) {
        Ok(number) => Step::Watched(Watch(number)),
        // NOSPC: the limit. NOENT: no /proc. ACCES: it may be searched and not read.
        Err(_) => Step::Unwatchable,
    }
}

/// Whether every change of a directory comes through this kernel's own file system, by the type
/// that statfs tells. A network file system is changed by others, and beneath an overlay or a
/// file system in user space there is one that nobody watches. What is not known is not trusted.
pub fn tells_all_changes(directory: BorrowedFd<'_>) -> bool {
    const LOCAL: [u32; 15] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x2fc1_2fc1, // zfs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x3153_464a, // jfs
        0xe0f5_e1e2, // erofs
        0x7371_7368, // squashfs
        0x9660,      // iso9660
        0x4d44,      // vfat
        0x2011_bab0, // exfat
        0x7366_746e, // ntfs3
    ];
    fstatfs(directory).is_ok_and(|told| LOCAL.contains(&(told.f_type as u32)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::skipped;

    #[test]
    fn the_way_is_watched_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = || OwnedFd::from(fs::File::open(directory.path()).unwrap());
        if !tells_all_changes(root().as_fd()) {
            return skipped("watches", "the temporary directory is not on a local file system");
        }
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/file"), "x").unwrap();
        std::os::unix::fs::symlink("a", directory.path().join("link")).unwrap();
        let watcher = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let steps =
            |path: &[u8]| watch(watcher.as_fd(), root(), path, &GivenUp::default()).unwrap();
        let all = steps(b"a/b");
        assert!(
            matches!(all[..], [Step::Watched(a), Step::Watched(b), Step::Watched(c)]
            if a != b && b != c),
            "{all:?}"
        );
        assert_eq!(steps(b""), all[..1], "the same directory has the same number");
        assert_eq!(steps(b"a/none/c")[1..], [all[1], Step::Absent]);
        assert_eq!(steps(b"a/file/c")[1..], [all[1], Step::Absent]);
        assert_eq!(steps(b"link/b")[1..], [Step::Unwatchable]);
    }
}
