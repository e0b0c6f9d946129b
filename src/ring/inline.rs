//! Operations that act at once: sendfile(2), splice(2), tee(2), pread(2), statx(2) and the write to
//! a pipe, on descriptors that do not block, and the question whether pages are there.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::SpliceFlags;

use super::handle::{File, Socket};
use super::notices;
use super::op::{Ask, Facts, FileKind, Look, Op, Sheet};
use super::outgoing::Outgoing;
use crate::base::WallClock;
use crate::limits::DIRECT_ALIGNMENT_UNTOLD;
use crate::techniques::{Error, residency};

/// Carries out an inline operation. `AGAIN` says that a socket or pipe is full, or a pipe empty.
pub(super) fn execute(op: &mut Op) -> Result<u32, Errno> {
    match op {
        Op::Pread { file, offset, buffer, range, look } => {
            let into = &mut buffer[range.start as usize..range.end as usize];
            match look {
                None => again_if_interrupted(|| rustix::io::pread(&*file, &mut *into, *offset)),
                Some(look) => residency::read(&*file, into, *offset, *look != Look::Quiet)
                    .map_err(Error::errno),
            }
            .map(as_u32)
        }
        Op::Resident { file, offset, count, look } => {
            let count = u64::from(*count);
            let resident = match look {
                Look::Mapped => residency::mapped(&*file, *offset, count),
                Look::Seen => residency::by_map(&*file, file.kept(), *offset, count),
                Look::Quiet => residency::quiet(&*file, file.kept(), *offset, count),
                Look::Cached => residency::cached(&*file, file.kept(), *offset, count),
                Look::Counted => residency::counted(&*file, *offset, count),
            };
            resident.map(u32::from).map_err(Error::errno)
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
        Op::Stat { file, ask, facts, .. } => {
            **facts = match ask {
                Ask::Here | Ask::Behind => stat_here(file),
                Ask::Mount | Ask::Anywhere => stat(file),
            }?;
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

/// What is asked of an open file.
pub(super) const STAT_MASK: StatxFlags =
    StatxFlags::BASIC_STATS.union(StatxFlags::DIOALIGN).union(StatxFlags::MNT_ID);

/// The facts of an open file.
pub(super) fn stat(file: impl AsFd) -> Result<Facts, Errno> {
    let told = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, STAT_MASK)?;
    Ok(facts_of(&told))
}

/// The facts of an open file as this machine knows them, without asking anybody else.
fn stat_here(file: impl AsFd) -> Result<Facts, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(facts_of(&rustix::fs::statx(file, c"", flags, STAT_MASK)?))
}

pub(super) fn facts_of(told: &rustix::fs::Statx) -> Facts {
    let clock = |stamp: &rustix::fs::StatxTimestamp| WallClock {
        seconds: stamp.tv_sec,
        nanoseconds: stamp.tv_nsec,
    };
    let aligned = told.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    Facts {
        kind: kind_of(told.stx_mode),
        size: told.stx_size,
        modified: clock(&told.stx_mtime),
        changed: clock(&told.stx_ctime),
        accessed: clock(&told.stx_atime),
        device: (told.stx_dev_major, told.stx_dev_minor),
        inode: told.stx_ino,
        mount: told.stx_mnt_id,
        direct_memory: if aligned { told.stx_dio_mem_align } else { DIRECT_ALIGNMENT_UNTOLD },
        direct_offset: if aligned { told.stx_dio_offset_align } else { DIRECT_ALIGNMENT_UNTOLD },
    }
}

/// The facts in a `struct statx` that the ring had written, by the places of its fields (statx(2)).
pub(super) fn facts_on(sheet: &Sheet) -> Facts {
    let mut bytes = [0; size_of::<Sheet>()];
    for (place, word) in bytes.chunks_exact_mut(8).zip(sheet) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let int = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let clock = |at: usize| WallClock { seconds: long(at) as i64, nanoseconds: int(at + 8) };
    let mode = u16::from_ne_bytes([bytes[28], bytes[29]]);
    let aligned = int(0) & StatxFlags::DIOALIGN.bits() != 0;
    Facts {
        kind: kind_of(mode),
        size: long(40),
        modified: clock(112),
        changed: clock(96),
        accessed: clock(64),
        device: (int(136), int(140)),
        inode: long(32),
        mount: long(144),
        direct_memory: if aligned { int(152) } else { DIRECT_ALIGNMENT_UNTOLD },
        direct_offset: if aligned { int(156) } else { DIRECT_ALIGNMENT_UNTOLD },
    }
}

fn kind_of(mode: u16) -> FileKind {
    match FileType::from_raw_mode(mode.into()) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Special,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// statx(2): a file system that does not know of the question leaves the bit out, and one that
    /// refuses O_DIRECT answers with zero.
    #[test]
    fn an_alignment_that_is_not_told_is_assumed_and_one_of_zero_is_a_refusal() {
        let mut sheet: Sheet = [0; size_of::<Sheet>() / 8];
        let facts = facts_on(&sheet);
        assert_eq!(facts.direct_memory, DIRECT_ALIGNMENT_UNTOLD);
        assert_eq!(facts.direct_offset, DIRECT_ALIGNMENT_UNTOLD);
        let mask = StatxFlags::DIOALIGN.bits().to_ne_bytes();
        sheet[0] = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], 0, 0, 0, 0]);
        let facts = facts_on(&sheet);
        assert_eq!((facts.direct_memory, facts.direct_offset), (0, 0));
    }
}
