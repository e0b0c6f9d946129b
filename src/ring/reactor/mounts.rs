//! What is known of each mount, and its share of what may be in flight, so that a mount that hangs
//! takes nothing of another's.
//!
//! A mount is met with the first file of it whose facts were asked. One byte of a regular file is
//! then asked for with the wish not to block: where that is refused, a helper looks up what the
//! file system is, and where the asking might be noted as a read, the helper asks. Till then
//! operations on its files are taken for ones that may block. The kernel
//! gives the number of a mount that is gone to a later one, and its device, too: it is looked at
//! again with each device that was not seen on it, and with the first file that is opened after
//! mounts have come or gone. What is open needs no other look, since it keeps its mount.

mod meeting;

use std::collections::VecDeque;
use std::os::fd::RawFd;

use rustix::io::Errno;

use super::{Owner, Reactor};
use crate::base::{Instant, half_of_rest};
use crate::limits::{
    BLOCKING_OPERATIONS_MAX, COLD_LOOKS_MAX, COLD_READS_MAX, MOUNT_DEVICES_MAX, MOUNT_WAKES,
    MOUNTS_MAX, NAME_OPERATIONS_MAX, READ_OPERATIONS_MAX, WARM_BYTES,
};
use crate::ring::handle::{Closing, File};
use crate::ring::io::Kernel;
use crate::ring::mount::{MountKind, Noting};
use crate::ring::op::{Ask, Completion, Facts, Look, Op, Start, Via, Wake};

/// What an operation uses up of its mount's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Name,
    Content,
    /// Past the page cache.
    Direct,
    /// The same, and the disk is waited for.
    Cold,
    /// Out of the page cache, which may begin to read what comes behind.
    Edge,
    Close,
}

impl Class {
    fn of(op: &Op) -> Option<Self> {
        match op {
            // What was read waits for it in a buffer.
            Op::Stat { ask: Ask::Behind, .. } => Some(Self::Content),
            Op::Open { .. } | Op::Stat { .. } => Some(Self::Name),
            Op::Read { via: Via::Direct | Via::Unmapped, .. } => Some(Self::Direct),
            Op::Read { via: Via::Edge, .. } | Op::Warm { via: Via::Edge, .. } => Some(Self::Edge),
            Op::Read { via: Via::Cold | Via::Disk, .. } | Op::Warm { .. } => Some(Self::Cold),
            Op::Read { .. } | Op::Forget { .. } => Some(Self::Content),
            Op::Close { mount, .. } if *mount != 0 => Some(Self::Close),
            _ => None,
        }
    }

    /// Whether it may have a buffer for bodies.
    fn is_of_bytes(self) -> bool {
        Self::OF_BYTES.contains(&self)
    }

    fn may_be_at_the_disk(self) -> bool {
        matches!(self, Self::Direct | Self::Cold)
    }

    const OF_BYTES: [Self; 4] = [Self::Content, Self::Direct, Self::Cold, Self::Edge];
    const COUNT: usize = Self::Close as usize + 1;
}

/// Whether its end shows that the disk answers. What the page cache has is read, and dropped, while
/// a disk hangs, and what is given up ends without it.
fn has_answered(op: &Op, result: Result<u32, Errno>) -> bool {
    let waited = match op {
        Op::Read { via, .. } => matches!(via, Via::Direct | Via::Unmapped | Via::Cold),
        Op::Warm { via, .. } => *via == Via::Cold,
        _ => false,
    };
    waited && !is_given_up(result)
}

fn is_given_up(result: Result<u32, Errno>) -> bool {
    matches!(result, Err(Errno::CANCELED | Errno::INTR))
}

