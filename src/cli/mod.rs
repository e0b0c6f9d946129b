//! The command line: what may be typed, and its help.
//!
//! The flags of the configuration are made from the table of keys, so a key has the same name,
//! the same help and the same rules in the file, in the environment and here. Values are not
//! looked at: `config` reads them, whatever their source.

mod doctor;
mod keys;
mod lab;
mod log;
mod top;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Given, Written};
use keys::KeyFlags;

pub use doctor::{Doctor, DoctorFormat};
pub use lab::{Lab, LabFormat};
pub use log::{LogFormat, LogView};
pub use top::Top;

/// Names that are commands and therefore need `./` in front to be served as directories.
pub const COMMANDS: [&str; 5] = ["check", "doctor", "top", "lab", "log"];

/// The version, and the commit when it is known.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("VERSION_SUFFIX"));

const EXAMPLES: &str = "\
Examples:
  pitcrew                             serve ./www, or this directory without one
  pitcrew --engine splice /srv/www    serve /srv/www by splice(2)
  pitcrew --listen :80 ./check        every interface; ./ for a directory named as a command
  pitcrew check --print               show every key, its value and its source
  pitcrew doctor /srv/www             what this machine allows, and what it forbids
  pitcrew top                         the figures of a server, in this terminal
  pitcrew lab                         race every I/O technique on this machine";

const AFTER_HELP: &str = "\
Every option may stand in a file (--config, or PITCREW_CONFIG) under the same name, or in the
environment as PITCREW_NAME. Flags win over the environment, that over the file.

Examples:
  pitcrew                             serve ./www, or this directory without one
  pitcrew --engine splice /srv/www    serve /srv/www by splice(2)
  pitcrew --listen :80 ./check        every interface; ./ for a directory named as a command
  pitcrew check --print               show every key, its value and its source
  pitcrew doctor /srv/www             what this machine allows, and what it forbids
  pitcrew top                         the figures of a server, in this terminal
  pitcrew lab                         race every I/O technique on this machine

Signals:
  SIGTERM, SIGINT  finish what is begun, then end; a second one ends at once
  SIGHUP           read the configuration again; a wrong one leaves the earlier in force
  SIGUSR1          open the files of the access log again

Exit codes:
  0  ended as asked           4  the root cannot be served
  2  wrong command line       5  an address cannot be listened on
  3  wrong configuration      6  io_uring is not available
  7  the lab cannot race      8  a lap delivered wrong bytes or failed
  9  doctor: an engine cannot run here
 10  top: the server did not answer
 11  no lap of the lab came through
 70  a fault of the program itself";

/// Serves a directory over HTTP/1.1 on io_uring, by the engine of your choice.
#[derive(Debug, Parser)]
#[command(
    name = "pitcrew",
    version = VERSION,
    after_help = EXAMPLES,
    after_long_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// What to serve, and how.
    #[command(flatten)]
    pub serve: Serve,
    /// Another job than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Jobs beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration, and say what is wrong with it, by file and line
    #[command(disable_version_flag = true, max_term_width = 100)]
    Check(Check),
    /// Say what this machine, its limits and its file systems allow, and what to do about it
    #[command(disable_version_flag = true, max_term_width = 100, after_help = doctor::AFTER_HELP)]
    Doctor(Doctor),
    /// Show the figures of a running server in this terminal
    #[command(disable_version_flag = true, max_term_width = 100, after_help = top::AFTER_HELP)]
    Top(Top),
    /// Race every I/O technique on this machine, and say which one is fastest
    #[command(disable_version_flag = true, max_term_width = 100, after_help = lab::AFTER_HELP)]
    Lab(Lab),
    /// Show an access log of JSON in columns, filtered, and follow it
    #[command(disable_version_flag = true, max_term_width = 100, after_help = log::AFTER_HELP)]
    Log(LogView),
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration to check.
    #[command(flatten)]
    pub serve: Serve,
    /// Print the effective configuration, with the source of each value
    #[arg(long)]
    pub print: bool,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "toml", requires = "print")]
    pub format: PrintFormat,
}

/// How a configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrintFormat {
    /// A file that --config takes.
    Toml,
    /// One object.
    Json,
}

