//! An allocator that finds writes to memory that was freed, for builds with debug assertions: every
//! test, and the server that tests start.
//!
//! What a ring or POSIX AIO writes is written by the kernel, which AddressSanitizer does not see.
//! So a block that is freed is filled with a pattern and kept for a while instead of being given
//! back, and the pattern is looked at when the block goes, and when the process ends. Where it is
//! not as it was, the process ends with a line that says what was written where.
//!
//! - Bounds: [`QUARANTINE_BYTES`] of blocks are kept, the newest ones; larger ones than
//!   [`QUARANTINE_BLOCK_MAX`] go at once, as do those that find every ward in use by other threads.
//! - Nothing waits: neither for a lock that a process took over at a fork, nor for another thread.
//! - The variable `QUARANTINE=off` has everything given back at once, for who measures memory, and
//!   for AddressSanitizer, which keeps freed memory in its own way.

// Unsafe: being an allocator, and looking at memory that is nobody's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::{self, Write};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::limits::{QUARANTINE_BLOCK_MAX, QUARANTINE_BLOCKS, QUARANTINE_BYTES, QUARANTINE_WARDS};

/// What freed memory is filled with: as an address, a length or text it is none that is used.
const PATTERN: u8 = 0xd7;

/// What one ward keeps.
const WARD_BLOCKS: usize = QUARANTINE_BLOCKS / QUARANTINE_WARDS;
const WARD_BYTES: usize = QUARANTINE_BYTES / QUARANTINE_WARDS;

/// Several, so that threads do not meet.
static WARDS: [Mutex<Ward>; QUARANTINE_WARDS] =
    [const { Mutex::new(Ward::EMPTY) }; QUARANTINE_WARDS];

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const ON: u8 = 1;
const OFF: u8 = 2;

/// The allocator. See the module.
///
/// ```standalone_crate
/// use pitcrew::sys::{Quarantine, quarantine};
///
/// #[global_allocator]
/// static ALLOCATOR: Quarantine = Quarantine;
///
/// fn main() {
///     drop(vec![1; 1000]);
///     assert!(quarantine::check() > 0 || !quarantine::is_on());
/// }
/// ```
#[derive(Debug)]
pub struct Quarantine;

// SAFETY: every block comes from `System` with its layout unchanged, and goes back there, once,
// with the same layout, or stays kept for ever.
unsafe impl GlobalAlloc for Quarantine {
    // SAFETY: what the caller owes is what GlobalAlloc asks of it; nothing more is taken.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The environment is read while there is one thread, which allocates first of all.
        let _ = keeps();
        // SAFETY: the caller's promise about the layout is the one that System needs.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: what the caller owes is what GlobalAlloc asks of it; nothing more is taken.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = keeps();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: what the caller owes is what GlobalAlloc asks of it; nothing more is taken.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !keeps() || layout.size() > QUARANTINE_BLOCK_MAX {
            // SAFETY: the block is from System with this layout, and the size is one that may be
            // asked for, both by the caller's promise.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the alignment is that of a layout, and the size is not 0 and does not overflow
        // when it is rounded up to it, by the caller's promise.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not 0.
        let new = unsafe { self.alloc(larger) };
        if !new.is_null() {
            // SAFETY: both are valid for the smaller of the sizes, and they are two blocks.
            unsafe { new.copy_from_nonoverlapping(block, layout.size().min(size)) };
            // SAFETY: the block is given up by the caller.
            unsafe { self.dealloc(block, layout) };
        }
        new
    }

    // SAFETY: what the caller owes is what GlobalAlloc asks of it; nothing more is taken.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let kept = keeps() && layout.size() <= QUARANTINE_BLOCK_MAX;
        match NonNull::new(block).filter(|_| kept) {
            Some(start) => keep(Freed { start, layout }),
            // SAFETY: the block is from System with this layout, by the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }
}

/// Whether freed memory is kept: not with `QUARANTINE=off`, nor where another allocator is used.
pub fn is_on() -> bool {
    STATE.load(Ordering::Relaxed) == ON
}

fn keeps() -> bool {
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => begin(),
        state => state == ON,
    }
}

/// Looks at every block that is kept now, and ends the process if one was written to; how many
/// there are.
pub fn check() -> usize {
    let mut count = 0;
    for ward in &WARDS {
        let ward = ward.lock().unwrap_or_else(PoisonError::into_inner);
        ward.kept.iter().flatten().for_each(Freed::check);
        count += ward.count;
    }
    count
}

#[cold]
fn begin() -> bool {
    // SAFETY: the name ends with a NUL, and nobody changes the environment before the first
    // allocation of the process.
    let value = unsafe { libc::getenv(c"QUARANTINE".as_ptr()) };
    // SAFETY: both are texts with a NUL at the end; the first is looked at only if it is there.
    let off = !value.is_null() && unsafe { libc::strcmp(value, c"off".as_ptr()) } == 0;
    let state = if off { OFF } else { ON };
    let first = STATE.compare_exchange(UNKNOWN, state, Ordering::AcqRel, Ordering::Acquire);
    if first.is_ok() && state == ON {
        // SAFETY: the function is there until the process has ended. Without room for it nothing is
        // looked at at the end.
        unsafe { libc::atexit(at_exit) };
    }
    first.map_or_else(|earlier| earlier == ON, |_| state == ON)
}

extern "C" fn at_exit() {
    check();
}

/// A block that its owner has given up: nobody's but ours, until it is given back.
struct Freed {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: nobody else has the block, on whatever thread.
unsafe impl Send for Freed {}

impl Freed {
    fn fill(&self) {
        // SAFETY: the block is valid for writes of its size, and nobody else's.
        unsafe { self.start.write_bytes(PATTERN, self.layout.size()) };
    }

