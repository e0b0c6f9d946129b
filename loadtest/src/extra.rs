//! What a server does beside serving, measured as what that adds to a request: each server that
//! can do it runs a second time with it, in the same rounds as without.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::report::{Outcome, common};
use crate::rounds::Lane;
use crate::scenario::Scenario;
use crate::servers::{Contestant, engine_of};
use crate::statistics::Spread;

/// What a server does beside serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extra {
    /// An access log in the Combined format, nginx's through a buffer of 64 KiB.
    Log,
    /// The same by synchronous writes of the data; requests wait where the disk does.
    LogData,
    /// The same with the metadata.
    LogFull,
    /// An access log in JSON.
    Json,
    /// That with every body doubled into it, for its digest.
    Mirror,
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entrant {
    pub(crate) contestant: Contestant,
    pub(crate) extra: Option<Extra>,
    /// Whether it is the first one again, for the noise.
    pub(crate) control: bool,
}

impl Entrant {
    /// One that only serves.
    pub(crate) fn plain(contestant: Contestant) -> Self {
        Self { contestant, extra: None, control: false }
    }

    /// The name in reports.
    pub(crate) fn name(&self) -> String {
        let name = self.contestant.name();
        match (self.extra, self.control) {
            (Some(extra), _) => format!("{name}+{}", extra.name()),
            (None, true) => format!("{name} again"),
            (None, false) => name,
        }
    }
}

impl Extra {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::LogData => "log-data",
            Self::LogFull => "log-full",
            Self::Json => "json",
            Self::Mirror => "mirror",
        }
    }

    /// Whether a server can do it.
    pub(crate) fn is_for(self, contestant: &Contestant) -> bool {
        match contestant {
            Contestant::Null => false,
            Contestant::Pitcrew(variant) => self != Self::Mirror || engine_of(variant) == "splice",
            Contestant::Peer(kind) => self == Self::Log && kind.program() == "nginx",
        }
    }

    /// Lines that a server may keep back as long as no more requests come: nginx has a buffer of
    /// 64 KiB of them, and pitcrew writes all within `access-log-flush`.
    pub(crate) fn kept_lines(contestant: &Contestant) -> u64 {
        match contestant {
            Contestant::Pitcrew(_) | Contestant::Null => 0,
            Contestant::Peer(_) => 1000,
        }
    }

    /// The arguments of pitcrew for it.
    pub(crate) fn arguments(self, log: &Path) -> Vec<String> {
        let more: &[&str] = match self {
            Self::Log => &[],
            Self::LogData => &["--access-log-durability", "data", "--access-log-full", "wait"],
            Self::LogFull => &["--access-log-durability", "full", "--access-log-full", "wait"],
            Self::Json => &["--access-log-format", "json"],
            Self::Mirror => &["--access-log-format", "json", "--mirror", "/**"],
        };
        let log = ["--access-log".to_owned(), log.display().to_string()];
        log.into_iter().chain(more.iter().map(|&one| one.to_owned())).collect()
    }
}

/// Where a server with this number writes its log.
pub(crate) fn log_of(scratch: &Path, number: usize) -> PathBuf {
    scratch.join(format!("access-{number}.log"))
}

/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Empties a log, so that the rounds of a run do not fill the disk.
pub(crate) fn empty(log: &Path) -> io::Result<()> {
    File::options().write(true).open(log)?.set_len(0)
}

