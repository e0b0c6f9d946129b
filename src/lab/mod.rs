//! The lab: every technique of this program raced on this machine, its bytes verified.
//!
//! [`run`] takes [`Options`] and answers with a [`Report`]; [`text()`], [`csv()`], [`svg`] and
//! [`Report::to_json`] show it, and [`list()`] names the laps and what keeps this machine from
//! running them.
//!
//! # How a figure comes about
//!
//! - Laps are interleaved: each runs once in each round, in an order that is shuffled by a seed,
//!   so that what drifts on the machine does not favour one of them.
//! - A lap is timed from its first operation to its last end. What it is made of (descriptors,
//!   buffers, rings, connections) is made before and taken down after. Memory mappings are part
//!   of the lap.
//! - In every round each block that the timed pass went over is delivered once more by the same
//!   lap and compared with the file by checksum, in a pass beside it without a limit of time; what
//!   a lap writes is read back and compared. In the timed pass only a mark of each block is
//!   compared, its first and its last eight bytes. After a cold run the pass beside finds in memory
//!   what that run has read, so what came from the disk is compared by marks, or by checksum with
//!   [`options::Verify::Timed`]. One wrong block ends the lap.
//! - Before and after each run the kernel is asked how much of the file is in memory. A run that
//!   was not as warm or as cold as it was to be is void, and a lap most of whose runs are void is.
//!   Where it does not tell, as of the file of another user, laps through the page cache are not
//!   run.
//! - The figure is the median over the rounds, with an interval that holds it by the sign test.
//!
//! # What is left behind
//!
//! Nothing: files that the lab makes have no names, so they are gone however the process ends. A
//! file that was named is opened for reading only.

mod course;
mod crossover;
mod csv;
mod fault;
mod inspect;
mod keeping;
mod laps;
mod list;
mod machine;
pub mod options;
mod plot;
mod race;
mod report;
mod statistics;
mod text;
mod track;
mod warnings;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub use crossover::{Crossing, Crossover, NEVER};
pub use csv::csv;
pub use fault::{Fault, LapError};
pub use keeping::Keeping;
pub use list::list;
pub use options::Options;
pub use plot::svg;
pub use race::Progress;
pub use report::{
    Fastest, Figures, LapReport, Machine, Race, Report, Run, SCHEMA, SCHEMA_VERSION, Verdict,
};
pub use statistics::{Spread, spread};
pub use text::text;

use laps::{Group, ROWS, Row};
use options::Rw;
use track::Track;

/// Races the laps.
///
/// # Errors
/// A [`Fault`] when there is nothing to race, or nothing to race over. What goes wrong with a lap
/// is in its report.
///
/// ```
/// use std::time::Duration;
/// use pitcrew::lab::{self, Options};
///
/// let options = Options {
///     size: Some(64 << 10),
///     rounds: 2,
///     runtime: Duration::from_millis(1),
///     techniques: vec!["read".to_owned(), "pread".to_owned()],
///     ..Options::default()
/// };
/// let report = lab::run(&options, &mut ())?;
/// assert!(lab::text(&report, false).contains("FASTEST LAP: "));
/// # Ok::<(), lab::Fault>(())
/// ```
pub fn run(options: &Options, progress: &mut dyn Progress) -> Result<Report, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(now.as_nanos() as u64 & 0xffff_ffff);
    let rows = chosen(options)?;
    let has = |group| rows.iter().any(|(row, _)| row.group == group);
    let track = Track::open(options, seed, has(Group::Write), has(Group::Copy))?;
    let machine = machine::look(&track);
    let rows: Vec<_> =
        rows.into_iter().map(|(row, depth)| (row, depth, row.hindrance(&track, options))).collect();
    if rows.iter().all(|(.., reason)| reason.is_some()) {
        let reasons = rows
            .into_iter()
            .map(|(row, _, reason)| (row.name.to_owned(), reason.expect("all of them have one")));
        return Err(Fault::Nothing(reasons.collect()));
    }
    let laps = race::race(rows, &track, options, seed, progress);
    // Only a race of everything that reads is one by which `auto` should go.
    let whole = options.techniques.is_empty() && matches!(options.rw, None | Some(Rw::Read));
    let crossover = whole.then(|| crossover::measure(&track, options.rounds));
    let race = Race {
        file: track.path.to_string_lossy().into_owned(),
        made: track.made,
        size: track.size,
        block_size: track.block,
        rw: race::direction(options.rw).to_owned(),
        direct: options.direct,
        cache: options.cache.name().to_owned(),
        runtime_ms: u64::try_from(options.runtime.as_millis()).unwrap_or(u64::MAX),
        rounds: options.rounds,
        verify: options.verify.name().to_owned(),
    };
    let warnings = warnings::find(&machine, &race, &laps);
    let fastest = report::fastest(&laps);
    Ok(Report {
        version: SCHEMA_VERSION,
        pitcrew: env!("CARGO_PKG_VERSION").to_owned(),
        measured_at: now.as_secs(),
        seed,
        machine,
        race,
        laps,
        fastest,
        warnings,
        crossover,
        keeping: if whole { keeping::measure(seed) } else { Vec::new() },
    })
}

/// Writes a result to a file, in place of what it held.
///
/// # Errors
/// What the kernel said.
pub fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

/// The rows that the options ask for, with their depths. The baselines of their groups come with
/// them, so that there is something to compare with.
fn chosen(options: &Options) -> Result<Vec<(&'static Row, u32)>, Fault> {
    let names = &options.techniques;
    for name in names {
        if !ROWS.iter().any(|row| row.is_meant_by(name)) {
            return Err(Fault::Unknown { name: name.clone() });
        }
    }
    let meant = |row: &Row| names.is_empty() || names.iter().any(|name| row.is_meant_by(name));
    let racing: Vec<_> = ROWS
        .iter()
        .filter(|row| row.races(options.rw))
        .filter_map(|row| Some((row, row.in_flight(options)?)))
        .collect();
    let asked: Vec<Group> =
        racing.iter().filter(|(row, _)| meant(row)).map(|(row, _)| row.group).collect();
    if asked.is_empty() {
        let rw = race::direction(options.rw);
        let reason = format!("--rw {rw} and --iodepth leave no lap of it");
        return Err(Fault::Nothing(
            names.iter().map(|name| (name.clone(), reason.clone())).collect(),
        ));
    }
    let kept = racing
        .into_iter()
        .filter(|(row, _)| meant(row) || (row.is_baseline() && asked.contains(&row.group)));
    Ok(kept.collect())
}
