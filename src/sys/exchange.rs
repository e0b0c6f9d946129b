//! What two processes of a server say to each other: over a unix socket whose messages keep their
//! bounds and carry descriptors (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// Descriptors of one message; the kernel takes 253.
pub const DESCRIPTORS_MAX: usize = 200;

/// Bytes of one message at most: a path, or the command of a log program.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// One end of it. Closing it is the last word.
#[derive(Debug)]
pub struct Exchange(Socket);

impl Exchange {
    /// Two ends: one for this process, and one for another.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn pair(patience: Duration) -> io::Result<(Self, OwnedFd)> {
        let (own, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((Self::with(own, patience)?, other.into()))
    }

    /// The end that another process made.
    ///
    /// # Errors
    /// ENOTSOCK or EPROTOTYPE for a descriptor that is no such end.
    pub fn adopt(end: OwnedFd, patience: Duration) -> io::Result<Self> {
        let socket = Socket::from(end);
        if socket.r#type()? != Type::SEQPACKET {
            return Err(Errno::PROTOTYPE.into());
        }
        Self::with(socket, patience)
    }

    /// Whether there is a message, or the end, now or within a time.
    pub fn is_heard(&self, time: Duration) -> bool {
        let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
        matches!(poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time)), Ok(1..))
    }

    pub(super) fn with(socket: Socket, patience: Duration) -> io::Result<Self> {
        if !patience.is_zero() {
            socket.set_read_timeout(Some(patience))?;
            socket.set_write_timeout(Some(patience))?;
        }
        Ok(Self(socket))
    }

    /// Speaks to the server that waits at a path; none if nobody does.
    ///
    /// # Errors
    /// Those of connect(2); EAGAIN when nobody takes the connection within this time.
    pub fn ask(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let name = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        // Before it connects: that waits where others do, too (SO_SNDTIMEO, socket(7)).
        let Self(socket) = Self::with(socket, patience)?;
        match again(|| socket.connect(&name)) {
            Ok(()) => Ok(Some(Self(socket))),
            Err(error) => match Errno::from_io_error(&error) {
                // Another kind of socket, or none, is not where a server waits.
                Some(Errno::NOENT | Errno::CONNREFUSED | Errno::PROTOTYPE) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// The user of the process at the other end, as of when it listened or connected.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn peer(&self) -> io::Result<u32> {
        Ok(rustix::net::sockopt::socket_peercred(self)?.uid.as_raw())
    }

    /// Sends one message with descriptors, at most [`DESCRIPTORS_MAX`].
    ///
    /// # Errors
    /// Those of sendmsg(2); EMSGSIZE for a message longer than [`MESSAGE_BYTES_MAX`].
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Errno::MSGSIZE.into());
        }
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

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Repeats a call that was interrupted. The end of a ring that this thread had interrupts one, too,
/// and a socket with a time limit is not waited on again by the kernel itself (signal(7)).
pub(super) fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_hear_messages_and_the_end() {
        let patience = Duration::from_secs(20);
        let (own, other) = Exchange::pair(patience).unwrap();
        let other = Exchange::adopt(other, patience).unwrap();
        assert!(!own.is_heard(Duration::ZERO));
        other.send(b"word", &[]).unwrap();
        assert!(own.is_heard(patience));
        assert_eq!(own.receive().unwrap().0, b"word");
        let long = own.send(&vec![b'x'; MESSAGE_BYTES_MAX + 1], &[]).unwrap_err();
        assert_eq!(Errno::from_io_error(&long), Some(Errno::MSGSIZE));
        drop(other);
        assert!(own.is_heard(patience));
        assert_eq!(own.receive().unwrap().0, b"");
        let (stream, _) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        assert!(Exchange::adopt(stream.into(), patience).is_err());
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(Exchange::adopt(file, patience).is_err());
    }
}
