//! The access log as a person reads it: `pitcrew log`.
//!
//! Lines of JSON become rows of columns, as far as they pass the filters. Nothing of a record
//! reaches a terminal unescaped: what a client sent is told, not done.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::http::glob::Glob;
use crate::http::target;

/// Which records are shown, and how.
#[derive(Debug, Default)]
pub struct Options {
    /// Statuses, from and to; all if there is none.
    pub statuses: Vec<(u16, u16)>,
    /// Paths of requests; all if there is none.
    pub paths: Vec<Glob>,
    /// Engines; all if there is none.
    pub engines: Vec<String>,
    /// How answers ended; all if there is none.
    pub farewells: Vec<String>,
    /// Answers that took at least so long.
    pub slower: Duration,
    /// Records as they are instead of columns.
    pub json: bool,
    /// Whether colours are shown.
    pub colour: bool,
}

/// Reads the statuses that are written as `404`, `5xx` or `400-499`.
///
/// ```
/// use pitcrew::watch::log::statuses;
///
/// assert_eq!(statuses("5xx"), Some((500, 599)));
/// assert_eq!(statuses("400-404"), Some((400, 404)));
/// assert_eq!(statuses("4x4"), None);
/// ```
#[must_use]
pub fn statuses(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
    if let Some((from, to)) = text.split_once('-') {
        return Some((code(from)?, code(to)?)).filter(|(from, to)| from <= to);
    }
    match text.strip_suffix("xx") {
        Some(class) => {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            Some((class * 100, class * 100 + 99))
        }
        None => code(text).map(|code| (code, code)),
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It was shown.
    Shown,
    /// The filters are for others, or it is empty.
    Passed,
    /// It is no record, and this is the first such line: what to tell.
    Odd(String),
    /// It is no record either.
    OddAgain,
}

/// Turns lines into rows.
#[derive(Debug)]
pub struct View {
    options: Options,
    /// Lines so far.
    number: u64,
    /// Lines so far that are no records.
    odd: u64,
    path: Vec<u8>,
}

/// A column: its name, its width, and whether it stands to the right.
const COLUMNS: [(&str, usize, bool); 8] = [
    ("time", 19, false),
    ("remote", 15, false),
    ("status", 6, true),
    ("bytes", 9, true),
    ("engine", 8, false),
    ("duration", 9, true),
    ("farewell", 12, false),
    ("request", 0, false),
];

/// An answer that takes so long is worth a look.
const SLOW: f64 = 1.0;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

impl View {
    /// Nothing shown yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, number: 0, odd: 0, path: Vec::new() }
    }

    /// The names of the columns; empty where records are shown as they are.
    #[must_use]
    pub fn heading(&self) -> String {
        if self.options.json {
            return String::new();
        }
        let mut row = String::new();
        for (at, (name, ..)) in COLUMNS.iter().enumerate() {
            self.cell(&mut row, at, name, BOLD);
        }
        row + "\n"
    }

    /// Lines so far that are no records.
    #[must_use]
    pub fn odd(&self) -> u64 {
        self.odd
    }

    /// Takes the next line, without its end; adds its row.
    pub fn line(&mut self, line: &[u8], out: &mut String) -> Line {
        self.number += 1;
        if line.is_empty() {
            return Line::Passed;
        }
        let record: Value = match serde_json::from_slice(line) {
            Ok(record @ Value::Object(_)) => record,
            _ => return self.odd_line(line),
        };
        if let Some(missing) = record["missing"].as_u64() {
            self.missing(missing, line, out);
            return Line::Shown;
        }
        if record["status"].as_u64().is_none() {
            return self.odd_line(line);
        }
        if !self.wants(&record) {
            return Line::Passed;
        }
        if self.options.json {
            out.push_str(&String::from_utf8_lossy(line));
            out.push('\n');
        } else {
            self.row(&record, out);
        }
        Line::Shown
    }

    fn odd_line(&mut self, line: &[u8]) -> Line {
        self.odd += 1;
        if self.odd > 1 {
            return Line::OddAgain;
        }
        let what = match line {
            // The marker of a log of text, and a line of Common or Combined.
            [b'#', ..] => "it is of a log that is not JSON",
            _ if is_combined(line) => "it is of the format common or combined",
            [b'{', ..] => "it is JSON without the members of a record, or a part of one",
            _ => "it is no JSON",
        };
        Line::Odd(format!(
            "line {}: {what}; have the server write records that can be read here by \
             access-log-format = \"json\"",
            self.number
        ))
    }

    fn wants(&mut self, record: &Value) -> bool {
        let Options { statuses, paths, engines, farewells, slower, .. } = &self.options;
        let status = record["status"].as_u64().unwrap_or_default();
        let is = |name: &str, wanted: &[String]| {
            let value = record[name].as_str().unwrap_or_default();
            wanted.is_empty() || wanted.iter().any(|one| one == value)
        };
        let within =
            |(from, to): &(u16, u16)| (u64::from(*from)..=u64::from(*to)).contains(&status);
        let fits = (statuses.is_empty() || statuses.iter().any(within))
            && is("engine", engines)
            && is("farewell", farewells)
            && record["duration"].as_f64().unwrap_or_default() >= slower.as_secs_f64();
        if !fits || paths.is_empty() {
            return fits;
        }
        let target = record["target"].as_str().unwrap_or_default();
        let raw = target.split('?').next().unwrap_or_default().as_bytes();
        self.path.clear();
        if target::resolve(raw, &mut self.path).is_err() {
            // What no file can have is looked for as it was written.
            self.path.clear();
            self.path.extend_from_slice(raw.strip_prefix(b"/").unwrap_or(raw));
        }
        paths.iter().any(|glob| glob.matches(&self.path))
    }

    fn row(&self, record: &Value, out: &mut String) {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let status = record["status"].as_u64().unwrap_or_default();
        let duration = record["duration"].as_f64();
        let farewell = text("farewell");
        // The date and the time without the zone, which is UTC.
        let time = text("time").get(..19).unwrap_or(text("time")).replace('T', " ");
        let request = match (text("method"), text("target")) {
            ("", "") => "-".to_owned(),
            (method, target) => format!("{method} {target}"),
        };
        let cells = [
            (time, DIM),
            (text("remote").to_owned(), PLAIN),
            (status.to_string(), colour_of(status)),
            (record["bytes"].as_u64().map_or("-".to_owned(), bytes), PLAIN),
            (text("engine").to_owned(), CYAN),
            (
                duration.map_or("-".to_owned(), seconds),
                if duration.is_some_and(|duration| duration >= SLOW) { YELLOW } else { PLAIN },
            ),
            (
                farewell.to_owned(),
                if matches!(farewell, "complete" | "closed") { DIM } else { RED },
            ),
            (request, PLAIN),
        ];
        for (at, (cell, style)) in cells.iter().enumerate() {
            self.cell(out, at, cell, style);
        }
        out.push('\n');
    }

    fn missing(&self, missing: u64, line: &[u8], out: &mut String) {
        if self.options.json {
            out.push_str(&String::from_utf8_lossy(line));
        } else {
            let text = format!("{missing} records are missing: the log was too slow for them");
            self.styled(out, &text, YELLOW);
        }
        out.push('\n');
    }

    fn cell(&self, row: &mut String, at: usize, text: &str, style: &str) {
        let (_, width, right) = COLUMNS[at];
        let text = shown(if text.is_empty() { "-" } else { text });
        let space = width.saturating_sub(text.chars().count());
        let gap = if at == 0 { 0 } else { 2 };
        let (before, after) = if right { (gap + space, 0) } else { (gap, space) };
        row.extend(std::iter::repeat_n(' ', before));
        self.styled(row, &text, style);
        if at + 1 < COLUMNS.len() {
            row.extend(std::iter::repeat_n(' ', after));
        }
    }

    fn styled(&self, row: &mut String, text: &str, style: &str) {
        if self.options.colour && style != PLAIN {
            let _ = write!(row, "{style}{text}{PLAIN}");
        } else {
            row.push_str(text);
        }
    }
}

