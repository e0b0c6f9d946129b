//! How long a request waits to be told that what is open is still what its name leads to.
//!
//! Where nothing tells of changes a name that is due is looked up before it is used. A disk that
//! hangs must not hold up what needs nothing of it: when the look-up has not come back after
//! [`LOOKUP_PATIENCE`], who waits for it gets what is open, and so does who comes later, at once,
//! until it comes back and renews or replaces the entry as always. Where as many look-ups of a
//! mount are under way as may be, what is open stands in at once if none of them has come back for
//! as long; a mount that is merely busy refuses, as it does for what is not open.
//!
//! ```text
//! due -> looked up -+-> home in time ----------> renewed or replaced
//!                   +-> LOOKUP_PATIENCE over --> what is open stands in -> home -> the same
//! ```
//!
//! Nothing stands in that is known to have changed: a file that was seen to be another version, by
//! its own descriptor or by as much of its look-up as has come back, or one whose watched directory
//! has told of a change. Nor does one of which it is not known yet whether a watch can cover it,
//! nor anything where names are to be looked up for each request, with a revalidation time of zero.

use std::collections::BTreeSet;

use super::freshness::Trust;
use super::load::Part;
use super::lookup::Found;
use super::open_files::OpenFiles;
use crate::base::{Instant, Key};
use crate::limits::LOOKUP_PATIENCE;
use crate::ring::{Deadline, Io};

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    Entry(Key),
    /// By the number of its tree.
    Root(u16),
}

/// Look-ups for which something may stand in, the oldest first. They are no more than there are
/// loads and directories.
#[derive(Debug, Default)]
pub(super) struct Patience {
    awaited: BTreeSet<(Instant, Awaited)>,
    /// Whether a deadline was set and has not passed. It is not moved when what it was for comes
    /// home, so that look-ups that come home in time cost none of their own.
    armed: bool,
}

impl Patience {
    pub(super) fn begin(&mut self, started: Instant, awaited: Awaited) {
        self.awaited.insert((started, awaited));
    }

    pub(super) fn end(&mut self, started: Instant, awaited: Awaited) {
        self.awaited.remove(&(started, awaited));
    }

    /// Whether there is a deadline to be set.
    pub(super) fn has_to_be_told(&self) -> bool {
        !self.armed && !self.awaited.is_empty()
    }

    /// The oldest, if it has lasted too long.
    fn pop_due(&mut self, now: Instant) -> Option<Awaited> {
        let (started, _) = self.awaited.first()?;
        let due = now.since(*started) >= LOOKUP_PATIENCE;
        due.then(|| self.awaited.pop_first().map(|(_, awaited)| awaited)).flatten()
    }
}

impl OpenFiles {
    /// Sets the deadline of the oldest look-up.
    pub(super) fn be_patient(&mut self, io: &mut dyn Io) {
        if let Some((started, _)) = self.patience.awaited.first()
            && !self.patience.armed
        {
            io.deadline(Some((Deadline::Retry, *started + LOOKUP_PATIENCE)));
            self.patience.armed = true;
        }
    }

