//! What is done as the user of the server, by a process that does nothing else: it becomes the
//! user, opens one path or becomes a log program, and is gone.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::role;
use crate::limits::BROKER_DEED;
use crate::sandbox::User;
use crate::sys::Exchange;
use crate::sys::hand_over::Waiting;
use crate::techniques::synchronous::Durability;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// None stays who it is.
    pub(super) user: Option<String>,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Open a log file.
    File(PathBuf, Option<Durability>),
    /// Listen at the path of a hand-over.
    Place(PathBuf),
    /// Become a program.
    Program(String),
}

/// A process that was to open something, and hangs: a disk may keep even one that was killed.
#[derive(Debug)]
pub(super) struct Hanging {
    pub(super) what: What,
    pub(super) child: Child,
}

impl Hanging {
    pub(super) fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// What it says when it was done; everything else is why not.
const DONE: &[u8] = b"done";

impl Deed {
    fn name(&self) -> &'static str {
        match &self.what {
            What::File(_, None) => "file",
            What::File(_, Some(Durability::Data)) => "file-data",
            What::File(_, Some(Durability::DataAndMetadata)) => "file-full",
            What::Place(_) => "place",
            What::Program(_) => "program",
        }
    }

    /// From the name of a role, and the arguments: who, and on what.
    pub(super) fn parse(name: &str, mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let user = arguments.next()?.into_string().ok()?;
        let operand = arguments.next()?;
        let path = || PathBuf::from(&operand);
        let what = match name {
            "file" => What::File(path(), None),
            "file-data" => What::File(path(), Some(Durability::Data)),
            "file-full" => What::File(path(), Some(Durability::DataAndMetadata)),
            "place" => What::Place(path()),
            "program" => What::Program(operand.to_str()?.to_owned()),
            _ => return None,
        };
        Some(Self { user: Some(user).filter(|user| !user.is_empty()), what })
    }

    fn command(&self, input: Stdio) -> Command {
        let operand = match &self.what {
            What::File(path, _) | What::Place(path) => path.as_os_str(),
            What::Program(command) => OsStr::new(command),
        };
        let user = OsStr::new(self.user.as_deref().unwrap_or(""));
        let mut command = role::again(self.name(), [user.to_owned(), operand.to_owned()]);
        command.stdin(input);
        command
    }

    /// Has a process open what is to be opened, within a bounded time. One that takes longer is
    /// left to `hanging`, for whoever waits for its end.
    pub(super) fn opened(&self, hanging: &mut Vec<Hanging>) -> Result<OwnedFd, String> {
        let (line, other) = Exchange::pair(BROKER_DEED).map_err(|error| error.to_string())?;
        let mut child = self.command(Stdio::from(other)).spawn().map_err(|error| {
            format!(
                "'{}' cannot be started again: {error}",
                std::env::args().next().unwrap_or_default()
            )
        })?;
        // The command that was spawned held the other end, so its end is heard here, too.
        let told = line.receive();
        if told.is_err() {
            // A disk that hangs: it is left to that, and nobody waits for it.
            let _ = child.kill();
            hanging.push(Hanging { what: self.what.clone(), child });
        } else {
            let _ = child.wait();
        }
        match told {
            Ok((word, descriptors)) if word == DONE => {
                let first = descriptors.into_iter().next();
                first.ok_or_else(|| "no descriptor is left".to_owned())
            }
            Ok((word, _)) if word.is_empty() => Err("it ended without a word".to_owned()),
            Ok((word, _)) => Err(String::from_utf8_lossy(&word).into_owned()),
            Err(error) => Err(format!("it takes too long ({error})")),
        }
    }

    /// Has a process become a program, whose standard input is a pipe, in a process group of its
    /// own.
    pub(super) fn started(&self) -> Result<Child, String> {
        let mut command = self.command(Stdio::piped());
        command.process_group(0).spawn().map_err(|error| error.to_string())
    }

