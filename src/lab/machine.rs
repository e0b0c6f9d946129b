//! What the machine is: told with the figures, which mean nothing without it.

use std::fs;
use std::path::Path;

use rustix::fs::{fstat, major, minor};
use rustix::system::uname;

use super::report::Machine;
use super::track::Track;

/// Looks at it. What cannot be learnt is empty.
pub(super) fn look(track: &Track) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let name = uname();
    let (file_system, device) = file_system(track, &read("/proc/self/mountinfo"));
    let virtual_machine = value(&processor, "flags").split(' ').any(|flag| flag == "hypervisor");
    let virtual_name = |device: &String| {
        let name = device.rsplit('/').next().unwrap_or_default();
        name.starts_with("vd") || name.starts_with("xvd")
    };
    Machine {
        host: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        processor: value(&processor, "model name").to_owned(),
        processors: std::thread::available_parallelism().map_or(1, Into::into),
        memory: memory(&read("/proc/meminfo")),
        file_system,
        virtual_device: virtual_machine || device.as_ref().is_some_and(virtual_name),
        device,
    }
}

/// The value behind a name and a colon.
fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map_or("", |(_, value)| value.trim())
}

fn memory(text: &str) -> u64 {
    let kibibytes = value(text, "MemTotal").split(' ').next().and_then(|text| text.parse().ok());
    kibibytes.map_or(0, |count: u64| count << 10)
}

/// The kind of the file system, and its device.
fn file_system(track: &Track, mounts: &str) -> (String, Option<String>) {
    let Ok(facts) = fstat(&track.source) else { return Default::default() };
    let number = format!("{}:{}", major(facts.st_dev), minor(facts.st_dev));
    let found = mount(mounts, &number);
    // Some file systems (btrfs, overlays) have numbers that no mount shows.
    let path = fs::canonicalize(&track.path).unwrap_or_default();
    let (kind, device) = found.or_else(|| mount_of(mounts, &path)).unwrap_or_default();
    (kind.to_owned(), device.starts_with("/dev/").then(|| device.to_owned()))
}

/// Kind and device of the mount with this number.
fn mount<'t>(mounts: &'t str, number: &str) -> Option<(&'t str, &'t str)> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(number))?;
    kind_and_device(line)
}

/// Kind and device of the deepest mount above a path.
fn mount_of<'t>(mounts: &'t str, path: &Path) -> Option<(&'t str, &'t str)> {
    let place = |line: &&str| line.split(' ').nth(4).unwrap_or_default().len();
    let above = mounts
        .lines()
        .filter(|line| line.split(' ').nth(4).is_some_and(|place| path.starts_with(place)));
    above.max_by_key(place).and_then(kind_and_device)
}

fn kind_and_device(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(" - ")?;
    let mut words = rest.split(' ');
    Some((words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 25 0:28 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=1g
40 25 0:40 / /srv/data rw - btrfs /dev/sdb1 rw";

    #[test]
    fn a_file_system_is_found_by_number_and_by_place() {
        assert_eq!(mount(MOUNTS, "254:0"), Some(("ext4", "/dev/vda")));
        assert_eq!(mount(MOUNTS, "0:28"), Some(("tmpfs", "tmpfs")));
        assert_eq!(mount(MOUNTS, "9:9"), None);
        assert_eq!(mount_of(MOUNTS, Path::new("/srv/data/x")), Some(("btrfs", "/dev/sdb1")));
        assert_eq!(mount_of(MOUNTS, Path::new("/srv/database")), Some(("ext4", "/dev/vda")));
    }

    #[test]
    fn facts_are_read_from_their_files() {
        assert_eq!(value("a\t: 1\nmodel name\t: Fast One 2\n", "model name"), "Fast One 2");
        assert_eq!(memory("MemTotal:       2048 kB\n"), 2 << 20);
        assert_eq!(memory(""), 0);
    }
}
