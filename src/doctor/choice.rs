//! Which engines can run here, and which of them `auto` would choose.

use super::report::{EngineRow, Finding, Picked};
use super::scene::{Place, Scene};
use crate::engines::Kind;

/// Sizes that are told, in bytes: a page, a picture, a release, a film.
const SIZES: [u64; 4] = [4 << 10, 64 << 10, 1 << 20, 1 << 30];

/// Every engine: it runs if nothing that was found blocks it.
pub(super) fn engines(findings: &[Finding]) -> Vec<EngineRow> {
    let row = |kind: Kind| {
        let why = findings.iter().find(|finding| finding.blocks.contains(&kind));
        let said = |finding: &Finding| match &finding.mount {
            Some(mount) => format!("{} at {mount}: {}", finding.probe, finding.says),
            None => format!("{}: {}", finding.probe, finding.says),
        };
        EngineRow {
            engine: kind.name(),
            runs: why.is_none(),
            says: why.map_or_else(|| kind.help().to_owned(), said),
        }
    };
    Kind::ALL.into_iter().map(row).collect()
}

/// What `auto` does on each mount.
pub(super) fn table(scene: &Scene<'_>, findings: &[Finding]) -> Vec<Picked> {
    let places = scene.places.iter();
    places
        .flat_map(|place| SIZES.into_iter().flat_map(|bytes| row(place, bytes, findings)))
        .collect()
}

fn row(place: &Place, bytes: u64, findings: &[Finding]) -> Vec<Picked> {
    let here = || {
        let mount = |one: &&Finding| one.mount.as_ref().is_none_or(|mount| *mount == place.path);
        findings.iter().filter(mount)
    };
    let blocked = |kind: Kind| here().any(|one| one.blocks.contains(&kind));
    let fact = |name: &str| here().any(|one| one.probe == "file_system" && one.facts[name] == true);
    // Where all is in memory nothing is ever cold.
    let cases: &[bool] = if place.is_memory() { &[true] } else { &[true, false] };
    let picked = cases.iter().map(|&in_memory| {
        let known = Known {
            bytes,
            in_memory,
            may_block: fact("may_block"),
            direct: !blocked(Kind::Direct),
        };
        let (engine, reason) = match blocked(Kind::Uring) {
            true => (None, "no_io_uring"),
            false => {
                let (kind, reason) = choose(&known);
                (Some(kind.name()), reason)
            }
        };
        Picked { mount: place.path.clone(), bytes, in_memory, engine, reason }
    });
    picked.collect()
}

/// What is known of a body before its first byte.
struct Known {
    bytes: u64,
    in_memory: bool,
    may_block: bool,
    direct: bool,
}

/// Up to here a read and a send of the ring cost no more than sendfile(2), in bytes.
const SMALL: u64 = 16 << 10;

/// From here on a cold body is read past the page cache, in bytes: it would push out of there what
/// others ask for.
const LARGE: u64 = 1 << 20;

/// The engine for a body, and why.
fn choose(known: &Known) -> (Kind, &'static str) {
    match known {
        Known { in_memory: false, may_block: true, .. } => (Kind::Uring, "may_block"),
        Known { in_memory: false, direct: true, bytes, .. } if *bytes >= LARGE => {
            (Kind::Direct, "cold")
        }
        Known { in_memory: false, .. } => (Kind::Uring, "cold"),
        Known { bytes, .. } if *bytes <= SMALL => (Kind::Uring, "small"),
        _ => (Kind::Sendfile, "resident"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_blocked_does_not_run_and_says_why() {
        let found =
            [Finding { probe: "direct", ..Finding::blocking([Kind::Direct], "refused") }
                .at("/srv")];
        for row in engines(&found) {
            assert_eq!(row.runs, row.engine != "direct", "{row:?}");
            if !row.runs {
                assert_eq!(row.says, "direct at /srv: refused");
            }
        }
    }

    #[test]
    fn what_is_chosen_goes_by_size_and_by_what_the_mount_allows() {
        let known = |bytes, in_memory, may_block, direct| {
            choose(&Known { bytes, in_memory, may_block, direct })
        };
        assert_eq!(known(4 << 10, true, false, true), (Kind::Uring, "small"));
        assert_eq!(known(1 << 20, true, true, true), (Kind::Sendfile, "resident"));
        assert_eq!(known(1 << 20, false, false, true), (Kind::Direct, "cold"));
        assert_eq!(known(1 << 20, false, false, false), (Kind::Uring, "cold"));
        assert_eq!(known(1 << 30, false, true, true), (Kind::Uring, "may_block"));
    }
}