    /// Does it: what this process was started for. Says so at its standard input, unless that is
    /// the input of the program that it becomes.
    ///
    /// # Errors
    /// A sentence, when it could not be done and nobody else was told.
    pub fn run(self) -> Result<(), String> {
        let became = match &self.user {
            None => Ok(()),
            Some(user) => User::look_up(user)
                .map_err(|error| error.to_string())
                .and_then(|user| user.become_it()),
        };
        let result = match self.what {
            What::Program(command) => {
                became?;
                return Err(become_program(&command));
            }
            What::File(path, durability) => became.and_then(|()| open(&path, durability)),
            What::Place(path) => became.and_then(|()| wait_at(&path)),
        };
        let line = std::io::stdin().as_fd().try_clone_to_owned();
        let line = line.and_then(|end| Exchange::adopt(end, BROKER_DEED));
        let line = line.map_err(|error| error.to_string())?;
        let told = match result {
            Ok(opened) => line.send(DONE, &[opened.as_fd()]),
            Err(why) => line.send(why.as_bytes(), &[]),
        };
        told.map_err(|error| error.to_string())
    }
}

/// Becomes a program by the shell; why not.
fn become_program(command: &str) -> String {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).env_remove(role::ROLE);
    format!("no shell: {}", shell.exec())
}

/// A log file is opened as the log does it, and never through a link: whoever may write to the
/// directory could lead it elsewhere.
fn open(path: &Path, durability: Option<Durability>) -> Result<OwnedFd, String> {
    let synchronous = durability.map_or(OFlags::empty(), Durability::flags);
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | OFlags::NOFOLLOW
        | synchronous;
    let said = |errno: Errno| match errno {
        Errno::LOOP => "it is a link".to_owned(),
        Errno::NOENT => "its directory is not there; make it again".to_owned(),
        errno => errno.to_string(),
    };
    let file = openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map_err(said)?;
    match FileType::from_raw_mode(fstat(&file).map_err(said)?.st_mode) {
        FileType::RegularFile => {
            if durability.is_some() {
                // It may be new, and the server cannot do this in a directory made anew. A file
                // system that has no such call never has it, which the log says at its start.
                let _ = sync_directory_of(path);
            }
            Ok(file)
        }
        _ => Err("it is no regular file".to_owned()),
    }
}

fn sync_directory_of(path: &Path) -> Result<(), Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    rustix::fs::fsync(directory)
}

fn wait_at(path: &Path) -> Result<OwnedFd, String> {
    let (waiting, place) = Waiting::open(path).map_err(|error| error.to_string())?;
    let socket = waiting.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    place.leave();
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_deed_reads_back_from_its_arguments() {
        for what in [
            What::File("/a b".into(), None),
            What::File("c".into(), Some(Durability::Data)),
            What::File("c".into(), Some(Durability::DataAndMetadata)),
            What::Place("/run/p".into()),
            What::Program("cat > x".to_owned()),
        ] {
            for user in [None, Some("www-data".to_owned())] {
                let deed = Deed { user, what: what.clone() };
                let command = deed.command(Stdio::null());
                let arguments = command.get_args().map(OsStr::to_owned);
                assert_eq!(Deed::parse(deed.name(), arguments), Some(deed));
            }
        }
        assert_eq!(Deed::parse("other", ["".into(), "x".into()].into_iter()), None);
        assert_eq!(Deed::parse("file", ["".into()].into_iter()), None);
    }

    #[test]
    fn only_a_regular_file_is_opened_and_no_link() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("precious"), "x").unwrap();
        std::os::unix::fs::symlink("precious", at("link")).unwrap();
        assert_eq!(open(&at("link"), None).unwrap_err(), "it is a link");
        assert!(open(scratch.path(), None).is_err());
        assert!(open(Path::new("/dev/null"), None).unwrap_err().contains("no regular file"));
        assert!(open(&at("none/a.log"), None).unwrap_err().contains("directory is not there"));
        open(&at("a.log"), Some(Durability::Data)).unwrap();
        assert_eq!(fs::read(at("a.log")).unwrap(), b"");
    }
}
