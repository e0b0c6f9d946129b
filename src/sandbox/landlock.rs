//! Landlock: what is not beneath a directory of the ground cannot be opened, by whatever path and
//! through whatever descriptor of a directory. What is open stays open.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::ground::{Ground, Place, Use};

/// The newest that is asked for (Linux 6.12); the kernel gives what it has. The next one adds to
/// what is logged alone, and later ones would forbid to speak to the service manager by its unix
/// socket.
const NEWEST: ABI = ABI::V6;

/// What each version holds that the one before does not, and what is free without it.
const HOLDS: [(u32, &str, &str); 4] = [
    (3, "6.2", "files that are open for writing elsewhere may be cut"),
    (4, "6.7", "connections may be made by TCP"),
    (5, "6.10", "devices may be asked for anything"),
    (6, "6.12", "signals may be sent to other processes of this user"),
];

/// Rules that hold once they are applied.
#[derive(Debug)]
pub(super) struct Rules {
    ruleset: RulesetCreated,
    places: Vec<Place>,
    /// What this user could not open; another may, as of a file system that knows no root.
    denied: Vec<(Use, PathBuf)>,
    /// What is free though it is held.
    free: Vec<String>,
}

/// What holds once they were applied.
#[derive(Debug)]
pub(super) struct Held {
    /// What may be reached.
    pub(super) places: Vec<Place>,
    /// What a server may do that it need not, or what it cannot reach: each with the reason.
    pub(super) free: Vec<String>,
}

/// Opens what the rules name, as the user who may.
/// `binds` says that sockets are bound later.
pub(super) fn prepare(ground: &Ground, binds: bool) -> Result<Rules, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let bind = if binds { BitFlags::empty() } else { AccessNet::BindTcp.into() };
    let ruleset = ruleset
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(bind | AccessNet::ConnectTcp))
        .and_then(|rules| rules.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(|error| said(&error))?;
    let mut rules = Rules { ruleset, places: Vec::new(), denied: Vec::new(), free: Vec::new() };
    for (what, path) in &ground.paths {
        if *what == Use::Write && path.parent().is_none() {
            return Err(
                "a file that is written (of the access log, or a mirrored body) lies in the \
                        directory '/', so all could be written; give it a directory of its own"
                    .to_owned(),
            );
        }
        if *what == Use::Read && path.parent().is_none() {
            rules.free.push(
                "everything may be read, since '/' is among the directories (root-follow \
                       reads what lies beside the root and its target)"
                    .to_owned(),
            );
        }
        rules = match rules.allow(*what, path)? {
            (rules, true) => rules,
            (mut rules, false) => {
                rules.denied.push((*what, path.clone()));
                rules
            }
        };
    }
    Ok(rules)
}

/// Whether an error says that a path leads to nothing; any other one, as of too few descriptors,
/// would leave out a place that is needed.
fn is_no_place(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
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
    /// Adds a place. False if this user may not open it.
    fn allow(mut self, what: Use, path: &Path) -> Result<(Self, bool), String> {
        let fd = match PathFd::new(path) {
            Ok(fd) => fd,
            // What is not there now is made by nobody.
            Err(PathFdError::OpenCall { source, .. }) if is_no_place(&source) => {
                return Ok((self, true));
            }
            Err(PathFdError::OpenCall { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                return Ok((self, false));
            }
            Err(error) => return Err(format!("'{}': {error}", path.display())),
        };
        let Ok(facts) = std::fs::metadata(path) else { return Ok((self, true)) };
        let mut access = rights(what);
        if !facts.is_dir() {
            access &= AccessFs::from_file(NEWEST);
            if is_nameless(path) {
                // A pipe or a socket of somebody else, by /dev/stdout or /proc: no rule is needed
                // for it, and the kernel takes none.
                return Ok((self, true));
            }
        }
        let ruleset = self.ruleset.add_rule(PathBeneath::new(fd, access));
        self.ruleset = ruleset.map_err(|error| format!("'{}': {error}", path.display()))?;
        self.places.push(Place { what, device: facts.dev(), inode: facts.ino() });
        Ok((self, true))
    }

    /// Holds the calling thread to them, and all that it starts.
    pub(super) fn apply(mut self) -> Result<Held, String> {
        let version = abi();
        // Now as the user that the process became.
        for (what, path) in std::mem::take(&mut self.denied) {
            let (rules, is_there) = self.allow(what, &path)?;
            self = rules;
            if !is_there {
                self.free.push(format!("'{}' cannot be reached by this user", path.display()));
            }
        }
        let status = self.ruleset.restrict_self().map_err(|error| error.to_string())?;
        if status.ruleset == RulesetStatus::NotEnforced {
            let why = "this kernel has no Landlock (Linux 5.13), or it is not among its lsm=";
            return Err(why.to_owned());
        }
        let lacks = HOLDS.iter().filter(|(since, ..)| version < *since);
        self.free
            .extend(lacks.map(|(_, release, what)| format!("{what} (before Linux {release})")));
        Ok(Held { places: self.places, free: self.free })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::skipped;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_has_no_name_needs_no_rule() {
        if abi() == 0 {
            return skipped("the rules of Landlock", "this kernel has none");
        }
        let scratch = tempfile::tempdir().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        let (pipe, _write) = std::io::pipe().unwrap();
        let mut ground = Ground::default();
        ground.serve(scratch.path());
        for fd in [socket.as_raw_fd(), pipe.as_raw_fd()] {
            ground.log(Path::new(&format!("/proc/self/fd/{fd}")));
        }
        ground.log(Path::new("/dev/null"));
        let rules = prepare(&ground, false).unwrap();
        let written = rules.places.iter().filter(|place| place.what == Use::WriteOne).count();
        assert_eq!((rules.places.len(), written), (2, 1), "the directory and the device");
    }
}
