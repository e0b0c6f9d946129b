//! The server's side: it starts the broker, and asks.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, wait};

use super::options::Options;
use super::program::Program;
use super::role;
use super::stats::Stats;
use super::wire::{Answer, Request};
use crate::limits::{
    BROKER_END, BROKER_END_LOOK, BROKER_GREETING, BROKER_PATIENCE, HAND_OVER_PATIENCE,
};
use crate::sys::socket::BindCause;
use crate::sys::{Exchange, Listen};

/// The broker of this process. Any thread may ask; one after the other is heard.
#[derive(Debug)]
pub struct Broker {
    line: Mutex<Line>,
    stats: Arc<Stats>,
}

#[derive(Debug)]
struct Line {
    child: Child,
    /// How that ended, if somebody else heard of it.
    reaped: Option<ExitStatus>,
    /// None once the broker has gone.
    exchange: Option<Exchange>,
    /// Of the last request.
    number: u32,
    /// Whether its end was told.
    told: bool,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The broker has gone.
    Gone,
    /// The configuration that the broker read does not name it, or it is wrong.
    Refused(String),
    /// It could not be done.
    Failed(String),
    /// The address cannot be listened on.
    NotBound(BindCause),
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => out.write_str(
                "the broker, which would do it for a confined server, has ended; start the server \
                 anew",
            ),
            Self::Refused(why) => write!(out, "the broker refuses it: {why}"),
            Self::Failed(why) => write!(out, "the broker could not do it: {why}"),
            Self::NotBound(_) => out.write_str("the address cannot be listened on"),
        }
    }
}

impl Broker {
    /// Starts it. It must be called while this process has one thread and is not confined.
    ///
    /// # Errors
    /// When no process or no descriptor is left, or /proc is not there.
    pub fn start(stats: Arc<Stats>) -> std::io::Result<Self> {
        let (exchange, other) = Exchange::pair(BROKER_PATIENCE)?;
        let child = role::broker(other).spawn()?;
        let line = Line { child, reaped: None, exchange: Some(exchange), number: 0, told: false };
        Ok(Self { line: Mutex::new(line), stats })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Whoever panicked with it had asked for something, and answers bear their number.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless somebody has it: whoever asks may wait for seconds.
    fn free_line(&self) -> Option<MutexGuard<'_, Line>> {
        match self.line.try_lock() {
            Ok(line) => Some(line),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits until it has read the configuration, which has to be this one. One that has not is let
    /// go.
    ///
    /// # Errors
    /// When it could not, or it read another.
    pub fn greet(&self, own: &Options) -> Result<(), Denied> {
        let greeted = match self.line().answer(0, BROKER_GREETING) {
            Ok((Answer::Greeting(digest), _)) if digest == own.digest() => Ok(()),
            Ok((Answer::Greeting(_), _)) => Err(Denied::Failed(
                "it read another configuration than the server, which was changed meanwhile"
                    .to_owned(),
            )),
            Ok(_) => Err(Denied::Failed(ODD.to_owned())),
            Err(denied) => Err(denied),
        };
        greeted.inspect_err(|_| self.end())
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.line().child.id()
    }

    /// Says, once, that it has ended, and how. While somebody waits for its answer nothing is said.
    pub fn has_ended(&self) -> Option<String> {
        let mut line = self.free_line()?;
        if std::process::id() == 1 {
            line.reap();
        }
        if line.told {
            return None;
        }
        let ended = line.reaped.or_else(|| line.child.try_wait().ok().flatten());
        let how = match ended {
            Some(status) => status.to_string(),
            _ if line.exchange.is_some() => return None,
            _ => "it speaks no more".to_owned(),
        };
        line.exchange = None;
        line.told = true;
        Some(how)
    }

    /// Lets it end, for a bounded time, so that it is gone before this process is.
    pub fn end(&self) {
        let until = Instant::now() + BROKER_END;
        let mut line = loop {
            match self.free_line() {
                Some(line) => break line,
                // Somebody waits for an answer: it ends with this process.
                None if Instant::now() >= until => return,
                None => std::thread::sleep(BROKER_END_LOOK),
            }
        };
        line.exchange = None;
        line.told = true;
        while matches!(line.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(BROKER_END_LOOK);
        }
    }

    fn ask(&self, request: &Request) -> Result<Vec<OwnedFd>, Denied> {
        let mut line = self.line();
        let answer = line.ask(request);
        // Figures are written by one thread at a time: whoever holds the line.
        match &answer {
            Ok(_) => self.stats.granted.add(1),
            Err(Denied::Refused(_)) => self.stats.refused.add(1),
            Err(_) => self.stats.failed.add(1),
        }
        answer
    }

    /// Starts a log program.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn program(&self, command: &str) -> Result<Program, Denied> {
        let passed = self.ask(&Request::Program(command.to_owned()))?;
        let [input, line] = exactly(passed)?;
        let line = Exchange::adopt(line, BROKER_PATIENCE);
        let line = line.map_err(|error| Denied::Failed(error.to_string()))?;
        Ok(Program::new(input, line))
    }

    /// Opens a file of the access log, and makes it if it is not there.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn file(&self, path: &Path) -> Result<OwnedFd, Denied> {
        let [file] = exactly(self.ask(&Request::File(path.to_owned()))?)?;
        Ok(file)
    }