#[derive(Debug, Default)]
struct Mount {
    number: u64,
    kind: MountKind,
    /// Devices that its files were seen on: one, or some where a mount shows several.
    devices: Vec<(u32, u32)>,
    /// How often mounts had come or gone when it was looked at.
    looked: u64,
    /// When reads take note of their time.
    noting: Noting,
    /// Bytes that the kernel reads ahead of what is asked for, and when that was asked.
    read_ahead: u64,
    read_ahead_asked: Instant,
    /// Whether a helper is looking up what it is.
    asked: bool,
    /// By class.
    in_flight: [u32; Class::COUNT],
    /// Looks at what was seen in the page cache that were in vain, and may have begun a read, since
    /// the disk last answered one.
    seen_looks: u32,
    /// Owners that found the share used up.
    waiting: VecDeque<Owner>,
    /// Descriptors whose close waits for the share.
    closing: Vec<RawFd>,
}

impl Mount {
    fn is_idle(&self) -> bool {
        let waits = self.asked || !self.waiting.is_empty() || !self.closing.is_empty();
        !waits && self.in_flight.iter().all(|count| *count == 0)
    }

    /// Those that the disk may be at.
    fn reads_under_way(&self) -> u32 {
        self.in_flight[Class::Cold as usize] + self.in_flight[Class::Direct as usize]
    }
}

#[derive(Debug)]
pub(super) struct Mounts {
    list: Vec<Mount>,
    /// Buffers for bodies, and how many of the operations in flight may have one.
    buffers: usize,
    contents: usize,
    /// How many rings use the same disks.
    rings: u32,
}

impl Mounts {
    pub(super) fn new(body_buffers: usize, rings: usize) -> Self {
        // The first is for what is of no mount that is known, and for those beyond the bound.
        Self {
            list: vec![Mount::default()],
            buffers: body_buffers,
            contents: 0,
            rings: rings.max(1) as u32,
        }
    }

    fn place(&self, number: u64) -> usize {
        self.list.iter().position(|mount| mount.number == number).unwrap_or(0)
    }

    pub(super) fn kind(&self, number: u64) -> MountKind {
        self.list[self.place(number)].kind
    }

    /// Whether a read of a file may write its time there, and wait for the disk to do so. Where
    /// even what is in memory may block, it is read by others in any case.
    pub(super) fn notes_access(&self, number: u64) -> bool {
        let mount = &self.list[self.place(number)];
        let inline = matches!(mount.kind, MountKind::NonBlocking | MountKind::Blocking);
        inline && mount.noting != Noting::Never
    }

    /// How many bytes behind a page of a file of a mount something has to be missing for a read to
    /// begin when the page is touched: the kernel marks one in each window that it has read ahead,
    /// to read the next when the mark is met. Such a window may be as long as what is asked for at
    /// once.
    pub(super) fn reach(&self, number: u64) -> u64 {
        self.list[self.place(number)].read_ahead.max(WARM_BYTES)
    }

    /// Whether an operation is to be left to a thread of the kernel from the start.
    pub(super) fn is_apart(&self, op: &Op) -> bool {
        let Some(class) = Class::of(op) else { return false };
        let crosses = match op {
            Op::Open { how, .. } => how.crosses,
            Op::Stat { ask, .. } => *ask == Ask::Anywhere,
            Op::Read { via, .. } => *via == Via::Unmapped,
            _ => false,
        };
        let disk = matches!(class, Class::Cold | Class::Edge);
        crosses || disk || self.kind(op.mount()).may_block()
    }

    pub(super) fn have_room_for(&self, op: &Op) -> bool {
        let Some(class) = Class::of(op) else { return true };
        let mount = &self.list[self.place(op.mount())];
        if matches!(op, Op::Read { via: Via::Memory, .. }) && !mount.kind.may_block() {
            // It waits for nothing, and so for none of those that do.
            return true;
        }
        if let Op::Stat { ask: Ask::Behind, .. } = op {
            // Its read had a place; till it has an answer the buffer is kept from others.
            return true;
        }
        let most = match (class, mount.kind.may_block()) {
            (_, true) => BLOCKING_OPERATIONS_MAX,
            (Class::Content | Class::Direct, false) => READ_OPERATIONS_MAX,
            (Class::Cold | Class::Edge, false) => self.share(COLD_READS_MAX),
            (Class::Name | Class::Close, false) => NAME_OPERATIONS_MAX,
        };
        let leaves_buffers = !class.is_of_bytes() || {
            let own = Class::OF_BYTES.map(|one| mount.in_flight[one as usize]);
            let own = own.iter().sum::<u32>() as usize;
            own < half_of_rest(self.buffers, self.contents - own)
        };
        mount.in_flight[class as usize] < most && leaves_buffers
    }

