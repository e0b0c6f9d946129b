//! The threads of the log on the simulated kernel, for tests: the same steps, on pipes of a
//! [`World`] and on places that are simulated here, when the test lets them.
//!
//! One step of one thread is one piece of a schedule. What blocks within a step lets the other
//! threads of the log go on until it is over, and the worker stands still meanwhile. Of what each
//! sink has written there is a [`History`].
//!
//! What is checked in passing, with a panic that says what was wrong:
//! - what is read out of a pipe is there
//! - a file is written under its lock, at its end, and while it has a name

mod places;
mod program;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use self::places::Places;
use self::program::Program;
use super::plumbing::{End as Ends, Facts, Opened, Plumbing};
use super::target::said;
use super::{Feed, GAP, Orders, Step, Thread, Told};
use crate::access_log::ledger::Reader;
use crate::access_log::options::{Durability, Options, Rotation};
use crate::access_log::stats::Stats;
use crate::base::{self, Random};
use crate::limits::LOG_LOCK_PATIENCE;
use crate::ring::simulated::World;

pub use self::places::{History, Troubles};

/// The threads of a log, and the places that they write to.
pub struct Threads {
    house: Rc<House>,
    orders: Arc<Orders>,
}

/// What the threads share.
struct House {
    world: World,
    /// When the world began, by either clock.
    origin: (Instant, base::Instant),
    places: RefCell<Places>,
    /// Pipes between the threads that nobody writes to any more.
    hung_up: RefCell<Vec<usize>>,
    pipe_bytes: u32,
    /// None is one that takes a step, or has ended.
    threads: RefCell<Vec<Option<Runner>>>,
    steps: Cell<u64>,
}

/// A thread, and what it said that it does next.
struct Runner {
    thread: Thread<Simulated>,
    next: Step,
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let next: Vec<_> =
            self.house.threads.borrow().iter().flatten().map(|one| one.next).collect();
        formatter.debug_struct("Threads").field("next", &next).finish_non_exhaustive()
    }
}

impl Threads {
    /// The threads of a log of one worker, whose pipe has this number. Those between them have
    /// `pipe_bytes`.
    ///
    /// # Panics
    /// Never: nothing is missing in a simulated world.
    pub fn new(
        world: &World,
        seed: u64,
        options: &Arc<Options>,
        (pipe, ledger): (usize, Reader),
        pipe_bytes: u32,
        stats: &Arc<Stats>,
    ) -> Self {
        let house = Rc::new(House {
            world: world.clone(),
            origin: (Instant::now(), world.now()),
            places: RefCell::new(Places::new(Random::new(seed), &options.sinks)),
            hung_up: RefCell::default(),
            pipe_bytes,
            threads: RefCell::default(),
            steps: Cell::new(0),
        });
        let orders = Arc::new(Orders::default());
        let plumbing = Simulated(Rc::clone(&house));
        let feed = Feed { pipe: End { house: Rc::clone(&house), pipe, writes: false }, ledger };
        let threads = Thread::all(options, vec![feed], stats, &orders, &plumbing);
        let threads = threads.expect("pipes can be had").into_iter();
        let all = threads.map(|(_, thread)| Some(Runner { thread, next: Step::Again }));
        *house.threads.borrow_mut() = all.collect();
        Self { house, orders }
    }

    /// Sets the chances of trouble.
    pub fn set_troubles(&self, troubles: Troubles) {
        self.house.places.borrow_mut().troubles = troubles;
    }

    /// Lets each thread that has something to do take a step, in any order; says whether there was
    /// one.
    pub fn run(&self) -> bool {
        if self.house.places.borrow_mut().disturb() {
            self.reopen();
        }
        self.house.run()
    }

    /// Has every file opened again by its path.
    pub fn reopen(&self) {
        self.orders.reopen.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether every thread has ended, which they do after the worker.
    pub fn have_ended(&self) -> bool {
        self.house.threads.borrow().iter().all(Option::is_none)
    }

    /// What each sink has written, in their order.
    pub fn histories(&self) -> Vec<History> {
        self.house.places.borrow().histories()
    }

    /// Steps that were taken, and troubles that were met.
    pub fn counts(&self) -> (u64, u64) {
        (self.house.steps.get(), self.house.places.borrow().met)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // They hold the house, which holds them.
        let threads = std::mem::take(&mut *self.house.threads.borrow_mut());
        drop(threads);
    }
}

impl House {
    fn now(&self) -> Instant {
        self.origin.0 + self.world.now().since(self.origin.1)
    }

