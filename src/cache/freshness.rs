//! How long what was found out is good: until a watched directory tells of a change, or for a time.

use super::load::{Load, Part};
use super::lookup::Found;
use super::open_files::{Entry, OpenFiles, Purpose};
use super::tree::Tree;
use super::watches::{Cover, Watches, split};
use crate::base::{Instant, Key};
use crate::limits::WATCHED_VALID;
use crate::ring::{Completion, Io, Job, Notice, Op, Start, Way};

/// How long what was found out is good for requests that came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not at all: nothing tells of changes, and it is not known that nothing can.
    None,
    /// For the revalidation time.
    Time,
    /// As long as nothing happens to the directories on the way.
    Watched(Key),
}

/// What a load that ends has found out is good for, with its node held.
pub(super) fn trust_in(load: &Load, watches: &mut Watches) -> Trust {
    match load.cover {
        Cover::Unwatchable => Trust::Time,
        Cover::Watched(node, _) if !load.linked && !load.doubted && watches.hold(node) => {
            Trust::Watched(node)
        }
        // What a link leads to is not known to be watched.
        Cover::Watched(..) | Cover::Unknown => Trust::None,
    }
}

impl OpenFiles {
    /// Whether what was found out is good for a request that began at `since`.
    pub(super) fn is_fresh(
        &self,
        entry: &Entry,
        found: &Found,
        since: Instant,
        now: Instant,
    ) -> bool {
        if entry.distrusted {
            return false;
        }
        let age = now.since(entry.checked);
        let lasts = match entry.trust {
            Trust::None => false,
            Trust::Time => age < self.options.valid,
            Trust::Watched(node) => self.watches.stands(node) && age < WATCHED_VALID,
        };
        lasts && !matches!(found, Found::Unavailable(_)) || entry.checked >= since
    }

    /// Takes in what watched directories have told, once a turn: an answer that follows is no older
    /// than that.
    pub fn catch_up(&mut self, io: &mut dyn Io) {
        if std::mem::replace(&mut self.caught_up, io.now()) == io.now() {
            return;
        }
        let Some(watcher) = self.watches.to_listen_to() else { return };
        let op = Op::Notices { watcher: watcher.clone(), notices: Vec::new() };
        let Start::Executed(completion) = io.start(op) else {
            unreachable!("notices are taken inline")
        };
        match (completion.op, completion.result) {
            (Some(Op::Notices { notices, .. }), Ok(_)) => {
                for notice in notices {
                    self.hear(notice);
                }
            }
            // Who cannot be heard is not relied on.
            _ => self.watches.give_up(),
        }
    }

    fn hear(&mut self, notice: Notice) {
        let mut concerned = Vec::new();
        self.watches.hear(notice, &mut concerned);
        for (tree, path) in concerned {
            self.doubt(tree, &path);
            let precompressed = Part::VARIANTS.map(|part| part.coding.suffix());
            for suffix in precompressed {
                if let Some(original) = path.strip_suffix(suffix.as_bytes()) {
                    self.doubt(tree, original);
                }
            }
        }
        self.note_levels();
    }

    /// Something has happened to a name: what is known of it is good for nobody who asks later.
    fn doubt(&mut self, tree: Tree, path: &[u8]) {
        let names = &self.roots[usize::from(tree.0)].names;
        let Some(entry) = names.get(path).and_then(|key| self.entries.get_mut(*key)) else {
            return;
        };
        if let Trust::Watched(node) = std::mem::replace(&mut entry.trust, Trust::None) {
            self.watches.release(node);
        }
        if let Some(load) = &mut entry.load {
            load.doubted = true;
        }
        self.note_levels();
    }

    /// Has the way to a name watched.
    pub(super) fn watch(&mut self, tree: Tree, path: &[u8], mount: u64, now: Instant) {
        self.have_watched(tree, (split(path).0, Vec::new()), mount, now);
    }

    /// Has watched what a name leads to, which is a link or has a neighbour that is one.
    pub(super) fn watch_links(&mut self, tree: Tree, path: &[u8], mount: u64, now: Instant) {
        let (directory, name) = split(path);
        let mut names = vec![Box::from(name)];
        if self.options.precompressed {
            let suffixes = Part::VARIANTS.map(|part| part.coding.suffix());
            names.extend(suffixes.map(|suffix| [name, suffix.as_bytes()].concat().into()));
        }
        self.have_watched(tree, (directory, names), mount, now);
    }

    fn have_watched(
        &mut self,
        tree: Tree,
        (directory, names): (&[u8], Vec<Box<[u8]>>),
        mount: u64,
        now: Instant,
    ) {
        let follow_links = self.options.follow_links;
        let way = Way { path: directory.into(), names, follow_links };
        let root = &self.roots[usize::from(tree.0)];
        if let Some(job) = self.watches.ask((tree, &root.directory.file), way, mount, now) {
            self.queue.push(Purpose::Watch(tree, root.era()), Op::Job(job));
        }
    }

    /// Takes in the end of a job.
    pub(super) fn watched(&mut self, tree: Tree, era: u32, completion: Completion, now: Instant) {
        let Some(Op::Job(Job::Watch { way, steps, .. })) = completion.op else {
            unreachable!("the purpose was given to a watch")
        };
        match completion.result {
            Ok(_) => {
                let same = self.roots[usize::from(tree.0)].era() == era;
                self.watches.learn(tree, &way, steps, same, now);
            }
            Err(_) => self.watches.failed(tree, &way, now),
        }
    }
}
