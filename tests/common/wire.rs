//! One connection, and a reader of answers that forgives nothing.
//!
//! The parser is not the one under test and not a lenient client library: a status line, field or
//! length that RFC 9112 does not allow is a [`Fault`], and so is a body that ends early.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::PATIENCE;
use super::content::Digest;

/// Bound of an answer's head, in bytes: none of ours comes near it.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An answer, its body in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The only field of this name. Two of them are a mistake of the server.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let first = found.next();
        assert!(found.next().is_none(), "{name} occurs twice: {self:?}");
        first.map(|(_, value)| value.as_str())
    }

    /// Whether the answer says that the connection ends with it.
    pub fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| {
            value.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"))
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn content_length(&self) -> Result<Option<u64>, Fault> {
        let mut lengths = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(LENGTH));
        let Some((_, value)) = lengths.next() else { return Ok(None) };
        if lengths.next().is_some() {
            return Err(Fault::Malformed("Content-Length occurs twice".to_owned()));
        }
        let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(length) if plain => Ok(Some(length)),
            _ => Err(Fault::Malformed(format!("Content-Length: {value}"))),
        }
    }
}

const LENGTH: &str = "content-length";

/// Why no whole answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer closed before the first byte of an answer.
    Closed,
    /// The connection was reset; so many bytes of the answer had come.
    Reset(u64),
    /// The peer closed inside an answer, after so many bytes of it (or of its body).
    Cut(u64),
    /// Bytes that are no HTTP/1.1 answer.
    Malformed(String),
    /// Nothing more within [`PATIENCE`].
    Silent,
}

/// How a connection stands after the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, and nothing came before that.
    Closed,
    /// The peer reset.
    Reset,
    /// Bytes that no request asked for.
    Surplus,
    /// Nothing happened within [`PATIENCE`].
    Silent,
}

/// A connection over TCP or a Unix socket, with a time-out for every wait.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// Bytes received and not consumed: `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// All that will ever come was received.
    Past,
}

