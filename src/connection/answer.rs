//! From a whole request head to what is owed for it.
//!
//! The order is that of RFC 9110 section 13.2.1: what the request itself forbids, then what it
//! names, then its conditions, then the range.

mod listing;
mod made;

use std::rc::Rc;
use std::time::Duration;

use super::context::{Answer as FromEndpoint, Context, Door, Question};
use super::outbox::{Ended, NoRoom, Outbox};
use super::parts::Parts;
use super::visitor::{Named, Visitor};
use crate::base::{Instant, WallClock};
use crate::cache::{Asker, Before, Name, Version};
use crate::engines::{Choice, Reason};
use crate::http::body::Framing;
use crate::http::conditions::{self, Conditions, Outcome, Validators};
use crate::http::head::{Head, Method, Version as HttpVersion};
use crate::http::multipart::{self, Boundary};
use crate::http::negotiate::{Available, Coding, Codings};
use crate::http::range::{self, Selection, Span};
use crate::http::refusal::Refusal;
use crate::http::response::{self, Frame, Persistence};
use crate::http::sink::Sink;
use crate::http::status::Status;
use crate::http::target;
use crate::limits::{DISCARD_BYTES_MAX, HOT_COPIED_BYTES_MAX, RESOLVE_WAITS_MAX};
use crate::resource::{Asked, At, HostId, Known, Page, Resolution};
use crate::ring::{Kept, Socket};

/// A request whose answer is not put in yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// When its first byte was read.
    pub(super) begun: Instant,
    /// Since when its body is waited for: its head was whole then.
    pub(super) body_begun: Instant,
    /// For how long it waited for a buffer to be read to, which is laid to nobody's charge but the
    /// server's.
    pub(super) held_up: Duration,
    /// Whether its first bytes lay in the buffer behind another request.
    pub(super) behind_another: bool,
    /// How often it waited for the cache.
    waits: u32,
    /// Whether what it names was looked up before.
    resolved: bool,
    /// Whether its client was told to go on.
    continued: bool,
    /// Whether its body was read away.
    pub(super) body_read: bool,
}

/// Who asks.
pub(super) struct Asking<'a> {
    pub(super) socket: &'a Socket,
    pub(super) visitor: &'a mut Visitor,
    /// Who the request says it is.
    pub(super) named: Named,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answered {
    /// Its answer is owed; the connection goes on, or not.
    Put { keep: bool },
    /// Its body must be read away first.
    ReadBody(Framing),
    /// The client was told to go on; what is there must be sent before its body is waited for.
    Continue,
    /// What it names is being found out, on this mount.
    Waiting(u64),
    /// What is there must be sent first.
    SendFirst,
    /// A buffer is waited for.
    NoBuffer,
}

/// Puts the answer to a request in, or says what is in the way.
pub(super) fn answer(
    head: &Head<'_>,
    request: &mut Request,
    served: u64,
    mut asking: Asking<'_>,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Answered {
    let owes_body = !request.body_read && head.framing != Framing::None;
    let too_long = owes_body && head.framing.too_long_to_discard(DISCARD_BYTES_MAX);
    // An answer before the body leaves in doubt whether the body still comes.
    let unread = owes_body && (too_long || head.expect_continue);
    if owes_body && !unread {
        return Answered::ReadBody(head.framing);
    }
    let last = cx.options.requests_max > 0 && served + 1 >= cx.options.requests_max;
    let keep = head.keep_alive && !cx.draining && !last && !unread;
    let host = cx.site.host(head.authority);
    let again = std::mem::replace(&mut request.resolved, true);
    let (varies, coding, begun) = (false, Coding::Identity, request.begun);
    let file_asked = None;
    let mut reply =
        Reply { head, host, keep, varies, coding, begun, again, file_asked, outbox, cx };
    if let Some(refusal) = head.refusal {
        return reply.refuse(refusal, request);
    }
    if asking.named.too_many {
        return reply.refuse(Refusal::AddressTooMany, request);
    }
    let resolution = match reply.resolve(request, &mut asking) {
        Ok(resolution) => resolution,
        Err(answered) => return answered,
    };
    match resolution {
        Target::Refused(refusal) if reply.cx.door == Door::Telemetry => {
            reply.refuse_plainly(refusal)
        }
        Target::Refused(refusal) => reply.refuse(refusal, request),
        _ if unread && !too_long => {
            match reply.outbox.write(reply.cx.io, |out| out.put(response::CONTINUE)) {
                Ok(()) => {
                    request.continued = true;
                    Answered::Continue
                }
                Err(no_room) => answered(no_room),
            }
        }
        Target::File(name, at) => reply.file(&name, at, request),
        Target::Listing(page) => reply.listing(&page),
        Target::Redirect => reply.redirect(),
        Target::Moved(redirect) => reply.moved(redirect),
        Target::Options => reply.options(),
        Target::Made(made) => reply.made(&made),
    }
}

