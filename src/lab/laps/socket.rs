//! Laps from a file to a socket: a TCP connection over loopback, whose other end is a thread that
//! receives as a client does.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::super::course::Course;
use super::super::fault::LapError;
use super::super::inspect::Inspector;
use super::{Lap, Start, Tally, whole};
use crate::limits;
use crate::techniques::pipe::{Pipe, SpliceFlags, splice_in, splice_out, tee};
use crate::techniques::sendfile::sendfile;
use crate::techniques::{AlignedBuffer, positional};

type Made = Result<Box<dyn Lap>, LapError>;

enum Way {
    Memory(AlignedBuffer),
    Sendfile,
    Splice(Pipe),
    /// A second pipe gets the same bytes, which leave it into nothing, or into memory to be
    /// looked at.
    Tee(Pipe, Pipe, OwnedFd, AlignedBuffer),
}

struct ToSocket {
    from: OwnedFd,
    ends: Option<(TcpStream, TcpStream)>,
    way: Way,
}

fn lap(start: &Start<'_>, way: Way) -> Made {
    let opened = start.track.open_source(false);
    let from = opened.map_err(|error| LapError::new("open", error))?;
    let ends = connection().map_err(|error| LapError::new("connect", error))?;
    Ok(Box::new(ToSocket { from, ends: Some(ends), way }))
}

pub(crate) fn connection() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, peer) = listener.accept()?;
    // Somebody else on this machine may have been faster.
    if peer != sender.local_addr()? {
        return Err(std::io::Error::other("another program connected to the lab"));
    }
    for end in [&sender, &receiver] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(limits::LAB_SOCKET_PATIENCE))?;
        end.set_write_timeout(Some(limits::LAB_SOCKET_PATIENCE))?;
    }
    Ok((sender, receiver))
}

fn pipe(start: &Start<'_>) -> Result<Pipe, LapError> {
    Pipe::with_size(start.track.block).map_err(LapError::plain("pipe"))
}

pub(super) fn through_memory(start: &Start<'_>) -> Made {
    lap(start, Way::Memory(start.track.buffer()))
}

pub(super) fn by_sendfile(start: &Start<'_>) -> Made {
    lap(start, Way::Sendfile)
}

pub(super) fn by_splice(start: &Start<'_>) -> Made {
    lap(start, Way::Splice(pipe(start)?))
}

pub(super) fn by_tee(start: &Start<'_>) -> Made {
    let nothing = std::fs::OpenOptions::new().write(true).open("/dev/null");
    let nothing = nothing.map_err(|error| LapError::new("open /dev/null", error))?;
    lap(start, Way::Tee(pipe(start)?, pipe(start)?, nothing.into(), start.track.buffer()))
}

impl Lap for ToSocket {
    fn run(&mut self, course: &mut Course, inspector: &mut Inspector) -> Result<Tally, LapError> {
        let (sender, receiver) = self.ends.take().expect("a lap runs once");
        let end = Receiver { inspector: inspector.fork(), block: course.block(), at: 0 };
        let blocks = course.blocks();
        let receiving = thread::spawn(move || end.receive(receiver, blocks));
        let sent = self.send(&sender, course, inspector);
        // Also when it failed: the receiver ends at the end of the connection.
        drop(sender);
        let received = join(receiving);
        let (mut tally, received) = (sent?, received?);
        inspector.join(&received.inspector);
        if received.bytes != tally.bytes {
            return Err(LapError::ended("receive"));
        }
        tally.aside = received.processor;
        Ok(tally)
    }
}

