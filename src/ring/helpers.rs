//! The helper threads: a few for the whole process, which do what the ring cannot.
//!
//! Every ring puts its jobs into one queue and is told of their ends by its own [`Home`]. Which
//! goes next is decided by `job/line.rs`: one job at most runs for each mount. While all helpers
//! are at work and a job of another mount waits, a spare one is started, which ends when it has had
//! nothing to do for a while. The queue is as long as what the rings allow together
//! ([`crate::limits::JOBS_MAX`] each).
//!
//! A job that panics ends with EIO; its helper goes on.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::job::line::Line;
use super::job::{GivenUp, Made, Work};
use crate::limits::{HELPER_NICE, HELPER_SPARE, HELPERS, HELPERS_MAX};
use crate::sys::Bell;

/// The end of a job: its token, its result, and what it made.
pub(super) type End = (u64, Result<u32, Errno>, Made);

/// Where a ring gets its ended jobs.
#[derive(Debug)]
pub(super) struct Home {
    ended: Mutex<Vec<End>>,
    bell: Bell,
}

impl Home {
    pub(super) fn new(bell: Bell) -> Self {
        Self { ended: Mutex::default(), bell }
    }

    /// Takes out what has come.
    pub(super) fn take(&self) -> Vec<End> {
        std::mem::take(&mut *lock(&self.ended))
    }

    fn put(&self, end: End) {
        lock(&self.ended).push(end);
        self.bell.ring();
    }
}

/// A job in the queue.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) token: u64,
    pub(super) mount: u64,
    pub(super) work: Work,
    pub(super) given_up: Arc<GivenUp>,
    pub(super) home: Arc<Home>,
}

#[derive(Debug, Default)]
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    line: Line<u64, Task>,
    threads: usize,
}

static POOL: LazyLock<Pool> = LazyLock::new(Pool::default);

/// Starts the helpers, which else start with the first job: from a thread that is bound to no
/// processor, as they are bound where the one is that starts them.
pub fn start_helpers() {
    POOL.start(&mut lock(&POOL.state));
}

/// Puts a job into the queue.
pub(super) fn submit(task: Task) {
    let mut state = lock(&POOL.state);
    POOL.start(&mut state);
    if state.threads == 0 {
        // Not one thread can be had now; a later job tries again.
        let Task { token, home, .. } = task;
        return home.put((token, Err(Errno::AGAIN), Made::Nothing));
    }
    state.line.put(task.mount, task);
    POOL.spare(&mut state);
    drop(state);
    POOL.changed.notify_one();
}

/// Takes a job back that no helper has begun.
pub(super) fn take_back(token: u64, home: &Arc<Home>) {
    let mut state = lock(&POOL.state);
    let is_it = |task: &Task| task.token == token && Arc::ptr_eq(&task.home, home);
    let task = state.line.take_back(is_it);
    // Its descriptors are closed outside of the lock.
    drop(state);
    drop(task);
}

impl Pool {
    fn start(&'static self, state: &mut State) {
        while state.threads < HELPERS {
            if !self.hire(state, None) {
                return;
            }
        }
    }

    /// Starts another helper if all are at work and there is a job for it.
    fn spare(&'static self, state: &mut State) {
        let State { line, threads } = &*state;
        if line.wants_a_helper() && line.at_work() >= *threads && *threads < HELPERS_MAX {
            // If it cannot be had, the job waits for one of those that are there.
            self.hire(state, Some(HELPER_SPARE));
        }
    }

    /// Whether a helper could be started.
    fn hire(&'static self, state: &mut State, patience: Option<Duration>) -> bool {
        let name = format!("helper-{}", state.threads);
        let started = std::thread::Builder::new().name(name).spawn(move || self.help(patience));
        state.threads += usize::from(started.is_ok());
        started.is_ok()
    }

    /// A helper's whole life; with a patience it ends once there was nothing to do for as long.
    fn help(&'static self, patience: Option<Duration>) {
        // The loop goes first where there are fewer processors than threads.
        let _ = rustix::process::setpriority_process(None, HELPER_NICE);
        loop {
            let Some(task) = self.next(patience) else { return };
            let Task { token, mount, work, given_up, home } = task;
            let run = AssertUnwindSafe(|| work.run(&given_up));
            // The panic's message and place are on standard error already.
            let (result, made) =
                std::panic::catch_unwind(run).unwrap_or((Err(Errno::IO), Made::Nothing));
            // What waits for the mount is this helper's own next job, if it is the first.
            lock(&self.state).line.end(mount);
            if given_up.check().is_ok() {
                home.put((token, result, made));
            }
        }
    }

    /// The first job whose mount nobody works on; none if there was none for too long.
    fn next(&'static self, patience: Option<Duration>) -> Option<Task> {
        let mut state = lock(&self.state);
        loop {
            if let Some((_, task)) = state.line.begin() {
                self.spare(&mut state);
                return Some(task);
            }
            let Some(patience) = patience else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.changed.wait_timeout(state, patience);
            let (held, told) = waited.unwrap_or_else(PoisonError::into_inner);
            state = held;
            if told.timed_out() && !state.line.wants_a_helper() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

/// Nothing that holds these locks panics half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
