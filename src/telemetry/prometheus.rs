//! The figures as text for scrapers: that of Prometheus, and OpenMetrics.
//!
//! A figure is named by its group and name with `pitcrew_` in front, times are in seconds, and
//! counters end in `_total`. A histogram has buckets that end below powers of two, where those of
//! the server do, so their counts are exact; its best and worst value are gauges beside it.

use std::fmt::Write;

use super::figure::{Figure, Kind, Unit};
use super::snapshot::{Held, Series, Snapshot, Value};
use crate::base::Spread;

/// What writing one line counts for, in counts that are read.
const LINE_COST: usize = 24;

/// What is told beside the figures of the catalogue: each name with its labels.
pub const NAMES_BESIDE_THE_CATALOGUE: &[(&str, &[&str])] = &[
    ("pitcrew_build_info", &["version", "engine", "ring_setup"]),
    ("pitcrew_workers", &[]),
    ("pitcrew_memory_limit_bytes", &[]),
    ("pitcrew_longest_turn_seconds", &["worker"]),
    ("pitcrew_uptime_seconds", &[]),
    ("pitcrew_sandbox_applied", &["layer", "why", "free"]),
    ("pitcrew_lap_bytes_per_second", &["technique"]),
];

/// Which of the two texts is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Figure {
    /// The name of its family in the text for scrapers, without the `_total` of a counter.
    ///
    /// ```
    /// use pitcrew::telemetry::CATALOGUE;
    /// let families: Vec<_> = CATALOGUE.iter().map(|figure| figure.family()).collect();
    /// assert!(families.iter().any(|name| name == "pitcrew_techniques_bytes"));
    /// assert!(families.iter().any(|name| name == "pitcrew_ring_turn_seconds"));
    /// ```
    pub fn family(&self) -> String {
        let mut name = format!("pitcrew_{}", self.group);
        if !self.name.is_empty() {
            name.push('_');
            name.push_str(self.name);
        }
        match self.unit {
            Unit::Nanoseconds => name.replace("_ns", "_seconds"),
            Unit::Bytes | Unit::Count => name,
        }
    }

    /// Every name under which a scraper keeps it.
    pub fn names(&self) -> Vec<String> {
        let family = self.family();
        match self.kind {
            Kind::Counter => vec![format!("{family}_total")],
            Kind::Gauge => vec![family],
            Kind::Histogram => ["bucket", "sum", "count"]
                .map(|part| format!("{family}_{part}"))
                .into_iter()
                .chain(EXTREMES.map(|(part, _)| extreme(self, part)))
                .collect(),
        }
    }

    /// Powers of two below which values are counted.
    fn powers(&self) -> impl Iterator<Item = u32> {
        let (first, last, step) = match self.unit {
            // One microsecond to seventeen seconds.
            Unit::Nanoseconds => (10, 34, 2),
            Unit::Bytes => (6, 30, 2),
            Unit::Count => (0, 12, 1),
        };
        (first..=last).step_by(step)
    }

    /// A value in the unit of the text.
    fn scaled(&self, value: u64) -> f64 {
        match self.unit {
            Unit::Nanoseconds => value as f64 / 1e9,
            Unit::Bytes | Unit::Count => value as f64,
        }
    }
}

const EXTREMES: [(&str, &str); 2] = [("best", "least"), ("worst", "greatest")];

/// `pitcrew_ring_turn_worst_seconds`: the unit stays last.
fn extreme(figure: &Figure, part: &str) -> String {
    let family = figure.family();
    match family.strip_suffix("_seconds").or_else(|| family.strip_suffix("_bytes")) {
        Some(bare) => format!("{bare}_{part}{}", &family[bare.len()..]),
        None => format!("{family}_{part}"),
    }
}

impl Snapshot {
    /// The whole text.
    pub fn to_text(&self, form: Text) -> Vec<u8> {
        let mut text = Vec::new();
        let (mut next, mut all) = (0, usize::MAX);
        while !self.write_text(form, &mut next, &mut text, &mut all) {}
        text
    }

    /// Writes on from the series `next`, figure by figure, until the cost is what is `left`, or
    /// to the end, which it says.
    pub(super) fn write_text(
        &self,
        form: Text,
        next: &mut usize,
        text: &mut Vec<u8>,
        left: &mut usize,
    ) -> bool {
        if text.is_empty() {
            text.extend_from_slice(self.preface(form).as_bytes());
        }
        while let Some(first) = self.series().get(*next) {
            if *left == 0 {
                return false;
            }
            let rest = &self.series()[*next..];
            let same = |one: &&Series| std::ptr::eq(one.figure, first.figure);
            let count = rest.iter().take_while(same).count();
            let mut out = Lines { form, out: String::new(), count: 0 };
            out.figure(first.figure, &rest[..count]);
            text.extend_from_slice(out.out.as_bytes());
            *next += count;
            *left = left.saturating_sub(out.count * LINE_COST);
        }
        if form == Text::OpenMetrics {
            text.extend_from_slice(b"# EOF\n");
        }
        true
    }

