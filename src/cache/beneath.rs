//! The mounts beneath a directory, as whoever looks after them lists them while it is served.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mounts that names beneath a directory may lie on: its own, without a path, then those
/// beneath it, each by its path from there. Without any, nothing is known of them.
pub type MountPoints = Vec<(Box<[u8]>, u64)>;

/// See the module. All workers share it.
#[derive(Debug)]
pub struct Beneath {
    /// Counts the lists, from one on.
    version: AtomicU32,
    list: Mutex<MountPoints>,
}

impl Beneath {
    /// With these to begin with.
    pub fn new(list: MountPoints) -> Self {
        Self { version: AtomicU32::new(1), list: Mutex::new(list) }
    }

    /// Takes in how they are now; says whether anything has changed.
    pub fn set(&self, list: MountPoints) -> bool {
        let mut kept = self.list();
        let changed = *kept != list;
        // Where there are some beneath it, another one may have taken the place of one of them, and
        // its number.
        if changed || list.len() > 1 {
            *kept = list;
            self.version.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// How they are now, unless that was `seen` before.
    pub(super) fn unless(&self, seen: &mut u32) -> Option<MountPoints> {
        let version = self.version.load(Ordering::Acquire);
        (std::mem::replace(seen, version) != version).then(|| self.list().clone())
    }

    fn list(&self) -> MutexGuard<'_, MountPoints> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
