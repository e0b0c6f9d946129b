//! A report for people: a table with bars, the doubts, and who was fastest.

use super::crossover::{Crossover, NEVER};
use super::keeping::Keeping;
use super::laps::Group;
use super::report::{Figures, LapReport, Report, Verdict};

/// Columns of a bar.
const BAR: usize = 20;

/// The report as lines, with colours if the reader's terminal has them.
pub fn text(report: &Report, colour: bool) -> String {
    let paint = Paint(colour);
    let mut text = head(report);
    for group in Group::ALL {
        let laps: Vec<_> = report.laps.iter().filter(|lap| lap.group == group.name()).collect();
        if laps.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n{}\n{}",
            paint.bold(group.title()),
            paint.dim(&format!(
                "  {:<18} {:BAR$} {:>10} {:>17} {:>7} {:>10} {:>9} {:>7}\n",
                "lap", "", "MB/s", "interval", "factor", "op/s", "cpu ns/op", "calls/op"
            )),
        ));
        let most = laps.iter().filter_map(|lap| lap.figures.as_ref()).map(rate).fold(0.0, f64::max);
        for lap in laps {
            text.push_str(&line(lap, most, report, paint));
        }
    }
    if let Some(crossover) = &report.crossover {
        text.push_str(&sizes_for_auto(crossover, paint));
    }
    if !report.keeping.is_empty() {
        text.push_str(&kept(&report.keeping, paint));
    }
    for warning in &report.warnings {
        text.push_str(&format!("\n{} {warning}", paint.yellow("note:")));
    }
    if !report.warnings.is_empty() {
        text.push('\n');
    }
    text.push_str(&last(report, paint));
    text
}

fn head(report: &Report) -> String {
    let (machine, race) = (&report.machine, &report.race);
    let device = machine.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
    let made = if race.made { "a file made in " } else { "" };
    format!(
        "{}, {} processors, Linux {}\n\
         {made}{} ({}{device}), {} in blocks of {}, {}{}, {} rounds of {} ms, seed {}\n",
        if machine.processor.is_empty() { &machine.host } else { &machine.processor },
        machine.processors,
        machine.kernel,
        race.file,
        if machine.file_system.is_empty() { "unknown" } else { &machine.file_system },
        size(race.size),
        size(race.block_size as u64),
        race.cache,
        if race.direct { ", O_DIRECT" } else { "" },
        race.rounds,
        race.runtime_ms,
        report.seed,
    )
}

/// The sizes at which the engine `auto` changes its mind.
fn sizes_for_auto(crossover: &Crossover, paint: Paint) -> String {
    let mut text = format!("\n{}\n", paint.bold("for the engine auto"));
    match crossover.small_bytes_max {
        Some(0) => {
            text.push_str("  in memory: sendfile costs less than a copying send at any size\n")
        }
        Some(bytes) => text.push_str(&format!(
            "  in memory: a copying send costs no more than sendfile up to {}\n",
            size(bytes)
        )),
        None => {}
    }
    match crossover.large_bytes_min {
        Some(NEVER) => text.push_str("  not in memory: buffered reads are faster at any size\n"),
        Some(bytes) => {
            text.push_str(&format!("  not in memory: O_DIRECT is faster from {} on\n", size(bytes)))
        }
        None => {}
    }
    for missing in &crossover.missing {
        text.push_str(&format!("  not measured: {missing}\n"));
    }
    text
}

/// What caches of one size keep, by their policies.
fn kept(keeping: &[Keeping], paint: Paint) -> String {
    let mut text = format!("\n{}\n", paint.bold("what a cache answers (nothing is read for it)"));
    text.push_str(
        &paint.dim(&format!(
            "  {:<18} {:>8} {:>10} {:>10}\n",
            "requests", "entries", "S3-FIFO", "LRU"
        )),
    );
    for one in keeping {
        text.push_str(&format!(
            "  {:<18} {:>8} {:>8.1} % {:>8.1} %\n",
            one.trace,
            one.entries,
            100.0 * one.s3_fifo,
            100.0 * one.lru
        ));
    }
    text
}

