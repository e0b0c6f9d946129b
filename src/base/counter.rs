//! Figures that one thread writes and any thread reads.
//!
//! A worker is the only writer of its own figures, so an addition is a plain load and store:
//! no locked instruction, and a reader sees a value that was true a moment ago.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the thread that owns the figure may call it; a second writer would
    /// lose additions, never memory safety.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count now.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the level. Only the owning thread may call it.
    #[inline]
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Raises the level to `level` if it is higher. Only the owning thread may call it.
    #[inline]
    pub fn raise(&self, level: u64) {
        if level > self.0.load(Ordering::Relaxed) {
            self.set(level);
        }
    }

    /// The level now.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
