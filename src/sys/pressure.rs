//! Memory that becomes short, as the kernel tells it (PSI, Documentation/accounting/psi.rst).
//!
//! A trigger is a descriptor that becomes readable with priority (POLLPRI) when tasks had to wait
//! for memory. The control group of this process is watched where it has such a file that may be
//! written to, else the whole machine: [`Trigger`] says which and why. In a container the groups
//! are often mounted to be read only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::OFlags;

use super::{memory, mounts};

/// 100 ms of waiting in 2 s, in microseconds: multiples of 2 s are what the kernel lets every user
/// watch. Its end is a NUL, which the kernel would put in the place of the last digit.
const TRIGGER: &[u8] = b"some 100000 2000000\0";

/// What tells that memory becomes short.
#[derive(Debug)]
pub struct Trigger {
    /// An event wakes one who waits for it.
    pub descriptor: OwnedFd,
    /// The file that is watched.
    pub file: PathBuf,
    /// Why it is that of the machine; none if it is that of the control group.
    pub machine: Option<String>,
}

/// A trigger for memory of this process, of its own.
///
/// # Errors
/// Where the kernel was built without PSI, or has it turned off, or /proc may not be written to.
pub fn memory() -> io::Result<Trigger> {
    first(OWN.as_deref(), Path::new(MACHINE))
}

/// The files that triggers are written to.
pub fn files() -> impl Iterator<Item = PathBuf> {
    OWN.iter().cloned().chain([PathBuf::from(MACHINE)])
}

const MACHINE: &str = "/proc/pressure/memory";

/// Looked up once: a process does not change its group, and may not be able to look later.
static OWN: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    own_group(&groups, &fs::read("/proc/self/mountinfo").ok()?)
});

/// A trigger of the control group, or else of the machine.
fn first(own: Option<&Path>, machine: &Path) -> io::Result<Trigger> {
    let why = match own.map(|file| (file, watch(file))) {
        None => "there is no control group of version 2".to_owned(),
        Some((file, Ok(descriptor))) => {
            return Ok(Trigger { descriptor, file: file.to_owned(), machine: None });
        }
        Some((file, Err(error))) => format!("'{}' cannot be watched: {error}", file.display()),
    };
    let descriptor = watch(machine)?;
    Ok(Trigger { descriptor, file: machine.to_owned(), machine: Some(why) })
}

fn watch(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    file.write_all(TRIGGER)?;
    Ok(file.into())
}

/// The file of the control group that this process is in, of the unified hierarchy, wherever that
/// is mounted; a container sees its own group as the root of it.
fn own_group(groups: &str, mounts: &[u8]) -> Option<PathBuf> {
    let mut hierarchies = mounts::hierarchies(mounts);
    let unified = hierarchies.find(|one| one.is_unified)?;
    Some(memory::own_group(groups, &unified)?.join("memory.pressure"))
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

    #[test]
    fn the_group_is_found_wherever_its_hierarchy_is_mounted() {
        let at = |mount: &str, group: &str| {
            let found = own_group(&format!("4:memory:/x\n0::{group}\n"), mount.as_bytes());
            found.map(|path| path.display().to_string())
        };
        let unified = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let beside = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n";
        for (mount, group, path) in [
            (unified, "/a.slice/b.service", "/sys/fs/cgroup/a.slice/b.service/memory.pressure"),
            (unified, "/", "/sys/fs/cgroup/memory.pressure"),
            (beside, "/a", "/sys/fs/cgroup/unified/a/memory.pressure"),
        ] {
            assert_eq!(at(mount, group).as_deref(), Some(path));
        }
        assert_eq!(at("", "/a"), None);
    }

    /// Files that are like them, and like those that may not be written to.
    #[test]
    fn what_is_watched_is_told_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            path
        };
        let (own, machine) = (file("own"), file("machine"));
        let told = first(Some(&own), &machine).unwrap();
        assert_eq!((told.file, told.machine), (own.clone(), None));
        assert_eq!(fs::read(&own).unwrap(), TRIGGER);
        let missing = directory.path().join("none/memory.pressure");
        for (own, says) in [(None, "no control group"), (Some(&*missing), "cannot be watched: No")]
        {
            let told = first(own, &machine).unwrap();
            assert_eq!(told.file, machine);
            assert!(told.machine.is_some_and(|why| why.contains(says)), "{says}");
        }
        assert!(first(Some(&missing), &missing).is_err());
    }
}
