//! Which job goes next: the queue of the helpers as a step machine, the same for threads and for
//! the simulated kernel.
//!
//! One job at most is under way for each mount, so that a file system that hangs takes one helper
//! and its own jobs with it, and no other's.

use std::collections::VecDeque;

#[derive(Debug)]
pub(in crate::ring) struct Line<M, T> {
    waiting: VecDeque<(M, T)>,
    /// Mounts that a helper works on.
    busy: Vec<M>,
}

impl<M, T> Default for Line<M, T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), busy: Vec::new() }
    }
}

impl<M: Copy + PartialEq, T> Line<M, T> {
    pub(in crate::ring) fn put(&mut self, mount: M, job: T) {
        self.waiting.push_back((mount, job));
    }

    /// The first job whose mount nobody works on, for a helper to begin.
    pub(in crate::ring) fn begin(&mut self) -> Option<(M, T)> {
        let at = self.first()?;
        let (mount, job) = self.waiting.remove(at)?;
        self.busy.push(mount);
        Some((mount, job))
    }

    /// A helper has ended the job that it began for a mount.
    pub(in crate::ring) fn end(&mut self, mount: M) {
        self.busy.retain(|busy| *busy != mount);
    }

    /// Takes a job back that no helper has begun.
    pub(in crate::ring) fn take_back(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.waiting.iter().position(|(_, job)| is_it(job))?;
        self.waiting.remove(at).map(|(_, job)| job)
    }

    /// Whether a job waits for nothing but a helper.
    pub(in crate::ring) fn wants_a_helper(&self) -> bool {
        self.first().is_some()
    }

    /// Helpers that are at work.
    pub(in crate::ring) fn at_work(&self) -> usize {
        self.busy.len()
    }

    fn first(&self) -> Option<usize> {
        self.waiting.iter().position(|(mount, _)| !self.busy.contains(mount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_one_job_at_a_time_and_holds_up_no_other() {
        let mut line = Line::default();
        for (mount, job) in [(1, 'a'), (1, 'b'), (2, 'c'), (1, 'd')] {
            line.put(mount, job);
        }
        assert_eq!(line.begin(), Some((1, 'a')));
        assert!(line.wants_a_helper());
        assert_eq!(line.begin(), Some((2, 'c')));
        assert_eq!((line.begin(), line.wants_a_helper(), line.at_work()), (None, false, 2));
        line.end(1);
        assert_eq!(line.take_back(|job| *job == 'b'), Some('b'));
        assert_eq!(line.take_back(|job| *job == 'a'), None);
        assert_eq!(line.begin(), Some((1, 'd')));
    }
}
