//! What the program says: lines for people on a terminal, JSON for programs, always on the
//! standard error output.

use std::io::{self, IsTerminal};

use pitcrew::config::{Format, Level, Log};
use tracing::level_filters::LevelFilter;

/// Starts the log. A second start keeps the first.
pub(crate) fn start(log: Log) {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(filter(log.level))
        .with_target(false);
    // The only error is that there is a log already.
    let _ = match log.format {
        Format::Human => builder.with_ansi(colour()).try_init(),
        Format::Json => builder.with_ansi(false).json().flatten_event(true).try_init(),
    };
}

/// Colour is for a terminal that can show it and a person who wants it (no-color.org).
fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb && io::stderr().is_terminal()
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