impl Wire {
    /// Reads answers from bytes that were received elsewhere; behind them the peer has closed.
    pub fn past(received: Vec<u8>) -> Self {
        Self { stream: Stream::Past, buffer: received, start: 0 }
    }

    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over_tcp(stream)
    }

    /// Takes a stream that was set up in a special way, such as with a tiny receive buffer.
    pub fn over_tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Tcp(stream), buffer: Vec::new(), start: 0 }
    }

    /// A connection whose receive buffer is as small as the kernel allows (socket(7): the given
    /// size is doubled and has a floor), so that the server meets a full socket early and often.
    pub fn narrow(address: SocketAddr) -> Self {
        Self::with_receive_buffer(address, 1)
    }

    /// A connection whose receive buffer has about so many bytes. One that the kernel may let grow
    /// tells of free room only after a sixteenth of some megabytes was read.
    pub fn with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).unwrap();
        // Before connect, because the window is agreed on in the handshake.
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over_tcp(socket.into())
    }

    /// A connection from an address of this machine.
    pub fn from_address(own: std::net::IpAddr, address: SocketAddr) -> Self {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over_tcp(socket.into())
    }

    /// A narrow connection with segments as on a wire. Those of loopback are 64 KiB, and the
    /// kernel lets a sender fill several of them, megabytes in all, before the first is taken: some
    /// thousand such clients use up all memory that there is for TCP (tcp_mem in tcp(7)).
    pub fn far(address: SocketAddr) -> Self {
        use socket2::{Domain, Protocol, Socket, Type};
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.set_tcp_mss(1460).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over_tcp(socket.into())
    }

    /// The same connection once more, for a second thread that only sends.
    pub fn second_hand(&self) -> Self {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().unwrap()),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().unwrap()),
            Stream::Past => Stream::Past,
        };
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// Gives a narrow connection a window with which the rest is read at speed.
    pub fn widen(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            socket2::SockRef::from(stream).set_recv_buffer_size(1 << 20).unwrap();
        }
    }

    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Unix(stream), buffer: Vec::new(), start: 0 }
    }

    /// Sends everything; fails the test when the peer refuses it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the request can be sent");
    }

    /// Sends everything, or says what the peer did.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Past => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends every byte in a packet of its own, as far as the kernel lets us say so.
    pub fn send_bytewise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // A server that has refused the head already may have closed.
            if self.try_send(std::slice::from_ref(byte)).is_err() {
                break;
            }
        }
    }

    /// Ends our sending side.
    pub fn finish(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Past => Ok(()),
        };
    }

    /// Closes with a reset instead of an orderly end.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Reads the answer to a GET.
    pub fn response(&mut self) -> Result<Response, Fault> {
        self.answer("GET")
    }

    /// Reads the answer to a request with this method: HEAD has none of the body it announces.
    pub fn answer(&mut self, method: &str) -> Result<Response, Fault> {
        let mut response = self.head()?;
        let length = body_length(&response, method)?;
        while (self.held().len() as u64) < length {
            let held = self.held().len() as u64;
            self.more().map_err(|fault| fault.after(held))?;
        }
        response.body = self.held()[..length as usize].to_vec();
        self.start += length as usize;
        Ok(response)
    }

    /// Reads the answer to a GET and only hashes its body. When the body is cut, the hash of what
    /// came stands beside the fault.
    pub fn hashed(&mut self) -> Result<(Response, Digest, Option<Fault>), Fault> {
        let response = self.head()?;
        let length = body_length(&response, "GET")?;
        let mut hasher = Xxh3::new();
        let mut done = 0;
        let mut fault = None;
        while done < length {
            if self.held().is_empty()
                && let Err(error) = self.more()
            {
                fault = Some(error.after(done));
                break;
            }
            let count = (self.held().len() as u64).min(length - done) as usize;
            hasher.update(&self.held()[..count]);
            self.start += count;
            done += count as u64;
        }
        Ok((response, Digest { len: done, hash: hasher.digest() }, fault))
    }

    /// Reads one head, without its body.
    pub fn head(&mut self) -> Result<Response, Fault> {
        let end = loop {
            if let Some(at) = find(self.held(), b"\r\n\r\n") {
                break at;
            }
            if self.held().len() > HEAD_BYTES_MAX {
                return Err(Fault::Malformed("the head never ends".to_owned()));
            }
            let held = self.held().len() as u64;
            self.more().map_err(|fault| fault.after(held))?;
        };
        let response = parse_head(&self.held()[..end + 2])?;
        self.start += end + 4;
        Ok(response)
    }

    /// Exactly `len` bytes of a body.
    pub fn exact(&mut self, len: usize) -> Result<Vec<u8>, Fault> {
        while self.held().len() < len {
            let held = self.held().len() as u64;
            self.more().map_err(|fault| fault.after(held))?;
        }
        let taken = self.held()[..len].to_vec();
        self.start += len;
        Ok(taken)
    }

    /// Everything up to the end of the connection, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, Fault) {
        loop {
            if let Err(fault) = self.more() {
                let rest = self.held().to_vec();
                self.start = self.buffer.len();
                return (rest, fault);
            }
        }
    }

    /// Waits for the end of the connection and says how it came.
    pub fn end(&mut self) -> End {
        if !self.held().is_empty() {
            return End::Surplus;
        }
        match self.more() {
            Ok(()) => End::Surplus,
            Err(Fault::Reset(_)) => End::Reset,
            Err(Fault::Silent) => End::Silent,
            Err(_) => End::Closed,
        }
    }

    /// Whether the connection still serves: asks once more, and takes the answer as proof. No
    /// time passes for this, as it would when silence had to be waited for.
    pub fn serves(&mut self) -> Result<(), Fault> {
        if let Err(error) = self.try_send(b"OPTIONS * HTTP/1.1\r\nHost: probe\r\n\r\n") {
            return Err(Fault::Malformed(format!("the probe cannot be sent: {error}")));
        }
        let answer = self.response()?;
        match answer.status {
            204 => Ok(()),
            _ => Err(Fault::Malformed(format!("the probe is answered by {answer:?}"))),
        }
    }

    /// The bytes received and not consumed.
    pub fn held(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Receives something.
    fn more(&mut self) -> Result<(), Fault> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let mut chunk = [0; 64 * 1024];
        loop {
            let received = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut chunk),
                Stream::Unix(stream) => stream.read(&mut chunk),
                Stream::Past => Ok(0),
            };
            return match received {
                Ok(0) => Err(Fault::Closed),
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    Ok(())
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Fault::Silent),
                    _ => Err(Fault::Reset(0)),
                },
            };
        }
    }
}

