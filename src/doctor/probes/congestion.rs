//! How TCP controls congestion.

use serde_json::json;

use crate::doctor::machine;
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;

const SYSCTL: &str = "/proc/sys/net/ipv4/tcp_";

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let told = machine::text(&format!("{SYSCTL}congestion_control"));
    let others = machine::text(&format!("{SYSCTL}available_congestion_control"));
    let facts = json!({ "in_use": told, "available": others });
    let others = others.unwrap_or_default();
    let finding = match told.as_deref() {
        Some("bbr") => Finding::good("bbr, which does well with clients far away"),
        Some(name) => Finding::good(format!(
            "{name}, which does well on a local network; there is {others}, and bbr does better \
             with clients far away"
        )),
        None => Finding::note("the kernel does not tell (no /proc/sys/net)")
            .remedy("nothing, or look at it outside of the container"),
    };
    vec![finding.facts(facts)]
}
