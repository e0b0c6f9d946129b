//! How a ring is set up: with the best of what the kernel has.

use io_uring::IoUring;
use rustix::io::Errno;

/// Why a ring could not be set up.
#[derive(Debug)]
pub struct SetupFault(pub std::io::Error);

/// How the ring was set up: the best of what the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// One submitter, completions run when it waits (kernel 6.1).
    Deferred,
    /// Completions run at the next entry, without an interrupt (kernel 5.19).
    Cooperative,
    /// Neither.
    Plain,
}

impl Setup {
    /// The name in telemetry and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Cooperative => "cooperative",
            Self::Plain => "plain",
        }
    }
}

/// How a ring is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) entries: u32,
    pub(super) completions: Option<u32>,
    /// It says by a flag when completions wait for the thread to enter.
    pub(super) flagged: bool,
    /// It does nothing until it is enabled.
    pub(super) disabled: bool,
}

/// Sets up a ring in the best way that the kernel knows.
pub(super) fn set_up(wanted: Wanted) -> std::io::Result<(IoUring, Setup)> {
    let Wanted { entries, completions, flagged, disabled } = wanted;
    let mut last = None;
    for setup in [Setup::Deferred, Setup::Cooperative, Setup::Plain] {
        let mut builder = IoUring::builder();
        if let Some(completions) = completions {
            builder.setup_cqsize(completions);
        }
        match setup {
            Setup::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            Setup::Cooperative => builder.setup_coop_taskrun(),
            Setup::Plain => &mut builder,
        };
        if flagged && setup != Setup::Plain {
            builder.setup_taskrun_flag();
        }
        if disabled {
            builder.setup_r_disabled();
        }
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, setup)),
            // EINVAL: the kernel does not know the flags; the next way asks for fewer.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("a loop that ran to its end has met an error"))
}
