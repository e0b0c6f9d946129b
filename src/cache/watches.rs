//! The directories that are watched, so that names beneath them need no looking up.
//!
//! A name is covered when every directory on the way to it is watched, from the one that is
//! served down. Where links lead on, so is every directory in which a name was looked up for them.
//! What is known of a directory, or of a name that is a link, is a [`Node`]; names that are covered
//! hold the node of the last directory on their way, or their own. Whatever happens to a directory,
//! or to a name that links led through, takes its node out, with those beneath, and a name whose
//! node is gone is looked up again. What else happens to a name in a directory concerns that name
//! alone.
//!
//! Invariants: a node is there only while all nodes above it are; what was learnt by a job counts
//! only if nothing had happened to the directories on the way when it ended; after a loss nothing
//! counts that was known before; there are no more nodes, and no more watched directories, than is
//! allowed.

mod asked;
mod node;
mod relied;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use self::asked::Asked;
use self::node::{Node, Place, State};
use self::relied::Relied;
use super::stats::Stats;
use super::tree::Tree;
use crate::base::{Instant, Key, Slab};
use crate::limits::{WATCH_PAUSE, WATCHED_VALID};
use crate::ring::{End, File, Job, Links, Notice, Step, Watch, Way};

/// What is known of the directories on the way to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// All are watched; this is the node of the last, or of the name, and what is known of links.
    Watched(Key, Links),
    /// One of them cannot be watched.
    Unwatchable,
    /// They were not looked at yet.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<File>,
    nodes: Slab<Node>,
    roots: Vec<Option<Key>>,
    relied: Relied,
    asked: Asked,
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
            relied: Relied::default(),
            asked: Asked::default(),
            paused: Instant::default(),
            full: None,
            held: 0,
            stats,
        }
    }

    /// Who has something to tell; none while nothing is watched.
    pub(super) fn to_listen_to(&self) -> Option<&File> {
        self.watcher.as_ref().filter(|_| self.relied.len() > 0)
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
        let (directory, last) = split(path);
        let mut names = directory.split(|byte| *byte == b'/').filter(|n| !n.is_empty());
        let mut key = self.roots[usize::from(tree.0)];
        let mut links = Links::Refused;
        loop {
            let Some((at, node)) = key.and_then(|key| Some((key, self.nodes.get(key)?))) else {
                return Cover::Unknown;
            };
            if !node.passed.is_empty() {
                links = Links::NotLast;
            }
            match node.state {
                State::Watched(_) => {}
                // A way that goes round in a circle is no other error than a last name that is a
                // link; and nothing is looked up there.
                State::Absent if !node.passed.is_empty() => {
                    return Cover::Watched(at, Links::Followed);
                }
                State::Absent | State::Named => return Cover::Watched(at, links),
                State::Unwatchable(until) if now < until => return Cover::Unwatchable,
                State::Unwatchable(_) => return Cover::Unknown,
            }
            let Some(name) = names.next() else {
                return self.cover_last(node, last, now).unwrap_or(Cover::Watched(at, links));
            };
            key = node.beneath.get(name).copied();
        }
    }

    /// What is known of a name by itself: it is a link.
    fn cover_last(&self, directory: &Node, name: &[u8], now: Instant) -> Option<Cover> {
        let key = *directory.links.get(name)?;
        match self.nodes.get(key)?.state {
            State::Unwatchable(until) => (now < until).then_some(Cover::Unwatchable),
            _ => Some(Cover::Watched(key, Links::Followed)),
        }
    }

    /// A job that has a way watched, unless it is under way or there is no room.
    pub(super) fn ask(
        &mut self,
        (tree, root): (Tree, &File),
        way: Way,
        mount: u64,
        now: Instant,
    ) -> Option<Job> {
        let watcher = self.watcher.clone()?;
        if now < self.paused || !self.asked.begin(tree, &way, mount) {
            return None;
        }
        Some(Job::Watch { watcher, root: root.clone(), mount, way, steps: Vec::new() })
    }

    /// A job could not be started, or has failed.
    pub(super) fn failed(&mut self, tree: Tree, way: &Way, now: Instant) {
        self.asked.end(tree, way);
        self.paused = now + WATCH_PAUSE;
    }

    /// Takes in what a job has found. `same_root` says whether the tree's directory is still the
    /// one that it began at.
    pub(super) fn learn(
        &mut self,
        tree: Tree,
        way: &Way,
        steps: Vec<Step>,
        same_root: bool,
        now: Instant,
    ) {
        let good = same_root && self.asked.can_believe(&steps);
        self.asked.end(tree, way);
        let mut names = way.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let mut place = good.then_some(Place::Root);
        for step in steps {
            let key = match place {
                Some(place) => self.put(tree, place, step, now),
                None => {
                    self.relied.leave(step.watches());
                    None
                }
            };
            place = key.and_then(|key| match names.next() {
                Some(name) => Some(Place::Directory(key, name)),
                None => way.names.first().map(|name| Place::Link(key, name)),
            });
        }
        self.note_levels();
    }

    fn at(&self, tree: Tree, place: Place<'_>) -> Option<Key> {
        match place {
            Place::Root => self.roots[usize::from(tree.0)],
            Place::Directory(above, name) => self.nodes.get(above)?.beneath.get(name).copied(),
            Place::Link(above, name) => self.nodes.get(above)?.links.get(name).copied(),
        }
    }

    /// The node of a step, as it is already or anew.
    fn put(&mut self, tree: Tree, place: Place<'_>, mut step: Step, now: Instant) -> Option<Key> {
        let (above, name, named) = match place {
            Place::Root => (None, &[][..], false),
            Place::Directory(above, name) => (Some(above), name, false),
            Place::Link(above, name) => (Some(above), name, true),
        };
        let state = match step.end {
            End::Watched(watch) => State::Watched(watch),
            End::Absent => State::Absent,
            End::Named => State::Named,
            End::Unwatchable => {
                // Only that it may be another link soon has still to be told.
                let own = above.and_then(|above| self.nodes.get(above)?.state.watch());
                let other = step.passed.extract_if(.., |(watch, _)| Some(*watch) != own);
                self.relied.leave(other.map(|(watch, _)| watch));
                State::Unwatchable(now + WATCHED_VALID)
            }
        };
        if let Some(key) = self.at(tree, place) {
            let same = |node: &Node| node.state == state && node.passed == step.passed;
            if self.nodes.get(key).is_some_and(same) {
                return Some(key);
            }
            self.take_out(key);
        }
        if !self.has_room(&step) {
            self.sweep(above);
        }
        let path: Rc<[u8]> = match above {
            Some(above) => join(&self.nodes.get(above)?.path, name).into(),
            None => Rc::from([]),
        };
        if !self.has_room(&step) {
            self.relied.leave(step.watches());
            self.stats.watches_refused.add(1);
            self.full = Some(now + WATCHED_VALID);
            return None;
        }
        let node = Node {
            tree,
            path,
            above,
            named,
            beneath: HashMap::new(),
            links: HashMap::new(),
            state,
            passed: step.passed.clone(),
            held: 0,
        };
        let key = self.nodes.insert(node).expect("there is room");
        self.relied.add(key, state.watch(), &step.passed);
        match above.and_then(|above| self.nodes.get_mut(above)) {
            Some(above) => {
                above.below(named).insert(name.into(), key);
            }
            None => self.roots[usize::from(tree.0)] = Some(key),
        }
        if step.end == End::Unwatchable {
            self.stats.watches_refused.add(1);
        }
        Some(key)
    }

    fn has_room(&self, step: &Step) -> bool {
        let watches = self.relied.len() + self.relied.count_new(step.watches());
        self.nodes.len() < self.nodes.count_max() && watches <= self.nodes.count_max()
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
            && node.links.is_empty()
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
        self.asked.hear(watch, self.nodes.count_max());
        for key in self.relied.of(watch) {
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
        for key in self.relied.through(watch, name.as_deref()) {
            self.take_out(key);
        }
        self.note_levels();
    }

    /// Something has happened that nobody knows of.
    pub(super) fn lose(&mut self) {
        self.stats.notices_lost.add(1);
        self.asked.lose();
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
        self.relied.forget_idle();
    }

    /// Takes a node out, with all beneath it.
    fn take_out(&mut self, key: Key) {
        let Some(node) = self.nodes.get(key) else { return };
        let (tree, above, named) = (node.tree, node.above, node.named);
        let path = Rc::clone(&node.path);
        match above.and_then(|above| self.nodes.get_mut(above)) {
            Some(above) => {
                above.below(named).remove(split(&path).1);
            }
            None => self.roots[usize::from(tree.0)] = None,
        }
        let mut left = vec![key];
        while let Some(key) = left.pop() {
            let Some(node) = self.nodes.remove(key) else { continue };
            left.extend(node.beneath.values().chain(node.links.values()));
            self.held -= node.held;
            self.full = None;
            self.relied.remove(key, node.state.watch(), &node.passed);
        }
    }

    /// The next watch that nobody needs.
    pub(super) fn next_idle(&mut self) -> Option<(File, Watch)> {
        let watcher = self.watcher.clone()?;
        self.relied.next_idle().map(|watch| (watcher, watch))
    }

    /// Whether there are watches that nobody needs.
    pub(super) fn has_idle(&self) -> bool {
        self.relied.has_idle()
    }

    fn note_levels(&self) {
        self.stats.watches.set(self.relied.len() as u64);
    }
}

