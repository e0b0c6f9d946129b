//! Redirects that lead back to where they were, or on and on.
//!
//! Each rule is followed as a client would: from one path that it stands for to the Location, to
//! the rule for that, and so on. Where a star takes any name, the path that is followed has one
//! that no rule can name, so what comes of it comes of nearly every path. What a loop owes to the
//! files that are there, such as a directory asked for without its slash, is not seen, nor one
//! that passes through another server.

use std::collections::BTreeSet;

use super::problem::{Problem, Source};
use super::rules::Places;
use crate::limits::REDIRECTS_IN_A_ROW_MAX;
use crate::resource::options::{Options as SiteOptions, Redirect};

/// A way that leads nowhere: the rules on it, in the order in which they are followed.
#[derive(Debug, PartialEq, Eq)]
struct Astray {
    rules: Vec<usize>,
    /// A path on it, as a client sees it.
    path: String,
    /// Whether it comes back to this path; else it goes on until the client gives up.
    returns: bool,
}

/// Names each loop once, at the first of its rules.
pub(super) fn find(host: &SiteOptions, places: &Places) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for at in 0..host.redirects.len() {
        for start in starts(&host.redirects[at]) {
            let Some(astray) = follow(&host.redirects, start) else { continue };
            let mut rules = astray.rules.clone();
            rules.sort_unstable();
            if seen.insert(rules) {
                problems.push(problem(&astray, &host.redirects, &places.redirects));
            }
        }
    }
    problems
}

/// Paths that a rule stands for.
fn starts(redirect: &Redirect) -> Vec<Vec<u8>> {
    let mut starts = vec![redirect.from.sample()];
    starts.extend(redirect.from.directory().map(<[u8]>::to_vec));
    starts
}

fn follow(redirects: &[Redirect], start: Vec<u8>) -> Option<Astray> {
    let mut paths = vec![start];
    let mut rules = Vec::new();
    while rules.len() < REDIRECTS_IN_A_ROW_MAX {
        let path = paths.last().expect("it begins with one");
        let rule = redirects.iter().position(|redirect| redirect.from.matches(path))?;
        let next = redirects[rule].leads_to(path)?;
        rules.push(rule);
        if let Some(before) = paths.iter().position(|path| *path == next) {
            rules.drain(..before);
            return Some(Astray { rules, path: written(&next), returns: true });
        }
        paths.push(next);
    }
    let mut together = BTreeSet::new();
    rules.retain(|rule| together.insert(*rule));
    let path = written(paths.last().expect("it begins with one"));
    Some(Astray { rules, path, returns: false })
}

/// A path as it stands in a rule; a star for the name that no rule has.
fn written(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).replace(char::is_control, "*"))
}

