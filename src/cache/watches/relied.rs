//! Who relies on each watched directory: nodes of it, and nodes that links led to through a name in
//! it. What nobody relies on is watched no longer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::Key;
use crate::ring::{Passed, Watch};

#[derive(Debug, Default)]
pub(super) struct Relied {
    by_watch: HashMap<Watch, Nodes>,
    /// Watches that nobody needs any more.
    idle: Vec<Watch>,
}

#[derive(Debug, Default)]
struct Nodes {
    of_it: Vec<Key>,
    through: BTreeMap<Box<[u8]>, BTreeSet<Key>>,
}

impl Relied {
    /// Directories.
    pub(super) fn len(&self) -> usize {
        self.by_watch.len()
    }

    /// How many directories of these nobody relies on yet.
    pub(super) fn count_new(&self, watches: impl Iterator<Item = Watch>) -> usize {
        let new = watches.filter(|watch| !self.by_watch.contains_key(watch));
        new.collect::<BTreeSet<_>>().len()
    }

    /// Takes in a node: whose directory is watched, and what its links have passed.
    pub(super) fn add(&mut self, key: Key, own: Option<Watch>, passed: &[Passed]) {
        if let Some(watch) = own {
            self.by_watch.entry(watch).or_default().of_it.push(key);
        }
        for (watch, name) in passed {
            let through = &mut self.by_watch.entry(*watch).or_default().through;
            through.entry(name.clone()).or_default().insert(key);
        }
    }

    /// A node is gone.
    pub(super) fn remove(&mut self, key: Key, own: Option<Watch>, passed: &[Passed]) {
        if let Some(nodes) = own.and_then(|watch| self.by_watch.get_mut(&watch)) {
            nodes.of_it.retain(|other| *other != key);
        }
        for (watch, name) in passed {
            let Some(nodes) = self.by_watch.get_mut(watch) else { continue };
            if let Some(keys) = nodes.through.get_mut(name) {
                keys.remove(&key);
                if keys.is_empty() {
                    nodes.through.remove(name);
                }
            }
        }
        for watch in own.into_iter().chain(passed.iter().map(|(watch, _)| *watch)) {
            let nodes = self.by_watch.get(&watch);
            if nodes.is_some_and(|nodes| nodes.of_it.is_empty() && nodes.through.is_empty()) {
                self.by_watch.remove(&watch);
                self.idle.push(watch);
            }
        }
    }

    /// The nodes of a directory.
    pub(super) fn of(&self, watch: Watch) -> Vec<Key> {
        self.by_watch.get(&watch).map(|nodes| nodes.of_it.clone()).unwrap_or_default()
    }

    /// The nodes that links led to through a name of it, or through any.
    pub(super) fn through(&self, watch: Watch, name: Option<&[u8]>) -> Vec<Key> {
        let Some(nodes) = self.by_watch.get(&watch) else { return Vec::new() };
        match name {
            Some(name) => nodes.through.get(name).into_iter().flatten().copied().collect(),
            None => nodes.through.values().flatten().copied().collect(),
        }
    }

    /// What a job has had watched is of no use.
    pub(super) fn leave(&mut self, watches: impl Iterator<Item = Watch>) {
        self.idle.extend(watches.filter(|watch| !self.by_watch.contains_key(watch)));
    }

    /// The next watch that nobody needs.
    pub(super) fn next_idle(&mut self) -> Option<Watch> {
        loop {
            let watch = self.idle.pop()?;
            // A job may have come home with it in the meantime.
            if !self.by_watch.contains_key(&watch) {
                return Some(watch);
            }
        }
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub(super) fn forget_idle(&mut self) {
        self.idle.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Watch = Watch(1);
    const B: Watch = Watch(2);

    fn key(index: u32) -> Key {
        Key { index, generation: 0 }
    }

    fn name(watch: Watch, name: &[u8]) -> Passed {
        (watch, name.into())
    }

    #[test]
    fn a_watch_is_kept_as_long_as_a_node_or_a_link_needs_it() {
        let mut relied = Relied::default();
        let passed = [name(A, b"link"), name(B, b"x"), name(B, b"y")];
        assert_eq!(relied.count_new([A, A, B].into_iter()), 2);
        relied.add(key(1), Some(A), &[]);
        relied.add(key(2), None, &passed);
        relied.leave([A, B].into_iter());
        assert!(!relied.has_idle(), "both are needed");
        relied.remove(key(1), Some(A), &[]);
        assert_eq!((relied.of(A), relied.through(A, Some(b"link"))), (vec![], vec![key(2)]));
        assert_eq!((relied.len(), relied.next_idle()), (2, None), "a link needs it still");
        relied.add(key(3), Some(B), &[]);
        relied.remove(key(2), None, &passed);
        assert_eq!((relied.next_idle(), relied.next_idle()), (Some(A), None));
        assert_eq!((relied.of(B), relied.through(B, None)), (vec![key(3)], vec![]));
        relied.remove(key(3), Some(B), &[]);
        relied.add(key(4), None, &[name(B, b"z")]);
        assert!(relied.has_idle() && relied.next_idle().is_none(), "it is needed again");
    }
}
