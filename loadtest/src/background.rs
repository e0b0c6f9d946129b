//! A load beside the one that is measured: others who ask for something large meanwhile.

use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, syncfs};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::setpriority_process;
use serde::{Deserialize, Serialize};

use crate::site::Dice;

/// How much later than the measured load it gets its turn on the core (nice(1)): what is measured
/// is the server, not how clients share a core.
const NICE: i32 = 10;
/// Bytes read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// How long a read waits before it looks whether the round has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of the receive buffer of a slow reader.
const NARROW_BYTES: usize = 4096;
/// How long an answer may bring nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// The directory of what is asked for, beside the files of the scenario.
const DIRECTORY: &str = "background";

/// What others ask for meanwhile: a directory's listing, or files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Background {
    /// Clients, each of which asks again when it has its answer.
    pub(crate) connections: u32,
    /// Entries of a directory whose listing they ask for.
    #[serde(default)]
    pub(crate) directory_entries: u32,
    /// Bytes of each file that they ask for, by turns.
    #[serde(default)]
    pub(crate) file_bytes: u64,
    /// How many files there are.
    #[serde(default)]
    pub(crate) files: u32,
    /// Whether the pages of a file are dropped before it is asked for.
    #[serde(default)]
    pub(crate) cold: bool,
    /// Bytes a second that each of them reads; 0 is as fast as they come.
    #[serde(default)]
    pub(crate) bytes_per_second: u64,
}

/// What they got.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Carried {
    /// Answers that were whole.
    pub(crate) answers: u64,
    /// Bytes received, heads included.
    pub(crate) bytes: u64,
    /// Answers that were errors or short.
    pub(crate) errors: u64,
    pub(crate) seconds: f64,
}

impl Background {
    /// Why it cannot be.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        let lists = self.directory_entries > 0;
        let fetches = self.file_bytes > 0 && self.files > 0;
        match self {
            Self { connections: 0, .. } => Some("a background has at least 1 connection"),
            _ if lists == fetches => {
                Some("a background has directory-entries, or file-bytes and files")
            }
            Self { cold: true, .. } if lists => Some("only files of a background are cold"),
            _ => None,
        }
    }

    /// What a slow reader reads between two pauses.
    fn bytes_at_once(&self) -> usize {
        let pauses = (1000 / LOOK.as_millis()) as u64;
        (self.bytes_per_second / pauses).clamp(1, BLOCK_BYTES as u64) as usize
    }

    fn lists(&self) -> bool {
        self.directory_entries > 0
    }

    /// Makes what is asked for, below a root.
    pub(crate) fn make(&self, root: &Path) -> io::Result<()> {
        let directory = root.join(DIRECTORY);
        fs::create_dir(&directory)?;
        for number in 0..self.directory_entries {
            File::create(directory.join(format!("entry-{number:06}.txt")))?;
        }
        let mut dice = Dice::new(u64::from(u32::MAX));
        for number in 0..self.files {
            let mut file = File::create(directory.join(name(number)))?;
            let mut left = self.file_bytes;
            while left > 0 {
                let block: Vec<u8> =
                    (0..BLOCK_BYTES / 8).flat_map(|_| dice.roll().to_le_bytes()).collect();
                let count = left.min(block.len() as u64);
                file.write_all(&block[..count as usize])?;
                left -= count;
            }
        }
        // Pages that are not yet on the device cannot be dropped.
        if self.cold { Ok(syncfs(File::open(directory)?)?) } else { Ok(()) }
    }

    fn target(&self, number: u32) -> String {
        if self.lists() {
            format!("/{DIRECTORY}/")
        } else {
            format!("/{DIRECTORY}/{}", name(number % self.files))
        }
    }

    fn drop_pages(&self, root: &Path, number: u32) -> io::Result<()> {
        if !self.cold {
            return Ok(());
        }
        let file = File::open(root.join(DIRECTORY).join(name(number % self.files)))?;
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    }
}

fn name(number: u32) -> String {
    format!("{number}.bin")
}

