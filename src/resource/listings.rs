//! Listings of directories: each is read and written by a helper thread, and shared by those who
//! asked for it meanwhile.
//!
//! A listing serves every request that began before its reading did, so nobody gets one that is
//! older than the request. Pages that are made or on their way count against a budget of memory
//! for all workers; beyond it, and beyond the room at the helpers, a listing is refused for now.
//! Above the budget may stand what the helpers are making, a page each.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_128;

use super::fields::Marks;
use super::stats::Stats;
use crate::base::Instant;
use crate::cache::{Asker, OpenDirectory, Tree};
use crate::http::listing::{Kind, Listing, View};
use crate::http::media::Media;
use crate::http::negotiate::{Coding, Form};
use crate::http::refusal::Refusal;
use crate::http::response::{Entity, EntityLines, FieldEdit, Vary};
use crate::http::tag::Tag;
use crate::http::target;
use crate::limits::{LISTING_ENTRIES_MAX, LISTING_KEPT, LISTINGS_MAX};
use crate::ring::{
    Completion, Deadline, Facts, File, FileKind, Io, Job, Kept, Op, Owner, Reader, Start, Ticket,
    Wake,
};

/// The memory that pages may take, in all workers.
#[derive(Debug)]
pub struct PageMemory {
    used: AtomicU64,
    bytes_max: u64,
}

impl PageMemory {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { used: AtomicU64::new(0), bytes_max }
    }

    fn is_left(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.bytes_max
    }
}

/// A listing as it is sent.
#[derive(Debug)]
pub struct Page {
    bytes: Box<[u8]>,
    /// The tag of these bytes.
    pub tag: Tag,
    form: Form,
    memory: Arc<PageMemory>,
    stats: Arc<Stats>,
}

impl Page {
    /// The lines of its head. Rules may change all but what it depends on.
    pub fn lines(&self, marks: &Marks) -> EntityLines {
        let essence = self.form.content_type().split(';').next().unwrap_or("text/html");
        // The form depends on Accept (RFC 9110 section 12.5.5), and any entry may change unseen.
        let vary = Vary { accept: true, ..marks.vary };
        let entity = Entity { tag: Some(self.tag), vary, ..Entity::of_text(Media::new(essence)) };
        let own = FieldEdit::set("Cache-Control", "no-cache").into_iter();
        let edits: Vec<_> = own.chain(marks.edits.iter().cloned()).collect();
        EntityLines::new(&entity, &edits)
    }
}

impl Kept for Page {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let bytes = self.bytes.len() as u64;
        self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
        let pages = &self.stats.page_bytes;
        pages.set(pages.read() - bytes);
    }
}

/// What listing is asked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The directory.
    pub directory: &'a OpenDirectory,
    /// The path that is asked for, as the title says it.
    pub path: &'a [u8],
    /// Which of the directories that are served it lies in.
    pub tree: Tree,
    /// That directory, which links may not leave.
    pub root: &'a File,
    /// The path from there.
    pub beneath: &'a [u8],
    /// Whether links are listed.
    pub follow_links: bool,
    /// Whether names that begin with a dot are listed.
    pub dotfiles: bool,
    /// Names that lead to other directories.
    pub mounts: &'a [Box<[u8]>],
    /// The order.
    pub view: View,
    /// HTML or JSON.
    pub form: Form,
}

/// The answer to a question for a listing.
#[derive(Debug)]
pub enum Listed {
    /// Here it is.
    Page(Rc<Page>),
    /// It cannot be had, or not now.
    Refused(Refusal),
    /// It is being made; the owner is woken.
    Waiting,
}

/// What makes one listing different from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    directory: ((u32, u32), u64),
    tree: Tree,
    path: Box<[u8]>,
    follow_links: bool,
    dotfiles: bool,
    mounts: Box<[Box<[u8]>]>,
    view: View,
    form: Form,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    /// When its making began.
    started: Instant,
    state: State,
    waiters: Vec<Owner>,
}

