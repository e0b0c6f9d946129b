//! Memory that this process may have, and what the budgets come to.

use serde_json::json;

use crate::doctor::machine::size;
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::sys::memory::allowance;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let wanted = scene.options.memory_budgets;
    let Some(allowed) = allowance() else {
        let says = format!("how much memory there is cannot be read; budgets: {}", size(wanted));
        return vec![Finding::note(says).facts(json!({ "budgets_bytes": wanted }))];
    };
    let by = allowed.by.display();
    let facts = json!({
        "allowed_bytes": allowed.bytes,
        "allowed_by": by.to_string(),
        "budgets_bytes": wanted,
    });
    let says = format!(
        "{} may be used ({by}), of which the budgets take up to {}",
        size(allowed.bytes),
        size(wanted)
    );
    let finding = if wanted > allowed.bytes {
        Finding::note(format!("{says}: the kernel may end the server without a word"))
    } else {
        Finding::good(says)
    };
    vec![finding.facts(facts)]
}
