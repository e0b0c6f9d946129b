//! The files of the simulated kernel: one tree, of one or several mounts.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::io::Errno;

use crate::base::{Instant, WallClock};
use crate::ring::mount::MountKind;
use crate::ring::op::{Facts, FileKind, Links};

/// Links that a walk follows at most, as in path_resolution(7).
const LINKS_MAX: u32 = 40;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 255;
/// The byte that files grow by.
pub(super) const GROWN: u8 = 0xee;

#[derive(Debug)]
enum Node {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, usize>),
    Link(Vec<u8>),
    Fifo,
}

#[derive(Debug)]
pub(super) struct Inode {
    node: Node,
    modified: WallClock,
    changed: WallClock,
    forbidden: bool,
    /// It was cut short: growing would put other bytes where its own were.
    shrunk: bool,
    /// Its place in the list of mounts.
    pub(super) mount: usize,
    /// Pages that are not in the page cache, and since when.
    pub(super) cold: BTreeMap<u64, Instant>,
    /// Pages whose touch has those behind them read.
    pub(super) marked: BTreeMap<u64, Instant>,
    /// Its size when it was made.
    pub(super) made_bytes: u64,
    /// Last read that was noted.
    pub(super) accessed: Option<(WallClock, Instant)>,
}

/// A mount.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mount {
    pub(super) kind: MountKind,
    pub(super) hangs: bool,
    /// Whether reads take note of their time, and those behind the end of all files do.
    pub(super) notes_access: bool,
    pub(super) notes_far: bool,
    /// Reads that were begun since it hangs.
    pub(super) begun: u32,
}

impl Mount {
    pub(super) fn new(kind: MountKind) -> Self {
        Self { kind, hangs: false, notes_access: false, notes_far: false, begun: 0 }
    }
}

/// What watchers of directories may want to know.
#[derive(Debug)]
pub(super) enum Change {
    /// A name of a directory leads elsewhere, or what it leads to may be read by others.
    Name(usize, Vec<u8>),
    /// A directory has lost its name, or may be read by others.
    Itself(usize),
}

#[derive(Debug)]
pub(super) struct Files {
    pub(super) inodes: Vec<Inode>,
    pub(super) changes: Vec<Change>,
    /// By number, less one.
    pub(super) mounts: Vec<Mount>,
    /// How often mounts have come or gone.
    pub(super) mount_changes: u64,
    /// As far as anybody has asked.
    pub(super) seen_mount_changes: u64,
    /// Alignment that O_DIRECT needs of memory and of offsets; none where it is refused.
    pub(super) direct: Option<(u32, u32)>,
    /// Whether all are of another user, who is told what is in memory.
    pub(super) of_others: bool,
}

/// The root directory's inode.
pub(super) const ROOT: usize = 0;

impl Files {
    pub(super) fn new() -> Self {
        let root = Inode {
            node: Node::Directory(BTreeMap::new()),
            modified: WallClock::default(),
            changed: WallClock::default(),
            forbidden: false,
            shrunk: false,
            mount: 0,
            cold: BTreeMap::new(),
            marked: BTreeMap::new(),
            made_bytes: 0,
            accessed: None,
        };
        let mounts = vec![Mount::new(MountKind::NonBlocking)];
        let (changes, direct) = (Vec::new(), Some((512, 512)));
        Self {
            inodes: vec![root],
            changes,
            mounts,
            mount_changes: 0,
            seen_mount_changes: 0,
            direct,
            of_others: false,
        }
    }

