//! Watched directories of the simulated kernel.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::io::Errno;

use super::files::Change;
use super::operations::Outcome;
use super::state::{Object, State};
use crate::base::Instant;
use crate::ring::job::Step;
use crate::ring::op::{Notice, Watch};

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

    pub(super) fn watch(&mut self, root: RawFd, watcher: RawFd, path: &[u8]) -> Outcome {
        let (mut here, _) = self.file(root);
        let mut steps = vec![Step::Watched(self.watcher(watcher).add(here))];
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        for name in names {
            let step = match self.files.resolve(here, name, false) {
                Ok(inode) if self.files.is_directory(inode) => {
                    here = inode;
                    Step::Watched(self.watcher(watcher).add(here))
                }
                Ok(_) | Err(Errno::NOENT) => Step::Absent,
                Err(_) => Step::Unwatchable,
            };
            steps.push(step);
            if !matches!(step, Step::Watched(_)) {
                break;
            }
        }
        Outcome { steps, ..Outcome::of(Ok(0)) }
    }
}
