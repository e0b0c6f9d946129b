//! Compares the engines of pitcrew with each other and with other servers over HTTP.
//!
//! The method and how to read the figures: README.md beside this directory.

#[cfg(not(target_os = "linux"))]
compile_error!("pitcrew and its load test run on Linux");

mod background;
mod confines;
mod figures;
mod fio;
mod generator;
mod http;
mod machine;
mod network;
mod page;
mod peers;
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

use clap::{Parser, Subcommand};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use machine::Machine;
use network::{Kind, Network};
use peers::PeerKind;
use report::Outcome;
use rounds::{Extent, Void};
use scenario::{BUILT_IN, Generator, Scenario};
use servers::{Contestant, Ground};
use site::Scratch;

/// Measures what a request costs pitcrew, engine by engine, against other servers.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
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
    #[command(subcommand)]
    command: Option<Comparison>,

    /// Engines of pitcrew, or `none`
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    engines: Option<Vec<String>>,

    /// Servers to set them against: nginx, lighttpd, h2o, caddy, static-web-server, a
    /// configuration such as nginx-copy, `all`, or `none`; nginx has to be there, others are
    /// passed over where they are not installed
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

    /// Workers of each server. One has a core of its own, more have all cores, the generator's too
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,

    /// The core of the servers [default: the first]
    #[arg(long, value_name = "NUMBER")]
    server_core: Option<usize>,

    /// The core of the generator [default: the second]
    #[arg(long, value_name = "NUMBER")]
    generator_core: Option<usize>,

    /// What lies between generator and servers
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    network: Kind,

    /// Congestion control of all connections, one after the other, in a network namespace (as
    /// root, with iproute2) [default: the machine's]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    congestion: Vec<String>,

    /// Set by this program for itself
    #[arg(long, hide = true)]
    in_namespace: bool,

    /// Where DATE-COMMIT.json and DATE-COMMIT.html are written, or `none`
    /// [default: loadtest/results where that is, else results; none for a smoke test]
    #[arg(long, value_name = "DIRECTORY")]
    results: Option<PathBuf>,

    /// Say what each scenario measures, and end
    #[arg(long)]
    list: bool,
}

/// What is compared instead of servers.
#[derive(Debug, Subcommand)]
enum Comparison {
    Fio(fio::Arguments),
}

/// Engines that take part if none are named.
const ENGINES: [&str; 6] = ["sendfile", "splice", "uring", "direct", "copy", "auto"];
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
    let result = match &arguments.command {
        Some(Comparison::Fio(arguments)) => fio::run(arguments, &interrupted),
        None => run(&arguments, &interrupted),
    };
    match result {
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
    let own_network = !arguments.congestion.is_empty() || arguments.network == Kind::Pair;
    if own_network && !arguments.in_namespace {
        let error = network::enter_namespace(IN_NAMESPACE);
        return Err(Failure::Io("enter a network namespace".to_owned(), error));
    }
    let network = Network::new(arguments.network, arguments.in_namespace);
    let network = during("make a network", network)?;
    let (server_cores, generator_core) = cores(arguments)?;
    // Whatever this program does itself is done on the generator's side.
    during("pin to a core", process::pin(&[generator_core]))?;
    raise_descriptors();

    let beside = env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let below = arguments.scratch.clone().or(beside).unwrap_or_else(env::temp_dir);
    let scratch = during("make a scratch directory", Scratch::new(&below))?;
    let machine = during("look at the machine", look_at_machine(&scratch, &plans, &pitcrew))?;
    println!(
        "{}, {} cores, Linux {}, {}",
        machine.processor, machine.cores, machine.kernel, machine.file_system
    );
    println!("{}", machine.versions.join(", "));

    let extent = match arguments.smoke {
        true => Extent { rounds: 1, seconds: 1 },
        false => Extent { rounds: arguments.rounds, seconds: arguments.seconds },
    };
    let mut series: Vec<Option<&str>> = arguments.congestion.iter().map(|c| Some(&**c)).collect();
    if series.is_empty() {
        series.push(None);
    }
    let (host, namespace) = (network.host(), network.namespace());
    let mut outcomes = Vec::new();
    for congestion in series {
        if let Some(name) = congestion {
            during("set the congestion control", network.use_congestion(name))?;
        }
        let congestion = match congestion {
            Some(name) => name.to_owned(),
            None => during("ask for the congestion control", machine::congestion_control())?,
        };
        for (scenario, plan) in scenarios.iter().zip(&plans) {
            let further = [network.arguments(), scenario.pitcrew.clone()].concat();
            let ground = Ground {
                scratch: &scratch,
                cores: &server_cores,
                pitcrew: &pitcrew,
                host,
                namespace: namespace.as_deref(),
                bounds: scenario.bounds,
                arguments: &further,
            };
            let lanes = rounds::run(scenario, plan, &ground, generator_core, extent, interrupted);
            let lanes = during(&format!("scenario {}", scenario.name), lanes)?;
            let outcome = Outcome {
                scenario: scenario.clone(),
                extent,
                congestion: congestion.clone(),
                network: arguments.network,
                workers: arguments.workers,
                lanes,
            };
            print!("{}", outcome.table());
            outcomes.push(outcome);
        }
    }
    let results = arguments.results.as_deref();
    if let Some(directory) = results_directory(results, arguments.smoke) {
        let place = directory.display().to_string();
        let files = during(&place, write_results(&directory, &machine, &outcomes))?;
        println!("\nwritten: {files}");
    }
    Ok(verdict(arguments, &outcomes))
}

