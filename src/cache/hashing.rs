//! Files that are hashed for their tags: a few of each mount at once, so that one that hangs holds
//! up its own alone.

use super::load::Part;
use super::queue::Queue;
use crate::base::{Key, Shares};
use crate::limits::DIGESTS_AT_ONCE;
use crate::ring::{Completion, Io, Job, Op, Start, Ticket};

#[derive(Debug, Default)]
pub(super) struct Hashing {
    waiting: Queue<(Key, Part)>,
    begun: Shares,
}

impl Hashing {
    /// Has a part of an entry hashed when its turn has come.
    pub(super) fn push(&mut self, key: Key, part: Part, job: Job) {
        self.waiting.push((key, part), Op::Job(job));
    }

    /// The next one that could be started.
    pub(super) fn start(&mut self, io: &mut dyn Io) -> Option<(Ticket, Key, Part)> {
        while let Some(((key, part), op)) = self.waiting.pop() {
            let mount = op.mount();
            if self.begun.of(mount) >= DIGESTS_AT_ONCE {
                self.waiting.put_back((key, part), op);
                continue;
            }
            match io.start(op) {
                Start::Submitted(ticket) => {
                    self.begun.begin(mount);
                    return Some((ticket, key, part));
                }
                Start::Busy(op) | Start::Blocked(op, _) => self.waiting.put_back((key, part), op),
                Start::Executed(_) => unreachable!("a job is done by a helper"),
            }
        }
        None
    }

    /// An operation of an entry has ended.
    pub(super) fn ended(&mut self, completion: &Completion) {
        if let Some(op @ Op::Job(Job::Digest { .. })) = &completion.op {
            self.begun.end(op.mount());
        }
    }

    /// The ring has said that some may go on.
    pub(super) fn wake(&mut self) {
        self.waiting.wake();
    }

    pub(super) fn has_work(&self) -> bool {
        self.waiting.has_work()
    }
}
