//! Where a server stands: the directories that it has to reach while it serves.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is done beneath a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Files are read and directories listed.
    Read,
    /// Files are made, written, renamed and removed, too.
    Write,
    /// One file or device is written.
    WriteOne,
    /// Unix sockets are made and removed.
    Listen,
}

/// A path that may be used so, by what it was when that was allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) what: Use,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    pub(super) paths: Vec<(Use, PathBuf)>,
}

impl Ground {
    /// A directory that is served.
    pub fn serve(&mut self, root: &Path) {
        self.add(Use::Read, root.to_owned());
    }

    /// A directory that may be switched for another one beside it: what its path leads to is
    /// looked for beside the link and beside its target.
    pub fn follow(&mut self, root: &Path) {
        self.serve(root);
        let target = root.canonicalize().ok();
        for path in std::path::absolute(root).ok().iter().chain(&target) {
            if let Some(parent) = path.parent() {
                self.add(Use::Read, parent.to_owned());
            }
        }
    }

    /// A file that is read again, and may be replaced by another of its name.
    pub fn read_again(&mut self, file: &Path) {
        self.beside(Use::Read, file);
    }

    /// A directory in which files are made.
    pub fn store(&mut self, directory: &Path) {
        self.add(Use::Write, directory.to_owned());
    }

    /// A log: a file, which is made, archived and opened again, or a device or FIFO.
    pub fn log(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => self.add(Use::WriteOne, path.to_owned()),
            _ => self.beside(Use::Write, path),
        }
    }

    /// A device that is written.
    pub fn device(&mut self, path: PathBuf) {
        self.add(Use::WriteOne, path);
    }

    /// A unix socket that is made or removed.
    pub fn socket(&mut self, path: &Path) {
        self.beside(Use::Listen, path);
    }

    /// The directory of a file, of its name and of what its name leads to.
    fn beside(&mut self, what: Use, file: &Path) {
        // Names of descriptors and devices, such as /dev/stdout, are not made anew.
        let is_made = |path: &PathBuf| !["/dev", "/proc"].iter().any(|one| path.starts_with(one));
        let named = std::path::absolute(file).ok().filter(is_made);
        let target = file.canonicalize().ok();
        for path in named.iter().chain(&target) {
            if let Some(parent) = path.parent() {
                self.add(what, parent.to_owned());
            }
        }
    }

    fn add(&mut self, what: Use, path: PathBuf) {
        let one = (what, path);
        if !self.paths.contains(&one) {
            self.paths.push(one);
        }
    }

    /// The first of these files that what may be written could be put in the place of, and the
    /// directory that may be written.
    pub fn exposes<'a>(&self, files: impl Iterator<Item = &'a Path>) -> Option<(&'a Path, &Path)> {
        let written = self.paths.iter().filter(|(what, _)| *what == Use::Write);
        let written: Vec<_> =
            written.filter_map(|(_, path)| Some((path, path.canonicalize().ok()?))).collect();
        let mut exposed = files.filter_map(|file| {
            // A link on the way could be replaced, too, so each step of the name counts.
            let named = std::path::absolute(file).ok()?;
            let mut steps = named.ancestors().filter_map(|step| step.canonicalize().ok());
            let above =
                steps.find_map(|step| written.iter().find(|(_, place)| step.starts_with(place)));
            above.map(|(path, _)| (file, path.as_path()))
        });
        exposed.next()
    }

    /// Whether all of it lies in these places; else what does not.
    pub(super) fn is_within(&self, places: &[Place]) -> Result<(), PathBuf> {
        let outside = self.paths.iter().find(|(what, path)| !is_reached(*what, path, places));
        outside.map_or(Ok(()), |(_, path)| Err(path.clone()))
    }
}

/// Whether a path, or a directory above it, is one of the places. What is not there is no matter
/// of the sandbox.
fn is_reached(what: Use, path: &Path, places: &[Place]) -> bool {
    let Ok(path) = path.canonicalize() else { return true };
    path.ancestors().any(|above| {
        fs::metadata(above).is_ok_and(|facts| {
            places.iter().any(|place| {
                let fits = place.what == what || place.what == Use::Write && what != Use::Listen;
                fits && (place.device, place.inode) == (facts.dev(), facts.ino())
            })
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_exposed_by_what_is_written_above_it_and_by_nothing_beside() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for name in ["conf/log", "other/deep"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["conf/a.toml", "other/b.toml", "other/deep/c.toml"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink("../other/b.toml", at("conf/link.toml")).unwrap();
        std::os::unix::fs::symlink("../conf", at("other/deep/way")).unwrap();
        let exposed = |log: &str, file: &str| {
            let mut ground = Ground::default();
            ground.serve(scratch.path());
            ground.log(&at(log));
            ground.socket(&at("conf/socket"));
            ground.exposes([at(file).as_path()].into_iter()).is_some()
        };
        assert!(!exposed("conf/log/a.log", "conf/a.toml"));
        assert!(exposed("conf/a.log", "conf/a.toml"));
        assert!(exposed("other/a.log", "other/deep/c.toml"));
        assert!(!exposed("other/deep/a.log", "other/b.toml"));
        assert!(exposed("other/a.log", "conf/link.toml"), "what the link leads to");
        assert!(exposed("other/deep/a.log", "other/deep/way/a.toml"), "the link itself");
    }

    #[test]
    fn what_lies_beneath_a_place_is_reached_and_what_took_its_name_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let (www, other) = (scratch.path().join("www"), scratch.path().join("other"));
        fs::create_dir_all(www.join("deep")).unwrap();
        fs::create_dir(&other).unwrap();
        let facts = fs::metadata(&www).unwrap();
        let place = Place { what: Use::Read, device: facts.dev(), inode: facts.ino() };
        let within = |path: &Path| {
            let mut ground = Ground::default();
            ground.serve(path);
            ground.is_within(&[place])
        };
        assert_eq!(within(&www), Ok(()));
        assert_eq!(within(&www.join("deep")), Ok(()));
        assert_eq!(within(&other), Err(other.clone()));
        assert_eq!(within(scratch.path()), Err(scratch.path().to_owned()));
        fs::rename(&www, scratch.path().join("old")).unwrap();
        fs::rename(&other, &www).unwrap();
        assert_eq!(within(&www), Err(www.clone()));
        let mut logs = Ground::default();
        logs.log(&scratch.path().join("old/access.log"));
        assert!(logs.is_within(&[place]).is_err(), "it may be read, and not written");
    }
}
