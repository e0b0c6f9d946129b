//! Which engine moves a span of a file, for a fixed engine and for `auto`.

use std::borrow::Cow;
use std::rc::Rc;

use super::answer::Reply;
use crate::cache::{Before, Version};
use crate::engines::{self, Asked, Choice, Facts, Kind, Reason};
use crate::http::head::Method;
use crate::http::range::Span;
use crate::limits::{MOVED_ASKS_MIN, RECALLED_ASKS_MIN};
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
        // Reads by the ring, which small bodies travel by, are as good whatever the page cache has,
        // but for those that might be read past it. HEAD has no use for an answer.
        let all_alike = thresholds.small_bytes_max.min(thresholds.once_bytes_min.saturating_sub(1));
        let asks = span.len > all_alike && self.head.method == Method::Get;
        let passes = options.drop_from.is_some_and(|least| version.facts.size >= least);
        let before = if asks { self.asked_before(version) } else { Before::default() };
        let io = &mut *self.cx.io;
        let resident = match asks {
            true if kept => engines::is_known_resident(version, span.start, span.len, io),
            true => engines::begins_resident(version, span.start, span.len, passes, io),
            false => None,
        };
        let asked = self.asked(before, resident == Some(false) || kept && resident.is_none());
        let often = before.count >= MOVED_ASKS_MIN && asked == Asked::Again;
        if kept && often && resident != Some(true) && !passes {
            self.cx.cache.bring_in(version, span.start..span.start + span.len);
        }
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

    /// When and how often the file was asked for before. Takes note that it is.
    fn asked_before(&mut self, version: &Version) -> Before {
        if let Some(before) = self.file_asked {
            return before;
        }
        let now = self.cx.io.now();
        let last = version.note_asked(now);
        if last.is_some_and(|last| last >= self.begun) {
            // This request may have been looked at before.
            return *self.file_asked.insert(Before::default());
        }
        let recalled = self.cx.cache.recall.ask(&version.facts, now);
        // Of a file that was closed meanwhile one more request is waited for: those of a large set
        // come again by chance.
        let last = last.or(recalled.last.filter(|_| recalled.count >= RECALLED_ASKS_MIN));
        *self.file_asked.insert(Before { last, ..recalled })
    }

    /// How often a file is asked for.
    fn asked(&mut self, before: Before, cold: bool) -> Asked {
        let now = self.cx.io.now();
        match before.last {
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

    /// The lines of an answer behind those that its head has anyway; with the choices for its
    /// parts, each once, where they are to be shown (Server Timing, W3C, section 2).
    pub(super) fn timed<'e>(&self, extra: &'e [u8], choices: &[Choice]) -> Cow<'e, [u8]> {
        if !self.cx.options.server_timing {
            return Cow::Borrowed(extra);
        }
        let mut metrics: Vec<String> = Vec::new();
        for Choice { kind, why } in choices {
            let engine = if *why == Reason::Hot { "memory" } else { kind.name() };
            let metric = format!("{engine};desc=\"{}\"", why.name());
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        let line = format!("Server-Timing: {}\r\n", metrics.join(", "));
        Cow::Owned([extra, line.as_bytes()].concat())
    }
}
