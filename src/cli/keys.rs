//! One flag for each key of the configuration.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};

use crate::config::{Arity, Given, KEYS, Key, Written};

/// The keys that were given, in the order of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyFlags(pub(super) Vec<Given>);

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(key: &'static Key) -> Arg {
    let flag = Arg::new(key.name)
        .long(key.name)
        .value_name(key.value)
        .help(key.help)
        .help_heading(key.section.title())
        .hide_short_help(!key.common)
        .value_parser(value_parser!(OsString));
    match key.arity {
        // So that -1 is refused as out of range, and not as an unknown flag.
        Arity::One => flag.allow_negative_numbers(true),
        Arity::Many => flag.action(ArgAction::Append),
        Arity::Switch => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(KEYS.iter().filter_map(|key| given(key, matches)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = Self::from_arg_matches(matches)?.0;
        Ok(())
    }
}

fn given(key: &'static Key, matches: &ArgMatches) -> Option<Given> {
    let mut all: Vec<_> =
        matches.get_many::<OsString>(key.name)?.cloned().map(Written::Loose).collect();
    let written = if all.len() == 1 { all.remove(0) } else { Written::List(all) };
    Some(Given { key: key.name, spelt: format!("--{}", key.name), written })
}
