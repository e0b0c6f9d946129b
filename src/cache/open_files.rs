//! The table of names, bounded, with second-chance eviction.
//!
//! A name is that of a file in one of the directories of [`super::Directory`].
//!
//! Invariants: an entry that is being loaded is never put out, nor one in the turn in which its
//! load ended, so that those who waited find it; every waiter of a load is woken when it ends,
//! however it ends; no answer is older than the last change that a watched directory has told, or,
//! where there is none, than the revalidation time, but for a request that has waited for it since
//! before, and for what stands in while a disk does not answer ([`super::patience`]). Names that
//! are asked for at once may be more than are kept: then the table is larger for as long as they
//! are being found out.

use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;

use super::freshness::{Trust, trust_in};
use super::hashing::Hashing;
use super::hot::Hot;
use super::load::{Load, Loads, Part};
use super::lookup::{Asker, Found, Lookup, Options};
use super::moving::Moving;
use super::patience::{Awaited, Patience};
use super::queue::Queue;
use super::recall::Recall;
use super::starved::Starved;
use super::stats::Stats;
use super::tenure::Tenure;
use super::tree::{Directory, Followed, Root, Tree};
use super::version::Name;
use super::watches::{Cover, Watches};
use crate::base::{Instant, Key, Slab};
use crate::limits::LOADS_MAX;
use crate::ring::{Completion, File, Io, Job, Op, Owner, Start, Ticket, Wake};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tree: Tree,
    /// Which of the directories that were there it was found in.
    pub(super) generation: u32,
    pub(super) name: Rc<[u8]>,
    pub(super) found: Option<Found>,
    /// When `found` was found out: the start of its load.
    pub(super) checked: Instant,
    /// The turn in which that load ended.
    pub(super) settled: Instant,
    pub(super) trust: Trust,
    /// Whether it was asked for since the eviction's hand passed.
    pub(super) used: bool,
    /// Whether the file was seen to have changed.
    pub(super) distrusted: bool,
    pub(super) load: Option<Box<Load>>,
}

/// What an operation is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Entry(Key, Part),
    Root(Tree),
    /// Of the directories on the way to a file, as they were in this era.
    Watch(Tree, u32),
}

/// See the module.
#[derive(Debug)]
pub struct OpenFiles {
    pub(super) roots: Vec<Root>,
    pub(super) watches: Watches,
    pub(super) hot: Hot,
    /// How long the page cache keeps what is read into it.
    pub tenure: Tenure,
    /// When files were asked for.
    pub recall: Recall,
    pub(super) moving: Moving,
    /// When watched directories were last asked what happened.
    pub(super) caught_up: Instant,
    pub(super) options: Options,
    pub(super) entries: Slab<Entry>,
    pub(super) hand: Vec<Key>,
    /// Entries that are being found out.
    pub(super) loads: Loads,
    /// Operations that wait to be started.
    pub(super) queue: Queue<Purpose>,
    /// Those on descriptors that may be done without.
    pub(super) aparts: Vec<(Key, Part, Op)>,
    pub(super) hashing: Hashing,
    pub(super) starved: Starved,
    /// Operations in flight.
    pub(super) pending: HashMap<Ticket, Purpose>,
    pub(super) patience: Patience,
    pub(super) woken: Vec<Owner>,
    /// What names led to that lead elsewhere.
    pub(super) outdated: Vec<Rc<Name>>,
    pub(super) stats: Arc<Stats>,
}

impl OpenFiles {
    /// A cache of the files beneath some directories, the first of which is `Tree(0)`. Without a
    /// watcher none of them is watched.
    pub fn new(
        directories: Vec<Directory>,
        watcher: Option<File>,
        options: Options,
        stats: Arc<Stats>,
    ) -> Self {
        assert!(options.entries_max > 0, "a lookup needs an entry");
        assert!(u16::try_from(directories.len()).is_ok(), "a directory has a number");
        stats.entries_max.set(options.entries_max as u64);
        let trees = directories.len();
        Self {
            watches: Watches::new(watcher, trees, options.watches_max, Arc::clone(&stats)),
            hot: Hot::new(options.hot_bytes, options.drop_from, Arc::clone(&stats)),
            tenure: Tenure::new(Arc::clone(&stats)),
            recall: Recall::new(Arc::clone(&stats)),
            moving: Moving::new(Arc::clone(&stats)),
            caught_up: Instant::default(),
            roots: directories.into_iter().map(Root::new).collect(),
            options,
            entries: Slab::new(options.entries_max + LOADS_MAX),
            hand: Vec::new(),
            loads: Loads::default(),
            queue: Queue::default(),
            aparts: Vec::new(),
            hashing: Hashing::default(),
            starved: Starved::default(),
            pending: HashMap::default(),
            patience: Patience::default(),
            woken: Vec::new(),
            outdated: Vec::new(),
            stats,
        }
    }