impl Request {
    /// A request whose first byte has come, or is about to.
    pub(super) fn begun_at(begun: Instant) -> Self {
        Self { begun, ..Self::default() }
    }

    /// Its head is whole, and its body has a time of its own.
    pub(super) fn begins_body(&mut self, now: Instant) {
        (self.body_begun, self.held_up) = (now, Duration::ZERO);
    }

    /// Whether a body that was announced with `Expect` may be read now.
    pub(super) fn awaits_announced_body(&self) -> bool {
        self.continued && !self.body_read
    }
}

enum Target {
    File(Rc<Name>, At),
    Listing(Rc<Page>),
    Redirect,
    Moved(usize),
    Options,
    Made(super::context::Made),
    Refused(Refusal),
}

/// A request and where its answer goes.
pub(super) struct Reply<'a, 'b, 'h> {
    pub(super) head: &'a Head<'h>,
    pub(super) host: HostId,
    pub(super) keep: bool,
    /// The name has variants, so that every answer about it depends on Accept-Encoding.
    pub(super) varies: bool,
    /// How the file that is sent is coded.
    pub(super) coding: Coding,
    pub(super) begun: Instant,
    /// Whether the request was resolved before, and is looked at again.
    again: bool,
    /// When the file was asked for before this request, if it was, once that was asked.
    pub(super) file_asked: Option<Before>,
    pub(super) outbox: &'a mut Outbox,
    pub(super) cx: &'a mut Context<'b>,
}

impl<'b> Reply<'_, 'b, '_> {
    fn resolve(
        &mut self,
        request: &mut Request,
        asking: &mut Asking<'_>,
    ) -> Result<Target, Answered> {
        if self.head.method == Method::Options {
            // What a path names is not looked at, but one that names nothing is still refused.
            return Ok(match self.head.path {
                b"*" => Target::Options,
                path => match target::resolve(path, self.cx.path) {
                    Ok(_) => Target::Options,
                    Err(error) => Target::Refused(error.into()),
                },
            });
        }
        if self.cx.endpoint.is_at(self.cx.door, self.head.path) {
            let Asking { socket, visitor, named } = asking;
            let (peer, via) = visitor.asks(*named, self.head.fields.forwarded, socket, self.cx);
            let (owner, ready) = (self.cx.owner, self.cx.ready);
            let question = Question { owner, since: self.begun, ready, via };
            match self.cx.endpoint.answer(self.head, peer, question) {
                FromEndpoint::Made(made) => return Ok(Target::Made(made)),
                // No disk is waited for.
                FromEndpoint::Waiting => return Err(self.wait(request, 0)),
                FromEndpoint::Overloaded => return Ok(Target::Refused(Refusal::Overloaded)),
                FromEndpoint::Nothing => {}
            }
        }
        if self.cx.door == Door::Telemetry {
            return Ok(Target::Refused(Refusal::NotFound));
        }
        let asker = self.asker();
        let cx = &mut *self.cx;
        cx.cache.catch_up(cx.io);
        match cx.site.resolve(self.host, self.head.path, cx.path, cx.cache, asker) {
            Resolution::File(name, at) => Ok(Target::File(name, at)),
            Resolution::Listing(listed) => self.find_listing(&listed, request),
            Resolution::Redirect => Ok(Target::Redirect),
            Resolution::Moved(redirect) => Ok(Target::Moved(redirect)),
            Resolution::Refused(refusal) => Ok(Target::Refused(refusal)),
            Resolution::Waiting(mount) => Err(self.wait(request, mount)),
        }
    }

