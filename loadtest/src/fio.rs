//! The laps of `pitcrew lab` against the engines of fio: the same file, block and depth.
//!
//! In each round every lap runs once and fio's engine of the same technique twice, in an order
//! that turns from round to round. What the two runs of fio differ by is the noise of the machine
//! (A/A). A lap agrees when the medians differ by at most a tenth, or by twice that noise.

mod reports;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use self::reports::{output, rate_of_fio, rate_of_lab};
use crate::failure::{Failure, during};
use crate::machine::{self, Machine};
use crate::plan::pitcrew_program;
use crate::results::{arguments as kept_arguments, new_result, results_directory};
use crate::site::{Dice, Scratch};
use crate::statistics::Spread;

/// Sets the laps of `pitcrew lab` against fio's engines, on the same file, block and depth.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Laps to compare: read, readv, pread, posix-aio, uring, splice [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    laps: Option<Vec<String>>,

    /// Bytes of the file
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20,
          value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 40))]
    size: u64,

    /// Bytes of one operation
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10,
          value_parser = clap::value_parser!(u64).range(512..=16 << 20))]
    block_size: u64,

    /// Operations in flight where a technique has several
    #[arg(long, value_name = "COUNT", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    iodepth: u32,

    /// The order of the reads
    #[arg(long, value_enum, value_name = "ORDER", default_value_t)]
    rw: Order,

    /// Past the page cache, where a technique can be
    #[arg(long)]
    direct: bool,

    /// Rounds
    #[arg(long, value_name = "COUNT", default_value_t = 7,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Length of one run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// One short round: that both run and are understood, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "size"])]
    smoke: bool,

    /// The program with the lab [default: `pitcrew` beside this one]
    #[arg(long, value_name = "PATH")]
    pitcrew: Option<PathBuf>,

    /// Where the file is made [default: beside this program]
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,

    /// Where DATE-COMMIT-fio.json is written, or `none` [default: as without `fio`]
    #[arg(long, value_name = "DIRECTORY")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Order {
    #[default]
    Read,
    Randread,
}

impl Order {
    /// The word that fio and the lab share.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Randread => "randread",
        }
    }
}

/// A lap, fio's engine of the same technique, and whether both have a depth.
struct Pair {
    lap: &'static str,
    engine: &'static str,
    deep: bool,
    /// Whether it can pass by the page cache.
    direct: bool,
    /// Buffers that a block is scattered over.
    parts: u64,
}

const fn pair(lap: &'static str, engine: &'static str, deep: bool, direct: bool) -> Pair {
    Pair { lap, engine, deep, direct, parts: 1 }
}

const PAIRS: [Pair; 6] = [
    pair("read", "sync", false, true),
    pair("pread", "psync", false, true),
    Pair { parts: 4, ..pair("readv", "vsync", false, true) },
    pair("posix-aio", "posixaio", true, true),
    pair("uring", "io_uring", true, true),
    pair("splice", "splice", false, false),
];

/// Bytes a second of one round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Round {
    lab: f64,
    fio: f64,
    fio_again: f64,
}

/// The figures of a pair, or why there are none.
struct Outcome {
    lap: &'static str,
    engine: &'static str,
    rounds: Vec<Round>,
    reason: Option<String>,
}

/// What the rounds of a pair say.
#[derive(Debug, PartialEq)]
struct Judgement {
    lab: Spread,
    fio: Spread,
    /// Of the medians, lab to fio.
    ratio: f64,
    /// How far two runs of fio lie apart.
    noise: f64,
    agrees: bool,
    /// Whether they differ by no more than is wished for.
    is_close: bool,
}

/// By how much medians may differ on a machine without noise.
const TOLERANCE: f64 = 0.1;
/// By how much at most they are wished to.
const AIM: f64 = 0.05;

fn judge(rounds: &[Round]) -> Option<Judgement> {
    let lab = Spread::of(rounds.iter().map(|round| round.lab))?;
    let fio = Spread::of(rounds.iter().flat_map(|round| [round.fio, round.fio_again]))?;
    let noise = Spread::of(rounds.iter().map(|round| round.fio_again / round.fio))?.noise();
    let ratio = lab.median / fio.median;
    let is_within = |bound: f64| (ratio - 1.0).abs() <= bound.max(2.0 * noise);
    let (agrees, is_close) = (is_within(TOLERANCE), is_within(AIM));
    Some(Judgement { lab, fio, ratio, noise, agrees, is_close })
}

