//! One version of a file: an open descriptor and what was true of it when it was opened.

mod accesses;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use rustix::io::Errno;

use super::hot::Body;
use super::residency::ResidentParts;
use crate::base::{Instant, WallClock};
use crate::http::negotiate::Coding;
use crate::http::response::EntityLines;
use crate::limits::{
    FOLLOWED_BYTES, MAPPED_BYTES, MAPPED_PARTS, REACH_MAX, SETTLED_COARSE, SETTLED_FINE,
    UNMAPPED_BYTES_MAX, WRITTEN_BACK,
};
use crate::ring::{Ask, Completion, Facts, File, Io, Look, Op, Start, Via};

/// An open regular file, with facts asked of this very descriptor.
#[derive(Debug)]
pub struct Version {
    /// The descriptor that bodies are read from.
    pub file: File,
    /// A second descriptor past the page cache, where that was asked for and allowed.
    pub direct: Option<Direct>,
    /// What statx said.
    pub facts: Facts,
    /// How the bytes are coded, seen from the original's name.
    pub coding: Coding,
    /// The digest of the bytes, where tags are made of it.
    pub digest: Option<Digest>,
    /// When the facts were last known to be true.
    confirmed: Cell<Instant>,
    /// In which turn its bytes were last seen inline to be unchanged.
    proven: Cell<Option<Instant>>,
    lines: RefCell<Option<(LinesKey, Lines)>>,
    /// The whole content, when it is kept in memory.
    body: RefCell<Option<Rc<Body>>>,
    /// When it was last asked for, if it was.
    asked: Cell<Option<Instant>>,
    /// Whether the content was sent from memory since the eviction's hand passed.
    sent: Cell<bool>,
    /// Whether the last block that was read of it was not kept.
    unkept: Cell<bool>,
    /// When a read of it was last noted, and when its inode was last seen to have changed.
    accessed: Cell<WallClock>,
    changed: Cell<WallClock>,
    /// A bit for each of the parts of which it is known where on the disk they are.
    mapped: Cell<u64>,
    /// What of it was last found in the page cache.
    resident: ResidentParts,
}

/// The lines of an answer with a file, and a note of who made them.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The lines.
    pub entity: Rc<EntityLines>,
    /// What the maker wants to know when it gets them again, such as a rule that they depend on.
    pub note: Option<u16>,
    /// Bytes a second that the file may be sent with; 0 is no limit.
    pub rate: u64,
}

/// What the lines were made under: the version of the rules, and whatever else makes a difference
/// to them for one file.
pub type LinesKey = (u32, u8);

/// XXH3 of all bytes of a file, in 128 bits.
pub type Digest = u128;

/// An open directory.
#[derive(Clone, Debug)]
pub struct OpenDirectory {
    /// The descriptor.
    pub file: File,
    /// What statx said.
    pub facts: Facts,
}

/// A descriptor opened with O_DIRECT, of the same file.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The descriptor.
    pub file: File,
    /// Alignment that memory needs, in bytes, a power of two.
    pub memory: u32,
    /// Alignment that offsets and lengths need, in bytes, a power of two.
    pub offset: u32,
}

impl Version {
    /// A version with a descriptor and what statx said of it; without one past the page cache.
    pub fn new(file: File, facts: Facts, coding: Coding, at: Instant) -> Self {
        let confirmed = Cell::new(at);
        Self {
            file,
            direct: None,
            facts,
            confirmed,
            proven: Cell::default(),
            coding,
            digest: None,
            lines: RefCell::default(),
            body: RefCell::default(),
            asked: Cell::default(),
            sent: Cell::default(),
            unkept: Cell::default(),
            accessed: Cell::new(facts.accessed),
            changed: Cell::new(facts.changed),
            mapped: Cell::default(),
            resident: ResidentParts::default(),
        }
    }

    /// Whether facts are of this same file, unchanged.
    pub fn is_still(&self, facts: &Facts) -> bool {
        self.facts.is_still(facts)
    }