    /// Waits for the cache, and so for a mount, a bounded number of times.
    pub(super) fn wait(&mut self, request: &mut Request, mount: u64) -> Answered {
        request.waits += 1;
        if request.waits > RESOLVE_WAITS_MAX {
            return self.refuse_plainly(Refusal::Overloaded);
        }
        Answered::Waiting(mount)
    }

    pub(super) fn asker(&self) -> Asker {
        let now = self.cx.io.now();
        Asker { owner: self.cx.owner, since: self.begun, now, again: self.again }
    }

    pub(super) fn persistence(&self) -> Persistence {
        match (self.keep, self.head.version) {
            (false, _) => Persistence::Close,
            (true, HttpVersion::Http10) => Persistence::KeepAlive,
            (true, HttpVersion::Http11) => Persistence::Implied,
        }
    }

    /// A file, by its conditions and ranges.
    fn file(&mut self, name: &Name, at: At, request: &mut Request) -> Answered {
        let fields = &self.head.fields;
        let available = Available {
            br: name.variants[0].is_some(),
            zstd: name.variants[1].is_some(),
            gzip: name.variants[2].is_some(),
        };
        self.varies = available != Available::default();
        let coding = if fields.accept_encoding.is_present() && self.varies {
            Codings::parse(fields.accept_encoding.values()).choose(available)
        } else {
            Coding::Identity
        };
        self.coding = coding;
        let version = name.version(coding).unwrap_or(&name.original);
        if !version.holds(request.begun, self.cx.io) {
            return self.look_again(at, request);
        }
        let wall = self.cx.io.wall();
        let asked = Asked { at, path: self.cx.path, raw: self.head.path, origin: fields.origin };
        let known = self.cx.site.known(asked, name, version, wall);
        let conditions = Conditions {
            if_match: fields.if_match.values(),
            if_none_match: fields.if_none_match.values(),
            if_modified_since: fields.if_modified_since,
            if_unmodified_since: fields.if_unmodified_since,
            if_range: fields.if_range,
        };
        let validators =
            Validators { tag: Some(known.tag.as_bytes()), last_modified: Some(known.modified) };
        let range_allowed = match conditions::evaluate(conditions, validators, wall.seconds) {
            Outcome::PreconditionFailed => {
                return self.refuse_plainly(Refusal::PreconditionFailed);
            }
            Outcome::NotModified => {
                let frame = self.frame(&known.extra);
                let wrote = self.outbox.write(self.cx.io, |out| {
                    response::bare(out, Status::NotModified, &known.lines, frame);
                });
                return self.end(wrote, self.ended(Status::NotModified, 0));
            }
            Outcome::Proceed { range_allowed } => range_allowed,
        };
        let size = version.facts.size;
        let selection = match fields.range {
            Some(value) if range_allowed && self.head.method == Method::Get => {
                range::select(value, size)
            }
            _ => Selection::Ignored,
        };
        match selection {
            Selection::Ignored | Selection::Whole => self.whole(version, &known, wall),
            Selection::One(span) => self.partial(version, &known, span),
            Selection::Many(spans) => self.multipart(version, &known, &spans),
            Selection::Unsatisfiable => self.unsatisfiable(size),
        }
    }

