//! Watching directories (inotify(7)), from the one that is served down.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat2, readlinkat};
use rustix::io::Errno;

use super::GivenUp;
use super::way::{Step, Walk, Way, walk};
use crate::limits::OPEN_TRIES_MAX;
use crate::ring::op::Watch;

/// Everything that changes what a name leads to. Changes of content are seen by statx of the
/// open file: other names of it may lie in directories that nobody watches.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

pub(super) fn watch(
    watcher: BorrowedFd<'_>,
    root: OwnedFd,
    way: &Way,
    given_up: &GivenUp,
) -> Result<Vec<Step>, Errno> {
    walk(way, root, &mut Watching { watcher, given_up })
}

struct Watching<'a> {
    watcher: BorrowedFd<'a>,
    given_up: &'a GivenUp,
}

impl Walk for Watching<'_> {
    type Directory = OwnedFd;

    fn open(&mut self, at: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        open(at, name, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    fn open_above(&mut self, at: &OwnedFd) -> Result<OwnedFd, Errno> {
        open(at, b"..", ResolveFlags::NO_SYMLINKS)
    }

    fn target(&mut self, at: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
        readlinkat(at, name, Vec::new()).map(CString::into_bytes)
    }

    fn watch(&mut self, directory: &OwnedFd) -> Option<Watch> {
        if !tells_all_changes(directory.as_fd()) {
            return None;
        }
        // inotify has no call that takes a descriptor.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        // NOSPC: the limit. NOENT: no /proc. ACCES: it may be searched and not read.
        inotify::add_watch(self.watcher, path, CHANGES).ok().map(Watch)
    }

    fn check(&self) -> Result<(), Errno> {
        self.given_up.check()
    }
}

fn open(at: &OwnedFd, name: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        match openat2(at, &name, flags, Mode::empty(), resolve) {
            // openat2(2): a rename raced with the walk.
            Err(Errno::AGAIN | Errno::INTR) if tries < OPEN_TRIES_MAX => tries += 1,
            opened => return opened,
        }
    }
}

