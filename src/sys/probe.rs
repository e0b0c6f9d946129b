//! Whether io_uring is there, and what keeps it away.
//!
//! The probe sets up a small ring with the flags of the real one and completes one no-op:
//! setting up alone is not proof, because a filter may forbid io_uring_enter. The ring and
//! its memory are gone when the probe returns.
#![allow(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::sync::LazyLock;

use io_uring::{IoUring, opcode};
use rustix::io::Errno;

/// The first kernel with everything the ring is set up with (deferred task running).
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Completes one no-op on a ring of our kind.
///
/// # Errors
/// What blocks io_uring, with its remedy.
pub fn io_uring() -> Result<(), Blocked> {
    // Read before anything is given up: a confined process could not say what blocks it.
    LazyLock::force(&SYSCTLS);
    attempt().map_err(|error| explain(&error))
}

/// What an error of setting up a ring means on this machine.
pub fn explain(error: &io::Error) -> Blocked {
    let (disabled, group) = *SYSCTLS;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    classify(error, &release, disabled, group)
}

/// kernel.io_uring_disabled and kernel.io_uring_group.
static SYSCTLS: LazyLock<(Option<i64>, Option<i64>)> = LazyLock::new(|| {
    let sysctl = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    let number = |name| sysctl(name).and_then(|text| text.trim().parse().ok());
    (number("io_uring_disabled"), number("io_uring_group"))
});

