//! The release of the kernel.

use serde_json::json;

use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::engines::Kind;
use crate::sys::probe::{KERNEL_MIN, version};

pub(in crate::doctor) fn look(_: &Scene<'_>) -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (major, minor) = KERNEL_MIN;
    let finding = match version(&release) {
        Some(version) if version < KERNEL_MIN => {
            Finding::blocking(Kind::ALL, format!("Linux {release} is older than {major}.{minor}"))
        }
        Some(_) => Finding::good(format!("Linux {release}; {major}.{minor} or newer is needed")),
        None => Finding::note(format!("'{release}' is no release that is known")),
    };
    vec![finding.facts(json!({ "release": release }))]
}
