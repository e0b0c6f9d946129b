//! What the figures depend on: the machine, its kernel, and the versions of what was run.

use std::env;
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::net::sockopt;
use serde::Serialize;

/// Where a figure was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of the files that are served.
    pub(crate) file_system: String,
    /// Of each program that takes part.
    pub(crate) versions: Vec<String>,
    /// Of the pitcrew that took part, as it says itself; none if none did, or it does not know.
    pub(crate) commit: Option<String>,
}

impl Machine {
    /// Looks at this one. `programs` are asked for their versions.
    pub(crate) fn here(scratch: &Path, programs: &[(&Path, &str)]) -> io::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let after = |text: String, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let memory = after(read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let versions: Vec<String> =
            programs.iter().map(|(path, flag)| version(path, flag)).collect();
        let memory_kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        Ok(Self {
            processor: after(read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: read("/proc/cpuinfo")
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            memory_mib: memory_kib.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: file_system(scratch, &read("/proc/self/mountinfo")),
            commit: versions.iter().find_map(|version| commit(version)),
            versions,
        })
    }
}

/// What a connection over loopback really has: a route may ask for another one than the default.
pub(crate) fn congestion_control() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    drop(stream);
    Ok(sockopt::tcp_congestion(accepted)?)
}

/// The type of the file system that a path lies on, by the longest mount point above it.
fn file_system(path: &Path, mountinfo: &str) -> String {
    let mounts = mountinfo.lines().filter_map(|line| {
        // proc_pid_mountinfo(5): the mount point is the fifth field, the type follows ` - `.
        let (before, behind) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        path.starts_with(point).then(|| (point.len(), behind.split(' ').next().unwrap_or_default()))
    });
    mounts.max_by_key(|(length, _)| *length).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

/// The first line that a program says of its version, on either output.
fn version(program: &Path, flag: &str) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(output) = Command::new(program).arg(flag).output() else { return name };
    let told = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&told).lines().next().unwrap_or_default().to_owned();
    // wrk tells its author too.
    let line = line.split(" Copyright").next().unwrap_or_default().trim().to_owned();
    // Some tell their version alone.
    let line = line.trim_start_matches("Version:").trim_start();
    match line.chars().next() {
        None => name,
        Some(first) if first.is_ascii_digit() => format!("{name} {line}"),
        Some(_) => line.to_owned(),
    }
}

/// Bytes of memory that the kernel has for its own objects, sockets among them.
pub(crate) fn slab_bytes() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("Slab:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The commit that pitcrew was built from, in `pitcrew 0.1.0 (0123456789ab)`.
fn commit(version: &str) -> Option<String> {
    let (_, commit) = version.strip_prefix("pitcrew ")?.split_once(" (")?;
    commit.strip_suffix(')').map(str::to_owned)
}

/// A program by name; also where only the administrator's path leads.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrator = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut places = env::split_paths(&path).chain(administrator);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "1 0 1:1 / / rw shared:1 - ext4 /dev/a rw\n\
            2 1 0:1 / /tmp rw - tmpfs tmpfs rw\n\
            3 1 0:2 / /tmpx rw - xfs /dev/b rw";
        assert_eq!(file_system(Path::new("/tmp/x"), mounts), "tmpfs");
        assert_eq!(file_system(Path::new("/home"), mounts), "ext4");
    }

    #[test]
    fn the_commit_is_that_of_the_program() {
        assert_eq!(commit("pitcrew 0.1.0 (0123456789ab)").as_deref(), Some("0123456789ab"));
        assert_eq!(commit("pitcrew 0.1.0"), None);
        assert_eq!(commit("caddy 2 (abc)"), None);
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(program("sh").is_some());
        assert!(program("a-program-that-nobody-has").is_none());
    }
}
