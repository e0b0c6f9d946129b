//! What the probes look at: the options, the mounts and the names beneath the root.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::write;

use super::Options;
use super::tree::{self, Tree};
use crate::limits::MOUNTS_MAX;
use crate::sys::Root;
use crate::sys::mounts::{self, Mounts};

/// See the module.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub options: &'a Options,
    /// The mount of the root, and those beneath it.
    pub places: Vec<Place>,
    /// Mounts beneath the root that are not looked at, beyond the bound.
    pub places_left: usize,
    pub tree: Tree,
}

/// One mount.
#[derive(Debug)]
pub(super) struct Place {
    /// As it is shown.
    pub path: String,
    /// Beneath the root; empty for that of the root itself.
    pub beneath: PathBuf,
    /// Its file system, by the kernel's name.
    pub file_system: String,
    /// The directory; none if it cannot be opened.
    directory: Option<OwnedFd>,
    /// A file there that has some bytes, beneath the root.
    pub sample: Option<PathBuf>,
    root: PathBuf,
}

impl<'a> Scene<'a> {
    pub(super) fn look(options: &'a Options, root: &Root) -> Self {
        let mut places = vec![Place::new(root.path(), Path::new(""), mounts::of(root.as_fd()))];
        let beneath = root
            .path()
            .canonicalize()
            .and_then(|at| Ok(Mounts::list()?.beneath(&at)))
            .unwrap_or_default();
        for (path, mount) in &beneath {
            let path = Path::new(OsStr::from_bytes(path));
            // What lies under another mount at the same path is not reached any more.
            places.retain(|place| place.beneath != path);
            places.push(Place::new(root.path(), path, Some(*mount)));
        }
        let places_left = places.len().saturating_sub(MOUNTS_MAX);
        places.truncate(MOUNTS_MAX);
        let tree = tree::walk(options, root, &mut places);
        Self { options, places, places_left, tree }
    }
}

impl Place {
    fn new(root: &Path, beneath: &Path, mount: Option<u64>) -> Self {
        let path = if beneath.as_os_str().is_empty() { root.into() } else { root.join(beneath) };
        let named = mount.and_then(|mount| mounts::file_system(mount).ok().flatten());
        let file_system = named.map(|name| String::from_utf8_lossy(&name).into_owned());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self {
            directory: openat(rustix::fs::CWD, &path, flags, Mode::empty()).ok(),
            path: path.display().to_string(),
            beneath: beneath.to_owned(),
            file_system: file_system.unwrap_or_else(|| "unknown".to_owned()),
            sample: None,
            root: root.to_owned(),
        }
    }

    /// Whether all of it is in memory.
    pub(super) fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }

    /// The directory, if it may be read.
    pub(super) fn directory(&self) -> Option<&OwnedFd> {
        self.directory.as_ref()
    }

    /// A file of this mount to read: one that is there, else one without a name. None if there is
    /// neither.
    pub(super) fn file(&self, flags: OFlags) -> Option<rustix::io::Result<OwnedFd>> {
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |path: &Path| openat(rustix::fs::CWD, path, flags, Mode::empty());
        match &self.sample {
            Some(sample) => Some(open(&self.root.join(sample))),
            None => {
                let nameless = self.nameless()?;
                let path = format!("/proc/self/fd/{}", nameless.as_raw_fd());
                Some(open(Path::new(&path)))
            }
        }
    }

    /// A new file without a name, of one block.
    pub(super) fn nameless(&self) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = openat(self.directory()?, ".", flags, Mode::RUSR | Mode::WUSR).ok()?;
        let taken = write(&made, &[0; 4096]).ok()?;
        (taken == 4096).then(|| made.into())
    }
}
