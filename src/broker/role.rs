//! What a process of this program is that the server, or its broker, started.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::deed::Deed;
use crate::limits::BROKER_PATIENCE;
use crate::sys::Exchange;

/// The variable that says it. It is no setting, and no program that is started gets it.
pub const ROLE: &str = "_PITCREW_ROLE";

const BROKER: &str = "broker";
const SUCCESSOR: &str = "successor";

/// See the module.
#[derive(Debug)]
pub enum Role {
    /// The broker of the server at the other end.
    Broker(Exchange),
    /// The server that takes the place of the one at the other end.
    Successor(Exchange),
    /// One deed as the user of the server, and nothing else.
    Deed(Deed),
}

/// What this process is; none for one that somebody else started.
///
/// # Errors
/// A sentence, when the variable was set by somebody else.
pub fn role() -> Result<Option<Role>, String> {
    let Some(name) = std::env::var_os(ROLE) else { return Ok(None) };
    let line = || {
        let end = std::io::stdin().as_fd().try_clone_to_owned();
        let line = end.and_then(|end| Exchange::adopt(end, BROKER_PATIENCE));
        line.map_err(|_| format!("{ROLE} is set by the server alone; unset it"))
    };
    let role = match name.to_str() {
        Some(BROKER) => Role::Broker(line()?),
        Some(SUCCESSOR) => {
            // It was started as /proc/self/exe, and is a server as any other.
            let _ = rustix::thread::set_name(c"pitcrew");
            Role::Successor(line()?)
        }
        other => {
            let deed = other.and_then(|name| Deed::parse(name, std::env::args_os().skip(1)));
            Role::Deed(deed.ok_or_else(|| format!("{ROLE} is set by the server alone; unset it"))?)
        }
    };
    Ok(Some(role))
}

/// This program once more, whatever has its path now, with a role.
pub(super) fn again(role: &str, arguments: impl IntoIterator<Item = OsString>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(format!("pitcrew-{role}")).args(arguments).env(ROLE, role);
    command
}

/// The broker of this process.
pub(super) fn broker(line: OwnedFd) -> Command {
    let mut command = again(BROKER, std::env::args_os().skip(1));
    command.stdin(Stdio::from(line));
    command
}

/// A successor of the server whose broker this is, in a process group of its own: what is typed
/// at the terminal is for the server that was started there.
pub(super) fn successor(line: OwnedFd) -> Command {
    let mut command = again(SUCCESSOR, std::env::args_os().skip(1));
    command.stdin(Stdio::from(line)).process_group(0);
    command
}
