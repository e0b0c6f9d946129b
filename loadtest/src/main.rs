//! Compares the engines of pitcrew with each other and with other servers over HTTP.
//!
//! The method and how to read the figures: README.md beside this directory.

#[cfg(not(target_os = "linux"))]
compile_error!("pitcrew and its load test run on Linux");

mod arguments;
mod background;
mod bodies;
mod ceiling;
mod confines;
mod extra;
mod failure;
mod figures;
mod fio;
mod generator;
mod http;
mod machine;
mod network;
mod null;
mod page;
mod peers;
mod plan;
mod process;
mod progress;
mod report;
mod results;
mod rounds;
mod scenario;
mod servers;
mod site;
mod statistics;
mod table;
mod tables;
mod targets;

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use arguments::{Arguments, Comparison, IN_NAMESPACE};
use extra::Entrant;
use failure::{Failure, during};
use machine::Machine;
use network::{Kind, Network};
use plan::{contestants, cores, is_checked, missing_peers, scenarios, server};
use progress::Progress;
use report::Outcome;
use results::{Results, results_directory};
use rounds::{Course, Extent, Void};
use scenario::Scenario;
use servers::{Contestant, Ground};
use site::Scratch;

#[cfg(all(test, debug_assertions))]
#[global_allocator]
static ALLOCATOR: pitcrew::sys::Quarantine = pitcrew::sys::Quarantine;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Without a handler a signal still ends the program, only less tidily.
        let _ = signal_hook::flag::register(signal, Arc::clone(&interrupted));
    }
    let result = match &arguments.command {
        Some(Comparison::Fio(arguments)) => fio::run(arguments, &interrupted),
        Some(Comparison::Null(arguments)) => null::run(arguments, &interrupted),
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
    let mut skipped = missing_peers(arguments, &scenarios)?;
    let plans: Vec<Vec<Entrant>> =
        scenarios.iter().map(|scenario| contestants(arguments, scenario)).collect();
    if plans.iter().all(Vec::is_empty) {
        return Err(Failure::Usage("nobody takes part: name engines or peers".to_owned()));
    }
    let pitcrew = server(arguments, &plans)?;
    let own_network = !arguments.congestion.is_empty() || arguments.network == Kind::Pair;
    if own_network && !arguments.in_namespace {
        let error = network::enter_namespace(IN_NAMESPACE);
        return Err(Failure::Io("enter a network namespace".to_owned(), error));
    }
    for line in &skipped {
        eprintln!("SKIPPED {line}");
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
    let directory = results_directory(arguments.results.as_deref(), arguments.smoke);
    let results = match &directory {
        Some(directory) => {
            let results = Results::new(directory, &machine, scratch.path());
            Some(during(&directory.display().to_string(), results)?)
        }
        None => None,
    };

    let before = skipped.len();
    let planned = plan::able(scenarios, plans, scratch.path(), &mut skipped);
    let passed_over = skipped.len() - before;
    if planned.iter().any(|(scenario, _)| scenario.shares_core()) && !process::may_hurry() {
        let line = "the priority of oha: chrt(1) may not give it one, so that latencies beside \
                    others have its waits for its own core in them";
        eprintln!("SKIPPED {line}");
        skipped.push(line.to_owned());
    }
    let series = Series {
        arguments,
        planned: &planned,
        network: &network,
        server_cores: &server_cores,
        generator_core,
        scratch: &scratch,
        machine: &machine,
        pitcrew: &pitcrew,
        results: results.as_ref(),
        skipped: &skipped,
        interrupted,
    };
    let ran = series.run();
    if let Ok((outcomes, _)) = &ran
        && outcomes.len() > 1
        && let Some(table) = targets::summary(outcomes)
    {
        print!("\n{}\n{}", table.title, table.to_text());
    }
    // An interruption or a failure leaves what was measured before it.
    if let Some(names) = results.as_ref().and_then(Results::written) {
        println!("\nwritten: {names}");
    }
    let (outcomes, failed) = ran?;
    if passed_over > 0 && (is_checked() || planned.is_empty()) {
        return Err(Failure::Missing(format!("{passed_over} scenarios were SKIPPED")));
    }
    Ok(if failed { ExitCode::from(1) } else { verdict(arguments, &outcomes) })
}

/// All scenarios that can run, under one congestion control after the other.
struct Series<'a> {
    arguments: &'a Arguments,
    planned: &'a [(Scenario, Vec<Entrant>)],
    network: &'a Network,
    server_cores: &'a [usize],
    generator_core: usize,
    scratch: &'a Scratch,
    machine: &'a Machine,
    pitcrew: &'a Path,
    results: Option<&'a Results>,
    skipped: &'a [String],
    interrupted: &'a AtomicBool,
}

