//! Bounds of new configurations and new processes.

use std::time::Duration;

/// How often the main thread looks whether a worker has failed.
pub const WORKERS_LOOK: Duration = Duration::from_millis(100);

/// Configurations that may be served at once: the newest, and earlier ones that finish. Each has
/// its own memory; a reload beyond waits.
pub const GENERATIONS_MAX: usize = 3;

/// How long a reload waits for one disk: that of the configuration, or of a directory that it
/// names. One that has to spin up first takes some ten seconds.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(15);

/// How long the workers of a new configuration may take to be ready. Memory that is pinned is
/// cleared first, some seconds for tens of gigabytes.
pub const WORKERS_PATIENCE: Duration = Duration::from_secs(60);

/// How long each message of a hand-over may take. The longest is the start of the workers.
pub const HAND_OVER_PATIENCE: Duration = Duration::from_secs(60);

/// Messages of listeners in one hand-over. An address takes one for each 200 sockets; who sends
/// more is no server of this program.
pub const HAND_OVER_MESSAGES_MAX: usize = 1024;

/// How often it looks whether they have drained, or what has become of a new configuration.
pub const DRAIN_LOOK: Duration = Duration::from_millis(5);
