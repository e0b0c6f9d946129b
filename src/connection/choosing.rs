//! Which engine moves a span of a file, for a fixed engine and for `auto`.

use std::borrow::Cow;
use std::rc::Rc;

use super::answer::Reply;
use crate::cache::Version;
use crate::engines::{self, Asked, Choice, Facts, Kind, Reason};
use crate::http::head::Method;
use crate::http::range::Span;
use crate::ring::Pool;

impl Reply<'_, '_, '_> {
    /// The engine for a span of a file.
    pub(super) fn choose(&mut self, version: &Rc<Version>, span: Span) -> Choice {
        let options = self.cx.options;
        if options.engine != Kind::Auto {
            return Choice { kind: options.engine, why: Reason::Fixed };
        }
        let thresholds = &options.thresholds;
        let direct = version.direct.is_some();
        let kept = direct && self.cx.blocks.keeps(version, span.start..span.start + span.len);
        let io = &mut *self.cx.io;
        // Reads by the ring, which small bodies travel by, and blocks that are kept are as good
        // whatever the page cache has; and asking may start read-ahead, which HEAD has no use for.
        let asks =
            span.len > thresholds.small_bytes_max && !kept && self.head.method == Method::Get;
        let passes = options.drop_from.is_some_and(|least| version.facts.size >= least);
        let resident = match asks {
            true => engines::begins_resident(version, span.start, span.len, passes, io),
            false => None,
        };
        let asked = match asks {
            true => self.asked(version, resident == Some(false)),
            false => Asked::Once,
        };
        let io = &mut *self.cx.io;
        let facts = Facts {
            count: span.len,
            resident,
            may_block: io.mount_kind(version.facts.mount).may_block(),
            direct,
            kept,
            asked,
            passes,
            no_buffer: false,
            no_block: self.cx.blocks.is_short(),
            rate: self.outbox.uptake.rate(),
        };
        let choice = engines::choose(&facts, thresholds);
        if choice.kind == Kind::Uring && io.lease_if_free(Pool::Body).is_none() {
            return engines::choose(&Facts { no_buffer: true, ..facts }, thresholds);
        }
        if resident == Some(false) && choice.kind != Kind::Direct {
            self.cx.cache.tenure.note(version, span.start, &*self.cx.io);
        }
        choice
    }

    /// How often the file is asked for, and takes note that it is.
    fn asked(&mut self, version: &Version, cold: bool) -> Asked {
        let now = self.cx.io.now();
        let before = *self.file_asked.get_or_insert_with(|| version.note_asked(now));
        // This request may have been looked at before.
        match before.filter(|before| *before < self.begun) {
            Some(before) if cold => match self.cx.cache.tenure.keeps(now.since(before), self.cx.io)
            {
                true => Asked::Again,
                false => Asked::Rarely,
            },
            Some(_) => Asked::Again,
            None => Asked::Once,
        }
    }

    /// Puts a span of a file in, and counts why its engine moves it.
    pub(super) fn put_span(&mut self, version: &Rc<Version>, span: Span, choice: Choice) {
        if span.len > 0 {
            self.cx.engines.choices(choice.why).add(1);
            self.outbox.put_span(Rc::clone(version), span.start, span.len, choice.kind);
        }
    }

    /// The lines of an answer behind those that its head has anyway; with the choice, where that
    /// is to be shown (Server Timing, W3C, section 2).
    pub(super) fn timed<'e>(&self, extra: &'e [u8], choice: Choice) -> Cow<'e, [u8]> {
        if !self.cx.options.server_timing {
            return Cow::Borrowed(extra);
        }
        let engine = if choice.why == Reason::Hot { "memory" } else { choice.kind.name() };
        let line = format!("Server-Timing: {engine};desc=\"{}\"\r\n", choice.why.name());
        Cow::Owned([extra, line.as_bytes()].concat())
    }
}
