//! Whether io_uring is there, what it can do, and exactly what keeps it away.

use io_uring::{IoUring, Probe};
use serde_json::json;

use crate::doctor::machine;
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::engines::Kind;
use crate::ring::{OPERATIONS, Setup, Uring};
use crate::sys::probe::{self, Blocked};

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let finding = match probe::io_uring() {
        Err(blocked) => forbidden(&blocked),
        Ok(()) => match Uring::new() {
            Err(fault) => forbidden(&probe::explain(&fault.0)),
            Ok(ring) => there(ring.setup()),
        },
    };
    vec![finding]
}

fn there(setup: Setup) -> Finding {
    let (missing, features) = match ask() {
        Ok(told) => told,
        // The ring works, and what it knows is not told: a filter, or a kernel before 5.6.
        Err(error) => {
            return Finding::note(format!(
                "a ring works, with {} completions, and does not tell what it knows: {error}",
                setup.name()
            ))
            .facts(json!({ "setup": setup.name() }));
        }
    };
    let facts = json!({
        "setup": setup.name(),
        "features": features,
        "operations": OPERATIONS.len() - missing.len(),
        "missing": missing,
    });
    let (all, name) = (OPERATIONS.len(), setup.name());
    let features = features.join(", ");
    let finding = if !missing.is_empty() {
        let missing = missing.join(", ");
        Finding::blocking(Kind::ALL, format!("a ring works and lacks operations: {missing}"))
            .remedy("run Linux 6.1 or newer, or allow these operations (io_uring restrictions)")
    } else if setup != Setup::Deferred {
        Finding::note(format!(
            "a ring works, with {name} completions, so each request costs more; all {all} \
             operations are there"
        ))
        .remedy("run Linux 6.1 or newer, which has deferred completions")
    } else {
        Finding::good(format!(
            "a ring works, with {name} completions, all {all} operations, and {features}"
        ))
    };
    finding.facts(facts)
}

/// The operations that are missing, and the features that there are.
fn ask() -> std::io::Result<(Vec<String>, Vec<&'static str>)> {
    let ring = IoUring::new(2)?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known)?;
    let missing = OPERATIONS.iter().filter(|(_, code, _)| !known.is_supported(*code));
    let missing = missing.map(|(name, _, since)| format!("{name} (Linux {since})")).collect();
    let told = ring.params();
    let features = [
        ("single_mmap", told.is_feature_single_mmap()),
        ("nodrop", told.is_feature_nodrop()),
        ("submit_stable", told.is_feature_submit_stable()),
        ("fast_poll", told.is_feature_fast_poll()),
        ("ext_arg", told.is_feature_ext_arg()),
        ("native_workers", told.is_feature_native_workers()),
        ("resource_tagging", told.is_feature_resource_tagging()),
        ("linked_file", told.is_feature_linked_file()),
        ("recvsend_bundle", told.is_feature_recvsend_bundle()),
        ("min_timeout", told.is_feature_min_timeout()),
    ];
    let there = features.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
    Ok((missing, there.collect()))
}

fn forbidden(blocked: &Blocked) -> Finding {
    let filtered = machine::is_filtered();
    let (cause, says) = (cause(blocked), said(blocked, filtered));
    let remedy = blocked.remedy();
    Finding::blocking(Kind::ALL, says).remedy(remedy).facts(json!({
        "blocker": cause,
        "seccomp": filtered,
        "io_uring_disabled": machine::number("/proc/sys/kernel/io_uring_disabled"),
    }))
}

/// The one word for what blocks it.
fn cause(blocked: &Blocked) -> &'static str {
    match blocked {
        Blocked::KernelTooOld(_) => "kernel",
        Blocked::NotThere(_) => "not_there",
        Blocked::Disabled | Blocked::DisabledUnprivileged { .. } => "sysctl",
        Blocked::Filtered => "seccomp",
        Blocked::Memory => "memlock",
        Blocked::Descriptors => "descriptors",
        Blocked::Other(_) => "other",
    }
}

/// What blocks it, as exact as this process can know.
fn said(blocked: &Blocked, filtered: Option<bool>) -> String {
    let text = blocked.cause();
    match (blocked, filtered) {
        (Blocked::Filtered, Some(true)) => "forbidden by a seccomp filter of this process, or by \
             a security module beside it; no sysctl forbids it"
            .to_owned(),
        (Blocked::Filtered, Some(false)) => "forbidden by a security module (SELinux, AppArmor): \
             neither a sysctl nor a seccomp filter does"
            .to_owned(),
        (Blocked::NotThere(release), Some(true)) => format!(
            "kernel {release} answers that it has none, and this process has a seccomp filter, \
             which may answer in its place"
        ),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::skipped;

    #[test]
    fn the_blocker_is_said_as_exactly_as_it_can_be_known() {
        assert!(said(&Blocked::Filtered, Some(true)).contains("seccomp filter of this process"));
        assert!(said(&Blocked::Filtered, Some(false)).contains("security module (SELinux"));
        assert!(said(&Blocked::Filtered, None).contains("a seccomp filter or a security module"));
        let hidden = Blocked::NotThere("6.9".to_owned());
        assert!(said(&hidden, Some(true)).contains("may answer in its place"));
        let finding = forbidden(&Blocked::Disabled);
        assert_eq!(finding.blocks, Kind::ALL);
        assert_eq!(finding.facts["blocker"], "sysctl");
        let remedy = finding.remedy.expect("what is forbidden has a remedy");
        assert!(remedy.contains("sysctl -w kernel.io_uring_disabled=0"), "{remedy}");
    }

    #[test]
    fn a_ring_that_lacks_nothing_is_good_and_an_old_way_to_set_it_up_is_noted() {
        if probe::io_uring().is_err() {
            return skipped("what a ring can do", "no io_uring here");
        }
        assert!(there(Setup::Deferred).facts["operations"].as_u64().is_some_and(|n| n > 10));
        let plain = there(Setup::Plain);
        assert!(plain.says.contains("plain completions") || !plain.blocks.is_empty());
    }
}
