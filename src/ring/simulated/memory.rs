//! What of the files is in memory, and what blocks.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;

use super::check::Memory;
use super::network::PAGE;
use super::operations::{Active, LATE_MAX, Outcome, What};
use super::state::{Object, State};
use crate::limits::RESIDENCY_KEPT;
use crate::ring::handle::File;
use crate::ring::mount::{MountKind, Noting};
use crate::ring::op::{Ask, FileKind, Look};

/// How long the disk takes at most.
const DISK_MAX: Duration = Duration::from_millis(3);

/// Requests that the queue of a device takes.
const DEVICE_REQUESTS: u32 = 32;

/// What a turn may take between a look and its end.
pub(super) const TURN: Duration = Duration::from_millis(1);

impl State {
    /// Evicts a file, from a page on.
    pub(super) fn chill(&mut self, inode: usize, first: u64) {
        let facts = self.files.facts(inode);
        let in_memory = self.files.mounts[self.files.inodes[inode].mount].kind;
        if facts.kind == FileKind::Regular && in_memory != MountKind::InMemory {
            let now = self.now;
            let file = &mut self.files.inodes[inode];
            (first..facts.size.div_ceil(PAGE as u64)).for_each(|page| {
                file.cold.entry(page).or_insert(now);
            });
            file.marked.retain(|page, _| *page < first);
        }
    }

    /// Whether pages of a part are cold, the end of the file considered.
    fn is_cold(&self, inode: usize, offset: u64, count: usize) -> bool {
        pages(offset, count).any(|page| self.files.inodes[inode].cold.contains_key(&page))
    }

    pub(super) fn is_resident(
        &mut self,
        fd: RawFd,
        offset: u64,
        count: u32,
        look: Look,
    ) -> Result<bool, Errno> {
        let (inode, _) = self.file(fd);
        let mount = self.files.inodes[inode].mount;
        if look != Look::Mapped && self.files.mounts[mount].kind != MountKind::NonBlocking {
            return Err(Errno::OPNOTSUPP);
        }
        let count = self.files.bytes(inode, offset, count as usize)?.len();
        if (count > 0 || self.files.mounts[mount].notes_far) && look != Look::Counted {
            self.access(inode, false);
        }
        let there = !self.is_cold(inode, offset, count);
        if self.files.of_others
            && matches!(look, Look::Quiet | Look::Cached | Look::Counted | Look::Mapped)
        {
            return Err(Errno::PERM);
        }
        if there && look == Look::Counted {
            return Err(Errno::PERM);
        }
        if !there && self.files.of_others && self.files.mounts[mount].hangs {
            self.begin_read(mount);
        }
        if there && look == Look::Seen {
            self.pass_marks(fd, pages(offset, count), false);
        }
        Ok(there)
    }

    /// A request for the device of a mount that hangs. Who finds its queue full waits there, which
    /// is the loop.
    pub(super) fn begin_read(&mut self, mount: usize) {
        let begun = &mut self.files.mounts[mount].begun;
        *begun += 1;
        assert!(*begun <= DEVICE_REQUESTS, "the loop waits for the queue of a device that hangs");
    }

    /// A part of a file is sent inline: all of it must be there, but for what has gone just now.
    pub(super) fn touch(&mut self, fd: RawFd, offset: u64, count: usize) {
        let (inode, _) = self.file(fd);
        let count = self.files.bytes(inode, offset, count).map_or(0, <[u8]>::len);
        let kind = self.files.mounts[self.files.inodes[inode].mount].kind;
        let far = matches!(kind, MountKind::Remote | MountKind::Foreign);
        assert!(!far, "a file of a mount far away is sent inline");
        self.access(inode, false);
        self.pass_marks(fd, pages(offset, count), false);
        for page in pages(offset, count) {
            if let Some(since) = self.files.inodes[inode].cold.remove(&page) {
                let long = self.now.since(since);
                assert!(
                    long < RESIDENCY_KEPT + TURN,
                    "page {page} is sent inline and was cold for {long:?}"
                );
                self.stalled += 1;
            }
        }
    }

