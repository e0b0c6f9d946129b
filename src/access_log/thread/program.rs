//! A program that reads the log from its standard input, started again when it ends.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::limits::LOG_SINK_RETRY;

/// A program that runs, or has just ended.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    started: Instant,
}

/// A program that ran as long as this has not failed at its start.
const RAN: Duration = Duration::from_secs(10);
/// How long a program gets to finish when the server ends.
const FINISH: Duration = Duration::from_secs(2);

impl Program {
    /// Starts it by the shell, in a process group of its own: an interrupt at the terminal is for
    /// the server, and the program ends when it has read the last record.
    pub(super) fn start(command: &str) -> Result<Self, String> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().map_err(|error| format!("no shell: {error}"))?;
        let input = child.stdin.take();
        Ok(Self { child, input, started: Instant::now() })
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_ref().expect("it is taken at the end only").as_fd()
    }

    /// Whether it has run for so long that it did not fail at its start.
    pub(super) fn is_settled(&self) -> bool {
        self.started.elapsed() >= RAN
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("its program ended ({status})"))
    }

    /// It reads no more: why.
    pub(super) fn gone(&mut self) -> String {
        let until = Instant::now() + LOG_SINK_RETRY;
        while Instant::now() < until {
            if let Some(ended) = self.ended() {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It closed its input and goes on: it is of no use.
        let _ = self.child.kill();
        let _ = self.child.wait();
        "its program closed its input".to_owned()
    }

    /// Lets it read to the end, for a bounded time.
    pub(super) fn finish(mut self) {
        drop(self.input.take());
        let until = Instant::now() + FINISH;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        tracing::warn!("the program of the access log still runs at the end");
    }
}
