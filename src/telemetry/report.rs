//! A report: the figures in one form, made in pieces.

use super::prometheus::Text;
use super::schema::VERSION as SCHEMA_VERSION;
use super::snapshot::{About, Shard, Snapshot, Taking};

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The JSON that the room describes.
    Json,
    /// The same with the buckets of histograms.
    Detailed,
    /// The text that Prometheus reads.
    Prometheus,
    /// The text of OpenMetrics.
    OpenMetrics,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Json, Self::Detailed, Self::Prometheus, Self::OpenMetrics];
}

/// A report that is being made.
///
/// ```
/// use pitcrew::telemetry::{About, Form, Report, Shard};
///
/// let shards = [Shard::default()];
/// let mut report = Report::new(Form::Json, About::default());
/// let text = loop {
///     // A thousand counts at a time; a worker serves its clients between two pieces.
///     if let Some(text) = report.go_on(&shards, 1000) {
///         break text;
///     }
/// };
/// assert!(text.starts_with(b"{\n  \"version\": 2,"));
/// ```
#[derive(Debug)]
pub struct Report {
    form: Form,
    state: State,
}

#[derive(Debug)]
enum State {
    Taking(Taking, About),
    Writing { told: Snapshot, next: usize, text: Vec<u8> },
    Done,
}

impl Report {
    /// Begins one.
    pub fn new(form: Form, about: About) -> Self {
        Self { form, state: State::Taking(Taking::default(), about) }
    }

    /// Goes on for a piece that costs about as much as reading `cost` counts, and gives the
    /// report out when it is whole, once.
    pub fn go_on(&mut self, shards: &[Shard], cost: usize) -> Option<Vec<u8>> {
        let mut left = cost.max(1);
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Taking(mut taking, about) => {
                    if !taking.go_on(shards, &mut left) {
                        self.state = State::Taking(taking, about);
                        return None;
                    }
                    let text = Vec::with_capacity(64 << 10);
                    self.state = State::Writing { told: taking.end(about), next: 0, text };
                }
                State::Writing { told, mut next, mut text } => {
                    let left = &mut left;
                    let done = match self.form {
                        Form::Json => told.write_json(false, &mut next, &mut text, left),
                        Form::Detailed => told.write_json(true, &mut next, &mut text, left),
                        Form::Prometheus => {
                            told.write_text(Text::Prometheus, &mut next, &mut text, left)
                        }
                        Form::OpenMetrics => {
                            told.write_text(Text::OpenMetrics, &mut next, &mut text, left)
                        }
                    };
                    if done {
                        return Some(text);
                    }
                    self.state = State::Writing { told, next, text };
                }
                State::Done => return None,
            }
            if left == 0 {
                return None;
            }
        }
    }
}

const _: () = assert!(SCHEMA_VERSION > 0, "version 0 would be taken for none");

#[cfg(test)]
mod tests {
    use super::super::snapshot;
    use super::*;

    #[test]
    fn a_report_in_pieces_is_that_of_one_piece_in_every_form() {
        let shards = [Shard::default(), Shard::default()];
        shards[1].ring.turn.record(1234);
        for form in Form::ALL {
            let mut report = Report::new(form, About::default());
            let mut pieces = 0;
            let text = loop {
                pieces += 1;
                if let Some(text) = report.go_on(&shards, 500) {
                    break text;
                }
            };
            assert!(pieces > 10, "{form:?} in {pieces} pieces");
            let told = snapshot(&shards, About::default());
            let whole = match form {
                Form::Json => told.to_json(),
                Form::Detailed => {
                    assert!(String::from_utf8_lossy(&text).contains("\"1279\": 1"));
                    continue;
                }
                Form::Prometheus => told.to_text(Text::Prometheus),
                Form::OpenMetrics => told.to_text(Text::OpenMetrics),
            };
            assert_eq!(String::from_utf8(text), String::from_utf8(whole));
            assert_eq!(report.go_on(&shards, 500), None, "it is given out once");
        }
    }
}