    pub(super) fn forget(&mut self, fd: RawFd, offset: u64, count: u32) {
        let (inode, _) = self.file(fd);
        if self.files.mounts[self.files.inodes[inode].mount].kind == MountKind::InMemory {
            // Its pages are the file.
            return;
        }
        let now = self.now;
        let count = self.files.bytes(inode, offset, count as usize).map_or(0, <[u8]>::len);
        for page in pages(offset, count) {
            self.files.inodes[inode].cold.insert(page, now);
        }
    }

    /// A read through the page cache begins. If it is not left to a thread all of it must be there,
    /// but for what has gone just now.
    pub(super) fn assert_is_there(&mut self, active: &Active, apart: bool) {
        let Some((fd, offset, count)) = active.part() else { return };
        let (inode, direct) = self.file(fd);
        if direct {
            return;
        }
        let count = self.files.bytes(inode, offset, count).map_or(0, <[u8]>::len);
        self.pass_marks(fd, pages(offset, count), apart);
        if apart {
            return;
        }
        for page in pages(offset, count) {
            if let Some(since) = self.files.inodes[inode].cold.get(&page) {
                let long = self.now.since(*since);
                assert!(
                    long < RESIDENCY_KEPT + LATE_MAX + TURN,
                    "page {page} is read by the loop and was cold for {long:?}"
                );
            }
        }
    }

    /// Whether an operation has to wait for the disk first; then it is there.
    pub(super) fn waits_for_disk(&mut self, active: &mut Active) -> bool {
        let Some((fd, offset, count)) = active.part() else { return false };
        let (inode, direct) = self.file(fd);
        let count = self.files.bytes(inode, offset, count).map_or(0, <[u8]>::len);
        if direct || !self.is_cold(inode, offset, count) {
            return false;
        }
        if !std::mem::replace(&mut active.waited, true) {
            let took = self.random.below(DISK_MAX.as_nanos() as u64);
            active.due = self.now + Duration::from_nanos(1 + took);
            return true;
        }
        for page in pages(offset, count) {
            self.files.inodes[inode].cold.remove(&page);
        }
        false
    }

    /// Bytes that a read brings.
    pub(super) fn read_file(
        &mut self,
        fd: RawFd,
        offset: u64,
        memory: &Memory,
        at_most: usize,
    ) -> Result<Vec<u8>, Errno> {
        self.disturb(fd);
        let (inode, direct) = self.file(fd);
        let room = memory.room();
        let mut count = room.min(at_most);
        if direct {
            let (of_memory, of_offset) = self.files.direct.ok_or(Errno::INVAL)?;
            let unit = of_offset as usize;
            let aligned = offset.is_multiple_of(u64::from(of_offset)) && room.is_multiple_of(unit);
            if !aligned || !memory.is_aligned(of_memory) {
                return Err(Errno::INVAL);
            }
            // A short read past the page cache ends on the alignment, or at the file's end.
            count = count.next_multiple_of(unit).min(room);
        }
        self.files.bytes(inode, offset, count).map(<[u8]>::to_vec)
    }

    /// The place of the mount that an operation is about.
    pub(super) fn mount_of(&self, what: &What) -> Option<usize> {
        let inode = match what {
            What::Open { fd, path, how } => {
                let (from, _) = self.file(*fd);
                let there = self.files.resolve(from, path, how.links).unwrap_or(from);
                // The mount is not asked by who may not enter it.
                let leads_away = self.files.facts(there).mount != how.mount;
                if how.stays() && leads_away { from } else { there }
            }
            What::Read { fd, .. }
            | What::Warm { fd, .. }
            | What::Forget { fd, .. }
            | What::ReadDirectory { fd, .. }
            | What::Digest { fd, .. }
            | What::Stat(fd)
            | What::Close(fd) => match self.object(*fd)? {
                Object::File { inode, .. } => inode,
                _ => return None,
            },
            _ => return None,
        };
        Some(self.files.inodes[inode].mount)
    }

    pub(super) fn hangs(&self, active: &Active) -> bool {
        let Some(mount) = self.mount_of(&active.what) else { return false };
        let mount = &self.files.mounts[mount];
        // What is in memory is read from there.
        let needs_disk = || mount.kind.may_block() || self.needs_disk(active).unwrap_or(true);
        mount.hangs && needs_disk()
    }