/// Runs the comparison.
pub(crate) fn run(arguments: &Arguments, stop: &AtomicBool) -> Result<ExitCode, Failure> {
    let pairs = chosen(arguments)?;
    let Some(fio) = machine::program("fio") else {
        return Err(Failure::Missing("fio is missing; `apt-get install fio`".to_owned()));
    };
    let pitcrew = pitcrew_program(arguments.pitcrew.as_deref())?;
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let below = arguments.scratch.clone().or(beside).unwrap_or_else(std::env::temp_dir);
    let scratch = during("make a scratch directory", Scratch::new(&below))?;
    let programs = [(pitcrew.as_path(), "--version"), (fio.as_path(), "--version")];
    let machine = during("look at the machine", Machine::here(scratch.path(), &programs))?;
    let size = if arguments.smoke { 4 << 20 } else { arguments.size };
    let size = (size / arguments.block_size).max(1) * arguments.block_size;
    let path = scratch.path().join("file");
    during("make the file", make_file(&path, size))?;

    let bench = Bench { arguments, fio, pitcrew, path, size };
    let mut outcomes: Vec<Outcome> = pairs
        .iter()
        .map(|pair| Outcome {
            lap: pair.lap,
            engine: pair.engine,
            rounds: Vec::new(),
            reason: (arguments.direct && !pair.direct)
                .then(|| "it moves pages of the page cache, which --direct passes by".to_owned()),
        })
        .collect();
    let count = if arguments.smoke { 1 } else { arguments.rounds };
    for round in 0..count {
        for turn in 0..pairs.len() {
            let at = (turn + round as usize) % pairs.len();
            if stop.load(Ordering::Relaxed) {
                return Err(Failure::Io("the rounds".into(), io::ErrorKind::Interrupted.into()));
            }
            if outcomes[at].reason.is_none() {
                match bench.round(pairs[at], round)? {
                    Ok(figures) => outcomes[at].rounds.push(figures),
                    Err(reason) => outcomes[at].reason = Some(reason),
                }
            }
        }
        eprintln!("round {} of {count}", round + 1);
    }
    print!("{}", table(&outcomes));
    if let Some(directory) = results_directory(arguments.results.as_deref(), arguments.smoke) {
        let place = directory.display().to_string();
        let written = keep(&directory, &machine, arguments, size, &outcomes);
        println!("\nwritten: {}", during(&place, written)?.display());
    }
    Ok(verdict(arguments.smoke, &outcomes))
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Pair>, Failure> {
    let Some(names) = &arguments.laps else { return Ok(PAIRS.iter().collect()) };
    let find = |name: &String| {
        PAIRS.iter().find(|pair| pair.lap == name).ok_or_else(|| {
            let all = PAIRS.map(|pair| pair.lap).join(", ");
            Failure::Usage(format!("no lap here is called '{name}'; there are {all}"))
        })
    };
    names.iter().map(find).collect()
}

fn make_file(path: &Path, size: u64) -> io::Result<()> {
    let mut dice = Dice::new(size);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..size / 8 {
        file.write_all(&dice.roll().to_le_bytes())?;
    }
    // What waits to be written would be written while somebody is measured.
    file.into_inner()?.sync_all()
}

struct Bench<'a> {
    arguments: &'a Arguments,
    fio: PathBuf,
    pitcrew: PathBuf,
    path: PathBuf,
    size: u64,
}

