//! One site: a directory and the rules by which names in it are served.

use std::rc::Rc;

use crate::base::{Instant, WallClock};
use crate::cache::{Directory, Found, Lookup, Name, OpenFiles, Version};
use crate::http::media::MediaTable;
use crate::http::refusal::Refusal;
use crate::http::response::{Entity, EntityLines};
use crate::http::tag::Tag;
use crate::http::target;
use crate::ring::Owner;

/// The rules of a site.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of files that stand for their directory, in the order in which they are tried.
    pub index: Vec<String>,
    /// Whether names that begin with a dot are served.
    pub dotfiles: bool,
    /// Whether a directory without an index file is listed.
    pub listing: bool,
    /// Media types by extension, besides those that are built in.
    pub media: MediaTable,
}

/// See the module.
#[derive(Debug)]
pub struct Site {
    options: Options,
    /// Counts the rules that were in force, so that lines made under others are made again.
    rules: u32,
}

/// What a target stands for.
#[derive(Debug)]
pub enum Resolution {
    /// A file. Its path beneath the root is in the scratch.
    File(Rc<Name>),
    /// A directory that was asked for without its trailing slash. Its path with the slash is in
    /// the scratch.
    Redirect,
    /// A directory without an index file, which is listed, with the names that begin with a dot or
    /// without. Its path is in the scratch.
    Listing(Directory, bool),
    /// Nothing that is served.
    Refused(Refusal),
    /// It is being found out; the owner is woken.
    Waiting,
}

/// Who asks, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whom to wake.
    pub owner: Owner,
    /// When the request began: what was found out since is fresh enough for it.
    pub since: Instant,
    /// The clock.
    pub now: Instant,
}

impl Site {
    /// A site under a set of rules.
    pub fn new(options: Options, rules: u32) -> Self {
        Self { options, rules }
    }

    /// What the raw path of a target stands for. `path` is scratch: it is left with the path
    /// that the answer is about.
    pub fn resolve(
        &self,
        raw: &[u8],
        path: &mut Vec<u8>,
        cache: &mut OpenFiles,
        asker: Asker,
    ) -> Resolution {
        path.clear();
        let target = match target::resolve(raw, path) {
            Ok(target) => target,
            Err(error) => return Resolution::Refused(error.into()),
        };
        if target.hidden && !self.options.dotfiles {
            return Resolution::Refused(Refusal::NotFound);
        }
        let mut ask = |path: &[u8]| cache.lookup(path, asker.since, asker.now, asker.owner);
        if !target.directory {
            return match ask(path) {
                Lookup::Known(Found::Directory(_)) => {
                    path.push(b'/');
                    Resolution::Redirect
                }
                lookup => answer(lookup),
            };
        }
        let directory = path.len();
        for index in &self.options.index {
            path.truncate(directory);
            if directory > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(index.as_bytes());
            match ask(path) {
                Lookup::Known(Found::Nothing | Found::Directory(_)) => {}
                lookup => return answer(lookup),
            }
        }
        if self.options.listing {
            path.truncate(directory);
            return match ask(path) {
                Lookup::Known(Found::Directory(found)) => {
                    Resolution::Listing(found, self.options.dotfiles)
                }
                Lookup::Known(Found::File(_)) => Resolution::Refused(Refusal::NotFound),
                lookup => answer(lookup),
            };
        }
        Resolution::Refused(Refusal::NotFound)
    }

    /// The lines of an answer with this version of a file, and the date of its last change:
    /// never in the future (RFC 9110 section 8.8.2.1).
    pub fn lines(
        &self,
        path: &[u8],
        name: &Name,
        version: &Version,
        wall: WallClock,
    ) -> (Rc<EntityLines>, Tag, i64) {
        let modified = version.facts.modified;
        let (seconds, nanoseconds) = (modified.seconds, modified.nanoseconds);
        let tag = match version.digest {
            Some(digest) => Tag::of_content(&digest.to_be_bytes(), version.coding),
            None => Tag::of_file(seconds, nanoseconds, version.facts.size, version.coding),
        };
        let last_modified = modified.seconds.min(wall.seconds);
        let vary = name.variants.iter().any(Option::is_some);
        let make = || {
            let entity = Entity {
                media: self.options.media.of_name(path),
                coding: version.coding,
                tag: Some(tag),
                last_modified: Some(last_modified),
                ranges: true,
                vary,
            };
            EntityLines::new(&entity, &[])
        };
        let lines = if modified.seconds > wall.seconds {
            // The line changes each second until the file's time has come.
            Rc::new(make())
        } else {
            version.lines((self.rules, vary), make)
        };
        (lines, tag, last_modified)
    }
}

fn answer(lookup: Lookup) -> Resolution {
    match lookup {
        Lookup::Waiting => Resolution::Waiting,
        Lookup::Full => Resolution::Refused(Refusal::Overloaded),
        Lookup::Known(Found::File(name)) => Resolution::File(name),
        Lookup::Known(Found::Unavailable(_)) => Resolution::Refused(Refusal::StorageUnavailable),
        Lookup::Known(Found::Directory(_) | Found::Nothing | Found::Forbidden) => {
            Resolution::Refused(Refusal::NotFound)
        }
    }
}
