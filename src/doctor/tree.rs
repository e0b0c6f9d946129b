//! The names beneath the root, walked through once, within bounds.

use std::fs::{self, DirEntry, FileType, Metadata};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags, accessat, openat2};
use rustix::io::Errno;

use super::Options;
use super::scene::Place;
use crate::limits::{DOCTOR_ENTRIES_MAX, DOCTOR_NAMED_MAX, OPEN_TRIES_MAX};
use crate::sys::Root;

/// What the names beneath the root are.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Whether there is more than was looked at.
    pub cut: bool,
    pub absolute: Named,
    pub leaving: Named,
    pub dangling: Named,
    pub stale: Named,
    pub unreadable: Named,
}

/// Names of one kind: how many there are, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub count: u64,
    pub first: Vec<String>,
}

impl Named {
    fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.first.len() < DOCTOR_NAMED_MAX {
            // A name may hold anything; what is printed is one line.
            self.first.push(path.display().to_string().escape_debug().to_string());
        }
    }

    /// The names in one line, and how many more there are.
    pub(super) fn list(&self) -> String {
        let more = self.count - self.first.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", self.first.join(", "))
    }
}

/// The endings of precompressed neighbours.
const CODINGS: [&str; 3] = ["br", "zst", "gz"];

/// Walks from the root down, and finds a file to read on each mount. Links are looked at and not
/// followed.
pub(super) fn walk(options: &Options, root: &Root, places: &mut [Place]) -> Tree {
    let mut walk = Walk { options, root, places, tree: Tree::default() };
    let mut left = vec![PathBuf::new()];
    let mut entries = 0;
    while let Some(directory) = left.pop() {
        walk.tree.directories += 1;
        let Ok(listed) = fs::read_dir(root.path().join(&directory)) else {
            walk.tree.unreadable.add(&directory.join(""));
            continue;
        };
        for entry in listed.flatten() {
            if entries == DOCTOR_ENTRIES_MAX {
                walk.tree.cut = true;
                return walk.tree;
            }
            entries += 1;
            let Ok(kind) = entry.file_type() else { continue };
            if let Some(below) = walk.entry(&directory, &entry, kind) {
                left.push(below);
            }
        }
    }
    walk.tree
}

struct Walk<'a> {
    options: &'a Options,
    root: &'a Root,
    places: &'a mut [Place],
    tree: Tree,
}

impl Walk<'_> {
    /// Looks at one entry; a directory is walked through later.
    fn entry(&mut self, above: &Path, entry: &DirEntry, kind: FileType) -> Option<PathBuf> {
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".") && name != ".well-known";
        if hidden && !self.options.dotfiles {
            return None;
        }
        let path = above.join(name);
        if kind.is_dir() {
            return Some(path);
        }
        if kind.is_symlink() {
            self.link(&path, entry);
        } else if kind.is_file() {
            self.file(&path, entry);
        }
        None
    }

    fn link(&mut self, path: &Path, entry: &DirEntry) {
        self.tree.links += 1;
        let Ok(target) = fs::read_link(entry.path()) else { return };
        if target.is_absolute() {
            return self.tree.absolute.add(path);
        }
        match self.resolve(path) {
            Err(Errno::XDEV) => self.tree.leaving.add(path),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.tree.dangling.add(path),
            _ => {}
        }
    }

    /// Opens a name as the server does, as far as it is found.
    fn resolve(&self, path: &Path) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut tries = 0;
        loop {
            match openat2(self.root, path, flags, Mode::empty(), ResolveFlags::BENEATH) {
                // openat2(2): a rename raced with the walk.
                Err(Errno::AGAIN | Errno::INTR) if tries < OPEN_TRIES_MAX => tries += 1,
                opened => return opened.map(drop),
            }
        }
    }

    fn file(&mut self, path: &Path, entry: &DirEntry) {
        self.tree.files += 1;
        let whole = self.root.path().join(path);
        if accessat(CWD, &whole, Access::READ_OK, AtFlags::EACCESS) == Err(Errno::ACCESS) {
            return self.tree.unreadable.add(path);
        }
        let Ok(facts) = entry.metadata() else { return };
        if facts.len() > 0 {
            self.sample(path);
        }
        if is_stale(&whole, &facts) {
            self.tree.stale.add(path);
        }
    }

    /// Keeps the first file of the mount that it lies on.
    fn sample(&mut self, path: &Path) {
        let above = self.places.iter_mut().filter(|place| path.starts_with(&place.beneath));
        let place = above.max_by_key(|place| place.beneath.as_os_str().len());
        if let Some(place) = place
            && place.sample.is_none()
        {
            place.sample = Some(path.to_owned());
        }
    }
}

/// Whether it is the precompressed neighbour of a file that was changed after it.
fn is_stale(path: &Path, facts: &Metadata) -> bool {
    let coded = path.extension().is_some_and(|end| CODINGS.iter().any(|coding| end == *coding));
    if !coded {
        return false;
    }
    let Ok(original) = fs::symlink_metadata(path.with_extension("")) else { return false };
    let times = (original.modified(), facts.modified());
    original.is_file() && matches!(times, (Ok(original), Ok(variant)) if variant < original)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::doctor::scene::Scene;

    fn options(root: &Path) -> Options {
        Options { root: root.to_owned(), symlinks: true, ..Options::default() }
    }

    #[test]
    fn links_and_stale_variants_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/page.html"), "new").unwrap();
        fs::write(at("a/page.html.gz"), "old").unwrap();
        fs::write(at("a/page.html.br"), "made later").unwrap();
        fs::write(at("only.gz"), "an archive").unwrap();
        let earlier = SystemTime::now() - Duration::from_secs(100);
        fs::File::open(at("a/page.html.gz")).unwrap().set_modified(earlier).unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        fs::File::open(at("a/page.html.br")).unwrap().set_modified(later).unwrap();
        symlink("page.html", at("a/good.html")).unwrap();
        symlink(at("a/page.html"), at("absolute.html")).unwrap();
        symlink("../../..", at("a/out")).unwrap();
        symlink("nothing", at("a/b/dangling")).unwrap();
        symlink("round", at("round")).unwrap();
        symlink("/etc", at(".hidden")).unwrap();
        let options = options(directory.path());
        let root = Root::open(directory.path()).unwrap();
        let scene = Scene::look(&options, &root);
        let tree = &scene.tree;
        assert_eq!((tree.files, tree.directories, tree.links), (4, 3, 5));
        assert_eq!(tree.absolute.list(), "absolute.html");
        assert_eq!(tree.leaving.list(), "a/out");
        assert_eq!(tree.stale.list(), "a/page.html.gz");
        let mut dangling = tree.dangling.first.clone();
        dangling.sort();
        assert_eq!(dangling, ["a/b/dangling", "round"]);
        assert!(!tree.cut && scene.places[0].sample.is_some());
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        let mut named = Named::default();
        for index in 0..DOCTOR_NAMED_MAX + 3 {
            named.add(Path::new(&format!("{index}\n")));
        }
        assert!(named.list().ends_with(" and 3 more") && named.list().starts_with("0\\n, 1\\n"));
    }
}
