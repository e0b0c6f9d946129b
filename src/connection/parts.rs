//! The parts of a body of several: what stands before each is made when its turn comes, so that a
//! client that asks for many and takes none costs the places of its ranges and no more.

use std::rc::Rc;

use super::outbox::Span;
use crate::cache::Version;
use crate::engines::{Kind, Trail};
use crate::http::multipart::{self, Boundary};
use crate::http::range;
use crate::http::response::EntityLines;
use crate::limits::RANGE_COUNT_MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Parts {
    version: Rc<Version>,
    /// The lines of the file, some of which stand in each part.
    lines: Rc<EntityLines>,
    boundary: Boundary,
    /// The ranges, and the engine that is tried first for each.
    spans: Box<[(range::Span, Kind)]>,
    /// How many are through.
    done: usize,
}

// What a client costs that asks for as many ranges as it may and takes none.
const _: () = assert!(RANGE_COUNT_MAX * size_of::<(range::Span, Kind)>() <= 2048);

impl Parts {
    pub(super) fn new(
        version: Rc<Version>,
        lines: Rc<EntityLines>,
        boundary: Boundary,
        spans: Box<[(range::Span, Kind)]>,
    ) -> Self {
        Self { version, lines, boundary, spans, done: 0 }
    }

    /// What stands before the next part, and the part; behind the last what ends them all, alone.
    pub(super) fn next(&mut self) -> (Rc<[u8]>, Option<Span>) {
        let Self { version, lines, boundary, spans, done } = self;
        let mut head = Vec::with_capacity(256);
        let Some((range, kind)) = spans.get(*done).copied() else {
            multipart::closing(&mut head, boundary);
            return (head.into(), None);
        };
        let total = version.facts.size;
        multipart::part_head(&mut head, boundary, *done == 0, lines, range, total);
        *done += 1;
        let version = Rc::clone(version);
        let (offset, count, trail) = (range.start, range.len, Trail::default());
        let span = Span { version, offset, count, kind, trail };
        (head.into(), Some(span))
    }
}
