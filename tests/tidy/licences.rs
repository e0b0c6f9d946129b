//! Under which licences the packages stand that this one is built and tested with.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::skip::skipped;

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
    "NCSA",
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

/// The packages of a manifest, each with its licence, or why they cannot be known.
fn packages(manifest: &Path) -> Result<Vec<(String, String)>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let told: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or("none").to_owned();
    let packages = told["packages"].as_array().expect("it tells the packages").iter();
    Ok(packages.map(|one| (text(one, "name"), text(one, "license"))).collect())
}

fn check(packages: Vec<(String, String)>) {
    assert!(packages.len() > 20, "{} packages", packages.len());
    let wrong: Vec<_> = packages.into_iter().filter(|(_, licence)| !is_met(licence)).collect();
    assert!(wrong.is_empty(), "licences that are not in the list: {wrong:#?}");
}

#[test]
fn every_package_has_a_licence_that_is_allowed() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    check(packages(&manifest).unwrap_or_else(|why| panic!("{why}")));
}

/// Nobody who builds the server has what the fuzz targets are built with, so it may have to be
/// fetched.
#[test]
fn every_package_of_the_fuzz_targets_has_a_licence_that_is_allowed() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/Cargo.toml");
    match packages(&manifest) {
        Ok(packages) => {
            assert!(packages.iter().any(|(name, _)| name == "libfuzzer-sys"), "{packages:?}");
            check(packages);
        }
        Err(why) => skipped("the licences of the fuzz targets", &why),
    }
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
