//! The flags of the terminal view.

use std::time::Duration;

use clap::Args;

use crate::config::Written;

pub(super) const AFTER_HELP: &str = "\
WHERE is http://HOST:PORT/PATH, HOST:PORT, a port of this machine, unix:SOCKET, or the path of a
socket; the scheme and /telemetry may be left out. Keys: q ends, p pauses, arrows scroll.

When the output is no terminal, a table is printed once a second.

Exit codes:
  0  ended as asked           2  wrong command line
 10  the server did not answer, or not with figures that are understood

Examples:
  pitcrew top                                  the server at http://127.0.0.1:8080
  pitcrew top unix:/run/pitcrew/telemetry.sock
  pitcrew top --once 9400 | grep sendfile";

/// What `top` is told.
#[derive(Debug, Args)]
pub struct Top {
    /// Server to look at, by its URL or socket
    #[arg(value_name = "WHERE", default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// Print one table and end
    #[arg(long)]
    pub once: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Path of the figures [default: that of the URL, else /telemetry]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

fn interval(text: &str) -> Result<Duration, String> {
    Written::Loose(text.into()).time(Duration::from_millis(100)..=Duration::from_secs(3600))
}
