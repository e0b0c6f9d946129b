//! The entries of a directory, as they would be opened.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, accessat,
    openat2, statx,
};
use rustix::io::Errno;

use super::{GivenUp, Reader};
use crate::limits::OPEN_TRIES_MAX;
use crate::ring::inline::facts_of;
use crate::ring::op::{Facts, FileKind};

/// Shows every entry that this process could open to the reader: what is gone meanwhile, is no
/// file or directory, may not be read, or is a link that is not followed or leaves, is passed
/// over. `links` is what links have to stay beneath, and the path from there; none passes all
/// links over.
pub(super) fn read(
    directory: BorrowedFd<'_>,
    links: Option<(BorrowedFd<'_>, &[u8])>,
    reader: &mut dyn Reader,
    given_up: &GivenUp,
) -> Result<u32, Errno> {
    // It opens the directory again: the position in it is then its own.
    let entries = Dir::read_from(directory)?;
    let mut count = 0;
    for entry in entries {
        given_up.check()?;
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || !reader.wants(name.to_bytes()) {
            continue;
        }
        let Some(facts) = look(directory, links, name) else { continue };
        count += 1;
        if !reader.take(name.to_bytes(), &facts) {
            break;
        }
    }
    Ok(count)
}

fn look(
    directory: BorrowedFd<'_>,
    links: Option<(BorrowedFd<'_>, &[u8])>,
    name: &CStr,
) -> Option<Facts> {
    let told = ask(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let facts = facts_of(&told);
    match FileType::from_raw_mode(told.stx_mode.into()) {
        FileType::Symlink => {
            let (root, path) = links?;
            let target = follow(root, path, name)?;
            let told = ask(target.as_fd(), c"", AtFlags::EMPTY_PATH).ok()?;
            let facts = facts_of(&told);
            (may_read(directory, name, &told, facts.kind)).then_some(facts)
        }
        _ => may_read(directory, name, &told, facts.kind).then_some(facts),
    }
}

/// Where a link leads, if it stays beneath the root.
fn follow(root: BorrowedFd<'_>, path: &[u8], name: &CStr) -> Option<impl AsFd> {
    let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
    let path = CString::new([path, separator, name.to_bytes()].concat()).ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..OPEN_TRIES_MAX {
        match openat2(root, &path, flags, Mode::empty(), resolve) {
            // openat2(2): a rename raced with the walk beneath the root.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.ok(),
        }
    }
    None
}

fn ask(at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Statx, Errno> {
    statx(at, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// Whether an open would be allowed. What everybody may read need not be asked for one by one.
fn may_read(at: BorrowedFd<'_>, name: &CStr, told: &Statx, kind: FileKind) -> bool {
    let (all, wanted) = match kind {
        FileKind::Regular => (0o444, Access::READ_OK),
        FileKind::Directory => (0o555, Access::READ_OK | Access::EXEC_OK),
        FileKind::Special => return false,
    };
    u32::from(told.stx_mode) & all == all || accessat(at, name, wanted, AtFlags::EACCESS).is_ok()
}