/// Waits until a log has a line for each of some requests but for those that its server may keep
/// back, so that what it costs is in the round, and tells what is wrong if it never has.
pub(crate) fn settle(log: &Path, requests: u64, kept: u64) -> io::Result<Option<String>> {
    let until = Instant::now() + PATIENCE;
    let mut file = File::open(log)?;
    let mut block = vec![0; 1 << 20];
    let mut lines = 0;
    while lines + kept < requests {
        let count = file.read(&mut block)?;
        lines += block[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        if count == 0 {
            if Instant::now() > until {
                return Ok(Some(format!("the log has {lines} lines for {requests} requests")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(None)
}

/// What one extra adds to a request of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    pub(crate) server: String,
    pub(crate) extra: Extra,
    /// Microseconds of a core for a request.
    pub(crate) without: f64,
    with: f64,
    /// The difference, round by round.
    pub(crate) added: Spread,
    peer: bool,
}

impl Outcome {
    /// What each extra adds, in the order of the servers.
    pub(crate) fn added(&self) -> Vec<Added> {
        self.lanes.iter().filter_map(|lane| self.added_by(lane)).collect()
    }

    fn added_by(&self, with: &Lane) -> Option<Added> {
        let extra = with.extra?;
        let plain = |lane: &&Lane| {
            lane.contestant == with.contestant && lane.extra.is_none() && !lane.control
        };
        let without = self.lanes.iter().find(plain)?;
        let added = common(with, without).map(|(with, without)| with.cost_us - without.cost_us);
        let added = self.enough(added).ok()?;
        let server = without.name.clone();
        let (without, with_it) = (without.cost()?.median, with.cost()?.median);
        Some(Added { server, extra, without, with: with_it, added, peer: with.peer })
    }

    /// The table of what extras add, against the peer to which the same adds least.
    pub(crate) fn added_table(&self) -> String {
        let all = self.added();
        let mut out = String::new();
        if all.is_empty() {
            return out;
        }
        let _ = writeln!(
            out,
            "{:<17} {:>9} {:>8} {:>8} {:>9} {:>17}",
            "what it adds", "beside", "without", "with", "us/req", "95 % interval"
        );
        for one in &all {
            let Spread { low, median, high, .. } = one.added;
            let _ = write!(
                out,
                "{:<17} {:>9} {:>8.2} {:>8.2} {median:>9.2} {:>17}",
                one.server,
                one.extra.name(),
                one.without,
                one.with,
                format!("[{low:.2} {high:.2}]")
            );
            // What adds nothing that can be told from noise is no measure.
            let peers = all
                .iter()
                .filter(|peer| peer.peer && peer.extra == one.extra && peer.added.low > 0.0);
            let least = peers.min_by(|a, b| a.added.median.total_cmp(&b.added.median));
            if let Some(peer) = least.filter(|_| !one.peer) {
                let share = median / peer.added.median;
                let _ = write!(out, "  {share:.2} of what it adds to {}", peer.server);
            }
            out.push('\n');
        }
        out
    }

    /// The same for programs.
    pub(crate) fn added_json(&self) -> Value {
        json!(self.added())
    }
}

/// Everybody who takes part, with every extra of the scenario that it can do behind it, and at
/// last the first one again.
pub(crate) fn entrants(
    contestants: Vec<Contestant>,
    scenario: &Scenario,
    control: bool,
) -> Vec<Entrant> {
    let again = contestants.first().cloned().filter(|_| control);
    let mut all = Vec::new();
    for contestant in contestants {
        let able = scenario.extras.iter().filter(|extra| extra.is_for(&contestant));
        let with = able.map(|&extra| Entrant {
            contestant: contestant.clone(),
            extra: Some(extra),
            control: false,
        });
        let with: Vec<_> = with.collect();
        all.push(Entrant::plain(contestant));
        all.extend(with);
    }
    all.extend(again.map(|contestant| Entrant { contestant, extra: None, control: true }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::PeerKind;

    #[test]
    fn who_can_do_it_runs_with_it_and_without() {
        let scenario = Scenario::find("access_log").unwrap();
        let all = [
            Contestant::Peer(PeerKind::Nginx),
            Contestant::Peer(PeerKind::Lighttpd),
            Contestant::Pitcrew("uring".to_owned()),
        ];
        let names: Vec<_> =
            entrants(all.into(), &scenario, true).iter().map(Entrant::name).collect();
        assert_eq!(
            names,
            ["nginx", "nginx+log", "lighttpd", "pitcrew uring", "pitcrew uring+log", "nginx again"]
        );
        let mirror = |engine: &str| Extra::Mirror.is_for(&Contestant::Pitcrew(engine.to_owned()));
        assert!(mirror("splice") && !mirror("uring"));
    }

    #[test]
    fn a_log_that_lacks_lines_makes_a_round_void() {
        let log = std::env::temp_dir().join(format!("loadtest-extra-{}", std::process::id()));
        std::fs::write(&log, "line\n".repeat(20)).unwrap();
        let [kept, none] = [Contestant::Peer(PeerKind::Nginx), Contestant::Pitcrew(String::new())]
            .map(|one| Extra::kept_lines(&one));
        assert_eq!(settle(&log, kept + 20, kept).unwrap(), None);
        assert_eq!(settle(&log, 20, none).unwrap(), None);
        let told = settle(&log, 21, none).unwrap();
        assert_eq!(told.unwrap(), "the log has 20 lines for 21 requests");
        empty(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        std::fs::remove_file(&log).unwrap();
    }
}
