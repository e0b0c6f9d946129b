//! Bounds of the broker.

use std::time::Duration;

/// How long the server waits for an answer of its broker: a bind of an address that is in use takes
/// a second, a deed as another user three.
pub const BROKER_PATIENCE: Duration = Duration::from_secs(5);

/// How long the server waits at its start until the broker has read the configuration: as long as a
/// machine that has just begun may take to start a process.
pub const BROKER_GREETING: Duration = Duration::from_secs(30);

/// Log programs of one command beyond those that records go to: they finish what they have got.
pub const BROKER_PROGRAMS_LEFT_MAX: usize = 16;

/// How long the broker waits for one path to be opened; a disk that hangs must not hold up what
/// else it is asked for.
pub const BROKER_DEED: Duration = Duration::from_secs(3);

/// How often it looks whether what it started has ended, where the kernel does not tell.
pub const BROKER_LOOK: Duration = Duration::from_secs(1);

/// How long the end of the server waits for that of its broker, which has nothing to finish.
pub const BROKER_END: Duration = Duration::from_secs(1);
/// How often it looks.
pub const BROKER_END_LOOK: Duration = Duration::from_millis(1);

const _: () = assert!(BROKER_DEED.as_millis() < BROKER_PATIENCE.as_millis());