impl Series<'_> {
    /// Returns what was measured, and whether a scenario failed. Results are written after each.
    fn run(&self) -> Result<(Vec<Outcome>, bool), Failure> {
        let mut controls: Vec<Option<&str>> =
            self.arguments.congestion.iter().map(|name| Some(&**name)).collect();
        if controls.is_empty() {
            controls.push(None);
        }
        let all = controls.len() * self.planned.len();
        let (mut outcomes, mut failed) = (Vec::new(), false);
        let (mut progress, mut number) = (Progress::default(), 0);
        for congestion in controls {
            if let Some(name) = congestion {
                during("set the congestion control", self.network.use_congestion(name))?;
            }
            let congestion = match congestion {
                Some(name) => name.to_owned(),
                None => during("ask for the congestion control", machine::congestion_control())?,
            };
            for (scenario, entrants) in self.planned {
                number += 1;
                progress.scenario(&scenario.name, number, all);
                let outcome = self.one(scenario, entrants, &congestion, &mut progress);
                progress.end();
                match outcome {
                    Ok(outcome) => {
                        print!("{}", outcome.to_text());
                        outcomes.push(outcome);
                        self.keep(&outcomes)?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                        let what = format!("scenario {}", scenario.name);
                        return Err(Failure::Io(what, error));
                    }
                    // The others are worth their time all the same.
                    Err(error) => {
                        eprintln!("FAILED scenario {}: {error}", scenario.name);
                        failed = true;
                    }
                }
            }
        }
        Ok((outcomes, failed))
    }

    fn one(
        &self,
        scenario: &Scenario,
        entrants: &[Entrant],
        congestion: &str,
        progress: &mut Progress,
    ) -> io::Result<Outcome> {
        let further = [self.network.arguments(), scenario.pitcrew.clone()].concat();
        let namespace = self.network.namespace();
        let ground = Ground {
            scratch: self.scratch,
            cores: self.server_cores,
            pitcrew: self.pitcrew,
            host: self.network.host(),
            namespace: namespace.as_deref(),
            bounds: scenario.bounds,
            arguments: &further,
        };
        let Arguments { smoke, rounds, seconds, network, workers, .. } = *self.arguments;
        let extent = match smoke {
            true => Extent { rounds: 1, seconds: 1 },
            false => Extent { rounds, seconds },
        };
        let (generator_core, interrupted) = (self.generator_core, self.interrupted);
        let course = Course { ground: &ground, generator_core, extent, interrupted };
        let (lanes, ceilings) = rounds::run(scenario, entrants, course, progress)?;
        let (scenario, congestion) = (scenario.clone(), congestion.to_owned());
        Ok(Outcome { scenario, extent, congestion, network, workers, lanes, ceilings })
    }

    fn keep(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        let Some(results) = self.results else { return Ok(()) };
        during("write the results", results.write(self.machine, outcomes, self.skipped))
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

fn look_at_machine(
    scratch: &Scratch,
    plans: &[Vec<Entrant>],
    pitcrew: &Path,
) -> io::Result<Machine> {
    let all = || plans.iter().flatten().map(|one| &one.contestant);
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
