//! Buffers that the kernel may fill or read, leased from pools of a fixed budget.
//!
//! A pool is one private anonymous mapping, cut into equal, page-aligned buffers; pages that
//! were never used take no memory. A [`Lease`] is the only way to a buffer. It moves into an
//! operation and comes home with the completion, so no second path to the memory exists while
//! the kernel may touch it. A lease that is dropped goes back to its pool. One that is kept, to
//! be sent again and again, is put behind a reference count: [`super::Outgoing::kept`].
//!
//! A large pool lies in huge pages: in those that the operator has set aside (MAP_HUGETLB), if all
//! of them can be had at once, or in those that the kernel makes as it can (MADV_HUGEPAGE).
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

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::io::Pool;

/// What freed buffers are filled with in builds with debug assertions.
const PATTERN: u8 = 0xdb;
/// Freed buffers that wait before they are leased again, in builds with debug assertions.
const QUARANTINE: usize = if cfg!(debug_assertions) { 8 } else { 0 };

/// Bytes of a huge page, on every platform whose smallest page has 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Bytes that the ring registers as one piece: the kernel refuses more than 1 GiB.
const REGION_BYTES_MAX: usize = 1 << 30;

/// What pages the memory of a pool lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Those of the platform.
    Ordinary,
    /// Huge ones where the kernel finds them.
    Advised,
    /// Huge ones, set aside for this.
    Huge,
}

/// Memory of a pool, a mapping of its own.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    pages: Pages,
}

/// Buffers of one size.
#[derive(Debug)]
pub struct BufferPool {
    mapping: Mapping,
    /// The first buffer.
    base: NonNull<u8>,
    stride: usize,
    count: usize,
    free: RefCell<VecDeque<u32>>,
    most_leased: Cell<usize>,
    /// The index under which the first region is registered with the ring.
    registered: Cell<Option<u16>>,
    /// Which one it is of a reactor, if it is one of those.
    which: Cell<Option<Pool>>,
}

impl BufferPool {
    /// Maps `count` buffers of `stride` bytes each, a multiple of 4096. A pool may be empty.
    pub fn new(stride: usize, count: usize) -> rustix::io::Result<Rc<Self>> {
        Self::map(stride, count, Mapping::new)
    }

    /// The same in huge pages where they can be had: for memory of which all is used. Where little
    /// is, the rest of each page is occupied for nothing.
    pub fn in_huge_pages(stride: usize, count: usize) -> rustix::io::Result<Rc<Self>> {
        Self::map(stride, count, Mapping::in_huge_pages)
    }

