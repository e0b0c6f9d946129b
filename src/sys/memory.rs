//! How much memory this process may have: what the machine has, or less by a control group.
//!
//! Groups are asked from that of this process upwards, since each bounds all beneath it, in both
//! versions (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). What cannot be read
//! bounds nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use super::mounts::{self, Hierarchy};

const MACHINE: &str = "/proc/meminfo";

/// A bound of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes that this process may have, page cache and sockets included.
    pub bytes: u64,
    /// The file that says so.
    pub by: PathBuf,
}

/// The least of all bounds; none where nothing tells one.
pub fn allowance() -> Option<Allowance> {
    /// Asked once: a confined process cannot read the limits of its control group again.
    static ASKED: LazyLock<Option<Allowance>> = LazyLock::new(|| {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        least(&groups, &mounts, |path| fs::read_to_string(path).ok())
    });
    ASKED.clone()
}

fn least(groups: &str, mounts: &[u8], read: impl Fn(&Path) -> Option<String>) -> Option<Allowance> {
    let bound = |by: PathBuf| {
        // Version 2 says "max" where there is none, version 1 a number beyond all memory.
        let bytes = read(&by)?.trim().parse().ok()?;
        Some(Allowance { bytes, by })
    };
    let machine = read(Path::new(MACHINE)).and_then(|text| total(&text));
    let machine = machine.map(|bytes| Allowance { bytes, by: PathBuf::from(MACHINE) });
    let of_groups = mounts::hierarchies(mounts).flat_map(|one| files(groups, &one));
    of_groups.filter_map(bound).chain(machine).min_by_key(|one| one.bytes)
}

/// The files with the bounds of a hierarchy, from the group of this process to its top.
fn files(groups: &str, hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let file = match hierarchy.is_unified {
        true => "memory.max",
        false => "memory.limit_in_bytes",
    };
    let Some(group) = beneath(groups, hierarchy) else { return Vec::new() };
    group.ancestors().map(|group| hierarchy.path.join(group).join(file)).collect()
}

/// The directory of the group of this process in a hierarchy, as `/proc/self/cgroup` tells it.
pub(super) fn own_group(groups: &str, hierarchy: &Hierarchy) -> Option<PathBuf> {
    Some(hierarchy.path.join(beneath(groups, hierarchy)?))
}

/// The path of the group of this process beneath where a hierarchy is mounted.
fn beneath<'g>(groups: &'g str, hierarchy: &Hierarchy) -> Option<&'g Path> {
    // Lines are number, controllers and path; the unified hierarchy has 0 and no controllers.
    let mut lines = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let own = lines.find(|(controllers, _)| match hierarchy.is_unified {
        true => controllers.is_empty(),
        false => controllers.split(',').any(|one| one == "memory"),
    });
    let (_, group) = own?;
    let beneath = Path::new(group).strip_prefix(&hierarchy.root).unwrap_or(Path::new(""));
    // A group above those that this process can see: what is mounted is the nearest there is.
    let hidden = beneath.components().any(|part| part == Component::ParentDir);
    Some(if hidden { Path::new("") } else { beneath })
}

/// What the machine has: the first line, in kibibytes (proc_meminfo(5)).
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = (MACHINE, "MemTotal:        8192 kB\nMemFree:  1 kB\n");

    fn asked(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<(u64, String)> {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let told = least(groups, mounts.as_bytes(), read)?;
        Some((told.bytes, told.by.display().to_string()))
    }

    fn by(bytes: u64, file: &str) -> Option<(u64, String)> {
        Some((bytes, file.to_owned()))
    }

    #[test]
    fn without_groups_it_is_what_the_machine_has() {
        assert_eq!(asked("", "", &[MEMINFO]), by(8192 << 10, MACHINE));
        assert_eq!(asked("", "", &[]), None);
        assert_eq!(asked("", "", &[(MACHINE, "MemTotal: many kB\n")]), None);
    }

    #[test]
    fn every_group_on_the_way_up_is_a_bound() {
        let mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let at = |group: &str| format!("/sys/fs/cgroup/{group}memory.max");
        let (own, slice) = (at("a.slice/b.service/"), at("a.slice/"));
        let ask = |own_bound: &str, slice_bound: &str| {
            let files = [MEMINFO, (own.as_str(), own_bound), (slice.as_str(), slice_bound)];
            asked("0::/a.slice/b.service\n", mounts, &files)
        };
        assert_eq!(ask("4096\n", "max\n"), by(4096, &own));
        assert_eq!(ask("max\n", "2048\n"), by(2048, &slice));
        assert_eq!(ask("4096\n", "2048\n"), by(2048, &slice));
        // More than there is, is no bound.
        assert_eq!(ask("999999999999\n", "max\n"), by(8192 << 10, MACHINE));
        assert_eq!(ask("nonsense\n", ""), by(8192 << 10, MACHINE));
    }

    #[test]
    fn the_first_version_has_a_hierarchy_for_memory() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "8:pids:/x\n4:cpuset,memory:/jobs/one\n0::/\n";
        let file = "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes";
        let top = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let files = [MEMINFO, (file, "65536\n"), top];
        assert_eq!(asked(groups, mounts, &files), by(65536, file));
    }

    /// A container sees its own group as the root of what is mounted, or the paths of outside.
    #[test]
    fn a_container_asks_what_is_mounted_for_it() {
        let file = ("/sys/fs/cgroup/memory.max", "65536\n");
        for (root, group) in [("/", "/"), ("/docker/1f", "/docker/1f"), ("/", "/../../other")] {
            let mounts = format!("41 31 0:38 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
            let told = asked(&format!("0::{group}\n"), &mounts, &[MEMINFO, file]);
            assert_eq!(told, by(65536, file.0), "{root} {group}");
        }
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(allowance().is_some_and(|told| told.bytes > 1 << 20));
    }
}
