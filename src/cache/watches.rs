//! The directories that are watched, so that names beneath them need no looking up.
//!
//! A name is covered when every directory on the way to it is watched, from the one that is
//! served down, and none of them is a link. What is known of a directory is a [`Node`]; names
//! that are covered hold the node of the last directory on their way. Whatever happens to a
//! directory takes its node out, with those beneath, and a name whose node is gone is looked up
//! again. What happens to a name in a directory concerns that name alone.
//!
//! Invariants: a node is there only while all nodes above it are; what was learnt by a job counts
//! only if nothing had happened to the directories on the way when it ended; after a loss nothing
//! counts that was known before.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::stats::Stats;
use super::tree::Tree;
use crate::base::{Instant, Key, Slab};
use crate::limits::{WATCH_JOBS_MAX, WATCH_JOBS_PER_MOUNT_MAX, WATCH_PAUSE, WATCHED_VALID};
use crate::ring::{File, Job, Notice, Step, Watch};

/// What is known of the directories on the way to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// All are watched; this is the node of the last.
    Watched(Key),
    /// One of them cannot be watched.
    Unwatchable,
    /// They were not looked at yet.
    Unknown,
}

#[derive(Debug)]
struct Node {
    tree: Tree,
    /// Beneath the tree.
    path: Rc<[u8]>,
    above: Option<Key>,
    beneath: HashMap<Box<[u8]>, Key>,
    state: State,
    /// Names that hold it.
    held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Watched(Watch),
    /// There is none; the one above tells when there is.
    Absent,
    /// Not to be tried again before this time.
    Unwatchable(Instant),
}

/// A way that a helper walks.
#[derive(Debug)]
struct Asked {
    tree: Tree,
    path: Box<[u8]>,
    mount: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<File>,
    nodes: Slab<Node>,
    roots: Vec<Option<Key>>,
    by_watch: HashMap<Watch, Vec<Key>>,
    asked: Vec<Asked>,
    /// Directories that told something before the job that has them watched came home; all, if
    /// so much was lost.
    strangers: HashSet<Watch>,
    all_are_strange: bool,
    /// Watches that nobody needs any more.
    idle: Vec<Watch>,
    /// Nothing more is watched before this time.
    paused: Instant,
    /// Whether there was no room for a node, and until when nobody tries.
    full: Option<Instant>,
    /// Names that hold a node.
    held: usize,
    stats: Arc<Stats>,
}

impl Watches {
    /// Nodes at most: none watches nothing.
    pub(super) fn new(
        watcher: Option<File>,
        trees: usize,
        nodes_max: usize,
        stats: Arc<Stats>,
    ) -> Self {
        stats.watches_max.set(nodes_max as u64);
        Self {
            watcher: watcher.filter(|_| nodes_max > 0),
            nodes: Slab::new(nodes_max),
            roots: vec![None; trees],
            by_watch: HashMap::new(),
            asked: Vec::new(),
            strangers: HashSet::new(),
            all_are_strange: false,
            idle: Vec::new(),
            paused: Instant::default(),
            full: None,
            held: 0,
            stats,
        }
    }

    /// Who has something to tell; none while nothing is watched.
    pub(super) fn to_listen_to(&self) -> Option<&File> {
        self.watcher.as_ref().filter(|_| !self.by_watch.is_empty())
    }

    /// Names that are covered.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether the directories on the way to a name are watched.
    pub(super) fn cover(&self, tree: Tree, path: &[u8], now: Instant) -> Cover {
        if self.watcher.is_none() || self.full.is_some_and(|until| now < until) {
            return Cover::Unwatchable;
        }
        let mut names = directory_of(path).split(|byte| *byte == b'/').filter(|n| !n.is_empty());
        let mut key = self.roots[usize::from(tree.0)];
        loop {
            let Some((at, node)) = key.and_then(|key| Some((key, self.nodes.get(key)?))) else {
                return Cover::Unknown;
            };
            match node.state {
                State::Watched(_) => {}
                State::Absent => return Cover::Watched(at),
                State::Unwatchable(until) if now < until => return Cover::Unwatchable,
                State::Unwatchable(_) => return Cover::Unknown,
            }
            let Some(name) = names.next() else { return Cover::Watched(at) };
            key = node.beneath.get(name).copied();
        }
    }

