//! Processors for workers.

use serde_json::json;

use crate::doctor::machine;
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let workers = scene.options.workers;
    let online = machine::text("/sys/devices/system/cpu/online").as_deref().and_then(counted);
    // Less what an affinity or a quota of a control group (cpu.max) takes away.
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let facts = json!({ "online": online, "usable": usable, "workers": workers });
    let of = online.map_or(String::new(), |online| format!(" of {online}"));
    let says = format!("{usable}{of} processors may be used, by {workers} workers");
    let finding = if workers > usable {
        Finding::note(format!("{says}, which take turns then"))
    } else {
        Finding::good(says)
    };
    vec![finding.facts(facts)]
}

/// How many a list such as `0-3,8` has.
fn counted(list: &str) -> Option<u64> {
    let one = |part: &str| match part.split_once('-') {
        None => part.parse::<u64>().ok().map(|_| 1),
        Some((first, last)) => {
            last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
        }
    };
    list.split(',').map(one).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(super::counted("0"), Some(1));
        assert_eq!(super::counted("0-3,8,10-11"), Some(7));
        assert_eq!(super::counted("3-1"), None);
        assert_eq!(super::counted("all"), None);
    }
}
