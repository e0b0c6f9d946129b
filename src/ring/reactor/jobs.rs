//! How many jobs are out, in all and for each mount, so that mounts that hang take no more than
//! their part.

use crate::base::Shares;
use crate::limits::JOBS_MAX;
use crate::ring::job::Job;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    out: Shares,
    one_has_ended: bool,
}

impl Jobs {
    pub(super) fn have_room_for(&self, job: &Job) -> bool {
        self.out.leave_room(job.mount(), JOBS_MAX)
    }

    pub(super) fn begins(&mut self, job: &Job) {
        self.out.begin(job.mount());
    }

    pub(super) fn ends(&mut self, job: &Job) {
        self.out.end(job.mount());
        self.one_has_ended = true;
    }

    pub(super) fn count(&self) -> usize {
        self.out.count()
    }

    /// Whether a job has ended since this was last asked.
    pub(super) fn one_has_ended(&mut self) -> bool {
        std::mem::take(&mut self.one_has_ended)
    }
}
