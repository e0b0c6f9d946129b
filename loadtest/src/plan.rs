//! What is measured, who takes part in it, and what that needs: programs and cores.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;
use crate::confines::Confines;
use crate::extra::{Entrant, entrants};
use crate::failure::{Failure, during};
use crate::peers::PeerKind;
use crate::scenario::{BUILT_IN, Generator, Scenario};
use crate::servers::Contestant;
use crate::{machine, process};

/// Engines that take part if none are named.
pub(crate) const ENGINES: [&str; 6] = ["sendfile", "splice", "uring", "direct", "copy", "auto"];
/// Scenarios of a smoke test.
pub(crate) const SMOKE: [&str; 2] = ["small", "medium"];

pub(crate) fn scenarios(arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let names: Vec<String> = match (&arguments.scenarios, arguments.smoke) {
        (Some(names), _) => names.clone(),
        (None, true) => SMOKE.map(str::to_owned).into(),
        (None, false) => BUILT_IN.map(|(name, _)| name.to_owned()).into(),
    };
    names.iter().map(|name| Scenario::find(name).map_err(Failure::Usage)).collect()
}

/// Who takes part in a scenario, with what it has beside serving, and the control.
pub(crate) fn contestants(arguments: &Arguments, scenario: &Scenario) -> Vec<Entrant> {
    let mut all = Vec::new();
    let peers = arguments.peers();
    for peer in &scenario.peers {
        let asked_for = peers.iter().any(|name| peer.is_called(name));
        if asked_for && machine::program(peer.program()).is_some() {
            all.push(Contestant::Peer(*peer));
        }
    }
    // Nothing is compared in a smoke test, so one configuration of each server will do.
    if arguments.smoke {
        let program = |one: &Contestant| match one {
            Contestant::Peer(kind) => kind.program(),
            Contestant::Pitcrew(_) => "pitcrew",
            Contestant::Null => "null",
        };
        all.dedup_by_key(|one| program(one));
    }
    let engines = match &arguments.engines {
        Some(names) => names.clone(),
        None if scenario.engines.is_empty() => ENGINES.map(str::to_owned).into(),
        None => scenario.engines.clone(),
    };
    for engine in engines.into_iter().filter(|name| name != "none") {
        all.push(Contestant::Pitcrew(engine));
    }
    if scenario.null && !all.is_empty() {
        all.push(Contestant::Null);
    }
    entrants(all, scenario, !arguments.smoke)
}

