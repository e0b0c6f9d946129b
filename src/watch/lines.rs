//! Tables, bars and traces as lines of text with styles. Whatever the width, nothing panics and
//! nothing is wider.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub name: &'static str,
    /// Columns that are wanted less are left out first where it is narrow; 0 never is.
    pub spare: u8,
}

/// A cell: its text and how it looks.
pub(super) type Cell = (String, Style);

/// A table within a width: the columns that there is room for, the first to the left, the others
/// to the right.
pub(super) fn table(
    columns: &[Column],
    rows: &[Vec<Cell>],
    head: Style,
    width: usize,
) -> Vec<Line<'static>> {
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = rows.iter().map(|row| row[at].0.chars().count());
            cells.chain([columns[at].name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    while kept.iter().map(|at| widths[*at] + GAP).sum::<usize>() > width + GAP {
        let Some(least) = kept.iter().copied().max_by_key(|at| columns[*at].spare) else { break };
        if columns[least].spare == 0 {
            break;
        }
        kept.retain(|at| *at != least);
    }
    let line = |cell: &dyn Fn(usize) -> Cell| {
        let spans = kept.iter().enumerate().map(|(place, at)| {
            let (text, style) = cell(*at);
            let room = " ".repeat(widths[*at].saturating_sub(text.chars().count()));
            match place {
                0 => Span::styled(format!("{text}{room}"), style),
                _ => Span::styled(format!("{}{room}{text}", " ".repeat(GAP)), style),
            }
        });
        cut(Line::from(spans.collect::<Vec<_>>()), width)
    };
    let mut lines = vec![line(&|at| (columns[at].name.to_owned(), head))];
    lines.extend(rows.iter().map(|row| line(&|at| row[at].clone())));
    lines
}

/// Blanks between two columns.
const GAP: usize = 2;

/// A part of a whole as a bar.
pub(super) fn bar(part: f64, width: usize) -> String {
    let eighths = (part.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let mut text = "█".repeat(full);
    if rest > 0 {
        text.push(["▏", "▎", "▍", "▌", "▋", "▊", "▉"][rest - 1].chars().next().unwrap_or(' '));
    }
    let used = text.chars().count();
    text + &" ".repeat(width.saturating_sub(used))
}

/// The last values as a trace, the newest at the right.
pub(super) fn trace(values: &[f64], width: usize) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let greatest = shown.iter().copied().fold(0.0, f64::max);
    let step = |value: f64| match value {
        some if some > 0.0 && greatest > 0.0 => {
            let step = (some / greatest * 8.0).ceil() as usize;
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][step.clamp(1, 8) - 1]
        }
        _ => '▁',
    };
    let trace: String = shown.iter().map(|value| step(*value)).collect();
    " ".repeat(width - shown.len()) + &trace
}

/// Two blocks beside each other, the second one from a column on.
pub(super) fn beside(
    left: Vec<Line<'static>>,
    right: Vec<Line<'static>>,
    column: usize,
) -> Vec<Line<'static>> {
    let count = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let both = (0..count).map(|_| {
        let (mut one, other) = (left.next().unwrap_or_default(), right.next());
        if let Some(other) = other {
            let room = column.saturating_sub(one.width());
            one.spans.push(Span::raw(" ".repeat(room)));
            one.spans.extend(other.spans);
        }
        one
    });
    both.collect()
}

/// A line of which nothing is beyond the width.
pub(super) fn cut(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut left = width;
    let mut spans = Vec::new();
    for span in line.spans {
        let text: String = span.content.chars().take(left).collect();
        left -= text.chars().count();
        spans.push(Span::styled(text, span.style));
        if left == 0 {
            break;
        }
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_table_leaves_out_what_is_wanted_least_and_cuts_the_rest() {
        let columns = [("name", 0), ("bytes", 1), ("errors", 2)];
        let columns = columns.map(|(name, spare)| Column { name, spare });
        let cell = |text: &str| (text.to_owned(), Style::new());
        let rows = [vec![cell("sendfile"), cell("1 KiB"), cell("0")]];
        let of = |width| plain(&table(&columns, &rows, Style::new(), width));
        assert_eq!(of(80), ["name      bytes  errors", "sendfile  1 KiB       0"]);
        assert_eq!(of(22), ["name      bytes", "sendfile  1 KiB"]);
        assert_eq!(of(9), ["name", "sendfile"]);
        assert_eq!(of(4), ["name", "send"]);
        assert_eq!(of(0), ["", ""]);
    }

    #[test]
    fn bars_and_traces_have_their_width() {
        for part in [-1.0, 0.0, 0.01, 0.5, 0.99, 1.0, 7.0, f64::NAN] {
            for width in [0, 1, 7] {
                assert_eq!(bar(part, width).chars().count(), width, "{part} {width}");
            }
        }
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(trace(&[0.0, 1.0, 8.0], 4), " ▁▁█");
        assert_eq!(trace(&[1.0, 8.0], 1), "█");
        assert_eq!(trace(&[1.0], 0), "");
    }

    #[test]
    fn blocks_stand_beside_each_other() {
        let lines =
            |texts: &[&str]| texts.iter().map(|text| Line::raw((*text).to_owned())).collect();
        let both = beside(lines(&["a"]), lines(&["b", "c"]), 4);
        assert_eq!(plain(&both), ["a   b", "    c"]);
    }
}