fn attempt() -> io::Result<()> {
    let mut ring: IoUring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(2)?;
    // SAFETY: a no-op has no operands, so nothing has to outlive its completion.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build().user_data(1)) };
    assert!(pushed.is_ok(), "a new queue of two entries has room for one");
    loop {
        match ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    match ring.completion().next() {
        Some(done) if done.result() >= 0 => Ok(()),
        Some(done) => Err(io::Error::from_raw_os_error(-done.result())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What keeps io_uring away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The kernel is older than [`KERNEL_MIN`]; its release.
    KernelTooOld(String),
    /// The kernel is new enough and says that it has no io_uring: it was built without it, or
    /// a sandbox (gVisor, a seccomp filter) answers in its place; its release.
    NotThere(String),
    /// kernel.io_uring_disabled is 2.
    Disabled,
    /// kernel.io_uring_disabled is 1 and this process is not of the group, where there is one.
    DisabledUnprivileged {
        /// kernel.io_uring_group, unless it is -1 or unreadable.
        group: Option<i64>,
    },
    /// No sysctl forbids it, so a seccomp filter or a security module does.
    Filtered,
    /// The memory lock limit or the memory is too small.
    Memory,
    /// No descriptor is left, in the process or in the system.
    Descriptors,
    /// Another answer.
    Other(String),
}

fn classify(
    error: &io::Error,
    release: &str,
    disabled: Option<i64>,
    group: Option<i64>,
) -> Blocked {
    let old = version(release).is_some_and(|version| version < KERNEL_MIN);
    match Errno::from_io_error(error) {
        Some(Errno::NOSYS | Errno::INVAL) if old => Blocked::KernelTooOld(release.to_owned()),
        Some(Errno::NOSYS) => Blocked::NotThere(release.to_owned()),
        Some(Errno::PERM | Errno::ACCESS) => match disabled {
            Some(2) => Blocked::Disabled,
            // A privileged process passes the sysctl at 1; what stops it then is a filter, but
            // a process cannot tell, and the sysctl is the first thing to look at.
            Some(1) => Blocked::DisabledUnprivileged { group: group.filter(|&group| group >= 0) },
            _ => Blocked::Filtered,
        },
        Some(Errno::NOMEM) => Blocked::Memory,
        Some(Errno::MFILE | Errno::NFILE) => Blocked::Descriptors,
        _ => Blocked::Other(error.to_string()),
    }
}

/// Major and minor number of a kernel release such as `6.1.0-21-amd64`.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Blocked {
    /// What blocks it, in one sentence without a full stop.
    pub fn cause(&self) -> String {
        match self {
            Self::KernelTooOld(release) => format!("kernel {release} is too old"),
            Self::NotThere(release) => {
                format!("kernel {release} was built without CONFIG_IO_URING, or a sandbox hides it")
            }
            Self::Disabled => "the sysctl kernel.io_uring_disabled is 2".to_owned(),
            Self::DisabledUnprivileged { .. } => {
                "the sysctl kernel.io_uring_disabled is 1".to_owned()
            }
            Self::Filtered => "a seccomp filter or a security module forbids it".to_owned(),
            Self::Memory => {
                "not enough memory, or the limit of locked memory is too small".to_owned()
            }
            Self::Descriptors => "no file descriptor is left".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::KernelTooOld(_) | Self::Other(_) => {
                format!("run Linux {}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1)
            }
            Self::NotThere(_) => "in a container, allow io_uring_setup, io_uring_enter and \
                                  io_uring_register"
                .to_owned(),
            Self::Disabled => "set it to 0 (sysctl -w kernel.io_uring_disabled=0)".to_owned(),
            Self::DisabledUnprivileged { group: Some(group) } => {
                format!("run as a member of group {group} (kernel.io_uring_group) or set it to 0")
            }
            Self::DisabledUnprivileged { group: None } => {
                "set kernel.io_uring_group to a group of this user, or kernel.io_uring_disabled \
                 to 0"
                    .to_owned()
            }
            Self::Filtered => "in a container, use a seccomp profile that allows io_uring_setup, \
                               io_uring_enter and io_uring_register"
                .to_owned(),
            Self::Memory => "raise it (ulimit -l, LimitMEMLOCK=)".to_owned(),
            Self::Descriptors => "raise the limit (ulimit -n, LimitNOFILE=)".to_owned(),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "io_uring is not available: {}; {}", self.cause(), self.remedy())
    }
}

impl std::error::Error for Blocked {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn blocked(errno: Errno, release: &str, disabled: Option<i64>) -> Blocked {
        classify(&errno.into(), release, disabled, Some(-1))
    }

    #[test]
    fn each_answer_of_the_kernel_has_its_cause() {
        let new = "6.18.4-generic";
        assert_eq!(blocked(Errno::NOSYS, "4.19.0", None), Blocked::KernelTooOld("4.19.0".into()));
        assert_eq!(blocked(Errno::INVAL, "5.15.0", None), Blocked::KernelTooOld("5.15.0".into()));
        assert_eq!(blocked(Errno::NOSYS, new, None), Blocked::NotThere(new.into()));
        assert_eq!(blocked(Errno::PERM, new, Some(2)), Blocked::Disabled);
        let unprivileged = Blocked::DisabledUnprivileged { group: None };
        assert_eq!(blocked(Errno::PERM, new, Some(1)), unprivileged);
        assert_eq!(blocked(Errno::PERM, new, Some(0)), Blocked::Filtered);
        assert_eq!(blocked(Errno::PERM, new, None), Blocked::Filtered);
        assert_eq!(blocked(Errno::NOMEM, new, Some(0)), Blocked::Memory);
        assert_eq!(blocked(Errno::MFILE, new, Some(0)), Blocked::Descriptors);
        assert!(matches!(blocked(Errno::FAULT, new, Some(0)), Blocked::Other(_)));
    }

    #[test]
    fn a_group_is_named_when_there_is_one() {
        let blocked = classify(&Errno::PERM.into(), "6.6.1", Some(1), Some(990));
        assert!(blocked.to_string().contains("member of group 990"));
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(version("6.1.0-21-amd64"), Some((6, 1)));
        assert_eq!(version("6.12-rc3"), Some((6, 12)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn the_probe_leaves_no_descriptor_behind() {
        let count = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        // Other tests open descriptors at the same time; many probes show a leak beside them.
        let before = count();
        for _ in 0..200 {
            let _ = io_uring();
        }
        assert!(count() < before + 150);
    }
}
