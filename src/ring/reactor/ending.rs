//! The end of a reactor.

use super::{Kernel, Reactor};
use crate::base::Slab;
use crate::limits::{DROP_TURN, DROP_TURNS_MAX};
use crate::ring::io::Wait;

impl<K: Kernel> Drop for Reactor<K> {
    fn drop(&mut self) {
        // Cancel everything and wait, so that the kernel has let go of every operand before its
        // memory goes. A kernel that does not answer is asked a bounded number of times.
        for key in self.owners.keys().collect::<Vec<_>>() {
            if key != self.itself && self.owners.get(key).is_some_and(|state| !state.retired) {
                self.retire(key);
            }
        }
        self.wakes.clear();
        for _ in 0..DROP_TURNS_MAX {
            if self.operations.is_empty() && self.closing.is_empty() {
                return;
            }
            self.close_what_is_free();
            let mut events = std::mem::take(&mut self.early);
            let wait = match events.is_empty() {
                true => Wait::For(DROP_TURN),
                false => Wait::Not,
            };
            if self.kernel.enter(wait, &mut events).is_err() {
                break;
            }
            for event in events.drain(..) {
                self.take_event(event);
            }
            self.wakes.clear();
        }
        // The kernel may still write to what is in flight: better never freed than reused.
        std::mem::forget(std::mem::replace(&mut self.operations, Slab::new(0)));
    }
}