/// Clients that ask until they are stopped.
#[derive(Debug)]
pub(crate) struct Crowd {
    ended: AtomicBool,
    next: AtomicUsize,
    /// Clients that have got their first bytes.
    served: AtomicUsize,
    answers: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    begun: Instant,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        Self {
            ended: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            answers: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    /// Starts the clients and waits until the first of them is served.
    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        background: &'scope Background,
        root: &'scope Path,
        address: SocketAddr,
    ) {
        let clients: Vec<ScopedJoinHandle<'_, ()>> = (0..background.connections)
            .map(|_| scope.spawn(move || self.ask(background, root, address)))
            .collect();
        while self.served.load(Ordering::Relaxed) == 0
            && !clients.iter().all(ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops them. They notice in a moment, and hang up wherever they are.
    pub(crate) fn stop(&self) -> Carried {
        self.ended.store(true, Ordering::Relaxed);
        Carried {
            answers: self.answers.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }

    fn ask(&self, background: &Background, root: &Path, address: SocketAddr) {
        // A machine that does not allow it only measures worse.
        let _ = setpriority_process(None, NICE);
        while !self.ended.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed) as u32;
            let answer = background
                .drop_pages(root, number)
                .and_then(|()| self.fetch(address, background, &background.target(number)));
            match answer {
                Ok(body) if background.lists() || body == background.file_bytes => {
                    self.answers.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever is refused does not ask again: an error is one, not thousands.
                Ok(_) | Err(_) => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// One answer on a connection of its own, read to the close: a listing has no length that
    /// every server knows before. Returns the bytes of the body.
    fn fetch(&self, address: SocketAddr, background: &Background, target: &str) -> io::Result<u64> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let slow = background.bytes_per_second > 0;
        if slow {
            // What is not read waits at the server, and not in a buffer here.
            set_socket_recv_buffer_size(&stream, NARROW_BYTES)?;
        }
        let mut block = vec![0; if slow { background.bytes_at_once() } else { BLOCK_BYTES }];
        let mut head = Vec::new();
        let mut body = None;
        let mut heard = Instant::now();
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = match stream.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                        && heard.elapsed() < PATIENCE =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            heard = Instant::now();
            self.served.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(count as u64, Ordering::Relaxed);
            if slow {
                std::thread::sleep(LOOK);
            }
            match &mut body {
                Some(body) => *body += count as u64,
                None => {
                    head.extend_from_slice(&block[..count]);
                    body = body_bytes(&head)?;
                }
            }
        }
        body.ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "the head is short"))
    }
}

/// How many bytes lie behind a head, once it is whole and says that all is well.
fn body_bytes(head: &[u8]) -> io::Result<Option<u64>> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    if !(head.starts_with(b"HTTP/1.1 200 ") || head.starts_with(b"HTTP/1.0 200 ")) {
        return Err(Error::new(ErrorKind::InvalidData, "not answered with 200"));
    }
    Ok(Some((head.len() - end - 4) as u64))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::site::Scratch;

    fn background() -> Background {
        Background {
            connections: 2,
            directory_entries: 0,
            file_bytes: 9,
            files: 3,
            cold: true,
            bytes_per_second: 0,
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        assert_eq!(background().objection(), None);
        assert_eq!(
            Background { directory_entries: 9, files: 0, cold: false, ..background() }.objection(),
            None
        );
        for wrong in [
            Background { connections: 0, ..background() },
            Background { files: 0, ..background() },
            Background { directory_entries: 1, ..background() },
            Background { directory_entries: 1, files: 0, ..background() },
        ] {
            assert!(wrong.objection().is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_made() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        background().make(scratch.path()).unwrap();
        background().drop_pages(scratch.path(), 5).unwrap();
        let made = scratch.path().join(&background().target(5)[1..]);
        assert_eq!(fs::read(made).unwrap().len(), 9);
    }

    #[test]
    fn a_crowd_asks_until_it_is_stopped_and_counts_what_is_short() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = ["123456789", "123456789", "1234"];
        let server = std::thread::spawn(move || {
            for body in bodies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let count = stream.read(&mut request).unwrap();
                assert!(request[..count].starts_with(b"GET /background/"));
                stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).unwrap();
            }
        });
        let background = Background { connections: 1, cold: false, ..background() };
        let crowd = Crowd::new();
        std::thread::scope(|scope| {
            crowd.start(scope, &background, Path::new("/"), address);
            while crowd.errors.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
        });
        let carried = crowd.stop();
        assert_eq!((carried.answers, carried.errors), (2, 1));
        assert_eq!(carried.bytes, 3 * 19 + 22);
        server.join().unwrap();
    }
}
