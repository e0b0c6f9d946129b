//! The other side of the log pipes: the log thread, and one thread more for each of several
//! sinks.
//!
//! With one sink the log thread moves the bytes into it itself. With several it doubles them by
//! tee(2) into a pipe of each, which a thread of its own empties, so that a slow one never holds
//! another back. Every call here may block; nobody waits for it but the records behind.

mod archive;
mod file;
mod intake;
mod lanes;
mod mirror;
mod program;
mod sink;
mod unread;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use self::intake::{Intake, Passed};
use self::lanes::Lanes;
use self::mirror::Mirrors;
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
pub struct Feed {
    /// The end of its log pipe that bytes come out of; it blocks.
    pub pipe: OwnedFd,
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
        let mut pipe = Pipe::new()?;
        // A smaller one works, too.
        pipe.resize(LOG_PIPE_BYTES)?;
        let (reader, writer) = pipe.into_ends();
        let flags = rustix::fs::fcntl_getfl(&writer)?;
        rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK)?;
        let (entering, ledger) = ledger();
        Ok((writer, entering, Self { pipe: reader, ledger }))
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
        let sink = |number| Sink::new(number, options, stats, broker.cloned());
        let mirrors = Mirrors::new(options, stats);
        let feeds: Vec<_> = feeds.into_iter().map(|feed| Intake::new(feed, options)).collect();
        if options.sinks.len() == 1 {
            all.spawn("log", feeds, Out::Sink(Box::new(sink(0))), mirrors, &ends)?;
            return Ok(all);
        }
        let mut lanes = Lanes::new(options, stats);
        for number in 0..options.sinks.len() {
            let feed = lanes.add()?;
            let name = format!("log-{}", number + 1);
            let feed = vec![Intake::new(feed, options)];
            all.spawn(&name, feed, Out::Sink(Box::new(sink(number))), Mirrors::none(stats), &ends)?;
        }
        all.spawn("log", feeds, Out::Lanes(lanes), mirrors, &ends)?;
        Ok(all)
    }

    fn spawn(
        &mut self,
        name: &str,
        feeds: Vec<Intake>,
        out: Out,
        mirrors: Mirrors,
        ends: &Sender<()>,
    ) -> io::Result<()> {
        let (bell, heard) = Bell::new()?;
        let orders = Arc::clone(&self.orders);
        let mut thread = Thread { feeds, out, mirrors, orders, heard, reopened: 0 };
        let ends = ends.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            thread.run();
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
enum Out {
    Sink(Box<Sink>),
    Lanes(Lanes),
}

struct Thread {
    feeds: Vec<Intake>,
    out: Out,
    mirrors: Mirrors,
    orders: Arc<Orders>,
    heard: OwnedFd,
    reopened: u32,
}

/// How long a thread sleeps at most: archives are made by the clock, and programs are looked
/// after.
const LOOK: Duration = Duration::from_secs(1);
/// How long it leaves a worker that has put bytes into its pipe and not entered them yet.
const GAP: Duration = Duration::from_micros(50);

impl Thread {
    fn run(&mut self) {
        while !self.feeds.is_empty() {
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
            if !moved {
                self.wait(rest);
            }
        }
        self.mirrors.end();
        if let Out::Sink(sink) = &mut self.out {
            sink.finish();
        }
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

    /// Waits for records, for an order, or until the sink is tried again.
    fn wait(&mut self, rest: Option<Instant>) {
        let now = Instant::now();
        let time = rest.map_or(LOOK, |until| until.saturating_duration_since(now).min(LOOK));
        let mut watched = vec![PollFd::new(&self.heard, PollFlags::IN)];
        // While the sink is left alone, what comes waits in the pipes. That a worker has ended is
        // told whatever is asked for (poll(2)), and is of interest where nothing waits any more.
        let (flags, all) = match rest {
            None => (PollFlags::IN, true),
            Some(_) => (PollFlags::empty(), false),
        };
        let looked_at: Vec<_> = self.feeds.iter().map(|feed| all || feed.is_empty()).collect();
        let feeds = self.feeds.iter().zip(&looked_at).filter(|(_, looked_at)| **looked_at);
        watched.extend(feeds.map(|(feed, _)| PollFd::new(&feed.pipe, flags)));
        let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
        if poll(&mut watched, Some(&time)).is_err() {
            return std::thread::sleep(GAP);
        }
        let told: Vec<_> = watched.iter().map(PollFd::revents).collect();
        if told[0].contains(PollFlags::IN) {
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.heard, &mut count);
        }
        let (mut told, mut looked_at) = (told[1..].iter(), looked_at.iter());
        let mut gap = false;
        self.feeds.retain(|feed| {
            if !looked_at.next().expect("there is one for each feed") {
                return true;
            }
            let told = *told.next().expect("there is one for each that was looked at");
            if !feed.is_empty() || told.is_empty() {
                return true;
            }
            // Bytes whose entry is about to come; without bytes the worker has ended.
            gap |= told.contains(PollFlags::IN);
            told.contains(PollFlags::IN) || !told.contains(PollFlags::HUP)
        });
        if gap {
            std::thread::sleep(GAP);
        }
    }
}

/// Reads exactly so many bytes, which are in the pipe.
fn read_exactly(pipe: impl AsFd, into: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let start = into.len();
    into.resize(start + count, 0);
    let mut at = start;
    while at < into.len() {
        match rustix::io::read(&pipe, &mut into[at..]) {
            Ok(0) => {
                into.truncate(at);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(read) => at += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                into.truncate(at);
                return Err(errno.into());
            }
        }
    }
    Ok(())
}
