//! How much the kernel reads ahead from a device (sysfs-class-bdi).

use std::path::{Path, PathBuf};

/// Where the devices have their directories: what `/sys/class/bdi` leads to.
const DEVICES: &str = "/sys/devices/virtual/bdi";

/// The directory that tells it, if there is one.
pub fn place() -> Option<&'static Path> {
    let devices = Path::new(DEVICES);
    devices.is_dir().then_some(devices)
}

/// Bytes that are read ahead of what is asked for, from the device of a file (major and minor), or
/// the disk that it is a partition of. None where that is not told: without sysfs, and for file
/// systems that are on no one device. The text is the kernel's own: reading it asks no disk and
/// waits for none.
///
/// ```
/// // No device has this number.
/// assert_eq!(pitcrew::sys::read_ahead::of((4095, 1 << 19)), None);
/// ```
pub fn of((major, minor): (u32, u32)) -> Option<u64> {
    let own = PathBuf::from(format!("{DEVICES}/{major}:{minor}"));
    let disk = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/../bdi"));
    told_by(&own).or_else(|| told_by(&disk))
}

/// The most that is read ahead from any device.
pub fn most() -> Option<u64> {
    let devices = std::fs::read_dir(DEVICES).ok()?;
    devices.filter_map(|device| told_by(&device.ok()?.path())).max()
}

fn told_by(device: &Path) -> Option<u64> {
    let told = std::fs::read_to_string(device.join("read_ahead_kb")).ok()?;
    told.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::skipped;

    #[test]
    fn each_device_that_has_a_directory_tells() {
        let Some(place) = place() else {
            return skipped("what is read ahead", "there is no sysfs");
        };
        for device in std::fs::read_dir(place).unwrap() {
            let name = device.unwrap().file_name().into_string().unwrap();
            // Those of file systems without a device have other names, such as btrfs-1.
            let Some((major, minor)) = name.split_once(':') else { continue };
            let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
            let path = place.join(&name).join("read_ahead_kb");
            let Ok(kib) = std::fs::read_to_string(path) else { continue };
            let told = of((major, minor));
            assert!(told.is_none() || told == Some(1024 * kib.trim().parse::<u64>().unwrap()));
            assert!(told <= most(), "{name}");
        }
        // A partition has no directory of its own.
        for device in std::fs::read_dir("/sys/dev/block").into_iter().flatten() {
            let device = device.unwrap();
            if device.path().join("partition").exists() {
                let name = device.file_name().into_string().unwrap();
                let (major, minor) = name.split_once(':').unwrap();
                let told = of((major.parse().unwrap(), minor.parse().unwrap()));
                assert!(told.is_some(), "{name}");
            }
        }
    }
}
