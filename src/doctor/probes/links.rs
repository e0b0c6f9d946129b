//! Symbolic links that are not served.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::limits::DOCTOR_ENTRIES_MAX;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let (tree, on) = (&scene.tree, scene.options.symlinks);
    let kinds = [
        ("absolute", &tree.absolute, "are absolute, which is never followed"),
        ("leaving", &tree.leaving, "leave the root"),
        ("dangling", &tree.dangling, "lead to nothing"),
    ];
    let facts = json!({
        "links": tree.links,
        "absolute": tree.absolute.count,
        "leaving": tree.leaving.count,
        "dangling": tree.dangling.count,
        "cut": tree.cut,
    });
    let mut found: Vec<_> = kinds
        .into_iter()
        .filter(|(_, named, _)| named.count > 0)
        .map(|(kind, named, what)| {
            let says = format!("{} links {what}, and are 404: {}", named.count, named.list());
            Finding::note(says)
                .facts(json!({ "kind": kind, "count": named.count, "first": named.first }))
        })
        .collect();
    if tree.links > 0 && !on {
        let says = format!("{} links, none of which is followed", tree.links);
        found.push(Finding::note(says).remedy("set symlinks to true to follow those beneath"));
    }
    if tree.cut {
        let says = format!("only the first {DOCTOR_ENTRIES_MAX} names were looked at");
        found
            .push(Finding::note(says).remedy("look at a part of it by 'pitcrew doctor DIRECTORY'"));
    }
    if found.is_empty() {
        let says = match tree.links {
            0 => "there is none".to_owned(),
            links => format!("{links}, all of which stay beneath the root"),
        };
        found.push(Finding::good(says));
    }
    if let Some(first) = found.first_mut()
        && first.facts.is_null()
    {
        first.facts = facts;
    }
    found
}