    /// Whether a read needs the disk.
    fn needs_disk(&self, active: &Active) -> Option<bool> {
        let (fd, offset, count) = active.part()?;
        let (inode, direct) = self.file(fd);
        let count = self.files.bytes(inode, offset, count).map_or(0, <[u8]>::len);
        Some(direct || self.is_cold(inode, offset, count))
    }

    /// What may block on its mount must not be tried by the thread that submits it.
    pub(super) fn assert_is_apart(&self, what: &What, apart: bool) {
        let Some(mount) = self.mount_of(what) else { return };
        let blocks = self.files.mounts[mount].kind.may_block() && !what.is_job();
        // Directories that the process opened at its start were closed by nobody else.
        let directory = matches!(what, What::Close(fd) if self.is_directory(*fd));
        assert!(!blocks || apart || directory, "{what:?} may block the loop");
        let takes_away = matches!(what, What::Close(fd) if self.is_unlinked(*fd));
        assert!(!takes_away || apart, "{what:?} takes the bytes of a file away in the loop");
        let is_of_it = |object: &&Object| match object {
            Object::File { inode, .. } => self.files.inodes[*inode].mount == mount,
            _ => false,
        };
        // The root of all is open.
        let last = matches!(what, What::Close(_))
            && mount > 0
            && self.objects.iter().flatten().filter(is_of_it).count() == 1;
        assert!(!last || apart || directory, "{what:?} may end a file system that was unmounted");
    }

    pub(super) fn notes_access(&self, fd: RawFd) -> Noting {
        let (inode, _) = self.file(fd);
        self.noting(self.files.inodes[inode].mount)
    }

    fn noting(&self, mount: usize) -> Noting {
        if self.files.mounts[mount].notes_access { Noting::Rarely } else { Noting::Never }
    }

    /// Somebody reads a file; the loop must not if that is noted, which is so for the first time
    /// and once a day. Whoever changes a file that is open, or the clock, may do so in between.
    pub(super) fn access(&mut self, inode: usize, apart: bool) {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let mount = self.files.mounts[self.files.inodes[inode].mount];
        let (now, wall) = (self.now, self.wall());
        let due = self.files.inodes[inode]
            .accessed
            .is_none_or(|(noted, at)| wall.since(noted) >= DAY && now.since(at) >= DAY);
        if mount.notes_access
            && due
            && matches!(mount.kind, MountKind::NonBlocking | MountKind::Blocking)
        {
            assert!(apart, "the loop reads a file that notes its access");
            self.files.inodes[inode].accessed = Some((wall, now));
        }
    }

    /// Whether no directory has an open file any more.
    pub(super) fn is_unlinked(&self, fd: RawFd) -> bool {
        match self.object(fd) {
            Some(Object::File { inode, .. }) => !self.files.has_a_name(inode),
            _ => false,
        }
    }

    fn is_directory(&self, fd: RawFd) -> bool {
        let (inode, _) = self.file(fd);
        self.files.facts(inode).kind == FileKind::Directory
    }

    pub(super) fn assert_answers_at_once(&self, file: &File, ask: Ask) {
        let (inode, _) = self.file(file.as_raw_fd());
        let mount = &self.files.mounts[self.files.inodes[inode].mount];
        let kind = mount.kind;
        let asks_others = kind == MountKind::Foreign && mount.hangs;
        assert!(!asks_others, "the loop asks others for facts, and they do not answer");
        let asked_before = file.mount() == 0;
        let good = !kind.may_block() || matches!(ask, Ask::Here | Ask::Behind) || asked_before;
        assert!(good, "facts of a file are asked inline of a mount that may block");
    }

    /// What a helper finds out of a mount.
    pub(super) fn mount_told(&self, mount: u64) -> Outcome {
        let kind = self.files.mounts[mount as usize - 1].kind;
        let number = match kind {
            MountKind::InMemory => 0,
            MountKind::Remote => 2,
            MountKind::Foreign => 3,
            MountKind::NonBlocking => 4,
            _ => 1,
        };
        let notes = self.noting(mount as usize - 1) == Noting::Rarely;
        let bytes = vec![number, u8::from(notes)];
        Outcome { bytes, ..Outcome::of(Ok(0)) }
    }
}

pub(super) fn pages(offset: u64, count: usize) -> std::ops::Range<u64> {
    let page = PAGE as u64;
    offset / page..(offset + count as u64).div_ceil(page)
}
