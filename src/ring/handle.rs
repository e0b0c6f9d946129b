//! Descriptors that come home.
//!
//! A [`Socket`] or [`File`] is a counted reference: an operation in flight holds one, so the
//! descriptor stays open until the kernel has let go of it. The last reference to go does not
//! close in place, since a close may block on a slow file system; it hands the number to the
//! ring's [`Closing`] list, and the ring closes it as an operation.

// Unsafe: borrowing a raw number as a descriptor, taking it back to close it, and an ioctl.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, ioctl};

use super::reach::Via;
use crate::techniques::residency::Kept;

/// Numbers from here on belong to the simulated kernel; no process has so many descriptors
/// (fs.nr_open is at most 2^30).
pub(crate) const SIMULATED_FIRST: RawFd = 1 << 30;

/// Descriptors that nobody refers to any more and that the ring shall close.
#[derive(Debug, Default)]
pub struct Closing {
    /// With the mount of the file that each is of; 0 for what is no file.
    list: RefCell<Vec<(RawFd, u64)>>,
    /// How many open files were told to be of each mount.
    files: RefCell<Vec<(u64, usize)>>,
}

impl Closing {
    /// The next descriptor to close.
    pub(crate) fn next(&self) -> Option<(RawFd, u64)> {
        self.list.borrow_mut().pop()
    }

    /// Keeps a descriptor for a later turn.
    pub(crate) fn keep(&self, raw: RawFd, mount: u64) {
        self.list.borrow_mut().push((raw, mount));
    }

    /// How many open files were told to be of a mount. As long as there is one, the kernel gives
    /// its number to no other mount.
    pub(crate) fn files_of(&self, mount: u64) -> usize {
        let files = self.files.borrow();
        files.iter().find(|(of, _)| *of == mount).map_or(0, |(_, count)| *count)
    }

    fn opened_of(&self, mount: u64) {
        let mut files = self.files.borrow_mut();
        match files.iter_mut().find(|(of, _)| *of == mount) {
            Some((_, count)) => *count += 1,
            None => files.push((mount, 1)),
        }
    }

    fn closed_of(&self, mount: u64) {
        let mut files = self.files.borrow_mut();
        let at = files.iter().position(|(of, _)| *of == mount).expect("it was opened");
        files[at].1 -= 1;
        if files[at].1 == 0 {
            files.swap_remove(at);
        }
    }

    /// Whether nothing waits to be closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let all = self.list.get_mut().drain(..).map(|(raw, _)| raw);
        for raw in all.filter(|raw| *raw < SIMULATED_FIRST) {
            // SAFETY: the list holds numbers whose only owner was a `Descriptor` that is gone,
            // and every number leaves the list once, so nothing else closes or uses it.
            drop(unsafe { OwnedFd::from_raw_fd(raw) });
        }
    }
}

/// One open descriptor, owned.
#[derive(Debug)]
pub struct Descriptor {
    raw: RawFd,
    /// Sends that the kernel owns: while there is one, nothing may be sent inline.
    sends_in_flight: Cell<u32>,
    /// The mount of the file that it is of; 0 for what is no file, or was not asked.
    mount: Cell<u64>,
    /// Whether that was told of it, and not only expected.
    told: Cell<bool>,
    /// What tells of the pages of a file; gone before the descriptor is closed, so that nothing of
    /// the file is let go of here.
    kept: Kept,
    /// Another one of the same file, by which threads of the kernel read it.
    apart: OnceCell<File>,
    /// Whether a thread of the kernel has read by this one.
    read_apart: Cell<bool>,
    closing: Rc<Closing>,
}

impl Descriptor {
    pub(crate) fn new(raw: RawFd, closing: &Rc<Closing>) -> Self {
        assert!(raw >= 0, "a descriptor is not negative");
        Self {
            raw,
            sends_in_flight: Cell::default(),
            mount: Cell::default(),
            told: Cell::default(),
            kept: Kept::default(),
            apart: OnceCell::new(),
            read_apart: Cell::default(),
            closing: Rc::clone(closing),
        }
    }

    pub(crate) fn adopt(fd: OwnedFd, closing: &Rc<Closing>) -> Self {
        Self::new(fd.into_raw_fd(), closing)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        assert!(self.raw < SIMULATED_FIRST, "a simulated descriptor never reaches the kernel");
        // SAFETY: the number is open as long as `self` lives, because only `Drop` gives it away,
        // and the borrow cannot outlive `self`.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        debug_assert_eq!(self.sends_in_flight.get(), 0, "the kernel still sends from it");
        drop(std::mem::take(&mut self.kept));
        if self.told.get() {
            self.closing.closed_of(self.mount.get());
        }
        self.closing.keep(self.raw, self.mount.get());
    }
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Rc<Descriptor>);

        impl From<Descriptor> for $name {
            fn from(descriptor: Descriptor) -> Self {
                Self(Rc::new(descriptor))
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }
    };
}

handle! {
    /// A connected or listening socket, or another descriptor that is waited for (an event
    /// counter).
    Socket
}
handle! {
    /// An open regular file or directory.
    File
}
handle! {
    /// The end that bytes go into of a pipe that another thread empties; it never blocks.
    Tap
}

impl Descriptor {
    /// Takes note of the mount of the file that it is of, or is expected to be.
    pub(super) fn set_mount(&self, mount: u64) {
        self.mount.set(mount);
    }
}

