//! Small bodies in aligned memory, so that a hot file leaves in one send with its head: copied
//! behind it where both fit into the buffer of an answer, gathered by the kernel where not.
//!
//! A body is read by the ring once its file was asked for a second time, and kept with the
//! version of the file: what is sent is only ever sent after statx has said that the file is
//! still that version, and the bytes go when the version does. A file that was changed just now
//! is not kept yet: the time of another change might be told as the same one, to the kernel's
//! next tick. What is kept before pages of a mapping are written back is read once more when they
//! are: a store through the mapping may have been told by nothing. Bodies that were not sent since
//! they were last looked at give way to others (second chance, in the order in which they came).
//!
//! Invariants: the bytes kept are within the budget; a body has as many as the facts of its
//! version say, and they were read while those were true.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use foldhash::HashMap;

use super::open_files::OpenFiles;
use super::stats::Stats;
use super::version::Version;
use crate::base::aligned::{ALIGNMENT_BYTES_MIN, AlignedBuffer};
use crate::base::{Instant, WallClock, half_of_rest};
use crate::limits::{HOT_BODY_BYTES_MAX, HOT_READS_MAX};
use crate::ring::{Completion, Io, Kept, Look, MountKind, Op, Pool, Start, Ticket, Via};

/// The bytes of a whole file.
#[derive(Debug)]
pub struct Body {
    memory: AlignedBuffer,
    len: usize,
    /// Whether it was read before the kernel had written back what was stored by then.
    early: bool,
    level: Rc<Level>,
}