    /// The deadline has passed: who has waited long enough asks again, and gets what stands in.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        self.patience.armed = false;
        while let Some(awaited) = self.patience.pop_due(now) {
            let waiters = match awaited {
                Awaited::Root(tree) => self.roots[usize::from(tree)].release(),
                Awaited::Entry(key) => {
                    let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
                    let load = entry.load.as_mut().expect("one that ends is awaited no more");
                    std::mem::take(&mut load.waiters)
                }
            };
            self.woken.extend(waiters);
        }
    }

    /// What an entry that is due is answered with, if there is no waiting for its look-up.
    pub(super) fn stand_in(&self, key: Key, generation: u32, now: Instant) -> Option<Found> {
        if !self.may_stand_in(key, generation) {
            return None;
        }
        let entry = self.entries.get(key)?;
        let hopeless = match &entry.load {
            Some(load) => now.since(load.started) >= LOOKUP_PATIENCE,
            None => {
                let mount = self.roots[usize::from(entry.tree.0)].expects(&entry.name).mount;
                !self.loads.have_room(mount) && self.loads.are_silent(mount, now)
            }
        };
        entry.found.clone().filter(|_| hopeless)
    }

    /// A part was found out: if it is not what it was, nothing stands in until the load has ended.
    pub(super) fn compare(&mut self, key: Key, part: Part) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let load = entry.load.as_ref().expect("the part was its");
        entry.distrusted |= load.contradicts(part, entry.found.as_ref());
    }

    /// Whether what was found is open, and nothing says that it is not what it was.
    pub(super) fn may_stand_in(&self, key: Key, generation: u32) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let open = matches!(entry.found, Some(Found::File(_) | Found::Directory(_)));
        let untold = match entry.trust {
            Trust::None => false,
            Trust::Time => !self.options.valid.is_zero(),
            Trust::Watched(node) => self.watches.stands(node),
        };
        open && untold && !entry.distrusted && entry.generation == generation
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use std::rc::Rc;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::cache::Beneath;
    use crate::cache::{Asker, Directory, Lookup, Options, Tree};
    use crate::ring::{Ask, Closing, Completion, Descriptor, Facts, FileKind, Op, Owner, Wake};

    /// What the disk says: the inode of the file that it has, or that it has none.
    type Answer = Result<u64, Errno>;

    const VALID: Duration = Duration::from_secs(1);

    fn waiter(index: u32) -> Owner {
        Key { index, generation: 0 }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanoseconds(millis * 1_000_000)
    }

    fn descriptor() -> Descriptor {
        Descriptor::adopt(tempfile::tempfile().unwrap().into(), &Rc::new(Closing::default()))
    }

    fn cache(valid: Duration, follow: bool) -> OpenFiles {
        let options = Options {
            content_tags: false,
            drop_from: None,
            entries_max: 2000,
            valid,
            watches_max: 0,
            hot_bytes: 0,
            precompressed: true,
            fresh_only: false,
            direct_from: None,
            follow_links: true,
        };
        let follow = follow.then(|| c"/srv/current".into());
        let directory = Directory {
            file: descriptor().into(),
            follow,
            mounts: Arc::new(Beneath::new(Vec::new())),
        };
        OpenFiles::new(vec![directory], None, options, Arc::default())
    }

    /// The disk answers what it was asked first; whether there was anything.
    fn answer_one(cache: &mut OpenFiles, answer: Answer, now: Instant) -> bool {
        let Some((purpose, op)) = cache.queue.pop() else { return false };
        let (op, handle) = match (op, answer) {
            (Op::Stat { file, .. }, Ok(inode)) => {
                let kind = FileKind::Regular;
                let facts = Box::new(Facts { kind, size: 3, inode, ..Facts::default() });
                (Op::Stat { file, ask: Ask::Mount, facts, sheet: None }, None)
            }
            (op, Ok(_)) => (op, Some(descriptor())),
            (op, Err(_)) => (op, None),
        };
        let result = answer.map(|_| 0);
        let completion = Completion { ticket: None, op: Some(op), result, handle, more: false };
        cache.completed(purpose, completion, now);
        true
    }

    /// It answers all: every name is that of the file of this inode.
    fn answer(cache: &mut OpenFiles, inode: u64, now: Instant) {
        while answer_one(cache, Ok(inode), now) {}
    }

    fn ask(cache: &mut OpenFiles, path: &[u8], index: u32, now: Instant) -> Option<u64> {
        let asker = Asker { owner: waiter(index), since: now, now, again: false };
        match cache.lookup(Tree(0), path, asker) {
            Lookup::Known(Found::File(name)) => Some(name.original.facts.inode),
            Lookup::Known(other) => panic!("{other:?}"),
            Lookup::Waiting(_) | Lookup::Full => None,
        }
    }

    fn learn(cache: &mut OpenFiles, path: &[u8], inode: u64, now: Instant) {
        for _ in 0..3 {
            if ask(cache, path, 0, now) == Some(inode) {
                return;
            }
            answer(cache, inode, now);
        }
        panic!("never known");
    }

    fn woken(cache: &mut OpenFiles) -> Vec<u32> {
        let mut woken: Vec<_> =
            std::iter::from_fn(|| cache.next_woken()).map(|o| o.index).collect();
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    fn is_late(cache: &mut OpenFiles, now: Instant) {
        cache.wake(Wake::Deadline(Deadline::Retry), now);
    }

    #[test]
    fn what_is_open_stands_in_for_a_look_up_that_does_not_come_back() {
        let mut cache = cache(VALID, false);
        learn(&mut cache, b"a", 7, at(1000));
        woken(&mut cache);
        assert_eq!(ask(&mut cache, b"a", 1, at(3000)), None, "it is due");
        assert!(cache.patience.has_to_be_told());
        assert_eq!(ask(&mut cache, b"a", 2, at(3100)), None);
        is_late(&mut cache, at(3249));
        assert!(woken(&mut cache).is_empty(), "there is time yet");
        is_late(&mut cache, at(3250));
        assert_eq!(woken(&mut cache), [1, 2]);
        for (index, now) in [(1, 3250), (2, 3250), (3, 9000)] {
            assert_eq!(ask(&mut cache, b"a", index, at(now)), Some(7), "at once");
        }
        assert_eq!(cache.stats.served_unproven.read(), 3);
        assert_eq!(cache.stats.revalidations.read(), 1, "it is asked once");
        // It comes home, and the file is another one.
        answer(&mut cache, 8, at(9000));
        assert!(cache.patience.awaited.is_empty());
        learn(&mut cache, b"a", 8, at(9001));
        assert_eq!(cache.stats.served_unproven.read(), 3);
        assert_eq!(cache.stats.replaced.read(), 1);
    }

    #[test]
    fn a_look_up_that_comes_home_in_time_is_waited_for() {
        let mut cache = cache(VALID, false);
        learn(&mut cache, b"a", 7, at(1000));
        assert_eq!(ask(&mut cache, b"a", 1, at(3000)), None);
        answer(&mut cache, 8, at(3249));
        // It began when the request did, so it is fresh enough for it.
        let asker = Asker { owner: waiter(1), since: at(3000), now: at(3249), again: true };
        assert!(matches!(cache.lookup(Tree(0), b"a", asker), Lookup::Known(Found::File(name))
            if name.original.facts.inode == 8));
        assert!(cache.patience.awaited.is_empty());
        assert_eq!(cache.stats.served_unproven.read(), 0);
    }

    #[test]
    fn nothing_stands_in_that_has_changed_or_was_never_known_or_must_be_proven() {
        let mut changed = cache(VALID, false);
        learn(&mut changed, b"a", 7, at(1000));
        changed.distrust(Tree(0), b"a");
        let unknown = cache(VALID, false);
        let mut strict = cache(Duration::ZERO, false);
        learn(&mut strict, b"a", 7, at(3000));
        for mut cache in [changed, unknown, strict] {
            assert_eq!(ask(&mut cache, b"a", 1, at(4000)), None);
            is_late(&mut cache, at(60_000));
            assert_eq!(ask(&mut cache, b"a", 1, at(60_000)), None);
            assert_eq!(cache.stats.served_unproven.read(), 0);
        }
    }

    /// A part of it has come home, of the file or of one beside it, and the rest hangs.
    #[test]
    fn nothing_stands_in_for_a_look_up_that_has_seen_another_file() {
        const GONE: Answer = Err(Errno::NOENT);
        let another: [&[Answer]; 3] = [&[Ok(7), Ok(8)], &[Ok(7), Ok(7), GONE], &[Ok(7); 5]];
        for (answers, stands) in another.into_iter().zip([false, false, true]) {
            let mut cache = cache(VALID, false);
            learn(&mut cache, b"a", 7, at(1000));
            woken(&mut cache);
            assert_eq!(ask(&mut cache, b"a", 1, at(3000)), None, "it is due");
            for one in answers {
                assert!(answer_one(&mut cache, *one, at(3010)));
            }
            is_late(&mut cache, at(3250));
            let served = ask(&mut cache, b"a", 1, at(3250));
            assert_eq!(served, stands.then_some(7), "{answers:?}");
            assert_eq!(cache.stats.served_unproven.read(), u64::from(stands));
            answer(&mut cache, 8, at(4000));
            learn(&mut cache, b"a", 8, at(4001));
        }
    }

    /// Who is refused there does not wait, which the figures tell.
    #[test]
    fn a_mount_that_is_full_has_what_is_open_served_only_when_it_says_nothing() {
        let mut cache = cache(VALID, false);
        learn(&mut cache, b"a", 7, at(1000));
        let mut number = 0;
        let mut fill = |cache: &mut OpenFiles, now| {
            while cache.loads.have_room(0) {
                ask(cache, format!("new{number}").as_bytes(), 1, now);
                number += 1;
            }
        };
        fill(&mut cache, at(3000));
        assert_eq!(ask(&mut cache, b"a", 2, at(3240)), None);
        // One comes home: the mount works, if not as fast as it is asked.
        assert!(answer_one(&mut cache, Err(Errno::NOENT), at(3245)));
        fill(&mut cache, at(3245));
        assert_eq!(ask(&mut cache, b"a", 2, at(3494)), None);
        assert_eq!((cache.stats.refused.read(), cache.stats.served_unproven.read()), (2, 0));
        assert_eq!(ask(&mut cache, b"a", 2, at(3495)), Some(7), "it hangs");
        assert_eq!((cache.stats.refused.read(), cache.stats.served_unproven.read()), (2, 1));
    }

    #[test]
    fn a_directory_whose_path_is_not_answered_stays_the_one_that_is_served() {
        let mut cache = cache(VALID, true);
        learn(&mut cache, b"a", 7, at(1000));
        woken(&mut cache);
        assert_eq!(ask(&mut cache, b"a", 1, at(3000)), None, "the directory is due");
        is_late(&mut cache, at(3250));
        assert_eq!(woken(&mut cache), [1]);
        assert_eq!(ask(&mut cache, b"a", 1, at(3250)), None, "and the name");
        is_late(&mut cache, at(3500));
        assert_eq!(woken(&mut cache), [1]);
        assert_eq!(ask(&mut cache, b"a", 1, at(3500)), Some(7));
        assert_eq!(cache.stats.served_unproven.read(), 1, "a look-up that waits is none");
        // A name that is young is served from a directory that may be another one by now.
        answer(&mut cache, 7, at(4000));
        learn(&mut cache, b"a", 7, at(4001));
        assert_eq!(ask(&mut cache, b"b", 1, at(4900)), None);
        answer(&mut cache, 7, at(4900));
        assert_eq!(ask(&mut cache, b"b", 1, at(5010)), None, "the directory is due");
        is_late(&mut cache, at(5260));
        assert_eq!(ask(&mut cache, b"b", 1, at(5260)), Some(7));
        assert_eq!(cache.stats.served_unproven.read(), 2);
    }

    /// One that was never opened by its path is not what is served, whatever was given instead.
    #[test]
    fn a_directory_whose_path_was_never_answered_is_waited_for() {
        let mut cache = cache(VALID, true);
        assert_eq!(ask(&mut cache, b"a", 1, at(1000)), None);
        assert!(!cache.patience.has_to_be_told());
        assert_eq!(ask(&mut cache, b"a", 2, at(2000)), None);
        answer(&mut cache, 7, at(2000));
        assert_eq!(woken(&mut cache), [1, 2], "by its end alone");
    }
}
