//! Waiting for a disk without holding what others need.
//!
//! A request whose name is looked up lies in a buffer, and so does the head of an answer whose body
//! is not there yet. A disk that hangs would keep as many buffers as clients ask for it. So who
//! begins to wait while more than half of the pool is out moves what it holds into memory of its
//! own size, and the buffer goes home: those who wait never have more than half of a pool, whatever
//! their disks do, and nobody else waits for them or has to give way ([`super::relief`]).
//!
//! That memory is bounded, and what those of one mount have of it by half of what the others leave.
//! Who finds that used up is told to come again at once (503): it is a crowd of thousands, since a
//! head has some hundred bytes.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use super::context::Context;
use super::machine::{Connection, Next, WAIT};
use super::phase::Phase;
use super::stats::{Farewell, Stats};
use crate::base::Shares;
use crate::ring::{Kept, Outgoing};

/// Memory for what connections of one worker hold while they wait for a disk.
#[derive(Debug)]
pub struct Aside(Rc<Ledger>);

#[derive(Debug)]
struct Ledger {
    bytes_max: usize,
    /// In bytes, by mount.
    shares: RefCell<Shares>,
    stats: Arc<Stats>,
}

/// Bytes that lie there. Their memory is given back with the value.
#[derive(Debug)]
pub(super) struct SetAside {
    bytes: Box<[u8]>,
    mount: u64,
    ledger: Rc<Ledger>,
}

impl Aside {
    /// So many bytes at most.
    pub fn new(bytes_max: usize, stats: Arc<Stats>) -> Self {
        stats.aside_budget_bytes.set(bytes_max as u64);
        Self(Rc::new(Ledger { bytes_max, shares: RefCell::default(), stats }))
    }

    /// A copy of what one that waits for a mount holds; none if those of that mount have as much as
    /// they may.
    pub(super) fn keep(&self, bytes: &[u8], mount: u64) -> Option<SetAside> {
        let Ledger { bytes_max, shares, stats } = &*self.0;
        let mut shares = shares.borrow_mut();
        if !shares.leave_room_for(mount, bytes.len(), *bytes_max) {
            stats.aside_refused.add(1);
            return None;
        }
        shares.take(mount, bytes.len());
        stats.aside_heads.add(1);
        stats.aside_bytes.set(shares.count() as u64);
        Some(SetAside { bytes: bytes.into(), mount, ledger: Rc::clone(&self.0) })
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        let mut shares = self.ledger.shares.borrow_mut();
        shares.give_back(self.mount, self.bytes.len());
        self.ledger.stats.aside_bytes.set(shares.count() as u64);
    }
}

impl Deref for SetAside {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for SetAside {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Kept for SetAside {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Connection {
    /// What the request names is being found out, on a mount.
    pub(super) fn resolves(&mut self, mount: u64, cx: &mut Context<'_>) -> Next {
        let next = self.waits_in(Phase::Resolving, cx);
        if self.sets_input_aside(mount, cx) {
            return next;
        }
        self.gives_up_resolving(cx);
        Next::Again
    }

    /// The engine waits: for the disk, unless it has something to send.
    pub(super) fn waits_for_disk(&mut self, cx: &mut Context<'_>) -> Next {
        let Phase::Body(engine, _) = &mut self.phase else {
            unreachable!("the caller has seen the phase")
        };
        if engine.is_sending() {
            return WAIT;
        }
        let mount = self.span.as_ref().map_or(0, |span| span.version.facts.mount);
        if let Some(head) = engine.head()
            && head.pool().is_some_and(|pool| cx.io.is_short(pool))
        {
            let Some(aside) = cx.aside.keep(head.bytes(), mount) else {
                return self.give_up_the_disk(Farewell::Crowded, cx);
            };
            let all = 0..aside.len();
            *head = Outgoing::kept(Rc::new(aside), all);
        }
        if !self.sets_input_aside(mount, cx) {
            self.gives_up_input();
        }
        WAIT
    }

    /// Sees to it that what was read and not used yet is kept from nobody; false if there is no
    /// memory for that.
    fn sets_input_aside(&mut self, mount: u64, cx: &mut Context<'_>) -> bool {
        if !self.input.holds().is_some_and(|pool| cx.io.is_short(pool)) {
            return true;
        }
        let aside = cx.aside.keep(self.input.bytes(), mount);
        aside.map(|aside| self.input.lie_in(aside)).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_mount_leave_memory_to_those_of_the_next() {
        let stats = Arc::<Stats>::default();
        let aside = Aside::new(4096, Arc::clone(&stats));
        let keep = |mount| std::iter::from_fn(|| aside.keep(&[b'x'; 256], mount)).collect();
        let first: Vec<_> = keep(7);
        let second: Vec<_> = keep(8);
        assert_eq!((first.len(), second.len()), (8, 4));
        assert_eq!((stats.aside_heads.read(), stats.aside_refused.read()), (12, 2));
        assert_eq!(stats.aside_bytes.read(), 12 * 256);
        assert!(aside.keep(&[b'x'; 513], 9).is_none(), "it is more than half of what is left");
        drop(first);
        assert_eq!(stats.aside_bytes.read(), 4 * 256);
        assert_eq!(keep(7).len(), 6);
        assert_eq!(&second[0][..], [b'x'; 256]);
    }
}
