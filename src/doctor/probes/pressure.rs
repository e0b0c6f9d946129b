//! What tells the server that memory becomes short.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::sys::pressure;

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let finding = match pressure::memory() {
        Err(error) => Finding::note(format!(
            "nothing tells that memory becomes short ({error}); what was seen in the page cache \
             is forgotten by time alone"
        ))
        .remedy("nothing, or run a kernel with PSI (psi=1)")
        .facts(json!({ "file": null, "of_group": false })),
        Ok(trigger) => {
            let file = trigger.file.display();
            let facts = json!({ "file": file.to_string(), "of_group": trigger.machine.is_none() });
            let finding = match &trigger.machine {
                None => Finding::good(format!("{file}, of the control group of this process")),
                Some(why) => Finding::note(format!("{file}, of the whole machine: {why}")),
            };
            finding.facts(facts)
        }
    };
    vec![finding]
}
