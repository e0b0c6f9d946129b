//! Flags over environment over file over defaults.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::rules::{Places, Rules};
use super::written::show_size;
use super::{KEYS, Key, Log, Problem, Source, Written, conflicts, file, nearest};
use crate::limits::{BODY_SHARE_MIN, DIRECT_BLOCKS_MIN, HEAD_SHARE_MIN};
use crate::server::options::{Listen, Options};

/// What every key means together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// What the server is told.
    pub server: Options,
    /// What the program says about itself.
    pub log: Log,
    /// The result of the lab that was read.
    pub lab_results: Option<PathBuf>,
}

/// A key on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The name of the key.
    pub key: &'static str,
    /// As it was spelt, for messages: `--root` or `ROOT`.
    pub spelt: String,
    /// Its value.
    pub written: Written,
}

/// The configuration that is in force, with the source of each value.
#[derive(Debug)]
pub struct Effective {
    /// What it means.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is odd and not wrong.
    pub warnings: Vec<Problem>,
    sources: Vec<Source>,
}

impl Effective {
    /// Where the value of a key was written.
    pub fn source(&self, key: &Key) -> &Source {
        let index = KEYS.iter().position(|row| row.name == key.name);
        &self.sources[index.expect("every key is a row of the table")]
    }
}

/// The variable that names the file.
const FILE_VARIABLE: &str = "PITCREW_CONFIG";
const PREFIX: &str = "PITCREW_";

/// Puts the sources together.
///
/// `file` is what `--config` names. A variable that is set to nothing counts as not set.
///
/// # Errors
/// Every problem that was found, in the order file, environment, flags.
pub fn resolve(
    flags: &[Given],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file: Option<&Path>,
) -> Result<Effective, Vec<Problem>> {
    resolve_and_tell(flags, environment, file, &|_| ())
}

/// The same, and `looks` is told the file, each directory that is served and each unix socket
/// before it is looked at: a disk that hangs holds up whoever asks, and somebody else has to say
/// which it is.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_and_tell(
    flags: &[Given],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file: Option<&Path>,
    looks: &dyn Fn(&Path),
) -> Result<Effective, Vec<Problem>> {
    let mut environment: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();
    environment.sort();
    let named = environment.iter().find(|(name, _)| name == FILE_VARIABLE);
    let file = file.map(Path::to_owned).or_else(|| named.map(|(_, value)| PathBuf::from(value)));

    let mut merge = Merge::new();
    if let Some(path) = &file {
        let base = path.parent().unwrap_or(Path::new(""));
        looks(path);
        let contents = file::read(path);
        merge.problems.extend(contents.problems);
        for entry in contents.entries {
            merge.apply(entry.key, &entry.written, base, entry.source);
        }
        merge.rules(contents.rules, contents.hosts);
    }
    for (name, value) in &environment {
        merge.variable(name, value);
    }
    for given in flags {
        let key = Key::find(given.key).expect("flags are made from the table of keys");
        let source = Source::Flag(given.spelt.clone());
        merge.apply(key, &given.written, Path::new(""), source);
    }
    merge.finish(file, looks)
}

