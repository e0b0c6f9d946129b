//! Just enough of a client to compare bodies: GET over a connection that is kept.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest head of an answer that is read.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes read at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    block: Box<[u8]>,
}

/// What an answer was, beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Bytes of the head with its empty line.
    pub(crate) head_bytes: usize,
    /// Bytes of the body, as many as announced.
    pub(crate) body_bytes: u64,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, block: vec![0; BLOCK_BYTES].into() })
    }

    /// Gives back the memory that only a request needs.
    pub(crate) fn rest(&mut self) {
        self.block = Box::default();
    }

    /// Asks for a path and hands every part of the body to `part`.
    pub(crate) fn get(&mut self, path: &str, mut part: impl FnMut(&[u8])) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        let (mut filled, head_bytes) = self.read_head()?;
        let head = str::from_utf8(&self.block[..head_bytes])
            .map_err(|_| fault("a head that is no text"))?;
        let (status, length) = parse_head(head)?;
        let mut missing = length;
        let mut from = head_bytes;
        loop {
            let count = (filled - from) as u64;
            if count > missing {
                return Err(fault("more bytes than announced"));
            }
            part(&self.block[from..filled]);
            missing -= count;
            if missing == 0 {
                return Ok(Answer { status, head_bytes, body_bytes: length });
            }
            from = 0;
            filled = self.stream.read(&mut self.block)?;
            if filled == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the body is short"));
            }
        }
    }

    /// Fills the block until it holds a head. Returns how much it holds, and the head's length.
    fn read_head(&mut self) -> Result<(usize, usize)> {
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.block[filled..])?;
            if count == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            filled += count;
            if let Some(at) = self.block[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok((filled, at + 4));
            }
            if filled > HEAD_BYTES_MAX {
                return Err(fault("a head that does not end"));
            }
        }
    }
}

fn parse_head(head: &str) -> Result<(u16, u64)> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok((status, length)),
        (None, _) => Err(fault("no status line of HTTP/1.1")),
        (_, None) => Err(fault("no Content-Length")),
    }
}

fn fault(text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with the given parts, each in a write of its own.
    fn served(parts: &[&'static str]) -> Result<(Answer, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parts = parts.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let _ = stream.read(&mut request).unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut body = String::new();
        let answer = Client::connect(address)
            .unwrap()
            .get("/x", |part| body.push_str(str::from_utf8(part).unwrap()));
        server.join().unwrap();
        answer.map(|answer| (answer, body))
    }

    #[test]
    fn a_body_is_read_to_its_length_however_it_comes() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
        let (answer, body) = served(&[whole]).unwrap();
        assert_eq!((answer.status, answer.head_bytes, answer.body_bytes), (200, 38, 5));
        assert_eq!(body, "abcde");
        let (_, body) = served(&[&whole[..20], &whole[20..40], &whole[40..]]).unwrap();
        assert_eq!(body, "abcde");
        let (answer, _) = served(&["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"]).unwrap();
        assert_eq!(answer.status, 404);
    }

    #[test]
    fn a_short_long_or_unframed_answer_is_an_error() {
        for parts in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdef",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
        ] {
            assert!(served(&[parts]).is_err(), "{parts:?}");
        }
    }
}
