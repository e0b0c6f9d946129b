//! Operations that act at once, as `ring::inline` carries them out on the real kernel.

use std::os::fd::{AsRawFd, RawFd};

use rustix::io::Errno;

use super::faults::Fault;
use super::memory::pages;
use super::state::{Object, State};
use crate::ring::op::Op;
use crate::ring::outgoing::Outgoing;
use crate::ring::pipe::PipeLease;
use crate::ring::stats::Technique;

impl State {
    /// Carries out an inline operation.
    pub(super) fn execute(&mut self, op: &mut Op) -> Result<u32, Errno> {
        self.executed += 1;
        let fault = self.fault(Technique::of(op).0);
        match op {
            Op::Pread { file, offset, buffer, range, look } => {
                let fd = file.as_raw_fd();
                let into = &mut buffer[range.start as usize..range.end as usize];
                let whole = into.len();
                let count = self.before_transfer(fd, fault, whole)?;
                let (inode, direct) = self.file(fd);
                assert!(!direct, "pread is for descriptors of the page cache");
                if let Some(look) = *look
                    && !self.is_resident(fd, *offset, whole as u32, look)?
                {
                    return Err(Errno::AGAIN);
                }
                let bytes = self.files.bytes(inode, *offset, count)?;
                let count = bytes.len();
                into[..count].copy_from_slice(bytes);
                if look.is_some() {
                    self.pass_marks(fd, pages(*offset, count), false);
                }
                Ok(count as u32)
            }
            Op::Resident { file, offset, count, look } => {
                if let Some(Fault::Fail(errno)) = fault {
                    return Err(errno);
                }
                self.is_resident(file.as_raw_fd(), *offset, *count, *look).map(u32::from)
            }
            Op::Sendfile { socket, head, file, offset, count, more } => {
                let socket = socket.as_raw_fd();
                let sent_head = self.send_head(socket, head, fault)?;
                let result = self.sendfile(socket, file.as_raw_fd(), *offset, *count, fault);
                self.uncork(socket, sent_head, *more, result)
            }
            Op::SpliceIn { file, offset, pipe, count } => {
                let fd = file.as_raw_fd();
                let count = self.before_transfer(fd, fault, *count as usize)?;
                let pipe = self.pipe(pipe);
                let room = self.pipes[pipe].room(*offset);
                if room == 0 {
                    return Err(Errno::AGAIN);
                }
                let (inode, _) = self.file(fd);
                self.touch(fd, *offset, count.min(room));
                let bytes = self.files.bytes(inode, *offset, count.min(room))?;
                self.pipes[pipe].put(*offset, bytes);
                Ok(bytes.len() as u32)
            }
            Op::SpliceOut { pipe, socket, head, count, more } => {
                let socket = socket.as_raw_fd();
                let pipe = self.pipe(pipe);
                let sent_head = self.send_head(socket, head, fault)?;
                let result = self.splice_out(socket, pipe, *count, *more, fault);
                self.uncork(socket, sent_head, *more, result)
            }
            Op::Tee { from, to, count } => {
                if let Some(Fault::Fail(errno)) = fault {
                    return Err(errno);
                }
                let from = self.pipe(from);
                let Some(Object::PipeIn(to)) = self.object(to.as_raw_fd()) else {
                    panic!("a tee into what is no pipe");
                };
                let pieces = self.pipes[from].first(short(fault, *count as usize));
                let count = self.pipes[to].put_pieces(pieces);
                if count == 0 { Err(Errno::AGAIN) } else { Ok(count as u32) }
            }
            Op::PutIn { pipe, bytes } => {
                if let Some(Fault::Fail(errno)) = fault {
                    return Err(errno);
                }
                let Some(Object::PipeIn(pipe)) = self.object(pipe.as_raw_fd()) else {
                    panic!("bytes are put into what is no pipe");
                };
                let count = short(fault, bytes.len()).min(self.pipes[pipe].room(0));
                self.pipes[pipe].put(0, &bytes[..count]);
                self.pipes[pipe].written.extend_from_slice(&bytes[..count]);
                if count == 0 { Err(Errno::AGAIN) } else { Ok(count as u32) }
            }
            Op::Stat { file, ask, facts, .. } => {
                self.assert_answers_at_once(file, *ask);
                if let Some(Fault::Fail(errno)) = fault {
                    return Err(errno);
                }
                let (inode, _) = self.file(file.as_raw_fd());
                **facts = self.files.facts(inode);
                Ok(0)
            }
            Op::Notices { watcher, notices } => match fault {
                Some(Fault::Fail(errno)) => Err(errno),
                _ => Ok(self.take_notices(watcher.as_raw_fd(), notices)),
            },
            Op::Unwatch { watcher, watch } => {
                // It fails for a watch that has gone.
                let gone = self.unwatch(watcher.as_raw_fd(), *watch);
                if let Some(Fault::Fail(errno)) = fault { Err(errno) } else { gone }
            }
            Op::Peer { socket, address } => {
                if let Some(Fault::Fail(errno)) = fault {
                    return Err(errno);
                }
                *address = Some(self.stream(socket.as_raw_fd()).address()?);
                Ok(0)
            }
            Op::Unacknowledged { socket } => match fault {
                Some(Fault::Fail(errno)) => Err(errno),
                _ => Ok(self.stream(socket.as_raw_fd()).unacknowledged()),
            },
            Op::Reset { socket } => {
                self.stream(socket.as_raw_fd()).close_resets = true;
                Ok(0)
            }
            other => panic!("{other:?} is an operation of the ring and was executed"),
        }
    }