impl ToSocket {
    fn send(
        &mut self,
        to: &TcpStream,
        course: &mut Course,
        inspector: &mut Inspector,
    ) -> Result<Tally, LapError> {
        let (mut tally, block) = (Tally::default(), course.block());
        let Self { from, way, .. } = self;
        while let Some(span) = course.next() {
            let (mut offset, mut calls) = (span.offset, 0);
            let flags = SpliceFlags::empty();
            match way {
                Way::Memory(buffer) => {
                    let bytes = &mut buffer[..block];
                    whole(&mut tally, "pread", block, |done| {
                        positional::pread(&*from, &mut bytes[done..], span.offset + done as u64)
                    })?;
                    let mut half = Tally::default();
                    whole(&mut half, "send", block, |done| {
                        let rest = &bytes[done..];
                        Ok(rustix::io::retry_on_intr(|| rustix::io::write(to, rest))?)
                    })?;
                    tally.calls += half.calls;
                }
                Way::Sendfile => whole(&mut tally, "sendfile", block, |done| {
                    sendfile(&*from, &mut offset, to, block - done)
                })?,
                Way::Splice(pipe) => whole(&mut tally, "splice", block, |done| {
                    let left = block - done;
                    let count = splice_in(&*from, Some(&mut offset), pipe.writer(), left, flags)?;
                    let mut out = 0;
                    while out < count {
                        calls += 1;
                        out += splice_out(pipe.reader(), to, None, count - out, flags)?;
                    }
                    Ok(count)
                })?,
                Way::Tee(pipe, mirror, nothing, buffer) => {
                    let copy = &mut buffer[..block];
                    let looks = inspector.by_sums();
                    whole(&mut tally, "tee", block, |done| {
                        let left = block - done;
                        let count =
                            splice_in(&*from, Some(&mut offset), pipe.writer(), left, flags)?;
                        let mut out = 0;
                        while out < count {
                            let doubled = tee(pipe.reader(), mirror.writer(), count - out, flags)?;
                            let mut drained = 0;
                            while drained < doubled {
                                calls += 1;
                                drained += if looks {
                                    let room = done + out + drained..done + out + doubled;
                                    rustix::io::read(mirror.reader(), &mut copy[room])?
                                } else {
                                    let left = doubled - drained;
                                    splice_out(mirror.reader(), &*nothing, None, left, flags)?
                                };
                            }
                            let mut sent = 0;
                            while sent < doubled {
                                let left = doubled - sent;
                                sent += splice_out(pipe.reader(), to, None, left, flags)?;
                                calls += 1;
                            }
                            calls += 1;
                            out += doubled;
                        }
                        Ok(count)
                    })?;
                    if looks {
                        inspector.block(span.index, copy);
                    }
                }
            }
            tally.calls += calls;
        }
        Ok(tally)
    }
}

/// The other end.
struct Receiver {
    inspector: Inspector,
    block: usize,
    at: u64,
}

struct Received {
    inspector: Inspector,
    bytes: u64,
    /// Processor time of the receiving thread.
    processor: Duration,
}

impl Receiver {
    /// Receives until the end. The stream is the file from its beginning, again and again.
    fn receive(mut self, mut from: TcpStream, blocks: u64) -> std::io::Result<Received> {
        let blocks_at_once = (limits::LAB_RECEIVE_BYTES / self.block).max(1);
        let mut buffer = vec![0; blocks_at_once * self.block];
        let (mut bytes, mut filled) = (0, 0);
        loop {
            let received = from.read(&mut buffer[filled..])?;
            bytes += received as u64;
            filled += received;
            let whole = filled / self.block * self.block;
            for block in buffer[..whole].chunks_exact(self.block) {
                self.inspector.block(self.at % blocks, block);
                self.at += 1;
            }
            // Part of a block stays for the next time.
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            if received == 0 {
                let processor = thread_time();
                return Ok(Received { inspector: self.inspector, bytes, processor });
            }
        }
    }
}

pub(crate) fn thread_time() -> Duration {
    let told = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(told.tv_sec.unsigned_abs(), told.tv_nsec.unsigned_abs() as u32)
}

fn join(thread: JoinHandle<std::io::Result<Received>>) -> Result<Received, LapError> {
    let received = thread.join().expect("the receiver does not panic");
    received.map_err(|error| LapError::new("receive", error))
}