impl Kept for Body {
    fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

/// How much is kept.
#[derive(Debug)]
struct Level {
    bytes: Cell<u64>,
    bodies: Cell<usize>,
    stats: Arc<Stats>,
}

impl Level {
    fn change(&self, bytes: i64, bodies: isize) {
        self.bytes.set(self.bytes.get().wrapping_add_signed(bytes));
        self.bodies.set(self.bodies.get().wrapping_add_signed(bodies));
        self.stats.hot_bytes.set(self.bytes.get());
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.level.change(-(self.memory.occupied_bytes() as i64), -1);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hot {
    bytes_max: u64,
    level: Rc<Level>,
    /// Those that are kept, and some that are gone; the first is looked at next.
    kept: VecDeque<Weak<Version>>,
    /// To be read.
    wanted: Vec<Rc<Version>>,
    /// With whether the page cache has it for this alone, and is to let go of it.
    reading: HashMap<Ticket, (Rc<Version>, bool)>,
    /// Bytes from which a file leaves nothing in the page cache; none where every file does.
    drop_from: Option<u64>,
    /// To be dropped from there.
    brought: Vec<Rc<Version>>,
    /// Read, and to be compared with what the file is now.
    read: Vec<(Rc<Version>, AlignedBuffer)>,
    stats: Arc<Stats>,
}

impl Hot {
    pub(super) fn new(bytes_max: u64, drop_from: Option<u64>, stats: Arc<Stats>) -> Self {
        stats.hot_bytes_max.set(bytes_max);
        let level =
            Level { bytes: Cell::default(), bodies: Cell::default(), stats: Arc::clone(&stats) };
        Self {
            bytes_max,
            level: Rc::new(level),
            kept: VecDeque::new(),
            wanted: Vec::new(),
            reading: HashMap::default(),
            drop_from,
            brought: Vec::new(),
            read: Vec::new(),
            stats,
        }
    }

    fn takes(&self, size: u64) -> bool {
        (1..=HOT_BODY_BYTES_MAX as u64).contains(&size)
            && size.next_multiple_of(ALIGNMENT_BYTES_MIN as u64) + ALIGNMENT_BYTES_MIN as u64
                <= self.bytes_max
    }

    /// Has a body read, unless it is being read or so many are, of all or of its mount.
    fn want(&mut self, version: &Rc<Version>) {
        let (mut own, mut others) = (0, 0);
        for other in self.wanted.iter().chain(self.reading.values().map(|(version, _)| version)) {
            if Rc::ptr_eq(other, version) {
                return;
            }
            let same = other.facts.mount == version.facts.mount;
            own += usize::from(same);
            others += usize::from(!same);
        }
        if own + others < HOT_READS_MAX && own < half_of_rest(HOT_READS_MAX, others) {
            self.wanted.push(Rc::clone(version));
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.wanted.is_empty() || !self.read.is_empty() || !self.brought.is_empty()
    }

    /// Takes in the end of a read, if it is one of these; else hands it back.
    pub(super) fn take(&mut self, completion: Completion) -> Option<Completion> {
        let reading = completion.ticket.and_then(|ticket| self.reading.remove(&ticket));
        let Some((version, brought)) = reading else { return Some(completion) };
        if brought {
            self.brought.push(Rc::clone(&version));
        }
        // What is short, or has failed, is tried again when it is asked for again.
        if let (Some(Op::Read { buffer, .. }), Ok(count)) = (completion.op, completion.result)
            && u64::from(count) == version.facts.size
        {
            let room = (count as usize).next_multiple_of(ALIGNMENT_BYTES_MIN);
            // Without memory it is sent as any other.
            if let Ok(mut memory) = AlignedBuffer::new(room, ALIGNMENT_BYTES_MIN) {
                memory[..count as usize].copy_from_slice(&buffer[..count as usize]);
                self.read.push((version, memory));
            }
        }
        None
    }

    /// Starts reads, and keeps what was read.
    pub(super) fn pump(&mut self, io: &mut dyn Io) {
        for version in std::mem::take(&mut self.brought) {
            let (file, count) = (version.file.clone(), version.facts.size as u32);
            // What cannot be dropped stays.
            let _ = io.start(Op::Forget { file, offset: 0, count });
        }
        for (version, bytes) in std::mem::take(&mut self.read) {
            if version.is_unchanged(io) {
                self.keep(&version, bytes, io.wall());
            }
        }
        for version in std::mem::take(&mut self.wanted) {
            if io.mount_kind(version.facts.mount) == MountKind::Foreign {
                // Nobody tells at once whether it is still the same.
                continue;
            }
            // Without a buffer, or room at the ring, there is more to do than to prepare.
            let Some(buffer) = io.lease_if_free(Pool::Body) else { return };
            let size = version.facts.size;
            let there = version.resident_until(0, io).is_some_and(|until| until >= size);
            let via = if there { Via::Memory } else { Via::Disk };
            let passes = self.drop_from.is_some_and(|least| size >= least);
            let brought =
                passes && version.ask_page_cache(0..size, Look::Quiet, io) == Ok(Some(false));
            let file = version.file.clone();
            let op = Op::Read { file, offset: 0, buffer, range: 0..size as u32, via };
            if let Start::Submitted(ticket) = io.start(op) {
                self.reading.insert(ticket, (version, brought));
            }
        }
    }

    fn keep(&mut self, version: &Rc<Version>, memory: AlignedBuffer, wall: WallClock) {
        let size = memory.occupied_bytes() as u64;
        while self.level.bytes.get() + size > self.bytes_max {
            let Some(first) = self.kept.pop_front() else { return };
            let Some(other) = first.upgrade() else { continue };
            if other.was_sent() {
                self.kept.push_back(first);
            } else {
                other.keep(None);
                self.stats.hot_evicted.add(1);
            }
        }
        if self.kept.len() > 2 * self.level.bodies.get() + HOT_READS_MAX {
            self.kept.retain(|version| version.strong_count() > 0);
        }
        self.level.change(size as i64, 1);
        let len = version.facts.size as usize;
        let (early, level) = (!version.is_written_back(wall), Rc::clone(&self.level));
        version.keep(Some(Rc::new(Body { memory, len, early, level })));
        self.kept.push_back(Rc::downgrade(version));
        self.stats.hot_kept.add(1);
    }
}

impl OpenFiles {
    /// The whole body of a version that was just found to hold, if it is in memory. The second
    /// time that it is asked for has it put there. A request that has `begun` before may be looked
    /// at several times, while there is no room for its answer.
    pub fn body(
        &mut self,
        version: &Rc<Version>,
        (begun, now): (Instant, Instant),
        wall: WallClock,
    ) -> Option<Rc<Body>> {
        if !self.hot.takes(version.facts.size) {
            return None;
        }
        let mut body = version.body();
        if body.take_if(|body| body.early && version.is_written_back(wall)).is_some() {
            version.keep(None);
        }
        if body.is_none() {
            let asked = version.note_asked(now).is_some_and(|last| last < begun);
            if asked && version.is_settled(wall) {
                self.hot.want(version);
            }
        }
        body
    }

    /// Takes note that a body from memory was put into an answer.
    pub fn put_body(&self) {
        self.hot.stats.hot_hits.add(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::negotiate::Coding;
    use crate::ring::{Closing, Descriptor, Facts, File};

    #[test]
    fn mounts_that_hang_leave_reads_to_others() {
        let mut hot = Hot::new(1 << 20, None, Arc::default());
        let closing = Rc::new(Closing::default());
        let mut want = |mount| {
            let fd = tempfile::tempfile().unwrap().into();
            let file = File::from(Descriptor::adopt(fd, &closing));
            let facts = Facts { mount, size: 1, ..Facts::default() };
            let version = Version::new(file, facts, Coding::Identity, Instant::default());
            let before = hot.wanted.len();
            hot.want(&Rc::new(version));
            hot.wanted.len() > before
        };
        let mut had = Vec::new();
        for mount in [1, 2, 3] {
            had.push((0..HOT_READS_MAX).filter(|_| want(mount)).count());
        }
        assert_eq!(had, [8, 4, 2]);
    }
}
