//! One question to a server, and its answer: for the commands that look at a running one.

use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Host and port.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Sends the question on a connection of its own and reads until the server closes it.
///
/// # Errors
/// When nobody is there, when the answer has more than `bytes_max`, or when it is not whole within
/// `patience`, all of it together (but for the resolution of a name).
pub fn exchange(
    peer: &Peer,
    question: &[u8],
    bytes_max: usize,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let end = Instant::now() + patience;
    let mut socket = connect(peer, patience)?;
    socket.set_write_timeout(Some(patience))?;
    socket.write_all(question)?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What a time-out of a socket is (socket(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if answer.len() > bytes_max {
            return Err(io::Error::other(format!("it answers with more than {bytes_max} bytes")));
        }
    }
}

fn connect(peer: &Peer, patience: Duration) -> io::Result<Socket> {
    let open = |domain, address: &SockAddr| {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect_timeout(address, patience).map(|()| socket)
    };
    match peer {
        Peer::Unix(path) => open(Domain::UNIX, &SockAddr::unix(path)?),
        Peer::Tcp(name) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in name.to_socket_addrs()? {
                match open(Domain::for_address(address), &address.into()) {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn answering(answer: &'static [u8]) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::Tcp(listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 8]);
            let _ = client.write_all(answer);
        });
        peer
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further_than_its_bound() {
        let told = exchange(&answering(b"hello"), b"question", 5, PATIENCE).unwrap();
        assert_eq!(told, b"hello");
        let error = exchange(&answering(b"hello!"), b"question", 5, PATIENCE).unwrap_err();
        assert!(error.to_string().contains("more than 5 bytes"), "{error}");
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::Tcp(listener.local_addr().unwrap().to_string());
        let error = exchange(&peer, b"question", 5, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let gone = Peer::Unix("/nowhere/socket".into());
        let error = exchange(&gone, b"question", 5, PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
