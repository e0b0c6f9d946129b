//! What a key is: a row of the table of keys.

use std::path::Path;

use toml::Value;

use super::Written;
use super::catalogue::KEYS;
use super::effective::Settings;

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// The name, in kebab case.
    pub name: &'static str,
    /// The heading it stands under.
    pub section: Section,
    /// What a value is called in the help.
    pub value: &'static str,
    /// One line of help, without a full stop.
    pub help: &'static str,
    /// How many values it takes.
    pub arity: Arity,
    /// Whether the short help shows it.
    pub common: bool,
    /// Reads a value; paths of the file are relative to the directory, which is empty for
    /// flags and variables.
    pub(super) set: fn(&mut Settings, &Written, &Path) -> Result<(), String>,
    /// The value as the file would have it.
    pub(super) show: fn(&Settings) -> Value,
}

/// How many values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// One value.
    One,
    /// `true` or `false`; the bare flag is `true`.
    Switch,
    /// A list; the flag may be repeated.
    Many,
}

/// The headings of the help and of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What is served, where and how.
    Serving,
    /// Which files, and by which names.
    Files,
    /// Threads and memory.
    Workers,
    /// Limits of what clients may take.
    Limits,
    /// The figures.
    Telemetry,
    /// A record for each answer.
    AccessLog,
    /// What the program says.
    Log,
}

impl Section {
    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Files => "Files",
            Self::Workers => "Workers and memory",
            Self::Limits => "Limits and times",
            Self::Telemetry => "Telemetry",
            Self::AccessLog => "Access log",
            Self::Log => "Log",
        }
    }
}

impl Key {
    /// The variable of the environment.
    pub fn variable(&self) -> String {
        format!("PITCREW_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The row of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    pub(super) const fn one(
        section: Section,
        name: &'static str,
        value: &'static str,
        help: &'static str,
        set: fn(&mut Settings, &Written, &Path) -> Result<(), String>,
        show: fn(&Settings) -> Value,
    ) -> Self {
        Self { name, section, value, help, arity: Arity::One, common: false, set, show }
    }

    pub(super) const fn switch(self) -> Self {
        Self { arity: Arity::Switch, ..self }
    }

    pub(super) const fn many(self) -> Self {
        Self { arity: Arity::Many, ..self }
    }

    pub(super) const fn common(self) -> Self {
        Self { common: true, ..self }
    }
}