    fn map(
        stride: usize,
        count: usize,
        map: fn(usize) -> rustix::io::Result<Mapping>,
    ) -> rustix::io::Result<Rc<Self>> {
        assert!(stride > 0 && stride.is_multiple_of(4096), "buffers are page-aligned");
        assert!(count < u32::MAX as usize, "an index has 32 bits");
        let bytes = stride.checked_mul(count).ok_or(Errno::NOMEM)?;
        let mapping = map(bytes)?;
        let base = match mapping.pages {
            Pages::Ordinary => mapping.base,
            Pages::Huge | Pages::Advised => mapping.first_huge_page(),
        };
        Ok(Rc::new(Self {
            mapping,
            base,
            stride,
            count,
            free: RefCell::new((0..count as u32).collect()),
            most_leased: Cell::new(0),
            registered: Cell::new(None),
            which: Cell::new(None),
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

    /// Whether more than half of the buffers are leased.
    pub fn is_short(&self) -> bool {
        self.free() < self.count - self.count / 2
    }

    /// The most buffers that were ever leased at once.
    pub fn most_leased(&self) -> usize {
        self.most_leased.get()
    }

    /// The pages that the memory lies in.
    pub fn pages(&self) -> Pages {
        self.mapping.pages
    }

    /// All memory, in the pieces in which a ring registers it.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (*mut u8, usize)> {
        let piece = self.region_count() * self.stride;
        let all = self.stride * self.count;
        (0..all)
            .step_by(piece)
            .map(move |start| (self.base.as_ptr().wrapping_add(start), piece.min(all - start)))
    }

    /// Buffers of one region: no buffer lies in two.
    fn region_count(&self) -> usize {
        (REGION_BYTES_MAX / self.stride).max(1)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered.get().is_some()
    }

    pub(crate) fn set_registered(&self, index: Option<u16>) {
        self.registered.set(index);
    }

    pub(crate) fn set_which(&self, pool: Pool) {
        self.which.set(Some(pool));
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        debug_assert_eq!(self.free.get_mut().len(), self.count, "every lease holds the pool");
    }
}

const ORDINARY: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

impl Mapping {
    /// Zeroed memory.
    fn new(bytes: usize) -> rustix::io::Result<Self> {
        Self::map(bytes.max(4096), ORDINARY, Pages::Ordinary)
    }

    /// The same in the largest pages that can be had.
    fn in_huge_pages(bytes: usize) -> rustix::io::Result<Self> {
        if bytes < HUGE_PAGE_BYTES {
            return Self::new(bytes);
        }
        // Without NORESERVE: pages that are not set aside are refused now.
        let whole = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(Errno::NOMEM)?;
        let huge = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        if let Some(mapping) = Self::map(whole, huge, Pages::Huge).ok().and_then(Self::populated) {
            return Ok(mapping);
        }
        // Older kernels do not align a mapping for huge pages by themselves.
        let longer = whole.checked_add(HUGE_PAGE_BYTES).ok_or(Errno::NOMEM)?;
        let mut mapping = Self::map(longer, ORDINARY, Pages::Advised)?;
        let base = mapping.base.as_ptr().cast();
        // SAFETY: the range is the whole mapping, and the advice changes no byte of it.
        let advised = unsafe { rustix::mm::madvise(base, longer, Advice::LinuxHugepage) };
        if advised.is_err() {
            // EINVAL: a kernel without transparent huge pages.
            mapping.pages = Pages::Ordinary;
        }
        Ok(mapping)
    }

    fn map(bytes: usize, flags: MapFlags, pages: Pages) -> rustix::io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice
        // overlaps nothing that exists.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }?;
        let base = NonNull::new(base.cast()).expect("a mapping is never at address zero");
        Ok(Self { base, bytes, pages })
    }

    /// It with all of its pages, or none if they cannot be had: those that were set aside for the
    /// machine may be refused to this process by its control group, or lie on a node that its
    /// cpuset forbids. That would otherwise show when one is touched, as a signal, or as EFAULT of
    /// a read.
    fn populated(self) -> Option<Self> {
        match self.populate() {
            // EINVAL: a kernel before 5.14, which does not tell beforehand.
            Ok(()) | Err(Errno::INVAL) => Some(self),
            // EFAULT: a page is refused. ENOMEM: there is none. EHWPOISON: one is broken.
            Err(_) => None,
        }
    }

    fn populate(&self) -> rustix::io::Result<()> {
        let base = self.base.as_ptr().cast();
        // SAFETY: the range is the whole mapping, which is private, anonymous and writable. Each of
        // its pages is made as by a write that changes no byte of it.
        unsafe { rustix::mm::madvise(base, self.bytes, Advice::LinuxPopulateWrite) }
    }

    /// The first address in it that a huge page may have.
    fn first_huge_page(&self) -> NonNull<u8> {
        let before = self.base.as_ptr().addr() % HUGE_PAGE_BYTES;
        let start = if before == 0 { 0 } else { HUGE_PAGE_BYTES - before };
        NonNull::new(self.base.as_ptr().wrapping_add(start))
            .expect("an address in a mapping is not zero")
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `map` with this address and length; it belongs to its
        // pool alone, which every lease holds, so no buffer is left; and the ring that had it
        // registered keeps its own references to the pages.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
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

    /// Which pool of a reactor it is of, if it is of one.
    pub fn pool(&self) -> Option<Pool> {
        self.pool.which.get()
    }

    /// The index of the registered region that this buffer lies in.
    pub(crate) fn registered(&self) -> Option<u16> {
        let first = self.pool.registered.get()?;
        Some(first + (self.index as usize / self.pool.region_count()) as u16)
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
    fn a_pool_is_short_when_more_than_half_of_it_is_out() {
        for (count, most) in [(1, 0), (2, 1), (4, 2), (5, 2), (64, 32)] {
            let pool = BufferPool::new(4096, count).unwrap();
            let mut leases = Vec::new();
            while !pool.is_short() {
                leases.extend(pool.lease());
            }
            assert_eq!(leases.len(), most + 1, "of {count}");
        }
    }

    #[test]
    fn a_large_pool_is_aligned_for_huge_pages_and_all_of_it_is_there() {
        let pool = BufferPool::in_huge_pages(256 << 10, 17).unwrap();
        let mut leases: Vec<_> = std::iter::from_fn(|| pool.lease()).collect();
        assert_eq!(leases.len(), 17);
        for (number, lease) in leases.iter_mut().enumerate() {
            lease.fill(number as u8);
        }
        assert!(leases.iter().enumerate().all(|(number, lease)| lease[99] == number as u8));
        let (first, bytes) = pool.regions().next().unwrap();
        assert_eq!(bytes, 17 * (256 << 10));
        assert!(pool.pages() == Pages::Ordinary || first.addr().is_multiple_of(HUGE_PAGE_BYTES));
    }

    #[test]
    fn memory_whose_pages_are_refused_is_not_taken() {
        let mapping = Mapping::new(64 << 10).unwrap();
        let told = mapping.populate();
        let base = mapping.base;
        let mapping = mapping.populated().expect("there is memory");
        assert_eq!(mapping.base, base);
        if told == Err(Errno::INVAL) {
            return;
        }
        assert_eq!(told, Ok(()));
        // Beyond the end of a file there is no page: a touch is a signal, as it is where a control
        // group has had its share.
        let file = tempfile::tempfile().unwrap();
        let (access, bytes) = (ProtFlags::READ | ProtFlags::WRITE, 64 << 10);
        let (anywhere, flags) = (std::ptr::null_mut(), MapFlags::PRIVATE);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing that is
        // there.
        let base = unsafe { rustix::mm::mmap(anywhere, bytes, access, flags, &file, 0) }.unwrap();
        let base = NonNull::new(base.cast()).unwrap();
        let mapping = Mapping { base, bytes, pages: Pages::Huge };
        assert_eq!(mapping.populate(), Err(Errno::FAULT));
        assert!(mapping.populated().is_none());
    }

    #[test]
    fn a_pool_beyond_a_gibibyte_has_several_regions_and_no_buffer_in_two() {
        // Memory that is never touched takes none.
        let stride = 3 << 20;
        let pool = BufferPool::new(stride, 700).unwrap();
        let regions: Vec<_> = pool.regions().collect();
        assert_eq!(regions.len(), 3);
        assert!(regions.iter().all(|(_, bytes)| *bytes <= 1 << 30 && bytes % stride == 0));
        assert_eq!(regions.iter().map(|(_, bytes)| bytes).sum::<usize>(), 700 * stride);
    }

    #[test]
    fn an_empty_pool_has_nothing_to_lease() {
        let pool = BufferPool::new(4096, 0).unwrap();
        assert!(pool.lease().is_none() && pool.regions().next().is_none());
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
