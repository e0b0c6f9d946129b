//! The dashboard and the alerts name nothing that the server does not have.

use std::collections::BTreeMap;

use pitcrew::telemetry::{CATALOGUE, NAMES_BESIDE_THE_CATALOGUE};

const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");
const RULES: &str = include_str!("../../deploy/prometheus-rules.yml");
const SCRAPING: &str = include_str!("../../deploy/README.md");

/// What Prometheus adds to every series by itself.
const ITS_OWN: [&str; 2] = ["instance", "job"];

/// Every name that a scraper keeps, with its labels.
fn known() -> BTreeMap<String, Vec<&'static str>> {
    let mut known = BTreeMap::new();
    for figure in CATALOGUE {
        for name in figure.names() {
            let bucket = name.ends_with("_bucket").then_some("le");
            known.insert(name, figure.label.into_iter().chain(bucket).collect());
        }
    }
    for (name, labels) in NAMES_BESIDE_THE_CATALOGUE {
        known.insert((*name).to_owned(), labels.to_vec());
    }
    known
}

/// Names of series in an expression, each with the names of labels in its braces.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices("pitcrew_").map(|(at, _)| at);
    let whole = starts.filter(|at| !text[..*at].ends_with(word));
    let series = whole.map(|at| {
        let end = text[at..].find(|c| !word(c)).map_or(text.len(), |len| at + len);
        let braces = text[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        let labels = braces.unwrap_or_default().split(',').filter_map(|one| one.split('=').next());
        let labels = labels.map(|label| label.trim_end_matches('!').trim().to_owned());
        (text[at..end].to_owned(), labels.filter(|label| !label.is_empty()).collect())
    });
    series.collect()
}

fn check(what: &str, text: &str) -> usize {
    let known = known();
    let all = named(text);
    for (name, labels) in &all {
        let of = known.get(name).unwrap_or_else(|| panic!("{what}: there is no {name}"));
        for label in labels {
            let there = of.contains(&&**label) || ITS_OWN.contains(&&**label);
            assert!(there, "{what}: {name} has no label {label}");
        }
    }
    all.len()
}

fn expressions(panel: &serde_json::Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

#[test]
fn the_dashboard_asks_for_figures_that_there_are() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut count = 0;
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for expression in expressions(panel) {
            count += check(title, expression);
            // A sum by a label that the series lack is one line without a name.
            for by in expression.split("by (").skip(1) {
                let labels = by.split(')').next().unwrap().split(',').map(str::trim);
                let series = named(by).swap_remove(0);
                let of = &known()[&series.0];
                for label in labels {
                    assert!(of.contains(&label), "{title}: {} has no label {label}", series.0);
                }
            }
        }
    }
    assert!(count > 40, "{count} series in {} panels", panels.len());
    check("the list of servers", &dashboard["templating"].to_string());
}

#[test]
fn the_alerts_ask_for_figures_that_there_are() {
    let count: usize = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .map(|expression| check("an alert", expression))
        .sum();
    assert!(count > 12, "{count} series");
    // Also what a description tells to look at.
    check("a description", RULES);
    check("the README", SCRAPING);
}

#[test]
fn a_name_that_there_is_not_is_seen() {
    let wrong = std::panic::catch_unwind(|| check("planted", "rate(pitcrew_cache_hit_total[5m])"));
    assert!(wrong.is_err());
    let label = "sum(pitcrew_farewells_total{reason=\"idle\"})";
    assert!(std::panic::catch_unwind(|| check("planted", label)).is_err());
    assert_eq!(check("right", "sum(pitcrew_farewells_total{cause=~\"a|b\",job=\"x\"})"), 1);
}