    /// What is told beside the figures.
    fn preface(&self, form: Text) -> String {
        let about = &self.about;
        let mut out = Lines { form, out: String::new(), count: 0 };
        let info = match form {
            Text::Prometheus => ("pitcrew_build_info", "gauge"),
            Text::OpenMetrics => ("pitcrew_build", "info"),
        };
        out.head(info.0, info.1, None, "Which server it is and how it runs");
        let version = env!("CARGO_PKG_VERSION");
        let labels = format!(
            "version=\"{version}\",engine=\"{}\",ring_setup=\"{}\"",
            about.engine, about.ring_setup
        );
        out.line("pitcrew_build_info", &labels, "1");
        out.head("pitcrew_workers", "gauge", None, "Threads that serve");
        out.line("pitcrew_workers", "", &about.workers.to_string());
        let name = "pitcrew_memory_limit_bytes";
        let help = "Memory that the process may have, by the machine or a control group";
        out.head(name, "gauge", Some("bytes"), help);
        out.line(name, "", &about.memory_limit.to_string());
        let name = "pitcrew_longest_turn_seconds";
        let help = "The longest turn of each worker, which is its longest stall";
        out.head(name, "gauge", Some("seconds"), help);
        for (worker, turn) in about.longest_turns.iter().enumerate() {
            out.line(name, &format!("worker=\"{worker}\""), &number(*turn as f64 / 1e9));
        }
        let uptime = number(about.uptime.as_millis() as f64 / 1000.0);
        out.head("pitcrew_uptime_seconds", "gauge", Some("seconds"), "Time since the start");
        out.line("pitcrew_uptime_seconds", "", &uptime);
        out.sandbox(&about.sandbox);
        if !about.laps.is_empty() {
            let name = "pitcrew_lap_bytes_per_second";
            out.head(name, "gauge", None, "Bytes a second of a technique in its last race");
            for lap in about.laps.iter() {
                let labels = format!("technique=\"{}\"", escaped(&lap.technique));
                out.line(name, &labels, &lap.bytes_per_second.to_string());
            }
        }
        out.out
    }
}

struct Lines {
    form: Text,
    out: String,
    count: usize,
}

impl Lines {
    /// The layers that were wanted; nothing where none was.
    fn sandbox(&mut self, layers: &[Held]) {
        if layers.is_empty() {
            return;
        }
        let name = "pitcrew_sandbox_applied";
        let help = "Whether a layer of the sandbox holds, why not, and what it leaves free";
        self.head(name, "gauge", None, help);
        for Held { layer, missing, free } in layers {
            let why = escaped(missing.as_deref().unwrap_or_default());
            let free = escaped(&free.join("; "));
            let labels = format!("layer=\"{layer}\",why=\"{why}\",free=\"{free}\"");
            self.line(name, &labels, if missing.is_none() { "1" } else { "0" });
        }
    }

    fn figure(&mut self, figure: &Figure, all: &[Series]) {
        let family = figure.family();
        let unit = match figure.unit {
            Unit::Nanoseconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Count => None,
        };
        // OpenMetrics takes a unit only where the name of the family ends in it.
        let unit = unit.filter(|unit| family.ends_with(unit));
        let (kind, suffix) = match figure.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let sample = format!("{family}{suffix}");
        let headed = if self.form == Text::Prometheus { &sample } else { &family };
        self.head(headed, kind, unit, figure.help);
        for one in all {
            let labels = labels(figure, one);
            match &one.value {
                Value::Number(value) => self.line(&sample, &labels, &value.to_string()),
                Value::Spread(spread) => self.histogram(figure, &family, &labels, spread),
            }
        }
        if figure.kind != Kind::Histogram {
            return;
        }
        for (part, word) in EXTREMES {
            let name = extreme(figure, part);
            self.head(&name, "gauge", unit, &format!("{}: the {word} value", figure.help));
            for one in all {
                if let Value::Spread(spread) = &one.value {
                    let told = spread.percentiles();
                    let value = if part == "best" { told.best } else { told.worst };
                    self.line(&name, &labels(figure, one), &number(figure.scaled(value)));
                }
            }
        }
    }

