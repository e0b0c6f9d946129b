//! Answers that are not the file that was asked for: refusals with their pages, redirects, and
//! what OPTIONS is told.

use std::rc::Rc;

use super::answer::{Answered, Reply, Request, answered};
use super::notice::{self, Notice};
use super::outbox::Ended;
use crate::cache::{Lookup, Version};
use crate::http::head::Method;
use crate::http::media::Media;
use crate::http::negotiate::{self, Form};
use crate::http::notice::{FORMS, notice as sentence};
use crate::http::range::Span;
use crate::http::refusal::{ALLOW, Refusal};
use crate::http::response::{self, Entity, EntityLines};
use crate::http::sink::Sink;
use crate::http::status::Status;
use crate::resource::{At, Marks, Resolution};

impl Reply<'_, '_, '_> {
    /// Refuses, with the page of the status if there is one.
    pub(super) fn refuse(&mut self, refusal: Refusal, request: &mut Request) -> Answered {
        self.keep &= !refusal.closes();
        let asker = self.asker();
        let cx = &mut *self.cx;
        cx.cache.catch_up(cx.io);
        match cx.site.page(self.host, refusal.status(), cx.path, cx.cache, asker) {
            Some(Resolution::File(name, at)) => {
                if name.original.holds(request.begun, self.cx.io) {
                    self.page(refusal, &name.original)
                } else {
                    self.look_again(at, request)
                }
            }
            Some(Resolution::Waiting(mount)) => self.wait(request, mount),
            // A page that is not there is no reason for another refusal.
            Some(_) | None => self.refuse_plainly(refusal),
        }
    }

    /// Refuses with a sentence.
    pub(super) fn refuse_plainly(&mut self, refusal: Refusal) -> Answered {
        self.keep &= !refusal.closes();
        let answered =
            self.notice(refusal.status(), refusal.text(), notice::refusal_lines(refusal));
        if matches!(answered, Answered::Put { .. }) {
            self.cx.stats.refusals(refusal).add(1);
        }
        answered
    }

    /// A file that has changed since it was opened: found out anew, its facts are of this request.
    pub(super) fn look_again(&mut self, at: At, request: &mut Request) -> Answered {
        let asker = self.asker();
        match self.cx.site.again(at, self.cx.path, self.cx.cache, asker) {
            Lookup::Waiting(mount) => self.wait(request, mount),
            Lookup::Known(_) | Lookup::Full => self.refuse_plainly(Refusal::Overloaded),
        }
    }

    /// The page of a refusal: a whole file, whatever the request says of conditions and ranges,
    /// which do not apply (RFC 9110 sections 13.2.1 and 14.2).
    fn page(&mut self, refusal: Refusal, version: &Rc<Version>) -> Answered {
        let marks = self.marks();
        let lines = self.cx.site.page_lines(self.host, self.cx.path, &marks);
        let mut extra = notice::refusal_lines(refusal);
        extra.extend_from_slice(&marks.lines);
        let (status, size) = (refusal.status(), version.facts.size);
        let span = Span { start: 0, len: size };
        let choice = self.choose(version, span);
        let extra = self.timed(&extra, &[choice]);
        let frame = self.frame(&extra);
        let wrote =
            self.outbox.write(self.cx.io, |out| response::whole(out, status, &lines, size, frame));
        if wrote.is_ok() {
            self.cx.stats.refusals(refusal).add(1);
            if self.head.method != Method::Head {
                self.put_span(version, span, choice);
            }
        }
        let body = if self.head.method == Method::Head { 0 } else { size };
        self.end(wrote, Ended { of_file: true, ..self.ended(status, body) })
    }

    /// No range lies in a file of `total` bytes.
    pub(super) fn unsatisfiable(&mut self, total: u64) -> Answered {
        let refusal = Refusal::RangeUnsatisfiable;
        let form = self.form();
        let mut body = Vec::with_capacity(128);
        sentence(&mut body, refusal.status(), refusal.text(), form);
        let marks = self.marks();
        let lines = notice::lines(form, &marks);
        let frame = self.frame(&marks.lines);
        let wrote = self.outbox.write(self.cx.io, |out| {
            response::unsatisfiable(out, &lines, total, body.len() as u64, frame);
            out.put(&body);
        });
        if wrote.is_ok() {
            self.cx.stats.refusals(refusal).add(1);
        }
        self.end(wrote, self.ended(refusal.status(), body.len() as u64))
    }

    /// To the directory's own name, with its slash (the scratch holds it).
    pub(super) fn redirect(&mut self) -> Answered {
        let mut extra = Vec::with_capacity(128);
        response::location_line(self.cx.path, self.head.query, &mut extra);
        self.notice(Status::MovedPermanently, "", extra)
    }

    /// To where a rule says (the scratch holds the path that was asked for).
    pub(super) fn moved(&mut self, redirect: usize) -> Answered {
        let mut extra = Vec::with_capacity(128);
        let (path, query) = (&self.cx.path, self.head.query);
        let status = self.cx.site.location_line(self.host, redirect, path, query, &mut extra);
        self.notice(status, "", extra)
    }

    /// What may be asked of a file, and what a script of another origin may.
    pub(super) fn options(&mut self) -> Answered {
        let fields = &self.head.fields;
        let mut extra = format!("Allow: {ALLOW}\r\n").into_bytes();
        let mut marks = Marks::default();
        match (fields.origin, fields.access_control_request_method) {
            (Some(origin), Some(_)) => {
                self.cx.site.preflight(self.host, self.head.path, origin, &mut extra);
            }
            _ => marks = self.marks(),
        }
        extra.extend_from_slice(&marks.lines);
        let entity = Entity { vary: marks.vary, ..Entity::of_text(Media::new("text/plain")) };
        let lines = EntityLines::new(&entity, &marks.edits);
        let frame = self.frame(&extra);
        let wrote = self.outbox.write(self.cx.io, |out| {
            response::bare(out, Status::NoContent, &lines, frame);
        });
        self.end(wrote, self.ended(Status::NoContent, 0))
    }

    fn notice(&mut self, status: Status, text: &str, mut extra: Vec<u8>) -> Answered {
        let form = self.form();
        let persistence = self.persistence();
        let with_body = self.head.method != Method::Head;
        let marks = self.marks();
        extra.extend_from_slice(&marks.lines);
        Notice { status, text, extra: &extra, marks: &marks, form, persistence, with_body }
            .put(self.begun, self.outbox, self.cx)
            .map_or_else(answered, |()| Answered::Put { keep: self.keep })
    }

    fn marks(&self) -> Marks {
        let origin = self.head.fields.origin;
        let mut marks = self.cx.site.marks(self.host, self.head.path, origin);
        marks.vary.encoding = self.varies;
        marks
    }

    fn form(&self) -> Form {
        negotiate::form(self.head.fields.accept.values(), &FORMS)
    }
}