/// Everything that makes a configuration.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Directory to serve; the same as --root
    #[arg(value_name = "ROOT", conflicts_with = "root",
          value_parser = OsStringValueParser::new().try_map(no_command))]
    directory: Option<OsString>,
    /// File to read the configuration from [default: PITCREW_CONFIG, else none]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say errors only: --log-level error, and no line for each address
    #[arg(short, long, conflicts_with = "log-level")]
    pub quiet: bool,
    #[command(flatten)]
    keys: KeyFlags,
}

/// Behind an option a command is no longer one, and would be taken for a directory.
fn no_command(word: OsString) -> Result<OsString, String> {
    match COMMANDS.iter().find(|&&command| word == command) {
        Some(command) => Err(format!(
            "a command comes first, as 'pitcrew {command} ...'; the directory is ./{command}"
        )),
        None => Ok(word),
    }
}

impl Serve {
    /// The keys that were given, as they were spelt.
    pub fn given(&self) -> Vec<Given> {
        let mut given = self.keys.0.clone();
        if let Some(directory) = &self.directory {
            let written = Written::Loose(directory.clone());
            given.push(Given { key: "root", spelt: "ROOT".to_owned(), written });
        }
        if self.quiet {
            let written = Written::Loose("error".into());
            given.push(Given { key: "log-level", spelt: "--quiet".to_owned(), written });
        }
        given
    }

    /// The directory that was named without a flag, which may be a misspelt command.
    pub fn bare_word(&self) -> Option<&str> {
        self.directory.as_ref()?.to_str()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::KEYS;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["pitcrew"], arguments].concat())
    }

    fn given(arguments: &[&str]) -> Vec<(&'static str, String, Written)> {
        let given = parse(arguments).unwrap().serve.given();
        given.into_iter().map(|one| (one.key, one.spelt, one.written)).collect()
    }

    fn loose(text: &str) -> Written {
        Written::Loose(text.into())
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
        let commands = Arguments::command();
        let names: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, COMMANDS);
    }

    #[test]
    fn every_key_is_a_flag_of_both() {
        for command in
            [Arguments::command(), Arguments::command().get_subcommands().next().unwrap().clone()]
        {
            for key in &KEYS {
                assert!(command.get_arguments().any(|flag| flag.get_long() == Some(key.name)));
            }
        }
    }

    #[test]
    fn what_is_given_keeps_its_spelling() {
        assert_eq!(given(&["site"]), [("root", "ROOT".into(), loose("site"))]);
        assert_eq!(given(&["--root", "site"]), [("root", "--root".into(), loose("site"))]);
        assert_eq!(given(&["./check"]), [("root", "ROOT".into(), loose("./check"))]);
        assert_eq!(given(&["-q"]), [("log-level", "--quiet".into(), loose("error"))]);
        assert_eq!(given(&[]), []);
    }

    #[test]
    fn a_switch_needs_no_value_and_takes_one() {
        assert_eq!(given(&["--pin"])[0].2, loose("true"));
        assert_eq!(given(&["--pin=false"])[0].2, loose("false"));
        // The word behind a bare switch is the root.
        assert_eq!(given(&["--pin", "site"]).len(), 2);
    }

    #[test]
    fn a_list_may_be_repeated_and_one_value_may_not() {
        let all = given(&["--listen", "80", "--listen", "[::1]:81"]);
        assert_eq!(all[0].2, Written::List(vec![loose("80"), loose("[::1]:81")]));
        assert!(parse(&["--engine", "copy", "--engine", "uring"]).is_err());
    }

    #[test]
    fn two_roots_and_flags_before_a_command_are_mistakes() {
        use clap::error::ErrorKind::ArgumentConflict;
        assert_eq!(parse(&["--root", "a", "b"]).unwrap_err().kind(), ArgumentConflict);
        assert_eq!(
            parse(&["--quiet", "--log-level", "info"]).unwrap_err().kind(),
            ArgumentConflict
        );
        let late = parse(&["--engine", "copy", "check"]).unwrap_err().to_string();
        assert!(late.contains("a command comes first, as 'pitcrew check ...'"), "{late}");
        assert!(parse(&["check", "--engine", "copy"]).is_ok());
        assert!(parse(&["check", "--format", "json"]).is_err());
    }
}
