//! The flags of the view of the access log.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::{Glob, Written};

pub(super) const AFTER_HELP: &str = "\
FILE is a log that was written with access-log-format = \"json\"; - or none is the standard input.
Filters hold together; of one kind any may fit. Without a terminal, or under NO_COLOR, there is no
colour.

Examples:
  pitcrew log -f access.log                        the last lines, and what comes
  pitcrew log access.log --status 5xx --slower 1s  what failed, slowly
  pitcrew log access.log --path '/iso/**' --farewell client_abort
  zcat access.log.*.gz | pitcrew log --engine splice --format json";

/// What `log` is told.
#[derive(Debug, Args)]
pub struct LogView {
    /// Log to read [default: the standard input]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Go on with what is written later, also after a rotation
    #[arg(short, long, requires = "file")]
    pub follow: bool,
    /// Begin with the last lines, so many [default: all, with --follow 10]
    #[arg(short = 'n', long, value_name = "COUNT", requires = "file")]
    pub lines: Option<u64>,
    /// Statuses, as 404, 5xx or 400-499
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<String>,
    /// Paths by glob
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub path: Vec<Glob>,
    /// Engines that sent the body
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    pub engine: Vec<String>,
    /// How answers ended, as complete, client_abort or send_timeout
    #[arg(long, value_name = "FAREWELL", value_delimiter = ',')]
    pub farewell: Vec<String>,
    /// Answers that took at least so long
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    pub slower: Duration,
    /// How records are shown
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: LogFormat,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// In columns.
    Table,
    /// As they are.
    Json,
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    Written::Loose(text.into()).time(Duration::ZERO..=Duration::from_secs(86_400))
}
