//! Deadlines that have passed.

use super::{Kernel, Reactor, Wake};

impl<K: Kernel> Reactor<K> {
    /// Wakes those whose deadline has passed.
    pub(super) fn fire_deadlines(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        for (owner, tick) in due.drain(..) {
            let Some(state) = self.owners.get_mut(owner) else { continue };
            if state.wheel != Some(tick) {
                continue;
            }
            state.wheel = None;
            match state.deadline {
                Some((which, at)) if at <= self.now => {
                    state.deadline = None;
                    state.due = true;
                    self.wakes.push_back((owner, Wake::Deadline(which)));
                }
                Some((_, at)) => {
                    state.wheel = Some(self.wheel.insert(owner, self.wheel.tick_of(at)));
                }
                None => {}
            }
        }
        self.due = due;
    }
}
