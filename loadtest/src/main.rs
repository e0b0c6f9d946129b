//! Compares the engines of pitcrew with each other and with other servers over HTTP.
//!
//! The method and how to read the figures: README.md beside this directory.

#[cfg(not(target_os = "linux"))]
compile_error!("pitcrew and its load test run on Linux");

mod figures;
mod generator;
mod http;
mod machine;
mod process;
mod report;
mod rounds;
mod scenario;
mod servers;
mod site;
mod statistics;

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use machine::Machine;
use report::Outcome;
use rounds::{Extent, Void};
use scenario::{BUILT_IN, Generator, Scenario};
use servers::{Contestant, Ground};
use site::Scratch;

/// Measures what a request costs pitcrew, engine by engine, against other servers.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Exit codes:
  0    every round counts
  1    an answer was wrong, a server failed, or a file could not be read or written
  2    wrong usage
  3    a program is missing
  4    rounds are void: another engine did the work, or a cold file was in memory
  130  interrupted"
)]
struct Arguments {
    /// Engines of pitcrew, or `none`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    engines: Option<Vec<String>>,

    /// Servers to set them against: nginx, one of its configurations such as nginx-copy, or `none`
    #[arg(long, value_delimiter = ',', value_name = "NAMES", default_value = "nginx")]
    peers: Vec<String>,

    /// What to measure: names of scenarios, or paths of TOML files
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    scenarios: Option<Vec<String>>,

    /// Rounds that count, after one to warm up
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Length of a round with wrk
    #[arg(long, value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// One short round of each engine and of nginx: that everything works, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    smoke: bool,

    /// The server's program [default: `pitcrew` beside this one]
    #[arg(long, value_name = "PATH")]
    pitcrew: Option<PathBuf>,

    /// Where files to serve are made [default: beside this program]
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,

    /// The core of the servers [default: the first]
    #[arg(long, value_name = "NUMBER")]
    server_core: Option<usize>,

    /// The core of the generator [default: the second]
    #[arg(long, value_name = "NUMBER")]
    generator_core: Option<usize>,

    /// Congestion control of all connections, in a network namespace (as root, with iproute2)
    /// [default: the machine's]
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,

    /// Set by this program for itself
    #[arg(long, hide = true)]
    in_namespace: bool,

    /// Write everything that was measured as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Say what each scenario measures, and end
    #[arg(long)]
    list: bool,
}

/// Engines that take part if none are named.
const ENGINES: [&str; 5] = ["sendfile", "splice", "uring", "direct", "copy"];
/// The argument that says that the namespace was entered.
const IN_NAMESPACE: &str = "--in-namespace";
/// Scenarios of a smoke test.
const SMOKE: [&str; 2] = ["small", "medium"];

