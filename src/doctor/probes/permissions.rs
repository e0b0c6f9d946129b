//! What this user may not read.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let (tree, unreadable) = (&scene.tree, &scene.tree.unreadable);
    let seen = format!("{} files in {} directories", tree.files, tree.directories);
    let finding = match unreadable.count {
        0 => Finding::good(format!("{seen}, all of which may be read")),
        count => {
            Finding::note(format!("{count} may not be read, of {seen}: {}", unreadable.list()))
        }
    };
    vec![finding.facts(json!({
        "files": tree.files,
        "directories": tree.directories,
        "unreadable": unreadable.count,
        "first": unreadable.first,
    }))]
}
