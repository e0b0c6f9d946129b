//! The desk of one ring at the helpers: jobs go out over it, and their ends come back.
//!
//! A ring hears of ended jobs by a bell, an event counter that it polls while a job is out. A
//! job that is given up ends at once for the ring; the helper that works on it is left to find
//! out, and what it still makes is dropped here.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::helpers::{self, Home, Task};
use super::io::Event;
use super::job::{GivenUp, Job, Made};
use crate::sys::Bell;

#[derive(Debug, Default)]
pub(super) struct Desk {
    /// With the side of the bell that hears; none before the first job.
    home: Option<(Arc<Home>, OwnedFd)>,
    /// Jobs that are out.
    out: HashMap<u64, Arc<GivenUp>>,
    /// Jobs that ended without a helper.
    at_once: Vec<(u64, Errno)>,
    /// What ended jobs made, until the reactor asks for it.
    made: HashMap<u64, Made>,
    /// Whether the ring waits for the bell.
    listening: bool,
    /// Whether the bell was heard and nobody has looked yet.
    rang: bool,
}

impl Desk {
    pub(super) fn submit(&mut self, token: u64, job: &mut Job) {
        if let Err(errno) = self.hand_out(token, job) {
            self.at_once.push((token, errno));
        }
    }

    fn hand_out(&mut self, token: u64, job: &mut Job) -> Result<(), Errno> {
        let home = match &self.home {
            Some((home, _)) => Arc::clone(home),
            None => {
                let (bell, heard) =
                    Bell::new().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE))?;
                let home = Arc::new(Home::new(bell));
                self.home = Some((Arc::clone(&home), heard));
                home
            }
        };
        let given_up = Arc::<GivenUp>::default();
        let (mount, work) = (job.mount(), job.hand_out()?);
        self.out.insert(token, Arc::clone(&given_up));
        helpers::submit(Task { token, mount, work, given_up, home });
        Ok(())
    }

    /// Ends a job that is out; `false` if there is none of this token.
    pub(super) fn give_up(&mut self, token: u64) -> bool {
        let (Some(given_up), Some((home, _))) = (self.out.remove(&token), &self.home) else {
            return false;
        };
        given_up.set();
        helpers::take_back(token, home);
        self.at_once.push((token, Errno::CANCELED));
        true
    }

    /// Whether there are events without the kernel.
    pub(super) fn has_events(&self) -> bool {
        !self.at_once.is_empty()
    }

    /// The bell, if the ring has to begin to listen.
    pub(super) fn to_listen_to(&self) -> Option<RawFd> {
        let (_, heard) = self.home.as_ref()?;
        (!self.listening && !self.out.is_empty()).then(|| heard.as_raw_fd())
    }

    pub(super) fn listens(&mut self) {
        self.listening = true;
    }

    /// The bell was heard.
    pub(super) fn hear(&mut self) {
        self.listening = false;
        self.rang = true;
    }

    /// Appends the events of jobs that have ended.
    pub(super) fn take_events(&mut self, events: &mut Vec<Event>) {
        let event = |token, result| Event { token, result, more: false };
        events.extend(self.at_once.drain(..).map(|(token, errno)| event(token, Err(errno))));
        let Some((home, heard)) = &self.home else { return };
        if !std::mem::take(&mut self.rang) {
            return;
        }
        // Emptied before the ends are taken: what comes in between rings again.
        let _ = rustix::io::read(heard, &mut [0; 8]);
        for (token, result, made) in home.take() {
            if self.out.remove(&token).is_some() {
                self.made.insert(token, made);
                events.push(event(token, result));
            }
        }
    }

    /// The reactor has found the job of an event.
    pub(super) fn bring_home(&mut self, token: u64, job: &mut Job) {
        if let Some(made) = self.made.remove(&token) {
            job.bring_home(made);
        }
    }
}