impl Fault {
    fn after(self, count: u64) -> Self {
        match self {
            Self::Closed if count > 0 => Self::Cut(count),
            Self::Reset(_) => Self::Reset(count),
            other => other,
        }
    }
}

/// A GET of `path` with these further field lines, each ended by CRLF.
pub fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n").into_bytes()
}

/// Sends `bytes`, ends the sending side, and reads every answer up to the close. The methods that
/// decide whether a body follows are read from the requests, which must have no bodies.
pub fn exchange(mut wire: Wire, bytes: &[u8]) -> (Vec<Response>, End) {
    let sent = wire.try_send(bytes);
    wire.finish();
    let mut answers = Vec::new();
    for method in head_methods(bytes) {
        match wire.answer(&method) {
            Ok(answer) => answers.push(answer),
            Err(Fault::Closed) => return (answers, End::Closed),
            Err(Fault::Reset(_)) => return (answers, End::Reset),
            Err(fault) => panic!("{fault:?} after {answers:?} (sent: {sent:?})"),
        }
    }
    let end = wire.end();
    (answers, end)
}

/// The method of each request in `bytes`, by the empty lines between them.
pub fn head_methods(bytes: &[u8]) -> Vec<String> {
    let mut methods = Vec::new();
    let mut rest = bytes;
    while let Some(end) = find(rest, b"\r\n\r\n") {
        let mut head = &rest[..end];
        while let Some(after) = head.strip_prefix(b"\r\n") {
            head = after;
        }
        let word = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        methods.push(String::from_utf8_lossy(word).into_owned());
        rest = &rest[end + 4..];
    }
    methods
}

/// Octets of the body that follows (RFC 9112 section 6.3).
fn body_length(response: &Response, method: &str) -> Result<u64, Fault> {
    let length = response.content_length()?;
    if matches!(response.status, 100..200 | 204 | 304) {
        // RFC 9110 section 8.6 forbids it with 1xx and 204; with 304 this server sends none.
        return match length {
            None => Ok(0),
            Some(_) => Err(Fault::Malformed(format!("a {} with a length", response.status))),
        };
    }
    let length = length
        .ok_or_else(|| Fault::Malformed(format!("no Content-Length in {:?}", response.fields)))?;
    Ok(if method == "HEAD" { 0 } else { length })
}

fn parse_head(head: &[u8]) -> Result<Response, Fault> {
    let wrong = |what: &str| {
        let text = String::from_utf8_lossy(head).into_owned();
        Err(Fault::Malformed(format!("{what} in {text:?}")))
    };
    let Ok(text) = std::str::from_utf8(head) else { return wrong("bytes beyond ASCII") };
    let mut lines = text.split_terminator("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let Some(rest) = status_line.strip_prefix("HTTP/1.1 ") else { return wrong("version") };
    let Some((code, reason)) = rest.split_once(' ') else { return wrong("status line") };
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("status code");
    }
    if reason.bytes().any(|byte| byte < b' ') {
        return wrong("control byte in the reason");
    }
    let mut fields = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return wrong("field without colon") };
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return wrong("field name");
        }
        if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return wrong("control byte in a field");
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let has = |wanted: &str| fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if has("transfer-encoding") {
        return wrong("Transfer-Encoding, which this server never uses,");
    }
    let status = code.parse().expect("three digits are a number");
    if status >= 200 && !has("date") {
        return wrong("no Date");
    }
    Ok(Response { status, reason: reason.to_owned(), fields, body: Vec::new() })
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
