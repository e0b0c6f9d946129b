//! Compares the engines of pitcrew with each other and with other servers over HTTP.
//!
//! The method and how to read the figures: README.md beside this directory.

#[cfg(not(target_os = "linux"))]
compile_error!("pitcrew and its load test run on Linux");

mod arguments;
mod background;
mod confines;
mod extra;
mod failure;
mod figures;
mod fio;
mod generator;
mod http;
mod machine;
mod network;
mod page;
mod peers;
mod plan;
mod process;
mod report;
mod results;
mod rounds;
mod scenario;
mod servers;
mod site;
mod statistics;

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
use plan::{contestants, cores, scenarios, tools};
use report::Outcome;
use results::{results_directory, write_results};
use rounds::{Extent, Void};
use scenario::Scenario;
use servers::{Contestant, Ground};
use site::Scratch;

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
    let plans: Vec<Vec<Entrant>> = scenarios
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