    /// Waits for a successor at a path: the socket that listens there.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn place(&self, path: &Path) -> Result<OwnedFd, Denied> {
        let [socket] = exactly(self.ask(&Request::Place(path.to_owned()))?)?;
        Ok(socket)
    }

    /// Listens on an address: a socket for each worker, or one for all.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn listener(&self, listen: &Listen) -> Result<Vec<OwnedFd>, Denied> {
        self.ask(&Request::Listener(listen.clone()))
    }

    /// Removes the path of a unix socket that was listened on.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn remove(&self, path: &Path) -> Result<(), Denied> {
        self.ask(&Request::Remove(path.to_owned())).map(drop)
    }

    /// Has it read the configuration again.
    ///
    /// # Errors
    /// [`Denied`]; refused, with what is wrong with it.
    pub fn reload(&self) -> Result<(), Denied> {
        self.ask(&Request::Reload).map(drop)
    }

    /// Says that the configuration which it read last serves.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn taken(&self) -> Result<(), Denied> {
        self.ask(&Request::Taken).map(drop)
    }

    /// Starts a process that takes this one's place: where it is spoken with.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn successor(&self) -> Result<Exchange, Denied> {
        let [line] = exactly(self.ask(&Request::Successor)?)?;
        let line = Exchange::adopt(line, HAND_OVER_PATIENCE);
        line.map_err(|error| Denied::Failed(error.to_string()))
    }
}

impl Line {
    /// Hears of the end of every child of this process, so that their numbers are free again: the
    /// first process of a container is handed whatever loses its parent. A server with a broker
    /// starts no other process itself.
    fn reap(&mut self) {
        while let Ok(Some((process, status))) = wait(WaitOptions::NOHANG) {
            if process == Pid::from_child(&self.child) {
                self.reaped = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Vec<OwnedFd>, Denied> {
        self.number = self.number.wrapping_add(1).max(1);
        let (number, message) = (self.number, request.to_message(self.number));
        let exchange = self.exchange.as_ref().ok_or(Denied::Gone)?;
        if let Err(error) = exchange.send(&message, &[]) {
            return Err(self.failed(&error));
        }
        match self.answer(number, BROKER_PATIENCE)? {
            (Answer::Granted, descriptors) => Ok(descriptors),
            _ => Err(Denied::Failed(ODD.to_owned())),
        }
    }

    /// The answer of this number, which is no refusal; those of earlier requests, given up, are let
    /// go.
    fn answer(
        &mut self,
        wanted: u32,
        patience: Duration,
    ) -> Result<(Answer, Vec<OwnedFd>), Denied> {
        let until = Instant::now() + patience;
        let mut descriptors = Vec::new();
        loop {
            let exchange = self.exchange.as_ref().ok_or(Denied::Gone)?;
            if !exchange.is_heard(until.saturating_duration_since(Instant::now())) {
                let seconds = patience.as_secs();
                return Err(Denied::Failed(format!("it does not answer within {seconds} seconds")));
            }
            let (message, passed) = match exchange.receive() {
                Ok((message, _)) if message.is_empty() => {
                    self.exchange = None;
                    return Err(Denied::Gone);
                }
                Ok(told) => told,
                Err(error) => return Err(self.failed(&error)),
            };
            let (number, answer) = Answer::of_message(&message);
            if number != wanted {
                continue;
            }
            descriptors.extend(passed);
            return match answer {
                Some(answer @ (Answer::Granted | Answer::Greeting(_))) => Ok((answer, descriptors)),
                Some(Answer::More) => continue,
                Some(Answer::Refused(why)) => Err(Denied::Refused(why)),
                Some(Answer::Failed(why)) => Err(Denied::Failed(why)),
                Some(Answer::NotBound(cause)) => Err(Denied::NotBound(cause)),
                None => Err(Denied::Failed(ODD.to_owned())),
            };
        }
    }

    fn failed(&mut self, error: &std::io::Error) -> Denied {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => {
                self.exchange = None;
                Denied::Gone
            }
            _ => Denied::Failed(error.to_string()),
        }
    }
}

const ODD: &str = "it says something odd";

fn exactly<const COUNT: usize>(passed: Vec<OwnedFd>) -> Result<[OwnedFd; COUNT], Denied> {
    let odd = |_| Denied::Failed("descriptors are missing".to_owned());
    passed.try_into().map_err(odd)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A broker that is a process without a mind, and the line of the one who speaks for it.
    fn broker() -> (Broker, Exchange) {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (line, other) = Exchange::pair(BROKER_PATIENCE).unwrap();
        let line = Line { child, reaped: None, exchange: Some(line), number: 0, told: false };
        let broker = Broker { line: Mutex::new(line), stats: Arc::default() };
        (broker, Exchange::adopt(other, BROKER_PATIENCE).unwrap())
    }

    #[test]
    fn nobody_waits_for_who_asks_to_look_or_to_end() {
        let (broker, _other) = broker();
        let asking = broker.line();
        assert_eq!(broker.has_ended(), None);
        broker.end();
        drop(asking);
        broker.line().child.kill().unwrap();
        broker.line().child.wait().unwrap();
        assert!(broker.has_ended().unwrap().contains("signal: 9"));
        assert_eq!(broker.has_ended(), None, "it is said once");
    }

    #[test]
    fn a_broker_that_read_another_configuration_is_none() {
        let own = Options { workers: 2, ..Options::default() };
        for (digest, greeted) in [(own.digest(), true), (Options::default().digest(), false)] {
            let (broker, other) = broker();
            other.send(&Answer::Greeting(digest).to_message(0), &[]).unwrap();
            broker.line().child.kill().unwrap();
            assert_eq!(broker.greet(&own).is_ok(), greeted);
            assert_eq!(broker.line().exchange.is_some(), greeted, "it is let go");
            let _ = broker.line().child.wait();
        }
    }
}
