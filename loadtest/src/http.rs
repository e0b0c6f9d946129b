//! Just enough of a client to compare bodies: GET over a connection that is kept, whole files and
//! parts, one request at a time or several at once.

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
    /// The fields of every request.
    fields: String,
    block: Box<[u8]>,
    /// What of the block was read from the connection and belongs to no answer yet.
    from: usize,
    filled: usize,
    /// Answers that were asked for and have not come.
    due: usize,
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
        let block = vec![0; BLOCK_BYTES].into();
        // A server that tells sites apart by name knows the address that it listens on.
        let fields = format!("Host: {address}\r\n");
        Ok(Self { stream, fields, block, from: 0, filled: 0, due: 0 })
    }

    /// Says with each request that it is the last one.
    pub(crate) fn closing(mut self) -> Self {
        self.fields.push_str("Connection: close\r\n");
        self
    }

    /// Gives back the memory that only a request needs.
    pub(crate) fn rest(&mut self) {
        self.block = Box::default();
    }

    /// Asks for a path and hands every part of the body to `part`.
    pub(crate) fn get(&mut self, path: &str, part: impl FnMut(&[u8])) -> Result<Answer> {
        self.ask(path, None, 1)?;
        self.answer(part)
    }

    /// Sends the same request some times at once: for all of a file, or from a byte to another,
    /// both of which it has.
    pub(crate) fn ask(&mut self, path: &str, part: Option<(u64, u64)>, times: usize) -> Result<()> {
        let range =
            part.map_or(String::new(), |(from, to)| format!("Range: bytes={from}-{to}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\n{}{range}\r\n", self.fields);
        self.due += times;
        self.stream.write_all(request.repeat(times).as_bytes())
    }

    /// Reads the next answer and hands every part of its body to `part`.
    pub(crate) fn answer(&mut self, mut part: impl FnMut(&[u8])) -> Result<Answer> {
        let head_bytes = self.read_head()?;
        let head = str::from_utf8(&self.block[self.from..self.from + head_bytes])
            .map_err(|_| fault("a head that is no text"))?;
        let (status, length) = parse_head(head)?;
        self.from += head_bytes;
        let mut missing = length;
        loop {
            let count = missing.min((self.filled - self.from) as u64) as usize;
            part(&self.block[self.from..self.from + count]);
            self.from += count;
            missing -= count as u64;
            if missing == 0 {
                break;
            }
            self.from = 0;
            self.filled = self.stream.read(&mut self.block)?;
            if self.filled == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the body is short"));
            }
        }
        self.due = self.due.saturating_sub(1);
        if self.due == 0 && self.from < self.filled {
            return Err(fault("more bytes than announced"));
        }
        Ok(Answer { status, head_bytes, body_bytes: length })
    }

    /// Fills the block until what is left of it begins with a whole head. Returns its length.
    fn read_head(&mut self) -> Result<usize> {
        loop {
            let left = &self.block[self.from..self.filled];
            if let Some(at) = left.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(at + 4);
            }
            if left.len() > HEAD_BYTES_MAX {
                return Err(fault("a head that does not end"));
            }
            self.block.copy_within(self.from..self.filled, 0);
            (self.from, self.filled) = (0, self.filled - self.from);
            let count = self.stream.read(&mut self.block[self.filled..])?;
            if count == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            self.filled += count;
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
    fn several_answers_at_once_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.ask("/x", Some((1, 2)), 2).unwrap();
        let mut request = [0; 256];
        let count = server.read(&mut request).unwrap();
        let request = str::from_utf8(&request[..count]).unwrap();
        assert_eq!(request.matches("\r\nRange: bytes=1-2\r\n\r\n").count(), 2);
        let one = "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nbc";
        server.write_all(one.repeat(2).as_bytes()).unwrap();
        for _ in 0..2 {
            let mut body = Vec::new();
            let answer = client.answer(|part| body.extend_from_slice(part)).unwrap();
            assert_eq!((answer.status, &body[..]), (206, &b"bc"[..]));
        }
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
