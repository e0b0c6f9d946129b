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
    let signs = Signs {
        flags: value(&processor, "flags"),
        hypervisor: &read("/sys/hypervisor/type"),
        device_tree: Path::new("/proc/device-tree/hypervisor").exists(),
        vendor: &read("/sys/class/dmi/id/sys_vendor"),
        product: &read("/sys/class/dmi/id/product_name"),
        device: device.as_deref().unwrap_or_default(),
        model: &model(track),
    };
    Machine {
        host: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        processor: value(&processor, "model name").to_owned(),
        processors: std::thread::available_parallelism().map_or(1, Into::into),
        memory: memory(&read("/proc/meminfo")),
        file_system,
        virtual_device: signs.are_of_a_virtual_machine(),
        device,
    }
}

/// By what a virtual machine is known. No sign is there on all of them: the flag is one of x86,
/// and the firmware of many machines of other kinds says nothing.
#[derive(Clone, Copy, Default)]
struct Signs<'t> {
    /// Flags of the processor.
    flags: &'t str,
    /// /sys/hypervisor/type: xen.
    hypervisor: &'t str,
    /// Whether the device tree has a hypervisor.
    device_tree: bool,
    /// Who made the machine, and what it is called, by its firmware.
    vendor: &'t str,
    product: &'t str,
    /// The file of the device, and what it calls itself.
    device: &'t str,
    model: &'t str,
}

/// Who makes virtual machines.
const VENDORS: [&str; 14] = [
    "QEMU",
    "KVM",
    "VMware",
    "innotek",
    "Xen",
    "Parallels",
    "Bochs",
    "Amazon EC2",
    "Google",
    "OpenStack",
    "DigitalOcean",
    "Hetzner",
    "Alibaba Cloud",
    "Apple Virtualization",
];

/// What virtual machines are called whose vendor makes others, too.
const PRODUCTS: [&str; 5] =
    ["Virtual Machine", "VirtualBox", "KVM", "Google Compute Engine", "VMware"];

/// What virtual disks call themselves.
const MODELS: [&str; 6] =
    ["QEMU", "VBOX", "VMware", "Virtual", "Amazon Elastic Block Store", "PersistentDisk"];

impl Signs<'_> {
    fn are_of_a_virtual_machine(&self) -> bool {
        let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        let name = self.device.rsplit('/').next().unwrap_or_default();
        self.flags.split(' ').any(|flag| flag == "hypervisor")
            || !self.hypervisor.trim().is_empty()
            || self.device_tree
            || says(self.vendor, &VENDORS)
            || says(self.product, &PRODUCTS)
            || says(self.model, &MODELS)
            || name.starts_with("vd")
            || name.starts_with("xvd")
    }
}

/// What the device of the file calls itself; that of the whole device for a part of it.
fn model(track: &Track) -> String {
    let Ok(facts) = fstat(&track.source) else { return String::new() };
    let place = format!("/sys/dev/block/{}:{}", major(facts.st_dev), minor(facts.st_dev));
    // The kernel follows the link before the two points.
    let of_whole = || fs::read_to_string(format!("{place}/../device/model"));
    fs::read_to_string(format!("{place}/device/model")).or_else(|_| of_whole()).unwrap_or_default()
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
    fn a_virtual_machine_is_known_by_any_of_its_signs() {
        let real = Signs {
            flags: "fpu vme sse2",
            vendor: "Dell Inc.\n",
            product: "PowerEdge R650\n",
            device: "/dev/nvme0n1p2",
            model: "SAMSUNG MZQL2960HCJR-00A07\n",
            ..Signs::default()
        };
        assert!(!real.are_of_a_virtual_machine() && !Signs::default().are_of_a_virtual_machine());
        let virtual_ones = [
            Signs { flags: "fpu hypervisor", ..real },
            Signs { hypervisor: "xen\n", ..real },
            Signs { device_tree: true, ..real },
            Signs { vendor: "Amazon EC2\n", product: "c7g.large\n", ..real },
            Signs { vendor: "Microsoft Corporation\n", product: "Virtual Machine\n", ..real },
            Signs { model: "Amazon Elastic Block Store              \n", ..real },
            Signs { device: "/dev/vda1", ..real },
        ];
        assert!(virtual_ones.iter().all(Signs::are_of_a_virtual_machine));
        let laptop =
            Signs { vendor: "Microsoft Corporation\n", product: "Surface Pro 9\n", ..real };
        assert!(!laptop.are_of_a_virtual_machine());
    }

    #[test]
    fn facts_are_read_from_their_files() {
        assert_eq!(value("a\t: 1\nmodel name\t: Fast One 2\n", "model name"), "Fast One 2");
        assert_eq!(memory("MemTotal:       2048 kB\n"), 2 << 20);
        assert_eq!(memory(""), 0);
    }
}
