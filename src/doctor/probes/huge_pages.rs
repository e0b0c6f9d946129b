//! Huge pages for the pool of blocks.

use serde_json::json;

use crate::doctor::machine;
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;

const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const MEMORY: &str = "/proc/meminfo";

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let count = |name: &str| machine::value(MEMORY, name).and_then(|text| text.parse::<u64>().ok());
    let (all, free) = (count("HugePages_Total"), count("HugePages_Free"));
    let told = machine::text(TRANSPARENT);
    let mode = told.as_deref().and_then(in_brackets);
    let facts = json!({ "set_aside": all, "free": free, "transparent": mode });
    let aside = format!("{} of {} set aside are free", free.unwrap_or(0), all.unwrap_or(0));
    let finding = match (free, mode) {
        (Some(1..), _) => Finding::good(format!("{aside}; the pools of buffers take them first")),
        (_, Some(mode @ ("always" | "madvise"))) => {
            Finding::good(format!("transparent ones are on ({mode}); {aside}"))
        }
        (_, mode) => {
            let mode = mode.unwrap_or("not there");
            Finding::note(format!(
                "transparent ones are {mode} and {aside}: buffers have small pages"
            ))
        }
    };
    vec![finding.facts(facts)]
}

/// The word that is chosen among several: `always [madvise] never`.
fn in_brackets(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_chosen_word_is_in_brackets() {
        assert_eq!(super::in_brackets("always [madvise] never"), Some("madvise"));
        assert_eq!(super::in_brackets("never"), None);
    }
}
