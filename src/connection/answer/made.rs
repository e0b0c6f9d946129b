//! An answer that the server made itself.

use std::rc::Rc;

use super::{Answered, Reply};
use crate::connection::context::{Freshness, Made};
use crate::http::conditions::{self, Conditions, Outcome, Validators};
use crate::http::head::Method;
use crate::http::response::{self, Entity, EntityLines, FieldEdit, Vary};
use crate::http::status::Status;

impl Reply<'_, '_, '_> {
    /// What was made, unless the client has it.
    pub(super) fn made(&mut self, made: &Made) -> Answered {
        let (cache_control, tag) = match made.freshness {
            Freshness::Once => ("no-store", None),
            Freshness::Tagged(tag) => ("no-cache", Some(tag)),
        };
        let mut edits: Vec<_> =
            FieldEdit::set("Cache-Control", cache_control).into_iter().collect();
        edits.extend(made.policy.clone());
        let vary = Vary { accept: made.varies, ..Vary::default() };
        let lines = EntityLines::new(&Entity { tag, vary, ..Entity::of_text(made.media) }, &edits);
        let frame = self.frame(&[]);
        if tag.is_some_and(|tag| self.has(tag.as_bytes())) {
            let wrote = self.outbox.write(self.cx.io, |out| {
                response::bare(out, Status::NotModified, &lines, frame);
            });
            return self.end(wrote, Status::NotModified);
        }
        let wrote = self.outbox.write(self.cx.io, |out| {
            response::whole(out, made.status, &lines, made.body.len() as u64, frame);
        });
        if wrote.is_ok() && self.head.method != Method::Head {
            self.outbox.put_shared(Rc::clone(&made.body));
        }
        self.end(wrote, made.status)
    }

    /// Whether the client holds what the tag stands for (RFC 9110 section 13.1.2).
    fn has(&self, tag: &[u8]) -> bool {
        let fields = &self.head.fields;
        let conditions = Conditions {
            if_match: fields.if_match.values(),
            if_none_match: fields.if_none_match.values(),
            if_modified_since: None,
            if_unmodified_since: None,
            if_range: None,
        };
        let validators = Validators { tag: Some(tag), last_modified: None };
        let outcome = conditions::evaluate(conditions, validators, self.cx.io.wall().seconds);
        outcome == Outcome::NotModified
    }
}
