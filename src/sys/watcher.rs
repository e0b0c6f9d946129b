//! Who watches directories for one worker (inotify(7)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{CreateFlags, init};

/// A watcher that watches nothing yet, and is read without waiting.
///
/// # Errors
/// When the user has as many as allowed (fs.inotify.max_user_instances), or no descriptor is left.
pub fn open() -> io::Result<OwnedFd> {
    Ok(init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
}
