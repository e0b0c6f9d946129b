//! The page that draws the figures.
//!
//! One document without outside resources: `page.html`, with the catalogue put in, so that it
//! knows unit, kind and help of every figure without asking. It fetches the JSON of the path at
//! which it is.

use serde_json::{Value as Json, json};

use super::catalogue::CATALOGUE;
use super::figure::{Kind, Unit};

/// The document, with a mark where the catalogue goes.
const DOCUMENT: &str = include_str!("page.html");
const MARK: &str = "/*catalogue*/[]";

/// What the page may do: draw itself, and fetch from where it came.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
                          'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'";

/// The page.
pub fn page() -> String {
    let rows = CATALOGUE.iter().map(|figure| {
        json!({
            "group": figure.group,
            "label": figure.label,
            "name": figure.name,
            "kind": match figure.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            },
            "unit": match figure.unit {
                Unit::Count => "count",
                Unit::Bytes => "bytes",
                Unit::Nanoseconds => "ns",
            },
            "help": figure.help,
        })
    });
    // A catalogue in a script must not end it.
    let rows = rows.collect::<Json>().to_string().replace("</", "<\\/");
    DOCUMENT.replacen(MARK, &rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_document_of_some_tens_of_kibibytes() {
        let page = page();
        assert!(!page.contains(MARK) && page.contains("\"turn_ns\""));
        assert!(page.len() < 80 << 10, "{} bytes", page.len());
        for outside in ["http://", "https://", "//cdn", "src=", "@import", "url("] {
            // The name space of SVG is a name, not an address.
            let page = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(outside), "the page has {outside}");
        }
    }
}