    /// How the page cache is asked for a part of a file of a mount: a look at what was seen there
    /// begins no read but by mistake, of which few are allowed.
    pub(super) fn allows(&self, look: Look, number: u64) -> Look {
        let mount = &self.list[self.place(number)];
        let allowed = match look {
            Look::Seen => mount.seen_looks < self.share(COLD_LOOKS_MAX),
            Look::Quiet | Look::Cached | Look::Counted | Look::Mapped => true,
        };
        if allowed { look } else { Look::Quiet }
    }

    /// A look found that something is not there. It may have begun to read it.
    pub(super) fn missed(&mut self, look: Look, number: u64) {
        let place = self.place(number);
        let mount = &mut self.list[place];
        mount.seen_looks += u32::from(look == Look::Seen);
    }

    /// This ring's part of a bound for all that use the same disks.
    fn share(&self, all: u32) -> u32 {
        (all / self.rings).max(1)
    }

    /// An operation goes into the table. A mount is listed from here on, whatever it is, so that
    /// what begins in its share also ends there.
    pub(super) fn begins(&mut self, op: &Op) {
        let Some(class) = Class::of(op) else { return };
        let place = self.enlist(op.mount());
        self.list[place].in_flight[class as usize] += 1;
        self.contents += usize::from(class.is_of_bytes());
    }

    /// It has ended. Some of those who wait for the mount may go on.
    fn ends(
        &mut self,
        op: &Op,
        result: Result<u32, Errno>,
        closing: &Closing,
    ) -> impl Iterator<Item = Owner> {
        let place = Class::of(op).map(|class| (class, self.place(op.mount())));
        let mount = place.map(|(class, place)| {
            let mount = &mut self.list[place];
            let left = &mut mount.in_flight[class as usize];
            *left -= 1;
            let left = *left;
            self.contents -= usize::from(class.is_of_bytes());
            // What followed a look and has come back to the last was answered, too.
            let all_back = class.may_be_at_the_disk() && mount.reads_under_way() == 0;
            if has_answered(op, result) || all_back && !is_given_up(result) {
                mount.seen_looks = 0;
            }
            (left, mount)
        });
        mount.into_iter().flat_map(|(left, mount)| {
            if let Some(raw) = mount.closing.pop() {
                closing.keep(raw, mount.number);
            }
            // Those who are woken may have found what they wanted elsewhere. With none in flight
            // nobody would wake the others.
            let most = if left == 0 { usize::MAX } else { MOUNT_WAKES };
            let count = mount.waiting.len().min(most);
            mount.waiting.drain(..count)
        })
    }

    /// Whether the kind of a file's mount is known, or being looked up.
    fn know(&self, facts: &Facts, changes: u64) -> bool {
        let mount = &self.list[self.place(facts.mount)];
        let seen = mount.devices.contains(&facts.device);
        // One with so many devices is not looked at for each of them.
        let seen = seen || mount.devices.len() >= MOUNT_DEVICES_MAX;
        let known = seen && !matches!(mount.kind, MountKind::Unproven);
        let holds = mount.number == facts.mount && mount.looked == changes;
        holds && (mount.asked || known)
    }

    /// A mount is still the one that was looked at.
    fn confirm(&mut self, number: u64, changes: u64) {
        let place = self.place(number);
        let mount = &mut self.list[place];
        // What a helper is asked for now is not taken for what is true after the change.
        if mount.number == number && !mount.asked {
            mount.looked = changes;
        }
    }

    fn enlist(&mut self, number: u64) -> usize {
        let place = self.place(number);
        if self.list[place].number == number {
            return place;
        }
        let mount = Mount { number, ..Mount::default() };
        if self.list.len() < MOUNTS_MAX {
            self.list.push(mount);
            return self.list.len() - 1;
        }
        // What is known of one that nobody uses now is found out again when somebody does. But
        // what has begun in the part of all the others ends there.
        match (1..self.list.len()).find(|at| self.list[*at].is_idle()) {
            Some(idle) if self.list[0].is_idle() => {
                self.list[idle] = mount;
                idle
            }
            _ => place,
        }
    }

