//! What the configuration may choose.

/// How much is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What the kernel allows; what it does not is told.
    #[default]
    Auto,
    /// Everything, or the server does not start.
    On,
    /// Nothing.
    Off,
}

impl Mode {
    /// Every choice, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Auto, Self::On, Self::Off];

    /// The name in options and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}