    fn run(&self) -> bool {
        let mut order: Vec<_> = (0..self.threads.borrow().len()).collect();
        self.places.borrow_mut().random.shuffle(&mut order);
        order.into_iter().filter(|index| self.step(*index)).count() > 0
    }

    /// One step of a thread, if it does not wait or its wait is over.
    fn step(&self, index: usize) -> bool {
        let Some(mut runner) = self.threads.borrow_mut()[index].take() else { return false };
        let steps = match runner.next {
            Step::Again => true,
            Step::Wait { until, rests } => self.is_over(&mut runner, until, rests),
            Step::Ended => return false,
        };
        if steps {
            self.steps.set(self.steps.get() + 1);
            runner.next = runner.thread.step();
        }
        if runner.next != Step::Ended {
            self.threads.borrow_mut()[index] = Some(runner);
        }
        steps
    }

    /// Whether the wait of a thread is over, which is told what happened.
    fn is_over(&self, runner: &mut Runner, until: Instant, rests: bool) -> bool {
        let thread = &mut runner.thread;
        let watched = thread.watched(rests);
        let feeds = thread.feeds.iter().zip(&watched).filter(|(_, watched)| **watched);
        let told = feeds.map(|(feed, _)| Told {
            bytes: !rests && self.world.pipe_holds(feed.pipe.pipe) > 0,
            ended: !self.has_writer(feed.pipe.pipe),
        });
        let told: Vec<_> = told.collect();
        let ordered = thread.orders.reopen.load(Ordering::Relaxed) != thread.reopened;
        let happened = told.iter().any(|told| told.bytes || told.ended);
        if !happened && !ordered && self.now() < until {
            return false;
        }
        if thread.hear(&watched, told) {
            self.world.suspend(GAP);
        }
        true
    }

    fn has_writer(&self, pipe: usize) -> bool {
        let between = self.hung_up.borrow().contains(&pipe);
        !between && (self.world.pipe_has_writer(pipe) || self.is_between(pipe))
    }

    /// Whether a pipe is one between the threads.
    fn is_between(&self, pipe: usize) -> bool {
        self.places.borrow().between.contains(&pipe)
    }

    /// Somebody blocks: the others go on, and time passes.
    fn block(&self, until: Instant) {
        if !self.run() {
            let left = until.saturating_duration_since(self.now());
            self.world.suspend(left.min(Duration::from_millis(1)));
        }
    }
}

/// The plumbing of a [`House`].
#[derive(Clone)]
struct Simulated(Rc<House>);

/// An end of a pipe.
struct End {
    house: Rc<House>,
    pipe: usize,
    writes: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if self.writes {
            self.house.hung_up.borrow_mut().push(self.pipe);
        }
    }
}

impl Ends for End {
    fn number(&self) -> i32 {
        self.pipe as i32
    }

    fn read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let House { world, places, .. } = &*self.house;
        let count = places.borrow_mut().short(into.len(), &[])?;
        let bytes = world.empty_pipe(self.pipe, count);
        assert!(!bytes.is_empty(), "what is read of a pipe is there");
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.house.world.fill_pipe(self.pipe, bytes) {
            0 => Err(Errno::AGAIN),
            count => Ok(count),
        }
    }

    fn tee(&self, to: &Self, count: usize) -> Result<usize, Errno> {
        match self.house.world.tee_pipe(self.pipe, to.pipe, count) {
            0 => Err(Errno::AGAIN),
            count => Ok(count),
        }
    }

    fn held(&self) -> Result<u64, Errno> {
        Ok(self.house.world.pipe_holds(self.pipe) as u64)
    }
}

/// A file that is open: the number of the sink, and of what lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    sink: usize,
    inode: usize,
}

