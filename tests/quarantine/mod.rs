//! The allocator of every test program: memory that was freed is kept for a while, and looked at
//! for writes, as by a kernel that still has it. `tests/tidy.rs` holds that no program is without
//! it. The server that tests start has it, too, as every build with debug assertions.

#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: pitcrew::sys::Quarantine = pitcrew::sys::Quarantine;