fn colour_of(status: u64) -> &'static str {
    match status {
        200..=299 => GREEN,
        300..=399 => CYAN,
        400..=499 => YELLOW,
        500.. => RED,
        _ => PLAIN,
    }
}

/// `1.2.3.4 - - [25/Nov/...`: how a line of nginx begins.
fn is_combined(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split(' ');
    let (Some(_remote), Some("-"), Some(_user)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    words.next().is_some_and(|word| word.starts_with('['))
}

/// Text as a terminal may have it: controls, and what turns the direction of text, by number.
fn shown(text: &str) -> String {
    let marks = ['\u{200e}', '\u{200f}'];
    let turns = |one: char| {
        marks.contains(&one) || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = String::with_capacity(text.len());
    for one in text.chars() {
        if one.is_control() || turns(one) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(one));
        } else {
            safe.push(one);
        }
    }
    safe
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

fn seconds(value: f64) -> String {
    match value {
        short if short < 0.001 => format!("{:.0} us", short * 1e6),
        short if short < 1.0 => format!("{:.1} ms", short * 1e3),
        long if long < 100.0 => format!("{long:.2} s"),
        long => format!("{long:.0} s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RECORD: &str = "{\"time\":\"2026-11-25T23:13:43+00:00\",\"remote\":\"127.0.0.1\",\
         \"method\":\"GET\",\"target\":\"/a/b.txt?q\",\"status\":200,\"bytes\":1536,\
         \"duration\":0.001500,\"engine\":\"sendfile\",\"farewell\":\"complete\"}";
    const FAILED: &str = "{\"time\":\"2026-11-25T23:13:44+00:00\",\"remote\":\"::1\",\
         \"method\":\"GET\",\"target\":\"/large\",\"status\":503,\"bytes\":9,\
         \"duration\":2.5,\"engine\":\"\",\"farewell\":\"truncated\"}";

    fn show(options: Options, lines: &[&str]) -> (String, Vec<Line>) {
        let mut view = View::new(options);
        let mut out = view.heading();
        let told = lines.iter().map(|line| view.line(line.as_bytes(), &mut out)).collect();
        (out, told)
    }

    #[test]
    fn records_are_rows() {
        let (out, told) = show(Options::default(), &[RECORD, FAILED, r#"{"missing":3}"#]);
        let expected = [
            "time                 remote           status      bytes  engine     duration  \
             farewell      request",
            "2026-11-25 23:13:43  127.0.0.1           200    1.5 KiB  sendfile     1.5 ms  \
             complete      GET /a/b.txt?q",
            "2026-11-25 23:13:44  ::1                 503        9 B  -            2.50 s  \
             truncated     GET /large",
            "3 records are missing: the log was too slow for them",
            "",
        ]
        .join("\n");
        assert_eq!(out, expected);
        assert_eq!(told, [Line::Shown, Line::Shown, Line::Shown]);
    }

    #[test]
    fn filters_hold_together() {
        let shown = |options: Options| {
            let (out, _) = show(Options { json: true, ..options }, &[RECORD, FAILED]);
            (out.contains("/a/b.txt"), out.contains("/large"))
        };
        let glob = |text: &str| vec![Glob::new(text).unwrap()];
        let text = |text: &str| vec![text.to_owned()];
        assert_eq!(shown(Options::default()), (true, true));
        assert_eq!(
            shown(Options { statuses: vec![(500, 599)], ..Options::default() }),
            (false, true)
        );
        assert_eq!(shown(Options { paths: glob("/a/**"), ..Options::default() }), (true, false));
        assert_eq!(
            shown(Options { engines: text("sendfile"), ..Options::default() }),
            (true, false)
        );
        assert_eq!(
            shown(Options { farewells: text("truncated"), ..Options::default() }),
            (false, true)
        );
        let slower = Duration::from_secs(1);
        assert_eq!(shown(Options { slower, ..Options::default() }), (false, true));
        let both = Options { slower, paths: glob("/a/**"), ..Options::default() };
        assert_eq!(shown(both), (false, false));
    }

    #[test]
    fn what_is_no_record_is_told_once_with_its_line() {
        let combined =
            r#"127.0.0.1 - - [25/Nov/2026:23:13:43 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#;
        let (out, told) = show(Options::default(), &[RECORD, combined, "nonsense", RECORD]);
        assert_eq!(out.lines().count(), 3);
        let Line::Odd(what) = &told[1] else { panic!("{told:?}") };
        assert!(what.starts_with("line 2: ") && what.contains("combined"), "{what}");
        assert!(what.contains("access-log-format = \"json\""));
        assert_eq!(told[2], Line::OddAgain);
        for (line, says) in
            [("{\"a\":", "a part of one"), ("x", "no JSON"), ("# pitcrew", "not JSON")]
        {
            let (_, told) = show(Options::default(), &[line]);
            assert!(matches!(&told[0], Line::Odd(what) if what.contains(says)), "{told:?}");
        }
    }

    #[test]
    fn no_record_steers_the_terminal() {
        let evil = RECORD.replace("/a/b.txt?q", r"/\u001b[2J\u202e\u0007");
        let (out, _) = show(Options::default(), &[&evil]);
        assert!(out.contains(r"\u{1b}[2J\u{202e}\u{7}"), "{out}");
        assert!(!out.contains('\x1b'));
        let (out, _) = show(Options { colour: true, ..Options::default() }, &[&evil]);
        assert!(out.contains(GREEN) && out.contains(r"\u{1b}[2J"));
    }

    #[test]
    fn statuses_are_read() {
        assert_eq!(statuses("404"), Some((404, 404)));
        assert_eq!((statuses("6xx"), statuses("500-400"), statuses("x")), (None, None, None));
    }
}
