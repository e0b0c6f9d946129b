//! The directories whose files are served, told apart by number.
//!
//! A directory that is followed is opened by its path again once in the revalidation time: when
//! the path leads to another directory by then, what was known of the one before is no longer
//! good. Files that are open stay open for who reads them.

use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::beneath::{Beneath, MountPoints};
use crate::base::{Instant, Key};
use crate::limits::LOOKUP_PATIENCE;
use crate::ring::{Ask, Completion, Facts, File, How, Op, Owner};

/// The number of a directory: its place in what the cache was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub u16);

/// A directory, open.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its descriptor.
    pub file: File,
    /// Its absolute path, when it is to be followed.
    pub follow: Option<CString>,
    /// The mounts beneath it.
    pub mounts: Arc<Beneath>,
}

/// What the cache keeps of a directory.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) directory: Directory,
    pub(super) names: HashMap<Rc<[u8]>, Key>,
    /// Those that were listed last, and which list that is.
    mounts: MountPoints,
    listed: u32,
    /// Whether a file was found on a mount that is not one of them.
    strays: bool,
    /// Counts the directories that were here.
    pub(super) generation: u32,
    /// Device and inode, once they were asked for.
    identity: Option<((u32, u32), u64)>,
    /// When its path was last looked up: the start of that.
    pub(super) checked: Instant,
    check: Option<Check>,
}

#[derive(Debug)]
struct Check {
    started: Instant,
    waiters: Vec<Owner>,
}

/// What follows from a lookup of a followed directory.
pub(super) enum Followed {
    /// What is known of it is good.
    Good,
    /// Whether it is good is not known: its lookup does not come back.
    Unproven,
    /// It is being looked up; the owner was noted.
    Waiting,
    /// The same, and this starts it.
    Begun(Op),
}

impl Root {
    pub(super) fn new(directory: Directory) -> Self {
        let mut root = Self {
            directory,
            names: HashMap::new(),
            mounts: MountPoints::new(),
            listed: 0,
            strays: false,
            generation: 0,
            identity: None,
            checked: Instant::default(),
            check: None,
        };
        root.look();
        root
    }

    /// Takes note of mounts that have come or gone; says whether any have.
    pub(super) fn look(&mut self) -> bool {
        let Some(mounts) = self.directory.mounts.unless(&mut self.listed) else { return false };
        self.mounts = mounts;
        self.strays = false;
        // It may be another directory by now than the one beneath which they were listed.
        self.met(self.directory.file.mount());
        true
    }

    /// Another number whenever what lies beneath it may be other directories than before.
    pub(super) fn era(&self) -> u32 {
        self.generation.wrapping_add(self.listed)
    }

    /// What is known beforehand of a name beneath it: the mount that it lies on, but for links.
    pub(super) fn expects(&self, name: &[u8]) -> How {
        let lies_in = |path: &[u8]| {
            let rest = name.strip_prefix(path);
            path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let mounts = &self.mounts;
        // Of those that lie over one another at one path the last is on top.
        let longest = mounts.iter().filter(|(path, _)| lies_in(path)).max_by_key(|(p, _)| p.len());
        let mount = longest.map_or(0, |(_, mount)| *mount);
        How { mount, crosses: self.strays || mounts.len() != 1, ..How::default() }
    }

    /// A file beneath it was found on a mount. If that was made after the others were listed, no
    /// open beneath the directory is known not to lead there until they are listed again.
    pub(super) fn met(&mut self, mount: u64) {
        let listed = self.mounts.iter().any(|(_, one)| *one == mount);
        self.strays |= mount != 0 && !listed;
    }

    /// Whether the directory is still the one of its path, for a request that began at `since`.
    pub(super) fn follow(
        &mut self,
        since: Instant,
        now: Instant,
        valid: Duration,
        waiter: Owner,
    ) -> Followed {
        let Some(path) = &self.directory.follow else { return Followed::Good };
        let may_stand_in = self.may_stand_in(valid);
        if self.is_known() && (now.since(self.checked) < valid || self.checked >= since) {
            return Followed::Good;
        }
        if let Some(check) = &mut self.check {
            if may_stand_in && now.since(check.started) >= LOOKUP_PATIENCE {
                return Followed::Unproven;
            }
            check.waiters.push(waiter);
            return Followed::Waiting;
        }
        self.check = Some(Check { started: now, waiters: vec![waiter] });
        let mount = self.directory.file.mount();
        let how = How { anywhere: true, mount, crosses: true, ..How::default() };
        let root = self.directory.file.clone();
        Followed::Begun(Op::Open { root, path: path.clone(), how })
    }

    /// Whether its path was ever looked up.
    fn is_known(&self) -> bool {
        self.checked > Instant::default()
    }

    /// Whether the directory that is open is served while its path is not answered.
    pub(super) fn may_stand_in(&self, valid: Duration) -> bool {
        self.is_known() && !valid.is_zero()
    }

    /// Those who wait for its lookup: they need not any more.
    pub(super) fn release(&mut self) -> Vec<Owner> {
        self.check.as_mut().map(|check| std::mem::take(&mut check.waiters)).unwrap_or_default()
    }

    /// Takes in the end of an operation of the lookup; the next one, or at its end the waiters.
    /// A path that leads nowhere just now changes nothing: what was served still is.
    pub(super) fn take(&mut self, completion: Completion) -> Result<Op, Vec<Owner>> {
        match (completion.op, completion.result, completion.handle) {
            (Some(Op::Open { .. }), Ok(_), Some(handle)) => {
                // Where the path leads now nobody can tell before.
                return Ok(Op::stat(handle.into(), Ask::Anywhere));
            }
            (Some(Op::Stat { file, facts, .. }), Ok(_), _) => self.replace(file, &facts),
            _ => {}
        }
        let check = self.check.take().expect("its operation was in flight");
        self.checked = check.started;
        Err(check.waiters)
    }

    fn replace(&mut self, file: File, facts: &Facts) {
        let identity = Some((facts.device, facts.inode));
        if self.identity != identity {
            // The first time it may well be the same; looking up its names again does no harm.
            self.identity = identity;
            self.directory.file = file;
            self.generation += 1;
            self.met(facts.mount);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ring::{Closing, Descriptor};

    #[test]
    fn a_file_on_a_mount_that_was_not_listed_leaves_every_open_to_a_thread() {
        let fd = tempfile::tempfile().unwrap().into();
        let file = File::from(Descriptor::adopt(fd, &Rc::new(Closing::default())));
        let own = (Box::default(), 7);
        let mounts = Arc::new(Beneath::new(vec![own.clone()]));
        let mut root = Root::new(Directory { file, follow: None, mounts: Arc::clone(&mounts) });
        root.met(7);
        assert_eq!((root.expects(b"a/b").mount, root.expects(b"a/b").crosses), (7, false));
        root.met(8);
        assert!(root.expects(b"a/b").crosses);
        // Until it is listed.
        assert!(mounts.set(vec![own.clone(), (b"a".as_slice().into(), 8)]));
        root.look();
        let (within, beside) = (root.expects(b"a/b"), root.expects(b"b"));
        assert_eq!((within.mount, within.crosses, beside.mount), (8, true, 7));
        assert!(mounts.set(vec![own.clone()]) && !mounts.set(vec![own]));
        root.look();
        assert_eq!((root.expects(b"a/b").mount, root.expects(b"a/b").crosses), (7, false));
    }
}
