//! A report as a picture: a bar for each lap, with its interval, as SVG.

use super::laps::Group;
use super::report::{LapReport, Report, Verdict};
use super::text::speed;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 190.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;

/// The picture. It needs no script and no font of its own.
pub fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = 64.0;
    for group in Group::ALL {
        let laps: Vec<&LapReport> = report
            .laps
            .iter()
            .filter(|lap| lap.group == group.name() && lap.verdict == Verdict::Raced)
            .collect();
        let ends = laps.iter().filter_map(|lap| lap.figures.as_ref());
        let most = ends.map(|figures| figures.bytes_per_second.high).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        body.push_str(&label(20.0, y, "start", "group", group.title()));
        y += ROW;
        let scale = (WIDTH - LEFT - RIGHT) / most;
        for lap in laps {
            body.push_str(&row(lap, y, scale, report));
            y += ROW;
        }
        y += ROW / 2.0;
    }
    let race = &report.race;
    let title = format!("pitcrew lab: {} on {}", race.cache, report.machine.file_system);
    let below = format!(
        "{}, Linux {}, {} bytes in blocks of {}, {} rounds, median and interval",
        report.machine.processor, report.machine.kernel, race.size, race.block_size, race.rounds
    );
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-family=\"system-ui, sans-serif\">\n\
         <style>.title{{font-size:18px;font-weight:600}}.group{{font-size:13px;font-weight:600}}\
         .small{{font-size:11px;fill:#555}}.name{{font-size:12px}}.bar{{fill:#7aa6da}}\
         .base{{fill:#b8b8b8}}.best{{fill:#2e9e5b}}.mark{{stroke:#222;stroke-width:1.3}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{}{}{body}</svg>\n",
        label(20.0, 26.0, "start", "title", &title),
        label(20.0, 44.0, "start", "small", &below),
    )
}

fn row(lap: &LapReport, y: f64, scale: f64, report: &Report) -> String {
    let Some(figures) = &lap.figures else { return String::new() };
    let spread = figures.bytes_per_second;
    let fastest = report.fastest.as_ref().is_some_and(|fastest| fastest.lap == lap.lap);
    let baseline = figures.factor.is_some_and(|factor| factor.low == 1.0 && factor.high == 1.0);
    let class = match (fastest, baseline) {
        (true, _) => "best",
        (false, true) => "base",
        (false, false) => "bar",
    };
    let (top, width) = (y - BAR + 3.0, spread.median * scale);
    let (low, high) = (LEFT + spread.low * scale, LEFT + spread.high * scale);
    let (middle, upper, lower) = (top + BAR / 2.0, top + BAR / 4.0, top + BAR * 3.0 / 4.0);
    let factor = figures.factor.map(|told| format!(" ({:.2}x)", told.median)).unwrap_or_default();
    let rate = format!("{}{factor}", speed(spread.median));
    format!(
        "{}<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{BAR}\"/>\n\
         <path class=\"mark\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {upper:.1}V{lower:.1}\
         M{high:.1} {upper:.1}V{lower:.1}\" fill=\"none\"/>\n{}",
        label(LEFT - 8.0, y, "end", "name", &lap.lap),
        label(high + 8.0, y, "start", "small", &rate),
    )
}

fn label(x: f64, y: f64, anchor: &str, class: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
    )
}