/// Why this program ends before it is through.
#[derive(Debug)]
enum Failure {
    /// What was asked for cannot be.
    Usage(String),
    /// A program is missing, and how it is installed.
    Missing(String),
    /// Something went wrong.
    Io(String, io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Missing(_) => 3,
            Self::Io(_, error) if error.kind() == io::ErrorKind::Interrupted => 130,
            Self::Io(..) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Missing(text) => out.write_str(text),
            Self::Io(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

/// Names what failed.
fn during<T>(what: &str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Io(what.to_owned(), error))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Without a handler a signal still ends the program, only less tidily.
        let _ = signal_hook::flag::register(signal, Arc::clone(&interrupted));
    }
    match run(&arguments, &interrupted) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: &Arguments, interrupted: &AtomicBool) -> Result<ExitCode, Failure> {
    let scenarios = scenarios(arguments)?;
    if arguments.list {
        for Scenario { name, title, measures, meaningless, .. } in &scenarios {
            println!("{name}: {title}\n  measures: {measures}\n  meaningless: {meaningless}\n");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let plans: Vec<Vec<(Contestant, bool)>> = scenarios
        .iter()
        .map(|scenario| contestants(arguments, scenario))
        .collect::<Result<_, _>>()?;
    let pitcrew = tools(arguments, &scenarios, &plans)?;
    if let (Some(name), false) = (&arguments.congestion, arguments.in_namespace) {
        let error = machine::enter_namespace(name, IN_NAMESPACE);
        return Err(Failure::Io("enter a network namespace".to_owned(), error));
    }
    let (server_core, generator_core) = two_cores(arguments)?;
    // Whatever this program does itself is done on the generator's side.
    during("pin to a core", process::pin(generator_core))?;

    let beside = env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let below = arguments.scratch.clone().or(beside).unwrap_or_else(env::temp_dir);
    let scratch = during("make a scratch directory", Scratch::new(&below))?;
    let machine = during("look at the machine", look_at_machine(&scratch, &plans, &pitcrew))?;
    println!(
        "{}, {} cores, Linux {}, {}, {}",
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.congestion_control,
        machine.file_system
    );
    println!("{}", machine.versions.join(", "));

    let extent = match arguments.smoke {
        true => Extent { rounds: 1, seconds: 1 },
        false => Extent { rounds: arguments.rounds, seconds: arguments.seconds },
    };
    let ground = Ground { scratch: &scratch, core: server_core, pitcrew: &pitcrew };
    let mut outcomes = Vec::new();
    for (scenario, plan) in scenarios.into_iter().zip(&plans) {
        let lanes = rounds::run(&scenario, plan, &ground, generator_core, extent, interrupted);
        let lanes = during(&format!("scenario {}", scenario.name), lanes)?;
        let outcome = Outcome { scenario, extent, lanes };
        print!("{}", outcome.table());
        outcomes.push(outcome);
    }
    if let Some(path) = &arguments.output {
        during(&path.display().to_string(), write_json(path, &machine, &outcomes))?;
    }
    Ok(verdict(arguments, &outcomes))
}

fn scenarios(arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let names: Vec<String> = match (&arguments.scenarios, arguments.smoke) {
        (Some(names), _) => names.clone(),
        (None, true) => SMOKE.map(str::to_owned).into(),
        (None, false) => BUILT_IN.map(|(name, _)| name.to_owned()).into(),
    };
    names.iter().map(|name| Scenario::find(name).map_err(Failure::Usage)).collect()
}

/// Who takes part in a scenario, and at last the first one again as a control.
fn contestants(
    arguments: &Arguments,
    scenario: &Scenario,
) -> Result<Vec<(Contestant, bool)>, Failure> {
    let mut all = Vec::new();
    for peer in &scenario.peers {
        if arguments.peers.iter().any(|name| peer.is_called(name)) {
            all.push((Contestant::Peer(*peer), false));
        }
    }
    // Nothing is compared in a smoke test, so one configuration will do.
    if arguments.smoke {
        all.truncate(1);
    }
    let engines = match &arguments.engines {
        Some(names) => names.clone(),
        None if scenario.engines.is_empty() => ENGINES.map(str::to_owned).into(),
        None => scenario.engines.clone(),
    };
    for engine in engines.into_iter().filter(|name| name != "none") {
        all.push((Contestant::Pitcrew(engine), false));
    }
    let Some((first, _)) = all.first().cloned() else {
        let text = format!("nobody takes part in {}: name engines or peers", scenario.name);
        return Err(Failure::Usage(text));
    };
    if !arguments.smoke {
        all.push((first, true));
    }
    Ok(all)
}

/// Finds every program that is needed. Returns the server's.
fn tools(
    arguments: &Arguments,
    scenarios: &[Scenario],
    plans: &[Vec<(Contestant, bool)>],
) -> Result<PathBuf, Failure> {
    let missing = |name: &str| {
        let text = format!("{name} is missing; install it with `apt-get install {name}`");
        Err(Failure::Missing(text))
    };
    if scenarios.iter().any(|scenario| scenario.generator == Generator::Wrk)
        && machine::program("wrk").is_none()
    {
        return missing("wrk");
    }
    let all = || plans.iter().flatten().map(|(contestant, _)| contestant);
    if all().any(|one| matches!(one, Contestant::Peer(_))) && machine::program("nginx").is_none() {
        return missing("nginx");
    }
    let beside = || Some(env::current_exe().ok()?.parent()?.join("pitcrew"));
    let pitcrew = arguments.pitcrew.clone().or_else(beside).unwrap_or_else(|| "pitcrew".into());
    if all().any(|one| matches!(one, Contestant::Pitcrew(_))) && !pitcrew.is_file() {
        let text = format!(
            "there is no {}; build it with `cargo build --release`, or say --pitcrew PATH",
            pitcrew.display()
        );
        return Err(Failure::Missing(text));
    }
    // Servers are started in another directory.
    Ok(pitcrew.canonicalize().unwrap_or(pitcrew))
}

fn two_cores(arguments: &Arguments) -> Result<(usize, usize), Failure> {
    let cores = during("ask for cores", process::cores())?;
    let first = *cores.first().ok_or_else(|| Failure::Usage("there is no core".to_owned()))?;
    let server = arguments.server_core.unwrap_or(first);
    let other = cores.iter().copied().find(|core| *core != server);
    let generator = arguments.generator_core.or(other).unwrap_or(server);
    for core in [server, generator] {
        if !cores.contains(&core) {
            let text = format!("core {core} is not there; there are {cores:?}");
            return Err(Failure::Usage(text));
        }
    }
    if server == generator && !arguments.smoke {
        let text = "server and generator need a core each, or they measure each other";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok((server, generator))
}

fn look_at_machine(
    scratch: &Scratch,
    plans: &[Vec<(Contestant, bool)>],
    pitcrew: &Path,
) -> io::Result<Machine> {
    let (nginx, wrk) = (machine::program("nginx"), machine::program("wrk"));
    let all = || plans.iter().flatten().map(|(contestant, _)| contestant);
    let mut programs = Vec::new();
    if all().any(|one| matches!(one, Contestant::Pitcrew(_))) {
        programs.push((pitcrew, "--version"));
    }
    programs.extend(nginx.as_deref().map(|path| (path, "-v")));
    programs.extend(wrk.as_deref().map(|path| (path, "-v")));
    Machine::here(scratch.path(), &programs)
}

fn write_json(path: &Path, machine: &Machine, outcomes: &[Outcome]) -> io::Result<()> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let all = json!({
        "version": report::SCHEMA_VERSION,
        "unix_seconds": since.map_or(0, |since| since.as_secs()),
        "arguments": env::args().skip(1).filter(|one| one != IN_NAMESPACE).collect::<Vec<_>>(),
        "machine": machine,
        "outcomes": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
    });
    if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, format!("{all:#}\n"))
}

fn verdict(arguments: &Arguments, outcomes: &[Outcome]) -> ExitCode {
    let voids = || outcomes.iter().flat_map(Outcome::voids).map(|(_, void)| void);
    if voids().any(|void| matches!(void, Void::Wrong(_))) {
        return ExitCode::from(1);
    }
    // A file system may refuse what an engine needs; a smoke test shows it and goes on.
    if voids().next().is_some() && !arguments.smoke {
        return ExitCode::from(4);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_hold_together() {
        Arguments::command().debug_assert();
    }

    fn names(line: &str) -> Vec<String> {
        let arguments = Arguments::parse_from(line.split(' '));
        let scenario = Scenario::find("small").unwrap();
        let all = contestants(&arguments, &scenario).unwrap();
        all.into_iter().map(|(one, control)| format!("{}{control}", one.name())).collect()
    }

    #[test]
    fn the_first_one_runs_again_at_the_end() {
        assert_eq!(
            names("loadtest --engines uring,copy"),
            [
                "nginxfalse",
                "nginx-copyfalse",
                "pitcrew uringfalse",
                "pitcrew copyfalse",
                "nginxtrue"
            ]
        );
        assert_eq!(
            names("loadtest --engines uring --peers none"),
            ["pitcrew uringfalse", "pitcrew uringtrue"]
        );
        assert_eq!(names("loadtest --engines none --peers nginx-copy").len(), 2);
        assert_eq!(names("loadtest --smoke").len(), 1 + ENGINES.len());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = Arguments::parse_from("loadtest --engines none --peers none".split(' '));
        let scenario = Scenario::find("small").unwrap();
        assert!(matches!(contestants(&none, &scenario), Err(Failure::Usage(_))));
        assert!(Arguments::try_parse_from("loadtest --smoke --rounds 2".split(' ')).is_err());
        let within = Arguments::parse_from(["loadtest", IN_NAMESPACE]);
        assert!(within.in_namespace);
        let wrong = Arguments::parse_from("loadtest --scenarios smal".split(' '));
        assert!(matches!(scenarios(&wrong), Err(Failure::Usage(_))));
    }
}
