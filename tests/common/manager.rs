//! A service manager, as a server tells it how it is (sd_notify(3)).

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::{Launch, PATIENCE};

/// A socket that servers tell.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// Listens at a path.
    pub fn at(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// Has a server tell it.
    pub fn of(&self, launch: Launch) -> Launch {
        launch.variable("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The next thing that it is told.
    pub fn hears(&self) -> String {
        let mut text = [0; 200];
        let count = self.socket.recv(&mut text).unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    }

    /// Whether it has been told nothing more by now.
    pub fn has_heard_all(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let more = self.socket.recv(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        more.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
