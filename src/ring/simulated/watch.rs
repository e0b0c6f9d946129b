//! Watched directories of the simulated kernel.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::io::Errno;

use super::files::{Change, Files};
use super::operations::Outcome;
use super::state::{Object, State};
use crate::base::Instant;
use crate::ring::job::Way;
use crate::ring::job::way::{Walk, walk};
use crate::ring::op::{Links, Notice, Watch};

/// Notices that are kept until they are taken.
const KEPT_MAX: usize = 64;
/// How late a notice may be.
const LATE_MAX: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// Watched directories, by inode.
    watches: BTreeMap<usize, Watch>,
    last: i32,
    /// What is to be told, and when it can be.
    queue: VecDeque<(Instant, Notice)>,
}

impl Watcher {
    fn add(&mut self, inode: usize) -> Watch {
        *self.watches.entry(inode).or_insert_with(|| {
            self.last += 1;
            Watch(self.last)
        })
    }

    fn tell(&mut self, at: Instant, notice: Notice) {
        let at = self.queue.back().map_or(at, |(last, _)| at.max(*last));
        if self.queue.len() < KEPT_MAX {
            self.queue.push_back((at, notice));
        } else if self.queue.back().is_some_and(|(_, last)| *last != Notice::Lost) {
            self.queue.push_back((at, Notice::Lost));
        }
    }
}

impl State {
    /// Tells every watcher what has happened to the files since this was last called.
    pub(super) fn tell_watchers(&mut self) {
        for change in std::mem::take(&mut self.files.changes) {
            let late = self.random.chance(self.faults.notice_late);
            let after = if late { self.random.below(LATE_MAX.as_nanos() as u64) } else { 0 };
            let at = self.now + Duration::from_nanos(after);
            let lost = self.random.chance(self.faults.notices_lost);
            for watcher in &mut self.watchers {
                let notice = match &change {
                    Change::Name(parent, name) => {
                        watcher.watches.get(parent).map(|of| Notice::Name(*of, name.clone()))
                    }
                    Change::Itself(inode) => {
                        watcher.watches.get(inode).map(|of| Notice::Itself(*of))
                    }
                };
                let Some(notice) = notice else { continue };
                watcher.tell(at, if lost { Notice::Lost } else { notice });
            }
        }
    }

    fn watcher(&mut self, descriptor: RawFd) -> &mut Watcher {
        match self.object(descriptor) {
            Some(Object::Watcher(id)) => &mut self.watchers[id],
            other => panic!("{other:?} is used as a watcher"),
        }
    }

    pub(super) fn take_notices(&mut self, watcher: RawFd, into: &mut Vec<Notice>) -> u32 {
        let now = self.now;
        let watcher = self.watcher(watcher);
        let mut count = 0;
        while watcher.queue.front().is_some_and(|(at, _)| *at <= now) {
            into.extend(watcher.queue.pop_front().map(|(_, notice)| notice));
            count += 1;
        }
        count
    }

    pub(super) fn unwatch(&mut self, watcher: RawFd, watch: Watch) -> Result<u32, Errno> {
        let now = self.now;
        let watcher = self.watcher(watcher);
        let found = watcher.watches.iter().find(|(_, of)| **of == watch).map(|(inode, _)| *inode);
        watcher.watches.remove(&found.ok_or(Errno::INVAL)?);
        // inotify(7): IN_IGNORED.
        watcher.tell(now, Notice::Itself(watch));
        Ok(0)
    }

    pub(super) fn watch(&mut self, root: RawFd, watcher: RawFd, way: &Way) -> Outcome {
        let (root, _) = self.file(root);
        let Some(Object::Watcher(id)) = self.object(watcher) else {
            panic!("the descriptor of a watch job is not that of a watcher")
        };
        let mut watching = Watching { files: &self.files, watcher: &mut self.watchers[id] };
        match walk(way, vec![root], &mut watching) {
            Ok(steps) => Outcome { steps, ..Outcome::of(Ok(0)) },
            Err(errno) => Outcome::of(Err(errno)),
        }
    }
}

struct Watching<'a> {
    files: &'a Files,
    watcher: &'a mut Watcher,
}

impl Walk for Watching<'_> {
    /// The directories that were come through, and the one that was come to.
    type Directory = Vec<usize>;

    fn open(&mut self, at: &Vec<usize>, name: &[u8]) -> Result<Vec<usize>, Errno> {
        let inode = self.files.resolve(last(at), name, Links::Refused)?;
        if !self.files.is_directory(inode) {
            return Err(Errno::NOTDIR);
        }
        Ok([&at[..], &[inode]].concat())
    }

    fn open_above(&mut self, at: &Vec<usize>) -> Result<Vec<usize>, Errno> {
        Ok(at[..at.len() - 1].to_vec())
    }

    fn target(&mut self, at: &Vec<usize>, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.files.target(last(at), name)
    }

    fn watch(&mut self, directory: &Vec<usize>) -> Option<Watch> {
        Some(self.watcher.add(last(directory)))
    }

    fn check(&self) -> Result<(), Errno> {
        Ok(())
    }
}

fn last(way: &[usize]) -> usize {
    way[way.len() - 1]
}
