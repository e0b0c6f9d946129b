//! The blocks that wait to be read, apart for each mount: one that has its share in flight is
//! passed over as a whole, however many wait for it.

use std::collections::BTreeMap;

use super::block::BlockId;
use crate::limits::DIRECT_WAITING_MAX;

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mount: u64,
    /// Those that came earlier, on whatever mount, have lower ones.
    number: u64,
}

#[derive(Debug)]
struct Line {
    mount: u64,
    waiting: BTreeMap<u64, BlockId>,
    /// Whether its first was passed over since reads were last seen to end.
    full: bool,
}

#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Those in which somebody stands.
    lines: Vec<Line>,
    last: u64,
    count: usize,
}

impl Lines {
    /// Appends to the line of a mount.
    pub(super) fn push(&mut self, mount: u64, id: BlockId) -> Place {
        self.last += 1;
        let at = self.lines.iter().position(|line| line.mount == mount).unwrap_or_else(|| {
            self.lines.push(Line { mount, waiting: BTreeMap::new(), full: false });
            self.lines.len() - 1
        });
        self.lines[at].waiting.insert(self.last, id);
        self.count += 1;
        Place { mount, number: self.last }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let at = self.lines.iter().position(|line| line.mount == place.mount);
        let at = at.expect("who stands somewhere has a line");
        let removed = self.lines[at].waiting.remove(&place.number);
        assert!(removed.is_some(), "nobody leaves a line twice");
        self.count -= 1;
        if self.lines[at].waiting.is_empty() {
            self.lines.swap_remove(at);
        }
    }

    /// Whether one more may wait for a mount: it gets half of what the others leave.
    pub(super) fn have_room_for(&self, mount: u64) -> bool {
        let line = self.lines.iter().find(|line| line.mount == mount);
        let own = line.map_or(0, |line| line.waiting.len());
        let others = self.count - own;
        own < DIRECT_WAITING_MAX.saturating_sub(others) / 2
    }

    /// Who has waited longest of those whose mount is not known to have its share, and the mount.
    pub(super) fn first(&self) -> Option<(u64, BlockId)> {
        let open = self.lines.iter().filter(|line| !line.full);
        let firsts = open.filter_map(|line| Some((line.waiting.first_key_value()?, line.mount)));
        let ((_, id), mount) = firsts.min_by_key(|((number, _), _)| **number)?;
        Some((mount, *id))
    }

    /// A mount has its share: nobody else of its line is looked at.
    pub(super) fn close(&mut self, mount: u64) {
        self.lines.iter_mut().filter(|line| line.mount == mount).for_each(|line| line.full = true);
    }

    /// Some mount may have room again.
    pub(super) fn open(&mut self) {
        self.lines.iter_mut().for_each(|line| line.full = false);
    }

    /// Whether there is one to be looked at.
    pub(super) fn has_open(&self) -> bool {
        self.lines.iter().any(|line| !line.full)
    }

    /// All that wait, with their mounts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, BlockId)> {
        self.lines.iter().flat_map(|line| line.waiting.values().map(|id| (line.mount, *id)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cache::blocks::block::Identity;
    use crate::ring::Facts;

    fn block(index: u64) -> BlockId {
        BlockId { file: Identity::of(&Facts::default()), index }
    }

    #[test]
    fn a_mount_that_has_its_share_is_passed_over_in_one_step() {
        let mut lines = Lines::default();
        for index in 0..1000 {
            lines.push(7, block(index));
        }
        let other = lines.push(8, block(5000));
        assert_eq!(lines.first(), Some((7, block(0))), "the oldest of all");
        lines.close(7);
        assert_eq!(lines.first(), Some((8, block(5000))));
        lines.remove(other);
        assert_eq!((lines.first(), lines.has_open()), (None, false));
        lines.push(7, block(1000));
        assert!(!lines.has_open(), "who comes later waits behind the others");
        lines.open();
        assert_eq!(lines.first(), Some((7, block(0))));
    }

    #[test]
    fn mounts_share_the_places_and_together_have_no_more_than_there_are() {
        let mut lines = Lines::default();
        let fill = |lines: &mut Lines, mount| {
            let mut places = Vec::new();
            while lines.have_room_for(mount) {
                places.push(lines.push(mount, block(places.len() as u64)));
            }
            places
        };
        let had: Vec<_> = (0..14).map(|mount| fill(&mut lines, mount)).collect();
        let counts: Vec<_> = had.iter().map(Vec::len).collect();
        assert_eq!(counts[..3], [DIRECT_WAITING_MAX / 2, DIRECT_WAITING_MAX / 4, 1024]);
        assert_eq!(counts[12..], [1, 0], "the last one finds none");
        assert_eq!(lines.count, DIRECT_WAITING_MAX - 1);
        // What one had is there for all of them when it goes.
        had[0].iter().for_each(|place| lines.remove(*place));
        for mount in 0..14 {
            assert!(lines.have_room_for(mount), "{mount}");
        }
        assert!(fill(&mut lines, 13).len() > 1000 && lines.count < DIRECT_WAITING_MAX);
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let mut lines = Lines::default();
        let places = [0, 1, 2].map(|index| lines.push(7, block(index)));
        lines.remove(places[1]);
        lines.remove(places[0]);
        assert_eq!(lines.first(), Some((7, block(2))));
        lines.remove(places[2]);
        assert!(lines.lines.is_empty() && lines.iter().next().is_none());
    }
}