#[derive(Debug)]
enum State {
    /// The job is to be started.
    Queued(Op),
    Making(Ticket),
    /// With the time until which it is kept.
    Made(Result<Rc<Page>, Refusal>, Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Listings {
    entries: Vec<Entry>,
    woken: Vec<Owner>,
    memory: Arc<PageMemory>,
    stats: Arc<Stats>,
}

impl Listings {
    /// None yet.
    pub fn new(memory: Arc<PageMemory>, stats: Arc<Stats>) -> Self {
        Self { entries: Vec::new(), woken: Vec::new(), memory, stats }
    }

    /// The listing, if it was begun since the request was.
    pub fn ask(&mut self, wanted: &Wanted<'_>, asker: Asker) -> Listed {
        let facts = &wanted.directory.facts;
        let name = Name {
            directory: (facts.device, facts.inode),
            tree: wanted.tree,
            path: wanted.path.into(),
            follow_links: wanted.follow_links,
            dotfiles: wanted.dotfiles,
            mounts: wanted.mounts.into(),
            view: View { form: None, ..wanted.view },
            form: wanted.form,
        };
        if let Some(at) = self.entries.iter().position(|entry| entry.name == name) {
            let entry = &mut self.entries[at];
            match &entry.state {
                State::Made(made, _) if entry.started >= asker.since => {
                    return match made {
                        Ok(page) => Listed::Page(Rc::clone(page)),
                        Err(refusal) => Listed::Refused(*refusal),
                    };
                }
                State::Made(..) => drop(self.entries.swap_remove(at)),
                State::Queued(_) | State::Making(_) => {
                    self.stats.listings_shared.add(1);
                    entry.waiters.push(asker.owner);
                    return Listed::Waiting;
                }
            }
        }
        if !self.memory.is_left() {
            self.entries.retain(|entry| !matches!(entry.state, State::Made(..)));
        }
        if !self.make_room() || !self.memory.is_left() {
            self.stats.listings_refused.add(1);
            return Listed::Refused(Refusal::Overloaded);
        }
        let state = State::Queued(Op::Job(job(wanted, &name)));
        self.entries.push(Entry { name, started: asker.now, state, waiters: vec![asker.owner] });
        Listed::Waiting
    }

    /// Starts what was asked for.
    pub fn pump(&mut self, io: &mut dyn Io) {
        for entry in &mut self.entries {
            if !matches!(entry.state, State::Queued(_)) {
                continue;
            }
            let refused = State::Made(Err(Refusal::Overloaded), io.now() + LISTING_KEPT);
            let State::Queued(op) = std::mem::replace(&mut entry.state, refused) else {
                unreachable!("it was just seen")
            };
            match io.start(op) {
                Start::Submitted(ticket) => entry.state = State::Making(ticket),
                Start::Busy(_) | Start::Blocked(..) => {
                    self.stats.listings_refused.add(1);
                    self.woken.append(&mut entry.waiters);
                }
                Start::Executed(_) => unreachable!("a job is done by a helper"),
            }
        }
    }

    /// Takes in a wake of the listings' own operations.
    pub fn wake(&mut self, wake: Wake, io: &mut dyn Io) {
        match wake {
            Wake::Done(Completion { ticket: Some(ticket), op, result, .. }) => {
                let is_it =
                    |entry: &Entry| matches!(entry.state, State::Making(one) if one == ticket);
                let Some(entry) = self.entries.iter_mut().find(|entry| is_it(entry)) else {
                    return;
                };
                let made = match (op, result) {
                    (Some(Op::Job(Job::ReadDirectory { reader, .. })), Ok(_)) => {
                        take_page(reader).ok_or(Refusal::StorageUnavailable)
                    }
                    (_, Ok(_)) => unreachable!("only directories are read here"),
                    (_, Err(errno)) => Err(refusal(errno)),
                };
                let made = made.map(|made| page(made, entry.name.form, &self.memory, &self.stats));
                self.stats.listings_made.add(u64::from(made.is_ok()));
                entry.state = State::Made(made.map(Rc::new), io.now() + LISTING_KEPT);
                self.woken.append(&mut entry.waiters);
                self.forget(io);
            }
            Wake::Deadline(_) => self.forget(io),
            _ => {}
        }
    }

    /// Whether `pump` has something to start.
    pub fn has_work(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.state, State::Queued(_)))
    }