struct Merge {
    settings: Settings,
    sources: Vec<Source>,
    /// Where the rules stand, of the site and of each host.
    site: Places,
    hosts: Vec<Places>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Merge {
    fn new() -> Self {
        let mut settings = Settings::default();
        if Path::new("www").is_dir() {
            settings.server.site.root = PathBuf::from("www");
        }
        Self {
            settings,
            sources: vec![Source::Default; KEYS.len()],
            site: Places::default(),
            hosts: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn apply(&mut self, key: &'static Key, written: &Written, base: &Path, source: Source) {
        match (key.set)(&mut self.settings, written, base) {
            Ok(()) => {
                let index = KEYS.iter().position(|row| row.name == key.name);
                self.sources[index.expect("every key is a row of the table")] = source;
            }
            Err(message) => {
                // A flag and a variable are already the name of the key.
                let message = match source {
                    Source::File { .. } => format!("{}: {message}", key.name),
                    _ => message,
                };
                self.problems.push(Problem { source, message });
            }
        }
    }

    /// Takes in the tables of the file.
    fn rules(&mut self, rules: Rules, hosts: Vec<Rules>) {
        let server = &mut self.settings.server;
        // For the site, only its tables are read into a host.
        server.site = rules.host.over(&server.site);
        self.site = rules.places;
        for host in hosts {
            server.hosts.push(host.host);
            self.hosts.push(host.places);
        }
    }

    /// What is odd between rules, which flags and variables may change, too.
    fn check_rules(&mut self) {
        let key = |name: &str| KEYS.iter().position(|key| key.name == name);
        self.site.fallback = key("fallback").map(|index| self.sources[index].clone());
        let source =
            |name: &str| self.sources[key(name).expect("every key is a row of the table")].clone();
        let conflicts = conflicts::find(&self.settings, &self.site, &self.hosts, source);
        self.problems.extend(conflicts.errors);
        self.warnings.extend(conflicts.warnings);
    }

    fn variable(&mut self, name: &str, value: &OsStr) {
        if name == FILE_VARIABLE {
            return;
        }
        let source = Source::Environment(name.to_owned());
        let variables: Vec<_> = KEYS.iter().map(Key::variable).collect();
        if let Some(index) = variables.iter().position(|variable| variable == name) {
            let written = Written::Loose(value.to_owned());
            self.apply(&KEYS[index], &written, Path::new(""), source);
        } else if !is_service_link(name) {
            // Not an error: the environment belongs to others, too.
            let word = name.trim_start_matches(PREFIX);
            let message = match nearest(word, KEYS.iter().map(|key| key.name)).and_then(Key::find) {
                Some(key) => format!("unknown variable; did you mean '{}'?", key.variable()),
                None => "unknown variable, ignored".to_owned(),
            };
            self.warnings.push(Problem { source, message });
        }
    }

    fn finish(
        mut self,
        file: Option<PathBuf>,
        looks: &dyn Fn(&Path),
    ) -> Result<Effective, Vec<Problem>> {
        if self.problems.is_empty() {
            self.fit_memory();
            self.check_shares();
            self.visit_directories(looks);
            self.check_rules();
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let Self { settings, sources, warnings, .. } = self;
        Ok(Effective { settings, file, warnings, sources })
    }

    /// Goes to each directory that is served and to where each unix socket is made, so that whoever
    /// is there later waits for no disk that was not waited for here.
    fn visit_directories(&self, looks: &dyn Fn(&Path)) {
        let server = &self.settings.server;
        let visit = |place: &Path| {
            looks(place);
            // What is not there is told of by who needs it.
            let _ = place.metadata();
        };
        for site in server.sites() {
            visit(&site.root);
            site.mounts.iter().for_each(|mount| visit(&mount.root));
        }
        for listen in server.listen.iter().chain(&server.telemetry.listen) {
            if let Listen::Unix(path) = listen {
                visit(path);
            }
        }
    }

    /// Has budgets that nobody has set fit the memory that this process may have, and looks
    /// whether the others do.
    fn fit_memory(&mut self) {
        let sources = &self.sources;
        let is_set = |name: &str| !matches!(source_in(sources, name), Source::Default);
        let server = &mut self.settings.server;
        server.fit(is_set);
        let Some(memory) = &server.memory else { return };
        let budgets = server.memory_budgets();
        let all: u64 = budgets.iter().map(|(_, bytes)| bytes).sum();
        if all <= memory.bytes {
            return;
        }
        let names: Vec<_> = budgets.iter().filter(|(_, bytes)| *bytes > 0).collect();
        // The largest of those that were set, or of all where it is the workers who need so much.
        let set = names.iter().filter(|(name, _)| is_set(name)).max_by_key(|(_, bytes)| bytes);
        let largest = set.or_else(|| names.iter().max_by_key(|(_, bytes)| bytes));
        let name = largest.map_or("workers", |(name, _)| name);
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "{} come to {}, and this process may have {} of memory ({}); lower {name}",
            names.join(", "),
            show_size(all),
            show_size(memory.bytes),
            memory.by.display(),
        );
        // The kernel would end it without a word.
        let never_starts = server.memory_at_start() > memory.bytes;
        let problem = Problem { source: self.blame(name), message };
        if never_starts { &mut self.problems } else { &mut self.warnings }.push(problem);
    }

    /// What holds between keys, each of which is right by itself.
    fn check_shares(&mut self) {
        let server = &self.settings.server;
        // Who does not use the cache of blocks is not asked to give it a size.
        let blocks = if server.engine.keeps_blocks() { DIRECT_BLOCKS_MIN } else { 0 };
        let workers = server.workers as u64;
        let mut wrong = Vec::new();
        for (name, total, least) in [
            ("head-buffers", server.head_buffers as u64, HEAD_SHARE_MIN),
            ("body-buffers", server.body_buffers as u64, BODY_SHARE_MIN),
            ("direct-cache", server.direct_cache as u64, (blocks * server.direct_block) as u64),
        ] {
            if total < workers * least {
                let (needed, fit) = (show_size(workers * least), (total / least.max(1)).max(1));
                let total = show_size(total);
                wrong.push((
                    name,
                    format!(
                        "{name} of {total} is too little for {workers} workers; set it to \
                         {needed} or more, or workers to {fit} or fewer"
                    ),
                ));
            }
        }
        if (server.connections as u64) < workers {
            wrong.push((
                "connections",
                format!(
                    "connections of {} is too few for {workers} workers; set it to {workers} or \
                     more, or workers to {0} or fewer",
                    server.connections
                ),
            ));
        }
        for (name, message) in wrong {
            let source = self.blame(name);
            self.problems.push(Problem { source, message });
        }
    }

    /// Where the mistake was made: at the key, or at `workers` when the key has its default.
    fn blame(&self, name: &str) -> Source {
        match self.source(name) {
            Source::Default => self.source("workers").clone(),
            written => written.clone(),
        }
    }

    fn source(&self, name: &str) -> &Source {
        source_in(&self.sources, name)
    }
}

fn source_in<'s>(sources: &'s [Source], name: &str) -> &'s Source {
    let index = KEYS.iter().position(|key| key.name == name);
    &sources[index.expect("every key is a row of the table")]
}

/// Kubernetes sets variables for every service of the name space: a service called `pitcrew`
/// gives PITCREW_PORT, PITCREW_SERVICE_HOST, PITCREW_PORT_80_TCP and more of the kind.
fn is_service_link(name: &str) -> bool {
    let word = name.trim_start_matches(PREFIX);
    word == "PORT" || word.starts_with("PORT_") || word.starts_with("SERVICE_")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::server::options::Kind;
    use std::fs;

    fn flag(key: &'static str, value: &str) -> Given {
        Given { key, spelt: format!("--{key}"), written: Written::Loose(value.into()) }
    }

    fn variables(all: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        all.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    fn config(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_nearer_source_wins_key_by_key() {
        let (_dir, path) = config("engine = \"splice\"\nworkers = 3\npin = true\n");
        let environment = variables(&[("PITCREW_ENGINE", "uring"), ("PITCREW_WORKERS", "2")]);
        let all = resolve(&[flag("engine", "copy")], environment, Some(&path)).unwrap();
        assert_eq!(all.settings.server.engine, Kind::Copy);
        assert_eq!(all.settings.server.workers, 2);
        assert!(all.settings.server.pin);
        let source = |name| all.source(Key::find(name).unwrap()).to_string();
        assert_eq!(source("engine"), "--engine");
        assert_eq!(source("workers"), "PITCREW_WORKERS");
        assert_eq!(source("pin"), format!("{}:3:7", path.display()));
        assert_eq!(source("index"), "default");
    }

    #[test]
    fn the_file_is_named_by_flag_or_variable() {
        let (_dir, path) = config("pin = true\n");
        let named = variables(&[("PITCREW_CONFIG", path.to_str().unwrap())]);
        assert!(resolve(&[], named.clone(), None).unwrap().settings.server.pin);
        let (_dir, other) = config("");
        assert!(!resolve(&[], named, Some(&other)).unwrap().settings.server.pin);
        let unset = variables(&[("PITCREW_CONFIG", ""), ("PITCREW_ENGINE", "")]);
        assert_eq!(resolve(&[], unset, None).unwrap().file, None);
    }

    #[test]
    fn paths_of_the_file_begin_at_the_file() {
        let (dir, path) = config("root = \"site\"\n");
        let all = resolve(&[], [], Some(&path)).unwrap();
        assert_eq!(all.settings.server.site.root, dir.path().join("site"));
        let all = resolve(&[flag("root", "site")], [], Some(&path)).unwrap();
        assert_eq!(all.settings.server.site.root, Path::new("site"));
    }

    #[test]
    fn who_waits_is_told_each_place_before_it_is_looked_at() {
        let mount = "root = \"site\"\n[[mounts]]\npath = \"/m/\"\nroot = \"mount\"\n";
        let (dir, path) = config(mount);
        for name in ["site", "mount"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let told = std::cell::RefCell::new(Vec::new());
        let looks = |path: &Path| told.borrow_mut().push(path.to_owned());
        resolve_and_tell(&[], [], Some(&path), &looks).unwrap();
        let expected = [path.clone(), dir.path().join("site"), dir.path().join("mount")];
        assert_eq!(told.into_inner(), expected);
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let (_dir, path) = config("engine = \"spice\"\nworkers = 0\nnope = 1\n");
        let environment = variables(&[("PITCREW_IDLE_TIMEOUT", "30")]);
        let problems = resolve(&[flag("pin", "maybe")], environment, Some(&path)).unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 5, "{shown:?}");
        assert!(shown[0].contains("c.toml:3:1: unknown key 'nope'"));
        assert!(
            shown[1]
                .ends_with("c.toml:1:10: engine: unknown engine 'spice'; did you mean 'splice'?")
        );
        assert!(shown[2].contains("workers: 0 is out of range; from 1 to 256 is allowed"));
        assert_eq!(shown[3], "PITCREW_IDLE_TIMEOUT: 30 has no unit; write 30s or 30ms");
        assert_eq!(shown[4], "--pin: 'maybe' is neither true nor false");
    }

    #[test]
    fn budgets_must_be_enough_for_the_workers() {
        let flags = [flag("workers", "4"), flag("head-buffers", "64KiB")];
        let problems = resolve(&flags, [], None).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "--head-buffers: head-buffers of 64KiB is too little for 4 workers; set it to 256KiB \
             or more, or workers to 1 or fewer"
        );
        let problems = resolve(&[flag("workers", "2"), flag("connections", "1")], [], None);
        assert!(problems.unwrap_err()[0].message.contains("too few for 2 workers"));
        let many = resolve(&[flag("workers", "256")], [], None).unwrap();
        assert_eq!(many.settings.server.direct_cache, 256 * DIRECT_BLOCKS_MIN * (256 << 10));
        let flags = [flag("workers", "256"), flag("direct-cache", "256MiB")];
        let problems = resolve(&flags, [], None).unwrap_err();
        assert!(problems[0].message.contains("set it to 512MiB or more"), "{}", problems[0]);
    }

    #[test]
    fn an_unknown_variable_is_a_warning_unless_it_is_of_kubernetes() {
        let environment = variables(&[
            ("PITCREW_ENGIN", "copy"),
            ("PITCREW_SERVICE_HOST", "10.0.0.1"),
            ("PITCREW_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("OTHER", "x"),
        ]);
        let all = resolve(&[], environment, None).unwrap();
        let shown: Vec<_> = all.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["PITCREW_ENGIN: unknown variable; did you mean 'PITCREW_ENGINE'?"]);
    }
}
