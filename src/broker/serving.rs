//! The broker's own life: one request after the other, and the ends of what it started.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::deed::{Deed, Hanging, What};
use super::options::Options;
use super::permits::{Permit, Permits};
use super::program::END;
use super::role;
use super::wire::{Answer, Request};
use crate::limits::{BROKER_LOOK, BROKER_PATIENCE, BROKER_PROGRAMS_LEFT_MAX};
use crate::sys::exchange::DESCRIPTORS_MAX;
use crate::sys::{Exchange, Listen, Signals, remove_socket, socket};

/// Reads the broker's own configuration, from the flags, the environment and the file; or says the
/// first thing that is wrong with it.
pub type Read<'a> = &'a mut dyn FnMut() -> Result<Options, String>;

/// Serves the server at the other end until that has gone.
///
/// # Errors
/// A sentence, when it cannot begin.
pub fn serve(line: Exchange, configuration: Read<'_>) -> Result<(), String> {
    // They are for the server; what is started has the same mask as if the server had done it.
    let _signals = Signals::block().map_err(|error| error.to_string())?;
    let _ = rustix::thread::set_name(c"pitcrew-broker");
    let read = configuration();
    let greeting = match &read {
        Ok(options) => Answer::Greeting(options.digest()),
        Err(why) => Answer::Refused(why.clone()),
    };
    let told = line.send(&greeting.to_message(0), &[]);
    let (Ok(options), Ok(())) = (read, told) else { return Ok(()) };
    let (user, exposed) = (options.user.clone(), options.exposed.clone());
    let permits = Permits::new(options);
    let (programs, hanging, successor) = (Vec::new(), Vec::new(), None);
    Serving { line, permits, user, exposed, configuration, programs, hanging, successor }.run();
    Ok(())
}

struct Serving<'a> {
    line: Exchange,
    permits: Permits,
    /// Who the server became when it began: that changes with a restart only.
    user: Option<String>,
    /// Why the configuration is not read again: what may be written changes with a restart, too.
    exposed: Option<String>,
    configuration: Read<'a>,
    programs: Vec<Running>,
    /// Deeds that take too long.
    hanging: Vec<Hanging>,
    successor: Option<Child>,
}

/// A log program.
struct Running {
    command: String,
    child: Child,
    /// Readable when it has ended, where the kernel can tell.
    end: Option<OwnedFd>,
    /// Where the server is told; none when it does not want to know.
    line: Option<Exchange>,
}

