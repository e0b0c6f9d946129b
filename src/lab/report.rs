//! What a race has shown, as data: the JSON that `--output` keeps, by the schema beside this file.

use serde::{Deserialize, Serialize};

use super::crossover::Crossover;
use super::keeping::Keeping;
use super::statistics::Spread;

/// The version of the JSON: it changes when a name goes away or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The JSON schema of a [`Report`].
pub const SCHEMA: &str = include_str!("schema.json");

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub version: u32,
    /// The version of the program.
    pub pitcrew: String,
    /// When the race began, in seconds since 1970.
    pub measured_at: u64,
    /// What the order of laps and the bytes of the file depend on.
    pub seed: u64,
    /// Where.
    pub machine: Machine,
    /// Over what, and how.
    pub race: Race,
    /// Each lap, in the order of the table.
    pub laps: Vec<LapReport>,
    /// The fastest one, if one came through.
    pub fastest: Option<Fastest>,
    /// Where figures mean less than it seems.
    pub warnings: Vec<String>,
    /// The sizes by which the engine `auto` goes; none if only some techniques were raced.
    pub crossover: Option<Crossover>,
    /// How much caches keep by their policies; nothing if only some techniques were raced.
    #[serde(default)]
    pub keeping: Vec<Keeping>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name in the network.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// Kind of the file system.
    pub file_system: String,
    /// The device it is on, if it is on one.
    pub device: Option<String>,
    /// Whether the device, or the machine, is a virtual one.
    pub virtual_device: bool,
}

/// What was raced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Race {
    /// The file, or the directory of the one that was made.
    pub file: String,
    /// Whether it was made for the race.
    pub made: bool,
    /// Bytes of it.
    pub size: u64,
    /// Bytes of a block.
    pub block_size: usize,
    /// `read`, `write` or `randread`; `all` reads and writes.
    pub rw: String,
    /// Whether laps used O_DIRECT where they know it.
    pub direct: bool,
    /// `warm` or `cold`.
    pub cache: String,
    /// Time of each lap in each round, in milliseconds.
    pub runtime_ms: u64,
    /// Rounds.
    pub rounds: u32,
    /// When bytes were verified: `pass`, `timed` or `off`.
    pub verify: String,
}

/// How a lap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It counts.
    Raced,
    /// The file was not as warm or as cold as it was to be.
    Void,
    /// It delivered wrong bytes.
    Wrong,
    /// A call failed.
    Failed,
    /// This machine cannot run it.
    NotRun,
}

/// One lap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LapReport {
    /// Its name.
    pub lap: String,
    /// The technique it belongs to.
    pub technique: String,
    /// What it does: `read`, `socket`, `copy` or `write`.
    pub group: String,
    /// One line that says how.
    pub help: String,
    /// Operations in flight.
    pub depth: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it ended so, if it did not come through.
    pub reason: Option<String>,
    /// The figures, if there are any.
    pub figures: Option<Figures>,
    /// Each run, in the order of the rounds.
    pub runs: Vec<Run>,
}

/// Medians over the runs that count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes a second.
    pub bytes_per_second: Spread,
    /// Operations a second.
    pub operations_per_second: Spread,
    /// Processor time of an operation in nanoseconds, of all threads but a receiver's.
    pub processor_ns_per_operation: Spread,
    /// System calls for each operation; calls of the C library for POSIX AIO.
    pub calls_per_operation: f64,
    /// Entries of a ring for each operation.
    pub entries_per_operation: f64,
    /// Blocks whose checksum was compared, in all rounds.
    pub verified_blocks: u64,
    /// Rate over that of the baseline of its group, from the same rounds.
    pub factor: Option<Spread>,
}

/// One run of one lap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its place in the round.
    pub place: usize,
    /// Nanoseconds by the clock.
    pub elapsed_ns: u64,
    /// Nanoseconds of processor time.
    pub processor_ns: u64,
    /// Operations that came to an end.
    pub operations: u64,
    /// Bytes that were moved.
    pub bytes: u64,
    /// Operations that were resumed after a short transfer.
    pub short: u64,
    /// System calls.
    pub calls: u64,
    /// Entries of a ring.
    pub entries: u64,
    /// The part of the file that was in memory before, from 0 to 1, if the kernel tells.
    pub resident_before: Option<f64>,
    /// And after.
    pub resident_after: Option<f64>,
    /// Why it does not count, if so.
    pub void: Option<String>,
}

/// The fastest lap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fastest {
    /// Its name.
    pub lap: String,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Over the baseline of its group, where that was raced.
    pub factor: Option<f64>,
    /// Laps of its group whose intervals meet its own, so that they may be as fast.
    pub level_with: Vec<String>,
}

impl Report {
    /// The JSON, with a line's end.
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("names and numbers can always be written");
        text.push('\n');
        text
    }

    /// Whether a lap delivered wrong bytes or failed.
    pub fn has_fault(&self) -> bool {
        let crossover = self.crossover.as_ref().is_some_and(|crossover| crossover.wrong);
        crossover
            || self.laps.iter().any(|lap| matches!(lap.verdict, Verdict::Wrong | Verdict::Failed))
    }

    /// The lap of this name, if it came through.
    pub fn figures(&self, name: &str) -> Option<&Figures> {
        let lap = self.laps.iter().find(|lap| lap.lap == name && lap.verdict == Verdict::Raced)?;
        lap.figures.as_ref()
    }
}

/// The fastest of the laps that came through.
pub(super) fn fastest(laps: &[LapReport]) -> Option<Fastest> {
    let raced = || {
        let laps = laps.iter().filter(|lap| lap.verdict == Verdict::Raced);
        laps.filter_map(|lap| Some((lap, lap.figures.as_ref()?)))
    };
    let (best, figures) = raced().max_by(|(_, one), (_, other)| {
        one.bytes_per_second.median.total_cmp(&other.bytes_per_second.median)
    })?;
    let level = raced().filter(|(lap, other)| {
        lap.group == best.group
            && lap.lap != best.lap
            && other.bytes_per_second.high >= figures.bytes_per_second.low
    });
    Some(Fastest {
        lap: best.lap.clone(),
        bytes_per_second: figures.bytes_per_second.median,
        factor: figures.factor.map(|factor| factor.median),
        level_with: level.map(|(lap, _)| lap.lap.clone()).collect(),
    })
}
