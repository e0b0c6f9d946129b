//! The fields of answers: what a file is known by, what is configured for it, and who may read it
//! from another origin.
//!
//! Changes by glob go by the path of the file that is sent, so that `/` has the fields of
//! `/index.html`; where no file is sent, and for other origins, it is the path that was asked
//! for, which a preflight names too. Both are found out once for each open file and kept with it.

use std::rc::Rc;

use super::site::{At, By, HostId, Site};
use crate::base::WallClock;
use crate::cache::{Lines, Name, Version};
use crate::http::negotiate::Coding;
use crate::http::response::{Entity, EntityLines, FieldEdit, Vary};
use crate::http::tag::Tag;
use crate::http::target;

/// What goes with an answer that is not the file that was asked for.
#[derive(Debug, Default)]
pub struct Marks {
    /// Changes of its fields.
    pub edits: Vec<FieldEdit>,
    /// What it depends on; Origin by the rules, more by whoever answers.
    pub vary: Vary,
    /// Whole lines for this request.
    pub lines: Vec<u8>,
}

/// What an answer with a file is known by.
#[derive(Debug)]
pub struct Known {
    /// Its lines.
    pub lines: Rc<EntityLines>,
    /// Further whole lines for this request.
    pub extra: Vec<u8>,
    /// Its entity tag.
    pub tag: Tag,
    /// Its last change, in seconds since 1970: never in the future (RFC 9110 section 8.8.2.1).
    pub modified: i64,
    /// Bytes a second that it may have; 0 is no limit.
    pub rate: u64,
}

/// A file, and the request that it answers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where the file was found.
    pub at: At,
    /// The path of its name on the server, without the first slash.
    pub path: &'a [u8],
    /// The raw path of the target.
    pub raw: &'a [u8],
    /// The Origin.
    pub origin: Option<&'a [u8]>,
}

impl Site {
    /// What an answer with this version of a file says of it.
    pub fn known(
        &self,
        asked: Asked<'_>,
        name: &Name,
        version: &Version,
        wall: WallClock,
    ) -> Known {
        let host = self.rules_of(asked.at.host);
        let written = version.facts.modified;
        let (seconds, nanoseconds) = (written.seconds, written.nanoseconds);
        let tag = match version.digest {
            Some(digest) => Tag::of_content(&digest.to_be_bytes(), version.coding),
            None => Tag::of_file(seconds, nanoseconds, version.facts.size, version.coding),
        };
        let modified = written.seconds.min(wall.seconds);
        let encoding = name.variants.iter().any(Option::is_some);
        let make = || {
            let cors = self.cors_of(asked);
            let mut edits = host.edits(asked.path, false);
            if let Some((_, cors)) = cors {
                edits.extend(cors.fixed().unwrap_or_default());
            }
            let varying = cors.filter(|(_, cors)| cors.varies());
            let entity = Entity {
                media: host.options.media.of_name(asked.path),
                coding: version.coding,
                tag: Some(tag),
                last_modified: Some(modified),
                ranges: true,
                vary: Vary { accept: false, encoding, origin: varying.is_some() },
            };
            Lines {
                entity: Rc::new(EntityLines::new(&entity, &edits)),
                note: varying.map(|(at, _)| at),
                rate: host.rate(asked.path),
            }
        };
        // A line changes each second until the file's time has come; and the fallback file is
        // asked for by many paths, each of which may be shared otherwise.
        let lines = if written.seconds > wall.seconds
            || asked.at.by == By::Fallback && !host.options.cors.is_empty()
        {
            make()
        } else {
            let by_index = asked.at.by == By::Index;
            version.lines((self.rules, u8::from(encoding) | u8::from(by_index) << 1), make)
        };
        let mut extra = Vec::new();
        if let Some(rule) = lines.note {
            host.options.cors[usize::from(rule)].cors.lines(asked.origin, &mut extra);
        }
        Known { lines: lines.entity, extra, tag, modified, rate: lines.rate }
    }

    /// The rule by which the path that was asked for is shared.
    fn cors_of(&self, asked: Asked<'_>) -> Option<(u16, &crate::http::cors::Cors)> {
        let host = self.rules_of(asked.at.host);
        if host.options.cors.is_empty() {
            return None;
        }
        match asked.at.by {
            By::Name => host.cors(asked.path),
            By::Index => {
                let slash = memchr::memrchr(b'/', asked.path).map_or(0, |slash| slash + 1);
                host.cors(&asked.path[..slash])
            }
            By::Fallback => host.cors(&requested(asked.raw)),
        }
    }

    /// What goes with an answer to a target that is not the file it names.
    pub fn marks(&self, id: HostId, raw: &[u8], origin: Option<&[u8]>) -> Marks {
        if !self.rules_of(id).marks_all {
            return Marks::default();
        }
        self.marks_of(id, raw, origin, true)
    }

    /// What goes with the listing of the directory that a target names.
    pub fn listing_marks(&self, id: HostId, raw: &[u8], origin: Option<&[u8]>) -> Marks {
        self.marks_of(id, raw, origin, false)
    }

    fn marks_of(&self, id: HostId, raw: &[u8], origin: Option<&[u8]>, always_only: bool) -> Marks {
        let host = self.rules_of(id);
        let path = requested(raw);
        let mut marks = Marks { edits: host.edits(&path, always_only), ..Marks::default() };
        if let Some((_, cors)) = host.cors(&path) {
            marks.edits.extend(cors.fixed().unwrap_or_default());
            marks.vary.origin = cors.varies();
            cors.lines(origin, &mut marks.lines);
        }
        marks
    }

    /// Appends the lines for a preflight from an origin, if a rule shares its path (Fetch,
    /// section 3.3.2).
    pub fn preflight(&self, id: HostId, raw: &[u8], origin: &[u8], out: &mut Vec<u8>) {
        let host = self.rules_of(id);
        if let Some((_, cors)) = host.cors(&requested(raw)) {
            cors.preflight(origin, out);
        }
    }

    /// The lines of a file that is sent with a refusal: it is no representation of what was asked
    /// for, so it has no validators and no ranges.
    pub fn page_lines(&self, id: HostId, path: &[u8], marks: &Marks) -> EntityLines {
        let entity = Entity {
            media: self.rules_of(id).options.media.of_name(path),
            coding: Coding::Identity,
            tag: None,
            last_modified: None,
            ranges: false,
            vary: marks.vary,
        };
        EntityLines::new(&entity, &marks.edits)
    }
}

/// The path that was asked for, with the slash at its end; empty when it is none.
fn requested(raw: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    match target::resolve(raw, &mut path) {
        Ok(target) if target.directory && !path.is_empty() => path.push(b'/'),
        Ok(_) => {}
        Err(_) => path.clear(),
    }
    path
}