impl File {
    /// What tells of its pages.
    pub(super) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    /// Has threads of the kernel read by another descriptor of the same file, from now on. Where
    /// one has read ahead the kernel remembers with it which page it has marked last, and whoever
    /// touches that page by the same descriptor has the whole next window read.
    pub fn set_apart(&self, other: Self) {
        // The first one stays: it may be in use.
        let _ = self.0.apart.set(other);
    }

    /// The descriptor that a read of it goes by.
    pub(crate) fn of_read(&self, via: Via) -> &Self {
        let apart = matches!(via, Via::Disk | Via::Cold | Via::Edge);
        match self.0.apart.get() {
            Some(other) if apart => other,
            _ => {
                self.0.read_apart.set(self.0.read_apart.get() || apart);
                self
            }
        }
    }

    /// Whether a thread of the kernel has read by this very descriptor, so that a page may be
    /// marked for it.
    pub fn was_read_apart(&self) -> bool {
        self.0.read_apart.get()
    }

    /// The mount that it was found in; 0 if nobody has asked.
    pub fn mount(&self) -> u64 {
        self.0.mount.get()
    }

    /// Takes note of the mount that it was found in; says whether it was found there before.
    pub fn set_mount(&self, mount: u64) -> bool {
        let told = self.0.told.replace(true);
        let before = told && self.mount() == mount;
        if !before {
            if told {
                self.0.closing.closed_of(self.mount());
            }
            self.0.closing.opened_of(mount);
            self.0.set_mount(mount);
        }
        before
    }
}

impl Socket {
    pub(crate) fn sends_in_flight(&self) -> u32 {
        self.0.sends_in_flight.get()
    }

    /// Bytes that were sent and that the peer has not acknowledged (SIOCOUTQ of tcp(7); those it
    /// has not read of a unix socket).
    pub(super) fn unacknowledged(&self) -> Result<u32, Errno> {
        const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
        // SAFETY: SIOCOUTQ, of the same number as TIOCOUTQ, writes one int, as the getter says.
        let getter = unsafe { Getter::<SIOCOUTQ, i32>::new() };
        // SAFETY: the getter brings its own memory for the answer, and the descriptor is open.
        let bytes = unsafe { ioctl(self, getter) }?;
        Ok(u32::try_from(bytes).unwrap_or(0))
    }

    pub(crate) fn send_begins(&self) {
        self.0.sends_in_flight.set(self.0.sends_in_flight.get() + 1);
    }

    pub(crate) fn send_ends(&self) {
        let before = self.0.sends_in_flight.get();
        assert!(before > 0, "a send ends that never began");
        self.0.sends_in_flight.set(before - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reference_hands_the_number_to_the_ring() {
        let closing = Rc::new(Closing::default());
        let file = File::from(Descriptor::new(SIMULATED_FIRST + 1, &closing));
        let again = file.clone();
        drop(file);
        assert!(closing.is_empty(), "one reference is left");
        drop(again);
        assert_eq!(closing.next(), Some((SIMULATED_FIRST + 1, 0)));
    }

    #[test]
    fn open_files_are_counted_for_the_mount_that_they_were_told_to_be_of() {
        let closing = Rc::new(Closing::default());
        let open = |number| File::from(Descriptor::new(SIMULATED_FIRST + number, &closing));
        let (one, other, expected) = (open(1), open(2), open(3));
        expected.0.set_mount(7);
        assert_eq!(closing.files_of(7), 0, "nobody has told it");
        assert!(!one.set_mount(7) && !other.set_mount(7) && one.set_mount(7));
        assert_eq!(closing.files_of(7), 2);
        assert!(!other.set_mount(8));
        assert_eq!((closing.files_of(7), closing.files_of(8)), (1, 1));
        let again = one.clone();
        drop((one, other, expected));
        assert_eq!((closing.files_of(7), closing.files_of(8)), (1, 0));
        drop(again);
        assert_eq!(closing.files_of(7), 0);
    }

    #[test]
    fn threads_read_by_a_descriptor_of_their_own() {
        let closing = Rc::new(Closing::default());
        let open = |number| File::from(Descriptor::new(SIMULATED_FIRST + number, &closing));
        let raw = |file: &File| file.as_raw_fd() - SIMULATED_FIRST;
        let (file, alone) = (open(1), open(2));
        file.set_apart(open(3));
        file.set_apart(open(4));
        for via in [Via::Disk, Via::Cold, Via::Edge] {
            assert_eq!(raw(file.clone().of_read(via)), 3);
        }
        for via in [Via::Memory, Via::Direct, Via::Unmapped] {
            assert_eq!((raw(file.of_read(via)), raw(alone.of_read(via))), (1, 2));
        }
        assert!(!file.was_read_apart() && !alone.was_read_apart());
        assert_eq!(raw(alone.of_read(Via::Edge)), 2);
        assert!(alone.was_read_apart());
        drop((file, alone));
        assert_eq!(std::iter::from_fn(|| closing.next()).count(), 4, "all of them are closed");
    }

    #[test]
    fn a_list_that_goes_closes_what_is_left() {
        let (read, write) = rustix::pipe::pipe().expect("two descriptors are free");
        let closing = Rc::new(Closing::default());
        drop(Descriptor::adopt(write, &closing));
        drop(closing);
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(0), "the write end is closed");
    }
}