    /// What a path beneath a directory leads to. The path is relative and holds no NUL; the empty
    /// one is the directory.
    pub fn lookup(&mut self, tree: Tree, path: &[u8], asker: Asker) -> Lookup {
        let Asker { owner: waiter, since, now, again } = asker;
        let root = &mut self.roots[usize::from(tree.0)];
        if root.look() {
            // What is watched may lie beneath a mount now.
            self.watches.forget(tree);
        }
        let proven = match root.follow(since, now, self.options.valid, waiter) {
            Followed::Good => true,
            Followed::Unproven => false,
            Followed::Waiting => return Lookup::Waiting(root.directory.file.mount()),
            Followed::Begun(op) => {
                if root.may_stand_in(self.options.valid) {
                    self.patience.begin(now, Awaited::Root(tree.0));
                }
                let mount = op.mount();
                self.queue.push(Purpose::Root(tree), op);
                return Lookup::Waiting(mount);
            }
        };
        let generation = root.generation;
        let known = root.names.get(path).copied();
        if let Some(entry) = known.and_then(|key| self.entries.get_mut(key)) {
            entry.used = true;
        }
        if let Some(entry) = known.and_then(|key| self.entries.get(key))
            && let Some(found) = &entry.found
            && entry.generation == generation
            && self.is_fresh(entry, found, since, now)
        {
            self.stats.hits.add(u64::from(!again));
            self.stats.served_unproven.add(u64::from(!proven));
            return Lookup::Known(found.clone());
        }
        if let Some(found) = known.and_then(|key| self.stand_in(key, generation, now)) {
            self.stats.served_unproven.add(1);
            return Lookup::Known(found);
        }
        let mount = self.roots[usize::from(tree.0)].expects(path).mount;
        let begins = known.and_then(|key| self.entries.get(key)).is_none_or(|e| e.load.is_none());
        if begins && !self.loads.have_room(mount) {
            self.stats.refused.add(1);
            return Lookup::Full;
        }
        let key = match known {
            Some(key) => key,
            None => match self.add(tree, path, now) {
                Some(key) => key,
                None => {
                    self.stats.refused.add(1);
                    return Lookup::Full;
                }
            },
        };
        let entry = self.entries.get_mut(key).expect("it was found or added just now");
        match &mut entry.load {
            // A load that began before the request may have seen the file of before; its waiters
            // ask again and start another.
            Some(load) => load.waiters.push(waiter),
            None => {
                let found_on = entry.found.as_ref().map(|found| found.mount(tree));
                let cover = self.watches.cover(tree, path, now);
                let follow_links = self.options.follow_links;
                let load = Load::new(now, generation, mount, cover, follow_links, waiter);
                entry.load = Some(Box::new(load));
                self.loads.begin(mount, now);
                self.open(key, Part::ORIGINAL);
                if self.may_stand_in(key, generation) {
                    self.patience.begin(now, Awaited::Entry(key));
                }
                let Some(found_on) = found_on else {
                    self.stats.misses.add(1);
                    return Lookup::Waiting(mount);
                };
                self.stats.revalidations.add(1);
                // What is asked for once only is not worth a watch.
                if cover == Cover::Unknown {
                    self.watch(tree, path, found_on, now);
                }
            }
        }
        Lookup::Waiting(mount)
    }

    /// What is known of a path is not true any more; the next lookup finds it out anew.
    pub fn distrust(&mut self, tree: Tree, path: &[u8]) {
        let names = &self.roots[usize::from(tree.0)].names;
        let entry = names.get(path).and_then(|key| self.entries.get_mut(*key));
        if let Some(entry) = entry {
            entry.distrusted = true;
        }
    }

    /// The directory of a number: the one that what was found in it just now is beneath.
    pub fn root(&self, tree: Tree) -> &File {
        &self.roots[usize::from(tree.0)].directory.file
    }

    /// Whether symbolic links beneath the directories are followed.
    pub fn follows_links(&self) -> bool {
        self.options.follow_links
    }

    /// Starts what lookups have asked for.
    pub fn pump(&mut self, io: &mut dyn Io) {
        self.hot.pump(io);
        self.moving.pump(io);
        self.be_patient(io);
        self.start_queued(io);
        while self.start_apart(io) {
            self.start_queued(io);
        }
        while let Some((watcher, watch)) = self.watches.next_idle() {
            // A directory that is gone is watched by nobody.
            let _ = io.start(Op::Unwatch { watcher, watch });
        }
        while let Some((ticket, key, part)) = self.hashing.start(io) {
            self.pending.insert(ticket, Purpose::Entry(key, part));
        }
    }

