//! Answers of a sentence: refusals and redirects.

use super::context::Context;
use super::outbox::{Ended, NoRoom, Outbox};
use crate::base::Instant;
use crate::http::media::Media;
use crate::http::negotiate::Form;
use crate::http::notice;
use crate::http::refusal::Refusal;
use crate::http::response::{self, Entity, EntityLines, Frame, Persistence, Vary};
use crate::http::sink::{HeadWriter, Sink};
use crate::http::status::Status;
use crate::resource::Marks;
use crate::ring::Pool;

/// What is said, and how.
#[derive(Debug)]
pub(super) struct Notice<'a> {
    pub(super) status: Status,
    /// One sentence, or nothing.
    pub(super) text: &'a str,
    /// Whole field lines.
    pub(super) extra: &'a [u8],
    /// What the rules add to its fields.
    pub(super) marks: &'a Marks,
    pub(super) form: Form,
    pub(super) persistence: Persistence,
    /// Whether the body goes out, which it does not after HEAD.
    pub(super) with_body: bool,
}

impl Notice<'_> {
    /// Puts the answer to a request that began at `begun` into the outbox.
    pub(super) fn put(
        &self,
        begun: Instant,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Result<(), NoRoom> {
        self.put_in(begun, outbox, cx, false)
    }

    fn put_in(
        &self,
        begun: Instant,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
        aside: bool,
    ) -> Result<(), NoRoom> {
        let mut body = Vec::with_capacity(128);
        notice::notice(&mut body, self.status, self.text, self.form);
        let lines = lines(self.form, self.marks);
        let frame = Frame { date: cx.date, persistence: self.persistence, extra: self.extra };
        let write = |out: &mut HeadWriter<'_>| {
            response::whole(out, self.status, &lines, body.len() as u64, frame);
            if self.with_body {
                out.put(&body);
            }
        };
        match aside {
            true => outbox.write_aside(write)?,
            false => outbox.write(cx.io, write)?,
        }
        let owed = if self.with_body { body.len() as u64 } else { 0 };
        outbox.end_answer(Ended::new(self.status, begun, owed));
        Ok(())
    }
}

/// Puts a refusal that answers no request: time-outs, and what cannot be framed. The connection
/// closes after it. `asked` is what came of the request.
pub(super) fn refuse_unasked(
    refusal: Refusal,
    asked: &[u8],
    begun: Instant,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Result<(), NoRoom> {
    refuse(refusal, asked, cx, |notice, cx| notice.put(begun, outbox, cx))
}

/// The same to whoever is given up, for whom no buffer is waited any more: where none is free the
/// refusal is made in memory of its own.
pub(super) fn refuse_at_once(
    refusal: Refusal,
    asked: &[u8],
    begun: Instant,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Result<(), NoRoom> {
    // Nobody is asked to give way for it.
    let aside = outbox.is_empty() && cx.io.lease_if_free(Pool::Answer).is_none();
    refuse(refusal, asked, cx, |notice, cx| notice.put_in(begun, outbox, cx, aside))
}

fn refuse(
    refusal: Refusal,
    asked: &[u8],
    cx: &mut Context<'_>,
    put: impl FnOnce(&Notice<'_>, &mut Context<'_>) -> Result<(), NoRoom>,
) -> Result<(), NoRoom> {
    let notice = Notice {
        status: refusal.status(),
        text: refusal.text(),
        extra: &refusal_lines(refusal),
        // Its path is not known, so no rule goes by it.
        marks: &Marks::default(),
        form: Form::Plain,
        persistence: Persistence::Close,
        // Who asked with HEAD reads no body, however little of the rest is sound (RFC 9110 section
        // 9.3.2).
        with_body: !asked.trim_ascii_start().starts_with(b"HEAD "),
    };
    put(&notice, cx)?;
    cx.stats.refusals(refusal).add(1);
    Ok(())
}

/// The lines of a notice. Which form it has depends on Accept (RFC 9110 section 12.5.5).
pub(super) fn lines(form: Form, marks: &Marks) -> EntityLines {
    let essence = form.content_type().split(';').next().unwrap_or("text/plain");
    let vary = Vary { accept: true, ..marks.vary };
    EntityLines::new(&Entity { vary, ..Entity::of_text(Media::new(essence)) }, &marks.edits)
}

/// Allow and Retry-After, where a refusal has them.
pub(super) fn refusal_lines(refusal: Refusal) -> Vec<u8> {
    let mut lines = Vec::new();
    if let Some(allow) = refusal.allow() {
        lines.extend_from_slice(format!("Allow: {allow}\r\n").as_bytes());
    }
    if let Some(seconds) = refusal.retry_after_seconds() {
        lines.extend_from_slice(format!("Retry-After: {seconds}\r\n").as_bytes());
    }
    lines
}
