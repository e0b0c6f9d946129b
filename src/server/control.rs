//! What the main thread tells the workers.

use std::sync::atomic::{AtomicU8, Ordering};

/// What workers are told while they run.
#[derive(Debug, Default)]
pub struct Control(AtomicU8);

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// It serves.
    Serving = 0,
    /// It finishes what has begun and accepts nothing new.
    Draining = 1,
    /// The same, while others serve in its place.
    Retiring = 2,
}

impl Control {
    /// Tells the workers what to do; they look when they are woken.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// What they are told.
    pub fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Serving,
            1 => State::Draining,
            _ => State::Retiring,
        }
    }
}
