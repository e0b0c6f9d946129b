//! A program that reads the log from its standard input, started again when it ends: by this
//! process, or by the broker of one that may not.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, ioctl_fionread};

use super::plumbing::Process as Runs;
use super::real::{is_pipe, is_writable, left_unread};
use super::target::some;
use crate::broker::{self, Broker};
use crate::limits::LOG_SINK_RETRY;
use crate::techniques::pipe::{SpliceFlags, splice_out};

/// A program that runs, or has just ended.
#[derive(Debug)]
pub(super) struct Program {
    process: Process,
    started: Instant,
}

#[derive(Debug)]
enum Process {
    Own(Child, Option<ChildStdin>),
    Broker(broker::Program),
}

/// A program that ran as long as this has not failed at its start.
pub(super) const RAN: Duration = Duration::from_secs(10);
/// How long a program gets to finish when the server ends.
const FINISH: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const FINISH_LOOK: Duration = Duration::from_millis(5);

impl Program {
    /// Starts it by the shell, in a process group of its own: an interrupt at the terminal is for
    /// the server, and the program ends when it has read the last record.
    pub(super) fn start(command: &str, broker: Option<&Broker>) -> Result<Self, String> {
        let process = match broker {
            Some(broker) => {
                let started = broker.program(command);
                Process::Broker(started.map_err(|denied| format!("no program: {denied}"))?)
            }
            None => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(command).env_remove(broker::ROLE);
                shell.stdin(Stdio::piped()).process_group(0);
                let mut child = shell.spawn().map_err(|error| format!("no shell: {error}"))?;
                let input = child.stdin.take();
                Process::Own(child, input)
            }
        };
        Ok(Self { process, started: Instant::now() })
    }

    fn input(&self) -> BorrowedFd<'_> {
        match &self.process {
            Process::Own(_, input) => input.as_ref().expect("it is taken at the end only").as_fd(),
            Process::Broker(program) => program.input(),
        }
    }
}

impl Runs<OwnedFd> for Program {
    fn splice(&self, from: &OwnedFd, count: usize) -> Result<usize, Errno> {
        let moved = splice_out(from, self.input(), None, count, SpliceFlags::empty());
        moved.map_err(|error| error.errno()).and_then(some)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(self.input(), bytes).and_then(some)
    }

    fn wait_for_room(&self, time: Duration) -> bool {
        is_writable(self.input(), time)
    }

    fn is_pipe(&self) -> bool {
        is_pipe(self.input())
    }

    fn unread(&self) -> Option<u64> {
        ioctl_fionread(self.input()).ok()
    }

    fn left_unread(&self) -> Option<u64> {
        left_unread(self.input())
    }

    fn is_settled(&self) -> bool {
        self.started.elapsed() >= RAN
    }

    fn ended(&mut self) -> Option<String> {
        let status = match &mut self.process {
            Process::Own(child, _) => child.try_wait().ok().flatten()?.to_string(),
            Process::Broker(program) => program.ended()?,
        };
        Some(format!("its program ended ({status})"))
    }

    fn gone(&mut self) -> String {
        let until = Instant::now() + LOG_SINK_RETRY;
        while Instant::now() < until {
            if let Some(ended) = self.ended() {
                return ended;
            }
            std::thread::sleep(FINISH_LOOK);
        }
        // It closed its input and goes on: it is of no use.
        match &mut self.process {
            Process::Own(child, _) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Process::Broker(program) => program.end(),
        }
        "its program closed its input".to_owned()
    }

    fn finish(mut self) -> Option<u64> {
        // What lies in the pipe can be asked as long as somebody has an end of it open.
        let path = format!("/proc/self/fd/{}", self.input().as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = openat(CWD, path, flags, Mode::empty());
        match &mut self.process {
            Process::Own(_, input) => *input = None,
            Process::Broker(program) => program.close_input(),
        }
        let until = Instant::now() + FINISH;
        while Instant::now() < until {
            let unknown = matches!(&self.process, Process::Broker(one) if !one.is_watched());
            if unknown {
                return None;
            }
            if self.ended().is_some() {
                return pipe.and_then(ioctl_fionread).ok();
            }
            std::thread::sleep(FINISH_LOOK);
        }
        tracing::warn!("the program of the access log still runs at the end");
        None
    }
}
