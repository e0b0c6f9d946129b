//! Operations that act at once: sendfile(2), splice(2), tee(2), pread(2), statx(2) and the write to
//! a pipe, on descriptors that do not block.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::SpliceFlags;

use super::handle::{File, Socket};
use super::notices;
use super::op::{Facts, FileKind, Op};
use super::outgoing::Outgoing;
use crate::base::WallClock;

/// Carries out an inline operation. `AGAIN` says that a socket or pipe is full, or a pipe empty.
pub(super) fn execute(op: &mut Op) -> Result<u32, Errno> {
    match op {
        Op::Pread { file, offset, buffer, range } => {
            let into = &mut buffer[range.start as usize..range.end as usize];
            again_if_interrupted(|| rustix::io::pread(&*file, &mut *into, *offset)).map(as_u32)
        }
        Op::Sendfile { socket, head, file, offset, count, more } => {
            let sent_head = send_head(socket, head)?;
            let result = sendfile(socket, file, *offset, *count);
            uncork(socket, sent_head, *more, result)
        }
        Op::SpliceIn { file, offset, pipe, count } => {
            let mut at = *offset;
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            again_if_interrupted(|| {
                rustix::pipe::splice(
                    &*file,
                    Some(&mut at),
                    pipe.write_end(),
                    None,
                    *count as usize,
                    flags,
                )
            })
            .map(as_u32)
        }
        Op::SpliceOut { pipe, socket, head, count, more } => {
            let sent_head = send_head(socket, head)?;
            let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            if *more {
                flags |= SpliceFlags::MORE;
            }
            let result = again_if_interrupted(|| {
                rustix::pipe::splice(pipe.read_end(), None, &*socket, None, *count as usize, flags)
            });
            uncork(socket, sent_head, *more, result.map(as_u32))
        }
        Op::Tee { from, to, count } => again_if_interrupted(|| {
            let flags = SpliceFlags::NONBLOCK;
            rustix::pipe::tee(from.read_end(), &*to, *count as usize, flags)
        })
        .map(as_u32),
        Op::PutIn { pipe, bytes } => {
            again_if_interrupted(|| rustix::io::write(&*pipe, bytes)).map(as_u32)
        }
        Op::Stat { file, facts } => {
            **facts = stat(file)?;
            Ok(0)
        }
        Op::Notices { watcher, notices } => notices::take(watcher, notices),
        Op::Unwatch { watcher, watch } => {
            rustix::fs::inotify::remove_watch(&*watcher, watch.0).map(|()| 0)
        }
        Op::Peer { socket, address } => {
            let peer = rustix::net::getpeername(&*socket)?;
            *address = peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok());
            Ok(0)
        }
        Op::Unacknowledged { socket } => socket.unacknowledged(),
        Op::Reset { socket } => {
            rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO)).map(|()| 0)
        }
        other => unreachable!("{other:?} is an operation of the ring"),
    }
}

fn sendfile(socket: &Socket, file: &File, offset: u64, count: u32) -> Result<u32, Errno> {
    again_if_interrupted(|| {
        let mut at = offset;
        rustix::fs::sendfile(socket, file, Some(&mut at), count as usize)
    })
    .map(as_u32)
}

/// Sends what goes before the body, held back so that it shares a segment with it. Says whether
/// it sent anything; a socket that did not take all of it is full.
fn send_head(socket: &Socket, head: &mut Option<Outgoing>) -> Result<bool, Errno> {
    let Some(bytes) = head else { return Ok(false) };
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
    let sent = again_if_interrupted(|| rustix::net::send(&*socket, bytes.bytes(), flags))?;
    bytes.advance(sent);
    if !bytes.is_empty() {
        return Err(Errno::AGAIN);
    }
    *head = None;
    Ok(true)
}

/// A head that was held back for a body that did not come goes out now, not at the end of the
/// kernel's patience (200 ms).
fn uncork(
    socket: &Socket,
    sent_head: bool,
    more: bool,
    result: Result<u32, Errno>,
) -> Result<u32, Errno> {
    if sent_head && !more && !matches!(result, Ok(1..)) {
        // Setting the option pushes what is pending; on a unix socket nothing is, and it fails.
        let _ = rustix::net::sockopt::set_tcp_nodelay(socket, true);
    }
    result
}

/// The facts of an open file.
pub(super) fn stat(file: impl AsFd) -> Result<Facts, Errno> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::DIOALIGN | StatxFlags::MNT_ID;
    let told = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, mask)?;
    Ok(facts_of(&told))
}

pub(super) fn facts_of(told: &rustix::fs::Statx) -> Facts {
    let clock = |stamp: &rustix::fs::StatxTimestamp| WallClock {
        seconds: stamp.tv_sec,
        nanoseconds: stamp.tv_nsec,
    };
    let kind = match FileType::from_raw_mode(told.stx_mode.into()) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Special,
    };
    let aligned = told.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    Facts {
        kind,
        size: told.stx_size,
        modified: clock(&told.stx_mtime),
        changed: clock(&told.stx_ctime),
        device: (told.stx_dev_major, told.stx_dev_minor),
        inode: told.stx_ino,
        mount: told.stx_mnt_id,
        direct_memory: if aligned { told.stx_dio_mem_align } else { 0 },
        direct_offset: if aligned { told.stx_dio_offset_align } else { 0 },
    }
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).expect("no operation asks for 4 GiB or more")
}

/// A signal may interrupt a call before it has moved anything; then nothing happened and it is
/// made again.
pub(super) fn again_if_interrupted<T>(
    mut call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
