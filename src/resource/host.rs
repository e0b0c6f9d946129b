//! The rules of one host, made ready to be asked.

use std::collections::HashMap;

use super::options::{CorsRule, ErrorPage, Options, Redirect};
use crate::cache::Tree;
use crate::http::cors::Cors;
use crate::http::glob::Glob;
use crate::http::response::FieldEdit;
use crate::http::status::Status;

/// See the module.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) options: Options,
    /// The directory of the root.
    pub(super) tree: Tree,
    /// Paths without the first slash, the longest first.
    mounts: Vec<(Box<[u8]>, Tree)>,
    redirects: Redirects,
    /// Whether any fields go with answers that are no file.
    pub(super) marks_all: bool,
}

/// Which redirect a path takes: those of one path are found at once, the others one by one.
#[derive(Debug, Default)]
struct Redirects {
    by_path: HashMap<Box<[u8]>, usize>,
    others: Vec<usize>,
}

/// The part of the site that a path lies in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) tree: Tree,
    /// Bytes of the path that name the mount.
    pub(super) skip: usize,
    /// It is the mount itself without the slash at its end.
    pub(super) unended: bool,
}

impl Host {
    /// Takes the numbers of its directories from `trees`: the root's, then those of the mounts.
    pub(super) fn new(options: Options, trees: &mut impl Iterator<Item = Tree>) -> Self {
        let mut next = || trees.next().expect("there is no end of numbers");
        let tree = next();
        let mount = |path: &str| path.trim_start_matches('/').as_bytes().into();
        let mut mounts: Vec<(Box<[u8]>, Tree)> =
            options.mounts.iter().map(|one| (mount(&one.path), next())).collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let mut redirects = Redirects::default();
        for (at, redirect) in options.redirects.iter().enumerate() {
            match redirect.from.literal() {
                Some(path) => {
                    redirects.by_path.entry(path.into()).or_insert(at);
                }
                None => redirects.others.push(at),
            }
        }
        let marks_all = !options.cors.is_empty() || options.fields.iter().any(|rule| rule.always);
        Self { options, tree, mounts, redirects, marks_all }
    }

    pub(super) fn has_redirects(&self) -> bool {
        !self.options.redirects.is_empty()
    }

    /// The redirect of a path as it was asked for; the first that matches.
    pub(super) fn redirect(&self, path: &[u8]) -> Option<usize> {
        let rules = &self.options.redirects;
        let one = self.redirects.by_path.get(path).copied();
        let before =
            self.redirects.others.iter().copied().take_while(|at| Some(*at) < one || one.is_none());
        before.into_iter().find(|at| rules[*at].from.matches(path)).or(one)
    }

    /// Where a path lies; it has neither a slash at its start nor at its end.
    pub(super) fn spot(&self, path: &[u8], directory: bool) -> Spot {
        for (mount, tree) in &self.mounts {
            if path.starts_with(mount) {
                return Spot { tree: *tree, skip: mount.len(), unended: false };
            }
            if path == &mount[..mount.len() - 1] {
                return Spot { tree: *tree, skip: mount.len(), unended: !directory };
            }
        }
        Spot { tree: self.tree, skip: 0, unended: false }
    }

    /// The names of the mounts that lie in the directory of a path, which has a slash neither at
    /// its start nor at its end.
    pub(super) fn mounts_in(&self, directory: &[u8]) -> Vec<Box<[u8]>> {
        let names = self.mounts.iter().filter_map(|(mount, _)| {
            let mount = mount.strip_suffix(b"/")?;
            let beneath = mount.strip_prefix(directory)?;
            let name = if directory.is_empty() { beneath } else { beneath.strip_prefix(b"/")? };
            (!name.contains(&b'/')).then(|| name.into())
        });
        names.collect()
    }

    /// The changes to the fields of an answer for a path.
    pub(super) fn edits(&self, path: &[u8], always_only: bool) -> Vec<FieldEdit> {
        let rules = self.options.fields.iter().filter(|rule| rule.always || !always_only);
        let rules = rules.filter(|rule| any_matches(&rule.globs, path));
        rules.flat_map(|rule| rule.edits.iter().cloned()).collect()
    }

    /// Bytes a second that a file may be sent with; 0 is no limit.
    pub(super) fn rate(&self, path: &[u8]) -> u64 {
        let mut rules = self.options.rates.iter();
        rules.find(|rule| any_matches(&rule.globs, path)).map_or(0, |rule| rule.rate_limit)
    }

    /// The rule by which a path is shared with other origins; the first that matches.
    pub(super) fn cors(&self, path: &[u8]) -> Option<(u16, &Cors)> {
        let rules = self.options.cors.iter().enumerate();
        let mut matching = rules.filter(|(_, CorsRule { globs, .. })| any_matches(globs, path));
        matching.next().map(|(at, rule)| (at as u16, &rule.cors))
    }

    /// The page for a status.
    pub(super) fn page(&self, status: Status) -> Option<&str> {
        let page = |page: &&ErrorPage| page.status == status;
        self.options.errors.iter().find(page).map(|page| page.file.as_str())
    }

    pub(super) fn redirect_at(&self, at: usize) -> &Redirect {
        &self.options.redirects[at]
    }
}

fn any_matches(globs: &[Glob], path: &[u8]) -> bool {
    globs.iter().any(|glob| glob.matches(path))
}