    fn wait(&mut self, op: &Op, owner: Owner) {
        let place = self.enlist(op.mount());
        let waiting = &mut self.list[place].waiting;
        // Once only: who is woken for what it no longer wants looks again at what it wants now.
        if !waiting.contains(&owner) {
            waiting.push_back(owner);
        }
    }

    pub(super) fn nothing_to_close(&self) -> bool {
        self.list.iter().all(|mount| mount.closing.is_empty())
    }
}

impl<K: Kernel> Reactor<K> {
    /// What may be expected of the files of a mount.
    pub fn mount_kind(&self, mount: u64) -> MountKind {
        self.mounts.kind(mount)
    }

    /// The share of the operation's mount is used up: its owner is woken when that has changed.
    pub(super) fn wait_for_mount(&mut self, owner: Owner, op: Op) -> Start {
        self.stats.mount_waits.add(1);
        self.mounts.wait(&op, owner);
        Start::Busy(op)
    }

    /// An operation has ended that had a part of its mount's share.
    pub(super) fn leave_mount(&mut self, op: &Op, result: Result<u32, Errno>) {
        for owner in self.mounts.ends(op, result, &self.closing) {
            self.wakes.push_back((owner, Wake::Ready));
        }
    }

    /// Keeps a descriptor to be closed when its mount has room; says whether it has now.
    pub(super) fn may_close(&mut self, op: &Op) -> bool {
        let room = self.mounts.have_room_for(op);
        if let Op::Close { raw, mount } = op
            && !room
        {
            let place = self.mounts.enlist(*mount);
            self.mounts.list[place].closing.push(*raw);
        }
        room
    }

    /// Whether facts of a file can be asked inline: its mount does not block, or it was opened
    /// before the loop began.
    pub(super) fn answers_at_once(&self, file: &File) -> bool {
        file.mount() == 0 || !self.mounts.kind(file.mount()).may_block()
    }

    /// Submits an operation whose end concerns nobody.
    pub(super) fn leave_to_itself(&mut self, op: Op) -> Start {
        let left = match self.submit(self.itself, op) {
            Start::Submitted(_) => None,
            // It is done without, and nobody is to be woken for it.
            Start::Busy(op) | Start::Blocked(op, _) => Some(op),
            Start::Executed(completion) => completion.op,
        };
        Start::Executed(Completion {
            ticket: None,
            op: left,
            result: Ok(0),
            handle: None,
            more: false,
        })
    }

