//! wrk: as many requests as the connections take, for whole seconds.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use super::{Load, Task};
use crate::process::Process;
use crate::scenario::Scenario;
use crate::site::{Dice, Site};

/// Requests that are prepared where they differ, and asked for in turn.
const PREPARED: usize = 4096;

/// Said at the end by wrk, with exact figures instead of rounded ones. It runs once, so it costs
/// no request anything.
const DONE: &str = r#"
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nLOAD {"requests":%d,"bytes":%d,"seconds":%.6f,"errors":%d,"p50_us":%d,"p99_us":%d}\n',
        summary.requests, summary.bytes, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"#;

pub(super) fn run(task: &Task<'_>) -> io::Result<Load> {
    let script = task.scratch.join("wrk.lua");
    fs::write(&script, self::script(task.scenario, task.site))?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "--timeout", "10s"]);
    command.args([format!("-c{}", task.scenario.connections), format!("-d{}s", task.seconds)]);
    command.arg("-s").arg(&script);
    command.arg(format!("http://{}{}", task.address, Site::target(0)));
    let log = task.scratch.join("wrk.log");
    let mut process = Process::start(command, &[task.core], &[], &log)?;
    let busy = task.wait_for(&mut process)?;
    let output = process.output();
    let told = output.lines().find_map(|line| line.strip_prefix("LOAD "));
    let mut load: Load = told
        .and_then(|told| serde_json::from_str(told).ok())
        .ok_or_else(|| process.fault("did not say what it got"))?;
    load.busy = busy;
    if task.scenario.pipeline > 1 {
        // It times a batch by its last answer and orders these times among all answers.
        (load.p50_us, load.p99_us) = (f64::NAN, f64::NAN);
    }
    Ok(load)
}

fn script(scenario: &Scenario, site: &Site) -> String {
    let mut lines = String::new();
    if scenario.close {
        lines.push_str("wrk.headers['Connection'] = 'close'\n");
    }
    let prepared = prepared(scenario, site);
    if prepared.is_empty() && scenario.pipeline == 1 {
        // Without a request function wrk sends one prepared request, at no cost.
        return lines + DONE;
    }
    let one = if prepared.is_empty() { "{}".to_owned() } else { prepared };
    let _ = write!(
        lines,
        "
local batches, at = {{}}, 0
init = function(arguments)
    for _, one in ipairs({{{one}}}) do
        if one[2] then wrk.headers['Range'] = one[2] end
        local batch = {{}}
        for index = 1, {} do batch[index] = wrk.format('GET', one[1]) end
        batches[#batches + 1] = table.concat(batch)
    end
end
request = function()
    at = at % #batches + 1
    return batches[at]
end
{DONE}",
        scenario.pipeline
    );
    lines
}

/// Lua of the requests that differ from each other: target and range.
fn prepared(scenario: &Scenario, site: &Site) -> String {
    let mut dice = Dice::new(7);
    if let Some(bytes) = scenario.range_bytes {
        let last = site.size(0) - bytes;
        let one = |_| {
            let from = dice.roll() % (last + 1);
            format!("{{nil, 'bytes={from}-{}'}},", from + bytes - 1)
        };
        return (0..PREPARED).map(one).collect();
    }
    if site.files() == 1 {
        return String::new();
    }
    let popular = dice.popular(site.files(), PREPARED);
    popular.into_iter().map(|index| format!("{{'{}'}},", Site::target(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Sizes;
    use crate::site::Scratch;

    fn of(change: fn(&mut Scenario)) -> String {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let mut scenario = Scenario::find("small").unwrap();
        change(&mut scenario);
        let site = Site::new(&scratch, &scenario).unwrap();
        script(&scenario, &site)
    }

    #[test]
    fn a_script_prepares_requests_only_where_they_differ_or_are_sent_together() {
        assert!(!of(|_| {}).contains("request ="));
        assert!(of(|scenario| scenario.pipeline = 16).contains("for index = 1, 16 do"));
        assert!(of(|scenario| scenario.close = true).contains("'close'"));
        let ranges = of(|scenario| scenario.range_bytes = Some(16));
        assert_eq!(ranges.matches("'bytes=").count(), PREPARED);
        let several = of(|scenario| (scenario.files, scenario.file_bytes) = (9, Sizes::All(1)));
        assert!(several.matches("'/0.bin'").count() > several.matches("'/8.bin'").count());
    }

    #[test]
    fn what_it_says_is_read() {
        let line = r#"{"requests":2,"bytes":3,"seconds":1.5,"errors":0,"p50_us":4,"p99_us":5}"#;
        let load: Load = serde_json::from_str(line).unwrap();
        assert_eq!((load.requests, load.seconds, load.busy), (2, 1.5, 0.0));
    }
}