    /// Walks from a directory, never leaving it.
    pub(super) fn resolve(
        &self,
        from: usize,
        path: &[u8],
        on_links: Links,
    ) -> Result<usize, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let mut left: Vec<Vec<u8>> = Vec::new();
        push_parts(&mut left, path)?;
        let mut way = vec![from];
        let mut links = 0;
        while let Some(name) = left.pop() {
            let here = way[way.len() - 1];
            let Node::Directory(entries) = &self.inodes[here].node else {
                return Err(Errno::NOTDIR);
            };
            if self.inodes[here].forbidden {
                return Err(Errno::ACCESS);
            }
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if way.len() == 1 {
                        return Err(Errno::XDEV);
                    }
                    way.pop();
                    continue;
                }
                long if long.len() > NAME_BYTES_MAX => return Err(Errno::NAMETOOLONG),
                _ => {}
            }
            let inode = *entries.get(&name).ok_or(Errno::NOENT)?;
            if let Node::Link(target) = &self.inodes[inode].node {
                links += 1;
                let is_error = match on_links {
                    Links::Followed => false,
                    Links::NotLast => left.is_empty(),
                    Links::Refused => true,
                };
                if is_error || links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                push_parts(&mut left, target)?;
            } else {
                way.push(inode);
            }
        }
        Ok(way[way.len() - 1])
    }

    /// Opens what a path leads to.
    pub(super) fn open(
        &self,
        from: usize,
        path: &[u8],
        links: Links,
        direct: bool,
    ) -> Result<usize, Errno> {
        let inode = self.resolve(from, path, links)?;
        if self.inodes[inode].forbidden {
            return Err(Errno::ACCESS);
        }
        if direct && self.direct.is_none() {
            return Err(Errno::INVAL);
        }
        Ok(inode)
    }

    /// What a link says.
    pub(super) fn target(&self, directory: usize, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let Node::Directory(entries) = &self.inodes[directory].node else {
            return Err(Errno::NOTDIR);
        };
        let inode = *entries.get(name).ok_or(Errno::NOENT)?;
        match &self.inodes[inode].node {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn facts(&self, inode: usize) -> Facts {
        let of = &self.inodes[inode];
        let (kind, size) = match &of.node {
            Node::File(bytes) => (FileKind::Regular, bytes.len() as u64),
            Node::Directory(_) => (FileKind::Directory, 4096),
            Node::Link(_) | Node::Fifo => (FileKind::Special, 0),
        };
        let (direct_memory, direct_offset) = self.direct.unwrap_or_default();
        Facts {
            kind,
            size,
            modified: of.modified,
            changed: of.changed,
            accessed: of.accessed.map_or_else(WallClock::default, |(wall, _)| wall),
            // What is mounted has a number that another one may get.
            device: if of.mount == 0 { (8, 1) } else { (0, 40) },
            inode: inode as u64 + 2,
            mount: of.mount as u64 + 1,
            direct_memory,
            direct_offset,
        }
    }

    /// Bytes of a file from an offset on, at most so many.
    pub(super) fn bytes(&self, inode: usize, offset: u64, count: usize) -> Result<&[u8], Errno> {
        match &self.inodes[inode].node {
            Node::File(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
                Ok(&bytes[start..start + count.min(bytes.len() - start)])
            }
            Node::Directory(_) => Err(Errno::ISDIR),
            Node::Link(_) | Node::Fifo => Err(Errno::INVAL),
        }
    }

    /// What a directory holds, by name, and what its links lead to beneath the root.
    pub(super) fn entries(
        &self,
        inode: usize,
        follow_links: bool,
    ) -> Result<Vec<(Vec<u8>, Facts)>, Errno> {
        let Node::Directory(entries) = &self.inodes[inode].node else {
            return Err(Errno::NOTDIR);
        };
        let way = self.way_to(ROOT, inode).ok_or(Errno::NOENT)?;
        let links = if follow_links { Links::Followed } else { Links::Refused };
        let open = |name: &[u8]| {
            let path = [&way[..], &[name]].concat().join(&b"/"[..]);
            self.open(ROOT, &path, links, false).ok()
        };
        let opened = entries.keys().filter_map(|name| Some((name.clone(), open(name)?)));
        Ok(opened.map(|(name, inode)| (name, self.facts(inode))).collect())
    }

    /// The names that lead from one directory down to another.
    fn way_to(&self, from: usize, to: usize) -> Option<Vec<&[u8]>> {
        if from == to {
            return Some(Vec::new());
        }
        let Node::Directory(entries) = &self.inodes[from].node else { return None };
        entries.iter().find_map(|(name, inode)| {
            let mut way = self.way_to(*inode, to)?;
            way.insert(0, name);
            Some(way)
        })
    }

    /// The machine was suspended: what was evicted before is no longer gone for that.
    pub(super) fn sleep(&mut self, time: Duration) {
        for inode in &mut self.inodes {
            for since in inode.cold.values_mut().chain(inode.marked.values_mut()) {
                if *since > Instant::default() {
                    *since = *since + time;
                }
            }
        }
    }

    /// The inode of a path that a test has made.
    pub(super) fn at(&self, path: &str) -> usize {
        self.resolve(ROOT, path.as_bytes(), Links::Followed).expect("the test has made the path")
    }

    fn make(&mut self, path: &str, node: Node, now: WallClock) {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = self.directory(directory, now);
        let inode = self.inodes.len();
        let made_bytes = if let Node::File(bytes) = &node { bytes.len() as u64 } else { 0 };
        self.inodes.push(Inode {
            node,
            modified: now,
            changed: now,
            forbidden: false,
            shrunk: false,
            mount: self.inodes[parent].mount,
            cold: BTreeMap::new(),
            marked: BTreeMap::new(),
            made_bytes,
            accessed: None,
        });
        let Node::Directory(entries) = &mut self.inodes[parent].node else {
            unreachable!("it was just made or found")
        };
        let replaced = entries.insert(name.as_bytes().to_vec(), inode);
        self.changes.push(Change::Name(parent, name.as_bytes().to_vec()));
        self.changes.extend(replaced.map(Change::Itself));
        replaced.into_iter().for_each(|inode| self.renamed(inode, now));
    }

    pub(super) fn is_directory(&self, inode: usize) -> bool {
        matches!(self.inodes[inode].node, Node::Directory(_))
    }

    /// A directory, with those above it.
    pub(super) fn directory(&mut self, path: &str, now: WallClock) -> usize {
        match self.resolve(ROOT, path.as_bytes(), Links::Followed) {
            Ok(inode) => inode,
            Err(_) => {
                self.make(path, Node::Directory(BTreeMap::new()), now);
                self.at(path)
            }
        }
    }

    /// A new file at a path, in place of what was there.
    pub(super) fn file(&mut self, path: &str, bytes: Vec<u8>, now: WallClock) {
        self.make(path, Node::File(bytes), now);
    }

    pub(super) fn link(&mut self, path: &str, target: &str, now: WallClock) {
        self.make(path, Node::Link(target.as_bytes().to_vec()), now);
    }

    pub(super) fn fifo(&mut self, path: &str, now: WallClock) {
        self.make(path, Node::Fifo, now);
    }

    /// Takes a name away; what it led to, if it was there.
    pub(super) fn remove(&mut self, path: &str, now: WallClock) -> Option<usize> {
        let (parent, name) = self.place(path);
        let Node::Directory(entries) = &mut self.inodes[parent].node else { return None };
        let removed = entries.remove(&name)?;
        self.changes.push(Change::Name(parent, name));
        self.changes.push(Change::Itself(removed));
        self.renamed(removed, now);
        Some(removed)
    }

    /// A name of an inode has come or gone. Where reads are noted the next one is, unless the last
    /// one lies ahead; elsewhere nobody asks when that was.
    fn renamed(&mut self, inode: usize, now: WallClock) {
        let of = &mut self.inodes[inode];
        if self.mounts[of.mount].notes_access {
            of.changed = now;
            of.accessed = of.accessed.filter(|(noted, _)| *noted > now);
        }
    }

    /// Whether some directory has it.
    pub(super) fn has_a_name(&self, inode: usize) -> bool {
        inode == ROOT
            || self.inodes.iter().any(|other| match &other.node {
                Node::Directory(entries) => entries.values().any(|one| *one == inode),
                _ => false,
            })
    }

    /// Gives what a path leads to another one, in place of what was there.
    pub(super) fn rename(&mut self, from: &str, to: &str, now: WallClock) {
        let inode = self.remove(from, now).expect("the test has made the path");
        let (parent, name) = self.place(to);
        let Node::Directory(entries) = &mut self.inodes[parent].node else {
            panic!("the test has made the directory")
        };
        let replaced = entries.insert(name.clone(), inode);
        self.changes.push(Change::Name(parent, name));
        self.changes.extend(replaced.map(Change::Itself));
        replaced.into_iter().for_each(|inode| self.renamed(inode, now));
    }

    /// The directory and the name of a path.
    fn place(&self, path: &str) -> (usize, Vec<u8>) {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        (self.at(directory), name.as_bytes().to_vec())
    }

    pub(super) fn forbid(&mut self, path: &str) {
        let inode = self.at(path);
        self.inodes[inode].forbidden = true;
        let (parent, name) = self.place(path);
        self.changes.push(Change::Name(parent, name));
        self.changes.push(Change::Itself(inode));
    }

    /// Cuts a file to a size, or lengthens it.
    pub(super) fn rewrite(&mut self, inode: usize, bytes: Vec<u8>, now: WallClock) {
        let of = &mut self.inodes[inode];
        let size = bytes.len();
        let before = std::mem::replace(&mut of.node, Node::File(bytes));
        assert!(matches!(before, Node::File(before) if before.len() == size), "of equal size");
        of.modified = now;
        of.changed = now;
    }

    pub(super) fn resize(&mut self, inode: usize, size: u64, now: WallClock) {
        let of = &mut self.inodes[inode];
        let Node::File(bytes) = &mut of.node else { return };
        let before = bytes.len();
        if before < size as usize && of.shrunk {
            return;
        }
        bytes.resize(size as usize, GROWN);
        of.shrunk |= bytes.len() < before;
        of.modified = now;
        of.changed = now;
    }
}

fn push_parts(left: &mut Vec<Vec<u8>>, path: &[u8]) -> Result<(), Errno> {
    if path.starts_with(b"/") {
        return Err(Errno::XDEV);
    }
    left.extend(path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallClock = WallClock { seconds: 1, nanoseconds: 0 };

    fn tree() -> Files {
        let mut files = Files::new();
        files.file("a/b/c", b"deep".to_vec(), NOW);
        files.link("a/up", "../a/b/c", NOW);
        files.link("out", "../etc/passwd", NOW);
        files.link("absolute", "/a/b/c", NOW);
        files.link("loop", "loop", NOW);
        files.link("dir", "a/b", NOW);
        files.fifo("fifo", NOW);
        files
    }

    #[test]
    fn a_walk_stays_beneath_the_root() {
        let files = tree();
        let end = |path: &str| files.resolve(ROOT, path.as_bytes(), Links::Followed);
        assert_eq!(end("a/b/c"), Ok(files.at("a/b/c")));
        assert_eq!(end("a/up"), Ok(files.at("a/b/c")));
        assert_eq!(end("dir/c"), Ok(files.at("a/b/c")));
        assert_eq!(end("."), Ok(ROOT));
        assert_eq!(end("a/.."), Ok(ROOT));
        assert_eq!(end("out"), Err(Errno::XDEV));
        assert_eq!(end("absolute"), Err(Errno::XDEV));
        assert_eq!(end("loop"), Err(Errno::LOOP));
        assert_eq!(end("a/b/c/"), Err(Errno::NOTDIR));
        assert_eq!(end("a/b/c/d"), Err(Errno::NOTDIR));
        assert_eq!(end("a/x"), Err(Errno::NOENT));
        assert_eq!(end(""), Err(Errno::NOENT));
        assert_eq!(files.resolve(ROOT, b"a/up", Links::Refused), Err(Errno::LOOP));
        assert_eq!(files.facts(files.at("fifo")).kind, FileKind::Special);
    }

    #[test]
    fn a_replaced_file_is_another_and_the_open_one_stays() {
        let mut files = tree();
        let old = files.at("a/b/c");
        files.file("a/b/c", b"other".to_vec(), NOW);
        assert_ne!(files.at("a/b/c"), old);
        assert_eq!(files.bytes(old, 1, 9), Ok(&b"eep"[..]));
        assert_eq!(files.bytes(old, 9, 9), Ok(&b""[..]));
    }
}