/// Where results go, if they go anywhere.
fn results_directory(named: Option<&Path>, smoke: bool) -> Option<PathBuf> {
    match named {
        Some(none) if none.as_os_str() == "none" => None,
        Some(directory) => Some(directory.to_owned()),
        None if smoke => None,
        None if Path::new("loadtest").is_dir() => Some("loadtest/results".into()),
        None => Some("results".into()),
    }
}

/// Thousands of connections need as many descriptors.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is not allowed, a scenario that needs them says so.
    let _ = setrlimit(Resource::Nofile, limit);
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
    let is_known = |name: &String| name == "none" || name == "all" || PeerKind::is_name(name);
    if let Some(name) = arguments.peers.iter().find(|name| !is_known(name)) {
        let names = PeerKind::names().collect::<Vec<_>>().join(", ");
        let text = format!("no peer is called '{name}'; there are {names}, all and none");
        return Err(Failure::Usage(text));
    }
    for peer in &scenario.peers {
        if !arguments.peers.iter().any(|name| peer.is_called(name)) {
            continue;
        }
        if machine::program(peer.program()).is_some() {
            all.push((Contestant::Peer(*peer), false));
        } else if peer.program() == "nginx" {
            // What everybody is set against is never left out in silence.
            let text = format!("nginx is missing; install it with `{}`", peer.install());
            return Err(Failure::Missing(text));
        } else {
            eprintln!(
                "SKIPPED {} in {}: it is not installed; `{}` brings it",
                peer.name(),
                scenario.name,
                peer.install()
            );
        }
    }
    // Nothing is compared in a smoke test, so one configuration of each server will do.
    if arguments.smoke {
        let program = |one: &Contestant| match one {
            Contestant::Peer(kind) => kind.program(),
            Contestant::Pitcrew(_) => "pitcrew",
        };
        all.dedup_by_key(|(one, _)| program(one));
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
    for (generator, name, install) in [
        (Generator::Wrk, "wrk", "apt-get install wrk"),
        (Generator::Oha, "oha", "cargo install oha"),
    ] {
        if scenarios.iter().any(|scenario| scenario.generator == generator)
            && machine::program(name).is_none()
        {
            let text = format!("{name} is missing; install it with `{install}`");
            return Err(Failure::Missing(text));
        }
    }
    let all = || plans.iter().flatten().map(|(contestant, _)| contestant);
    match pitcrew_program(arguments.pitcrew.as_deref()) {
        Err(_) if !all().any(|one| matches!(one, Contestant::Pitcrew(_))) => Ok("pitcrew".into()),
        answer => answer,
    }
}

