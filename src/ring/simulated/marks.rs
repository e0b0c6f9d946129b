//! Files that are evicted, whole or in part, and pages that the kernel has marked when it read one
//! ahead: who touches one begins to read what comes behind, if that is not there.

use std::ops::Range;
use std::os::fd::RawFd;
use std::time::Duration;

use super::memory::TURN;
use super::network::PAGE;
use super::state::{Object, State};
use super::world::World;
use crate::base::Instant;
use crate::limits::{RESIDENCY_KEPT, WARM_BYTES};
use crate::ring::handle::SIMULATED_FIRST;
use crate::ring::mount::MountKind;

/// Bytes that the kernel reads ahead.
pub(super) const READ_AHEAD: u64 = WARM_BYTES / 2;

/// Pages behind a mark of which one has to be missing for a read to begin: those of a window. Of
/// the window behind that a read begins, too, if the mark was made for who touches it.
const REACH: u64 = WARM_BYTES / PAGE as u64;

impl World {
    /// Evicts a file from the page cache, as if that were long ago.
    pub fn chill(&self, path: &str) {
        let mut state = self.state();
        let inode = state.files.at(path);
        state.chill(inode, 0);
        for since in state.files.inodes[inode].cold.values_mut() {
            *since = Instant::default();
        }
    }

    /// Evicts a file from the page cache just now.
    pub fn evict(&self, path: &str) {
        let mut state = self.state();
        let inode = state.files.at(path);
        state.chill(inode, 0);
    }

    /// Evicts the end of a file, as if that were long ago, and leaves what was read ahead.
    pub fn chill_end(&self, path: &str) {
        let mut state = self.state();
        let inode = state.files.at(path);
        state.chill_end(inode);
        let file = &mut state.files.inodes[inode];
        for since in file.cold.values_mut().chain(file.marked.values_mut()) {
            *since = Instant::default();
        }
    }
}

impl State {
    /// Evicts the end of a file, from some page on. What is left was read ahead.
    pub(super) fn chill_end(&mut self, inode: usize) {
        let pages = self.files.facts(inode).size.div_ceil(PAGE as u64);
        if pages < 2 {
            return;
        }
        let mark = self.random.below(pages - 1);
        let first = mark + 1 + self.random.below(pages - 1 - mark);
        self.chill(inode, first);
        if self.files.inodes[inode].cold.contains_key(&first) {
            self.files.inodes[inode].marked.insert(mark, self.now);
        }
    }

    fn is_read_apart(&self, fd: RawFd) -> bool {
        matches!(self.object(fd), Some(Object::File { read_apart: true, .. }))
    }

    fn note_read_apart(&mut self, fd: RawFd) {
        let place = (fd - SIMULATED_FIRST) as usize;
        if let Some(Some(Object::File { read_apart, .. })) = self.objects.get_mut(place) {
            *read_apart = true;
        }
    }

    /// Pages of a file are touched, by the loop or by a thread. The loop must not begin a read,
    /// but for what has gone, or was marked, just now, and for what was appended: nobody asks for
    /// that on behalf of a body that ends before. Where only a read tells what is there, nobody
    /// knows, and few may be begun.
    pub(super) fn pass_marks(&mut self, fd: RawFd, pages: Range<u64>, apart: bool) {
        let (inode, _) = self.file(fd);
        let made_for_it = self.is_read_apart(fd);
        let reach = if made_for_it { 2 * REACH } else { REACH };
        let reads_on = pages.start..pages.end.saturating_add(2 * REACH);
        if apart && self.files.inodes[inode].cold.range(reads_on).next().is_some() {
            self.note_read_apart(fd);
        }
        let size = self.files.facts(inode).size;
        let file = &mut self.files.inodes[inode];
        let met: Vec<_> = file.marked.extract_if(pages, |_, _| true).collect();
        let mount = file.mount;
        let end = size.min(file.made_bytes).div_ceil(PAGE as u64);
        let in_memory = self.files.mounts[mount].kind == MountKind::InMemory;
        if apart || in_memory {
            return;
        }
        for (mark, marked) in met {
            let behind = self.files.inodes[inode].cold.range(mark..end.clamp(mark, mark + reach));
            let since = behind.map(|(_, since)| marked.max(*since)).min();
            if self.files.of_others {
                if since.is_some() && self.files.mounts[mount].hangs {
                    self.begin_read(mount);
                }
                continue;
            }
            let long = since.map_or(Duration::ZERO, |since| self.now.since(since));
            assert!(
                // What comes behind was asked for, and what may be touched therefore, each so long.
                long < 2 * RESIDENCY_KEPT + TURN,
                "page {mark} is marked, and what is cold for {long:?} behind: the loop touches it"
            );
        }
    }
}
