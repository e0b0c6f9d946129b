//! Jobs that have a way watched and have not come home, and what watched directories have told
//! meanwhile: what a job says of a directory is good only if nothing happened to it since.

use std::collections::HashSet;

use super::Tree;
use crate::limits::{WATCH_JOBS_MAX, WATCH_JOBS_PER_MOUNT_MAX};
use crate::ring::{Step, Watch, Way};

#[derive(Debug)]
struct Job {
    tree: Tree,
    way: Way,
    mount: u64,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    jobs: Vec<Job>,
    /// Directories that told something; all, if so much was lost.
    strangers: HashSet<Watch>,
    all_are_strange: bool,
}

impl Asked {
    /// Takes note of a job; `false` if it is under way or there is no room.
    pub(super) fn begin(&mut self, tree: Tree, way: &Way, mount: u64) -> bool {
        let of_mount = self.jobs.iter().filter(|job| job.mount == mount).count();
        let has_room = self.jobs.len() < WATCH_JOBS_MAX && of_mount < WATCH_JOBS_PER_MOUNT_MAX;
        let begins = has_room && !self.jobs.iter().any(|job| job.tree == tree && job.way == *way);
        if begins {
            self.jobs.push(Job { tree, way: way.clone(), mount });
        }
        begins
    }

    /// A job has come home.
    pub(super) fn end(&mut self, tree: Tree, way: &Way) {
        self.jobs.retain(|job| job.tree != tree || job.way != *way);
        if self.jobs.is_empty() {
            self.strangers.clear();
            self.all_are_strange = false;
        }
    }

    /// A directory has told something. A job may be about to say that it has the same directory
    /// watched, by another way too.
    pub(super) fn hear(&mut self, watch: Watch, strangers_max: usize) {
        if !self.jobs.is_empty() && !self.all_are_strange {
            self.strangers.insert(watch);
            self.all_are_strange = self.strangers.len() > strangers_max;
        }
    }

    /// What directories told was lost.
    pub(super) fn lose(&mut self) {
        self.all_are_strange = !self.jobs.is_empty();
    }

    /// Whether nothing has happened to the directories that a job tells of.
    pub(super) fn can_believe(&self, steps: &[Step]) -> bool {
        let mut watches = steps.iter().flat_map(Step::watches);
        !self.all_are_strange && !watches.any(|watch| self.strangers.contains(&watch))
    }
}
