//! How far a run is: one line that is rewritten on a terminal, and nothing where the standard error
//! output is none.

use indicatif::{ProgressBar, ProgressStyle};

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Which scenario this is, of how many.
    scenario: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Another scenario comes.
    pub(crate) fn scenario(&mut self, name: &str, number: usize, of: usize) {
        self.scenario = format!("{name} ({number} of {of})");
    }

    /// It has so many turns.
    pub(crate) fn begin(&mut self, turns: usize) {
        self.end();
        let bar = ProgressBar::new(turns as u64);
        // The form is a constant; without it the bar has the one of the library.
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}  {eta} left");
        self.bar = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
    }

    /// One of them begins: a round, of a server.
    pub(crate) fn turn(&self, round: &str, lane: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(round, lane));
            bar.inc(1);
        }
    }

    fn message(&self, round: &str, lane: &str) -> String {
        format!("{}: {round}: {lane}", self.scenario)
    }

    /// The line goes away, so that others can be printed.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_where_the_run_is() {
        let mut progress = Progress::default();
        progress.scenario("small", 3, 22);
        let told = progress.message("round 2 of 8", "pitcrew auto");
        assert_eq!(told, "small (3 of 22): round 2 of 8: pitcrew auto");
        progress.begin(2);
        progress.turn("round 1 of 1", "nginx");
        progress.end();
        assert!(progress.bar.is_none());
    }
}