    /// A job that has the way to a name watched, unless it is under way or there is no room.
    pub(super) fn ask(
        &mut self,
        (tree, root): (Tree, &File),
        path: &[u8],
        mount: u64,
        now: Instant,
    ) -> Option<Job> {
        let path = directory_of(path);
        let of_mount = self.asked.iter().filter(|asked| asked.mount == mount).count();
        if now < self.paused
            || self.asked.len() >= WATCH_JOBS_MAX
            || of_mount >= WATCH_JOBS_PER_MOUNT_MAX
            || self.asked.iter().any(|asked| asked.tree == tree && *asked.path == *path)
        {
            return None;
        }
        let watcher = self.watcher.clone()?;
        self.asked.push(Asked { tree, path: path.into(), mount });
        let (root, path) = (root.clone(), path.into());
        Some(Job::Watch { watcher, root, mount, path, steps: Vec::new() })
    }

    /// A job could not be started, or has failed.
    pub(super) fn failed(&mut self, tree: Tree, path: &[u8], now: Instant) {
        self.no_longer_asked(tree, path);
        self.paused = now + WATCH_PAUSE;
    }

    /// Takes in what a job has found. `same_root` says whether the tree's directory is still the
    /// one that it began at.
    pub(super) fn learn(
        &mut self,
        tree: Tree,
        path: &[u8],
        steps: &[Step],
        same_root: bool,
        now: Instant,
    ) {
        let strange = |step: &Step| match step {
            Step::Watched(watch) => self.strangers.contains(watch),
            Step::Absent | Step::Unwatchable => false,
        };
        let good = same_root && !self.all_are_strange && !steps.iter().any(strange);
        self.no_longer_asked(tree, path);
        if !good {
            return self.leave(steps);
        }
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let mut above = None;
        for (at, step) in steps.iter().enumerate() {
            let name = above.and_then(|_: Key| names.next()).unwrap_or_default();
            above = self.put(tree, above, name, *step, now);
            if above.is_none() {
                self.leave(&steps[at..]);
                break;
            }
        }
        self.note_levels();
    }

    /// What a job has had watched is of no use.
    fn leave(&mut self, steps: &[Step]) {
        self.idle.extend(steps.iter().filter_map(|step| match step {
            Step::Watched(watch) if !self.by_watch.contains_key(watch) => Some(*watch),
            _ => None,
        }));
    }

    fn no_longer_asked(&mut self, tree: Tree, path: &[u8]) {
        self.asked.retain(|asked| asked.tree != tree || *asked.path != *path);
        if self.asked.is_empty() {
            self.strangers.clear();
            self.all_are_strange = false;
        }
    }

    /// The node of a step, as it is already or anew.
    fn put(
        &mut self,
        tree: Tree,
        above: Option<Key>,
        name: &[u8],
        step: Step,
        now: Instant,
    ) -> Option<Key> {
        let state = match step {
            Step::Watched(watch) => State::Watched(watch),
            Step::Absent => State::Absent,
            Step::Unwatchable => State::Unwatchable(now + WATCHED_VALID),
        };
        let place = |watches: &Self| match above {
            Some(above) => watches.nodes.get(above)?.beneath.get(name).copied(),
            None => watches.roots[usize::from(tree.0)],
        };
        if let Some(key) = place(self) {
            if self.nodes.get(key).is_some_and(|node| node.state == state) {
                return Some(key);
            }
            self.take_out(key);
        }
        if self.nodes.len() == self.nodes.count_max() {
            self.sweep(above);
        }
        let path: Rc<[u8]> = match above {
            Some(above) => join(&self.nodes.get(above)?.path, name).into(),
            None => Rc::from([]),
        };
        let node = Node { tree, path, above, beneath: HashMap::new(), state, held: 0 };
        let Ok(key) = self.nodes.insert(node) else {
            self.stats.watches_refused.add(1);
            self.full = Some(now + WATCHED_VALID);
            return None;
        };
        match above.and_then(|above| self.nodes.get_mut(above)) {
            Some(above) => {
                above.beneath.insert(name.into(), key);
            }
            None => self.roots[usize::from(tree.0)] = Some(key),
        }
        match state {
            State::Watched(watch) => self.by_watch.entry(watch).or_default().push(key),
            State::Unwatchable(_) => self.stats.watches_refused.add(1),
            State::Absent => {}
        }
        Some(key)
    }

    /// Takes out every node that nobody needs, but for one and those above it.
    fn sweep(&mut self, spared: Option<Key>) {
        let mut spare = HashSet::new();
        let mut at = spared;
        while let Some(key) = at {
            spare.insert(key);
            at = self.nodes.get(key).and_then(|node| node.above);
        }
        for key in self.nodes.keys().collect::<Vec<_>>() {
            self.take_out_if_idle(key, &spare);
        }
    }