    /// Whether all of it is as it was filled. Calls of the C library, for which memory may have
    /// changed without the compiler's knowledge, as it has if the kernel wrote to it.
    fn is_intact(&self) -> bool {
        let (start, rest) = (self.start.as_ptr(), self.layout.size() - 1);
        // SAFETY: the block is valid for reads of its size, which is not 0.
        let first = unsafe { start.read_volatile() };
        let next = start.wrapping_add(1).cast_const().cast();
        // SAFETY: both lie in the block with `rest` bytes behind them.
        first == PATTERN && unsafe { libc::memcmp(start.cast_const().cast(), next, rest) } == 0
    }

    fn check(&self) {
        if !self.is_intact() {
            self.tell();
            std::process::abort();
        }
    }

    /// Says what was written where, without an allocation.
    fn tell(&self) {
        let size = self.layout.size();
        let byte = |at: usize| {
            // SAFETY: as in `is_intact`: the place lies in the block.
            unsafe { self.start.as_ptr().wrapping_add(at).read_volatile() }
        };
        let changed = || (0..size).filter(|at| byte(*at) != PATTERN);
        let mut line = Line { text: [0; 200], count: 0 };
        let (count, first) = (changed().count(), changed().next().unwrap_or_default());
        let found = byte(first);
        // What does not fit is left out.
        let _ = writeln!(
            line,
            "memory was written to after it was freed: {count} bytes of a block of {size}, the \
             first at {first}, which holds 0x{found:02x}"
        );
        let _ = rustix::io::write(rustix::stdio::stderr(), &line.text[..line.count]);
    }

    fn give_back(self) {
        // SAFETY: the block came from System with this layout, and it is given up with this value.
        unsafe { System.dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Puts a block into a ward that no other thread uses now, in the place of the oldest ones there.
fn keep(freed: Freed) {
    freed.fill();
    let Some(mut ward) = free_ward(&freed) else { return freed.give_back() };
    while !ward.has_room(freed.layout.size()) {
        let Some(oldest) = ward.take_oldest() else { break };
        oldest.check();
        oldest.give_back();
    }
    ward.put(freed);
}

fn free_ward(freed: &Freed) -> Option<MutexGuard<'static, Ward>> {
    // Addresses of blocks differ in their middle.
    let hash = (freed.start.addr().get() >> 4).wrapping_mul(0x9e37_79b9);
    let first = (hash >> 16) % QUARANTINE_WARDS;
    let (before, from) = WARDS.split_at(first);
    from.iter().chain(before).find_map(|ward| match ward.try_lock() {
        Ok(ward) => Some(ward),
        Err(TryLockError::Poisoned(ward)) => Some(ward.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    })
}

/// Freed blocks, in the order in which they came.
struct Ward {
    kept: [Option<Freed>; WARD_BLOCKS],
    first: usize,
    count: usize,
    bytes: usize,
}

impl Ward {
    const EMPTY: Self = Self { kept: [const { None }; WARD_BLOCKS], first: 0, count: 0, bytes: 0 };

    fn has_room(&self, bytes: usize) -> bool {
        self.count < WARD_BLOCKS && self.bytes + bytes <= WARD_BYTES
    }

    fn put(&mut self, freed: Freed) {
        self.bytes += freed.layout.size();
        self.kept[(self.first + self.count) % WARD_BLOCKS] = Some(freed);
        self.count += 1;
    }

    fn take_oldest(&mut self) -> Option<Freed> {
        let freed = self.kept[self.first].take()?;
        self.first = (self.first + 1) % WARD_BLOCKS;
        self.count -= 1;
        self.bytes -= freed.layout.size();
        Some(freed)
    }
}

/// A line of text in a place of its own.
struct Line {
    text: [u8; 200],
    count: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.text[self.count..];
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.count += fits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed(size: usize) -> Freed {
        let layout = Layout::from_size_align(size, 64).unwrap();
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { System.alloc(layout) }).unwrap();
        let freed = Freed { start, layout };
        freed.fill();
        freed
    }

    #[test]
    fn a_write_anywhere_is_seen() {
        for size in [1, 2, 64, 4096, 4097] {
            let freed = freed(size);
            assert!(freed.is_intact());
            for at in [0, size / 2, size - 1] {
                // SAFETY: the place lies in the block, which is this test's.
                unsafe { freed.start.as_ptr().wrapping_add(at).write(PATTERN ^ 1) };
                assert!(!freed.is_intact(), "{at} of {size}");
                // SAFETY: as above.
                unsafe { freed.start.as_ptr().wrapping_add(at).write(PATTERN) };
            }
            freed.give_back();
        }
    }

    #[test]
    fn a_ward_keeps_what_its_bounds_allow_and_the_oldest_goes_first() {
        let mut ward = Box::new(Ward::EMPTY);
        for size in 1..=3 {
            ward.put(freed(size));
        }
        assert_eq!((ward.count, ward.bytes), (3, 6));
        assert!(ward.has_room(WARD_BYTES - 6) && !ward.has_room(WARD_BYTES - 5));
        let sizes = std::iter::from_fn(|| ward.take_oldest()).map(|freed| {
            let size = freed.layout.size();
            freed.give_back();
            size
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [1, 2, 3]);
        assert!(ward.take_oldest().is_none() && ward.bytes == 0);
        for _ in 0..WARD_BLOCKS {
            ward.put(freed(1));
        }
        assert!(!ward.has_room(1), "no more blocks than there are places");
        while let Some(freed) = ward.take_oldest() {
            freed.give_back();
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn this_program_keeps_what_it_frees() {
        drop(vec![1; 1000]);
        assert!(check() > 0 || !is_on());
    }
}
