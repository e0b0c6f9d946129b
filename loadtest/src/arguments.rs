//! What the program is asked for.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::fio;
use crate::network::Kind;
use crate::null;

/// The argument that says that the namespace was entered.
pub(crate) const IN_NAMESPACE: &str = "--in-namespace";
/// Measures what a request costs pitcrew, engine by engine, against other servers.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
Exit codes:
  0    every round counts
  1    an answer was wrong, a server failed, or a file could not be read or written
  2    wrong usage
  3    a program is missing; or nothing could run, or with CI set not everything
  4    rounds are void: another engine did the work, or a cold file was in memory
  130  interrupted"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Comparison>,

    /// Engines of pitcrew, or `none`; with options behind a colon an engine takes part in that
    /// variant, too: `auto,auto:hot-cache=1MiB+pin=false`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) engines: Option<Vec<String>>,

    /// Servers to set them against: nginx, lighttpd, h2o, caddy, static-web-server, a
    /// configuration such as nginx-copy, `all`, or `none`; those that are not installed are passed
    /// over, but for nginx where `CI` is set [default: all; nginx for a smoke test]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) peers: Option<Vec<String>>,

    /// What to measure: names of scenarios, or paths of TOML files
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) scenarios: Option<Vec<String>>,

    /// Rounds that count, after one to warm up
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Length of a round with wrk
    #[arg(long, value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// One short round of each engine and of nginx: that everything works, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub(crate) smoke: bool,

    /// The server's program [default: `pitcrew` beside this one]
    #[arg(long, value_name = "PATH")]
    pub(crate) pitcrew: Option<PathBuf>,

    /// Where files to serve are made [default: beside this program]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) scratch: Option<PathBuf>,

    /// Workers of each server. One has a core of its own, more have all cores, the generator's too
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,

    /// The core of the servers [default: the first]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) server_core: Option<usize>,

    /// The core of the generator [default: the second]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) generator_core: Option<usize>,

    /// What lies between generator and servers
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub(crate) network: Kind,

    /// Congestion control of all connections, one after the other, in a network namespace (as
    /// root, with iproute2) [default: the machine's]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) congestion: Vec<String>,

    /// Set by this program for itself
    #[arg(long, hide = true)]
    pub(crate) in_namespace: bool,

    /// Where DATE-COMMIT.json and DATE-COMMIT.html are written, or `none`
    /// [default: loadtest/results where that is, else results; none for a smoke test]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) results: Option<PathBuf>,

    /// Say what each scenario measures, and end
    #[arg(long)]
    pub(crate) list: bool,
}

impl Arguments {
    /// The names of the servers that it is set against.
    pub(crate) fn peers(&self) -> Vec<String> {
        let default = if self.smoke { "nginx" } else { "all" };
        self.peers.clone().unwrap_or_else(|| vec![default.to_owned()])
    }
}

/// What is done instead of comparing servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Comparison {
    Fio(fio::Arguments),
    #[command(hide = true)]
    Null(null::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_hold_together() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from("loadtest --smoke --rounds 2".split(' ')).is_err());
        assert!(Arguments::parse_from(["loadtest", IN_NAMESPACE]).in_namespace);
    }
}
