//! The mounts of this process, as /proc/self/mountinfo lists them (proc_pid_mountinfo(5)). The list
//! is the kernel's own: reading it asks no file system and waits for none.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

const LIST: &str = "/proc/self/mountinfo";

/// The list, open, for a process that may not open it any more.
static KEPT: OnceLock<File> = OnceLock::new();

/// The same once more: each descriptor tells a change once, proc_pid_mountinfo(5), and one is for
/// who waits for it.
static ASKED: OnceLock<Mutex<File>> = OnceLock::new();

/// Keeps the list open from now on.
pub fn keep() {
    // They are kept already, then.
    if let Ok(list) = File::open(LIST) {
        let _ = KEPT.set(list);
    }
    if let Ok(list) = File::open(LIST) {
        let _ = ASKED.set(Mutex::new(list));
    }
}

/// How often mounts were seen to come or go.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// How often mounts have come or gone, as far as anybody has asked.
pub fn seen_changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// How often mounts have come or gone up to now, by one short call that waits for nothing.
pub fn changes() -> u64 {
    let Some(list) = ASKED.get() else { return seen_changes() };
    // Who asks meanwhile is answered when what was told is counted.
    let list = list.lock().unwrap_or_else(PoisonError::into_inner);
    let mut asked = [PollFd::new(&*list, PollFlags::PRI)];
    let told = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    if told.is_ok() && !asked[0].revents().is_empty() {
        CHANGES.fetch_add(1, Ordering::Release);
    }
    seen_changes()
}

/// Waits until there is something to read, mounts have come or gone, or the time has passed. Only
/// one thread may do so.
///
/// # Errors
/// When the descriptors cannot be polled; a signal ends the wait as if the time had passed.
pub fn wait_for(readable: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
    let readable = PollFd::from_borrowed_fd(readable, PollFlags::IN);
    let mut waited = vec![readable];
    // It is always readable, so that alone is not waited for.
    waited.extend(KEPT.get().map(|list| PollFd::new(list, PollFlags::PRI)));
    match poll(&mut waited, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// How often the list is read until it is the same twice.
const READINGS_MAX: u32 = 8;

/// The list as it was at one time. The kernel writes it by the page, and mounts that come or go
/// between two pages leave a line out or tell it twice; two readings in a row that agree have met
/// no such change.
fn list() -> io::Result<Vec<u8>> {
    settled(read)
}

fn settled(mut read: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut before = read()?;
    for _ in 1..READINGS_MAX {
        let now = read()?;
        if now == before {
            break;
        }
        before = now;
    }
    // Where mounts never rest, the last is as good as any.
    Ok(before)
}

fn read() -> io::Result<Vec<u8>> {
    let Some(kept) = KEPT.get() else { return std::fs::read(LIST) };
    // At an offset, since several threads may read; the kernel writes it anew from the first byte.
    let (mut all, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match kept.read_at(&mut part, all.len() as u64)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&part[..count]),
        }
    }
}

/// The name of the file system that a mount is of; none if there is no such mount any more.
///
/// # Errors
/// When the list cannot be read, as where /proc is not mounted.
pub fn file_system(mount: u64) -> io::Result<Option<Box<[u8]>>> {
    let list = list()?;
    let found = lines(&list).find(|line| line.number == mount);
    Ok(found.map(|line| line.file_system.into()))
}

/// The mount that an open file or directory was reached by; none where the kernel does not tell
/// (before 5.8).
pub fn of(fd: BorrowedFd<'_>) -> Option<u64> {
    let told = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (told.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(told.stx_mnt_id)
}

/// File systems whose files may be as long as an offset can tell. What is not known as one of
/// these ends before, or says that it does not know of reads that do not wait.
const UNBOUNDED: [&[u8]; 6] = [b"xfs", b"btrfs", b"bcachefs", b"gfs2", b"ocfs2", b"zfs"];

/// The other mounts when they were last listed, after so many changes.
static BOUNDED: Mutex<Option<(u64, Vec<u64>)>> = Mutex::new(None);

/// Whether the greatest offset lies behind the end of all files that a mount may have; where no
/// list was made, most likely.
pub fn bounds_its_files(mount: u64) -> bool {
    let listed = BOUNDED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((changes, numbers)) = &*listed else { return true };
    *changes == seen_changes() && numbers.contains(&mount)
}

/// The mounts that there are.
#[derive(Debug)]
pub struct Mounts(Vec<u8>);

impl Mounts {
    /// As they are now.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn list() -> io::Result<Self> {
        let changes = changes();
        let list = list()?;
        let bounded = lines(&list).filter(|line| !UNBOUNDED.contains(&line.file_system));
        let numbers = bounded.map(|line| line.number).collect();
        *BOUNDED.lock().unwrap_or_else(PoisonError::into_inner) = Some((changes, numbers));
        Ok(Self(list))
    }

    /// Those beneath a directory, by its absolute path without a link on the way: the path of each
    /// from there, and its number. Those that lie over one another at one path are told in the
    /// order in which they were made.
    pub fn beneath(&self, directory: &Path) -> Vec<(Box<[u8]>, u64)> {
        beneath_in(&self.0, directory.as_os_str().as_bytes())
    }
}