    /// The next owner whose question may be answered now.
    pub fn next_woken(&mut self) -> Option<Owner> {
        self.woken.pop()
    }

    /// Lets go of listings that were kept long enough for those who waited to have got them.
    fn forget(&mut self, io: &mut dyn Io) {
        let now = io.now();
        self.entries.retain(|entry| !matches!(entry.state, State::Made(_, until) if until <= now));
        let kept = self.entries.iter().filter_map(|entry| match entry.state {
            State::Made(_, until) => Some(until),
            _ => None,
        });
        io.deadline(kept.min().map(|until| (Deadline::Retry, until)));
    }

    /// Makes room for one more, at the cost of the oldest that is made.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < LISTINGS_MAX {
            return true;
        }
        let made = self.entries.iter().enumerate();
        let made = made.filter(|(_, entry)| matches!(entry.state, State::Made(..)));
        let oldest = made.min_by_key(|(_, entry)| entry.started).map(|(at, _)| at);
        oldest.map(|at| self.entries.swap_remove(at)).is_some()
    }
}

fn job(wanted: &Wanted<'_>, name: &Name) -> Job {
    Job::ReadDirectory {
        directory: wanted.directory.file.clone(),
        mount: wanted.directory.facts.mount,
        root: wanted.root.clone(),
        path: wanted.beneath.into(),
        follow_links: wanted.follow_links,
        reader: Some(Box::new(Maker::new(name.clone()))),
    }
}

/// What the errno of reading a directory means for the client.
fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::ACCESS | Errno::PERM => Refusal::Forbidden,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Refusal::NotFound,
        _ => Refusal::StorageUnavailable,
    }
}

/// A page and its digest.
type Written = (Box<[u8]>, u128);

/// Makes a page of the entries of a directory, on a helper's thread.
#[derive(Debug)]
struct Maker {
    listing: Listing,
    name: Name,
    page: Option<Written>,
}

impl Maker {
    fn new(name: Name) -> Self {
        let mut maker = Self { listing: Listing::new(LISTING_ENTRIES_MAX), name, page: None };
        for mount in &maker.name.mounts {
            // Its own time would be asked of another file system, which may not answer.
            if maker.shows(mount) && !maker.listing.push(mount, Kind::Directory, 0, None) {
                break;
            }
        }
        maker
    }

    fn shows(&self, name: &[u8]) -> bool {
        self.name.dotfiles || !target::is_hidden(name)
    }
}

impl Reader for Maker {
    fn wants(&mut self, name: &[u8]) -> bool {
        let mut mounts = self.name.mounts.iter();
        self.shows(name) && !mounts.any(|mount| **mount == *name)
    }

    fn take(&mut self, name: &[u8], facts: &Facts) -> bool {
        let kind = match facts.kind {
            FileKind::Regular => Kind::File,
            FileKind::Directory => Kind::Directory,
            FileKind::Special => return true,
        };
        self.listing.push(name, kind, facts.size, Some(facts.modified.seconds))
    }

    fn finish(&mut self) {
        let mut page = Vec::new();
        let mut listing = std::mem::replace(&mut self.listing, Listing::new(0));
        listing.write(&mut page, &self.name.path, self.name.view, self.name.form);
        let digest = xxh3_128(&page);
        self.page = Some((page.into_boxed_slice(), digest));
    }
}

fn take_page(reader: Option<Box<dyn Reader>>) -> Option<Written> {
    let reader: Box<dyn Any> = reader?;
    reader.downcast::<Maker>().ok()?.page.take()
}

fn page(
    (bytes, digest): Written,
    form: Form,
    memory: &Arc<PageMemory>,
    stats: &Arc<Stats>,
) -> Page {
    let tag = Tag::of_content(&digest.to_be_bytes(), Coding::Identity);
    memory.used.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    stats.page_bytes.set(stats.page_bytes.read() + bytes.len() as u64);
    Page { bytes, tag, form, memory: Arc::clone(memory), stats: Arc::clone(stats) }
}
