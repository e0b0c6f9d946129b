//! Memory that becomes short, as the kernel tells it (PSI, Documentation/accounting/psi.rst).
//!
//! A trigger is a descriptor that becomes readable with priority (POLLPRI) when tasks had to wait
//! for memory. The control group of this process is watched where it has such a file, else the
//! whole machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use rustix::fs::OFlags;

/// 100 ms of waiting in 2 s, in microseconds: multiples of 2 s are what the kernel lets every user
/// watch. Its end is a NUL, which the kernel would put in the place of the last digit.
const TRIGGER: &[u8] = b"some 100000 2000000\0";

/// A trigger for memory of this process, of its own: an event wakes one who waits.
///
/// # Errors
/// Where the kernel was built without PSI, or has it turned off, or /proc may not be written to.
pub fn memory() -> io::Result<OwnedFd> {
    let own = OWN.as_ref().and_then(|path| watch(path).ok());
    own.map_or_else(|| watch(&PathBuf::from(MACHINE)), Ok)
}

/// The files that triggers are written to.
pub fn files() -> impl Iterator<Item = PathBuf> {
    OWN.iter().cloned().chain([PathBuf::from(MACHINE)])
}

const MACHINE: &str = "/proc/pressure/memory";

/// Looked up once: a process does not change its group, and may not be able to look later.
static OWN: LazyLock<Option<PathBuf>> = LazyLock::new(own_group);

fn watch(path: &PathBuf) -> io::Result<OwnedFd> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    file.write_all(TRIGGER)?;
    Ok(file.into())
}

/// The file of the control group that this process is in, of the unified hierarchy.
fn own_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // The root has no file of its own; the machine's says the same.
    let path = (!path.is_empty()).then_some(path)?;
    Some(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.pressure"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_can_be_had_or_the_reason_is_told() {
        if let Err(error) = memory() {
            eprintln!("passed over: no trigger here: {error}");
        }
    }
}
