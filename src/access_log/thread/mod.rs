//! The other side of the log pipes: the log thread, and one thread more for each of several
//! sinks.
//!
//! With one sink the log thread moves the bytes into it itself. With several it doubles them by
//! tee(2) into a pipe of each, which a thread of its own empties, so that a slow one never holds
//! another back. Every call here may block; nobody waits for it but the records behind.
//!
//! A thread is a step machine: it does what can be done, says until when it has nothing to do, and
//! waits. What it asks of the kernel goes through [`plumbing`], so that the same steps are run on a
//! simulated kernel (`tests/simulation`).

mod archive;
mod file;
mod intake;
mod lanes;
mod mirror;
mod plumbing;
mod program;
mod real;
pub mod simulated;
mod sink;
mod target;
mod unread;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use self::intake::{Intake, Passed};
use self::lanes::Lanes;
use self::mirror::Mirrors;
use self::plumbing::{End, Plumbing};
use self::real::Real;
use self::sink::Sink;
use super::ledger::{Reader, Writer, ledger};
use super::options::Options;
use super::stats::Stats;
use crate::broker::Broker;
use crate::limits::{LOG_END, LOG_PIPE_BYTES};
use crate::sys::Bell;
use crate::techniques::Pipe;

/// What comes from one worker.
#[derive(Debug)]
pub struct Feed<E = OwnedFd> {
    /// The end of its log pipe that bytes come out of; it blocks.
    pub pipe: E,
    /// What lies in it.
    pub ledger: Reader,
}

impl Feed {
    /// A pipe and its ledger: the end that bytes go into, which does not block, the side of the
    /// ledger that enters them, and the feed.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn open() -> io::Result<(OwnedFd, Writer, Self)> {
        let (writer, reader) = Self::pipe()?;
        let (entering, ledger) = ledger();
        Ok((writer, entering, Self { pipe: reader, ledger }))
    }

    fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let mut pipe = Pipe::new()?;
        // A smaller one works, too.
        pipe.resize(LOG_PIPE_BYTES)?;
        let (reader, writer) = pipe.into_ends();
        let flags = rustix::fs::fcntl_getfl(&writer)?;
        rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK)?;
        Ok((writer, reader))
    }
}

/// The threads of the log.
#[derive(Debug)]
pub struct Threads {
    bells: Vec<Bell>,
    orders: Arc<Orders>,
    ended: Receiver<()>,
    count: usize,
}

/// What the threads are told.
#[derive(Debug, Default)]
struct Orders {
    /// How often they were told to open their files again.
    reopen: AtomicU32,
}

impl Threads {
    /// Starts them. Figures of sinks are counted in `stats`. A broker starts programs, and opens
    /// what this process may not open any more.
    ///
    /// # Errors
    /// When a pipe or a thread cannot be had.
    pub fn start(
        options: &Arc<Options>,
        feeds: Vec<Feed>,
        stats: &Arc<Stats>,
        broker: Option<&Arc<Broker>>,
    ) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let (ends, ended) = mpsc::channel();
        let mut all = Self { bells: Vec::new(), orders, ended, count: 0 };
        let plumbing = Real::new(broker, options.sinks.len());
        let threads = Thread::all(options, feeds, stats, &all.orders, &plumbing)?;
        for (name, thread) in threads {
            all.spawn(&name, thread, &ends)?;
        }
        Ok(all)
    }

    fn spawn(&mut self, name: &str, thread: Thread<Real>, ends: &Sender<()>) -> io::Result<()> {
        let (bell, heard) = Bell::new()?;
        let ends = ends.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            thread.run(&heard);
            // Nobody listens any more when the end did not wait for it.
            let _ = ends.send(());
        })?;
        self.bells.push(bell);
        self.count += 1;
        Ok(())
    }

    /// Has every file opened again by its path.
    pub fn reopen(&self) {
        self.orders.reopen.fetch_add(1, Ordering::Relaxed);
        self.bells.iter().for_each(Bell::ring);
    }

    /// Waits until everything is written, after the workers have ended, for a bounded time.
    pub fn finish(self) {
        let until = Instant::now() + LOG_END;
        for _ in 0..self.count {
            let left = until.saturating_duration_since(Instant::now());
            if self.ended.recv_timeout(left).is_err() {
                tracing::warn!(
                    "a sink of the access log takes its records too slowly; the last \
                     ones are lost"
                );
                return;
            }
        }
    }
}

/// Where a thread moves records to.
enum Out<P: Plumbing> {
    Sink(Box<Sink<P>>),
    Lanes(Lanes<P>),
}

struct Thread<P: Plumbing> {
    feeds: Vec<Intake<P>>,
    out: Out<P>,
    mirrors: Mirrors,
    orders: Arc<Orders>,
    reopened: u32,
    plumbing: P,
}

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Another step.
    Again,
    /// It waits for records, for an order, or until then.
    Wait {
        until: Instant,
        /// The sink is left alone until then, and what comes waits in the pipes.
        rests: bool,
    },
    /// Nothing any more.
    Ended,
}

/// What is told of a pipe that was waited for.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// There are bytes, if they were asked for.
    bytes: bool,
    /// Whoever writes to it has ended.
    ended: bool,
}

/// How long a thread sleeps at most: archives are made by the clock, and programs are looked
/// after.
const LOOK: Duration = Duration::from_secs(1);
/// How long it leaves a worker that has put bytes into its pipe and not entered them yet.
const GAP: Duration = Duration::from_micros(50);