    /// The whole file: from memory with its head, if it is there, else by an engine.
    fn whole(&mut self, version: &Rc<Version>, known: &Known, wall: WallClock) -> Answered {
        let size = version.facts.size;
        let lines = &*known.lines;
        let is_get = self.head.method == Method::Get;
        let asked = (self.begun, self.cx.io.now());
        let body = if is_get { self.cx.cache.body(version, asked, wall) } else { None };
        let span = Span { start: 0, len: size };
        let choice = match &body {
            Some(_) => Choice { kind: self.cx.options.engine, why: Reason::Hot },
            None => self.choose(version, span),
        };
        let extra = self.timed(&known.extra, &[choice]);
        let frame = self.frame(&extra);
        // What fits behind its head is cheaper copied there than gathered.
        let copied = size <= HOT_COPIED_BYTES_MAX as u64;
        let wrote = self.outbox.write(self.cx.io, |out| {
            response::whole(out, Status::Ok, lines, size, frame);
            if let Some(body) = body.as_ref().filter(|_| copied) {
                out.put(body.bytes());
            }
        });
        match (&wrote, body) {
            (Ok(()), Some(body)) => {
                self.cx.engines.choices(choice.why).add(1);
                self.cx.cache.put_body();
                if !copied {
                    self.outbox.put_kept(body);
                }
            }
            (Ok(()), None) if is_get => self.put_span(version, span, choice),
            _ => {}
        }
        let body = if self.head.method == Method::Get { size } else { 0 };
        let ended = self.ended(Status::Ok, body);
        self.end(wrote, Ended { coding: self.coding, rate: known.rate, of_file: true, ..ended })
    }

    fn partial(&mut self, version: &Rc<Version>, known: &Known, span: Span) -> Answered {
        let lines = &*known.lines;
        let total = version.facts.size;
        let choice = self.choose(version, span);
        let extra = self.timed(&known.extra, &[choice]);
        let frame = self.frame(&extra);
        let wrote =
            self.outbox.write(self.cx.io, |out| response::partial(out, lines, span, total, frame));
        if wrote.is_ok() {
            self.put_span(version, span, choice);
        }
        let range = Some((span.start, span.len));
        let ended = self.ended(Status::PartialContent, span.len);
        let (coding, rate) = (self.coding, known.rate);
        self.end(wrote, Ended { coding, range, rate, of_file: true, ..ended })
    }

    /// Several parts, each with its head (RFC 9110 section 15.3.7.2).
    fn multipart(&mut self, version: &Rc<Version>, known: &Known, spans: &[Span]) -> Answered {
        let lines = &*known.lines;
        let total = version.facts.size;
        let boundary = Boundary::new((self.cx.nonce)());
        let Some(length) = multipart::length(&boundary, lines, spans, total) else {
            return self.whole(version, known, self.cx.io.wall());
        };
        let choices: Vec<_> = spans.iter().map(|span| self.choose(version, *span)).collect();
        let extra = self.timed(&known.extra, &choices);
        let frame = self.frame(&extra);
        let wrote = self.outbox.write(self.cx.io, |out| {
            response::multipart(out, lines, boundary.as_bytes(), length, frame);
        });
        if wrote.is_ok() {
            let parts = spans.iter().zip(&choices).map(|(span, choice)| {
                self.cx.engines.choices(choice.why).add(1);
                (*span, choice.kind)
            });
            let parts = parts.collect();
            let lines = Rc::clone(&known.lines);
            self.outbox.put_parts(Parts::new(Rc::clone(version), lines, boundary, parts), length);
        }
        let ended = self.ended(Status::PartialContent, length);
        self.end(wrote, Ended { coding: self.coding, rate: known.rate, of_file: true, ..ended })
    }

    pub(super) fn frame<'e>(&self, extra: &'e [u8]) -> Frame<'e>
    where
        'b: 'e,
    {
        Frame { date: self.cx.date, persistence: self.persistence(), extra }
    }

    /// An answer to this request with so many bytes of body.
    pub(super) fn ended(&self, status: Status, body: u64) -> Ended {
        Ended::new(status, self.begun, body)
    }

    pub(super) fn end(&mut self, wrote: Result<(), NoRoom>, ended: Ended) -> Answered {
        match wrote {
            Ok(()) => {
                self.outbox.end_answer(ended);
                Answered::Put { keep: self.keep }
            }
            Err(NoRoom::TooLong) => self.refuse_plainly(Refusal::TargetTooLong),
            Err(no_room) => answered(no_room),
        }
    }
}

pub(super) fn answered(no_room: NoRoom) -> Answered {
    match no_room {
        NoRoom::SendFirst => Answered::SendFirst,
        NoRoom::NoBuffer => Answered::NoBuffer,
        NoRoom::TooLong => unreachable!("a notice is short"),
    }
}
