//! A table that is shown in a terminal and on a page, with what its columns mean.

use std::fmt::Write;

use crate::page::text;

/// Rows of cells below a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// What it is about.
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    /// As many cells as columns in each; a row may end early.
    pub(crate) rows: Vec<Vec<String>>,
}

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) head: String,
    /// What it means, in plain words.
    pub(crate) legend: &'static str,
    /// Whether it holds text, which begins at the left, and not figures.
    pub(crate) words: bool,
}

/// A column of figures.
pub(crate) fn figures(head: impl Into<String>, legend: &'static str) -> Column {
    Column { head: head.into(), legend, words: false }
}

/// A column of words.
pub(crate) fn words(head: impl Into<String>, legend: &'static str) -> Column {
    Column { head: head.into(), legend, words: true }
}

impl Table {
    /// For a terminal.
    pub(crate) fn to_text(&self) -> String {
        let heads = || self.columns.iter().map(|column| &column.head);
        let width = |index: usize, head: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.chars().count())
        };
        let widths: Vec<usize> =
            heads().enumerate().map(|(index, head)| width(index, head)).collect();
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &String>| {
            let mut text = String::new();
            for ((cell, column), width) in cells.zip(&self.columns).zip(&widths) {
                let _ = match column.words {
                    true => write!(text, "{cell:<width$}  "),
                    false => write!(text, "{cell:>width$}  "),
                };
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(&mut heads());
        for row in &self.rows {
            line(&mut row.iter());
        }
        out
    }

    /// For a page.
    pub(crate) fn to_html(&self) -> String {
        let mut out =
            format!("<h3>{}</h3>\n<div class=\"wide\"><table><thead><tr>", text(&self.title));
        for Column { head, legend, .. } in &self.columns {
            let (head, legend) = (text(head), text(legend));
            let _ = write!(out, "<th scope=\"col\" title=\"{legend}\">{head}</th>");
        }
        out.push_str("</tr></thead><tbody>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (index, cell) in row.iter().enumerate() {
                let cell = text(cell);
                let _ = match (index, self.columns.get(index).is_some_and(|one| one.words)) {
                    (0, _) => write!(out, "<th scope=\"row\">{cell}</th>"),
                    (_, true) => write!(out, "<td class=\"words\">{cell}</td>"),
                    (_, false) => write!(out, "<td>{cell}</td>"),
                };
            }
            let missing = self.columns.len().saturating_sub(row.len());
            if missing > 0 {
                let _ = write!(out, "<td colspan=\"{missing}\"></td>");
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_end_and_words_begin_below_each_other() {
        let table = Table {
            title: "a < b".to_owned(),
            columns: vec![words("who", "w"), figures("µs", "f"), words("why", "y")],
            rows: vec![
                vec!["one".to_owned(), "1.5".to_owned(), "so".to_owned()],
                vec!["another".to_owned(), "void".to_owned()],
            ],
        };
        assert_eq!(table.to_text(), "who        µs  why\none       1.5  so\nanother  void\n");
        let page = table.to_html();
        assert!(page.contains("<h3>a &lt; b</h3>"), "{page}");
        assert!(page.contains("<td>void</td><td colspan=\"1\"></td></tr>"), "{page}");
    }
}
