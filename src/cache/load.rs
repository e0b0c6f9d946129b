//! How an entry is found out: open and ask the original, then its neighbours at once.

use std::rc::Rc;

use rustix::io::Errno;

use super::lookup::{Found, Options};
use super::version::{Digest, Direct, Name, OpenDirectory, Version};
use super::watches::Cover;
use crate::base::{Instant, Shares};
use crate::http::negotiate::Coding;
use crate::limits::{
    CONTENT_TAG_BYTES_MAX, LOADS_MAX, LOADS_PER_MOUNT_MAX, LOOKUP_PATIENCE, OPEN_TRIES_MAX,
};
use crate::ring::{Ask, Completion, Facts, File, FileKind, Job, Links, Op, Owner};

/// Which of the descriptors of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The one that tells what the file is, and that bodies are sent from.
    Main,
    /// The one past the page cache.
    Direct,
    /// The one by which threads of the kernel read into the page cache, see [`File::set_apart`].
    Apart,
}

/// One descriptor of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) coding: Coding,
    pub(super) opening: Opening,
}

impl Part {
    pub(super) const ORIGINAL: Self = Self::main(Coding::Identity);
    /// The neighbours, in the order of [`Name::variants`].
    pub(super) const VARIANTS: [Self; 3] =
        [Self::main(Coding::Br), Self::main(Coding::Zstd), Self::main(Coding::Gzip)];

    const fn main(coding: Coding) -> Self {
        Self { coding, opening: Opening::Main }
    }

    /// Whether the file can be served without it.
    pub(super) fn may_lack(self) -> bool {
        self.opening != Opening::Main
    }

    fn index(self) -> usize {
        3 * self.place() + self.opening as usize
    }

    /// Where the coding stands among all.
    fn place(self) -> usize {
        match self.coding {
            Coding::Identity => 0,
            Coding::Br => 1,
            Coding::Zstd => 2,
            Coding::Gzip => 3,
        }
    }
}

/// What follows from a completion.
#[derive(Debug)]
pub(super) enum Stage {
    /// The part was opened; this asks what it is.
    Ask(Op),
    /// A rename or a change got in the way; open it again.
    Again,
    /// There was no descriptor for it.
    Starved(Errno),
    /// The part is a file, open and asked.
    Open,
    /// No more is to be learnt of the part.
    Known,
}

/// An entry that is being found out.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) started: Instant,
    /// Which of the directories that were there it began in, whatever takes its place meanwhile.
    pub(super) generation: u32,
    /// Whether the directories on the way were watched when it began.
    pub(super) cover: Cover,
    /// Whether something has happened to the name since.
    pub(super) doubted: bool,
    /// Whether links are followed.
    follow_links: bool,
    /// Whether one was met where none was expected.
    pub(super) linked: bool,
    /// Whether it was found to lead to a mount that was not listed, if not out of the root.
    pub(super) strays: bool,
    /// The mount that it is expected to be about.
    pub(super) mount: u64,
    pub(super) waiters: Vec<Owner>,
    /// Operations that are queued or in flight.
    pub(super) pending: u32,
    tries: u32,
    /// Whether the neighbours are being looked for.
    pub(super) neighbours: bool,
    parts: [Option<(File, Facts)>; 12],
    digests: [Option<Digest>; 4],
    /// What became of the original when it is not an open file.
    refused: Option<Found>,
}

/// How many entries are being found out, in all and on each mount.
#[derive(Debug, Default)]
pub(super) struct Loads {
    shares: Shares,
    /// When the last of each mount ended; where none has since there were some, when they began.
    heard: Vec<(u64, Instant)>,
}

impl Loads {
    pub(super) fn count(&self) -> usize {
        self.shares.count()
    }

    pub(super) fn have_room(&self, mount: u64) -> bool {
        let own = self.shares.of(mount);
        own < LOADS_PER_MOUNT_MAX && self.shares.leave_room(mount, LOADS_MAX)
    }

    /// Whether a mount has some, and none of them has ended for longer than a disk that works
    /// takes.
    pub(super) fn are_silent(&self, mount: u64, now: Instant) -> bool {
        let heard = self.heard.iter().find(|(one, _)| *one == mount);
        heard.is_some_and(|(_, at)| now.since(*at) >= LOOKUP_PATIENCE)
    }

    pub(super) fn begin(&mut self, mount: u64, now: Instant) {
        if self.shares.of(mount) == 0 {
            self.heard.push((mount, now));
        }
        self.shares.begin(mount);
    }

