//! A report as comma-separated values (RFC 4180): one line a lap.

use super::report::Report;
use super::statistics::Spread;

const HEADER: &str = "lap,technique,group,depth,verdict,bytes_per_second,low,high,confidence,\
factor,operations_per_second,processor_ns_per_operation,calls_per_operation,\
entries_per_operation,verified_blocks,reason";

/// The lines, a header first.
pub fn csv(report: &Report) -> String {
    let mut text = format!("{HEADER}\n");
    for lap in &report.laps {
        let verdict = serde_json::to_value(lap.verdict).unwrap_or_default();
        let names = [&lap.lap, &lap.technique, &lap.group].map(|name| quoted(name)).join(",");
        text.push_str(&format!("{names},{},{},", lap.depth, verdict.as_str().unwrap_or_default()));
        match &lap.figures {
            None => text.push_str(&",".repeat(10)),
            Some(figures) => {
                let Spread { median, low, high, confidence } = figures.bytes_per_second;
                let factor =
                    figures.factor.map_or(String::new(), |factor| factor.median.to_string());
                text.push_str(&format!(
                    "{median},{low},{high},{confidence},{factor},{},{},{},{},{},",
                    figures.operations_per_second.median,
                    figures.processor_ns_per_operation.median,
                    figures.calls_per_operation,
                    figures.entries_per_operation,
                    figures.verified_blocks
                ));
            }
        }
        text.push_str(&quoted(lap.reason.as_deref().unwrap_or_default()));
        text.push('\n');
    }
    text
}

/// A field, in quotes where it needs them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_signs_are_quoted() {
        assert_eq!(quoted("plain one"), "plain one");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
