//! What is said of a check that cannot run here; unit tests say it, too.

/// Says that a check did not run and why. Where a build service runs the tests (`CI` is set), a
/// gate that did not run is a failure.
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
    let on_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!on_ci, "SKIPPED {what}: {why} (CI is set, so this is a failure)");
}
