//! Others who write into files in place.

use std::os::fd::RawFd;

use super::state::{Object, State};
use super::world::World;

impl World {
    /// Writes into a file in place, as much as it has.
    pub fn rewrite(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let now = self.wall();
        let mut state = self.state();
        let inode = state.files.at(path);
        state.files.rewrite(inode, bytes.into(), now);
    }

    /// The same through a mapping whose pages were written to before, and not written back since:
    /// the file bears the time that it had.
    pub fn store(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = self.state();
        let inode = state.files.at(path);
        let before = state.files.facts(inode).modified;
        state.files.rewrite(inode, bytes.into(), before);
    }
}

impl State {
    /// Somebody writes to every byte of a file.
    pub(super) fn overwrite(&mut self, file: RawFd) {
        let Some(Object::File { inode, .. }) = self.object(file) else { return };
        let (facts, now) = (self.files.facts(inode), self.wall());
        assert_ne!(facts.modified, now, "nobody sees a change within a tick of the clock");
        let bytes = self.files.bytes(inode, 0, facts.size as usize).expect("it is a file");
        let others = bytes.iter().map(|byte| !byte).collect();
        self.files.rewrite(inode, others, now);
    }
}
