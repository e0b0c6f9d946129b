//! oha: requests at a rate. With its correction a latency counts from the moment at which the
//! request was due, so a server that stalls cannot hide it by being asked less.

use std::io::{self, Error, ErrorKind};
use std::process::Command;

use serde_json::Value;

use super::{Load, Task};
use crate::process::{self, Process};
use crate::site::Site;

pub(super) fn run(task: &Task<'_>) -> io::Result<Load> {
    let rate = task.scenario.rate.expect("a scenario for this generator has a rate");
    let mut command = match task.scenario.shares_core() && process::may_hurry() {
        true => process::hurried("oha"),
        false => Command::new("oha"),
    };
    command.args(["--no-tui", "--output-format", "json", "--latency-correction"]);
    command.args(["-q", &rate.to_string(), "-z", &format!("{}s", task.seconds)]);
    command.args(["-c", &task.scenario.connections.to_string()]);
    command.arg(format!("http://{}{}", task.address, Site::target(0)));
    let log = task.scratch.join("oha.log");
    let mut process = Process::start(command, &[task.core], &[], &log)?;
    let busy = task.wait_for(&mut process)?;
    let output = process.output();
    let mut load = parse(&output).map_err(|_| process.fault("did not say what it got"))?;
    load.busy = busy;
    // What it could not send, because all its connections waited, it says nothing of.
    load.due = Some(u64::from(rate) * task.seconds);
    load.p99_us = load.p99_us.max(waited_us(&load, rate));
    Ok(load)
}

/// How long the p99 is at least by what was never answered: requests were due at equal distances,
/// so the oldest of those that are missing beyond a hundredth waited for all the others. Latencies
/// of answers alone would praise a server that gave few and then stood still.
fn waited_us(load: &Load, rate: u32) -> f64 {
    let due = load.due.unwrap_or(load.requests);
    let beyond = due.saturating_sub(load.requests).saturating_sub(due / 100);
    beyond as f64 / f64::from(rate) * 1e6
}

fn parse(output: &str) -> io::Result<Load> {
    let bad = || Error::new(ErrorKind::InvalidData, "not what oha says");
    let told: Value = serde_json::from_str(output).map_err(|_| bad())?;
    let number = |value: &Value| value.as_f64().ok_or_else(bad);
    let summary = &told["summary"];
    let seconds = number(&summary["total"])?;
    let count = |map: &Value, keep: fn(&str) -> bool| -> u64 {
        let entries = map.as_object().into_iter().flatten();
        entries.filter(|(name, _)| keep(name)).filter_map(|(_, count)| count.as_u64()).sum()
    };
    let codes = &told["statusCodeDistribution"];
    // What is under way when the time is over is ended by oha itself.
    let errors = count(&told["errorDistribution"], |name| !name.contains("deadline"))
        + count(codes, |code| !code.starts_with('2'));
    let requests = count(codes, |code| code.starts_with('2'));
    // A server that stood still all the time gave no latency. It is at least as long as that, and
    // that is what such a scenario is to find out.
    let latency = |place: &str| match (requests, errors) {
        (0, 0) => Ok(seconds * 1e6),
        _ => number(&told["latencyPercentiles"][place]).map(|seconds| seconds * 1e6),
    };
    Ok(Load {
        requests,
        bytes: number(&summary["totalData"])? as u64,
        seconds,
        errors,
        due: None,
        p50_us: latency("p50")?,
        p99_us: latency("p99")?,
        busy: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_read() {
        let output = r#"{"summary": {"total": 2.0, "totalData": 4096},
            "latencyPercentiles": {"p50": 0.001, "p99": 0.0025},
            "statusCodeDistribution": {"200": 4, "503": 1},
            "errorDistribution": {"aborted due to deadline": 2, "connection closed": 1}}"#;
        let load = parse(output).unwrap();
        assert_eq!((load.requests, load.bytes, load.errors), (4, 4096, 2));
        assert_eq!((load.p50_us, load.p99_us), (1000.0, 2500.0));
        let output = r#"{"summary": {"total": 2.0, "totalData": 0, "fastest": null},
            "latencyPercentiles": {"p50": null, "p99": null}, "statusCodeDistribution": {},
            "errorDistribution": {"aborted due to deadline": 4}}"#;
        let load = parse(output).unwrap();
        assert_eq!((load.requests, load.errors, load.p99_us), (0, 0, 2e6));
        assert!(parse("{}").is_err() && parse("oha: no").is_err());
    }

    #[test]
    fn what_was_never_answered_waited() {
        let output = r#"{"summary": {"total": 2.0, "totalData": 4096},
            "latencyPercentiles": {"p50": 0.001, "p99": 0.0025},
            "statusCodeDistribution": {"200": 400}, "errorDistribution": {}}"#;
        let mut load = parse(output).unwrap();
        load.due = Some(1000);
        // 600 are missing, 10 of which a p99 does not see, and 500 are due in a second.
        assert_eq!(waited_us(&load, 500), 590.0 / 500.0 * 1e6);
        load.due = Some(402);
        assert_eq!(waited_us(&load, 500), 0.0);
    }
}
