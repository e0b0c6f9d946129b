//! Pipes for bodies on their way from a file to a socket, pooled.
//!
//! A pipe is leased for one body and goes back empty. One that is abandoned with bytes in it is
//! closed instead of being used again: the next body would begin with bytes of the last.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::handle::{Closing, Descriptor};

/// Both ends of a pipe, with the size that the kernel granted.
#[derive(Debug)]
pub struct Pipe {
    read: Descriptor,
    write: Descriptor,
    capacity: u32,
}

impl Pipe {
    pub(crate) fn new(read: Descriptor, write: Descriptor, capacity: u32) -> Self {
        Self { read, write, capacity }
    }
}

/// Pipes that wait for a body, and how many there may be in all.
#[derive(Debug)]
pub(crate) struct PipePool {
    #[allow(clippy::vec_box)] // The box moves between the pool and its leases.
    idle: RefCell<Vec<Box<Pipe>>>,
    open: Cell<usize>,
    /// How many were open when the kernel last refused to make one.
    refused_at: Cell<Option<usize>>,
    count_max: usize,
}

impl PipePool {
    pub(crate) fn new(count_max: usize) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            open: Cell::new(0),
            refused_at: Cell::new(None),
            count_max,
        })
    }

    /// A pipe that waits; none if one must be made.
    pub(crate) fn lease(self: &Rc<Self>) -> Option<PipeLease> {
        let pipe = self.idle.borrow_mut().pop()?;
        Some(PipeLease { pipe: Some(pipe), held: 0, pool: Rc::clone(self) })
    }

    /// Whether the bound allows one more.
    pub(crate) fn may_grow(&self) -> bool {
        self.open.get() < self.count_max
    }

    /// Takes in a pipe that was made, leased.
    pub(crate) fn adopt(self: &Rc<Self>, pipe: Pipe) -> PipeLease {
        assert!(self.may_grow(), "the bound was asked before");
        self.open.set(self.open.get() + 1);
        PipeLease { pipe: Some(Box::new(pipe)), held: 0, pool: Rc::clone(self) }
    }

    /// Pipes that are open, leased or not.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Pipes that nobody has leased.
    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Takes note that the kernel refused to make one.
    pub(crate) fn was_refused(&self) {
        self.refused_at.set(Some(self.open()));
    }

    /// Whether it is worth asking for a lease now: after a refusal by the kernel it is not until
    /// a pipe comes home or is closed, else whoever waits would ask in every turn.
    pub(crate) fn grants(&self) -> bool {
        self.idle() > 0 || self.may_grow() && self.refused_at.get() != Some(self.open())
    }

    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }
}

/// A pipe, for as long as a body needs it.
#[derive(Debug)]
pub struct PipeLease {
    /// Boxed, because an operation that carries it is moved more often than it is used.
    pipe: Option<Box<Pipe>>,
    held: u32,
    pool: Rc<PipePool>,
}

impl PipeLease {
    fn pipe(&self) -> &Pipe {
        self.pipe.as_ref().expect("only the drop takes the pipe")
    }

    /// The end that bytes go into.
    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.pipe().write.as_fd()
    }

    /// The end that bytes come out of.
    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.pipe().read.as_fd()
    }

    /// The numbers of both ends, for the simulated kernel: read, write.
    pub(crate) fn raw(&self) -> (std::os::fd::RawFd, std::os::fd::RawFd) {
        use std::os::fd::AsRawFd;
        (self.pipe().read.as_raw_fd(), self.pipe().write.as_raw_fd())
    }

    /// Bytes that the kernel granted the pipe.
    pub fn capacity(&self) -> u32 {
        self.pipe().capacity
    }

    /// Bytes that are in the pipe.
    pub fn held(&self) -> u32 {
        self.held
    }

    pub(crate) fn put_in(&mut self, count: u32) {
        self.held += count;
        assert!(self.held <= self.capacity(), "a pipe holds no more than it was granted");
    }

    pub(crate) fn took_out(&mut self, count: u32) {
        assert!(count <= self.held, "no more comes out of a pipe than went in");
        self.held -= count;
    }
}

impl Drop for PipeLease {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        if self.held == 0 {
            self.pool.idle.borrow_mut().push(pipe);
        } else {
            self.pool.open.set(self.pool.open.get() - 1);
        }
    }
}

/// Makes a pipe of two fresh descriptors.
pub(crate) fn adopt_ends(
    ends: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
    capacity: u32,
    closing: &Rc<Closing>,
) -> Pipe {
    let (read, write) = ends;
    Pipe::new(Descriptor::adopt(read, closing), Descriptor::adopt(write, closing), capacity)
}

#[cfg(test)]
mod tests {
    use super::super::handle::SIMULATED_FIRST;
    use super::*;

    fn pipe(number: i32, closing: &Rc<Closing>) -> Pipe {
        let end = |offset| Descriptor::new(SIMULATED_FIRST + number + offset, closing);
        Pipe::new(end(0), end(1), 65536)
    }

    #[test]
    fn an_empty_pipe_is_used_again_and_one_with_bytes_is_closed() {
        let closing = Rc::new(Closing::default());
        let pool = PipePool::new(2);
        let mut lease = pool.adopt(pipe(0, &closing));
        lease.put_in(5);
        lease.took_out(5);
        drop(lease);
        let mut again = pool.lease().expect("it came back");
        again.put_in(1);
        drop(again);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
        assert!(closing.next().is_some() && closing.next().is_some() && closing.is_empty());
    }
}
