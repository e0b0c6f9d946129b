//! Landlock: what is not beneath a directory of the ground cannot be opened, by whatever path and
//! through whatever descriptor of a directory. What is open stays open.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::ground::{Ground, Place, Use};

/// The newest that is asked for; the kernel gives what it has. Later ones would forbid to speak to
/// the service manager by its unix socket.
const NEWEST: ABI = ABI::V7;

/// Rules that hold once they are applied.
#[derive(Debug)]
pub(super) struct Rules {
    ruleset: RulesetCreated,
    places: Vec<Place>,
}

/// Opens what the rules name, as the user who may.
pub(super) fn prepare(ground: &Ground) -> Result<Rules, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let mut ruleset = ruleset
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::ConnectTcp))
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(|error| said(&error))?;
    let mut places = Vec::new();
    for (what, path) in &ground.paths {
        if *what == Use::Write && path.parent().is_none() {
            return Err("the access log lies in the directory '/', so all could be written; \
                        give it a directory of its own"
                .to_owned());
        }
        // What is not there now is made by nobody, or is no place for this process.
        let Ok(fd) = PathFd::new(path) else { continue };
        let Ok(facts) = std::fs::metadata(path) else { continue };
        let mut access = rights(*what);
        if !facts.is_dir() {
            access &= AccessFs::from_file(NEWEST);
        }
        if !facts.is_dir() && facts.file_type().is_fifo() && is_nameless(path) {
            // A pipe of somebody else, by /dev/stdout or /proc: no rule is needed for it.
            continue;
        }
        ruleset = match ruleset.add_rule(PathBeneath::new(fd, access)) {
            Ok(ruleset) => ruleset,
            Err(error) => return Err(format!("'{}': {error}", path.display())),
        };
        places.push(Place { what: *what, device: facts.dev(), inode: facts.ino() });
    }
    Ok(Rules { ruleset, places })
}

/// Whether what a path leads to has no name in a directory.
fn is_nameless(path: &Path) -> bool {
    path.canonicalize().is_err()
}

fn rights(what: Use) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match what {
        Use::Read => read,
        Use::Write => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::RemoveFile
                | AccessFs::Refer
        }
        Use::WriteOne => AccessFs::ReadFile | AccessFs::WriteFile,
        Use::Listen => AccessFs::MakeSock | AccessFs::RemoveFile,
    }
}

impl Rules {
    /// Holds the calling thread to them, and all that it starts. What may be reached then.
    pub(super) fn apply(self) -> Result<Vec<Place>, String> {
        let status = self.ruleset.restrict_self().map_err(|error| error.to_string())?;
        match status.ruleset {
            RulesetStatus::NotEnforced => {
                Err("this kernel has no Landlock (Linux 5.13), or it is \
                                               not among its lsm="
                    .to_owned())
            }
            _ => Ok(self.places),
        }
    }
}

/// The version of Landlock that this kernel has, up to the newest that is asked for; 0 without it.
pub fn abi() -> u32 {
    let all = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6];
    let there = |abi: &ABI| {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let mut rules = rules.handle_access(AccessFs::from_all(*abi));
        if *abi >= ABI::V4 {
            rules = rules.and_then(|rules| rules.handle_access(AccessNet::ConnectTcp));
        }
        if *abi >= ABI::V6 {
            rules = rules.and_then(|rules| rules.scope(Scope::Signal));
        }
        rules.and_then(Ruleset::create).is_ok()
    };
    let newest = all.into_iter().rev().find(there);
    newest.map_or(0, |abi| abi as u32)
}
