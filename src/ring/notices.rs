//! What inotify has to tell, read without waiting.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::inotify::{ReadFlags, Reader};
use rustix::io::Errno;

use super::op::{Notice, Watch};
use crate::limits::NOTICES_MAX;

/// Bytes that one read takes: some hundred events, each of 16 bytes and a name.
const READ_BYTES: usize = 16 * 1024;

/// Appends what has come; returns how much. What is more than a turn may take counts as lost, and
/// is read with the next turns.
pub(super) fn take(watcher: impl AsFd, notices: &mut Vec<Notice>) -> Result<u32, Errno> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut reader = Reader::new(watcher, &mut space);
    let before = notices.len();
    loop {
        if notices.len() - before >= NOTICES_MAX {
            notices.push(Notice::Lost);
            break;
        }
        match reader.next() {
            Ok(event) => notices.push(notice(event.wd(), event.events(), event.file_name())),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((notices.len() - before) as u32)
}

fn notice(watch: i32, what: ReadFlags, name: Option<&std::ffi::CStr>) -> Notice {
    match name {
        _ if what.contains(ReadFlags::QUEUE_OVERFLOW) => Notice::Lost,
        Some(name) => Notice::Name(Watch(watch), name.to_bytes().to_vec()),
        None => Notice::Itself(Watch(watch)),
    }
}
