//! What the lab is told. Ranges have been checked by `config` when it arrives here.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// What to race, over what, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file whose bytes are raced, or a directory in which one is made; without it one is
    /// made in a directory for temporary files. It is only read.
    pub file: Option<PathBuf>,
    /// Bytes of the file, a multiple of the block; without it all of FILE up to
    /// [`limits::LAB_SIZE_MAX`], or [`limits::LAB_SIZE`] of one that is made.
    pub size: Option<u64>,
    /// Bytes of one operation.
    pub block_size: usize,
    /// Operations in flight of the laps that have several; without it each lap's own.
    pub iodepth: Option<u32>,
    /// Which laps: those that read, those that write, or reads at random offsets; without it
    /// those that read and those that write.
    pub rw: Option<Rw>,
    /// Whether the laps that know O_DIRECT use it.
    pub direct: bool,
    /// Whether the file is in the page cache.
    pub cache: Cache,
    /// Time of each lap in each round.
    pub runtime: Duration,
    /// Rounds.
    pub rounds: u32,
    /// Names of laps or techniques; empty is all.
    pub techniques: Vec<String>,
    /// How the bytes are verified.
    pub verify: Verify,
    /// What the order of laps and the bytes of the file depend on; without it the clock.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: None,
            size: None,
            block_size: limits::LAB_BLOCK_BYTES,
            iodepth: None,
            rw: None,
            direct: false,
            cache: Cache::Warm,
            runtime: limits::LAB_RUNTIME,
            rounds: limits::LAB_ROUNDS,
            techniques: Vec::new(),
            verify: Verify::Pass,
            seed: None,
        }
    }
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $choice:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $choice,)* }

        impl $name {
            /// Every choice, in the order of the help.
            pub const ALL: &[Self] = &[$(Self::$choice,)*];

            /// The name in options and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$choice => $text,)* }
            }
        }
    };
}

choices! {
    /// The direction of the laps, and their order of offsets.
    Rw {
        /// From the file, one block after the other.
        Read "read",
        /// Into a file, one block after the other.
        Write "write",
        /// From the file, each block once, in any order.
        RandRead "randread",
    }
}

choices! {
    /// Whether the file is in the page cache when a lap begins.
    Cache {
        /// All of it.
        Warm "warm",
        /// Nothing of it.
        Cold "cold",
    }
}

choices! {
    /// When the bytes that a lap delivers are compared by checksum.
    Verify {
        /// In every round, in a pass beside the timed one over the same blocks.
        Pass "pass",
        /// In every round, in the timed pass itself, whose figures are lower then.
        Timed "timed",
        /// Never; the report says so.
        Off "off",
    }
}
