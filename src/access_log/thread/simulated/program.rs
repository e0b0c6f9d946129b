//! A program that reads the log, simulated: it reads at once what is written to it, until it ends.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{End, File, House, Simulated};
use crate::access_log::thread::plumbing::{Plumbing, Process};
use crate::access_log::thread::program::RAN;

/// See the module.
pub(super) struct Program {
    pub(super) house: Rc<House>,
    pub(super) file: File,
    pub(super) started: Instant,
}

impl Program {
    fn dies(&self) -> bool {
        self.house.places.borrow_mut().dies(self.file)
    }
}

impl Process<End> for Program {
    fn splice(&self, from: &End, count: usize) -> Result<usize, Errno> {
        if self.dies() {
            return Err(Errno::PIPE);
        }
        Simulated(Rc::clone(&self.house)).splice(from, &self.file, None, count)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.dies() {
            return Err(Errno::PIPE);
        }
        Simulated(Rc::clone(&self.house)).write(&self.file, bytes, None)
    }

    fn wait_for_room(&self, time: Duration) -> bool {
        Simulated(Rc::clone(&self.house)).wait_for_room(&self.file, time)
    }

    // What goes into it is read at once.
    fn is_pipe(&self) -> bool {
        true
    }

    fn unread(&self) -> Option<u64> {
        Some(0)
    }

    fn left_unread(&self) -> Option<u64> {
        self.house.places.borrow().is_dead(self.file).then_some(0)
    }

    fn is_settled(&self) -> bool {
        self.house.now() >= self.started + RAN
    }

    fn ended(&mut self) -> Option<String> {
        self.dies().then(|| "its program ended".to_owned())
    }

    fn gone(&mut self) -> String {
        "its program closed its input".to_owned()
    }

    fn finish(self) -> Option<u64> {
        Some(0)
    }
}