fn problem(astray: &Astray, redirects: &[Redirect], places: &[Source]) -> Problem {
    let first = astray.rules.iter().enumerate().min_by_key(|(_, rule)| **rule);
    let (at, &first) = first.expect("a way has a rule");
    let (path, from) = (&astray.path, &redirects[first].from);
    let others: Vec<_> = astray.rules[at + 1..]
        .iter()
        .chain(&astray.rules[..at])
        .map(|rule| format!("that from '{}' at {}", redirects[*rule].from, places[*rule]))
        .collect();
    let message = match (astray.returns, others.is_empty()) {
        (true, true) => {
            format!(
                "the redirect from '{from}' leads to itself by '{path}'; move one out of the other"
            )
        }
        (true, false) => format!(
            "the redirect from '{from}' leads to itself by '{path}' over {}; lead one of them \
             elsewhere",
            others.join(", ")
        ),
        (false, _) => {
            let over = if others.is_empty() {
                String::new()
            } else {
                format!(" over {}", others.join(", "))
            };
            let shown: String = path.chars().take(60).collect();
            format!(
                "the redirect from '{from}' leads on and on{over}, and is at '{shown}' when \
                 clients give up after {REDIRECTS_IN_A_ROW_MAX}; lead it elsewhere"
            )
        }
    };
    Problem { source: places[first].clone(), message }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::resource::options::{Glob, Place, Status};

    fn rules(table: &[(&str, &str)]) -> SiteOptions {
        let redirect = |(from, to): &(&str, &str)| Redirect {
            from: Glob::new(from).unwrap(),
            to: (!to.is_empty()).then(|| Place::new(to).unwrap()),
            status: if to.is_empty() { Status::Gone } else { Status::MovedPermanently },
        };
        SiteOptions { redirects: table.iter().map(redirect).collect(), ..SiteOptions::default() }
    }

    fn found(table: &[(&str, &str)]) -> Vec<String> {
        let line = |at: usize| Source::File { path: "c".into(), place: Some((at + 1, 1)) };
        let places =
            Places { redirects: (0..table.len()).map(line).collect(), ..Places::default() };
        find(&rules(table), &places).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loops_are_found_over_any_number_of_rules() {
        for (table, first, names) in [
            (&[("/a", "/a")][..], "c:1:1: the redirect from '/a' leads to itself by '/a'", &[][..]),
            (&[("/a/**", "/a/b")], "c:1:1: the redirect from '/a/**' leads to itself", &[]),
            (&[("/a/**", "/a/**")], "c:1:1: the redirect from '/a/**' leads to itself", &[]),
            // A star may be nothing at all.
            (&[("/a/*", "/a/")], "c:1:1: ", &["leads to itself by '/a/'"]),
            (&[("/a", "/b"), ("/b", "/a")], "c:1:1: ", &["that from '/b' at c:2:1"]),
            (&[("/x", "/y"), ("/c", "/b"), ("/b", "/c?q#f")], "c:2:1: ", &["'/b' at c:3:1"]),
            (
                &[("/b", "/c"), ("/c", "/a"), ("/a", "/b")],
                "c:1:1: ",
                &["that from '/c' at c:2:1, that from '/a' at c:3:1"],
            ),
            (&[("/a/**", "/b/**"), ("/b/**", "/a/**")], "c:1:1: ", &["by '/a/*' over"]),
            (&[("/a/**", "/b/**"), ("/b/x", "/a/x")], "c:1:1: ", &["by '/b/x' over"]),
            (&[("/a/**", "/b/**"), ("/b/", "/a/")], "c:1:1: ", &["by '/a/' over"]),
            (&[("/caf\u{e9}/", "/caf%C3%A9/")], "c:1:1: ", &["leads to itself by '/caf\u{e9}/'"]),
            (&[("/a/**", "/a/b/**")], "c:1:1: ", &["on and on, and is at '/a/b/b/"]),
            (&[("/a/**", "/b/x/**"), ("/b/**", "/a/**")], "c:1:1: ", &["on and on over that"]),
        ] {
            let found = found(table);
            assert_eq!(found.len(), 1, "{table:?}: {found:?}");
            assert!(found[0].starts_with(first), "{table:?}: {found:?}");
            for name in names {
                assert!(found[0].contains(name), "{name} in {found:?}");
            }
        }
    }

    #[test]
    fn ways_that_end_are_none() {
        for table in [
            &[("/a", "/b"), ("/b", "/c")][..],
            &[("/a", "https://a.example/a")],
            &[("/a", "")],
            &[("/a", "/b"), ("/b", ""), ("/c", "/b")],
            // The first that matches counts, so the second is never asked.
            &[("/a/b", "/c"), ("/a/**", "/a/b")],
            &[("/a/a/**", "/a/**")],
            &[("/old/**", "/new/**"), ("/new/x", "/old")],
        ] {
            assert_eq!(found(table), Vec::<String>::new(), "{table:?}");
        }
    }

    #[test]
    fn a_chain_that_clients_do_not_follow_to_its_end_is_told() {
        let names: Vec<_> = (0..=REDIRECTS_IN_A_ROW_MAX).map(|at| format!("/{at}")).collect();
        let table: Vec<_> =
            names.windows(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
        assert_eq!(found(&table[1..]), Vec::<String>::new());
        assert_eq!(found(&table).len(), 1);
    }
}