    fn histogram(&mut self, figure: &Figure, family: &str, labels: &str, spread: &Spread) {
        let comma = if labels.is_empty() { "" } else { "," };
        let told = spread.percentiles();
        let bucket = format!("{family}_bucket");
        for power in figure.powers() {
            // Values are whole, so below the power is at most one less.
            let end = number(figure.scaled((1 << power) - 1));
            let labels = format!("{labels}{comma}le=\"{end}\"");
            self.line(&bucket, &labels, &spread.below(power).to_string());
        }
        let count = told.count.to_string();
        self.line(&bucket, &format!("{labels}{comma}le=\"+Inf\""), &count);
        self.line(&format!("{family}_sum"), labels, &number(figure.scaled(told.sum)));
        self.line(&format!("{family}_count"), labels, &count);
    }

    fn head(&mut self, name: &str, kind: &str, unit: Option<&str>, help: &str) {
        let help = escaped(help);
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        if let (Text::OpenMetrics, Some(unit)) = (self.form, unit) {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        self.count += 2;
    }

    fn line(&mut self, name: &str, labels: &str, value: &str) {
        let _ = match labels {
            "" => writeln!(self.out, "{name} {value}"),
            labels => writeln!(self.out, "{name}{{{labels}}} {value}"),
        };
        self.count += 1;
    }
}

fn labels(figure: &Figure, one: &Series) -> String {
    figure.label.map_or_else(String::new, |label| format!("{label}=\"{}\"", escaped(&one.label)))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as OpenMetrics wants it: with a point, or with an exponent of two digits below a
/// ten-thousandth.
fn number(value: f64) -> String {
    if value == 0.0 || value >= 1e-4 {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{About, CATALOGUE, Lap, Shard, snapshot};
    use super::*;
    use crate::ring::Technique;

    #[test]
    fn every_name_is_one_that_scrapers_take_and_is_there_once() {
        let mut seen = BTreeSet::new();
        for figure in CATALOGUE {
            for name in figure.names() {
                assert!(
                    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                );
                assert!(!name.contains("_ns"), "{name}");
                assert!(seen.insert(name.clone()), "{name} is there twice");
            }
        }
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_whose_bounds_are_exact() {
        let shard = Shard::default();
        for nanoseconds in [1023, 1024, 5_000_000] {
            shard.ring.technique(Technique::Send).latency.record(nanoseconds);
        }
        let lap = Lap { technique: "a\"b".to_owned(), bytes_per_second: 3, ..Lap::default() };
        let held = |layer, missing: Option<&str>, free: &[&str]| Held {
            layer,
            missing: missing.map(str::to_owned),
            free: free.iter().map(|what| (*what).to_owned()).collect(),
        };
        let sandbox = [
            held("landlock", None, &["it connects", "it binds"]),
            held("seccomp", Some("\"no\""), &[]),
        ];
        let about = About {
            laps: [lap].into(),
            sandbox: sandbox.into(),
            longest_turns: vec![70, 5_000_000],
            ..About::default()
        };
        let told = snapshot(&[shard], about);
        let text = String::from_utf8(told.to_text(Text::Prometheus)).unwrap();
        let name = "pitcrew_techniques_latency_seconds";
        for line in [
            &format!("# TYPE {name} histogram"),
            &format!("{name}_bucket{{technique=\"send\",le=\"1.023e-06\"}} 1"),
            &format!("{name}_bucket{{technique=\"send\",le=\"4.095e-06\"}} 2"),
            &format!("{name}_bucket{{technique=\"send\",le=\"0.016777215\"}} 3"),
            &format!("{name}_bucket{{technique=\"send\",le=\"+Inf\"}} 3"),
            &format!("{name}_count{{technique=\"send\"}} 3"),
            "pitcrew_techniques_latency_worst_seconds{technique=\"send\"} 0.005",
            "pitcrew_longest_turn_seconds{worker=\"1\"} 0.005",
            "pitcrew_lap_bytes_per_second{technique=\"a\\\"b\"} 3",
            "pitcrew_connections_accepted_total 0",
            "pitcrew_sandbox_applied{layer=\"landlock\",why=\"\",free=\"it connects; it binds\"} 1",
            "pitcrew_sandbox_applied{layer=\"seccomp\",why=\"\\\"no\\\"\",free=\"\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in:\n{text}");
        }
        for (name, _) in NAMES_BESIDE_THE_CATALOGUE {
            assert!(text.contains(&format!("\n{name}")), "no {name} in:\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        let text = String::from_utf8(told.to_text(Text::OpenMetrics)).unwrap();
        assert!(text.contains(&format!("# UNIT {name} seconds\n")));
        assert!(text.contains("# TYPE pitcrew_connections_accepted counter\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}
