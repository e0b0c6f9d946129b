//! What was found.

use serde::Serialize;
use serde_json::Value as Json;

use super::Options;
use super::table::Probe;
use crate::engines::Kind;

/// The version of the JSON: it changes when a name goes away or changes its meaning.
pub const VERSION: u32 = 1;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// Everything runs, and something costs more or is worth to know.
    Note,
    /// Something cannot run.
    Bad,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// What one probe says of one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The row of the table.
    pub probe: &'static str,
    /// The mount that it is about, as a path; none if it is the machine.
    pub mount: Option<String>,
    /// How it stands.
    pub state: State,
    /// One sentence, without a full stop.
    pub says: String,
    /// What to do about it, if it is not good.
    pub remedy: Option<String>,
    /// What cannot run for it.
    #[serde(serialize_with = "names")]
    pub blocks: Vec<Kind>,
    /// What was read, by name.
    pub facts: Json,
}

fn names<S: serde::Serializer>(kinds: &[Kind], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(kinds.iter().map(|kind| kind.name()))
}

impl Finding {
    pub(super) fn new(state: State, says: impl Into<String>) -> Self {
        let (says, remedy, blocks) = (says.into(), None, Vec::new());
        Self { probe: "", mount: None, state, says, remedy, blocks, facts: Json::Null }
    }

    pub(super) fn good(says: impl Into<String>) -> Self {
        Self::new(State::Good, says)
    }

    pub(super) fn note(says: impl Into<String>) -> Self {
        Self::new(State::Note, says)
    }

    /// Something that keeps engines from running.
    pub(super) fn blocking(kinds: impl Into<Vec<Kind>>, says: impl Into<String>) -> Self {
        Self { blocks: kinds.into(), ..Self::new(State::Bad, says) }
    }

    pub(super) fn at(self, mount: impl Into<String>) -> Self {
        Self { mount: Some(mount.into()), ..self }
    }

    /// A remedy that is more exact than that of the row.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn facts(self, facts: Json) -> Self {
        Self { facts, ..self }
    }

    /// The finding of a row: what is not good has its remedy.
    pub(super) fn of(mut self, probe: &Probe) -> Self {
        self.probe = probe.name;
        self.remedy = match self.state {
            State::Good => None,
            _ => Some(self.remedy.unwrap_or_else(|| probe.remedy.to_owned())),
        };
        self
    }
}

/// Whether an engine can run here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineRow {
    /// Its name.
    pub engine: &'static str,
    /// Whether it runs, on every mount.
    pub runs: bool,
    /// Why it does not, or what it does.
    pub says: String,
}

/// Which engine `auto` chooses for a file of one size on one mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Picked {
    /// The mount, as a path.
    pub mount: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether it is in the page cache.
    pub in_memory: bool,
    /// The engine; none if none can run.
    pub engine: Option<&'static str>,
    /// Why.
    pub reason: &'static str,
}

/// What was found, all of it. As JSON it is this object, with the names as they stand here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The directory that was looked at.
    pub root: String,
    /// By probe, in the order of the table.
    pub findings: Vec<Finding>,
    /// Every engine.
    pub engines: Vec<EngineRow>,
    /// What `auto` would do.
    pub auto: Vec<Picked>,
    /// Whether every engine can run here.
    pub all_engines_run: bool,
    /// Whether the server can run at all.
    pub io_uring: bool,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        findings: Vec<Finding>,
        engines: Vec<EngineRow>,
        auto: Vec<Picked>,
    ) -> Self {
        let blocked = |name| findings.iter().any(|one| one.probe == name && !one.blocks.is_empty());
        Self {
            version: VERSION,
            root: options.root.display().to_string(),
            all_engines_run: engines.iter().all(|row| row.runs),
            io_uring: !blocked("io_uring"),
            findings,
            engines,
            auto,
        }
    }

    /// As JSON, with a line's end.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("names are strings and no number is odd") + "\n"
    }
}