    /// Takes a node out that nobody holds, and those above it that were there for it alone.
    fn take_out_if_idle(&mut self, key: Key, spare: &HashSet<Key>) {
        let mut at = Some(key);
        while let Some(key) = at
            && let Some(node) = self.nodes.get(key)
            && node.held == 0
            && node.beneath.is_empty()
            && !spare.contains(&key)
        {
            at = node.above;
            self.take_out(key);
        }
    }

    /// Holds a node for a name; `false` if it is gone.
    pub(super) fn hold(&mut self, key: Key) -> bool {
        let Some(node) = self.nodes.get_mut(key) else { return false };
        node.held += 1;
        self.held += 1;
        true
    }

    /// Lets go of a node that a name held.
    pub(super) fn release(&mut self, key: Key) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        node.held -= 1;
        self.held -= 1;
        self.take_out_if_idle(key, &HashSet::new());
        self.note_levels();
    }

    /// Whether nothing has happened to the directories on the way.
    pub(super) fn stands(&self, key: Key) -> bool {
        self.nodes.get(key).is_some()
    }

    /// Takes in what a directory has told. The paths that are concerned by themselves, each
    /// beneath its tree, are appended.
    pub(super) fn hear(&mut self, notice: Notice, concerned: &mut Vec<(Tree, Vec<u8>)>) {
        self.stats.notices.add(1);
        let (watch, name) = match notice {
            Notice::Lost => return self.lose(),
            Notice::Itself(watch) => (watch, None),
            Notice::Name(watch, name) => (watch, Some(name)),
        };
        // A job may be about to say that it has the same directory watched, by another way too.
        if !self.asked.is_empty() && !self.all_are_strange {
            self.strangers.insert(watch);
            self.all_are_strange = self.strangers.len() > self.nodes.count_max();
        }
        for key in self.by_watch.get(&watch).cloned().unwrap_or_default() {
            let Some(node) = self.nodes.get(key) else { continue };
            let Some(name) = &name else {
                self.take_out(key);
                continue;
            };
            concerned.push((node.tree, join(&node.path, name)));
            if let Some(beneath) = node.beneath.get(&**name).copied() {
                self.take_out(beneath);
            }
        }
        self.note_levels();
    }

    /// Something has happened that nobody knows of.
    pub(super) fn lose(&mut self) {
        self.stats.notices_lost.add(1);
        self.all_are_strange = !self.asked.is_empty();
        for root in 0..self.roots.len() {
            self.forget(Tree(root as u16));
        }
    }

    /// A tree has another directory than before.
    pub(super) fn forget(&mut self, tree: Tree) {
        if let Some(key) = self.roots[usize::from(tree.0)] {
            self.take_out(key);
        }
        self.note_levels();
    }

    /// Watches nothing any more.
    pub(super) fn give_up(&mut self) {
        self.lose();
        self.watcher = None;
        self.idle.clear();
    }

    /// Takes a node out, with all beneath it.
    fn take_out(&mut self, key: Key) {
        let Some(node) = self.nodes.get(key) else { return };
        let (tree, above, path) = (node.tree, node.above, Rc::clone(&node.path));
        match above.and_then(|above| self.nodes.get_mut(above)) {
            Some(above) => {
                let slash = memchr::memrchr(b'/', &path);
                above.beneath.remove(&path[slash.map_or(0, |slash| slash + 1)..]);
            }
            None => self.roots[usize::from(tree.0)] = None,
        }
        let mut left = vec![key];
        while let Some(key) = left.pop() {
            let Some(node) = self.nodes.remove(key) else { continue };
            left.extend(node.beneath.values());
            self.held -= node.held;
            self.full = None;
            let State::Watched(watch) = node.state else { continue };
            if let Some(nodes) = self.by_watch.get_mut(&watch) {
                nodes.retain(|other| *other != key);
                if nodes.is_empty() {
                    self.by_watch.remove(&watch);
                    self.idle.push(watch);
                }
            }
        }
    }

    /// The next watch that nobody needs.
    pub(super) fn next_idle(&mut self) -> Option<(File, Watch)> {
        let watcher = self.watcher.clone()?;
        loop {
            let watch = self.idle.pop()?;
            // A job may have come home with it in the meantime.
            if !self.by_watch.contains_key(&watch) {
                return Some((watcher, watch));
            }
        }
    }

    /// Whether there are watches that nobody needs.
    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    fn note_levels(&self) {
        self.stats.watches.set(self.by_watch.len() as u64);
    }
}

/// The path of the directory that a name lies in.
fn directory_of(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(&[], |slash| &path[..slash])
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, separator, name].concat()
}