impl Plumbing for Simulated {
    type End = End;
    type File = File;
    type Program = Program;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall_seconds(&self) -> i64 {
        self.0.world.wall().seconds
    }

    fn sleep(&self, time: Duration) {
        self.0.block(self.now() + time);
    }

    fn pipe(&self) -> io::Result<(End, End)> {
        let pipe = self.0.world.pipe_between(self.0.pipe_bytes);
        self.0.places.borrow_mut().between.push(pipe);
        let end = |writes| End { house: Rc::clone(&self.0), pipe, writes };
        Ok((end(true), end(false)))
    }

    fn wait_for_pipes(&self, pipes: &[&End], time: Duration) {
        let until = self.now() + time;
        let all_are_full = || pipes.iter().all(|pipe| self.0.world.pipe_is_full(pipe.pipe));
        while self.now() < until && all_are_full() {
            self.0.block(until);
        }
    }

    fn discard(&self, pipe: &End, count: usize) -> Result<usize, Errno> {
        Ok(self.0.world.empty_pipe(pipe.pipe, count).len())
    }

    fn stdout(&self) -> Result<File, String> {
        Ok(self.0.places.borrow().stdout())
    }

    fn open(&self, path: &Path, _: Durability, _: Option<u32>) -> Result<Opened<File>, String> {
        let mut places = self.0.places.borrow_mut();
        places.open(path, self.wall_seconds()).map(Opened::File).map_err(said)
    }

    fn start(&self, command: &str) -> Result<Program, String> {
        let file = self.0.places.borrow_mut().start(command).map_err(said)?;
        Ok(Program { house: Rc::clone(&self.0), file, started: self.now() })
    }

    fn splice(
        &self,
        from: &End,
        to: &File,
        offset: Option<&mut u64>,
        count: usize,
    ) -> Result<usize, Errno> {
        let mut places = self.0.places.borrow_mut();
        if places.refuses_splice(*to) {
            return Err(Errno::INVAL);
        }
        let count = places.room(*to, count)?;
        let bytes = self.0.world.empty_pipe(from.pipe, count);
        assert!(!bytes.is_empty(), "what is spliced out of a pipe is there");
        places.append(*to, &bytes, offset.as_deref().copied(), self.wall_seconds());
        if let Some(offset) = offset {
            *offset += bytes.len() as u64;
        }
        Ok(bytes.len())
    }

    fn write(&self, to: &File, bytes: &[u8], offset: Option<u64>) -> Result<usize, Errno> {
        let mut places = self.0.places.borrow_mut();
        let count = places.room(*to, bytes.len())?;
        places.append(*to, &bytes[..count], offset, self.wall_seconds());
        Ok(count)
    }

    fn wait_for_room(&self, _: &File, time: Duration) -> bool {
        let waits_long = self.0.places.borrow_mut().is_full_for_long();
        self.0.world.suspend(if waits_long { time } else { GAP });
        !waits_long
    }

    fn is_pipe(&self, _: &File) -> bool {
        false
    }

    fn unread(&self, _: &File) -> Option<u64> {
        None
    }

    fn left_unread(&self, _: &File) -> Option<u64> {
        None
    }

    fn lock(&self, file: &File) -> io::Result<bool> {
        let locked = self.0.places.borrow_mut().lock(*file);
        if matches!(locked, Ok(false)) {
            self.0.world.suspend(LOG_LOCK_PATIENCE);
        }
        locked
    }

    fn unlock(&self, file: &File) {
        self.0.places.borrow_mut().unlock(*file);
    }

    fn look(&self, file: &File) -> Result<Facts, Errno> {
        Ok(self.0.places.borrow().look(*file))
    }

    fn look_at(&self, path: &Path) -> Result<Facts, Errno> {
        self.0.places.borrow().look_at(path)
    }

    fn archive(
        &self,
        path: &Path,
        file: &File,
        rotation: &Rotation,
        _: bool,
    ) -> Result<bool, String> {
        let mut places = self.0.places.borrow_mut();
        places.archive(path, *file, rotation.archive).map_err(said)
    }

    fn tidy_up(&self, _: &Path, _: &Rotation, _: bool) {}
}