impl<P: Plumbing> Thread<P> {
    /// Every thread that these sinks need, with its name; that of a sink comes before the one that
    /// doubles records for it.
    fn all(
        options: &Arc<Options>,
        feeds: Vec<Feed<P::End>>,
        stats: &Arc<Stats>,
        orders: &Arc<Orders>,
        plumbing: &P,
    ) -> io::Result<Vec<(String, Self)>> {
        let thread = |feeds: Vec<Feed<P::End>>, out, mirrors| Self {
            feeds: feeds.into_iter().map(|feed| Intake::new(feed, options)).collect(),
            out,
            mirrors,
            orders: Arc::clone(orders),
            reopened: 0,
            plumbing: plumbing.clone(),
        };
        let sink = |number| Out::Sink(Box::new(Sink::new(number, options, stats, plumbing)));
        let mirrors = Mirrors::new(options, stats);
        if options.sinks.len() == 1 {
            return Ok(vec![("log".to_owned(), thread(feeds, sink(0), mirrors))]);
        }
        let mut lanes = Lanes::new(options, stats, plumbing);
        let mut all = Vec::new();
        for number in 0..options.sinks.len() {
            let feed = vec![lanes.add()?];
            let name = format!("log-{}", number + 1);
            all.push((name, thread(feed, sink(number), Mirrors::none(stats))));
        }
        all.push(("log".to_owned(), thread(feeds, Out::Lanes(lanes), mirrors)));
        Ok(all)
    }

    /// Does what it was told, and moves what is there.
    fn step(&mut self) -> Step {
        if self.feeds.is_empty() {
            self.mirrors.end();
            match &mut self.out {
                Out::Sink(sink) => sink.finish(),
                Out::Lanes(lanes) => lanes.end(),
            }
            return Step::Ended;
        }
        self.obey();
        let mut moved = false;
        let mut rest = None;
        if let Out::Sink(sink) = &mut self.out {
            sink.tend();
            rest = sink.rests_until();
        }
        if rest.is_none() {
            for feed in &mut self.feeds {
                match feed.pass_on(&mut self.out, &mut self.mirrors) {
                    Passed::Nothing => {}
                    Passed::Some => moved = true,
                    Passed::Stopped => break,
                }
            }
            if let Out::Sink(sink) = &mut self.out {
                sink.end_batch();
                rest = sink.rests_until();
            }
        }
        if moved {
            return Step::Again;
        }
        let look = self.plumbing.now() + LOOK;
        Step::Wait { until: rest.map_or(look, |rest| rest.min(look)), rests: rest.is_some() }
    }

    fn obey(&mut self) {
        let asked = self.orders.reopen.load(Ordering::Relaxed);
        if asked != self.reopened {
            self.reopened = asked;
            if let Out::Sink(sink) = &mut self.out {
                sink.reopen();
            }
        }
    }

    /// The feeds to wait for. That a worker has ended is of interest where nothing waits any more.
    fn watched(&self, rests: bool) -> Vec<bool> {
        self.feeds.iter().map(|feed| !rests || feed.is_empty()).collect()
    }

    /// Forgets the feeds that have ended, by what was told of each that was watched; says whether
    /// there are bytes whose entry is about to come.
    fn hear(&mut self, watched: &[bool], told: impl IntoIterator<Item = Told>) -> bool {
        let (mut watched, mut told) = (watched.iter(), told.into_iter());
        let mut gap = false;
        self.feeds.retain(|feed| {
            if !watched.next().expect("there is one for each feed") {
                return true;
            }
            let told = told.next().expect("there is one for each that was watched");
            if !feed.is_empty() {
                return true;
            }
            gap |= told.bytes;
            // Without bytes the worker has ended.
            told.bytes || !told.ended
        });
        gap
    }
}

impl Thread<Real> {
    fn run(mut self, heard: &OwnedFd) {
        loop {
            match self.step() {
                Step::Again => {}
                Step::Wait { until, rests } => self.wait(until, rests, heard),
                Step::Ended => return,
            }
        }
    }

    fn wait(&mut self, until: Instant, rests: bool, heard: &OwnedFd) {
        let time = until.saturating_duration_since(Instant::now());
        let looked_at = self.watched(rests);
        let mut polled = vec![PollFd::new(heard, PollFlags::IN)];
        // While the sink is left alone, bytes are not waited for; the end is told whatever is
        // asked for (poll(2)).
        let flags = if rests { PollFlags::empty() } else { PollFlags::IN };
        let feeds = self.feeds.iter().zip(&looked_at).filter(|(_, looked_at)| **looked_at);
        polled.extend(feeds.map(|(feed, _)| PollFd::new(&feed.pipe, flags)));
        if poll(&mut polled, Some(&real::timespec(time))).is_err() {
            return std::thread::sleep(GAP);
        }
        let told: Vec<_> = polled.iter().map(PollFd::revents).collect();
        if told[0].contains(PollFlags::IN) {
            let mut count = [0; 8];
            let _ = rustix::io::read(heard, &mut count);
        }
        let told = told[1..].iter().map(|told| Told {
            bytes: told.contains(PollFlags::IN),
            ended: told.contains(PollFlags::HUP),
        });
        if self.hear(&looked_at, told) {
            std::thread::sleep(GAP);
        }
    }
}

/// Reads exactly so many bytes, which are in the pipe.
fn read_exactly(pipe: &impl End, into: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let start = into.len();
    into.resize(start + count, 0);
    let mut at = start;
    while at < into.len() {
        match pipe.read(&mut into[at..]) {
            Ok(0) => {
                into.truncate(at);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(read) => at += read,
            Err(Errno::INTR) => {}
            Err(errno) => {
                into.truncate(at);
                return Err(errno.into());
            }
        }
    }
    Ok(())
}
