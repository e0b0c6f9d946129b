//! Buffers that the kernel may fill or read, leased from pools of a fixed budget.
//!
//! A pool is one private anonymous mapping, cut into equal, page-aligned buffers; pages that
//! were never used take no memory. A [`Lease`] is the only way to a buffer. It moves into an
//! operation and comes home with the completion, so no second path to the memory exists while
//! the kernel may touch it. A lease that is dropped goes back to its pool.
//!
//! In builds with debug assertions a buffer that came home is filled with a pattern and waits
//! in a quarantine; the pattern is checked before it is leased again. A write by the kernel
//! into memory that it should have let go of (which AddressSanitizer cannot see) is found so.

// Unsafe: mapping the pool, and slices of leased buffers.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use rustix::mm::{MapFlags, ProtFlags};

/// What freed buffers are filled with in builds with debug assertions.
const PATTERN: u8 = 0xdb;
/// Freed buffers that wait before they are leased again, in builds with debug assertions.
const QUARANTINE: usize = if cfg!(debug_assertions) { 8 } else { 0 };

/// Buffers of one size.
#[derive(Debug)]
pub struct BufferPool {
    base: NonNull<u8>,
    stride: usize,
    count: usize,
    free: RefCell<VecDeque<u32>>,
    most_leased: Cell<usize>,
    /// The index under which the whole mapping is registered with the ring.
    registered: Cell<Option<u16>>,
}

impl BufferPool {
    /// Maps `count` buffers of `stride` bytes each, a multiple of 4096.
    pub fn new(stride: usize, count: usize) -> rustix::io::Result<Rc<Self>> {
        assert!(stride > 0 && stride.is_multiple_of(4096), "buffers are page-aligned");
        assert!(count > 0 && count < u32::MAX as usize, "an index has 32 bits");
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice
        // overlaps nothing that exists.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                stride * count,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast()).expect("a mapping is never at address zero");
        Ok(Rc::new(Self {
            base,
            stride,
            count,
            free: RefCell::new((0..count as u32).collect()),
            most_leased: Cell::new(0),
            registered: Cell::new(None),
        }))
    }

    /// Leases a buffer, or none when all are out.
    pub fn lease(self: &Rc<Self>) -> Option<Lease> {
        let mut free = self.free.borrow_mut();
        // The one that came home last is warm in the processor's cache; a quarantine, where
        // there is one, takes the one that has waited longest instead.
        let index = if QUARANTINE > 0 { free.pop_front() } else { free.pop_back() }?;
        self.most_leased.set(self.most_leased.get().max(self.count - free.len()));
        drop(free);
        let lease = Lease { pool: Rc::clone(self), index };
        lease.check_pattern();
        Some(lease)
    }

    /// Bytes of one buffer.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Buffers in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Buffers that are not leased.
    pub fn free(&self) -> usize {
        self.free.borrow().len()
    }

    /// The most buffers that were ever leased at once.
    pub fn most_leased(&self) -> usize {
        self.most_leased.get()
    }

    /// The whole mapping, for registration with a ring.
    pub(crate) fn region(&self) -> (*mut u8, usize) {
        (self.base.as_ptr(), self.stride * self.count)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered.get().is_some()
    }

    pub(crate) fn set_registered(&self, index: Option<u16>) {
        self.registered.set(index);
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        debug_assert_eq!(self.free.get_mut().len(), self.count, "every lease holds the pool");
        let (base, bytes) = self.region();
        // SAFETY: the mapping was made in `new` with this address and length, every lease holds
        // a reference to the pool, so none is left, and the ring that had it registered keeps
        // its own references to the pages.
        let unmapped = unsafe { rustix::mm::munmap(base.cast(), bytes) };
        debug_assert!(unmapped.is_ok(), "unmapping a whole mapping cannot fail");
    }
}

/// One buffer, for as long as it is held.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<BufferPool>,
    index: u32,
}

impl Lease {
    fn address(&self) -> *mut u8 {
        debug_assert!((self.index as usize) < self.pool.count, "an index of the pool");
        self.pool.base.as_ptr().wrapping_add(self.index as usize * self.pool.stride)
    }

    /// Whether it is a buffer of this pool.
    pub(crate) fn is_of(&self, pool: &Rc<BufferPool>) -> bool {
        Rc::ptr_eq(&self.pool, pool)
    }

    /// The index of the registered mapping that this buffer lies in.
    pub(crate) fn registered(&self) -> Option<u16> {
        self.pool.registered.get()
    }

    fn check_pattern(&self) {
        if cfg!(debug_assertions) {
            let head = self[0];
            // A buffer that was never used is all zero.
            assert!(
                (head == 0 || head == PATTERN) && self[1..] == self[..self.len() - 1],
                "a buffer was written to after it came home"
            );
        }
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the address lies in the pool's mapping with a whole stride behind it, the
        // mapping is zeroed at its birth and so always initialised, it lives as long as the
        // lease holds the pool, and no other lease has the same index while this one lives. The
        // kernel writes to it only while an operation owns the lease, when nobody can borrow it.
        unsafe { std::slice::from_raw_parts(self.address(), self.pool.stride) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.pool.stride) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            self.fill(PATTERN);
        }
        self.pool.free.borrow_mut().push_back(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_what_it_has_and_no_more() {
        let pool = BufferPool::new(4096, 2).unwrap();
        let first = pool.lease().unwrap();
        let second = pool.lease().unwrap();
        assert!(pool.lease().is_none());
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert!(first.as_ptr().addr().is_multiple_of(4096));
        drop(first);
        assert!(pool.lease().is_some());
        assert_eq!(pool.most_leased(), 2);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "after it came home")]
    fn a_write_after_coming_home_is_found() {
        let pool = BufferPool::new(4096, 1).unwrap();
        let mut lease = pool.lease().unwrap();
        lease[9] = 1;
        let address = lease.as_mut_ptr();
        drop(lease);
        // SAFETY: the mapping is alive and nobody borrows it: this plays a kernel that writes
        // late.
        unsafe { address.wrapping_add(17).write(9) };
        let _ = pool.lease();
    }
}
