//! Locks of an open file description (F_OFD_SETLK of fcntl(2)).
//!
//! Unlike the older record locks they belong to the opening and not to the process, so two
//! threads exclude each other, and closing another descriptor of the file does not let go.
//! rustix has only the older ones.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two tries at first, and at most.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(2);

/// Waits for the whole file, however long it grows, to be this opening's alone to write. False if
/// somebody else has had it for all of that time: whoever holds a lock may have stopped.
///
/// # Errors
/// Those of fcntl(2); ENOLCK where the file system has no locks left or none at all.
pub fn exclusive(file: impl AsFd, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    let mut pause = PAUSE_MIN;
    loop {
        match set(&file, libc::F_WRLCK) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Lets go of it.
///
/// # Errors
/// None is expected on an open file.
pub fn release(file: impl AsFd) -> io::Result<()> {
    set(file, libc::F_UNLCK)
}

fn set(file: impl AsFd, kind: libc::c_int) -> io::Result<()> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        // To the end of the file, wherever that is.
        l_len: 0,
        // The kernel refuses any other for this kind of lock.
        l_pid: 0,
    };
    let fd = file.as_fd().as_raw_fd();
    loop {
        // SAFETY: the descriptor is borrowed and open, the command takes a pointer to a flock,
        // and the kernel only reads it for the time of the call.
        let done = unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) };
        if done == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn two_openings_of_a_file_exclude_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || std::fs::File::options().write(true).open(file.path()).unwrap();
        let (first, second) = (open(), open());
        let long = Duration::from_secs(60);
        assert!(exclusive(&first, long).unwrap());
        assert!(!exclusive(&second, Duration::ZERO).unwrap(), "it is taken");
        let let_go = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(exclusive(&second, long).unwrap());
                assert!(let_go.load(Ordering::SeqCst), "both had it at once");
                release(&second).unwrap();
            });
            thread::sleep(Duration::from_millis(20));
            let_go.store(true, Ordering::SeqCst);
            release(&first).unwrap();
        });
    }
}
