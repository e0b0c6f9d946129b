//! The site: hosts, and the order in which their rules apply to a target.
//!
//! Host, then redirect, then mount, then path, then file, then listing, then fallback. Pages of
//! refusals and fields come with the answer, see `fields.rs`.

use std::path::Path;
use std::rc::Rc;

use super::host::{Host, Spot};
use super::names::Names;
use super::options::{Forbidden, Options};
use crate::cache::{Asker, Found, Lookup, Name, OpenDirectory, OpenFiles, Tree};
use crate::http::refusal::Refusal;
use crate::http::status::Status;
use crate::http::target;

/// See the module.
#[derive(Debug)]
pub struct Site {
    pub(super) hosts: Vec<Host>,
    names: Names,
    /// Counts the rules that were in force, so that lines made under others are made again.
    pub(super) rules: u32,
}

/// A host of the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostId(u16);

/// Where a file was found.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub(super) host: HostId,
    tree: Tree,
    /// Bytes of the path that name the mount.
    skip: usize,
    pub(super) by: By,
}

/// How a target led to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Name,
    Index,
    Fallback,
}

/// A directory that is listed.
#[derive(Debug)]
pub struct Listable {
    /// The directory, open.
    pub directory: OpenDirectory,
    /// What it was found in, which its links may not leave.
    pub tree: Tree,
    /// Bytes of the path that name the mount; they may be one more than it has.
    pub skip: usize,
    /// Whether names that begin with a dot are listed.
    pub dotfiles: bool,
    /// The names in it that lead to other directories, whatever it has itself under them.
    pub mounts: Vec<Box<[u8]>>,
}

/// What a target stands for.
#[derive(Debug)]
pub enum Resolution {
    /// A file. The path of its name on the server is in the scratch.
    File(Rc<Name>, At),
    /// A directory that was asked for without its trailing slash. Its path with the slash is in
    /// the scratch.
    Redirect,
    /// A directory without an index file, which is listed. Its path is in the scratch.
    Listing(Listable),
    /// A configured redirect, by its number. The path as it was asked for is in the scratch.
    Moved(usize),
    /// Nothing that is served.
    Refused(Refusal),
    /// It is being found out, on this mount; the owner is woken.
    Waiting(u64),
}

impl Site {
    /// A site of hosts, the first of which answers for every name that no other has.
    pub fn new(hosts: Vec<Options>, rules: u32) -> Self {
        assert!(!hosts.is_empty(), "a site has a host that answers for every name");
        let mut names = Names::default();
        let mut trees = (0..=u16::MAX).map(Tree);
        let mut ready = Vec::with_capacity(hosts.len());
        for (at, options) in hosts.into_iter().enumerate() {
            names.add(&options.names, at as u16);
            ready.push(Host::new(options, &mut trees));
        }
        Self { hosts: ready, names, rules }
    }

    /// The directories that hosts serve, in the order of their numbers.
    pub fn directories(hosts: &[Options]) -> impl Iterator<Item = &Path> {
        hosts.iter().flat_map(|host| {
            let mounts = host.mounts.iter().map(|mount| &*mount.root);
            std::iter::once(&*host.root).chain(mounts)
        })
    }

    /// The host that a request is for.
    pub fn host(&self, authority: Option<&[u8]>) -> HostId {
        match authority {
            Some(authority) if !self.names.is_empty() => {
                HostId(self.names.find(authority).unwrap_or_default())
            }
            _ => HostId::default(),
        }
    }

    pub(super) fn rules_of(&self, host: HostId) -> &Host {
        &self.hosts[usize::from(host.0)]
    }

    /// What the raw path of a target stands for. `path` is scratch: it is left with the path
    /// that the answer is about, without its first slash.
    pub fn resolve(
        &self,
        id: HostId,
        raw: &[u8],
        path: &mut Vec<u8>,
        cache: &mut OpenFiles,
        asker: Asker,
    ) -> Resolution {
        let host = self.rules_of(id);
        let target = match target::resolve(raw, path) {
            Ok(target) => target,
            Err(error) => return Resolution::Refused(error.into()),
        };
        if host.has_redirects()
            && let Some(moved) = moved(host, path, target.directory)
        {
            return moved;
        }
        if target.hidden && !host.options.dotfiles {
            return Resolution::Refused(Refusal::NotFound);
        }
        let spot = host.spot(path, target.directory);
        if spot.unended {
            path.push(b'/');
            return Resolution::Redirect;
        }
        let page = target.directory || is_page(path);
        let found = if target.directory {
            self.directory(id, spot, path, cache, asker)
        } else {
            let beneath = path.get(spot.skip..).unwrap_or_default();
            match cache.lookup(spot.tree, beneath, asker) {
                Lookup::Known(Found::Directory(_)) => {
                    path.push(b'/');
                    Resolution::Redirect
                }
                lookup => host.answer(lookup, spot.at(id, By::Name)),
            }
        };
        match (found, &host.options.fallback) {
            (Resolution::Refused(Refusal::NotFound), Some(fallback))
                if page && spot.tree == host.tree =>
            {
                path.clear();
                path.extend_from_slice(fallback.as_bytes());
                let spot = Spot { skip: 0, ..spot };
                let lookup = cache.lookup(spot.tree, path, asker);
                host.answer(lookup, spot.at(id, By::Fallback))
            }
            (found, _) => found,
        }
    }

