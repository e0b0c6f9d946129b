//! Who asks for the files: wrk, or a walk over all of them.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::http::Client;
use crate::process::{LOOK, Process};
use crate::scenario::Scenario;
use crate::site::{Dice, Site};

/// What a generator got.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Load {
    /// Answers that were whole.
    pub(crate) requests: u64,
    /// Bytes received, heads included where the generator counts them.
    pub(crate) bytes: u64,
    /// Seconds from the first request to the last answer.
    pub(crate) seconds: f64,
    /// Answers that were errors, and connections that broke or were too slow.
    pub(crate) errors: u64,
    /// Microseconds from a request to its whole answer: half of them were faster.
    pub(crate) p50_us: f64,
    /// Ninety-nine hundredths were faster.
    pub(crate) p99_us: f64,
    /// The share of its core that the generator used.
    #[serde(default)]
    pub(crate) busy: f64,
}

/// Said at the end by wrk, with exact figures instead of rounded ones. It runs once, so it costs
/// no request anything.
const WRK_DONE: &str = r#"
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nLOAD {"requests":%d,"bytes":%d,"seconds":%.6f,"errors":%d,"p50_us":%d,"p99_us":%d}\n',
        summary.requests, summary.bytes, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"#;

/// Runs wrk on the first file for whole seconds.
pub(crate) fn wrk(
    address: SocketAddr,
    scenario: &Scenario,
    seconds: u64,
    core: usize,
    scratch: &Path,
    interrupted: &AtomicBool,
) -> io::Result<Load> {
    let script = scratch.join("wrk.lua");
    fs::write(&script, wrk_script(scenario.pipeline))?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "--timeout", "10s"]);
    command.args([format!("-c{}", scenario.connections), format!("-d{seconds}s")]);
    command.arg("-s").arg(&script);
    command.arg(format!("http://{address}{}", Site::target(0)));
    let begin = Instant::now();
    let mut process = Process::start(command, core, &scratch.join("wrk.log"))?;
    let end = begin + Duration::from_secs(seconds + 15);
    let mut busy = 0.0;
    while process.ended()?.is_none() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        if Instant::now() > end {
            return Err(process.fault("does not end"));
        }
        busy = process.busy(begin);
        std::thread::sleep(LOOK);
    }
    let output = process.output();
    let told = output.lines().find_map(|line| line.strip_prefix("LOAD "));
    let mut load: Load = told
        .and_then(|told| serde_json::from_str(told).ok())
        .ok_or_else(|| process.fault("did not say what it got"))?;
    load.busy = busy;
    Ok(load)
}

fn wrk_script(pipeline: u32) -> String {
    if pipeline == 1 {
        // Without a request function wrk sends one prepared request, at no cost.
        return WRK_DONE.to_owned();
    }
    format!(
        "
local batch
init = function(arguments)
    local requests = {{}}
    for index = 1, {pipeline} do requests[index] = wrk.format('GET') end
    batch = table.concat(requests)
end
request = function() return batch end
{WRK_DONE}"
    )
}

/// Asks for every file once in random order, each connection in a thread of its own.
pub(crate) fn walk(
    address: SocketAddr,
    scenario: &Scenario,
    site: &Site,
    seed: u64,
    interrupted: &AtomicBool,
) -> io::Result<Load> {
    let order = Dice::new(seed).shuffled(site.files());
    let next = AtomicUsize::new(0);
    let mut clients = Vec::new();
    for _ in 0..scenario.connections {
        clients.push(Client::connect(address)?);
    }
    let used_before = processor_seconds();
    let begin = Instant::now();
    let walks: Vec<Walked> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for client in clients {
            threads.push(scope.spawn(|| walk_one(client, site, &order, &next, interrupted)));
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|walked| walked.expect("a walk does not panic")).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let busy = (processor_seconds() - used_before) / seconds;
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
    }
    let mut laps: Vec<Duration> = walks.iter().flat_map(|walked| walked.laps.clone()).collect();
    laps.sort_unstable();
    let at = |share: usize| {
        let place = (laps.len() * share / 100).min(laps.len().saturating_sub(1));
        laps.get(place).map_or(0.0, |lap| lap.as_secs_f64() * 1e6)
    };
    Ok(Load {
        requests: laps.len() as u64,
        bytes: walks.iter().map(|walked| walked.bytes).sum(),
        seconds,
        errors: walks.iter().map(|walked| walked.errors).sum(),
        p50_us: at(50),
        p99_us: at(99),
        busy,
    })
}

#[derive(Debug, Default)]
struct Walked {
    laps: Vec<Duration>,
    bytes: u64,
    errors: u64,
}

fn walk_one(
    mut client: Client,
    site: &Site,
    order: &[u32],
    next: &AtomicUsize,
    interrupted: &AtomicBool,
) -> Walked {
    let mut walked = Walked::default();
    while !interrupted.load(Ordering::Relaxed) {
        let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
        let begin = Instant::now();
        match client.get(&Site::target(index), |_| {}) {
            Ok(answer) if answer.status == 200 && answer.body_bytes == site.file_bytes() => {
                walked.bytes += answer.body_bytes;
                walked.laps.push(begin.elapsed());
            }
            Ok(_) => walked.errors += 1,
            Err(_) => {
                walked.errors += 1;
                break;
            }
        }
    }
    walked
}

/// Processor time of this program.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_prepares_requests_only_where_they_are_sent_together() {
        assert!(!wrk_script(1).contains("request ="));
        assert!(wrk_script(16).contains("for index = 1, 16 do"));
        let line = r#"{"requests":2,"bytes":3,"seconds":1.5,"errors":0,"p50_us":4,"p99_us":5}"#;
        let load: Load = serde_json::from_str(line).unwrap();
        assert_eq!((load.requests, load.seconds, load.busy), (2, 1.5, 0.0));
    }
}