/// Whether a build service asks (`CI`), for which what does not run is a failure.
pub(crate) fn is_checked() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// Peers that are asked for and not installed, each once, as lines that say so. For a build service
/// nginx has to be there.
pub(crate) fn missing_peers(
    arguments: &Arguments,
    scenarios: &[Scenario],
) -> Result<Vec<String>, Failure> {
    let peers = arguments.peers();
    let is_known = |name: &String| name == "none" || name == "all" || PeerKind::is_name(name);
    if let Some(name) = peers.iter().find(|name| !is_known(name)) {
        let names = PeerKind::names().collect::<Vec<_>>().join(", ");
        let text = format!("no peer is called '{name}'; there are {names}, all and none");
        return Err(Failure::Usage(text));
    }
    let mut lines = Vec::new();
    for peer in scenarios.iter().flat_map(|scenario| &scenario.peers) {
        let (program, install) = (peer.program(), peer.install());
        let asked_for = peers.iter().any(|name| peer.is_called(name));
        if !asked_for || machine::program(program).is_some() {
            continue;
        }
        // Without it a build service compares nothing.
        if program == "nginx" && is_checked() {
            let text = format!("nginx is missing; install it with `{install}`");
            return Err(Failure::Missing(text));
        }
        let line = format!("{program}: it is not installed; `{install}` brings it");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The scenarios that can run here, with who takes part. Those that cannot are told, and added to
/// what is passed over.
pub(crate) fn able(
    scenarios: Vec<Scenario>,
    plans: Vec<Vec<Entrant>>,
    files: &Path,
    skipped: &mut Vec<String>,
) -> Vec<(Scenario, Vec<Entrant>)> {
    let mut able = Vec::new();
    for (scenario, entrants) in scenarios.into_iter().zip(plans) {
        let nobody = || "nobody takes part who was asked for".to_owned();
        match entrants.is_empty().then(nobody).or_else(|| obstacle(&scenario, files)) {
            None => able.push((scenario, entrants)),
            Some(why) => {
                let line = format!("scenario {}: {why}", scenario.name);
                eprintln!("SKIPPED {line}");
                skipped.push(line);
            }
        }
    }
    able
}

/// What a scenario needs and this machine has not.
fn obstacle(scenario: &Scenario, files: &Path) -> Option<String> {
    let needed = match scenario.generator {
        Generator::Wrk => Some(("wrk", "apt-get install wrk")),
        Generator::Oha => Some(("oha", "cargo install oha")),
        Generator::Walk | Generator::Idle => None,
    };
    if let Some((name, install)) = needed.filter(|(name, _)| machine::program(name).is_none()) {
        return Some(format!("{name} is not installed; `{install}` brings it"));
    }
    // Groups are made as they will be for each server, and go away again.
    Confines::new(&scenario.bounds, files).err().map(|error| error.to_string())
}

/// Finds the server's program, if an engine takes part.
pub(crate) fn server(arguments: &Arguments, plans: &[Vec<Entrant>]) -> Result<PathBuf, Failure> {
    let all = || plans.iter().flatten().map(|one| &one.contestant);
    match pitcrew_program(arguments.pitcrew.as_deref()) {
        Err(_) if !all().any(|one| matches!(one, Contestant::Pitcrew(_))) => Ok("pitcrew".into()),
        answer => answer,
    }
}

/// Pitcrew's own program: the one that is named, or the one beside this, which `cargo run` does not
/// build by itself.
pub(crate) fn pitcrew_program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let (None, Some(cargo)) = (named, env::var_os("CARGO")) {
        build(&cargo)?;
    }
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

/// Builds pitcrew as this program was built, for whoever runs this by cargo: the sources that are
/// there are what is measured.
fn build(cargo: &OsStr) -> Result<(), Failure> {
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "pitcrew", "--bin", "pitcrew"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    match during("run cargo", command.status())?.success() {
        true => Ok(()),
        false => Err(Failure::Missing("cargo cannot build pitcrew; see above".to_owned())),
    }
}

/// The cores of the servers, and that of the generator.
pub(crate) fn cores(arguments: &Arguments) -> Result<(Vec<usize>, usize), Failure> {
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
        if arguments.server_core.is_some() {
            let text = "--server-core is for one worker; several have all cores";
            return Err(Failure::Usage(text.to_owned()));
        }
        return Ok((cores.into_iter().take(workers).collect(), generator));
    }
    if server == generator && !arguments.smoke {
        let text = "server and generator need a core each, or they measure each other";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok((vec![server], generator))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn names(line: &str) -> Vec<String> {
        let arguments = Arguments::parse_from(line.split(' '));
        let scenario = Scenario::find("small").unwrap();
        let all = contestants(&arguments, &scenario);
        all.iter().map(Entrant::name).collect()
    }

    #[test]
    fn the_first_one_runs_again_at_the_end() {
        assert_eq!(
            names("loadtest --engines uring,copy --peers nginx"),
            ["nginx", "nginx-copy", "pitcrew uring", "pitcrew copy", "null", "nginx again"]
        );
        assert_eq!(
            names("loadtest --engines uring --peers none"),
            ["pitcrew uring", "null", "pitcrew uring again"]
        );
        assert_eq!(names("loadtest --engines none --peers nginx-copy").len(), 3);
        assert_eq!(
            names("loadtest --engines auto,auto:pin=false --peers none")[..2],
            ["pitcrew auto", "pitcrew auto:pin=false"]
        );
        assert_eq!(names("loadtest --smoke").len(), 2 + ENGINES.len());
        // Everybody who is installed, and nginx is.
        assert!(names("loadtest").len() >= names("loadtest --peers nginx").len());
    }

    #[test]
    fn a_scenario_that_cannot_run_says_why() {
        let mut scenario = Scenario::find("idle").unwrap();
        assert_eq!(obstacle(&scenario, Path::new("/")), None);
        // No disk is under these files, whoever asks.
        scenario.bounds.disk_bytes_per_second = Some(1);
        let told = obstacle(&scenario, Path::new("/proc")).unwrap();
        assert!(told.contains("needs root and the controllers"), "{told}");
        let (mut skipped, other) = (Vec::new(), Scenario::find("idle").unwrap());
        let nginx = || vec![Entrant::plain(Contestant::Peer(PeerKind::Nginx))];
        let plans = vec![nginx(), nginx()];
        let able = able(vec![scenario, other], plans, Path::new("/proc"), &mut skipped);
        assert_eq!((able.len(), skipped.len()), (1, 1));
        assert!(skipped[0].starts_with("scenario idle: a control group"), "{skipped:?}");
        let scenario = Scenario::find("mirrored").unwrap();
        assert!(
            super::able(vec![scenario], vec![Vec::new()], Path::new("/"), &mut skipped).is_empty()
        );
        assert!(skipped[1].starts_with("scenario mirrored: nobody"), "{skipped:?}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = Arguments::parse_from("loadtest --engines none --peers none".split(' '));
        let scenario = Scenario::find("small").unwrap();
        assert!(contestants(&none, &scenario).is_empty());
        let peer = Arguments::parse_from("loadtest --peers ngin".split(' '));
        assert!(matches!(missing_peers(&peer, &[]), Err(Failure::Usage(_))));
        let wrong = Arguments::parse_from("loadtest --scenarios smal".split(' '));
        assert!(matches!(scenarios(&wrong), Err(Failure::Usage(_))));
    }
}
