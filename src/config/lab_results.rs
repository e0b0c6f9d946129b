//! The result that the lab kept, as the server takes it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::address::join;
use super::key::{Key, Section};
use crate::limits::LAB_COLD_BYTES_MAX;
use crate::server::options::{Lap, Thresholds};

/// The key that names the file.
pub(super) const LAB_RESULTS: Key = Key::one(
    Section::Telemetry,
    "lab-results",
    "FILE",
    "Result of 'pitcrew lab --output FILE', told with the figures, and what auto goes by; off is \
     none [default: off]",
    |all, written, base| {
        let path = Some(written.path()?).filter(|path| path.as_os_str() != "off");
        let path = path.map(|path| join(base, path));
        let told = path.as_deref().map_or(Ok(Told::default()), read)?;
        (all.server.laps, all.server.thresholds) = (told.laps, told.thresholds);
        all.lab_results = path;
        Ok(())
    },
    |all| match &all.lab_results {
        None => toml::Value::from("off"),
        Some(path) => toml::Value::from(path.to_string_lossy().into_owned()),
    },
);

/// The version of the lab's JSON that is understood.
const VERSION: u64 = 1;

/// Bytes of such a file at most: some KiB for each lap and round is far below it.
const BYTES_MAX: u64 = 64 << 20;

/// What the file tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    laps: Vec<Lap>,
    /// What was not measured is as it is without the file.
    thresholds: Thresholds,
}

/// Reads the file that `pitcrew lab --output` wrote.
pub(super) fn read(path: &Path) -> Result<Told, String> {
    let shown = path.display();
    let remedy = "make it by 'pitcrew lab --output FILE'";
    let cannot = |error: std::io::Error| format!("'{shown}' cannot be read: {error}; {remedy}");
    let facts = fs::metadata(path).map_err(cannot)?;
    if !facts.is_file() || facts.len() > BYTES_MAX {
        return Err(format!("'{shown}' is no result of the lab; {remedy}"));
    }
    let text = fs::read(path).map_err(cannot)?;
    let odd = |what: &str| format!("'{shown}' is no result of the lab ({what}); {remedy}");
    let told: Value = serde_json::from_slice(&text).map_err(|error| odd(&error.to_string()))?;
    match told["version"].as_u64() {
        Some(VERSION) => {}
        Some(other) => return Err(odd(&format!("it has version {other}, and not {VERSION}"))),
        None => return Err(odd("it has no version")),
    }
    let laps = told["laps"].as_array().ok_or_else(|| odd("it has no laps"))?;
    let measured_at = told["measured_at"].as_u64();
    let measured_at = measured_at.ok_or_else(|| odd("it has no measured_at"))?;
    let machine = machine(&told["machine"]);
    let raced = laps.iter().filter(|lap| lap["verdict"] == "raced");
    let laps = raced.filter_map(|lap| {
        let rate = lap["figures"]["bytes_per_second"]["median"].as_f64()?;
        let technique = lap["lap"].as_str()?.to_owned();
        Some(Lap {
            technique,
            bytes_per_second: rate as u64,
            measured_at,
            machine: machine.clone(),
        })
    });
    let thresholds = thresholds(&told["crossover"]).map_err(|what| odd(&what))?;
    Ok(Told { laps: laps.collect(), thresholds })
}

/// The sizes that were measured.
fn thresholds(told: &Value) -> Result<Thresholds, String> {
    let usual = Thresholds::default();
    let size = |name: &str, usual| match &told[name] {
        Value::Null => Ok(usual),
        size => size.as_u64().ok_or_else(|| format!("crossover.{name} is no size")),
    };
    // Where buffered reads are faster at every size, others gain nothing. From which size on one
    // body comes sooner past the page cache says nothing of what many at once, and the others that
    // would be pushed out of there, gain.
    let ahead = size("large_bytes_min", usual.large_bytes_min)?;
    let never = ahead > LAB_COLD_BYTES_MAX;
    Ok(Thresholds {
        small_bytes_max: size("small_bytes_max", usual.small_bytes_max)?,
        once_bytes_min: if never { ahead } else { usual.once_bytes_min },
        ..usual
    })
}

/// Its name, its processor and its kernel, as far as they are told.
fn machine(told: &Value) -> String {
    let parts = ["host", "processor", "kernel"].map(|name| told[name].as_str().unwrap_or_default());
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kept(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lab.json");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn laps_that_came_through_are_taken_with_when_and_where() {
        let (_directory, path) = kept(
            r#"{ "version": 1, "measured_at": 1700000000,
            "machine": { "host": "a", "kernel": "6.1" },
            "laps": [
              { "lap": "mmap", "technique": "mmap", "verdict": "raced", "figures": {
                "bytes_per_second": { "median": 2.5e9 }, "operations_per_second": { "median": 5 },
                "processor_ns_per_operation": { "median": 7.9 } } },
              { "lap": "read", "technique": "read", "verdict": "void", "figures": null } ] }"#,
        );
        let lap = Lap {
            technique: "mmap".to_owned(),
            bytes_per_second: 2_500_000_000,
            measured_at: 1_700_000_000,
            machine: "a, 6.1".to_owned(),
        };
        let told = read(&path).unwrap();
        assert_eq!(told, Told { laps: vec![lap], thresholds: Thresholds::default() });
    }

    #[test]
    fn the_sizes_that_were_measured_are_what_auto_goes_by() {
        let told = |crossover: &str| {
            let (_directory, path) = kept(&format!(
                r#"{{ "version": 1, "measured_at": 1, "laps": [], "crossover": {crossover} }}"#
            ));
            read(&path).unwrap().thresholds
        };
        let both = told(r#"{ "small_bytes_max": 0, "large_bytes_min": 262144 }"#);
        let usual = Thresholds::default();
        assert_eq!(both, Thresholds { small_bytes_max: 0, ..usual });
        assert_eq!(told("null"), usual);
        let never = told(r#"{ "large_bytes_min": 4611686018427387904 }"#);
        assert_eq!(never, Thresholds { once_bytes_min: 1 << 62, ..usual });
        let one = told(r#"{ "small_bytes_max": 4096, "large_bytes_min": null }"#);
        assert_eq!(one, Thresholds { small_bytes_max: 4096, ..usual });
    }

    #[test]
    fn what_the_lab_did_not_keep_is_refused_with_the_remedy() {
        for (text, words) in [
            ("{", "is no result of the lab"),
            ("{}", "it has no version"),
            (r#"{ "version": 2 }"#, "it has version 2, and not 1"),
            (r#"{ "version": 1 }"#, "it has no laps"),
            (r#"{ "version": 1, "laps": [] }"#, "it has no measured_at"),
            (
                r#"{ "version": 1, "laps": [], "measured_at": 1,
                "crossover": { "large_bytes_min": "1MiB" } }"#,
                "crossover.large_bytes_min is no size",
            ),
        ] {
            let (_directory, path) = kept(text);
            let problem = read(&path).unwrap_err();
            assert!(problem.contains(words), "{problem}");
            assert!(problem.ends_with("make it by 'pitcrew lab --output FILE'"), "{problem}");
        }
        assert!(read(Path::new("/nowhere/lab.json")).unwrap_err().contains("cannot be read"));
        assert!(read(Path::new("/")).unwrap_err().contains("no result of the lab"));
    }
}
