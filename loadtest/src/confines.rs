//! What a server may use: a control group of its own with a bound on memory, page cache included,
//! and on what it reads from a disk, so that a set of files is larger than memory and a disk is
//! slow for everybody alike.
//!
//! Both versions of control groups are known. The group goes away with its value.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long the kernel may take until an empty group can be removed.
const REMOVE_PATIENCE: Duration = Duration::from_secs(2);

/// The bounds of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Bounds {
    /// Bytes of memory, page cache included.
    #[serde(default)]
    pub(crate) memory_bytes: Option<u64>,
    /// Bytes a second that it may read from the disk under its files.
    #[serde(default)]
    pub(crate) disk_bytes_per_second: Option<u64>,
}

/// Control groups with bounds that processes are put into.
#[derive(Debug, Default)]
pub(crate) struct Confines {
    /// One directory with version 2, one for each controller with version 1.
    groups: Vec<PathBuf>,
}

impl Confines {
    /// Makes groups for these bounds; none where nothing is bounded.
    pub(crate) fn new(bounds: &Bounds, files: &Path) -> io::Result<Self> {
        let mut confines = Self::default();
        if *bounds == Bounds::default() {
            return Ok(confines);
        }
        let root = Path::new("/sys/fs/cgroup");
        match fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(_) => confines.version_two(bounds, root, files),
            Err(_) => confines.version_one(bounds, root, files),
        }
        .map_err(|error| {
            let text = format!(
                "a control group for memory and disk cannot be made ({error}); \
                 this scenario needs root and the controllers memory and io"
            );
            Error::new(error.kind(), text)
        })?;
        Ok(confines)
    }

    fn version_two(&mut self, bounds: &Bounds, root: &Path, files: &Path) -> io::Result<()> {
        // Controllers have to be handed down to children first; it is no fault if they are.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory +io");
        let group = self.make(root)?;
        if let Some(bytes) = bounds.memory_bytes {
            fs::write(group.join("memory.max"), bytes.to_string())?;
        }
        if let Some(bytes) = bounds.disk_bytes_per_second {
            fs::write(group.join("io.max"), format!("{} rbps={bytes}", device(files)?))?;
        }
        Ok(())
    }

    fn version_one(&mut self, bounds: &Bounds, root: &Path, files: &Path) -> io::Result<()> {
        if let Some(bytes) = bounds.memory_bytes {
            let group = self.make(&root.join("memory"))?;
            fs::write(group.join("memory.limit_in_bytes"), bytes.to_string())?;
        }
        if let Some(bytes) = bounds.disk_bytes_per_second {
            let group = self.make(&root.join("blkio"))?;
            let line = format!("{} {bytes}", device(files)?);
            fs::write(group.join("blkio.throttle.read_bps_device"), line)?;
        }
        Ok(())
    }

    fn make(&mut self, parent: &Path) -> io::Result<PathBuf> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let group = parent.join(format!("loadtest-{}-{number}", std::process::id()));
        fs::create_dir(&group)?;
        self.groups.push(group.clone());
        Ok(group)
    }

    /// The files that a process writes its number to in order to be confined.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        self.groups.iter().map(|group| group.join("cgroup.procs")).collect()
    }
}

impl Drop for Confines {
    fn drop(&mut self) {
        for group in &self.groups {
            let end = Instant::now() + REMOVE_PATIENCE;
            // The processes in it have been waited for, but the group may hear of it later.
            while let Err(error) = fs::remove_dir(group) {
                if error.kind() != ErrorKind::ResourceBusy || Instant::now() > end {
                    eprintln!("loadtest: {} is left over: {error}", group.display());
                    break;
                }
                std::thread::sleep(crate::process::LOOK);
            }
        }
    }
}

/// Major and minor number of the whole disk under some files: bounds are for disks, not for
/// their partitions.
fn device(files: &Path) -> io::Result<String> {
    let device = fs::metadata(files)?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !entry.exists() {
        let text = format!("the files do not lie on a disk (device {major}:{minor})");
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    let disk = match entry.join("partition").exists() {
        true => entry.join("../dev"),
        false => entry.join("dev"),
    };
    Ok(fs::read_to_string(disk)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_where_nothing_is_bounded() {
        let confines = Confines::new(&Bounds::default(), Path::new("/")).unwrap();
        assert!(confines.doors().is_empty());
    }

    #[test]
    fn files_without_a_disk_are_named() {
        let error = device(Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("do not lie on a disk"), "{error}");
    }
}
