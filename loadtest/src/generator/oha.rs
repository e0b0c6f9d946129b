//! oha: requests at a rate. With its correction a latency counts from the moment at which the
//! request was due, so a server that stalls cannot hide it by being asked less.

use std::io::{self, Error, ErrorKind};
use std::process::Command;

use serde_json::Value;

use super::{Load, Task};
use crate::process::Process;
use crate::site::Site;

pub(super) fn run(task: &Task<'_>) -> io::Result<Load> {
    let rate = task.scenario.rate.expect("a scenario for this generator has a rate");
    let mut command = Command::new("oha");
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
    Ok(load)
}

fn parse(output: &str) -> io::Result<Load> {
    let bad = || Error::new(ErrorKind::InvalidData, "not what oha says");
    let told: Value = serde_json::from_str(output).map_err(|_| bad())?;
    let number = |value: &Value| value.as_f64().ok_or_else(bad);
    let (summary, latency) = (&told["summary"], &told["latencyPercentiles"]);
    let count = |map: &Value, keep: fn(&str) -> bool| -> u64 {
        let entries = map.as_object().into_iter().flatten();
        entries.filter(|(name, _)| keep(name)).filter_map(|(_, count)| count.as_u64()).sum()
    };
    let codes = &told["statusCodeDistribution"];
    // What is under way when the time is over is ended by oha itself.
    let errors = count(&told["errorDistribution"], |name| !name.contains("deadline"))
        + count(codes, |code| !code.starts_with('2'));
    Ok(Load {
        requests: count(codes, |code| code.starts_with('2')),
        bytes: number(&summary["totalData"])? as u64,
        seconds: number(&summary["total"])?,
        errors,
        p50_us: number(&latency["p50"])? * 1e6,
        p99_us: number(&latency["p99"])? * 1e6,
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
        assert!(parse("{}").is_err() && parse("oha: no").is_err());
    }
}