    pub(super) fn end(&mut self, mount: u64, now: Instant) {
        self.shares.end(mount);
        let left = self.shares.of(mount);
        let at = self.heard.iter().position(|(one, _)| *one == mount);
        let at = at.expect("what ends has begun");
        if left == 0 {
            self.heard.swap_remove(at);
        } else {
            self.heard[at].1 = now;
        }
    }
}

impl Load {
    pub(super) fn new(
        started: Instant,
        generation: u32,
        mount: u64,
        cover: Cover,
        follow_links: bool,
        waiter: Owner,
    ) -> Self {
        Self {
            started,
            generation,
            cover,
            doubted: false,
            follow_links,
            linked: false,
            strays: false,
            mount,
            waiters: vec![waiter],
            pending: 0,
            tries: 0,
            neighbours: false,
            parts: Default::default(),
            digests: [None; 4],
            refused: None,
        }
    }

    /// What is done with links on the way. Where they are followed, one is an error only as long as
    /// there is thought to be none: what it leads to may change in a directory that nobody watches.
    pub(super) fn links(&self) -> Links {
        match self.cover {
            _ if !self.follow_links => Links::Refused,
            Cover::Watched(_, expected) if !self.linked => expected,
            _ => Links::Followed,
        }
    }

    /// Takes in the end of an operation on a part.
    pub(super) fn take(&mut self, part: Part, completion: Completion) -> Stage {
        match (completion.op, completion.result, completion.handle) {
            (Some(Op::Open { how, .. }), Ok(_), Some(handle)) => {
                let ask = if how.crosses { Ask::Anywhere } else { Ask::Mount };
                Stage::Ask(Op::stat(handle.into(), ask))
            }
            (Some(Op::Open { .. }), Err(Errno::AGAIN | Errno::INTR), _)
                if self.tries < OPEN_TRIES_MAX =>
            {
                // openat2(2): EAGAIN when a rename raced with the walk beneath the root.
                self.tries += 1;
                Stage::Again
            }
            (Some(Op::Open { how, .. }), Err(Errno::LOOP), _)
                if how.links != Links::Followed && self.follow_links =>
            {
                self.linked = true;
                Stage::Again
            }
            // A mount that came after the others were listed: now it is left to a thread, and if it
            // was a link out of the root, that is told again.
            (Some(Op::Open { how, .. }), Err(Errno::XDEV), _) if !how.crosses => {
                self.strays = true;
                Stage::Again
            }
            (Some(Op::Open { .. }), Err(errno @ (Errno::MFILE | Errno::NFILE)), _) => {
                Stage::Starved(errno)
            }
            (Some(Op::Stat { file, facts, .. }), Ok(_), _) => self.know(part, file, *facts),
            (Some(Op::Job(Job::Digest { digest, .. })), Ok(_), _) => {
                self.digests[part.place()] = Some(digest);
                Stage::Known
            }
            (Some(Op::Job(_)), Err(Errno::STALE), _) => self.changed(part),
            (Some(Op::Job(_)), Err(errno), _) => {
                self.refused = Some(Found::Unavailable(errno));
                Stage::Known
            }
            (_, Err(errno), _) => {
                self.fail(part, errno);
                Stage::Known
            }
            (op, result, _) => unreachable!("{op:?} came to {result:?}, which nobody asked for"),
        }
    }

    /// A part cannot be opened or asked.
    pub(super) fn fail(&mut self, part: Part, errno: Errno) {
        let found = refusal(errno);
        // Whether there is a neighbour decides what is sent and what Vary says: as long as it
        // cannot be known, nothing is. Without a descriptor past the page cache the body travels
        // by another engine, and without one apart the page cache is asked farther.
        let unknown = matches!(found, Found::Unavailable(_)) && !part.may_lack();
        if part == Part::ORIGINAL || unknown {
            self.refused = Some(found);
        }
    }

    /// Whether a part that starved may be tried once more, which is counted.
    pub(super) fn may_try_again(&mut self) -> bool {
        let may = self.tries < OPEN_TRIES_MAX;
        self.tries += u32::from(may);
        may
    }

    fn know(&mut self, part: Part, file: File, facts: Facts) -> Stage {
        if facts.kind == FileKind::Regular {
            self.parts[part.index()] = Some((file, facts));
            return Stage::Open;
        }
        if part == Part::ORIGINAL {
            let directory = facts.kind == FileKind::Directory;
            self.refused = Some(match directory {
                true => Found::Directory(OpenDirectory { file, facts }),
                false => Found::Nothing,
            });
        }
        Stage::Known
    }