impl Serving<'_> {
    fn run(&mut self) {
        loop {
            let Ok(heard) = self.wait() else { return };
            self.programs.retain_mut(Running::goes_on);
            self.hanging.retain_mut(Hanging::goes_on);
            if self.successor.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) {
                self.successor = None;
            }
            if !heard {
                continue;
            }
            match self.line.receive() {
                Ok((message, _)) if message.is_empty() => return,
                Ok((message, _)) => {
                    if !self.answer(&message) {
                        return;
                    }
                }
                // Longer than any message.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {}
                Err(_) => return,
            }
        }
    }

    /// Waits for the server or for something that was started. Whether the server was heard.
    fn wait(&self) -> Result<bool, Errno> {
        let mut watched = vec![self.line.as_fd()];
        watched.extend(self.programs.iter().filter_map(|one| one.end.as_ref().map(AsFd::as_fd)));
        watched.extend(self.programs.iter().filter_map(|one| one.line.as_ref().map(AsFd::as_fd)));
        let mut watched: Vec<_> =
            watched.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let started =
            !self.programs.is_empty() || !self.hanging.is_empty() || self.successor.is_some();
        let (tv_sec, tv_nsec) = (BROKER_LOOK.as_secs() as _, BROKER_LOOK.subsec_nanos().into());
        let look = Timespec { tv_sec, tv_nsec };
        match poll(&mut watched, started.then_some(&look)) {
            Ok(count) => Ok(count > 0 && !watched[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            // What cannot wait would only turn.
            Err(errno) => Err(errno),
        }
    }

    /// Answers one message. Whether the server is still there.
    fn answer(&mut self, message: &[u8]) -> bool {
        let (number, request) = Request::of_message(message);
        let (answer, descriptors) = match request {
            Some(request) => {
                let done = self.obey(&request);
                match &done {
                    Err(Answer::Refused(why)) => {
                        tracing::error!("the broker refused a request of the server: {why}");
                    }
                    _ => tracing::debug!(?request, "asked of the broker"),
                }
                match done {
                    Ok(descriptors) => (Answer::Granted, descriptors),
                    Err(answer) => (answer, Vec::new()),
                }
            }
            None => (Answer::Refused("it is no request".to_owned()), Vec::new()),
        };
        let mut parts: Vec<_> = descriptors.chunks(DESCRIPTORS_MAX).collect();
        let last = parts.pop().unwrap_or_default();
        let send = |answer: &Answer, part: &[OwnedFd]| {
            let part: Vec<_> = part.iter().map(AsFd::as_fd).collect();
            self.line.send(&answer.to_message(number), &part).is_ok()
        };
        parts.into_iter().all(|part| send(&Answer::More, part)) && send(&answer, last)
    }

    fn obey(&mut self, request: &Request) -> Result<Vec<OwnedFd>, Answer> {
        match request {
            // A server that was taken over would write what it wants to be allowed.
            Request::Reload | Request::Successor if self.exposed.is_some() => {
                return Err(Answer::Refused(self.exposed.clone().unwrap_or_default()));
            }
            Request::Reload => {
                // Its own file has to be right; what the server reads is the server's matter.
                let read = (self.configuration)().map_err(Answer::Refused)?;
                self.permits.read(read);
                return Ok(Vec::new());
            }
            Request::Taken => {
                self.permits.taken();
                return Ok(Vec::new());
            }
            Request::Successor => return self.succeed(),
            _ => {}
        }
        match self.permits.permit(request).map_err(Answer::Refused)? {
            Permit::File(file) => {
                let what = What::File(file.path.clone(), file.durability);
                self.open(what)
            }
            Permit::Place(path) => {
                let what = What::Place(path.to_owned());
                self.open(what)
            }
            Permit::Listener(listen, workers) => bind(listen, workers),
            Permit::Remove(path) => {
                let removed = remove_socket(path).map(|()| Vec::new());
                removed.map_err(|error| Answer::Failed(error.to_string()))
            }
            Permit::Program(command) => {
                let command = command.to_owned();
                self.start(&command)
            }
        }
    }

    /// Has something opened, unless that hangs already: what waits for a disk must not gather.
    fn open(&mut self, what: What) -> Result<Vec<OwnedFd>, Answer> {
        self.hanging.retain_mut(Hanging::goes_on);
        if self.hanging.iter().any(|one| one.what == what) {
            let why = "it was asked for before, and hangs; its disk does not answer";
            return Err(Answer::Failed(why.to_owned()));
        }
        let deed = Deed { user: self.user.clone(), what };
        deed.opened(&mut self.hanging).map(|opened| vec![opened]).map_err(Answer::Failed)
    }

    fn may_start(&self, command: &str) -> Result<(), Answer> {
        let of_it = || self.programs.iter().filter(|one| one.command == command);
        // Those that the server has given up read what they have got, for as long as they like.
        let (held, all) = (of_it().filter(|one| one.line.is_some()).count(), of_it().count());
        let most = self.permits.programs_max(command);
        if held >= most || all >= most + BROKER_PROGRAMS_LEFT_MAX {
            return Err(Answer::Refused(format!("'{command}' runs {all} times already")));
        }
        Ok(())
    }

    fn start(&mut self, command: &str) -> Result<Vec<OwnedFd>, Answer> {
        self.may_start(command)?;
        let deed = Deed { user: self.user.clone(), what: What::Program(command.to_owned()) };
        let failed = |error: std::io::Error| Answer::Failed(error.to_string());
        let (line, other) = Exchange::pair(BROKER_PATIENCE).map_err(failed)?;
        let mut child = deed.started().map_err(Answer::Failed)?;
        let input = child.stdin.take().expect("its input was made a pipe");
        let end = Pid::from_raw(child.id().cast_signed());
        let end = end.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let command = command.to_owned();
        self.programs.push(Running { command, child, end, line: Some(line) });
        Ok(vec![input.into(), other])
    }

    /// One at a time: it takes this one's place, or it ends.
    fn succeed(&mut self) -> Result<Vec<OwnedFd>, Answer> {
        if self.successor.is_some() {
            return Err(Answer::Failed("a successor is starting already".to_owned()));
        }
        let failed = |error: std::io::Error| Answer::Failed(error.to_string());
        let (line, other) = Exchange::pair(BROKER_PATIENCE).map_err(failed)?;
        self.successor = Some(role::successor(other).spawn().map_err(failed)?);
        let line = line.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok(vec![line])
    }
}

impl Running {
    /// Whether it still runs. The server is told when it does not, and may have it ended.
    fn goes_on(&mut self) -> bool {
        if let Ok(Some(status)) = self.child.try_wait() {
            if let Some(line) = &self.line {
                // A server that wants to know no more has closed it.
                let _ = line.send(status.to_string().as_bytes(), &[]);
            }
            return false;
        }
        if let Some(line) = &self.line
            && line.is_heard(std::time::Duration::ZERO)
        {
            match line.receive() {
                Ok((word, _)) if word == END => {
                    let _ = self.child.kill();
                }
                // It may read what it has got.
                _ => self.line = None,
            }
        }
        true
    }
}

fn bind(listen: &Listen, workers: usize) -> Result<Vec<OwnedFd>, Answer> {
    let bound = socket::bind(listen, workers).map_err(|error| Answer::NotBound(error.cause))?;
    // The path of a unix socket belongs to the server.
    bound.leave_path();
    Ok(bound.into_sockets())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn mindless() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    fn serving(configuration: Read<'_>) -> (Serving<'_>, OwnedFd) {
        let (line, other) = Exchange::pair(BROKER_PATIENCE).unwrap();
        let options = Options { programs: vec!["cat".to_owned()], ..Options::default() };
        let permits = Permits::new(options);
        let (programs, hanging) = (Vec::new(), Vec::new());
        let (user, exposed, successor) = (None, None, None);
        (
            Serving { line, permits, user, exposed, configuration, programs, hanging, successor },
            other,
        )
    }

    #[test]
    fn what_hangs_is_not_asked_for_again_until_it_has_ended() {
        let mut read = || Err(String::new());
        let (mut serving, _other) = serving(&mut read);
        let what = What::File("/log/a".into(), None);
        serving.hanging.push(Hanging { what: what.clone(), child: mindless() });
        let refused = serving.open(what).unwrap_err();
        assert!(matches!(refused, Answer::Failed(why) if why.contains("hangs")));
        let _ = serving.hanging[0].child.kill();
        let _ = serving.hanging[0].child.wait();
        serving.hanging.retain_mut(Hanging::goes_on);
        assert!(serving.hanging.is_empty());
    }

    #[test]
    fn programs_that_finish_count_less_than_those_that_records_go_to() {
        let mut read = || Err(String::new());
        let (mut serving, _other) = serving(&mut read);
        let most = serving.permits.programs_max("cat");
        let add = |serving: &mut Serving<'_>, is_held: bool| {
            let line = is_held.then(|| Exchange::pair(BROKER_PATIENCE).unwrap().0);
            let command = "cat".to_owned();
            serving.programs.push(Running { command, child: mindless(), end: None, line });
        };
        (0..most).for_each(|_| add(&mut serving, false));
        assert!(serving.may_start("cat").is_ok());
        (0..most).for_each(|_| add(&mut serving, true));
        assert!(serving.may_start("cat").is_err());
        serving.programs.last_mut().unwrap().line = None;
        assert!(serving.may_start("cat").is_ok());
        (0..BROKER_PROGRAMS_LEFT_MAX).for_each(|_| add(&mut serving, false));
        assert!(serving.may_start("cat").is_err(), "nor do they gather without an end");
        for mut one in serving.programs {
            let _ = one.child.kill();
            let _ = one.child.wait();
        }
    }
}
