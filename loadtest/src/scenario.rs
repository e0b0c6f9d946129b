//! What a run measures, as files in `scenarios/`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::background::Background;
use crate::confines::Bounds;
use crate::extra::Extra;
use crate::peers::PeerKind;
use crate::targets::Target;

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
    /// Sizes of the files: a number of bytes for all, or a law.
    pub(crate) file_bytes: Sizes,
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
    /// Requests a second, for the generator that keeps to a rate.
    #[serde(default)]
    pub(crate) rate: Option<u32>,
    /// Bytes of the part that each request asks for, anywhere in the file.
    #[serde(default)]
    pub(crate) range_bytes: Option<u64>,
    /// Whether each request has a connection of its own.
    #[serde(default)]
    pub(crate) close: bool,
    /// What each server may use.
    #[serde(default)]
    pub(crate) bounds: Bounds,
    /// Further arguments of pitcrew.
    #[serde(default)]
    pub(crate) pitcrew: Vec<String>,
    /// Whether the page cache is emptied of the files before each round.
    #[serde(default)]
    pub(crate) cold: bool,
    /// What others ask for meanwhile. Each round is then measured alone first.
    #[serde(default)]
    pub(crate) background: Option<Background>,
    /// What each server that can do it is measured with a second time.
    #[serde(default)]
    pub(crate) extras: Vec<Extra>,
    /// Whether a server that does nothing is measured beside the others.
    #[serde(default)]
    pub(crate) null: bool,
    /// What pitcrew is to reach.
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
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
    /// wrk, for the time of a round: the first file, or all by Zipf's law if there are several.
    #[default]
    Wrk,
    /// oha, for the time of a round, at a rate: latencies count from when a request was due.
    Oha,
    /// This program: as many connections as asked for, each idle after one request.
    Idle,
    /// This program: every file once, in random order, with a thread for each connection.
    Walk,
}

/// Sizes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Sizes {
    /// All have so many bytes.
    All(u64),
    /// They follow a law.
    By(Law),
}

/// Laws of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Law {
    /// SURGE (Barford and Crovella, SIGMETRICS 1998): the body lognormal (9.357, 1.318), the tail
    /// beyond 133 KB Pareto (1.1), cut at 10 MiB; popularity by Zipf's law.
    Surge,
}

fn one() -> u32 {
    1
}

/// A row of [`BUILT_IN`]: a name, and the text of its file.
macro_rules! scenario {
    ($name:literal) => {
        ($name, include_str!(concat!("../scenarios/", $name, ".toml")))
    };
}

/// The scenarios of this program, in the order in which they run.
pub(crate) const BUILT_IN: [(&str, &str); 22] = [
    scenario!("small"),
    scenario!("small16"),
    scenario!("medium"),
    scenario!("large"),
    scenario!("large10"),
    scenario!("huge"),
    scenario!("pipelined"),
    scenario!("mixed"),
    scenario!("ranges"),
    scenario!("churn"),
    scenario!("steady"),
    scenario!("idle"),
    scenario!("listing"),
    scenario!("access_log"),
    scenario!("durable_log"),
    scenario!("mirrored"),
    scenario!("downloads"),
    scenario!("slow_readers"),
    scenario!("saturated_disk"),
    scenario!("cold_random"),
    scenario!("cold_large"),
    scenario!("cold_bounded"),
];

impl Scenario {
    /// Whether its generator has to ask at a rate while others use the same core.
    pub(crate) fn shares_core(&self) -> bool {
        self.background.is_some() && matches!(self.generator, Generator::Oha)
    }

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
        let (wrk, walk) =
            (scenario.generator == Generator::Wrk, scenario.generator == Generator::Walk);
        match &scenario {
            Self { files: 0, .. } | Self { connections: 0, .. } | Self { pipeline: 0, .. } => {
                bad("files, connections and pipeline are at least 1")
            }
            Self { file_bytes: Sizes::All(0), .. } => bad("file-bytes is at least 1"),
            Self { pipeline: 2.., .. } if !wrk => bad("only the generator wrk pipelines"),
            Self { pipeline: 2.., files: 2.., .. } => bad("one file is asked for in a pipeline"),
            Self { files: 2.., .. } if !wrk && !walk => {
                bad("this generator asks for one file; wrk and walk ask for several")
            }
            Self { cold: true, .. } if !walk => {
                bad("only the generator walk asks for each file once, and stays cold")
            }
            Self { rate, .. } if rate.is_some() != (scenario.generator == Generator::Oha) => {
                bad("the generator oha keeps to a rate, and no other does")
            }
            Self { close, range_bytes, .. } if (*close || range_bytes.is_some()) && !wrk => {
                bad("only the generator wrk closes connections or asks for ranges")
            }
            Self { range_bytes: Some(bytes), file_bytes, .. }
                if *bytes == 0 || !matches!(file_bytes, Sizes::All(all) if all > bytes) =>
            {
                bad("range-bytes is at least 1 and less than file-bytes")
            }
            Self { background: Some(background), .. } if background.objection().is_some() => {
                bad(background.objection().unwrap_or_default())
            }
            Self { null: true, .. }
                if scenario.files > 1 || scenario.range_bytes.is_some() || scenario.close =>
            {
                bad("null has one file, which it sends whole, and never closes a connection")
            }
            Self { targets, .. } => match targets.iter().find_map(Target::objection) {
                Some(objection) => bad(objection),
                None => Ok(scenario),
            },
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
            assert!(!scenario.peers.is_empty() || !scenario.extras.is_empty(), "{name}");
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
        for rest in [
            "files = 0",
            "cold = true",
            "pipelin = 2",
            "files = 2\npipeline = 2",
            "generator = 'oha'",
            "rate = 5",
            "generator = 'walk'\nclose = true",
            "range-bytes = 9",
            "[background]\nconnections = 1",
            "null = true\nfiles = 2",
            "[[targets]]\nmetric = 'cost-ratio'\nof = ['x']\nat-least = 1.0",
            "[[targets]]\nmetric = 'speed'\nof = ['x']\nat-least = 1.0",
        ] {
            assert!(Scenario::parse("x", &text(rest)).is_err(), "{rest}");
        }
        assert!(Scenario::find("smal").unwrap_err().contains("small16"));
    }
}
