//! Small facts of the machine, as the kernel writes them down.

use std::fs;

/// A file of /proc or /sys without its line's end; none if it is not there.
pub(super) fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A file of one number.
pub(super) fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

/// The value behind a name and a colon, such as that of /proc/self/status.
pub(super) fn value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// A capability that lets a process pass by limits (capabilities(7)).
#[derive(Clone, Copy, Debug)]
pub(super) enum Capability {
    IpcLock = 14,
    SysAdmin = 21,
    SysResource = 24,
}

/// Whether this process has it in effect.
pub(super) fn has(capability: Capability) -> bool {
    let told = value("/proc/self/status", "CapEff");
    let bits = told.and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0);
    bits >> capability as u32 & 1 == 1
}

/// Whether a seccomp filter is on this process; none where the kernel does not tell.
pub(super) fn is_filtered() -> Option<bool> {
    value("/proc/self/status", "Seccomp").map(|mode| mode != "0")
}

/// Bytes with a unit, as they are written in the configuration.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut at = 0;
    let mut left = bytes;
    while left >= 1024 && at < UNITS.len() - 1 {
        left /= 1024;
        at += 1;
    }
    let whole = left << (10 * at);
    let about = if whole == bytes { "" } else { "about " };
    format!("{about}{left} {}", UNITS[at])
}

/// A limit in bytes.
pub(super) fn limit(bytes: Option<u64>) -> String {
    bytes.map_or("any amount".to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_with_their_unit_and_never_as_more_exact_than_they_are() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (65_536, "64 KiB"),
            (1025, "about 1 KiB"),
            (256 << 20, "256 MiB"),
            (u64::MAX, "about 16777215 TiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
        assert_eq!(limit(None), "any amount");
    }

    #[test]
    fn this_process_has_a_status() {
        assert!(value("/proc/self/status", "CapEff").is_some());
        assert_eq!(value("/proc/self/status", "Nothing"), None);
        assert_eq!(number("/proc/sys/nothing"), None);
        // Root has them all, or none of them was kept.
        let _ = (has(Capability::IpcLock), has(Capability::SysAdmin));
    }
}
