//! Every bound of the server, with its unit and the reason for its value.
//!
//! Relations between bounds are `const` assertions at the end of the file. A bound that an
//! operator may change is the default of an option; the others are fixed.

use std::time::Duration;

// ring

/// Turns that a reactor waits at its end for the kernel to let go of what is in flight.
pub const DROP_TURNS_MAX: usize = 64;
/// How long each of these turns waits at most.
pub const DROP_TURN: Duration = Duration::from_millis(250);
