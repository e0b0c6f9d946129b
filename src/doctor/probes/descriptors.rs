//! The limit of open descriptors.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::sys::descriptors;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let options = scene.options;
    let limits = descriptors::raise();
    let wanted = descriptors::wanted(options.connections, options.open_files);
    let allowed = limits.now.map_or("any number".to_owned(), |now| now.to_string());
    let asks = format!(
        "{} connections and {} open files may need {wanted}",
        options.connections, options.open_files
    );
    let finding = match limits.missing(wanted) {
        0 => Finding::good(format!("{allowed} may be open; {asks}")),
        missing => Finding::note(format!("{allowed} may be open, {missing} too few: {asks}")),
    };
    vec![finding.facts(json!({
        "soft": limits.before,
        "hard": limits.hard,
        "wanted": wanted,
    }))]
}
