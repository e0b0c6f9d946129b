//! The walk along a way of names that has every directory watched before a name is looked up in it,
//! so that whatever happens to that name from then on is noted.
//!
//! Links are resolved here, name by name, as openat2(2) does beneath a directory (RESOLVE_BENEATH):
//! an absolute target and one that leaves the directory lead nowhere. What a link leads to is
//! decided by the names that its resolution has looked up, each in a watched directory; they are
//! told with it.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::limits::{LINK_HOPS_MAX, LINK_NAMES_MAX};
use crate::ring::op::Watch;

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The path of a directory, from the one that the way begins at; empty if they are the same.
    pub path: Box<[u8]>,
    /// Names in it that may be links, which are resolved; empty where only the directory is wanted.
    pub names: Vec<Box<[u8]>>,
    /// Whether links are followed.
    pub follow_links: bool,
}

/// A name that was looked up in a watched directory.
pub type Passed = (Watch, Box<[u8]>);

/// What became of one name on the way, or of all names in the last directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it led to.
    pub end: End,
    /// Where links led there: every name that was looked up for it.
    pub passed: Vec<Passed>,
}

/// What a name on the way leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A directory, which is watched.
    Watched(Watch),
    /// No directory, or one that is not to be reached: by a link that leaves the directory that the
    /// way begins at, leads round in a circle, or is not followed. Were there another one, the
    /// directory above would tell, or one that a link led to.
    Absent,
    /// It cannot be watched: a file system that others change or that does not tell; or the limit
    /// of watches (fs.inotify.max_user_watches) is reached, or that of names that links may pass.
    Unwatchable,
    /// What the names in the last directory lead to is decided by what was passed.
    Named,
}

impl Step {
    /// A step without links.
    pub(in crate::ring) fn plain(end: End) -> Self {
        Self { end, passed: Vec::new() }
    }

    /// The watched directories that it tells of.
    pub fn watches(&self) -> impl Iterator<Item = Watch> {
        let own = match self.end {
            End::Watched(watch) => Some(watch),
            End::Absent | End::Unwatchable | End::Named => None,
        };
        own.into_iter().chain(self.passed.iter().map(|(watch, _)| *watch))
    }
}

/// What a walk asks of the kernel.
pub(in crate::ring) trait Walk {
    type Directory;

    /// Opens a directory in another one; [`Errno::LOOP`] where the name is a link.
    fn open(&mut self, at: &Self::Directory, name: &[u8]) -> Result<Self::Directory, Errno>;

    /// Opens the directory above, which is not above the one that the walk began at.
    fn open_above(&mut self, at: &Self::Directory) -> Result<Self::Directory, Errno>;

    /// What a link says; [`Errno::INVAL`] where the name is none.
    fn target(&mut self, at: &Self::Directory, name: &[u8]) -> Result<Vec<u8>, Errno>;

    /// Watches a directory; none if that cannot be.
    fn watch(&mut self, directory: &Self::Directory) -> Option<Watch>;

    /// Whether the walk is still wanted.
    fn check(&self) -> Result<(), Errno>;
}

/// Makes one step for the directory that the way begins at and one for each name of its path, up to
/// the first that is not watched; then one for the names in the last directory, if there are any.
pub(in crate::ring) fn walk<W: Walk>(
    way: &Way,
    root: W::Directory,
    kernel: &mut W,
) -> Result<Vec<Step>, Errno> {
    let Some(watch) = kernel.watch(&root) else { return Ok(vec![Step::plain(End::Unwatchable)]) };
    let mut steps = vec![Step::plain(End::Watched(watch))];
    let mut here = Place { directory: root, watches: vec![watch] };
    for name in way.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        kernel.check()?;
        let step = match kernel.open(&here.directory, name) {
            Ok(directory) => Step::plain(here.enter(directory, kernel)),
            Err(Errno::NOENT | Errno::NOTDIR) => Step::plain(End::Absent),
            Err(Errno::LOOP) if !way.follow_links => Step::plain(End::Absent),
            Err(Errno::LOOP) => {
                let mut passed = Vec::new();
                let mut link = Link::new(&here, &mut passed, true);
                let end = link.follow(name, kernel)?;
                let Link { there, watches, .. } = link;
                if let Some(directory) = there {
                    here.directory = directory;
                }
                here.watches = watches;
                Step { end, passed }
            }
            Err(_) => Step::plain(End::Unwatchable),
        };
        let goes_on = matches!(step.end, End::Watched(_));
        steps.push(step);
        if !goes_on {
            return Ok(steps);
        }
    }
    if !way.names.is_empty() {
        steps.push(resolve(&way.names, &here, kernel)?);
    }
    Ok(steps)
}

/// Resolves names in a watched directory.
fn resolve<W: Walk>(
    names: &[Box<[u8]>],
    here: &Place<W::Directory>,
    kernel: &mut W,
) -> Result<Step, Errno> {
    // One that is no link may become one.
    let mut passed: Vec<_> = names.iter().map(|name| (here.watch(), name.clone())).collect();
    for name in names {
        let end = Link::new(here, &mut passed, false).follow(name, kernel)?;
        if end == End::Unwatchable {
            return Ok(Step { end, passed });
        }
    }
    Ok(Step { end: End::Named, passed })
}