fn rate(figures: &Figures) -> f64 {
    figures.bytes_per_second.median
}

fn line(lap: &LapReport, most: f64, report: &Report, paint: Paint) -> String {
    let Some(figures) = &lap.figures else {
        let (word, reason) = (verdict(lap.verdict), lap.reason.as_deref().unwrap_or_default());
        let word = match lap.verdict {
            Verdict::Wrong | Verdict::Failed => paint.red(word),
            _ => paint.dim(word),
        };
        return format!("  {:<18} {word}: {reason}\n", lap.lap);
    };
    let spread = figures.bytes_per_second;
    let interval = format!("{}..{}", short(spread.low / 1e6), short(spread.high / 1e6));
    let factor = figures.factor.map_or("-".to_owned(), |told| format!("{:.2}x", told.median));
    let line = format!(
        "  {:<18} {} {:>10} {:>17} {:>7} {:>10} {:>9} {:>7}\n",
        lap.lap,
        bar(rate(figures) / most),
        format!("{:.0}", rate(figures) / 1e6),
        interval,
        factor,
        format!("{:.0}", figures.operations_per_second.median),
        format!("{:.0}", figures.processor_ns_per_operation.median),
        format!("{:.2}", figures.calls_per_operation),
    );
    let best = report.fastest.as_ref().is_some_and(|fastest| fastest.lap == lap.lap);
    if best { paint.green(&line) } else { line }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Raced => "raced",
        Verdict::Void => "VOID",
        Verdict::Wrong => "WRONG BYTES",
        Verdict::Failed => "FAILED",
        Verdict::NotRun => "not run",
    }
}

/// A bar in eighths of a column.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    bar.push_str(part);
    let columns = eighths / 8 + usize::from(!part.is_empty());
    bar + &" ".repeat(BAR - columns)
}

fn last(report: &Report, paint: Paint) -> String {
    let Some(fastest) = &report.fastest else {
        return "\nNO LAP CAME THROUGH\n".to_owned();
    };
    let mut text = String::new();
    if !fastest.level_with.is_empty() {
        text.push_str(&format!(
            "\nnot told apart from {}: the intervals meet\n",
            fastest.level_with.join(", ")
        ));
    }
    let factor = match fastest.factor {
        Some(factor) => format!(" ({factor:.2}x the baseline)"),
        None => String::new(),
    };
    let line =
        format!("FASTEST LAP: {} at {}{factor}", fastest.lap, speed(fastest.bytes_per_second));
    text + &format!("\n{}\n", paint.bold(&line))
}

/// Bytes a second, in the unit that leaves the fewest digits.
pub(super) fn speed(bytes_per_second: f64) -> String {
    if bytes_per_second >= 1e9 {
        format!("{:.2} GB/s", bytes_per_second / 1e9)
    } else {
        format!("{:.1} MB/s", bytes_per_second / 1e6)
    }
}

fn short(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or(format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// Colours, or none of them.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn green(self, text: &str) -> String {
        self.with("1;32", text)
    }

    fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_width_whatever_they_show() {
        for share in [0.0, 0.01, 0.333, 0.5, 0.999, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(share).chars().count(), BAR, "{share}");
        }
        assert!(bar(0.5).starts_with(&"█".repeat(10)));
    }

    #[test]
    fn sizes_and_speeds_have_units() {
        assert_eq!((size(4096), size(256 << 20)), ("4KiB".to_owned(), "256MiB".to_owned()));
        assert_eq!((size(1000), size(3 << 30)), ("1000B".to_owned(), "3GiB".to_owned()));
        assert_eq!((speed(5.2e9), speed(88e6)), ("5.20 GB/s".to_owned(), "88.0 MB/s".to_owned()));
    }
}
