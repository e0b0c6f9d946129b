//! Precompressed neighbours that are older than their originals.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let (stale, mode) = (&scene.tree.stale, scene.options.precompressed);
    let facts = json!({
        "precompressed": mode,
        "stale": stale.count,
        "first": stale.first,
    });
    let finding = match (stale.count, mode) {
        (0, _) => Finding::good("none is older than its original"),
        (count, "on") => Finding::note(format!(
            "{count} are served and older than their originals: {}",
            stale.list()
        )),
        (count, _) => {
            Finding::note(format!("{count} are older than their originals: {}", stale.list()))
        }
    };
    vec![finding.facts(facts)]
}
