//! What pitcrew itself says of a round, from `/telemetry`.

use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::Client;

/// Of so many bodies one may be another engine's.
const ELSEWHERE: u64 = 1000;

/// Techniques that enter the kernel with a call of their own, beside the ring's.
const INLINE: [&str; 4] = ["sendfile", "splice_in", "splice_out", "pread"];

/// Counters of the server at one moment. What is not named here is not read.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Figures {
    ring: Ring,
    techniques: BTreeMap<String, Technique>,
    engines: BTreeMap<String, Engine>,
    bytes: Bytes,
    farewells: Farewells,
    /// Bodies by the reason for which their engine was chosen.
    #[serde(default)]
    choices: BTreeMap<String, u64>,
    #[serde(default)]
    access_log: AccessLog,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct AccessLog {
    #[serde(default)]
    mirrored: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Ring {
    enters: u64,
    submissions: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Technique {
    operations: u64,
    short: u64,
    would_block: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Engine {
    responses: u64,
    declined: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Farewells {
    truncated: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Bytes {
    copied: u64,
    not_copied: u64,
}

/// What the server did for each request of a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct PerRequest {
    /// Entries into the kernel by the ring.
    pub(crate) enters: f64,
    /// Entries of the ring's submission queue.
    pub(crate) submissions: f64,
    /// Calls that move a body beside the ring.
    pub(crate) inline_calls: f64,
    /// Operations of each technique that was used.
    pub(crate) techniques: BTreeMap<String, f64>,
    /// Transfers that were short, and such that found a full socket or pipe.
    pub(crate) short: f64,
    pub(crate) would_block: f64,
    /// Bytes that the processor copied, and that it did not.
    pub(crate) bytes_copied: f64,
    pub(crate) bytes_not_copied: f64,
    /// Bodies of each engine that served any.
    pub(crate) engines: BTreeMap<String, f64>,
    /// Bodies by the reason for which their engine was chosen, where the server chose.
    pub(crate) choices: BTreeMap<String, f64>,
}

impl Figures {
    /// Asks a server for those that are compared.
    pub(crate) fn read(address: SocketAddr) -> io::Result<Self> {
        Self::deserialize(ask(address)?).map_err(|error| told_badly(&error))
    }

    /// What was done since an earlier reading for each of some requests.
    pub(crate) fn since(&self, earlier: &Self, requests: u64) -> PerRequest {
        let each =
            |now: u64, before: u64| now.saturating_sub(before) as f64 / requests.max(1) as f64;
        let by_technique = |count: fn(&Technique) -> u64| {
            let counts = self.techniques.iter().map(move |(name, now)| {
                let before = earlier.techniques.get(name).map_or(0, count);
                (name.clone(), each(count(now), before))
            });
            counts.filter(|(_, count)| *count > 0.0).collect::<BTreeMap<_, _>>()
        };
        let techniques = by_technique(|technique| technique.operations);
        let engines = self.engines.iter().map(|(name, now)| {
            let before = earlier.engines.get(name).map_or(0, |engine| engine.responses);
            (name.clone(), each(now.responses, before))
        });
        let choices = self.choices.iter().map(|(reason, now)| {
            let before = earlier.choices.get(reason).copied().unwrap_or(0);
            (reason.clone(), each(*now, before))
        });
        PerRequest {
            enters: each(self.ring.enters, earlier.ring.enters),
            submissions: each(self.ring.submissions, earlier.ring.submissions),
            inline_calls: INLINE.iter().filter_map(|name| techniques.get(*name)).sum(),
            techniques,
            short: by_technique(|technique| technique.short).values().sum(),
            would_block: by_technique(|technique| technique.would_block).values().sum(),
            bytes_copied: each(self.bytes.copied, earlier.bytes.copied),
            bytes_not_copied: each(self.bytes.not_copied, earlier.bytes.not_copied),
            engines: engines.filter(|(_, count)| *count > 0.0).collect(),
            choices: choices.filter(|(_, count)| *count > 0.0).collect(),
        }
    }

    /// Why a round does not count that was to mirror every body.
    pub(crate) fn unmirrored(&self, earlier: &Self, requests: u64) -> Option<String> {
        let whole = self.access_log.mirrored.saturating_sub(earlier.access_log.mirrored);
        // The generator cuts some off at its end.
        let few = (whole as f64) < 0.99 * requests as f64;
        few.then(|| format!("{whole} of {requests} bodies were mirrored whole"))
    }

    /// Why a round does not count for an engine: another one did its work, or it failed.
    pub(crate) fn objection(&self, earlier: &Self, engine: &str, requests: u64) -> Option<String> {
        // Bodies that the generator left behind at its end fail too; only these were the server's.
        let truncated = self.farewells.truncated.saturating_sub(earlier.farewells.truncated);
        if truncated > 0 {
            return Some(format!("{truncated} bodies were cut short"));
        }
        // An engine that chooses among the others has no work of its own.
        self.engines.get(engine)?;
        // A file of which the kernel took a page back meanwhile is another engine's for once.
        let few = requests / ELSEWHERE;
        for (name, now) in &self.engines {
            let before = earlier.engines.get(name).cloned().unwrap_or_default();
            let responses = now.responses.saturating_sub(before.responses);
            if now.declined > before.declined + few {
                return Some(format!("{name} declined {} bodies", now.declined - before.declined));
            }
            if name != engine && responses > few {
                return Some(format!("{name} served {responses} bodies"));
            }
            // Requests that the generator cut off at its end may be counted on either side.
            if name == engine && (responses as f64) < 0.99 * requests as f64 {
                return Some(format!("{name} served {responses} of {requests} bodies"));
            }
        }
        None
    }
}

/// Asks a server for everything that it tells.
pub(crate) fn ask(address: SocketAddr) -> io::Result<Value> {
    let mut body = Vec::new();
    let mut client = Client::connect(address)?;
    let answer = client.get("/telemetry", |part| body.extend_from_slice(part))?;
    if answer.status != 200 {
        return Err(told_badly(&format!("status {}", answer.status)));
    }
    serde_json::from_slice(&body).map_err(|error| told_badly(&error))
}

fn told_badly(what: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("/telemetry: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(sendfile: u64, copy: u64, declined: u64) -> Figures {
        let text = format!(
            r#"{{"version": 1, "ring": {{"enters": {sendfile}, "submissions": 0, "busy": 0}},
            "techniques": {{
                "sendfile": {{"operations": {sendfile}, "short": 0, "would_block": 1}},
                "poll": {{"operations": 0, "short": 0, "would_block": 0}}}},
            "engines": {{
                "sendfile": {{"responses": {sendfile}, "declined": {declined}, "failed": 1}},
                "copy": {{"responses": {copy}, "declined": 0, "failed": 0}}}},
            "bytes": {{"copied": 0, "not_copied": 10}},
            "choices": {{"hot": {sendfile}, "cold": 0}},
            "access_log": {{"mirrored": {sendfile}, "dropped": 0}},
            "farewells": {{"truncated": 0, "client_abort": 1}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn figures_of_a_round_are_told_for_each_request() {
        let done = figures(30, 0, 0).since(&figures(10, 0, 0), 10);
        assert_eq!((done.enters, done.inline_calls, done.would_block), (2.0, 2.0, 0.0));
        assert_eq!(done.techniques, BTreeMap::from([("sendfile".to_owned(), 2.0)]));
        assert_eq!(done.engines, BTreeMap::from([("sendfile".to_owned(), 2.0)]));
        assert_eq!(done.choices, BTreeMap::from([("hot".to_owned(), 2.0)]));
    }

    #[test]
    fn a_round_counts_only_if_its_bodies_were_mirrored() {
        let (before, after) = (figures(10, 0, 0), figures(109, 0, 0));
        assert_eq!(after.unmirrored(&before, 100), None);
        let told = after.unmirrored(&before, 101).unwrap();
        assert_eq!(told, "99 of 101 bodies were mirrored whole");
    }

    #[test]
    fn a_round_counts_only_for_the_engine_that_served_it() {
        let before = figures(0, 0, 0);
        let object = |now: &Figures, engine| now.objection(&before, engine, 100);
        assert_eq!(object(&figures(100, 0, 0), "sendfile"), None);
        assert!(object(&figures(100, 1, 0), "sendfile").is_some());
        assert!(object(&figures(100, 0, 1), "sendfile").is_some());
        assert!(object(&figures(90, 0, 0), "sendfile").is_some());
        assert!(object(&figures(100, 0, 0), "copy").is_some());
        assert_eq!(object(&figures(50, 50, 0), "auto"), None);
        let object = |now: &Figures| now.objection(&before, "sendfile", 5000);
        assert_eq!(object(&figures(4995, 5, 5)), None, "a thousandth is nothing");
        assert!(object(&figures(4994, 6, 6)).is_some());
        let object = |now: &Figures, engine| now.objection(&before, engine, 100);
        let mut cut = figures(100, 0, 0);
        cut.farewells.truncated = 1;
        assert!(object(&cut, "sendfile").is_some());
    }
}
