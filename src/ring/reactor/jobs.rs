//! How many jobs are out, in all and for each mount, so that a mount that hangs takes no more
//! than its part.

use crate::limits::{JOBS_MAX, JOBS_PER_MOUNT_MAX};
use crate::ring::job::Job;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    count: usize,
    /// Mounts with jobs, and how many of them there are.
    mounts: Vec<(u64, usize)>,
    one_has_ended: bool,
}

impl Jobs {
    pub(super) fn have_room_for(&self, job: &Job) -> bool {
        let mount = job.mount();
        let of_mount = self.mounts.iter().find(|(one, _)| *one == mount);
        self.count < JOBS_MAX && of_mount.is_none_or(|(_, count)| *count < JOBS_PER_MOUNT_MAX)
    }

    pub(super) fn begins(&mut self, job: &Job) {
        self.count += 1;
        let mount = job.mount();
        match self.mounts.iter_mut().find(|(one, _)| *one == mount) {
            Some((_, count)) => *count += 1,
            None => self.mounts.push((mount, 1)),
        }
    }

    pub(super) fn ends(&mut self, job: &Job) {
        let mount = job.mount();
        let at = self.mounts.iter().position(|(one, _)| *one == mount);
        let at = at.expect("a job ends that has begun");
        self.mounts[at].1 -= 1;
        if self.mounts[at].1 == 0 {
            self.mounts.swap_remove(at);
        }
        self.count -= 1;
        self.one_has_ended = true;
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether a job has ended since this was last asked.
    pub(super) fn one_has_ended(&mut self) -> bool {
        std::mem::take(&mut self.one_has_ended)
    }
}
