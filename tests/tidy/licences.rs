//! Under which licences the packages stand that this one is built and tested with.

use std::process::Command;

use serde_json::Value;

/// Those that allow to use, change and pass on with no more than their own text kept.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression can be met by these alone: one of several, or each of several.
fn is_met(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ");
    let mut all = plain.split(" AND ");
    all.all(|part| {
        let part = part.trim_matches(['(', ')', ' ']);
        part.split(" OR ").any(|one| ALLOWED.contains(&one.trim()))
    })
}

#[test]
fn every_package_has_a_licence_that_is_allowed() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = told["packages"].as_array().unwrap();
    assert!(packages.len() > 20, "{} packages", packages.len());
    let wrong: Vec<_> = packages
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["license"].as_str().unwrap_or("none")))
        .filter(|(_, licence)| !is_met(licence))
        .collect();
    assert!(wrong.is_empty(), "licences that are not in the list: {wrong:#?}");
}

#[test]
fn a_licence_that_is_not_allowed_is_seen() {
    for met in ["MIT", "MIT/Apache-2.0", "(MIT OR GPL-3.0) AND Unicode-3.0"] {
        assert!(is_met(met), "{met}");
    }
    for not in ["GPL-3.0", "none", "MIT AND GPL-2.0", "AGPL-3.0 OR SSPL-1.0", ""] {
        assert!(!is_met(not), "{not}");
    }
}
