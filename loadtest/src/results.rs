//! Where results are kept: JSON for programs and a page for people.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::IN_NAMESPACE;
use crate::machine::Machine;
use crate::page;
use crate::report::{self, Outcome};

/// Where results go, if they go anywhere.
pub(crate) fn results_directory(named: Option<&Path>, smoke: bool) -> Option<PathBuf> {
    match named {
        Some(none) if none.as_os_str() == "none" => None,
        Some(directory) => Some(directory.to_owned()),
        None if smoke => None,
        None if Path::new("loadtest").is_dir() => Some("loadtest/results".into()),
        None => Some("results".into()),
    }
}

/// Writes everything as JSON for programs and as a page for people. Returns their names.
pub(crate) fn write_results(
    directory: &Path,
    machine: &Machine,
    outcomes: &[Outcome],
) -> io::Result<String> {
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
pub(crate) fn new_result(
    directory: &Path,
    machine: &Machine,
    what: &str,
) -> io::Result<(u64, PathBuf)> {
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