    /// The index file of a directory.
    fn directory(
        &self,
        id: HostId,
        spot: Spot,
        path: &mut Vec<u8>,
        cache: &mut OpenFiles,
        asker: Asker,
    ) -> Resolution {
        let host = self.rules_of(id);
        let directory = path.len();
        for index in &host.options.index {
            path.truncate(directory);
            if directory > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(index.as_bytes());
            let beneath = &path[spot.skip..];
            match cache.lookup(spot.tree, beneath, asker) {
                Lookup::Known(Found::Nothing | Found::Directory(_)) => {}
                lookup => return host.answer(lookup, spot.at(id, By::Index)),
            }
        }
        if !host.options.listing {
            return Resolution::Refused(Refusal::NotFound);
        }
        path.truncate(directory);
        let beneath = path.get(spot.skip..).unwrap_or_default();
        match cache.lookup(spot.tree, beneath, asker) {
            Lookup::Known(Found::Directory(directory)) => Resolution::Listing(Listable {
                directory,
                tree: spot.tree,
                skip: spot.skip,
                dotfiles: host.options.dotfiles,
                mounts: host.mounts_in(path),
            }),
            Lookup::Known(Found::File(_)) => Resolution::Refused(Refusal::NotFound),
            lookup => host.answer(lookup, spot.at(id, By::Index)),
        }
    }

    /// What is said instead of a refusal to read a directory.
    pub fn told(&self, id: HostId, refusal: Refusal) -> Refusal {
        let hidden = self.rules_of(id).options.forbidden == Forbidden::Hidden;
        if hidden && refusal == Refusal::Forbidden { Refusal::NotFound } else { refusal }
    }

    /// The file that is sent with a refusal, looked up by its name and by no rule.
    pub fn page(
        &self,
        id: HostId,
        status: Status,
        path: &mut Vec<u8>,
        cache: &mut OpenFiles,
        asker: Asker,
    ) -> Option<Resolution> {
        let host = self.rules_of(id);
        let file = host.page(status)?;
        path.clear();
        path.extend_from_slice(file.as_bytes());
        let spot = Spot { tree: host.tree, skip: 0, unended: false };
        let lookup = cache.lookup(spot.tree, path, asker);
        Some(host.answer(lookup, spot.at(id, By::Name)))
    }

    /// Looks up anew a file that has changed since it was opened; the path is in the scratch.
    pub fn again(&self, at: At, path: &[u8], cache: &mut OpenFiles, asker: Asker) -> Lookup {
        let beneath = path.get(at.skip..).unwrap_or_default();
        cache.distrust(at.tree, beneath);
        cache.lookup(at.tree, beneath, asker)
    }

    /// Appends the Location line of a configured redirect for the path in the scratch, and tells
    /// its status.
    pub fn location_line(
        &self,
        id: HostId,
        redirect: usize,
        path: &[u8],
        query: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Status {
        let redirect = self.rules_of(id).redirect_at(redirect);
        let prefix = redirect.from.directory().map_or(path.len(), <[u8]>::len);
        if let Some(place) = &redirect.to {
            place.location_line(path.get(prefix..).unwrap_or_default(), query, out);
        }
        redirect.status
    }
}

/// The redirect of a path, which is compared as it was asked for, with the slash at its end.
fn moved(host: &Host, path: &mut Vec<u8>, directory: bool) -> Option<Resolution> {
    let end = path.len();
    if directory && end > 0 {
        path.push(b'/');
    }
    match host.redirect(path) {
        Some(at) if host.redirect_at(at).to.is_none() => Some(Resolution::Refused(Refusal::Gone)),
        Some(at) => Some(Resolution::Moved(at)),
        None => {
            path.truncate(end);
            None
        }
    }
}

/// Whether a name looks like one of a page and not of a file: without a dot in its last segment.
fn is_page(path: &[u8]) -> bool {
    let name = memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..]);
    !name.contains(&b'.')
}

impl Spot {
    fn at(self, host: HostId, by: By) -> At {
        At { host, tree: self.tree, skip: self.skip, by }
    }
}

impl Host {
    fn answer(&self, lookup: Lookup, at: At) -> Resolution {
        match lookup {
            Lookup::Waiting(mount) => Resolution::Waiting(mount),
            Lookup::Full => Resolution::Refused(Refusal::Overloaded),
            Lookup::Known(Found::File(name)) => Resolution::File(name, at),
            Lookup::Known(Found::Unavailable(_)) => {
                Resolution::Refused(Refusal::StorageUnavailable)
            }
            Lookup::Known(Found::Forbidden) if self.options.forbidden == Forbidden::Told => {
                Resolution::Refused(Refusal::Forbidden)
            }
            Lookup::Known(Found::Directory(_) | Found::Nothing | Found::Forbidden) => {
                Resolution::Refused(Refusal::NotFound)
            }
        }
    }
}
