//! Where a server waits for the one that takes its place: the path of a unix socket.
//!
//! Only a process of the same user, or of root, is spoken with; and who asks speaks only with a
//! server of the same user, of root, or of the user that it becomes itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::exchange::{Exchange, again};
use super::owned_path::OwnedPath;

/// Successors that may wait to be heard.
const BACKLOG: i32 = 4;

/// How long a path is asked whether somebody listens there.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Where a server waits for its successor.
#[derive(Debug)]
pub struct Waiting {
    socket: Socket,
}

/// The path at which a server waits. It goes when this is dropped, if it is still the same.
#[derive(Debug)]
pub struct Place {
    path: Option<OwnedPath>,
}

impl Place {
    /// Leaves the path to whoever has the socket.
    pub fn leave(self) {
        self.path.iter().for_each(|path| path.set_owned(false));
    }
}

impl Waiting {
    /// Listens on a path, which only this user may open. A path that an ended server left behind
    /// is replaced.
    ///
    /// # Errors
    /// Those of bind(2); EADDRINUSE when somebody listens there, EEXIST when it is no socket.
    pub fn open(path: &Path) -> io::Result<(Self, Place)> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        let name = SockAddr::unix(path)?;
        match Exchange::ask(path, PROBE_PATIENCE) {
            Ok(None) => {}
            // Or so many wait to be heard that no more may: somebody listens.
            Ok(Some(_)) => return Err(Errno::ADDRINUSE.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Errno::ADDRINUSE.into());
            }
            Err(error) => return Err(error),
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                return Err(Errno::EXIST.into());
            }
            Ok(_) => fs::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // What the socket allows is what its path will, from the first moment on (unix(7)).
        rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        socket.bind(&name)?;
        let place = Place { path: OwnedPath::of(&socket, path) };
        socket.listen(BACKLOG)?;
        Ok((Self { socket }, place))
    }

    /// Takes a socket that another process of this server opened there.
    pub fn adopt(socket: OwnedFd, path: &Path) -> (Self, Place) {
        let place = Place { path: OwnedPath::of(&socket, path) };
        (Self { socket: socket.into() }, place)
    }

    /// Waits for somebody who asks. Each message of the exchange has this time.
    ///
    /// # Errors
    /// Those of accept(2), and EPERM for another user.
    pub fn accept(&self, patience: Duration) -> io::Result<Exchange> {
        let exchange = Exchange::with(again(|| self.socket.accept())?.0, patience)?;
        if is_trusted(exchange.peer()?, None) { Ok(exchange) } else { Err(Errno::PERM.into()) }
    }
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a process of this user is spoken with: one of root, of this process, or of the user that
/// a server becomes.
pub fn is_trusted(user: u32, becomes: Option<u32>) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw() || Some(user) == becomes
}

/// Whether a descriptor is a stream socket that listens.
pub fn is_listener(socket: &OwnedFd) -> bool {
    let stream = SockRef::from(socket).r#type().is_ok_and(|kind| kind == Type::STREAM);
    stream && rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use std::net::{TcpListener, TcpStream};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_listener_arrives_and_its_queue_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("successor");
        assert!(Exchange::ask(&path, PATIENCE).unwrap().is_none());
        let (waiting, place) = Waiting::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = waiting.accept(PATIENCE).unwrap();
                exchange.send(b"here", &[listener.as_fd()]).unwrap();
                drop(listener);
            });
            let exchange = Exchange::ask(&path, PATIENCE).unwrap().unwrap();
            let (message, mut passed) = exchange.receive().unwrap();
            assert_eq!((&message[..], passed.len()), (&b"here"[..], 1));
            assert!(is_listener(&passed[0]));
            let taken = TcpListener::from(passed.remove(0));
            let (mut served, _) = taken.accept().unwrap();
            io::Write::write_all(&mut served, b"hello").unwrap();
            drop(served);
            let mut text = String::new();
            io::Read::read_to_string(&mut client, &mut text).unwrap();
            assert_eq!(text, "hello");
            assert_eq!(exchange.receive().unwrap().0, b"");
        });
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn a_stranger_is_not_trusted() {
        let own = rustix::process::geteuid().as_raw();
        assert!(is_trusted(own, None) && is_trusted(0, None));
        assert!(!is_trusted(own + 1, None) && !is_trusted(own + 1, Some(own + 2)));
        assert!(is_trusted(own + 1, Some(own + 1)));
        let (one, _other) = Exchange::pair(PATIENCE).unwrap();
        assert_eq!(one.peer().unwrap(), own);
    }

    #[test]
    fn a_path_is_taken_from_the_dead_and_not_from_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("successor");
        let (waiting, place) = Waiting::open(&path).unwrap();
        let taken = Waiting::open(&path).unwrap_err();
        assert_eq!(Errno::from_io_error(&taken), Some(Errno::ADDRINUSE));
        // Nor from one that hears nobody: each asker that waits takes a place of its queue.
        let asked: Vec<_> = (0..2 * BACKLOG)
            .map_while(|_| Exchange::ask(&path, Duration::from_millis(10)).ok())
            .collect();
        assert!(asked.len() <= 2 + BACKLOG as usize, "{} may wait", asked.len());
        let taken = Waiting::open(&path).unwrap_err();
        assert_eq!(Errno::from_io_error(&taken), Some(Errno::ADDRINUSE));
        drop((waiting, asked));
        // As a process that was killed leaves it.
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        drop(place);
        fs::rename(&aside, &path).unwrap();
        drop(Waiting::open(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        let taken = Waiting::open(&path).unwrap_err();
        assert_eq!(Errno::from_io_error(&taken), Some(Errno::EXIST));
    }
}
