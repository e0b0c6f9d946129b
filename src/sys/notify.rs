//! What a service manager is told: sd_notify(3), one datagram to the socket that NOTIFY_SOCKET
//! names.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// The variable that names the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The service manager, if there is one that wants to be told.
#[derive(Debug, Default)]
pub struct ServiceManager(Option<(UnixDatagram, SocketAddr)>);

impl ServiceManager {
    /// Who the environment names.
    ///
    /// # Errors
    /// When it names something that is no address of a unix socket.
    pub fn from_environment() -> io::Result<Self> {
        match std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) {
            None => Ok(Self(None)),
            Some(name) => Self::at(&name),
        }
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(Self(Some((UnixDatagram::unbound()?, address))))
    }

    /// Whether anybody is told.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// It serves, also after a reload.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It takes a new configuration.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Another process goes on in its place, and serves: what it says itself may come before it is
    /// known to be the one that may speak.
    pub fn replaced_by(&self, process: u32) {
        self.tell(&format!("MAINPID={process}\nREADY=1"));
    }

    /// This process goes on in the place of another.
    pub fn replaces(&self) {
        self.tell(&format!("MAINPID={}", std::process::id()));
    }

    fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.0 {
            // Nobody can be told that nobody can be told.
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn heard(at: &UnixDatagram) -> String {
        let mut text = [0; 100];
        let count = at.recv(&mut text).unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_hears_every_state_in_both_kinds_of_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("pitcrew-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (at, named) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into()),
        ] {
            let manager = ServiceManager::at(&named).unwrap();
            manager.ready();
            manager.reloading();
            manager.replaced_by(7);
            manager.replaces();
            manager.stopping();
            assert_eq!(heard(&at), "READY=1");
            assert!(heard(&at).starts_with("RELOADING=1\nMONOTONIC_USEC="));
            assert_eq!(heard(&at), "MAINPID=7\nREADY=1");
            assert_eq!(heard(&at), format!("MAINPID={}", std::process::id()));
            assert_eq!(heard(&at), "STOPPING=1");
        }
        assert!(ServiceManager::at(OsStr::new("nowhere")).is_err());
        ServiceManager(None).ready();
    }
}
