//! Which engines can run here, and which of them `auto` would choose.

use super::Options;
use super::report::{EngineRow, Finding, Picked};
use super::scene::{Place, Scene};
use crate::engines::{Facts, Kind, choose};

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
        .flat_map(|place| {
            SIZES.into_iter().flat_map(|bytes| row(scene.options, place, bytes, findings))
        })
        .collect()
}

fn row(options: &Options, place: &Place, bytes: u64, findings: &[Finding]) -> Vec<Picked> {
    let here = || {
        let mount = |one: &&Finding| one.mount.as_ref().is_none_or(|mount| *mount == place.path);
        findings.iter().filter(mount)
    };
    let blocked = |kind: Kind| here().any(|one| one.blocks.contains(&kind));
    let fact = |name: &str| here().any(|one| one.probe == "file_system" && one.facts[name] == true);
    // Where all is in memory nothing is ever cold.
    let cases: &[bool] = if place.is_memory() { &[true] } else { &[true, false] };
    let picked = cases.iter().map(|&in_memory| {
        let facts = Facts {
            count: bytes,
            resident: Some(in_memory),
            may_block: fact("may_block"),
            direct: !blocked(Kind::Direct),
            ..Facts::default()
        };
        let (engine, reason) = match blocked(Kind::Uring) {
            true => (None, "no_io_uring"),
            false => {
                let choice = choose(&facts, &options.thresholds);
                (Some(choice.kind.name()), choice.why.name())
            }
        };
        Picked { mount: place.path.clone(), bytes, in_memory, engine, reason }
    });
    picked.collect()
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
}