    fn start_queued(&mut self, io: &mut dyn Io) {
        while let Some((purpose, op)) = self.queue.pop() {
            match io.start(op) {
                Start::Submitted(ticket) => {
                    self.pending.insert(ticket, purpose);
                }
                Start::Busy(Op::Job(Job::Watch { way, .. })) => {
                    if let Purpose::Watch(tree, _) = purpose {
                        self.watches.failed(tree, &way, io.now());
                    }
                }
                // What ran at once may have queued what follows from it.
                Start::Executed(completion) => self.completed(purpose, completion, io.now()),
                Start::Busy(op) | Start::Blocked(op, _) => self.queue.put_back(purpose, op),
            }
        }
    }

    /// Takes in a wake of the cache's own operations.
    pub fn wake(&mut self, wake: Wake, now: Instant) {
        self.hashing.wake();
        self.queue.wake();
        self.feed_the_starved(now);
        if let Wake::Deadline(_) = wake {
            self.lose_patience(now);
        }
        if let Wake::Done(completion) = wake
            && let Some(completion) = self.hot.take(completion)
            && let Some(completion) = self.moving.take(completion)
            && let Some(purpose) = completion.ticket.and_then(|ticket| self.pending.remove(&ticket))
        {
            self.completed(purpose, completion, now);
        }
    }

    /// Whether `pump` has something to start.
    pub fn has_work(&self) -> bool {
        self.queue.has_work()
            || !self.aparts.is_empty()
            || self.watches.has_idle()
            || self.hot.has_work()
            || self.moving.has_work()
            || self.hashing.has_work()
            || self.patience.has_to_be_told()
    }

    /// What a name led to until it was seen to lead elsewhere.
    pub fn next_outdated(&mut self) -> Option<Rc<Name>> {
        self.outdated.pop()
    }

    /// The next owner whose lookup may be answered now.
    pub fn next_woken(&mut self) -> Option<Owner> {
        self.woken.pop()
    }

    pub(super) fn completed(&mut self, purpose: Purpose, completion: Completion, now: Instant) {
        match purpose {
            Purpose::Entry(key, part) => self.found_out(key, part, completion, now),
            Purpose::Root(tree) => {
                let root = &mut self.roots[usize::from(tree.0)];
                let generation = root.generation;
                match root.take(completion) {
                    Ok(op) => self.queue.push(purpose, op),
                    Err(waiters) => {
                        self.patience.end(root.checked, Awaited::Root(tree.0));
                        self.woken.extend(waiters);
                    }
                }
                if root.generation != generation {
                    self.watches.forget(tree);
                }
            }
            Purpose::Watch(tree, era) => self.watched(tree, era, completion, now),
        }
    }

