//! The effective configuration, for people and for programs.

use std::fmt::Write as _;

use super::show::tables;
use super::{Effective, KEYS, Section};

/// Valid TOML that means the same, with the source of each value as a comment.
pub fn toml(all: &Effective) -> String {
    let mut out = String::new();
    let mut section: Option<Section> = None;
    for key in &KEYS {
        if section != Some(key.section) {
            let gap = if section.is_some() { "\n" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{gap}# {}", key.section.title());
            section = Some(key.section);
        }
        let (value, source) = ((key.show)(&all.settings), all.source(key));
        let _ = writeln!(out, "{} = {value}  # {source}", key.name);
    }
    let tables = tables(&all.settings);
    if !tables.is_empty() {
        let _ = write!(out, "\n# Rules\n\n{tables}");
    }
    out
}

/// One object: for each key its value and its source, for each table its value.
pub fn json(all: &Effective) -> String {
    let keys = KEYS.iter().map(|key| {
        let row = serde_json::json!({
            "value": (key.show)(&all.settings),
            "source": all.source(key).to_string(),
        });
        (key.name.to_owned(), row)
    });
    let rules = tables(&all.settings).into_iter();
    let rows = keys.chain(rules.map(|(name, value)| (name, serde_json::json!({ "value": value }))));
    let mut out = format!("{:#}", serde_json::Value::Object(rows.collect()));
    out.push('\n');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::resolve;

    #[test]
    fn what_is_printed_is_a_configuration_that_means_the_same() {
        let all = resolve(&[], [], None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, toml(&all)).unwrap();
        let mut again = resolve(&[], [], Some(&path)).unwrap();
        // The root is the one path, and it is relative to the file now.
        assert_eq!(
            again.settings.server.site.root,
            dir.path().join(&all.settings.server.site.root)
        );
        again.settings.server.site.root.clone_from(&all.settings.server.site.root);
        assert_eq!(again.settings, all.settings);
    }

    const RULES: &str = r#"
[[fields]]
match = ["/assets/**", "/**/*.woff2"]
set = { Cache-Control = "max-age=60", Referrer-Policy = "no-referrer" }
remove = ["Server"]
always = true

[[cors]]
match = "/data/**"
origins = ["https://a.example", "https://b.example"]
headers = ["Range"]
expose = ["ETag"]
max-age = "1h"
credentials = true

[errors]
404 = "404.html"

[[redirects]]
from = "/old/**"
to = "/new/**"
status = 308

[[redirects]]
from = "/dead"
status = 410

[[mounts]]
path = "/media/"
root = "."

[[rates]]
match = "/media/**"
rate-limit = "1MiB"

[media]
"tar.gz" = "application/x-two"

[[hosts]]
names = ["a.example", "*.b.example"]
root = "."
index = ["start.html"]
dotfiles = true
fallback = "start.html"
forbidden = "403"

[[hosts.fields]]
match = "/**"
set = { X-Host = "a" }
"#;

    #[test]
    fn rules_are_printed_as_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, RULES).unwrap();
        let all = resolve(&[], [], Some(&path)).unwrap();
        assert_eq!(all.settings.server.hosts.len(), 1);
        let again = dir.path().join("again.toml");
        std::fs::write(&again, toml(&all)).unwrap();
        let mut again = resolve(&[], [], Some(&again)).unwrap().settings;
        again.server.site.root.clone_from(&all.settings.server.site.root);
        assert_eq!(again, all.settings);
        let value: serde_json::Value = serde_json::from_str(&json(&all)).unwrap();
        assert_eq!(value["redirects"]["value"][0]["to"], "/new/**");
    }

    #[test]
    fn json_has_every_key_with_its_source() {
        let all = resolve(&[], [], None).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json(&all)).unwrap();
        for key in &KEYS {
            assert_eq!(value[key.name]["source"], "default", "{}", key.name);
        }
        assert_eq!(value["idle-timeout"]["value"], "75s");
    }
}
