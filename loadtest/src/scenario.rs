//! What a run measures, as files in `scenarios/`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::servers::PeerKind;

/// One scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The name of its file.
    #[serde(skip_deserializing)]
    pub(crate) name: String,
    /// One line.
    pub(crate) title: String,
    /// What the figures tell.
    pub(crate) measures: String,
    /// What would make the figures tell nothing.
    pub(crate) meaningless: String,
    /// Bytes of each file.
    pub(crate) file_bytes: u64,
    /// How many files there are.
    #[serde(default = "one")]
    pub(crate) files: u32,
    /// Connections of the generator.
    pub(crate) connections: u32,
    /// Requests that are sent at once on a connection.
    #[serde(default = "one")]
    pub(crate) pipeline: u32,
    /// Who asks.
    #[serde(default)]
    pub(crate) generator: Generator,
    /// Whether the page cache is emptied of the files before each round.
    #[serde(default)]
    pub(crate) cold: bool,
    /// Engines that take part if none are named; all if it is empty.
    #[serde(default)]
    pub(crate) engines: Vec<String>,
    /// Servers and configurations that it is measured against.
    pub(crate) peers: Vec<PeerKind>,
}

/// Who asks for files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Generator {
    /// wrk, for the time of a round, always the first file.
    #[default]
    Wrk,
    /// This program: every file once, in random order, with a thread for each connection.
    Walk,
}

fn one() -> u32 {
    1
}

/// The scenarios of this program, in the order in which they run.
pub(crate) const BUILT_IN: [(&str, &str); 6] = [
    ("small", include_str!("../scenarios/small.toml")),
    ("small16", include_str!("../scenarios/small16.toml")),
    ("medium", include_str!("../scenarios/medium.toml")),
    ("large", include_str!("../scenarios/large.toml")),
    ("pipelined", include_str!("../scenarios/pipelined.toml")),
    ("cold_random", include_str!("../scenarios/cold_random.toml")),
];

impl Scenario {
    /// A scenario by name, or from the file at a path that ends in `.toml`.
    pub(crate) fn find(wanted: &str) -> Result<Self, String> {
        if let Some((name, text)) = BUILT_IN.into_iter().find(|(name, _)| *name == wanted) {
            return Self::parse(name, text);
        }
        let path = Path::new(wanted);
        let Some(stem) = path.file_stem().filter(|_| wanted.ends_with(".toml")) else {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            return Err(format!(
                "no scenario is called '{wanted}'; there are {names}, and the path of a TOML file"
            ));
        };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{wanted}: {error}"))?;
        Self::parse(&stem.to_string_lossy(), &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut scenario: Self =
            toml::from_str(text).map_err(|error| format!("scenario {name}: {error}"))?;
        scenario.name = name.to_owned();
        let bad = |what: &str| Err(format!("scenario {name}: {what}"));
        match &scenario {
            Self { files: 0, .. } | Self { connections: 0, .. } | Self { pipeline: 0, .. } => {
                bad("files, connections and pipeline are at least 1")
            }
            Self { generator: Generator::Walk, pipeline: 2.., .. } => {
                bad("the generator walk does not pipeline")
            }
            Self { generator: Generator::Wrk, files: 2.., .. } => {
                bad("the generator wrk asks for one file")
            }
            Self { generator: Generator::Wrk, cold: true, .. } => {
                bad("only the generator walk asks for each file once, and stays cold")
            }
            _ => Ok(scenario),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_built_in_and_says_what_it_is_for() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: BTreeSet<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let built_in: BTreeSet<_> = BUILT_IN.map(|(name, _)| format!("{name}.toml")).into();
        assert_eq!(files, built_in);
        for (name, _) in BUILT_IN {
            let scenario = Scenario::find(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(scenario.measures.len() > 40 && scenario.meaningless.len() > 40, "{name}");
            assert!(!scenario.peers.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_scenario_that_cannot_be_run_is_refused() {
        let text = |rest: &str| {
            format!(
                "title = ''\nmeasures = ''\nmeaningless = ''\nfile-bytes = 1\n\
                connections = 1\npeers = []\n{rest}"
            )
        };
        assert!(Scenario::parse("x", &text("")).is_ok());
        for rest in ["files = 2", "files = 0", "cold = true", "pipelin = 2"] {
            assert!(Scenario::parse("x", &text(rest)).is_err(), "{rest}");
        }
        assert!(Scenario::find("smal").unwrap_err().contains("small16"));
    }
}