impl Bench<'_> {
    /// One run of the lab and two of fio, the lab's first, last or in between. The inner error is
    /// why a pair has no figures.
    fn round(&self, pair: &Pair, round: u32) -> Result<Result<Round, String>, Failure> {
        let mut fio = Vec::new();
        let mut lab = 0.0;
        for turn in 0..3 {
            if turn == round % 3 {
                match self.lab(pair)? {
                    Ok(rate) => lab = rate,
                    Err(reason) => return Ok(Err(reason)),
                }
            } else {
                match self.fio(pair)? {
                    Ok(rate) => fio.push(rate),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
        }
        Ok(Ok(Round { lab, fio: fio[0], fio_again: fio[1] }))
    }

    fn lab(&self, pair: &Pair) -> Result<Result<f64, String>, Failure> {
        let Arguments { block_size, iodepth, rw, direct, .. } = self.arguments;
        let mut command = Command::new(&self.pitcrew);
        command.arg("lab").arg(&self.path).args(["--techniques", pair.lap, "--rounds", "1"]);
        command.args(["--format", "json", "--cache", "warm", "--verify", "pass"]);
        command.args(["--rw", rw.name(), "--size", &format!("{}B", self.size)]);
        command.args(["--block-size", &format!("{block_size}B")]);
        command.args(["--runtime", &self.runtime()]);
        if pair.deep {
            command.args(["--iodepth", &iodepth.to_string()]);
        }
        if *direct {
            command.arg("--direct");
        }
        let told = output(&mut command)?;
        Ok(told.and_then(|told| rate_of_lab(&told, pair.lap)))
    }

    fn fio(&self, pair: &Pair) -> Result<Result<f64, String>, Failure> {
        let Arguments { block_size, iodepth, rw, direct, .. } = self.arguments;
        let mut command = Command::new(&self.fio);
        command.arg("--name=lap").arg(format!("--filename={}", self.path.display()));
        command.arg(format!("--ioengine={}", pair.engine)).arg(format!("--size={}", self.size));
        if pair.parts == 1 {
            command.arg(format!("--rw={}", rw.name())).arg(format!("--bs={block_size}"));
        } else {
            // fio has one buffer for a block, and gathers neighbouring blocks that are queued
            // together into one call: the parts of a block are blocks of its own for it.
            let parts = pair.parts;
            let order = match rw {
                Order::Read => rw.name().to_owned(),
                // A new place after so many.
                Order::Randread => format!("{}:{parts}", rw.name()),
            };
            command.arg(format!("--rw={order}")).arg(format!("--bs={}", block_size / parts));
            for option in ["iodepth", "iodepth_batch", "iodepth_batch_complete_min"] {
                command.arg(format!("--{option}={parts}"));
            }
        }
        command.arg(format!("--runtime={}", self.runtime())).arg("--time_based");
        command.arg(format!("--direct={}", u8::from(*direct)));
        // The lab reads no clock for each operation, and leaves the file in memory.
        command.args(["--gtod_reduce=1", "--invalidate=0", "--readonly", "--thread"]);
        command.args(["--norandommap", "--output-format=json"]);
        // By itself fio takes memory as malloc gives it, and copies to what no page begins with
        // are half as fast. The lab's buffers begin with a page, or with what a block is cut by.
        let page = rustix::param::page_size() as u64;
        let alignment = page.min(1 << block_size.trailing_zeros());
        command.arg(format!("--iomem_align={alignment}"));
        if pair.deep {
            command.arg(format!("--iodepth={iodepth}"));
        }
        let told = output(&mut command)?;
        Ok(told.and_then(|told| rate_of_fio(&told, pair.engine)))
    }

    fn runtime(&self) -> String {
        if self.arguments.smoke { "200ms".into() } else { format!("{}s", self.arguments.seconds) }
    }
}

/// What was found to keep a lap from doing as fio does.
fn in_the_way(lap: &str) -> Option<&'static str> {
    (lap == "readv").then_some(
        "fio seeks before each readv and books four operations to a block; the lab seeks only \
         where the offset jumps",
    )
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<10} {:<9} {:>10} {:>10} {:>7} {:>7}\n",
        "lap", "fio", "lab MB/s", "fio MB/s", "ratio", "A/A"
    );
    for outcome in outcomes {
        let _ = write!(text, "{:<10} {:<9} ", outcome.lap, outcome.engine);
        let line = match (judge(&outcome.rounds), &outcome.reason) {
            (_, Some(reason)) => format!("SKIPPED: {reason}"),
            (None, None) => "no round".to_owned(),
            (Some(Judgement { lab, fio, ratio, noise, agrees, is_close }), None) => {
                let (lab, fio) = (lab.median / 1e6, fio.median / 1e6);
                let word = match (agrees, is_close) {
                    (_, true) => "agrees, as near as is wished for",
                    (true, false) => "agrees",
                    (false, false) => "DIFFERS",
                };
                let why = in_the_way(outcome.lap).filter(|_| !is_close);
                let why = why.map(|why| format!("; in the way: {why}")).unwrap_or_default();
                format!("{lab:>10.0} {fio:>10.0} {ratio:>7.3} {noise:>7.3}  {word}{why}")
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn keep(
    directory: &Path,
    machine: &Machine,
    arguments: &Arguments,
    size: u64,
    outcomes: &[Outcome],
) -> io::Result<PathBuf> {
    let pairs = outcomes.iter().map(|outcome| {
        let judgement = judge(&outcome.rounds).map(|judgement| {
            json!({
                "lab": judgement.lab,
                "fio": judgement.fio,
                "ratio": judgement.ratio,
                "noise": judgement.noise,
                "agrees": judgement.agrees,
                "is_close": judgement.is_close,
            })
        });
        json!({
            "lap": outcome.lap,
            "engine": outcome.engine,
            "skipped": outcome.reason,
            "judgement": judgement,
            "in_the_way": in_the_way(outcome.lap),
            "bytes_per_second": outcome.rounds,
        })
    });
    let (seconds, path) = new_result(directory, machine, "-fio")?;
    let all = json!({
        "version": 1,
        "unix_seconds": seconds,
        "arguments": kept_arguments(std::env::args().skip(1)),
        "machine": machine,
        "size": size,
        "block_size": arguments.block_size,
        "iodepth": arguments.iodepth,
        "rw": arguments.rw.name(),
        "direct": arguments.direct,
        "tolerance": TOLERANCE,
        "aim": AIM,
        "pairs": pairs.collect::<Vec<_>>(),
    });
    std::fs::write(&path, format!("{all:#}\n"))?;
    Ok(path)
}

/// A smoke run is about running; a comparison is about agreeing, of all that was asked for.
fn verdict(smoke: bool, outcomes: &[Outcome]) -> ExitCode {
    let ran = |outcome: &Outcome| outcome.reason.is_none() && !outcome.rounds.is_empty();
    let agrees = |outcome: &Outcome| judge(&outcome.rounds).is_some_and(|one| one.agrees);
    if !outcomes.iter().any(ran) {
        ExitCode::from(1)
    } else if smoke || outcomes.iter().all(|outcome| ran(outcome) && agrees(outcome)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(lab: f64, again: &[f64]) -> Vec<Round> {
        again.iter().map(|&fio_again| Round { lab, fio: 100.0, fio_again }).collect()
    }

    #[test]
    fn a_tenth_or_twice_the_noise_is_agreement() {
        let agrees = |lab, again: &[f64]| judge(&rounds(lab, again)).unwrap().agrees;
        assert!(agrees(109.0, &[100.0; 7]) && agrees(91.0, &[100.0; 7]));
        let close = |lab| judge(&rounds(lab, &[100.0; 7])).unwrap().is_close;
        assert!(close(104.0) && close(96.0) && !close(106.0) && !close(94.0));
        assert!(!agrees(111.0, &[100.0; 7]) && !agrees(89.0, &[100.0; 7]));
        // Two runs of fio lie 10 in a hundred apart, half up, half down.
        assert!(agrees(115.0, &[90.0, 110.0, 90.0, 110.0, 90.0, 110.0]));
        assert!(!agrees(125.0, &[90.0, 110.0, 90.0, 110.0, 90.0, 110.0]));
        assert_eq!(judge(&[]), None);
    }

    #[test]
    fn what_is_in_the_way_is_told_of_a_lap_that_differs() {
        let told = |lab| {
            let rounds = rounds(lab, &[100.0; 7]);
            table(&[Outcome { lap: "readv", engine: "vsync", rounds, reason: None }])
        };
        assert!(told(120.0).contains("DIFFERS; in the way: fio seeks"), "{}", told(120.0));
        assert!(!told(100.0).contains("in the way"));
    }

    #[test]
    fn what_did_not_run_does_not_agree() {
        let outcome = |rounds: Vec<Round>, reason: Option<&str>| Outcome {
            lap: "read",
            engine: "sync",
            rounds,
            reason: reason.map(str::to_owned),
        };
        let good = || outcome(rounds(100.0, &[100.0; 3]), None);
        let code = |smoke, all: &[Outcome]| format!("{:?}", verdict(smoke, all));
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(false, &[good()]), is(0));
        assert_eq!(code(false, &[good(), outcome(Vec::new(), Some("not here"))]), is(4));
        assert_eq!(code(false, &[outcome(rounds(50.0, &[100.0; 3]), None)]), is(4));
        assert_eq!(code(true, &[outcome(rounds(50.0, &[100.0; 3]), None)]), is(0));
        assert_eq!(code(true, &[outcome(Vec::new(), Some("not here"))]), is(1));
    }
}