/// Where a walk is.
struct Place<D> {
    directory: D,
    /// The watches of the directories above it, from the one that the walk began at, and its own.
    watches: Vec<Watch>,
}

impl<D> Place<D> {
    fn watch(&self) -> Watch {
        *self.watches.last().expect("the first directory is watched")
    }

    fn enter<W: Walk<Directory = D>>(&mut self, directory: D, kernel: &mut W) -> End {
        let Some(watch) = kernel.watch(&directory) else { return End::Unwatchable };
        self.directory = directory;
        self.watches.push(watch);
        End::Watched(watch)
    }
}

/// The resolution of a link.
struct Link<'a, D> {
    from: &'a D,
    /// The directory that was come to, once it is another one.
    there: Option<D>,
    watches: Vec<Watch>,
    passed: &'a mut Vec<Passed>,
    /// Whether it has to end in a directory.
    directory: bool,
}

impl<'a, D> Link<'a, D> {
    fn new(from: &'a Place<D>, passed: &'a mut Vec<Passed>, directory: bool) -> Self {
        let watches = from.watches.clone();
        Self { from: &from.directory, there: None, watches, passed, directory }
    }

    fn follow<W: Walk<Directory = D>>(
        &mut self,
        name: &[u8],
        kernel: &mut W,
    ) -> Result<End, Errno> {
        let mut left = VecDeque::from([Box::from(name)]);
        let mut hops = 0;
        while let Some(name) = left.pop_front() {
            kernel.check()?;
            if !self.pass(&name) {
                return Ok(End::Unwatchable);
            }
            let led = match &*name {
                b"" | b"." => Led::On,
                b".." => self.up(kernel),
                _ => self.look_up(&name, left.is_empty(), kernel),
            };
            match led {
                Led::On => {}
                Led::By(target) => {
                    hops += 1;
                    if target.starts_with(b"/") || hops > LINK_HOPS_MAX {
                        return Ok(self.nowhere());
                    }
                    // An empty name behind the last slash says that there is a directory before it.
                    for name in target.rsplit(|byte| *byte == b'/') {
                        left.push_front(name.into());
                    }
                }
                Led::To(end) => return Ok(end),
            }
        }
        Ok(if self.directory { End::Watched(self.watch()) } else { End::Named })
    }

    fn watch(&self) -> Watch {
        *self.watches.last().expect("the first directory is watched")
    }

    /// Where a link leads that is refused: the names that were passed have decided that, too.
    fn nowhere(&self) -> End {
        if self.directory { End::Absent } else { End::Named }
    }

    /// Takes note of a name that is about to be looked up; `false` if there are too many.
    fn pass(&mut self, name: &[u8]) -> bool {
        let watch = self.watch();
        if !self.passed.iter().any(|(of, passed)| *of == watch && **passed == *name) {
            self.passed.push((watch, name.into()));
        }
        self.passed.len() <= LINK_NAMES_MAX
    }

    /// To the directory above. If it is not the one that was come from, names have changed.
    fn up<W: Walk<Directory = D>>(&mut self, kernel: &mut W) -> Led {
        let [.., above, _] = self.watches[..] else { return Led::To(self.nowhere()) };
        let at = self.there.as_ref().unwrap_or(self.from);
        let Ok(directory) = kernel.open_above(at) else { return Led::To(End::Unwatchable) };
        match kernel.watch(&directory) {
            Some(watch) if watch == above => {
                self.there = Some(directory);
                self.watches.pop();
                Led::On
            }
            other => {
                self.passed.extend(other.map(|watch| (watch, Box::default())));
                Led::To(End::Unwatchable)
            }
        }
    }

    fn look_up<W: Walk<Directory = D>>(&mut self, name: &[u8], last: bool, kernel: &mut W) -> Led {
        let at = self.there.as_ref().unwrap_or(self.from);
        if last && !self.directory {
            return match kernel.target(at, name) {
                Ok(target) => Led::By(target),
                // It is no link, there is no such name, or there cannot be.
                Err(Errno::INVAL | Errno::NOENT | Errno::NAMETOOLONG) => Led::To(End::Named),
                Err(_) => Led::To(End::Unwatchable),
            };
        }
        match kernel.open(at, name) {
            Ok(directory) => match kernel.watch(&directory) {
                Some(watch) => {
                    self.there = Some(directory);
                    self.watches.push(watch);
                    Led::On
                }
                None => Led::To(End::Unwatchable),
            },
            Err(Errno::NOENT | Errno::NOTDIR) => Led::To(self.nowhere()),
            Err(Errno::LOOP) => match kernel.target(at, name) {
                Ok(target) => Led::By(target),
                Err(_) => Led::To(End::Unwatchable),
            },
            Err(_) => Led::To(End::Unwatchable),
        }
    }
}

/// Where one name leads.
enum Led {
    /// To the next one.
    On,
    /// It is a link, which says this.
    By(Vec<u8>),
    To(End),
}
