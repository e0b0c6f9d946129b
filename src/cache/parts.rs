//! The descriptors of an entry that is being found out, one after the other: each is opened, asked
//! what it is, and may have others opened. The one by which threads of the kernel read comes last,
//! is done without where nobody needs it, and never waits for anybody.

use std::ffi::CString;

use super::load::{Opening, Part, Stage};
use super::open_files::{OpenFiles, Purpose};
use crate::base::{Instant, Key};
use crate::limits::WARM_BYTES;
use crate::ring::{Completion, How, Io, MountKind, Op, Start};

impl OpenFiles {
    /// Has a part opened.
    pub(super) fn open(&mut self, key: Key, part: Part) {
        let op = self.to_open(key, part);
        self.begin(key, part, op);
    }

    /// Has an operation on a part started.
    fn begin(&mut self, key: Key, part: Part, op: Op) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        entry.load.as_mut().expect("the caller has begun it").pending += 1;
        match part.opening {
            Opening::Main | Opening::Direct => self.queue.push(Purpose::Entry(key, part), op),
            Opening::Apart => self.aparts.push((key, part, op)),
        }
    }

    fn to_open(&self, key: Key, part: Part) -> Op {
        let entry = self.entries.get(key).expect("an entry that is loaded stays");
        let load = entry.load.as_ref().expect("the caller has begun it");
        let name: &[u8] = if entry.name.is_empty() { b"." } else { &entry.name };
        let path = CString::new([name, part.coding.suffix().as_bytes()].concat())
            .expect("a path that came out of a target holds no NUL");
        let (links, strays) = (load.links(), load.strays);
        let root = &self.roots[usize::from(entry.tree.0)];
        let expected = match strays {
            true => How { crosses: true, ..How::default() },
            false => root.expects(&entry.name),
        };
        let direct = part.opening == Opening::Direct;
        let how = How { direct, links, ..expected };
        Op::Open { root: root.directory.file.clone(), path, how }
    }

    /// Whether a descriptor apart is of use: where the main one may be touched inline, and less may
    /// be there behind than a read would bring.
    fn is_needed(&self, key: Key, part: Part, io: &dyn Io) -> bool {
        let entry = self.entries.get(key).expect("an entry that is loaded stays");
        let load = entry.load.as_ref().expect("its operation was queued");
        load.facts(Part { opening: Opening::Main, ..part }).is_some_and(|facts| {
            let known = load.is_known(part, entry.found.as_ref());
            let inline = io.mount_kind(facts.mount) == MountKind::NonBlocking;
            !known && inline && facts.size > io.reach(facts.mount)
        })
    }

    /// Starts the next operation on a descriptor apart, or does without it; says whether there was
    /// one.
    pub(super) fn start_apart(&mut self, io: &mut dyn Io) -> bool {
        let Some((key, part, op)) = self.aparts.pop() else { return false };
        let purpose = Purpose::Entry(key, part);
        let start = self.is_needed(key, part, io).then(|| io.start(op));
        match start {
            Some(Start::Submitted(ticket)) => {
                self.pending.insert(ticket, purpose);
            }
            Some(Start::Executed(completion)) => self.completed(purpose, completion, io.now()),
            // Whoever waits for the file does not wait for this.
            Some(Start::Busy(_) | Start::Blocked(..)) | None => {
                self.go_on(key, part, Stage::Known, io.now());
            }
        }
        true
    }

    /// An operation on a part has ended.
    pub(super) fn found_out(&mut self, key: Key, part: Part, completion: Completion, now: Instant) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let load = entry.load.as_mut().expect("its operation was in flight");
        self.hashing.ended(&completion);
        let stage = match (load.take(part, completion), part.opening) {
            // Nor does it cost the others a descriptor.
            (Stage::Again | Stage::Starved(_), Opening::Apart) => Stage::Known,
            (stage, _) => stage,
        };
        self.go_on(key, part, stage, now);
    }

    /// Does what follows from the end of an operation on a part.
    fn go_on(&mut self, key: Key, part: Part, stage: Stage, now: Instant) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let load = entry.load.as_mut().expect("its operation was in flight");
        load.pending -= 1;
        match stage {
            Stage::Ask(op) => self.begin(key, part, op),
            Stage::Again => self.open(key, part),
            Stage::Starved(errno) => self.starve(key, part, errno, now),
            Stage::Open => {
                self.compare(key, part);
                self.opened(key, part);
            }
            Stage::Known => self.compare(key, part),
        }
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        if entry.load.as_ref().is_some_and(|load| load.pending == 0) {
            self.settle(key, now);
        }
    }

    /// A part is a regular file: what else belongs to it, and has it to be hashed?
    fn opened(&mut self, key: Key, part: Part) {
        let entry = self.entries.get_mut(key).expect("an entry that is loaded stays");
        let load = entry.load.as_mut().expect("the part was its");
        if let Some(job) = load.to_hash(part, entry.found.as_ref(), &self.options) {
            load.pending += 1;
            self.hashing.push(key, part, job);
        }
        let (size, mount) = load.facts(part).map_or((0, 0), |facts| (facts.size, facts.mount));
        self.roots[usize::from(entry.tree.0)].met(mount);
        let neighbours = part == Part::ORIGINAL
            && !std::mem::replace(&mut load.neighbours, true)
            && self.options.precompressed;
        if part.opening == Opening::Main {
            if self.options.direct_from.is_some_and(|least| size >= least) {
                self.open(key, Part { opening: Opening::Direct, ..part });
            }
            if size > WARM_BYTES {
                self.open(key, Part { opening: Opening::Apart, ..part });
            }
        }
        if neighbours {
            Part::VARIANTS.into_iter().for_each(|part| self.open(key, part));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::cache::{Asker, Beneath, Directory, Found, Lookup, Name, Options, Tree};
    use crate::ring::simulated::{Fault, Simulated, World};
    use crate::ring::{self, File, Owner, Reactor, Technique, Via, Wake};

    struct Rig {
        world: World,
        reactor: Reactor<Simulated>,
        cache: OpenFiles,
        owner: Owner,
    }

    impl Rig {
        fn new(world: World) -> Self {
            let options = ring::Options {
                rings: 1,
                operations_max: 16,
                owners_max: 8,
                pools: [(4096, 1); 5],
                pipes_max: 1,
                pipe_bytes: 4096,
                turn_bytes: 4096,
                shared_turn_bytes: 4096,
            };
            let kernel = world.kernel();
            let mut reactor = Reactor::new(kernel, options, Arc::default(), |_, _| None).unwrap();
            let file = File::from(reactor.take_in(world.root()));
            let mounts = Arc::new(Beneath::new(vec![]));
            let options = Options {
                entries_max: 8,
                valid: Duration::ZERO,
                watches_max: 0,
                hot_bytes: 0,
                precompressed: false,
                fresh_only: false,
                direct_from: None,
                follow_links: true,
                content_tags: false,
                drop_from: None,
            };
            let directories = vec![Directory { file, follow: None, mounts }];
            let cache = OpenFiles::new(directories, None, options, Arc::default());
            let owner = reactor.register().unwrap();
            Self { world, reactor, cache, owner }
        }

        fn find(&mut self, path: &str) -> Rc<Name> {
            let since = self.reactor.now();
            for _ in 0..1000 {
                let (owner, now) = (self.owner, self.reactor.now());
                let asker = Asker { owner, since, now, again: false };
                match self.cache.lookup(Tree(0), path.as_bytes(), asker) {
                    Lookup::Known(Found::File(name)) => return name,
                    Lookup::Waiting(_) => {}
                    other => panic!("{path}: {other:?}"),
                }
                self.cache.pump(&mut self.reactor.io(owner));
                self.reactor.wake_next_turn(owner);
                self.reactor.turn().unwrap();
                while let Some((_, wake)) = self.reactor.next_wake() {
                    if !matches!(wake, Wake::Turn) {
                        self.cache.wake(wake, self.reactor.now());
                    }
                }
            }
            panic!("{path} is never found out");
        }

        /// Whether threads of the kernel read a file by another descriptor.
        fn is_read_apart(&mut self, path: &str) -> bool {
            let file = self.find(path).original.file.clone();
            file.of_read(Via::Cold).as_raw_fd() != file.as_raw_fd()
        }
    }

    #[test]
    fn a_long_file_of_a_local_disk_has_a_descriptor_for_threads() {
        let world = World::new(1);
        world.mount("far", MountKind::Blocking);
        world.file("short", vec![1; WARM_BYTES as usize]);
        world.file("long", vec![1; WARM_BYTES as usize + 1]);
        world.file("far/long", vec![1; WARM_BYTES as usize + 1]);
        let mut rig = Rig::new(world);
        // The first file of a mount tells what may be expected of it.
        rig.find("short");
        let apart = ["short", "long", "far/long"].map(|path| rig.is_read_apart(path));
        assert_eq!(apart, [false, true, false]);
        let before = rig.world.descriptors();
        rig.reactor.turn().unwrap();
        for _ in 0..3 {
            rig.world.pass(Duration::from_secs(1));
            assert!(rig.is_read_apart("long"), "it is the same file, and keeps both");
        }
        assert_eq!(rig.world.descriptors(), before);
    }

    #[test]
    fn a_file_is_served_without_a_descriptor_for_threads() {
        for fault in [Errno::MFILE, Errno::NOENT, Errno::AGAIN, Errno::LOOP, Errno::IO] {
            let world = World::new(1);
            world.file("short", vec![1; 10]);
            world.file("long", vec![1; WARM_BYTES as usize + 1]);
            let mut rig = Rig::new(world);
            rig.find("short");
            // The first open is that of the file itself.
            rig.world.script(Technique::Open, 1, Fault::Fail(fault));
            assert!(!rig.is_read_apart("long"), "{fault}");
            assert_eq!(rig.world.befallen(), 1, "{fault}");
        }
    }
}
