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

/// The files of a run, which are written anew after each scenario, so that whatever ends the run
/// later takes nothing away.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    unix_seconds: u64,
    /// The directory of the run, which no file names.
    scratch: String,
}

impl Results {
    pub(crate) fn new(directory: &Path, machine: &Machine, scratch: &Path) -> io::Result<Self> {
        let (unix_seconds, path) = new_result(directory, machine, "")?;
        Ok(Self { path, unix_seconds, scratch: scratch.display().to_string() })
    }

    /// Writes everything as JSON for programs and as a page for people.
    pub(crate) fn write(
        &self,
        machine: &Machine,
        outcomes: &[Outcome],
        skipped: &[String],
    ) -> io::Result<()> {
        let arguments = arguments(env::args().skip(1));
        let all = json!({
            "version": report::SCHEMA_VERSION,
            "unix_seconds": self.unix_seconds,
            "arguments": arguments,
            "machine": machine,
            "skipped": skipped,
            "outcomes": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
        });
        self.replace(&self.path, &format!("{all:#}\n"))?;
        let page = page::page(machine, outcomes, skipped, self.unix_seconds, &arguments);
        self.replace(&self.path.with_extension("html"), &page)
    }

    /// The names of the files, once they are there.
    pub(crate) fn written(&self) -> Option<String> {
        let html = self.path.with_extension("html");
        html.exists().then(|| format!("{} and {}", self.path.display(), html.display()))
    }

    /// Puts a file in the place of an earlier one, which stays whole until then.
    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, text.replace(&self.scratch, "SCRATCH"))?;
        fs::rename(new, path)
    }
}

/// The arguments as they are kept: of a path only the name, which says nothing of the machine.
pub(crate) fn arguments(given: impl Iterator<Item = String>) -> Vec<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let one = |argument: &str| {
        let parts: Vec<String> = argument.split(',').map(name).collect();
        parts.join(",")
    };
    let kept = given.filter(|argument| argument != IN_NAMESPACE);
    kept.map(|argument| match argument.split_once('=') {
        Some((key, value)) => format!("{key}={}", one(value)),
        None => one(&argument),
    })
    .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::four;
    use crate::site::Scratch;

    #[test]
    fn a_file_is_written_anew_and_names_no_directory() {
        let scratch = Scratch::new(&env::temp_dir()).unwrap();
        let machine = Machine::here(scratch.path(), &[]).unwrap();
        let results = Results::new(&scratch.path().join("r"), &machine, scratch.path()).unwrap();
        assert_eq!(results.written(), None);
        let mut outcome = four();
        outcome.lanes[0].configuration = format!("root {};", scratch.path().display());
        for outcomes in [&[][..], &[outcome]] {
            results.write(&machine, outcomes, &["idle: why".to_owned()]).unwrap();
            let kept = fs::read_to_string(&results.path).unwrap();
            let page = fs::read_to_string(results.path.with_extension("html")).unwrap();
            let told: serde_json::Value = serde_json::from_str(&kept).unwrap();
            assert_eq!(told["outcomes"].as_array().unwrap().len(), outcomes.len());
            for text in [kept, page] {
                assert!(!text.contains(&*scratch.path().to_string_lossy()));
                assert!(text.contains("idle: why"));
            }
        }
        assert!(results.written().is_some());
        assert_eq!(fs::read_dir(scratch.path().join("r")).unwrap().count(), 2);
    }

    #[test]
    fn paths_among_the_arguments_are_names() {
        let given = ["--scenarios", "small,/a/b/mine.toml", "--pitcrew=/x/pitcrew", IN_NAMESPACE];
        let kept = arguments(given.into_iter().map(str::to_owned));
        assert_eq!(kept, ["--scenarios", "small,mine.toml", "--pitcrew=pitcrew"]);
    }
}
