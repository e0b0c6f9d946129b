//! How a server hands its listening sockets to the one that takes its place: over a unix socket
//! whose messages keep their bounds and carry descriptors (SCM_RIGHTS, unix(7)).
//!
//! Only a process of the same user, or of root, is spoken with.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::socket::OwnedPath;

/// Descriptors of one message; the kernel takes 253.
pub const DESCRIPTORS_MAX: usize = 200;

/// Bytes of one message at most; an address with its path is shorter.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Successors that may wait to be heard.
const BACKLOG: i32 = 4;

/// Where a server waits for its successor.
#[derive(Debug)]
pub struct Waiting {
    socket: Socket,
}

/// The path at which a server waits. It goes when this is dropped, if it is still the same.
#[derive(Debug)]
pub struct Place {
    // Held for its Drop.
    _path: Option<OwnedPath>,
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
        if Exchange::ask(path, Duration::ZERO)?.is_some() {
            return Err(Errno::ADDRINUSE.into());
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                return Err(Errno::EXIST.into());
            }
            Ok(_) => fs::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        socket.bind(&name)?;
        let place = Place { _path: OwnedPath::of(path) };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        Ok((Self { socket }, place))
    }

    /// Waits for somebody who asks. Each message of the exchange has this time.
    ///
    /// # Errors
    /// Those of accept(2), and EPERM for another user.
    pub fn accept(&self, patience: Duration) -> io::Result<Exchange> {
        let exchange = Exchange::with(again(|| self.socket.accept())?.0, patience)?;
        let user = rustix::net::sockopt::socket_peercred(&exchange.0)?.uid;
        if user.is_root() || user == rustix::process::geteuid() {
            Ok(exchange)
        } else {
            Err(Errno::PERM.into())
        }
    }
}

/// One successor speaking with one predecessor.
#[derive(Debug)]
pub struct Exchange(Socket);

impl Exchange {
    fn with(socket: Socket, patience: Duration) -> io::Result<Self> {
        if !patience.is_zero() {
            socket.set_read_timeout(Some(patience))?;
            socket.set_write_timeout(Some(patience))?;
        }
        Ok(Self(socket))
    }

    /// Speaks to the server that waits at a path; none if nobody does.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn ask(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        let name = SockAddr::unix(path)?;
        match again(|| socket.connect(&name)) {
            Ok(()) => Self::with(socket, patience).map(Some),
            Err(error) => match Errno::from_io_error(&error) {
                // Another kind of socket, or none, is not where a server waits.
                Some(Errno::NOENT | Errno::CONNREFUSED | Errno::PROTOTYPE) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Sends one message with descriptors, at most [`DESCRIPTORS_MAX`].
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL;
        retry_on_intr(|| sendmsg(self.0.as_fd(), &[IoSlice::new(message)], &mut ancillary, flags))?;
        Ok(())
    }

    /// The next message with its descriptors; an empty one when the other side has ended.
    ///
    /// # Errors
    /// Those of recvmsg(2); EMSGSIZE for a message that is cut.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let told = retry_on_intr(|| {
            let parts = &mut [IoSliceMut::new(&mut message)];
            recvmsg(self.0.as_fd(), parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut descriptors = Vec::new();
        for one in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = one {
                descriptors.extend(passed);
            }
        }
        let cut = rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC;
        if told.flags.intersects(cut) {
            return Err(Errno::MSGSIZE.into());
        }
        message.truncate(told.bytes);
        Ok((message, descriptors))
    }
}

/// Repeats a call that was interrupted. The end of a ring that this thread had interrupts one, too,
/// and a socket with a time limit is not waited on again by the kernel itself (signal(7)).
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Whether a descriptor is a stream socket that listens.
pub fn is_listener(socket: &OwnedFd) -> bool {
    let stream = SockRef::from(socket).r#type().is_ok_and(|kind| kind == Type::STREAM);
    stream && rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
    fn a_path_is_taken_from_the_dead_and_not_from_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("successor");
        let (waiting, place) = Waiting::open(&path).unwrap();
        let taken = Waiting::open(&path).unwrap_err();
        assert_eq!(Errno::from_io_error(&taken), Some(Errno::ADDRINUSE));
        drop(waiting);
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
