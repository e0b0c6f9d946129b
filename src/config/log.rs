//! What the program says about itself on the standard error output.

/// How much is said, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// The least important level that is shown.
    pub level: Level,
    /// For people or for programs.
    pub format: Format,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Nothing.
    Off,
    /// What keeps the server from its work.
    Error,
    /// What should be put right.
    Warn,
    /// Start, end and what an operator asked for.
    #[default]
    Info,
    /// Decisions.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    /// Every level, in the order of the help.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// For whom it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines for people, with colour on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Every form, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Human, Self::Json];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}
