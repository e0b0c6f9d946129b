//! Whose turn it is to move bytes of a body.
//!
//! A large body is moved in turns of bounded size, and all of them together move little more in
//! one turn of the worker than one of them may, so that what others ask for meanwhile waits for
//! that much and no more: the ring is looked at again before the next body goes on. Who finds the
//! turn used up stands in line, and the line is served after all other wakes. Those that have
//! moved nothing yet have a line of their own, and the two are served by turns: a download that
//! begins does not wait for all that are under way, and however many begin, those go on.
//!
//! Short bodies do not stand in line. What they move is bounded by how many clients ask. And what
//! was started for them, or to read a request, goes to the kernel before the line is served: a
//! small answer takes three turns, and would wait for a part of a download in each of them.

use std::collections::VecDeque;

use super::{Owner, Reactor};
use crate::limits::{LINE_PUT_OFF_MAX, SHORT_BODY_BYTES};
use crate::ring::io::Kernel;
use crate::ring::op::{Op, Wake};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Bytes that may be moved in this turn before the next body waits for another.
    left: u32,
    /// Bodies that have begun, and those that have not.
    lines: [VecDeque<Owner>; 2],
    /// How many of each line stood there when the turn began.
    served: [usize; 2],
    /// The line that is served next.
    next: usize,
    /// Whether something was started in this turn that shall not wait for a large body.
    hurries: bool,
    /// Turns in a row in which nobody of the lines was served for that.
    put_off: u32,
}

/// What an owner may move in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// The turn it is for, in its low bits.
    turn: u32,
    /// Bytes left of the owner's own.
    left: u32,
    /// Whether the owner came to its turn.
    granted: bool,
    /// Whether what it moves is all the worker's, too: that of a short body is not.
    shared: bool,
    /// Whether the body has begun.
    begun: bool,
}

impl Allowance {
    /// Begins anew with each turn.
    fn renew(&mut self, turn: u32, left: u32) {
        if self.turn != turn {
            *self = Self { turn, left, granted: false, ..*self };
        }
    }
}

impl Turns {
    /// Whether nobody stands in line.
    pub(super) fn nobody_waits(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    /// A turn of the worker begins, with so many bytes.
    pub(super) fn begin(&mut self, bytes: u32) {
        let put_off = self.hurries && !self.nobody_waits() && self.put_off < LINE_PUT_OFF_MAX;
        self.put_off = if put_off { self.put_off + 1 } else { 0 };
        self.hurries = false;
        self.left = bytes;
        self.served = [0, 1].map(|line| self.lines[line].len());
    }

    /// Whether no further large body may move anything in this turn.
    fn is_over(&self) -> bool {
        self.left == 0 || (self.hurries && self.put_off < LINE_PUT_OFF_MAX)
    }

    /// Who comes next in this turn: nobody twice.
    fn pop(&mut self) -> Option<Owner> {
        if self.is_over() {
            return None;
        }
        let line = if self.served[self.next] > 0 { self.next } else { 1 - self.next };
        self.served[line] = self.served[line].checked_sub(1)?;
        self.next = 1 - line;
        self.lines[line].pop_front()
    }
}

impl<K: Kernel> Reactor<K> {
    /// Lets an owner that has yielded stand in line for its next turn, once.
    pub fn stand_in_line(&mut self, owner: Owner) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        if !std::mem::replace(&mut state.waits_for_turn, true) {
            self.turns.lines[usize::from(!state.allowance.begun)].push_back(owner);
        }
    }

    /// Wakes the next of those in line, if bytes are left for one.
    pub(super) fn next_in_line(&mut self) -> Option<(Owner, Wake)> {
        loop {
            let owner = self.turns.pop()?;
            let Some(state) = self.owners.get_mut(owner) else { continue };
            state.waits_for_turn = false;
            if state.retired {
                continue;
            }
            let left = self.options.turn_bytes;
            state.allowance = Allowance { turn: self.turn, left, granted: true, ..state.allowance };
            return Some((owner, Wake::Turn));
        }
    }

    /// See [`crate::ring::Io::allowance`].
    pub(super) fn allow(&mut self, owner: Owner, body: u64, begun: bool) -> u32 {
        let state = self.owners.get_mut(owner).expect("a view is of a living owner");
        let allowance = &mut state.allowance;
        allowance.renew(self.turn, self.options.turn_bytes);
        allowance.begun = begun;
        allowance.shared = body > SHORT_BODY_BYTES;
        if allowance.shared && !allowance.granted {
            if self.turns.is_over() || !self.turns.nobody_waits() {
                return 0;
            }
            allowance.granted = true;
        }
        allowance.left
    }

    /// Whether an owner moves a large body in this turn.
    fn moves_large(&self, owner: Owner) -> bool {
        let state = self.owners.get(owner);
        state.is_some_and(|state| state.allowance.turn == self.turn && state.allowance.shared)
    }

    /// Takes note of what an owner submits.
    pub(super) fn note_submission(&mut self, owner: Owner, op: &Op) {
        match op {
            Op::Read { .. } | Op::Send { .. } | Op::SendMsg { .. } if self.moves_large(owner) => {
                self.spend(owner, moves(op));
            }
            Op::ReadHead { .. } | Op::Send { .. } | Op::SendMsg { .. } => {
                self.turns.hurries = true;
            }
            _ => {}
        }
    }

    /// Counts what an owner moves, of what it was allowed to or what a full socket had left.
    pub(super) fn spend(&mut self, owner: Owner, bytes: u32) {
        let Some(state) = self.owners.get_mut(owner) else { return };
        let allowance = &mut state.allowance;
        allowance.renew(self.turn, self.options.turn_bytes);
        allowance.left = allowance.left.saturating_sub(bytes);
        if allowance.shared {
            self.turns.left = self.turns.left.saturating_sub(bytes);
        }
    }
}

/// Bytes that an operation moves while the ring is entered, at most. A send that copies takes as
/// long as a transfer by reference of twice as much.
fn moves(op: &Op) -> u32 {
    match op {
        Op::Read { range, .. } => range.end - range.start,
        Op::Send { bytes, .. } => 2 * bytes.len() as u32,
        Op::SendMsg { parts, .. } => 2 * parts.len() as u32,
        _ => 0,
    }
}