/// Whether every change of a directory comes through this kernel's own file system, by the type
/// that statfs tells. A network file system is changed by others, and beneath an overlay or a
/// file system in user space there is one that nobody watches. What is not known is not trusted.
pub fn tells_all_changes(directory: BorrowedFd<'_>) -> bool {
    const LOCAL: [u32; 15] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x2fc1_2fc1, // zfs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x3153_464a, // jfs
        0xe0f5_e1e2, // erofs
        0x7371_7368, // squashfs
        0x9660,      // iso9660
        0x4d44,      // vfat
        0x2011_bab0, // exfat
        0x7366_746e, // ntfs3
    ];
    fstatfs(directory).is_ok_and(|told| LOCAL.contains(&(told.f_type as u32)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::base::skipped;
    use crate::limits::{LINK_HOPS_MAX, LINK_NAMES_MAX};
    use crate::ring::job::way::{End, Passed};

    struct Rig {
        directory: TempDir,
        watcher: OwnedFd,
    }

    impl Rig {
        /// Directories `a/b`, a file in each, and links; none where nothing can be watched.
        fn with(links: &[(&str, &str)]) -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            if !tells_all_changes(fs::File::open(directory.path()).unwrap().as_fd()) {
                skipped("watches", "the temporary directory is not on a local file system");
                return None;
            }
            fs::create_dir_all(directory.path().join("a/b")).unwrap();
            fs::write(directory.path().join("a/file"), "x").unwrap();
            fs::write(directory.path().join("a/b/file"), "x").unwrap();
            for (link, target) in links {
                symlink(target, directory.path().join(link)).unwrap();
            }
            let watcher = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
            Some(Self { directory, watcher })
        }

        fn steps(&self, way: &Way) -> Vec<Step> {
            let root = fs::File::open(self.directory.path()).unwrap().into();
            watch(self.watcher.as_fd(), root, way, &GivenUp::default()).unwrap()
        }

        /// The last step to a directory.
        fn last(&self, path: &str) -> Step {
            let path = path.as_bytes().into();
            self.steps(&Way { path, names: Vec::new(), follow_links: true }).pop().unwrap()
        }

        /// The step of names in a directory.
        fn names(&self, path: &str, names: &[&str]) -> Step {
            let names = names.iter().map(|name| name.as_bytes().into()).collect();
            let path = path.as_bytes().into();
            self.steps(&Way { path, names, follow_links: true }).pop().unwrap()
        }

        fn watch(&self, path: &str) -> Watch {
            match self.last(path).end {
                End::Watched(watch) => watch,
                end => panic!("{path}: {end:?}"),
            }
        }
    }

    fn passed(names: &[(Watch, &str)]) -> Vec<Passed> {
        names.iter().map(|(watch, name)| (*watch, name.as_bytes().into())).collect()
    }

    #[test]
    fn the_way_is_watched_as_far_as_it_goes() {
        let Some(rig) = Rig::with(&[("link", "a")]) else { return };
        let ends = |path: &str| {
            let way = Way { path: path.as_bytes().into(), ..Way::default() };
            let steps = rig.steps(&way);
            assert!(steps.iter().all(|step| step.passed.is_empty()), "{steps:?}");
            steps.iter().map(|step| step.end).collect::<Vec<_>>()
        };
        let all = ends("a/b");
        assert!(
            matches!(all[..], [End::Watched(a), End::Watched(b), End::Watched(c)]
            if a != b && b != c),
            "{all:?}"
        );
        assert_eq!(ends(""), all[..1], "the same directory has the same number");
        assert_eq!(ends("a/none/c")[1..], [all[1], End::Absent]);
        assert_eq!(ends("a/file/c")[1..], [all[1], End::Absent]);
        assert_eq!(ends("link/b")[1..], [End::Absent], "links are not followed");
    }

    #[test]
    fn links_on_the_way_are_told_with_all_names_that_they_lead_through() {
        let links = [
            ("link", "a/b"),
            ("chain", "./link/"),
            ("a/up", "../a/./b"),
            ("a/here", "."),
            ("top", "a/.."),
            ("gone", "a/none/deep"),
            ("through", "a/file/x"),
        ];
        let Some(rig) = Rig::with(&links) else { return };
        let (root, a, b) = (rig.watch(""), rig.watch("a"), rig.watch("a/b"));
        let to = |watch, names: &[_]| Step { end: End::Watched(watch), passed: passed(names) };
        assert_eq!(rig.last("link"), to(b, &[(root, "link"), (root, "a"), (a, "b")]));
        let chain = [(root, "chain"), (root, "."), (root, "link"), (root, "a"), (a, "b"), (b, "")];
        assert_eq!(rig.last("chain"), to(b, &chain));
        let up = [(a, "up"), (a, ".."), (root, "a"), (a, "."), (a, "b")];
        assert_eq!(rig.last("a/up"), to(b, &up));
        assert_eq!(rig.last("a/here"), to(a, &[(a, "here"), (a, ".")]));
        assert_eq!(rig.last("top"), to(root, &[(root, "top"), (root, "a"), (a, "..")]));
        let gone =
            Step { end: End::Absent, passed: passed(&[(root, "gone"), (root, "a"), (a, "none")]) };
        assert_eq!(rig.last("gone"), gone);
        assert_eq!(rig.last("gone/further"), gone);
        assert_eq!(rig.last("through").end, End::Absent);
        // The way goes on in what they lead to.
        assert_eq!(rig.last("top/a/up"), to(b, &up));
        assert_eq!(rig.last("top/a/here/b"), Step::plain(End::Watched(b)));
        assert_eq!(rig.last("link/none"), Step::plain(End::Absent));
    }

    #[test]
    fn links_that_lead_nowhere_beneath_the_directory_are_told_with_what_decides_that() {
        let links = [
            ("out", ".."),
            ("a/out", "../.."),
            ("a/far", "b/../../../etc"),
            ("absolute", "/etc"),
            ("by", "absolute"),
            ("round", "round"),
            ("one", "other"),
            ("other", "one"),
        ];
        let Some(rig) = Rig::with(&links) else { return };
        for path in ["out", "a/out", "a/far", "absolute", "by", "round", "one", "other"] {
            assert_eq!(rig.last(path).end, End::Absent, "{path}");
            assert_eq!(rig.last(&format!("{path}/b")), rig.last(path), "{path}/b");
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            assert_eq!(rig.names(directory, &[name]).end, End::Named, "the name {path}");
        }
        let (root, a, b) = (rig.watch(""), rig.watch("a"), rig.watch("a/b"));
        assert_eq!(rig.last("by").passed, passed(&[(root, "by"), (root, "absolute")]));
        assert_eq!(rig.last("one").passed, passed(&[(root, "one"), (root, "other")]));
        let far = [(a, "far"), (a, "b"), (b, ".."), (a, ".."), (root, "..")];
        assert_eq!(rig.last("a/far").passed, passed(&far));
        let at = |path: &str| rig.directory.path().join(path);
        for number in 0..LINK_HOPS_MAX {
            symlink(format!("l{number}"), at(&format!("l{}", number + 1))).unwrap();
        }
        fs::create_dir(at("l0")).unwrap();
        assert_eq!(rig.last(&format!("l{LINK_HOPS_MAX}")).end, rig.last("l0").end);
        symlink(format!("l{LINK_HOPS_MAX}"), at("more")).unwrap();
        assert_eq!(rig.last("more").end, End::Absent);
        let deep = "d/".repeat(LINK_NAMES_MAX);
        fs::create_dir_all(at(&deep)).unwrap();
        symlink(&deep, at("deep")).unwrap();
        let told = rig.last("deep");
        assert_eq!(told.end, End::Unwatchable);
        assert_eq!(told.passed.len(), LINK_NAMES_MAX + 1, "each is told, to be watched no longer");
        assert!(matches!(rig.last(&deep).end, End::Watched(_)), "without links it is");
    }

    #[test]
    fn a_name_that_is_a_link_is_told_with_its_neighbours() {
        let links = [
            ("name", "a/file"),
            ("name.br", "link/file.br"),
            ("link", "a/b"),
            ("slash", "a/file/"),
            ("up", "a/../other"),
            ("to", "a/b"),
        ];
        let Some(rig) = Rig::with(&links) else { return };
        let (root, a, b) = (rig.watch(""), rig.watch("a"), rig.watch("a/b"));
        let named = |names: &[_]| Step { end: End::Named, passed: passed(names) };
        let all = [
            (root, "name"),
            (root, "name.br"),
            (root, "name.gz"),
            (root, "a"),
            (a, "file"),
            (root, "link"),
            (a, "b"),
            (b, "file.br"),
        ];
        assert_eq!(rig.names("", &["name", "name.br", "name.gz"]), named(&all));
        assert_eq!(rig.names("", &["none"]), named(&[(root, "none")]));
        assert_eq!(rig.names("a", &["file"]), named(&[(a, "file")]));
        let slash = [(root, "slash"), (root, "a"), (a, "file")];
        assert_eq!(rig.names("", &["slash"]), named(&slash));
        let up = [(root, "up"), (root, "a"), (a, ".."), (root, "other")];
        assert_eq!(rig.names("", &["up"]), named(&up));
        assert_eq!(rig.names("", &["to"]), named(&[(root, "to"), (root, "a"), (a, "b")]));
        let told = rig.names("link", &["file"]);
        assert_eq!(told, named(&[(b, "file")]), "the directory may be come to by a link");
        assert_eq!(rig.names("none", &["file"]).end, End::Absent);
    }
}