    /// The file of a part has changed while it was hashed. One that does so all the time is known
    /// by its time of change alone.
    fn changed(&mut self, part: Part) -> Stage {
        if self.tries == OPEN_TRIES_MAX {
            return Stage::Known;
        }
        self.tries += 1;
        self.parts[part.index()] = None;
        Stage::Again
    }

    /// What was found out of a part.
    pub(super) fn facts(&self, part: Part) -> Option<&Facts> {
        self.parts[part.index()].as_ref().map(|(_, facts)| facts)
    }

    /// Whether the file of a part is the same as before, which is kept.
    pub(super) fn is_known(&self, part: Part, before: Option<&Found>) -> bool {
        let before = match before {
            Some(Found::File(name)) => name.version(part.coding),
            _ => None,
        };
        let facts = self.facts(Part { opening: Opening::Main, ..part });
        before.zip(facts).is_some_and(|(version, facts)| version.is_still(facts))
    }

    /// The job that hashes a part where tags are made of the content, unless it is the same file as
    /// before, or a very large one.
    pub(super) fn to_hash(
        &self,
        part: Part,
        before: Option<&Found>,
        options: &Options,
    ) -> Option<Job> {
        let (file, facts) = self.parts[part.index()].as_ref()?;
        let small = facts.size <= CONTENT_TAG_BYTES_MAX;
        let wanted = options.content_tags && !part.may_lack() && small;
        if !wanted || self.is_known(part, before) {
            return None;
        }
        let passes = options.drop_from.is_some_and(|least| facts.size >= least);
        Some(Job::Digest { file: file.clone(), facts: Box::new(*facts), passes, digest: 0 })
    }

    /// Whether what was found out of a part says that it is not what it was before.
    pub(super) fn contradicts(&self, part: Part, before: Option<&Found>) -> bool {
        let found = self.parts[part.index()].as_ref().map(|(_, facts)| facts);
        match before {
            // By another descriptor it is the same file, or that is not used.
            _ if part.may_lack() => false,
            Some(Found::File(name)) => {
                let known = name.version(part.coding);
                known.is_some_and(|known| !found.is_some_and(|facts| known.is_still(facts)))
            }
            Some(Found::Directory(_)) => found.is_some(),
            _ => false,
        }
    }

    /// The answer, and whether it is another file than before. A file that is still the same
    /// keeps its open descriptor and the lines made for it.
    pub(super) fn result(mut self, before: Option<&Found>, fresh_only: bool) -> (Found, bool) {
        if let Some(found) = self.refused {
            return (found, matches!(before, Some(Found::File(_))));
        }
        let before = match before {
            Some(Found::File(name)) => Some(name),
            _ => None,
        };
        let Some(original) = self.version(Part::ORIGINAL, before) else {
            return (Found::Nothing, before.is_some());
        };
        let variants = Part::VARIANTS.map(|part| {
            let version = self.version(part, before)?;
            let stale = fresh_only && version.facts.modified < original.facts.modified;
            (!stale).then_some(version)
        });
        let replaced = before.is_some_and(|name| !Rc::ptr_eq(&name.original, &original));
        (Found::File(Rc::new(Name { original, variants })), replaced)
    }

    fn version(&mut self, part: Part, before: Option<&Rc<Name>>) -> Option<Rc<Version>> {
        let (file, facts) = self.parts[part.index()].take()?;
        let mut other = |opening| self.parts[Part { opening, ..part }.index()].take();
        let (direct, apart) = (other(Opening::Direct), other(Opening::Apart));
        let same = before.and_then(|name| name.version(part.coding));
        if let Some(same) = same.filter(|version| version.is_still(&facts)) {
            same.confirm(self.started);
            return Some(Rc::clone(same));
        }
        let mut version = Version::new(file, facts, part.coding, self.started);
        version.digest = self.digests[part.place()];
        // A rename between two opens would mix two files.
        version.direct = direct.filter(|(_, facts)| version.is_still(facts)).and_then(direct_of);
        if let Some((apart, _)) = apart.filter(|(_, facts)| version.is_still(facts)) {
            version.file.set_apart(apart);
        }
        Some(Rc::new(version))
    }
}

/// A descriptor past the page cache, where the file system does not say that it has no alignment.
fn direct_of((file, facts): (File, Facts)) -> Option<Direct> {
    let (memory, offset) = (facts.direct_memory, facts.direct_offset);
    let usable = memory.is_power_of_two() && offset.is_power_of_two();
    usable.then_some(Direct { file, memory, offset })
}