fn beneath_in(list: &[u8], directory: &[u8]) -> Vec<(Box<[u8]>, u64)> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let mut found = Vec::new();
    for line in lines(list) {
        let path = unescaped(line.path);
        let rest = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix(b"/"));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            found.push((rest.into(), line.number));
        }
    }
    found
}

/// A mounted hierarchy of control groups that has bounds of memory.
#[derive(Debug)]
pub(super) struct Hierarchy {
    /// Whether it is the one of all controllers (version 2).
    pub(super) is_unified: bool,
    /// The group that is seen at `path`.
    pub(super) root: PathBuf,
    pub(super) path: PathBuf,
}

/// The hierarchies of a list. The unified one may be without bounds of memory, when the other has
/// them.
pub(super) fn hierarchies(list: &[u8]) -> impl Iterator<Item = Hierarchy> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(unescaped(bytes)));
    lines(list).filter_map(move |line| {
        let of_memory = line.options.split(|byte| *byte == b',').any(|one| one == b"memory");
        let is_unified = match line.file_system {
            b"cgroup2" => true,
            b"cgroup" if of_memory => false,
            _ => return None,
        };
        Some(Hierarchy { is_unified, root: path(line.root), path: path(line.path) })
    })
}

struct Line<'a> {
    number: u64,
    root: &'a [u8],
    path: &'a [u8],
    file_system: &'a [u8],
    options: &'a [u8],
}

/// The fields are number, parent, device, root, path, options, some optional ones, a hyphen, the
/// name of the file system, its source, and its own options.
fn lines(list: &[u8]) -> impl Iterator<Item = Line<'_>> {
    list.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let (root, path) = (fields.nth(2)?, fields.next()?);
        fields.find(|field| *field == b"-")?;
        let file_system = fields.next()?;
        let options = fields.nth(1).unwrap_or_default();
        Some(Line { number, root, path, file_system, options })
    })
}

/// Blank, tab, newline and backslash are written as three octal digits.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut left = path;
    while let Some((&byte, rest)) = left.split_first() {
        match rest {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if byte == b'\\' => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                left = after;
            }
            _ => {
                out.push(byte);
                left = rest;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOLD: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        31 22 0:28 / /srv/www rw - tmpfs none rw\n\
        40 31 0:33 / /srv/www/a\\040b/c\\134 rw master:2 propagate_from:1 - fuse.slow slow rw\n\
        41 31 0:34 / /srv/www2 rw - nfs4 host:/x rw\n";

    #[test]
    fn mounts_beneath_a_directory_are_found_with_their_paths() {
        let of = |directory: &[u8]| beneath_in(TOLD, directory);
        assert_eq!(of(b"/srv/www"), [(b"a b/c\\".as_slice().into(), 40)]);
        assert_eq!(of(b"/srv/www2"), []);
        assert_eq!(of(b"/").len(), 3);
    }

    #[test]
    fn what_ends_before_the_greatest_offset_is_known_by_the_list() {
        use std::os::fd::AsFd;
        let here = File::open(".").unwrap();
        let Some(mount) = of(here.as_fd()) else { return };
        Mounts::list().unwrap();
        let name = file_system(mount).unwrap().unwrap();
        assert_eq!(bounds_its_files(mount), !UNBOUNDED.contains(&&*name));
        assert!(!bounds_its_files(u64::MAX), "nobody has listed it");
    }

    #[test]
    fn a_list_that_changes_while_it_is_read_is_read_again() {
        let mut told = ["torn", "whole", "whole", "later"].into_iter();
        let list = settled(|| Ok(told.next().unwrap().into())).unwrap();
        assert_eq!((list.as_slice(), told.next()), (b"whole".as_slice(), Some("later")));
        let mut readings = 0;
        let list = settled(|| {
            readings += 1;
            Ok(vec![readings as u8])
        });
        assert_eq!((list.unwrap(), readings), (vec![READINGS_MAX as u8], READINGS_MAX));
    }

    #[test]
    fn every_mount_has_a_file_system() {
        let names: Vec<_> = lines(TOLD).map(|line| line.file_system).collect();
        assert_eq!(names, [b"ext4".as_slice(), b"tmpfs", b"fuse.slow", b"nfs4"]);
        let own = std::fs::read(LIST).unwrap();
        let count = own.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        assert_eq!(lines(&own).count(), count);
        assert_eq!(file_system(u64::MAX).unwrap(), None);
    }
}
