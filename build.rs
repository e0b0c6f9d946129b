//! Hands the commit to `--version` when this is a checkout of the repository itself.
//!
//! Nothing is written into the tree, and without git, or from an archive, the version has no
//! commit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let suffix = commit().map_or(String::new(), |commit| format!(" ({commit})"));
    println!("cargo::rustc-env=VERSION_SUFFIX={suffix}");
}

fn commit() -> Option<String> {
    // An archive that was unpacked inside another checkout must not bear its commit.
    let top = std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if top != std::fs::canonicalize(std::env::var_os("CARGO_MANIFEST_DIR")?).ok()? {
        return None;
    }
    // HEAD changes with the branch; its log changes with every commit, too. A path that does
    // not exist would make every build run this again.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
