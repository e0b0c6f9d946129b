//! What the server can give up once it listens.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::ring::Uring;
use crate::sandbox;

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let landlock = sandbox::landlock_abi();
    let seccomp = sandbox::has_seccomp();
    // Without any ring the row of io_uring says why.
    let rings = Uring::new().is_ok_and(|ring| ring.unrestricted().is_none());
    let missing =
        [("Landlock", landlock > 0), ("seccomp", seccomp), ("restrictions of rings", rings)];
    let missing: Vec<_> =
        missing.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    let finding = if missing.is_empty() {
        Finding::good(format!(
            "Landlock (ABI {landlock}), seccomp and restrictions of rings are there"
        ))
    } else {
        Finding::note(format!(
            "not there: {}; the server starts without and says so; with sandbox = \"on\" it does \
             not start",
            missing.join(", ")
        ))
    };
    vec![finding.facts(json!({ "landlock": landlock, "seccomp": seccomp, "rings": rings }))]
}
