//! What `pitcrew lab` and fio say of a run: the bytes a second, or why there are none.

use std::process::Command;

use serde_json::Value;

use crate::failure::{Failure, during};

/// What a program says. The inner error is its complaint.
pub(super) fn output(command: &mut Command) -> Result<Result<String, String>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = during(&format!("run {program}"), command.output())?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.is_empty()).unwrap_or("it says nothing");
    Ok(Err(format!("{program} ended with {}: {line}", output.status)))
}

/// The bytes a second of the only lap of a report; why not, if it has none.
pub(super) fn rate_of_lab(told: &str, name: &str) -> Result<f64, String> {
    let report: Value = serde_json::from_str(told).map_err(|error| format!("lab: {error}"))?;
    let laps = report["laps"].as_array().map_or(&[][..], Vec::as_slice);
    let lap = laps.iter().find(|lap| lap["lap"] == name).ok_or("the lab has no such lap")?;
    match lap["figures"]["bytes_per_second"]["median"].as_f64() {
        Some(rate) if lap["verdict"] == "raced" && rate > 0.0 => Ok(rate),
        _ => {
            let verdict = lap["verdict"].as_str().unwrap_or("without a verdict");
            Err(format!("the lap is {verdict}: {}", lap["reason"].as_str().unwrap_or("no reason")))
        }
    }
}

/// The bytes a second of the only job. fio may say something before its report.
pub(super) fn rate_of_fio(told: &str, engine: &str) -> Result<f64, String> {
    let start = told.find('{').ok_or_else(|| format!("fio {engine} made no report"))?;
    let report: Value =
        serde_json::from_str(&told[start..]).map_err(|error| format!("fio {engine}: {error}"))?;
    let job = &report["jobs"][0];
    match (job["error"].as_i64(), job["read"]["bw_bytes"].as_f64()) {
        (Some(0), Some(rate)) if rate > 0.0 => Ok(rate),
        (Some(code), _) if code != 0 => Err(format!("fio {engine}: error {code}")),
        _ => Err(format!("fio {engine}: no rate in its report")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_understood() {
        let report = |verdict: &str| {
            format!(
                r#"{{"laps":[{{"lap":"pread","verdict":"{verdict}","reason":"cold",
                    "figures":{{"bytes_per_second":{{"median":5.5}}}}}}]}}"#
            )
        };
        assert_eq!(rate_of_lab(&report("raced"), "pread"), Ok(5.5));
        assert_eq!(rate_of_lab(&report("void"), "pread"), Err("the lap is void: cold".into()));
        assert!(rate_of_lab(&report("raced"), "read").is_err());
        let fio = r#"note: both iodepth >= 1 and synchronous I/O engine are selected
            {"jobs":[{"error":0,"read":{"bw_bytes":12}}]}"#;
        assert_eq!(rate_of_fio(fio, "sync"), Ok(12.0));
        let failed = r#"{"jobs":[{"error":22,"read":{"bw_bytes":0}}]}"#;
        assert_eq!(rate_of_fio(failed, "sync"), Err("fio sync: error 22".into()));
        assert!(rate_of_fio("", "sync").is_err());
    }
}