/// Pitcrew's own program: the one that is named, or the one beside this.
fn pitcrew_program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = || Some(env::current_exe().ok()?.parent()?.join("pitcrew"));
    let pitcrew = named.map(Path::to_owned).or_else(beside).unwrap_or_else(|| "pitcrew".into());
    if !pitcrew.is_file() {
        let text = format!(
            "there is no {}; build it with `cargo build --release`, or say --pitcrew PATH",
            pitcrew.display()
        );
        return Err(Failure::Missing(text));
    }
    // Servers are started in another directory.
    Ok(pitcrew.canonicalize().unwrap_or(pitcrew))
}

/// The cores of the servers, and that of the generator.
fn cores(arguments: &Arguments) -> Result<(Vec<usize>, usize), Failure> {
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
    let workers = arguments.workers as usize;
    if workers > cores.len() {
        let text = format!("{workers} workers need as many cores; there are {}", cores.len());
        return Err(Failure::Usage(text));
    }
    if workers > 1 {
        return Ok((cores.into_iter().take(workers).collect(), generator));
    }
    if server == generator && !arguments.smoke {
        let text = "server and generator need a core each, or they measure each other";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok((vec![server], generator))
}

fn look_at_machine(
    scratch: &Scratch,
    plans: &[Vec<(Contestant, bool)>],
    pitcrew: &Path,
) -> io::Result<Machine> {
    let all = || plans.iter().flatten().map(|(contestant, _)| contestant);
    let mut programs = Vec::new();
    if all().any(|one| matches!(one, Contestant::Pitcrew(_))) {
        programs.push((pitcrew, "--version"));
    }
    let others = [("nginx", "-v"), ("lighttpd", "-v"), ("h2o", "-v"), ("caddy", "version")];
    let others = others.into_iter().chain([("static-web-server", "--version")]);
    let found: Vec<_> = others
        .filter(|(name, _)| {
            all().any(|one| matches!(one, Contestant::Peer(kind) if kind.program() == *name))
        })
        .chain([("wrk", "-v"), ("oha", "--version")])
        .filter_map(|(name, flag)| Some((machine::program(name)?, flag)))
        .collect();
    programs.extend(found.iter().map(|(path, flag)| (path.as_path(), *flag)));
    Machine::here(scratch.path(), &programs)
}

/// Writes everything as JSON for programs and as a page for people. Returns their names.
fn write_results(directory: &Path, machine: &Machine, outcomes: &[Outcome]) -> io::Result<String> {
    let (seconds, path) = new_result(directory, machine, "")?;
    let arguments: Vec<_> = env::args().skip(1).filter(|one| one != IN_NAMESPACE).collect();
    let all = json!({
        "version": report::SCHEMA_VERSION,
        "unix_seconds": seconds,
        "arguments": arguments,
        "machine": machine,
        "outcomes": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
    });
    fs::write(&path, format!("{all:#}\n"))?;
    let html = path.with_extension("html");
    fs::write(&html, page::page(machine, outcomes, seconds, &arguments))?;
    Ok(format!("{} and {}", path.display(), html.display()))
}

/// The time, and where a result of now goes, as JSON: by date, commit, and what was compared.
fn new_result(directory: &Path, machine: &Machine, what: &str) -> io::Result<(u64, PathBuf)> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    fs::create_dir_all(directory)?;
    let commit = machine.commit.as_deref().unwrap_or("unknown").replace(' ', "-");
    let name = format!("{}-{commit}{what}", page::date(seconds));
    // Several runs of a day have a number each.
    let path = (1..)
        .map(|number| match number {
            1 => directory.join(format!("{name}.json")),
            _ => directory.join(format!("{name}-{number}.json")),
        })
        .find(|path| !path.exists())
        .expect("there is always a next number");
    Ok((seconds, path))
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
