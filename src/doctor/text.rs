//! The report for people.

use std::fmt::Write;

use super::machine::size;
use super::report::{Finding, Picked, Report, State};

/// Columns of the names of probes and engines.
const NAME: usize = 12;

/// The report, with colour if that is wanted.
///
/// ```
/// use pitcrew::doctor::{Options, examine, text};
/// let report = examine(&Options { root: "src".into(), workers: 1, ..Options::default() })?;
/// assert!(text(&report, false).contains("io_uring"));
/// # Ok::<(), pitcrew::sys::root::RootError>(())
/// ```
pub fn text(report: &Report, colour: bool) -> String {
    let paint = Paint(colour);
    let mut out = format!("pitcrew doctor, for {}\n", report.root);
    let mounts = mounts(report);
    let mut about = "";
    for finding in &report.findings {
        let section = if finding.mount.is_some() { "Mounts" } else { section(finding.probe) };
        if section != about {
            about = section;
            let _ = write!(out, "\n{}\n", paint.strong(section));
        }
        line(&mut out, finding, mounts.len() > 1, paint);
    }
    let _ = write!(out, "\n{}\n", paint.strong("Engines"));
    for row in &report.engines {
        let word =
            if row.runs { paint.state(State::Good, "runs") } else { paint.state(State::Bad, "no") };
        let _ = writeln!(out, "  {word} {:NAME$} {}", row.engine, row.says);
    }
    for mount in &mounts {
        let place = if mounts.len() > 1 { format!(", at {mount}") } else { String::new() };
        let title = format!("What auto would choose{place}");
        let _ = write!(out, "\n{}\n", paint.strong(&title));
        chosen(&mut out, report.auto.iter().filter(|one| one.mount == *mount).collect());
    }
    let last = match (report.all_engines_run, report.io_uring) {
        (true, _) => "Every engine can run here.",
        (false, true) => "Not every engine can run here; the server can.",
        (false, false) => "The server cannot run here.",
    };
    let _ = write!(out, "\n{last}\n");
    out
}

/// What stands between the machine and the names.
fn section(probe: &str) -> &'static str {
    match probe {
        "links" | "variants" | "permissions" => "Names",
        "file_system" => "Mounts",
        _ => "Machine",
    }
}

fn mounts(report: &Report) -> Vec<&str> {
    let mut all: Vec<&str> = report.auto.iter().map(|one| one.mount.as_str()).collect();
    all.dedup();
    all
}

fn line(out: &mut String, finding: &Finding, several: bool, paint: Paint) {
    let word = paint.state(finding.state, finding.state.name());
    let at = finding.mount.as_ref().filter(|_| several);
    let at = at.map_or(String::new(), |mount| format!("{mount}: "));
    let _ = writeln!(out, "  {word} {:NAME$} {at}{}", finding.probe, finding.says);
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(out, "       {:NAME$} {}", "", paint.soft(&format!("> {remedy}")));
    }
}

/// One line for each size, with what is in memory beside what is not.
fn chosen(out: &mut String, all: Vec<&Picked>) {
    let said = |one: Option<&&Picked>| match one {
        None => String::new(),
        Some(one) => format!("{} ({})", one.engine.unwrap_or("none"), one.reason),
    };
    let _ = writeln!(out, "       {:NAME$} {:24} on the disk", "size", "in memory");
    let mut sizes: Vec<u64> = all.iter().map(|one| one.bytes).collect();
    sizes.dedup();
    for bytes in sizes {
        let of =
            |in_memory| all.iter().find(|one| one.bytes == bytes && one.in_memory == in_memory);
        let line =
            format!("       {:NAME$} {:24} {}", size(bytes), said(of(true)), said(of(false)));
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    fn soft(self, text: &str) -> String {
        self.with("2", text)
    }

    fn state(self, state: State, word: &str) -> String {
        let code = match state {
            State::Good => "32",
            State::Note => "33",
            State::Bad => "31",
        };
        self.with(code, &format!("{word:4}"))
    }
}