/// What the errno of an open means for the client.
fn refusal(errno: Errno) -> Found {
    match errno {
        // XDEV: openat2 would have left the root. LOOP: a loop of links, or links are off.
        // ISDIR and NXIO: nothing that can be read as a file (a socket, a FIFO's other side).
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::NODEV
        | Errno::ISDIR
        | Errno::INVAL
        | Errno::ILSEQ => Found::Nothing,
        Errno::ACCESS | Errno::PERM => Found::Forbidden,
        other => Found::Unavailable(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::{Instant, Key};
    use crate::ring::{Closing, Descriptor, How};

    const WAITER: Owner = Key { index: 0, generation: 0 };

    fn file() -> File {
        let fd = tempfile::tempfile().unwrap().into();
        Descriptor::adopt(fd, &Rc::new(Closing::default())).into()
    }

    fn ended(op: Op, result: Result<u32, Errno>) -> Completion {
        Completion { ticket: None, op: Some(op), result, handle: None, more: false }
    }

    fn opened(errno: Errno) -> Completion {
        ended(Op::Open { root: file(), path: c"a".into(), how: How::default() }, Err(errno))
    }

    /// A load whose original is a file.
    fn begun() -> Load {
        let mut load = Load::new(Instant::default(), 0, 0, Cover::Unwatchable, true, WAITER);
        let facts = Facts { kind: FileKind::Regular, size: 3, ..Facts::default() };
        let op = Op::Stat { file: file(), ask: Ask::Mount, facts: Box::new(facts), sheet: None };
        let stage = load.take(Part::ORIGINAL, ended(op, Ok(0)));
        assert!(matches!(stage, Stage::Open), "{stage:?}");
        load
    }

    /// RFC 9110 section 15.6.4: it may be there in a moment.
    #[test]
    fn a_neighbour_that_cannot_be_looked_for_is_not_one_that_is_missing() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            let mut load = begun();
            match load.take(Part::VARIANTS[2], opened(errno)) {
                Stage::Known => {}
                Stage::Starved(errno) => load.fail(Part::VARIANTS[2], errno),
                stage => panic!("{errno}: {stage:?}"),
            }
            let (found, _) = load.result(None, false);
            assert!(matches!(found, Found::Unavailable(told) if told == errno), "{found:?}");
        }
    }

    #[test]
    fn mounts_that_hang_leave_room_to_find_out_names_of_others() {
        let now = Instant::default();
        let mut loads = Loads::default();
        for mount in 1..8 {
            assert!(loads.have_room(mount));
            while loads.have_room(mount) {
                loads.begin(mount, now);
            }
        }
        assert_eq!(loads.shares.of(7), 64);
        let mut loads = Loads::default();
        (0..LOADS_PER_MOUNT_MAX).for_each(|_| loads.begin(7, now));
        assert!(!loads.have_room(7) && loads.have_room(8));
        loads.end(7, now);
        assert!(loads.have_room(7));
    }

    #[test]
    fn a_mount_is_silent_when_none_of_its_loads_has_ended_for_a_while() {
        let (begun, now) = (Instant::default(), Instant::default() + LOOKUP_PATIENCE);
        let mut loads = Loads::default();
        assert!(!loads.are_silent(7, now), "there is none");
        loads.begin(7, begun);
        loads.begin(7, now);
        assert!(loads.are_silent(7, now) && !loads.are_silent(8, now));
        loads.end(7, now);
        assert!(!loads.are_silent(7, now), "one came home");
        assert!(loads.are_silent(7, now + LOOKUP_PATIENCE));
        loads.end(7, now);
        assert!(!loads.are_silent(7, now + LOOKUP_PATIENCE) && loads.heard.is_empty());
    }

    #[test]
    fn a_file_is_served_without_neighbours_and_without_a_direct_descriptor() {
        let mut load = begun();
        let direct = Part { opening: Opening::Direct, ..Part::ORIGINAL };
        assert!(matches!(load.take(direct, opened(Errno::MFILE)), Stage::Starved(Errno::MFILE)));
        load.fail(direct, Errno::MFILE);
        assert!(matches!(load.take(Part::VARIANTS[0], opened(Errno::NOENT)), Stage::Known));
        let (found, replaced) = load.result(None, false);
        assert!(matches!(found, Found::File(_)) && !replaced, "{found:?}");
    }
}
