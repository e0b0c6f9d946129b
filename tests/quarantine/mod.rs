//! A test allocator that shows writes to freed memory.
//!
//! AddressSanitizer sees no write that the kernel makes, nor one by a library that was not built
//! with it. So memory of two odd sizes, which only the tests for this purpose ask for, is not given
//! back when it is freed: it is filled with a pattern and kept for ever, and [`intact`] looks
//! whether all of the pattern is still there.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Allocations of this size are quarantined: an ordinary vector's.
pub(crate) const VECTOR_BYTES: usize = 123_457;
/// The size of an aligned buffer whose allocation, with its alignment of 4096, is quarantined.
pub(crate) const ALIGNED_BYTES: usize = 30 * 4096;

const PATTERN: u8 = 0xd7;
const KEPT_MAX: usize = 4096;

static KEPT: [AtomicPtr<u8>; KEPT_MAX] = [const { AtomicPtr::new(std::ptr::null_mut()) }; KEPT_MAX];
static KEPT_BYTES: [AtomicUsize; KEPT_MAX] = [const { AtomicUsize::new(0) }; KEPT_MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn guarded(size: usize) -> bool {
    size == VECTOR_BYTES || size == ALIGNED_BYTES + 4096
}

/// Buffers in quarantine, and whether each still holds the pattern it was freed with.
pub(crate) fn intact() -> (usize, bool) {
    let count = COUNT.load(Ordering::Acquire).min(KEPT_MAX);
    let all = (0..count).all(|at| {
        // The size is stored last and loaded first: if it is there, so is the block.
        let size = KEPT_BYTES[at].load(Ordering::Acquire);
        let start = KEPT[at].load(Ordering::Acquire);
        // Volatile reads, since a write by the kernel is none that the compiler knows of.
        // SAFETY: a kept block is valid for `size` bytes for ever; where none is kept yet, `size`
        // is 0.
        (0..size).all(|byte| unsafe { start.wrapping_add(byte).read_volatile() } == PATTERN)
    });
    (count, all)
}

pub(crate) struct Quarantine;

// SAFETY: every block comes from `System` with its layout unchanged, and goes back there or
// nowhere.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is the one that System needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in alloc.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !guarded(layout.size()) {
            // SAFETY: the block is from System, with this layout, by the caller's promise.
            return unsafe { System.dealloc(block, layout) };
        }
        // SAFETY: the caller gives the block up, so it is writable for its size and nobody's.
        unsafe { block.write_bytes(PATTERN, layout.size()) };
        let at = COUNT.fetch_add(1, Ordering::AcqRel);
        if at < KEPT_MAX {
            KEPT[at].store(block, Ordering::Release);
            KEPT_BYTES[at].store(layout.size(), Ordering::Release);
        }
    }
}