    pub(super) fn settle(&mut self, key: Key, now: Instant) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let mut load = entry.load.take().expect("the caller has seen it");
        let (started, waiters) = (load.started, std::mem::take(&mut load.waiters));
        self.patience.end(started, Awaited::Entry(key));
        entry.generation = load.generation;
        let trust = trust_in(&load, &mut self.watches);
        if let Trust::Watched(node) = std::mem::replace(&mut entry.trust, trust) {
            self.watches.release(node);
        }
        self.loads.end(load.mount, now);
        let before = entry.found.take();
        let resolves = trust == Trust::None && load.linked;
        let to_resolve = before
            .as_ref()
            .filter(|_| resolves)
            .map(|found| (entry.tree, Rc::clone(&entry.name), found.mount(entry.tree)));
        let (found, replaced) = load.result(before.as_ref(), self.options.fresh_only);
        if replaced {
            self.stats.replaced.add(1);
            if let Some(Found::File(name)) = before {
                self.outdated.push(name);
            }
        }
        entry.found = Some(found);
        entry.checked = started;
        entry.settled = now;
        entry.distrusted = false;
        self.woken.extend(waiters);
        if let Some((tree, name, mount)) = to_resolve {
            self.watch_links(tree, &name, mount, now);
        }
        self.note_levels();
    }

    fn add(&mut self, tree: Tree, path: &[u8], now: Instant) -> Option<Key> {
        while self.entries.len() >= self.options.entries_max && self.evict(now) {}
        if self.entries.len() == self.entries.count_max() {
            return None;
        }
        let name: Rc<[u8]> = path.into();
        let entry = Entry {
            tree,
            generation: 0,
            name: Rc::clone(&name),
            found: None,
            checked: Instant::default(),
            settled: Instant::default(),
            trust: Trust::None,
            used: false,
            distrusted: false,
            load: None,
        };
        let key = self.entries.insert(entry).expect("room was made");
        self.roots[usize::from(tree.0)].names.insert(name, key);
        self.note_levels();
        Some(key)
    }

    pub(super) fn note_levels(&self) {
        self.stats.entries.set(self.entries.len() as u64);
        self.stats.unwatched.set((self.entries.len() - self.watches.held()) as u64);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cache::Beneath;
    use rustix::io::Errno;

    use crate::ring::{Ask, Closing, Descriptor, Facts, FileKind};

    const WAITER: Owner = Key { index: 0, generation: 0 };
    const VALID: std::time::Duration = std::time::Duration::from_secs(1);

    fn descriptor() -> Descriptor {
        Descriptor::adopt(tempfile::tempfile().unwrap().into(), &Rc::new(Closing::default()))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanoseconds(millis * 1_000_000)
    }

    fn followed() -> OpenFiles {
        let options = Options {
            content_tags: false,
            drop_from: None,
            entries_max: 4,
            valid: VALID,
            watches_max: 0,
            hot_bytes: 0,
            precompressed: false,
            fresh_only: false,
            direct_from: None,
            follow_links: true,
        };
        let follow = Some(c"/srv/current".into());
        let directory = Directory {
            file: descriptor().into(),
            follow,
            mounts: Arc::new(Beneath::new(Vec::new())),
        };
        OpenFiles::new(vec![directory], None, options, Arc::default())
    }

    /// Completes what was asked for, as if every open led to the file of this inode.
    fn complete(cache: &mut OpenFiles, inode: u64, now: Instant) {
        while let Some((purpose, op)) = cache.queue.pop() {
            let (op, handle) = match op {
                Op::Stat { file, .. } => {
                    let kind = FileKind::Regular;
                    let facts = Facts { kind, size: 3, inode, ..Facts::default() };
                    let facts = Box::new(facts);
                    (Op::Stat { file, ask: Ask::Mount, facts, sheet: None }, None)
                }
                op => (op, Some(descriptor())),
            };
            let completion =
                Completion { ticket: None, op: Some(op), result: Ok(0), handle, more: false };
            cache.completed(purpose, completion, now);
        }
    }

    fn inode(cache: &mut OpenFiles, now: Instant) -> Option<u64> {
        let asker = Asker { owner: WAITER, since: now, now, again: false };
        match cache.lookup(Tree(0), b"a", asker) {
            Lookup::Known(Found::File(name)) => Some(name.original.facts.inode),
            Lookup::Known(other) => panic!("{other:?}"),
            Lookup::Waiting(_) | Lookup::Full => None,
        }
    }

    /// Asks until it is known, and says how many times it had to wait.
    fn settle(cache: &mut OpenFiles, led_to: u64, now: Instant) -> (u64, u32) {
        for waits in 0..4 {
            if let Some(inode) = inode(cache, now) {
                return (inode, waits);
            }
            complete(cache, led_to, now);
            assert!(cache.next_woken().is_some(), "who waits is woken");
        }
        panic!("never known");
    }

    #[test]
    fn a_switched_directory_takes_its_young_names_with_it() {
        let mut cache = followed();
        assert_eq!(settle(&mut cache, 7, at(1000)), (7, 2), "the directory, then the name");
        assert_eq!(inode(&mut cache, at(1900)), Some(7), "both are young");
        // Both are old; the directory is the same.
        assert_eq!(settle(&mut cache, 7, at(2100)), (7, 2));
        // The name is looked up again in between, so that it is young when the directory is not.
        cache.distrust(Tree(0), b"a");
        assert_eq!(settle(&mut cache, 7, at(3000)), (7, 1));
        assert_eq!(settle(&mut cache, 8, at(3200)), (8, 2), "another directory, another name");
        assert_eq!(inode(&mut cache, at(3300)), Some(8));
    }

    #[test]
    fn a_path_that_leads_nowhere_keeps_the_directory() {
        let mut cache = followed();
        assert_eq!(settle(&mut cache, 7, at(1000)).0, 7);
        assert_eq!(inode(&mut cache, at(2500)), None);
        let (purpose, op) = cache.queue.pop().unwrap();
        assert!(matches!(purpose, Purpose::Root(Tree(0))));
        let result = Err(Errno::NOENT);
        let completion =
            Completion { ticket: None, op: Some(op), result, handle: None, more: false };
        cache.completed(purpose, completion, at(2500));
        assert!(cache.next_woken().is_some());
        assert_eq!(settle(&mut cache, 7, at(2500)), (7, 1));
    }
}
