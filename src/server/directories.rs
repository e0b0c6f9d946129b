//! The directories that are served: opened once, before any worker starts.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use super::options::Options;
use crate::cache::{Beneath, Directory, MountPoints};
use crate::resource::Site;
use crate::ring::{File, Kernel, Reactor};
use crate::sys;
use crate::sys::mounts::Mounts;

/// A directory, open, and what is known of it before the loop begins.
pub(super) struct Opened {
    fd: OwnedFd,
    /// Its absolute path, where it is followed.
    follow: Option<CString>,
    mounts: Arc<Beneath>,
    /// What finds those that come later; none where nothing is known of any.
    watched: Option<Watched>,
}

/// A directory whose mounts are listed again when some have come or gone.
#[derive(Clone)]
pub(super) struct Watched {
    /// Where it lies, without a link on the way, and on which mount.
    path: PathBuf,
    own: u64,
    mounts: Arc<Beneath>,
}

impl Watched {
    /// Takes in which there are now; says whether something has changed.
    pub(super) fn look(&self, now: &Mounts) -> bool {
        self.mounts.set(with_own(self.own, now.beneath(&self.path)))
    }
}

fn with_own(own: u64, beneath: MountPoints) -> MountPoints {
    std::iter::once((Box::default(), own)).chain(beneath).collect()
}

/// Opens every directory that is served, in the order of the site's. `looks` is told each before it
/// is opened, which may wait for its disk.
pub(super) fn open(options: &Options, looks: &dyn Fn(&Path)) -> Result<Vec<Opened>, Fault> {
    let sites = options.sites();
    let open = |path: &Path| {
        looks(path);
        open_one(path, options.root_follow)
    };
    Site::directories(&sites).map(open).collect()
}

fn open_one(path: &Path, follow: bool) -> Result<Opened, Fault> {
    let root = sys::Root::open(path).map_err(Fault::Root)?;
    let follow = follow.then(|| {
        let path = std::path::absolute(path).ok()?;
        CString::new(path.into_os_string().into_encoded_bytes()).ok()
    });
    let own = sys::mounts::of(root.as_fd());
    let found = path.canonicalize().and_then(|at| Ok((Mounts::list()?.beneath(&at), at)));
    let (mounts, at) = match (own, found) {
        (Some(own), Ok((beneath, at))) => (with_own(own, beneath), Some((at, own))),
        // Nothing is known, so everything may be.
        _ => {
            tracing::info!(
                path = %path.display(),
                "the mounts beneath it cannot be listed, so every open is left to a thread of the \
                 kernel"
            );
            (MountPoints::new(), None)
        }
    };
    let mounts = Arc::new(Beneath::new(mounts));
    let watched = at.map(|(path, own)| Watched { path, own, mounts: Arc::clone(&mounts) });
    let fd = root.as_fd().try_clone_to_owned();
    let fd = fd.map_err(|error| Fault::System("a descriptor is missing", error))?;
    Ok(Opened { fd, follow: follow.flatten(), mounts, watched })
}

impl Opened {
    /// The same for another worker.
    pub(super) fn again(&self) -> std::io::Result<Self> {
        let (follow, mounts) = (self.follow.clone(), Arc::clone(&self.mounts));
        Ok(Self { fd: self.fd.try_clone()?, follow, mounts, watched: None })
    }

    pub(super) fn watched(&self) -> Option<Watched> {
        self.watched.clone()
    }

    /// Gives it to a worker's ring.
    pub(super) fn adopt<K: Kernel>(self, reactor: &Reactor<K>) -> Directory {
        let file = File::from(reactor.adopt(self.fd));
        Directory { file, follow: self.follow, mounts: self.mounts }
    }
}
