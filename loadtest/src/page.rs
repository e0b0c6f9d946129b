//! The results as a page for people who were not there: one document without outside resources.

use std::fmt::Write;

use crate::machine::Machine;
use crate::report::Outcome;
use crate::rounds::Lane;
use crate::statistics::{INTERVAL, Spread};
use crate::targets;

const STYLE: &str = include_str!("page.css");

/// A quantity that is drawn as bars, one for each server.
struct Chart {
    title: &'static str,
    unit: &'static str,
    /// Whether less is better, which is said.
    less: bool,
    of: fn(&Lane) -> Option<Spread>,
}

const CHARTS: [Chart; 4] = [
    Chart { title: "Processor time", unit: "µs a request", less: true, of: Lane::cost },
    Chart {
        title: "Throughput",
        unit: "requests a second",
        less: false,
        of: |lane| lane.spread(|round| round.rate),
    },
    Chart {
        title: "Half of the answers were faster than",
        unit: "µs",
        less: true,
        of: |lane| lane.spread(|round| round.load.p50_us),
    },
    Chart {
        title: "99 of 100 answers were faster than",
        unit: "µs",
        less: true,
        of: |lane| lane.spread(|round| round.load.p99_us),
    },
];

/// The whole page.
pub(crate) fn page(
    machine: &Machine,
    outcomes: &[Outcome],
    skipped: &[String],
    unix_seconds: u64,
    arguments: &[String],
) -> String {
    let mut out = String::new();
    let date = date(unix_seconds);
    let commit = machine.commit.as_deref().unwrap_or("unknown");
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>pitcrew loadtest, {date}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>pitcrew loadtest</h1>\n<p>{date}, commit <code>{}</code></p>\n\
         <dl><dt>Machine</dt><dd>{}, {} cores, {} MiB</dd>\n<dt>Kernel</dt><dd>Linux {}</dd>\n\
         <dt>Files</dt><dd>{}</dd>\n<dt>Versions</dt><dd>{}</dd>\n\
         <dt>Command</dt><dd><code>loadtest {}</code></dd></dl>\n",
        text(commit),
        text(&machine.processor),
        machine.cores,
        machine.memory_mib,
        text(&machine.kernel),
        text(&machine.file_system),
        text(&machine.versions.join(", ")),
        text(&arguments.join(" "))
    );
    let _ = writeln!(
        out,
        "<p>Bars are medians of the rounds, whiskers the {INTERVAL} (under six rounds: least and \
         greatest). The processor time of a request, of all threads of the server and its kernel \
         workers, is the figure that decides: where the generator is the bottleneck, rates say \
         nothing of the server. A ratio within twice the noise of equals, or whose interval has 1 \
         in it, is no result.</p>"
    );
    if let Some(table) = targets::summary(outcomes) {
        out.push_str(&table.to_html());
    }
    legend(&mut out, outcomes);
    for line in skipped {
        let _ = writeln!(out, "<p>SKIPPED {}</p>", text(line));
    }
    out.push_str("</header>\n<nav><ul>\n");
    for (number, outcome) in outcomes.iter().enumerate() {
        let _ = writeln!(
            out,
            "<li><a href=\"#o{number}\">{}</a> <small>{}</small></li>",
            text(&outcome.scenario.title),
            text(&outcome.conditions())
        );
    }
    out.push_str("</ul></nav>\n<main>\n");
    for (number, outcome) in outcomes.iter().enumerate() {
        section(&mut out, number, outcome);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Every column of every table in plain words, each once.
fn legend(out: &mut String, outcomes: &[Outcome]) {
    let mut said: Vec<(String, &str)> = Vec::new();
    for column in outcomes.iter().flat_map(Outcome::tables).flat_map(|table| table.columns) {
        let head = column.head.trim().split(" to ").next().unwrap_or_default().to_owned();
        if !head.is_empty() && !said.iter().any(|(_, legend)| *legend == column.legend) {
            said.push((head, column.legend));
        }
    }
    if said.is_empty() {
        return;
    }
    out.push_str("<details open><summary>What the columns mean</summary><dl>\n");
    for (head, legend) in said {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", text(&head), text(legend));
    }
    out.push_str("</dl></details>\n");
}

fn section(out: &mut String, number: usize, outcome: &Outcome) {
    let scenario = &outcome.scenario;
    let _ = write!(
        out,
        "<section id=\"o{number}\"><h2>{}</h2>\n<p class=\"conditions\">{}; {} rounds of {} s</p>\n\
         <p><b>Measures:</b> {}</p>\n<p><b>Meaningless:</b> {}</p>\n",
        text(&scenario.title),
        text(&outcome.conditions()),
        outcome.extent.rounds,
        outcome.extent.seconds,
        text(&scenario.measures),
        text(&scenario.meaningless)
    );
    for table in outcome.tables() {
        out.push_str(&table.to_html());
    }
    let added = outcome.added_table();
    if !added.is_empty() {
        let _ = writeln!(out, "<h3>What it adds</h3>\n<pre>{}</pre>", text(&added));
    }
    let notes = outcome.notes();
    if !notes.is_empty() {
        out.push_str("<ul>\n");
        for note in notes {
            let _ = writeln!(out, "<li>{}</li>", text(&note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<div class=\"charts\">\n");
    for chart in &CHARTS {
        draw(out, chart, outcome);
    }
    out.push_str("</div>\n");
    out.push_str("<details><summary>How the servers were started</summary>\n");
    for lane in outcome.lanes.iter().filter(|lane| !lane.control) {
        let (name, how) = (text(&lane.name), text(&lane.configuration));
        let _ = writeln!(out, "<h3>{name}</h3><pre>{how}</pre>");
    }
    out.push_str("</details></section>\n");
}

/// Bars with whiskers, as SVG whose text is text.
fn draw(out: &mut String, chart: &Chart, outcome: &Outcome) {
    const LEFT: f64 = 150.0;
    const WIDTH: f64 = 560.0;
    const ROW: f64 = 26.0;
    let bars: Vec<(&Lane, Spread)> = outcome
        .lanes
        .iter()
        .filter(|lane| !lane.control)
        .filter_map(|lane| Some((lane, (chart.of)(lane)?)))
        .collect();
    let most = bars.iter().map(|(_, spread)| spread.high).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    let better = if chart.less { "less is better" } else { "more is better" };
    let height = ROW * bars.len() as f64 + 8.0;
    let _ = write!(
        out,
        "<figure><figcaption>{}, {}; {better}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{} by server\">\n",
        chart.title, chart.unit, chart.title
    );
    for (row, (lane, spread)) in bars.iter().enumerate() {
        let top = ROW * row as f64 + 4.0;
        let scale = |value: f64| (WIDTH - LEFT - 80.0) * value / most;
        let class = if lane.name.starts_with("pitcrew") { "own" } else { "peer" };
        let middle = top + ROW / 2.0 - 3.0;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            LEFT - 8.0,
            top + 15.0,
            text(&lane.name),
            scale(spread.median),
            ROW - 6.0,
            LEFT + scale(spread.low),
            LEFT + scale(spread.high),
            LEFT + scale(spread.high) + 6.0,
            top + 15.0,
            short(spread.median)
        );
    }
    out.push_str("</svg></figure>\n");
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

/// Text of a page.
pub(crate) fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The day, as in ISO 8601 (Howard Hinnant's days to civil).
pub(crate) fn date(unix_seconds: u64) -> String {
    let days = (unix_seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Carried;
    use crate::ceiling::Ceiling;
    use crate::extra::Extra;
    use crate::report::tests::{four, lane};
    use crate::rounds::Beside;
    use crate::scenario::Scenario;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_795_651_200), "2026-11-26");
    }

    #[test]
    fn every_table_and_note_of_the_terminal_is_on_the_page() {
        let mut outcomes = Vec::new();
        for (name, _) in crate::scenario::BUILT_IN {
            outcomes.push(Outcome { scenario: Scenario::find(name).unwrap(), ..measured() });
        }
        let scratch = std::env::temp_dir();
        let machine = Machine::here(&scratch, &[]).unwrap();
        let page = page(&machine, &outcomes, &["idle: no".to_owned()], 0, &[]);
        assert!(page.contains("SKIPPED idle: no"));
        let mut titles = std::collections::BTreeSet::new();
        for outcome in &outcomes {
            let terminal = outcome.to_text();
            let shown = |one: &str| {
                let name = &outcome.scenario.name;
                assert!(terminal.contains(one), "{name}: {one} is not in {terminal}");
                assert!(page.contains(&text(one)), "{name}: {one} is not on the page");
            };
            for table in outcome.tables() {
                titles.insert(table.title.split(' ').next().unwrap_or_default().to_owned());
                for column in &table.columns {
                    shown(&column.head);
                    assert!(page.contains(&text(column.legend)), "{}", column.head);
                }
                table.rows.iter().flatten().for_each(|cell| shown(cell));
            }
            outcome.notes().iter().for_each(|note| shown(note));
            shown(&outcome.added_table());
        }
        let titles: Vec<_> = titles.iter().map(String::as_str).collect();
        assert_eq!(titles, ["Memory", "Ratios", "Targets", "The", "What"]);
    }

    /// An outcome with everything in it that can be shown.
    fn measured() -> Outcome {
        let mut outcome = four();
        for lane in &mut outcome.lanes {
            for round in &mut lane.rounds {
                let others = Carried { answers: 7, bytes: 9 << 20, errors: 0, seconds: 2.0 };
                round.beside = Some(Beside { alone: round.load, others });
                round.load.due = Some(20);
            }
        }
        let mut with_log = lane("nginx+log", false, &[12.0, 12.5, 13.0]);
        with_log.extra = Some(Extra::Log);
        outcome.lanes.push(with_log);
        let ceiling = Ceiling { bytes_per_second: 1e9, reads_per_second: 1e4, depth: 64 };
        outcome.ceilings = vec![ceiling; 3];
        outcome
    }

    #[test]
    fn text_and_figures_are_written_for_people() {
        assert_eq!(text("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
        assert_eq!(
            (short(5.251), short(123.4), short(98_765.0)),
            ("5.25".into(), "123".into(), "98.8 k".into())
        );
    }
}
