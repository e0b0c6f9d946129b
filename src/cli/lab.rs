//! The flags of the lab, made from the table of its options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum, value_parser,
};

use crate::config::{LAB_KEYS, LabKey, LabOptions, Written, check_lab};

pub(super) const AFTER_HELP: &str = "\
A FILE is only read; what laps write goes to files without names beside it, as large as what is
raced of it, which are gone at the end. Without room for them those laps are not run. With --rw read
laps only copy into one, and with randread nothing is written.

Exit codes:
  0  ended as asked           8  a lap delivered wrong bytes or failed
  2  wrong command line      11  no lap came through: the file was never as warm or as cold as it
  7  the lab cannot race         was to be

Examples:
  pitcrew lab                                  every technique, a file of the lab's own
  pitcrew lab /srv/www/big.iso --cache cold    over this file, from the disk
  pitcrew lab /mnt --techniques pread,mmap    in a file on the disk of /mnt
  pitcrew lab --output lab.json --plot lab.svg keep the figures and a picture";

/// What `lab` is told.
#[derive(Debug, Args)]
pub struct Lab {
    /// File to read, or directory to make one in [default: TMPDIR, else /var/tmp]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    keys: LabFlags,
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: LabFormat,
    /// Keep the result as JSON in a file, for the key lab-results of the server
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the result into a file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Name the laps and what keeps this machine from running them
    #[arg(long)]
    pub list: bool,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabFormat {
    /// For people.
    Table,
    /// By the schema of the lab.
    Json,
    /// One line a lap.
    Csv,
}

impl Lab {
    /// What was given, checked.
    ///
    /// # Errors
    /// Every problem, with the flag and the remedy.
    pub fn options(&self) -> Result<LabOptions, Vec<String>> {
        let mut options = LabOptions { file: self.file.clone(), ..LabOptions::default() };
        let mut problems = Vec::new();
        for (key, written) in &self.keys.0 {
            if let Err(message) = key.set(&mut options, written) {
                problems.push(format!("--{}: {message}", key.name));
            }
        }
        if problems.is_empty() {
            problems.extend(check_lab(&options).err());
        }
        if problems.is_empty() { Ok(options) } else { Err(problems) }
    }
}

/// The options that were given, in the order of the table.
#[derive(Debug, Default)]
struct LabFlags(Vec<(&'static LabKey, Written)>);

impl Args for LabFlags {
    fn augment_args(command: Command) -> Command {
        LAB_KEYS.iter().fold(command, |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(key: &'static LabKey) -> Arg {
    let flag = Arg::new(key.name)
        .long(key.name)
        .value_name(key.value)
        .help(key.help)
        .value_parser(value_parser!(OsString));
    if key.switch {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag.action(ArgAction::Set).allow_negative_numbers(true)
    }
}

impl FromArgMatches for LabFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = LAB_KEYS.iter().filter_map(|key| {
            let value = matches.get_one::<OsString>(key.name)?.clone();
            Some((key, Written::Loose(value)))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = Self::from_arg_matches(matches)?.0;
        Ok(())
    }
}
