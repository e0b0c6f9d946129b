//! The flags of the doctor.

use clap::{Args, ValueEnum};

use super::Serve;

pub(super) const AFTER_HELP: &str = "\
It looks at the machine, at each mount beneath ROOT, and at the names there. Options are those of
the server: what it may need is compared with what this machine allows.

Exit codes:
  0  every engine can run     4  the root cannot be served
  2  wrong command line       6  io_uring is not available
  3  wrong configuration      9  the server can run, and an engine cannot

Examples:
  pitcrew doctor /srv/www                      what this machine allows for /srv/www
  pitcrew doctor --connections 100000          for so many connections
  pitcrew doctor --config config.toml --format json";

/// What `doctor` is told.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What would be served.
    #[command(flatten)]
    pub serve: Serve,
    /// How the report is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: DoctorFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people.
    Text,
    /// One object, with a version.
    Json,
}
