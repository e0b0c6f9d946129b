//! The listing of a directory.

use std::rc::Rc;

use super::{Answered, Reply, Request, Target};
use crate::http::conditions::{self, Conditions, Outcome, Validators};
use crate::http::head::Method;
use crate::http::listing::{FORMS, View};
use crate::http::negotiate;
use crate::http::refusal::Refusal;
use crate::http::response;
use crate::http::status::Status;
use crate::resource::{Listable, Listed, Page, Wanted};
use crate::ring::Kept;

impl Reply<'_, '_, '_> {
    /// Has the listing made, in the form that is asked for (RFC 9110 section 12.5.1).
    pub(super) fn find_listing(
        &mut self,
        listed: &Listable,
        request: &mut Request,
    ) -> Result<Target, Answered> {
        let view = View::parse(self.head.query);
        let accepted = || negotiate::form(self.head.fields.accept.values(), &FORMS);
        let form = view.form.unwrap_or_else(accepted);
        let asker = self.asker();
        let cx = &mut *self.cx;
        let wanted = Wanted {
            directory: &listed.directory,
            path: cx.path,
            tree: listed.tree,
            root: cx.cache.root(listed.tree),
            beneath: cx.path.get(listed.skip..).unwrap_or_default(),
            follow_links: cx.cache.follows_links(),
            dotfiles: listed.dotfiles,
            mounts: &listed.mounts,
            view,
            form,
        };
        match cx.listings.ask(&wanted, asker) {
            Listed::Page(page) => Ok(Target::Listing(page)),
            Listed::Refused(refusal) => Ok(Target::Refused(self.cx.site.told(self.host, refusal))),
            Listed::Waiting => Err(self.wait(request, listed.directory.facts.mount)),
        }
    }

    /// A listing by its conditions. It has no ranges: its bytes are made anew each time.
    pub(super) fn listing(&mut self, page: &Rc<Page>) -> Answered {
        let fields = &self.head.fields;
        let conditions = Conditions {
            if_match: fields.if_match.values(),
            if_none_match: fields.if_none_match.values(),
            if_modified_since: fields.if_modified_since,
            if_unmodified_since: fields.if_unmodified_since,
            if_range: None,
        };
        let validators = Validators { tag: Some(page.tag.as_bytes()), last_modified: None };
        let now = self.cx.io.wall().seconds;
        let marks = self.cx.site.listing_marks(self.host, self.head.path, fields.origin);
        let lines = page.lines(&marks);
        let frame = self.frame(&marks.lines);
        let length = page.bytes().len() as u64;
        match conditions::evaluate(conditions, validators, now) {
            Outcome::PreconditionFailed => self.refuse_plainly(Refusal::PreconditionFailed),
            Outcome::NotModified => {
                let wrote = self.outbox.write(self.cx.io, |out| {
                    response::bare(out, Status::NotModified, &lines, frame);
                });
                self.end(wrote, self.ended(Status::NotModified, 0))
            }
            Outcome::Proceed { .. } => {
                let wrote = self.outbox.write(self.cx.io, |out| {
                    response::whole(out, Status::Ok, &lines, length, frame);
                });
                if wrote.is_ok() && self.head.method == Method::Get {
                    self.outbox.put_kept(Rc::clone(page) as Rc<dyn Kept>);
                }
                let body = if self.head.method == Method::Get { length } else { 0 };
                self.end(wrote, self.ended(Status::Ok, body))
            }
        }
    }
}