    /// What a fault does to a transfer from a file; how many bytes it may move.
    fn before_transfer(
        &mut self,
        file: RawFd,
        fault: Option<Fault>,
        asked: usize,
    ) -> Result<usize, Errno> {
        self.disturb(file);
        match fault {
            Some(Fault::Fail(errno)) => Err(errno),
            Some(Fault::Short(bytes)) => Ok(asked.min(bytes as usize)),
            Some(Fault::Shrink(size)) => {
                self.shrink(file, size);
                Ok(asked)
            }
            Some(Fault::Overwrite) => {
                self.overwrite(file);
                Ok(asked)
            }
            _ => Ok(asked),
        }
    }

    /// Room of a socket, unless it is full or a fault befalls it.
    fn room_to_send(
        &mut self,
        socket: RawFd,
        fault: Option<Fault>,
        asked: usize,
    ) -> Result<usize, Errno> {
        assert_eq!(self.stream(socket).sends, 0, "an inline send overtakes one of the ring");
        if let Some(Fault::Fail(errno)) = fault {
            self.spoil(socket, errno);
            return Err(errno);
        }
        let at_most = match fault {
            Some(Fault::Short(bytes)) => bytes as usize,
            _ => usize::MAX,
        };
        match self.stream(socket).room()? {
            0 => Err(Errno::AGAIN),
            room => Ok(room.min(asked).min(at_most)),
        }
    }

    fn send_head(
        &mut self,
        socket: RawFd,
        head: &mut Option<Outgoing>,
        fault: Option<Fault>,
    ) -> Result<bool, Errno> {
        let Some(bytes) = head else { return Ok(false) };
        let fault = match fault {
            Some(Fault::FailHead(errno)) => Some(Fault::Fail(errno)),
            Some(Fault::ShortHead(bytes)) => Some(Fault::Short(bytes)),
            _ => None,
        };
        let count = self.room_to_send(socket, fault, bytes.len())?;
        let now = self.now;
        self.stream(socket).send(&bytes.bytes()[..count], true, now);
        bytes.advance(count);
        if !bytes.is_empty() {
            // Short of its end the socket was full, which pushes.
            self.stream(socket).push();
            return Err(Errno::AGAIN);
        }
        *head = None;
        Ok(true)
    }

    fn sendfile(
        &mut self,
        socket: RawFd,
        file: RawFd,
        offset: u64,
        count: u32,
        fault: Option<Fault>,
    ) -> Result<u32, Errno> {
        let of_file = fault.filter(|fault| matches!(fault, Fault::Shrink(_) | Fault::Overwrite));
        let asked = self.before_transfer(file, of_file, count as usize)?;
        let (inode, _) = self.file(file);
        if self.files.bytes(inode, offset, 1)?.is_empty() {
            return Ok(0);
        }
        let room = self.room_to_send(socket, fault, asked)?;
        self.touch(file, offset, room);
        let (inode, _) = self.file(file);
        let bytes = self.files.bytes(inode, offset, room)?.to_vec();
        let now = self.now;
        self.stream(socket).send(&bytes, false, now);
        Ok(bytes.len() as u32)
    }

    fn splice_out(
        &mut self,
        socket: RawFd,
        pipe: usize,
        count: u32,
        more: bool,
        fault: Option<Fault>,
    ) -> Result<u32, Errno> {
        let held = self.pipes[pipe].held();
        if held == 0 {
            return Err(Errno::AGAIN);
        }
        let room = self.room_to_send(socket, fault, held.min(count as usize))?;
        let bytes = self.pipes[pipe].take(room);
        let now = self.now;
        self.stream(socket).send(&bytes, more, now);
        Ok(bytes.len() as u32)
    }

    fn uncork(
        &mut self,
        socket: RawFd,
        sent_head: bool,
        more: bool,
        result: Result<u32, Errno>,
    ) -> Result<u32, Errno> {
        if sent_head && !more && !matches!(result, Ok(1..)) {
            self.stream(socket).push();
        }
        result
    }

    /// The pipe behind a lease, with what the lease says it holds.
    fn pipe(&mut self, lease: &PipeLease) -> usize {
        let (read, write) = lease.raw();
        match (self.object(read), self.object(write)) {
            (Some(Object::PipeOut(out)), Some(Object::PipeIn(into))) => {
                assert_eq!(out, into, "both ends are of one pipe");
                let held = self.pipes[out].held();
                assert_eq!(held, lease.held() as usize, "the pipe's level is known");
                out
            }
            other => panic!("a splice with {other:?}"),
        }
    }
}

/// How much of what was asked a fault lets through.
fn short(fault: Option<Fault>, asked: usize) -> usize {
    match fault {
        Some(Fault::Short(bytes)) => asked.min(bytes as usize),
        _ => asked,
    }
}
