//! What is known of one directory, or of one name in it that is a link.

use std::collections::HashMap;
use std::rc::Rc;

use super::Tree;
use crate::base::{Instant, Key};
use crate::ring::{Passed, Watch};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) tree: Tree,
    /// Beneath the tree.
    pub(super) path: Rc<[u8]>,
    pub(super) above: Option<Key>,
    /// Whether it is there for a name that is a link, not for a directory.
    pub(super) named: bool,
    /// Directories in it.
    pub(super) beneath: HashMap<Box<[u8]>, Key>,
    /// Names in it that are links.
    pub(super) links: HashMap<Box<[u8]>, Key>,
    pub(super) state: State,
    /// Names that links led through.
    pub(super) passed: Vec<Passed>,
    /// Names that hold it.
    pub(super) held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Watched(Watch),
    /// There is none; the one above tells when there is, or one that a link led to.
    Absent,
    /// What a name leads to is decided by what links led through.
    Named,
    /// Not to be tried again before this time.
    Unwatchable(Instant),
}

impl Node {
    /// What is beneath it: directories, or names that are links.
    pub(super) fn below(&mut self, named: bool) -> &mut HashMap<Box<[u8]>, Key> {
        if named { &mut self.links } else { &mut self.beneath }
    }
}

impl State {
    pub(super) fn watch(self) -> Option<Watch> {
        match self {
            Self::Watched(watch) => Some(watch),
            Self::Absent | Self::Named | Self::Unwatchable(_) => None,
        }
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Root,
    Directory(Key, &'a [u8]),
    Link(Key, &'a [u8]),
}
