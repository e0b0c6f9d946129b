//! Whether a read of a file is noted: the journal of a disk that hangs would be waited for, so what
//! is read then is left to threads.

use super::Version;
use crate::base::WallClock;
use crate::ring::{Facts, Io};

impl Version {
    /// Whether a read takes note of its time: the journal of a disk that hangs would be waited for.
    pub fn is_access_due(&self, io: &dyn Io) -> bool {
        let facts = self.last_told();
        io.notes_access(facts.mount) && facts.is_access_due(io.wall())
    }

    /// Whether each read does.
    pub fn is_access_always_due(&self, io: &dyn Io) -> bool {
        let facts = self.last_told();
        io.notes_access(facts.mount) && facts.is_of_the_future(io.wall())
    }

    /// The facts with the times that were told, or made, since.
    fn last_told(&self) -> Facts {
        Facts { accessed: self.accessed.get(), changed: self.changed.get(), ..self.facts }
    }

    /// Takes note of facts that were asked later: a file that is renamed, removed or replaced while
    /// it is sent has another time of its last change, and the same bytes.
    pub(in crate::cache) fn note_change(&self, facts: &Facts) {
        self.changed.set(self.changed.get().max(facts.changed));
    }

    /// Asks once a turn whether the next read is noted since somebody has renamed or replaced the
    /// file, of which a body may be under way for long.
    pub fn learn_of_changes(&self, io: &mut dyn Io) {
        if io.notes_access(self.facts.mount) {
            // What it holds is asked behind the read.
            let _ = self.prove_once(io);
        }
    }

    /// Takes note that a thread of the kernel has read it: behind the last change, which the clock
    /// of files may have put into the same tick.
    pub fn note_access(&self, wall: WallClock) {
        let changed = self.facts.modified.max(self.changed.get());
        let behind = WallClock { nanoseconds: changed.nanoseconds + 1, ..changed };
        self.accessed.set(wall.max(behind));
    }
}