/// The path of the directory that a name lies in, and the name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, separator, name].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ring::{Closing, Descriptor};

    const TREE: Tree = Tree(0);
    const ROOT: Watch = Watch(1);
    const RELEASES: Watch = Watch(2);
    const FIRST: Watch = Watch(3);

    fn file() -> File {
        let fd = tempfile::tempfile().unwrap().into();
        Descriptor::adopt(fd, &Rc::new(Closing::default())).into()
    }

    fn watches(nodes_max: usize) -> Watches {
        Watches::new(Some(file()), 1, nodes_max, Arc::default())
    }

    fn step(end: End, passed: &[(Watch, &str)]) -> Step {
        let passed = passed.iter().map(|(watch, name)| (*watch, name.as_bytes().into()));
        Step { end, passed: passed.collect() }
    }

    /// The way to `current`, which leads to `releases/1`.
    fn current() -> (Way, Vec<Step>) {
        let way = Way { path: (*b"current").into(), names: Vec::new(), follow_links: true };
        let passed = [(ROOT, "current"), (ROOT, "releases"), (RELEASES, "1")];
        (way, vec![step(End::Watched(ROOT), &[]), step(End::Watched(FIRST), &passed)])
    }

    /// The names `last` and `last.gz`, both links, the one into `releases`.
    fn last() -> (Way, Vec<Step>) {
        let names = vec![(*b"last").into(), (*b"last.gz").into()];
        let way = Way { path: (*b"").into(), names, follow_links: true };
        let passed = [(ROOT, "last"), (ROOT, "last.gz"), (ROOT, "releases"), (RELEASES, "1.tar")];
        (way, vec![step(End::Watched(ROOT), &[]), step(End::Named, &passed)])
    }

    fn begin(watches: &mut Watches, way: &Way) {
        let asked = watches.ask((TREE, &file()), way.clone(), 0, Instant::default());
        assert!(asked.is_some(), "{way:?}");
    }

    fn learn(watches: &mut Watches, (way, steps): (Way, Vec<Step>)) {
        begin(watches, &way);
        watches.learn(TREE, &way, steps, true, Instant::default());
    }

    fn cover(watches: &Watches, path: &str) -> Cover {
        watches.cover(TREE, path.as_bytes(), Instant::default())
    }

    /// The node of a name, which is held.
    fn held(watches: &mut Watches, path: &str, expected: Links) -> Key {
        match cover(watches, path) {
            Cover::Watched(key, links) if links == expected => {
                assert!(watches.hold(key));
                key
            }
            cover => panic!("{path}: {cover:?}"),
        }
    }

    /// The paths that are concerned by themselves.
    fn hear(watches: &mut Watches, notice: Notice) -> Vec<String> {
        let mut concerned = Vec::new();
        watches.hear(notice, &mut concerned);
        concerned.into_iter().map(|(_, path)| String::from_utf8(path).unwrap()).collect()
    }

    fn name(watch: Watch, name: &str) -> Notice {
        Notice::Name(watch, name.as_bytes().to_vec())
    }

    fn idle(watches: &mut Watches) -> Vec<Watch> {
        let mut idle: Vec<_> =
            std::iter::from_fn(|| watches.next_idle()).map(|(_, watch)| watch).collect();
        idle.sort();
        idle.dedup();
        idle
    }

    #[test]
    fn what_happens_to_a_name_that_a_link_led_through_takes_its_node_out() {
        let changes = [
            name(ROOT, "current"),
            name(ROOT, "releases"),
            name(RELEASES, "1"),
            Notice::Itself(RELEASES),
            Notice::Itself(FIRST),
        ];
        for change in changes {
            let mut watches = watches(10);
            learn(&mut watches, current());
            let key = held(&mut watches, "current/page", Links::NotLast);
            assert!(matches!(cover(&watches, "page"), Cover::Watched(_, Links::Refused)));
            assert_eq!(hear(&mut watches, name(RELEASES, "2")), [""; 0]);
            assert_eq!(hear(&mut watches, name(FIRST, "page")), ["current/page"]);
            assert!(watches.stands(key) && watches.stats.watches.read() == 3, "{change:?}");
            hear(&mut watches, change.clone());
            assert!(!watches.stands(key) && watches.held() == 0, "{change:?}");
            assert_eq!(cover(&watches, "current/page"), Cover::Unknown, "{change:?}");
            assert_eq!(idle(&mut watches), [RELEASES, FIRST], "{change:?}");
            assert_eq!(watches.stats.watches.read(), 1);
        }
    }

    #[test]
    fn what_happens_to_a_link_that_is_a_name_or_to_its_neighbours_takes_its_node_out() {
        for change in [name(ROOT, "last"), name(ROOT, "last.gz"), name(RELEASES, "1.tar")] {
            let mut watches = watches(10);
            learn(&mut watches, last());
            let key = held(&mut watches, "last", Links::Followed);
            assert!(matches!(cover(&watches, "other"), Cover::Watched(_, Links::Refused)));
            assert_eq!(cover(&watches, "last/beneath"), Cover::Unknown, "it is no directory");
            hear(&mut watches, name(ROOT, "other"));
            assert!(watches.stands(key));
            hear(&mut watches, change.clone());
            assert!(!watches.stands(key), "{change:?}");
            assert!(matches!(cover(&watches, "last"), Cover::Watched(_, Links::Refused)));
            assert_eq!(idle(&mut watches), [RELEASES], "{change:?}");
        }
    }

    #[test]
    fn a_watch_stays_as_long_as_a_node_needs_it() {
        let mut watches = watches(10);
        learn(&mut watches, current());
        learn(&mut watches, last());
        let (page, tar) = (
            held(&mut watches, "current/page", Links::NotLast),
            held(&mut watches, "last", Links::Followed),
        );
        watches.release(page);
        assert_eq!(idle(&mut watches), [FIRST], "one needs the directory of releases");
        watches.release(tar);
        assert_eq!(idle(&mut watches), [ROOT, RELEASES]);
        assert_eq!((watches.nodes.len(), watches.relied.len()), (0, 0));
    }

    #[test]
    fn what_happens_meanwhile_where_links_lead_through_makes_a_job_void() {
        for (way, steps) in [current(), last()] {
            let mut watches = watches(10);
            begin(&mut watches, &way);
            hear(&mut watches, name(RELEASES, "any"));
            watches.learn(TREE, &way, steps, true, Instant::default());
            assert_eq!(cover(&watches, "page"), Cover::Unknown);
            assert!(idle(&mut watches).contains(&RELEASES), "it is watched no longer");
            assert_eq!(watches.stats.watches.read(), 0);
        }
    }

    #[test]
    fn a_link_that_leads_out_is_tried_again_when_it_is_another() {
        let mut watches = watches(10);
        let (way, mut steps) = last();
        steps[1].end = End::Unwatchable;
        learn(&mut watches, (way, steps));
        assert_eq!(cover(&watches, "last"), Cover::Unwatchable);
        assert_eq!(watches.stats.watches_refused.read(), 1);
        assert_eq!(idle(&mut watches), [RELEASES], "where it led does not matter");
        hear(&mut watches, name(ROOT, "last.gz"));
        assert!(matches!(cover(&watches, "last"), Cover::Watched(_, Links::Refused)));
        let (way, mut steps) = current();
        steps[1].end = End::Unwatchable;
        learn(&mut watches, (way, steps));
        assert_eq!(cover(&watches, "current/page"), Cover::Unwatchable);
        hear(&mut watches, name(ROOT, "current"));
        assert_eq!(cover(&watches, "current/page"), Cover::Unknown);
    }

    #[test]
    fn no_more_is_watched_for_links_than_is_allowed() {
        let mut watches = watches(2);
        learn(&mut watches, current());
        assert_eq!(cover(&watches, "page"), Cover::Unwatchable, "there is no room");
        assert_eq!(idle(&mut watches), [RELEASES, FIRST]);
        assert_eq!((watches.nodes.len(), watches.relied.len()), (1, 1));
        let mut watches = self::watches(3);
        learn(&mut watches, current());
        held(&mut watches, "current/page", Links::NotLast);
        let way = Way { path: (*b"more").into(), ..Way::default() };
        let more = step(End::Watched(Watch(4)), &[]);
        learn(&mut watches, (way, vec![step(End::Watched(ROOT), &[]), more]));
        assert_eq!(cover(&watches, "more/page"), Cover::Unwatchable, "others are in use");
        assert_eq!(idle(&mut watches), [Watch(4)]);
        assert_eq!(watches.relied.len(), 3);
    }
}
