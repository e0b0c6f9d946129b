//! A server that does nothing: it answers every empty line with the same head and body. What it
//! costs is the kernel's part of a request, and nobody can cost less by knowing less.
//!
//! One thread, epoll, a read and a write for what has arrived on a connection. Several requests
//! that arrive together are answered in one write.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::failure::{Failure, during};

/// Events taken at once: more than a scenario has connections that are busy at a time.
const EVENTS: usize = 256;
/// Bytes read at once: sixteen requests of the generators and more.
const BLOCK_BYTES: usize = 16 * 1024;
/// Answers that are kept behind each other, for requests that arrive together.
const TOGETHER: usize = 64;

/// Answers everything with one file: the measure of what a request costs the kernel.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,

    /// What every answer has as its body
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
}

/// Serves until it is interrupted.
pub(crate) fn run(arguments: &Arguments, stop: &AtomicBool) -> Result<ExitCode, Failure> {
    let body = during("read the file", fs::read(&arguments.file))?;
    let listener = during("listen", TcpListener::bind(arguments.listen))?;
    let address = during("ask where it listens", listener.local_addr())?;
    println!("listening on http://{address}");
    during("serve", serve(&listener, &answer(&body), stop))?;
    Ok(ExitCode::SUCCESS)
}

/// Head and body, with the fields and about the length that pitcrew's answers have.
fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: null\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         ETag: \"0123456789abcdef\"\r\nX-Content-Type-Options: nosniff\r\n\
         Accept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A client, and what it has not taken yet.
struct Client {
    stream: TcpStream,
    /// How many of the four bytes that end a head were the last that it sent.
    matched: usize,
    /// Bytes that it is still owed; the last of them are the end of an answer.
    owed: usize,
}

fn serve(listener: &TcpListener, answer: &[u8], stop: &AtomicBool) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // By the numbers of their descriptors, which are small.
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    let many = answer.repeat(TOGETHER);
    while !stop.load(Ordering::Relaxed) {
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for Event { data, .. } in events.drain(..) {
            if data.u64() == LISTENER {
                let Ok((stream, _)) = listener.accept() else { continue };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let number = stream.as_raw_fd() as usize;
                let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                epoll::add(&poll, &stream, EventData::new_u64(number as u64), flags)?;
                clients.resize_with(clients.len().max(number + 1), || None);
                clients[number] = Some(Client { stream, matched: 0, owed: 0 });
            } else if let Some(place) = clients.get_mut(data.u64() as usize)
                && let Some(client) = place
                && client.serve(&mut block, answer.len(), &many).is_err()
            {
                // Its descriptor leaves the poll as it closes.
                *place = None;
            }
        }
    }
    Ok(())
}

impl Client {
    /// Does what can be done now. An error is the end of the connection.
    fn serve(&mut self, block: &mut [u8], answer_bytes: usize, many: &[u8]) -> io::Result<()> {
        loop {
            self.send(answer_bytes, many)?;
            if self.owed > 0 {
                return Ok(());
            }
            let count = match self.stream.read(block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.owed += self.heads(&block[..count]) * answer_bytes;
            // Less than there was room for was all there was (epoll(7)): a read that finds
            // nothing is spared.
            if count < block.len() {
                return self.send(answer_bytes, many);
            }
        }
    }

    /// Sends what it is owed, or as much of it as it takes.
    fn send(&mut self, answer_bytes: usize, many: &[u8]) -> io::Result<()> {
        while self.owed > 0 {
            // What is owed ends with an answer, so this is where the first of them is.
            let begin = (answer_bytes - self.owed % answer_bytes) % answer_bytes;
            let end = many.len().min(begin + self.owed);
            match self.stream.write(&many[begin..end]) {
                Ok(count) => self.owed -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts the heads that end in some bytes.
    fn heads(&mut self, bytes: &[u8]) -> usize {
        const END: [u8; 4] = *b"\r\n\r\n";
        let mut heads = 0;
        for byte in bytes {
            self.matched = match (*byte == END[self.matched], *byte) {
                (true, _) => self.matched + 1,
                (false, b'\r') => 1,
                (false, _) => 0,
            };
            if self.matched == END.len() {
                (self.matched, heads) = (0, heads + 1);
            }
        }
        heads
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::http;

    #[test]
    fn every_empty_line_is_answered_however_it_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let body = b"0123456789".repeat(100);
        let answer = answer(&body);
        let answer_bytes = answer.len();
        let told = Arc::clone(&stop);
        let server = std::thread::spawn(move || serve(&listener, &answer, &told));
        let mut client = http::Client::connect(address).unwrap();
        let asked = 3 * TOGETHER;
        client.ask("/x", None, asked).unwrap();
        for _ in 0..asked {
            let mut got = Vec::new();
            let answer = client.answer(|part| got.extend_from_slice(part)).unwrap();
            assert!(answer.status == 200 && got == body);
            assert_eq!(answer.head_bytes + got.len(), answer_bytes);
        }
        let mut stream = TcpStream::connect(address).unwrap();
        for part in ["GET / HTTP/1.1\r", "\n\r\r\n\r", "\n"] {
            stream.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut got = vec![0; answer_bytes];
        stream.read_exact(&mut got).unwrap();
        assert!(got.ends_with(&body));
        // The end of a connection wakes it, and it looks.
        stop.store(true, Ordering::Relaxed);
        drop(stream);
        server.join().unwrap().unwrap();
    }
}