    /// Memory was found to be short: what was seen in the page cache may be gone.
    pub fn press(&mut self) {
        self.pressed = self.now;
        self.stats.pressed.add(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::Key;
    use crate::ring::handle::Descriptor;

    fn close(mount: u64) -> Op {
        Op::Close { raw: 1, mount }
    }

    #[test]
    fn a_mount_that_is_used_up_leaves_the_others_their_share() {
        let mut mounts = Mounts::new(1000, 1);
        for _ in 0..BLOCKING_OPERATIONS_MAX {
            assert!(mounts.have_room_for(&close(7)));
            mounts.begins(&close(7));
        }
        assert!(!mounts.have_room_for(&close(7)));
        assert!(mounts.have_room_for(&close(8)));
        let owner = Key { index: 1, generation: 0 };
        mounts.wait(&close(7), owner);
        mounts.wait(&close(7), owner);
        let closing = Rc::new(Closing::default());
        assert_eq!(mounts.ends(&close(7), Ok(1), &closing).collect::<Vec<_>>(), [owner]);
        assert!(mounts.have_room_for(&close(7)));
    }

    #[test]
    fn what_comes_behind_counts_as_far_as_the_kernel_reads_ahead() {
        let mut mounts = Mounts::new(1000, 1);
        let place = mounts.enlist(7);
        assert_eq!(mounts.reach(7), WARM_BYTES, "as much as is asked for at once");
        mounts.list[place].read_ahead = 8 << 20;
        assert_eq!(mounts.reach(7), 8 << 20);
    }

    /// mount_namespaces(7) does not say it: numbers of mounts are given again.
    #[test]
    fn a_number_that_comes_again_with_another_device_is_looked_at_again() {
        let mut mounts = Mounts::new(1000, 1);
        let facts = |minor| Facts { mount: 7, device: (0, minor), ..Facts::default() };
        let place = mounts.enlist(7);
        assert!(!mounts.know(&facts(30), 0), "nothing is known");
        mounts.list[place].kind = MountKind::NonBlocking;
        mounts.list[place].devices.push((0, 30));
        assert!(mounts.know(&facts(30), 0) && !mounts.know(&facts(31), 0));
        assert!(!mounts.know(&facts(30), 1), "mounts have come or gone");
        mounts.list[place].devices.extend((31..40).map(|minor| (0, minor)));
        assert!(mounts.know(&facts(99), 0), "some file systems have a device for each subvolume");
    }

    #[test]
    fn two_mounts_that_hang_leave_buffers_to_a_third() {
        let mut mounts = Mounts::new(16, 1);
        let closing = Rc::new(Closing::default());
        let read = |mount| {
            let file =
                File::from(Descriptor::adopt(tempfile::tempfile().unwrap().into(), &closing));
            file.set_mount(mount);
            Op::Forget { file, offset: 0, count: 1 }
        };
        let mut had = Vec::new();
        for number in [7, 8, 9] {
            mounts.enlist(number);
            let place = mounts.place(number);
            mounts.list[place].kind = MountKind::NonBlocking;
            let op = read(number);
            while mounts.have_room_for(&op) {
                mounts.begins(&op);
            }
            had.push(mounts.list[place].in_flight[Class::Content as usize]);
        }
        assert_eq!(had, [8, 4, 2]);
    }

    /// Where the queue of its device is full, the kernel has whoever begins a read wait.
    #[test]
    fn of_a_mount_that_hangs_few_looks_begin_a_read_and_threads_wait_for_the_others() {
        let mut mounts = Mounts::new(1000, 1);
        let closing = Rc::new(Closing::default());
        let file = File::from(Descriptor::adopt(tempfile::tempfile().unwrap().into(), &closing));
        file.set_mount(7);
        let forget = Op::Forget { file: file.clone(), offset: 0, count: 1 };
        let warm = Op::Warm { file, offset: 0, count: 1, via: Via::Cold };
        let place = mounts.enlist(7);
        mounts.list[place].kind = MountKind::NonBlocking;
        assert!(mounts.is_apart(&warm));
        // Looks that nothing follows, and ones that a read does.
        for follows in [false, true] {
            let mut begun = 0;
            while mounts.allows(Look::Seen, 7) == Look::Seen {
                mounts.missed(Look::Seen, 7);
                begun += 1;
                if follows {
                    mounts.begins(&warm);
                }
            }
            assert_eq!(begun, COLD_LOOKS_MAX);
            assert_eq!(mounts.allows(Look::Mapped, 7), Look::Mapped);
            assert_eq!(mounts.allows(Look::Seen, 8), Look::Seen);
            if !follows {
                // What needs no disk ends while it hangs.
                mounts.begins(&forget);
                mounts.ends(&forget, Ok(1), &closing).for_each(drop);
                assert_eq!(mounts.allows(Look::Seen, 7), Look::Quiet);
                mounts.begins(&warm);
                mounts.ends(&warm, Ok(1), &closing).for_each(drop);
                assert_eq!(mounts.allows(Look::Seen, 7), Look::Seen, "it answers");
            }
        }
        while mounts.have_room_for(&warm) {
            mounts.begins(&warm);
        }
        assert_eq!(mounts.list[place].in_flight[Class::Cold as usize], COLD_READS_MAX);
    }

    #[test]
    fn all_rings_share_a_bound_of_mistakes_about_what_was_seen() {
        let mut mounts = Mounts::new(1000, 4);
        mounts.enlist(7);
        let mut begun = 0;
        while mounts.allows(Look::Seen, 7) == Look::Seen {
            mounts.missed(Look::Seen, 7);
            begun += 1;
        }
        assert_eq!(begun, COLD_LOOKS_MAX / 4);
        assert_eq!(mounts.allows(Look::Mapped, 7), Look::Mapped);
        let mounts = Mounts::new(1000, 1000);
        assert_eq!(mounts.allows(Look::Seen, 7), Look::Seen, "each has one at least");
    }

    #[test]
    fn mounts_beyond_the_bound_share_one_part() {
        let mut mounts = Mounts::new(1000, 1);
        for number in 1..2 * MOUNTS_MAX as u64 {
            mounts.begins(&close(number));
        }
        assert_eq!(mounts.list.len(), MOUNTS_MAX);
        assert!(mounts.kind(u64::MAX).may_block());
        let closing = Rc::new(Closing::default());
        for number in 1..2 * MOUNTS_MAX as u64 {
            mounts.ends(&close(number), Ok(1), &closing).for_each(drop);
        }
        assert!(mounts.list.iter().all(|mount| mount.in_flight == [0; Class::COUNT]));
        // One that is used now gets the place of one that is not.
        let place = mounts.enlist(5000);
        assert_eq!((mounts.list[place].number, mounts.list.len()), (5000, MOUNTS_MAX));
        assert_ne!(place, 0);
    }

    #[test]
    fn what_begins_in_the_part_of_all_others_ends_there() {
        let mut mounts = Mounts::new(1000, 1);
        for number in 1..=MOUNTS_MAX as u64 {
            mounts.begins(&close(number));
        }
        let closing = Rc::new(Closing::default());
        mounts.ends(&close(1), Ok(1), &closing).for_each(drop);
        assert_eq!(mounts.enlist(MOUNTS_MAX as u64), 0, "one of its own is under way");
        mounts.ends(&close(MOUNTS_MAX as u64), Ok(1), &closing).for_each(drop);
        assert_eq!(mounts.list[0].in_flight, [0; Class::COUNT]);
        assert_ne!(mounts.enlist(MOUNTS_MAX as u64), 0);
    }

    /// Of a site of small files nothing else shows that the disk answers.
    #[test]
    fn looks_are_allowed_again_when_all_that_followed_them_has_come_back() {
        let mut mounts = Mounts::new(1000, 100);
        mounts.enlist(7);
        mounts.missed(Look::Seen, 7);
        assert_eq!(mounts.allows(Look::Seen, 7), Look::Quiet);
        let closing = Rc::new(Closing::default());
        let file = File::from(Descriptor::adopt(tempfile::tempfile().unwrap().into(), &closing));
        file.set_mount(7);
        let warm = || Op::Warm { file: file.clone(), offset: 0, count: 1, via: Via::Disk };
        mounts.begins(&warm());
        mounts.begins(&warm());
        mounts.ends(&warm(), Ok(1), &closing).for_each(drop);
        assert_eq!(mounts.allows(Look::Seen, 7), Look::Quiet, "one is still at the disk");
        mounts.ends(&warm(), Err(Errno::CANCELED), &closing).for_each(drop);
        assert_eq!(mounts.allows(Look::Seen, 7), Look::Quiet, "it was given up");
        mounts.begins(&warm());
        mounts.ends(&warm(), Ok(1), &closing).for_each(drop);
        assert_eq!(mounts.allows(Look::Seen, 7), Look::Seen);
    }

    /// What a helper was asked before mounts have come or gone is asked again.
    #[test]
    fn an_open_file_does_not_confirm_what_nobody_has_told_yet() {
        let mut mounts = Mounts::new(1000, 1);
        let place = mounts.enlist(7);
        mounts.list[place].asked = true;
        mounts.confirm(7, 1);
        assert_eq!(mounts.list[place].looked, 0);
        mounts.list[place].asked = false;
        mounts.confirm(7, 1);
        assert_eq!(mounts.list[place].looked, 1);
    }
}