    /// Takes note that the facts were seen to be true at a time.
    pub(super) fn confirm(&self, at: Instant) {
        self.confirmed.set(at);
    }

    /// Whether the facts are still those of the descriptor, for a request that began at `since`.
    /// Asks the kernel once a turn at most: a file that is written to in place, or cut, must not
    /// be answered with the length it had.
    pub fn holds(&self, since: Instant, io: &mut dyn Io) -> bool {
        let now = io.now();
        if self.confirmed.get() >= since {
            return true;
        }
        // Inline it must not wait for a file system that hangs.
        let op = Op::stat(self.file.clone(), Ask::Here);
        match io.start(op) {
            Start::Executed(Completion { op: Some(Op::Stat { facts, .. }), result, .. }) => {
                let holds = result.is_ok() && self.is_still(&facts);
                if holds {
                    self.confirm(now);
                    self.note_proven(now);
                }
                holds
            }
            // It cannot be told now; what is sent is bounded by what the file still has.
            _ => true,
        }
    }

    /// Takes note that its bytes were seen inline to be unchanged in a turn.
    pub(super) fn note_proven(&self, now: Instant) {
        self.proven.set(Some(now));
    }

    /// Whether they were seen so in this turn. Whatever the ring had read by its begin was read
    /// before.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.proven.get() == Some(now)
    }

    /// Whether the file was last changed so long before `wall` that another change would be told
    /// by another time: only then what is read of it may be kept under these facts.
    pub(super) fn is_settled(&self, wall: WallClock) -> bool {
        let changed = self.facts.changed;
        let step = if changed.nanoseconds == 0 { SETTLED_COARSE } else { SETTLED_FINE };
        wall.since(changed) >= step
    }

    /// Whether what was stored through a mapping, when its time was changed last, has been written
    /// back at `wall`, so that another store would be told by another time.
    pub(super) fn is_written_back(&self, wall: WallClock) -> bool {
        wall.since(self.facts.changed) >= WRITTEN_BACK
    }

    /// Whether the kernel says now that the file is unchanged.
    pub(super) fn is_unchanged(&self, io: &mut dyn Io) -> bool {
        let op = Op::stat(self.file.clone(), Ask::Here);
        match io.start(op) {
            Start::Executed(Completion { op: Some(Op::Stat { facts, .. }), result, .. }) => {
                result.is_ok() && self.is_still(&facts)
            }
            _ => false,
        }
    }

    /// The content, if it is in memory.
    pub(super) fn body(&self) -> Option<Rc<Body>> {
        let body = self.body.borrow();
        let body = Rc::clone(body.as_ref()?);
        self.sent.set(true);
        Some(body)
    }

    /// Keeps the content in memory, or no longer.
    pub(super) fn keep(&self, body: Option<Rc<Body>>) {
        *self.body.borrow_mut() = body;
    }

    /// Whether the content was sent from memory since this was last asked.
    pub(super) fn was_sent(&self) -> bool {
        self.sent.take()
    }

    /// Takes note that it is asked for; the answer is when it was before.
    pub fn note_asked(&self, now: Instant) -> Option<Instant> {
        self.asked.replace(Some(now))
    }

    /// How a part is read past the page cache.
    pub fn direct_via(&self, part: &Range<u64>, io: &mut dyn Io) -> Via {
        self.learn_of_changes(io);
        let parts = self.mapped_parts(part);
        match self.mapped.get() & parts != parts || self.is_access_due(io) {
            true => Via::Unmapped,
            false => Via::Direct,
        }
    }

    /// Takes note that a part was read past the page cache by a thread of the kernel.
    pub fn note_mapped(&self, part: &Range<u64>, wall: WallClock) {
        self.mapped.set(self.mapped.get() | self.mapped_parts(part));
        self.note_access(wall);
    }

    /// The parts that a range touches; none of a file that can only be in a few pieces.
    fn mapped_parts(&self, part: &Range<u64>) -> u64 {
        match self.facts.size {
            ..=UNMAPPED_BYTES_MAX => 0,
            size => {
                let bytes = MAPPED_BYTES.max(size.div_ceil(MAPPED_PARTS));
                let last = part.end.saturating_sub(1).max(part.start) / bytes;
                let (first, last) = (part.start / bytes, last.min(MAPPED_PARTS - 1));
                (u64::MAX << first.min(last)) & (u64::MAX >> (MAPPED_PARTS - 1 - last))
            }
        }
    }

    /// Takes note whether a block that was read of it was kept.
    pub(super) fn note_kept(&self, kept: bool) {
        self.unkept.set(!kept);
    }

    /// Whether the last one was not, as of a file that is being written to.
    pub(super) fn is_unkept(&self) -> bool {
        self.unkept.get()
    }

    /// When it was last asked for, as far as anybody took note.
    pub(super) fn last_asked(&self) -> Option<Instant> {
        self.asked.get()
    }

    /// Asks the kernel whether the page cache has a part of the file: by its map, or, of what was
    /// seen there of a file of another user, by a read that does not wait, which counts as a use of
    /// it and may start read-ahead. None where nobody tells: a read could make the loop wait.
    ///
    /// # Errors
    /// The disk's, where the kernel tells one instead.
    pub fn is_in_page_cache(
        &self,
        part: Range<u64>,
        mapped: bool,
        io: &mut dyn Io,
    ) -> Result<Option<bool>, Errno> {
        let look = if mapped { Look::Mapped } else { self.look_at(&part, io) };
        self.ask_page_cache(part, look, io)
    }

    /// The same, asked in a way of one's own.
    ///
    /// # Errors
    /// Those of `is_in_page_cache`.
    pub fn ask_page_cache(
        &self,
        part: Range<u64>,
        mut look: Look,
        io: &mut dyn Io,
    ) -> Result<Option<bool>, Errno> {
        let (offset, count) = (part.start, (part.end - part.start) as u32);
        // A read up to the end meets what is not there, and is counted among those that may have
        // begun one. Another one may touch a mark, and only what was seen has none left.
        let touches = look == Look::Seen && part.end < self.facts.size;
        let mut seen = touches;
        if touches {
            look = Look::Quiet;
        }
        if self.is_access_due(io) {
            if look == Look::Mapped {
                return Ok(None);
            }
            (look, seen) = (Look::Counted, false);
        }
        loop {
            let op = Op::Resident { file: self.file.clone(), offset, count, look };
            let Start::Executed(completion) = io.start(op) else {
                unreachable!("whether pages are there is asked inline")
            };
            match completion.result {
                Ok(0) => {
                    self.note_missed(&part);
                    return Ok(Some(false));
                }
                Ok(_) => return Ok(Some(true)),
                // A file of another kind than those of its mount that were asked before.
                Err(Errno::OPNOTSUPP) if look != Look::Mapped => look = Look::Mapped,
                Err(Errno::IO) => return Err(Errno::IO),
                Err(Errno::PERM) if std::mem::take(&mut seen) => look = Look::Seen,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Bytes behind a part that have to be in the page cache for nothing to begin when a page of it
    /// is touched. A page that was marked for this very descriptor has the whole next window read,
    /// of which another process may have read the begin: what is missing lies twice as far, then.
    pub fn reach(&self, io: &dyn Io) -> u64 {
        let windows = if self.file.was_read_apart() { 2 } else { 1 };
        io.reach(self.facts.mount).saturating_mul(windows)
    }

    /// Whether the page cache has all that comes behind a part, as far as a read may bring that
    /// begins when a page of the part is touched: then none does. None where nobody tells, as of a
    /// file of another user. What is there is remembered, unless it `passes`: others drop it then.
    pub fn is_followed(
        &self,
        part: &Range<u64>,
        mapped: bool,
        passes: bool,
        io: &mut dyn Io,
    ) -> Option<bool> {
        let (size, look) = (self.facts.size, if mapped { Look::Mapped } else { Look::Cached });
        let reach = part.end.saturating_add(self.reach(io)).min(size);
        let mut at = part.end;
        if reach.saturating_sub(at) > REACH_MAX {
            return Some(false);
        }
        while at < reach {
            let (now, pressed) = (io.now(), io.pressed());
            let known = self.resident.cached_until(at, now, pressed);
            if let Some(until) = known.filter(|_| !passes) {
                at = until;
                continue;
            }
            let mut end = ((at / FOLLOWED_BYTES + 1) * FOLLOWED_BYTES).min(size);
            let mut there = self.is_cached(at..end, look, io)?;
            if !there && end > reach {
                end = reach;
                there = self.is_cached(at..end, look, io)?;
            }
            if !there {
                return Some(false);
            }
            if !passes {
                self.resident.cached(at..end, now, pressed);
            }
            at = end;
        }
        Some(true)
    }

    /// Whether the page cache has a part, or it is on its way. None where nobody tells.
    fn is_cached(&self, part: Range<u64>, look: Look, io: &mut dyn Io) -> Option<bool> {
        let (offset, count) = (part.start, (part.end - part.start) as u32);
        let op = Op::Resident { file: self.file.clone(), offset, count, look };
        let Start::Executed(told) = io.start(op) else {
            unreachable!("whether pages are there is asked inline")
        };
        told.result.ok().map(|count| count > 0)
    }

    /// Up to where the file was found in the page cache from an offset on, so short a time ago that
    /// it is taken to be there still, and may be touched.
    pub fn resident_until(&self, offset: u64, io: &dyn Io) -> Option<u64> {
        self.resident.until(offset, io.now(), io.pressed())
    }

    /// Takes note that a part was found in the page cache just now, and may be touched.
    pub fn note_resident(&self, part: Range<u64>, io: &dyn Io) {
        self.resident.found(part, self.facts.size, io.now(), io.pressed());
    }

    /// Takes note that something of a part was not found there.
    pub fn note_missed(&self, part: &Range<u64>) {
        self.resident.missed(part, self.facts.size);
    }

    /// How the page cache is asked for a part without waiting: by a read, which may begin one of
    /// the disk, only for what was seen there before.
    pub fn look_at(&self, part: &Range<u64>, io: &dyn Io) -> Look {
        match self.resident.was_seen(part, self.facts.size, io.pressed()) {
            true => Look::Seen,
            false => Look::Quiet,
        }
    }

    /// The lines that were made for this file under this key, or fresh ones, which are kept.
    pub fn lines(&self, key: LinesKey, make: impl FnOnce() -> Lines) -> Lines {
        let mut kept = self.lines.borrow_mut();
        match &*kept {
            Some((of, lines)) if *of == key => lines.clone(),
            _ => {
                let lines = make();
                *kept = Some((key, lines.clone()));
                lines
            }
        }
    }
}

/// A file and its precompressed neighbours.
#[derive(Debug)]
pub struct Name {
    /// The file of the name itself.
    pub original: Rc<Version>,
    /// The neighbours that are there: br, zstd, gzip.
    pub variants: [Option<Rc<Version>>; 3],
}

impl Name {
    /// All that it leads to.
    pub fn versions(&self) -> impl Iterator<Item = &Rc<Version>> {
        std::iter::once(&self.original).chain(self.variants.iter().flatten())
    }

    /// The version with a coding, if there is one.
    pub fn version(&self, coding: Coding) -> Option<&Rc<Version>> {
        match coding {
            Coding::Identity => Some(&self.original),
            Coding::Br => self.variants[0].as_ref(),
            Coding::Zstd => self.variants[1].as_ref(),
            Coding::Gzip => self.variants[2].as_ref(),
        }
    }
}
