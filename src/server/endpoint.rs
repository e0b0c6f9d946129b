//! The paths that the server answers itself: its figures, and whether it lives and is ready.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_128;

use super::options::{Options, Telemetry};
use super::reports::{Asked, Reports};
use super::shards::Shards;
use crate::connection::{Answer, Door, Endpoint, Freshness, Made, Question};
use crate::http::head::Head;
use crate::http::media::Media;
use crate::http::negotiate::{self, Form};
use crate::http::response::FieldEdit;
use crate::http::status::Status;
use crate::http::tag::Tag;
use crate::ring::{Io, Owner};
use crate::telemetry::{self, About, Held, POLICY};

/// The forms of the figures, the one for whoever names none first.
const FORMS: [Form; 4] = [Form::Json, Form::Html, Form::Prometheus, Form::OpenMetrics];

/// What is told to who asks for a form that there is not.
const UNKNOWN_FORM: &[u8] = b"400 Bad Request\nThere is no such format; json, html, prometheus \
    and openmetrics there are.\n";

/// The figures of all workers, and the state of this one.
#[derive(Debug)]
pub(super) struct Figures {
    options: Telemetry,
    about: About,
    started: Instant,
    reports: Reports,
    /// The page, once somebody has asked for it.
    page: Option<(Rc<[u8]>, Tag)>,
}

/// What a query asks for.
enum Wanted {
    Form(Form),
    Detailed,
    Unknown,
}

impl Figures {
    pub(super) fn new(
        options: &Options,
        shards: Arc<Shards>,
        ring_setup: &'static str,
        sandbox: Arc<[Held]>,
        started: Instant,
    ) -> Self {
        let about = About {
            engine: options.engine.name(),
            ring_setup,
            workers: options.workers,
            memory_limit: options.memory.as_ref().map_or(0, |memory| memory.bytes),
            sandbox,
            laps: options.laps.clone().into(),
            ..About::default()
        };
        let (options, reports) = (options.telemetry.clone(), Reports::new(shards));
        Self { options, about, started, reports, page: None }
    }

    fn page(&mut self) -> (Rc<[u8]>, Tag) {
        let make = || {
            let page = telemetry::page().into_bytes();
            let tag = Tag::of_content(&xxh3_128(&page).to_le_bytes(), negotiate::Coding::Identity);
            (Rc::from(page), tag)
        };
        self.page.get_or_insert_with(make).clone()
    }

    fn figures(&mut self, head: &Head<'_>, question: Question) -> Answer {
        let form = match wanted(head) {
            Wanted::Form(Form::Html) => {
                let (body, tag) = self.page();
                let policy = FieldEdit::set("Content-Security-Policy", POLICY).ok();
                let made = Made::new(Status::Ok, Media::new("text/html"), body);
                let freshness = Freshness::Tagged(tag);
                return Answer::Made(Made { freshness, policy, varies: true, ..made });
            }
            Wanted::Form(Form::Prometheus) => telemetry::Form::Prometheus,
            Wanted::Form(Form::OpenMetrics) => telemetry::Form::OpenMetrics,
            Wanted::Form(Form::Json | Form::Plain) => telemetry::Form::Json,
            Wanted::Detailed => telemetry::Form::Detailed,
            Wanted::Unknown => {
                let body = Rc::from(UNKNOWN_FORM);
                let media = Media::new("text/plain");
                return Answer::Made(Made::new(Status::BadRequest, media, body));
            }
        };
        let media = match form {
            telemetry::Form::Json | telemetry::Form::Detailed => Form::Json,
            telemetry::Form::Prometheus => Form::Prometheus,
            telemetry::Form::OpenMetrics => Form::OpenMetrics,
        };
        match self.reports.ask(form, question.owner, question.since) {
            Asked::Made(body) => {
                let media = Media::new(media.content_type());
                Answer::Made(Made { varies: true, ..Made::new(Status::Ok, media, body) })
            }
            Asked::Waiting => Answer::Waiting,
            Asked::Full => Answer::Overloaded,
        }
    }
}

impl Endpoint for Figures {
    fn is_at(&self, door: Door, path: &[u8]) -> bool {
        let Telemetry { on, listen, health, .. } = &self.options;
        let figures = *on && (door == Door::Telemetry || listen.is_empty());
        let states = *health || door == Door::Telemetry;
        figures && path == self.options.path.as_bytes()
            || states && path == self.options.health_path.as_bytes()
            || states && path == self.options.ready_path.as_bytes()
    }

    fn answer(&mut self, head: &Head<'_>, peer: Option<IpAddr>, question: Question) -> Answer {
        if head.path == self.options.health_path.as_bytes() {
            return said(Status::Ok, "alive\n");
        }
        if head.path == self.options.ready_path.as_bytes() {
            return if question.ready {
                said(Status::Ok, "ready\n")
            } else {
                said(Status::ServiceUnavailable, "not ready\n")
            };
        }
        if !self.options.allow.permits(peer, question.via) {
            return Answer::Nothing;
        }
        self.figures(head, question)
    }

    fn has_work(&self) -> bool {
        self.reports.has_work()
    }

    fn work(&mut self, io: &mut dyn Io) -> bool {
        let about = || About { uptime: self.started.elapsed(), ..self.about.clone() };
        self.reports.work(io, about)
    }

    fn next_woken(&mut self) -> Option<Owner> {
        self.reports.next_woken()
    }
}

fn said(status: Status, text: &'static str) -> Answer {
    Answer::Made(Made::new(status, Media::new("text/plain"), Rc::from(text.as_bytes())))
}

/// Which form the query names, or Accept (RFC 9110 section 12.5.1). What else is in the query is
/// read over; the last of a name counts.
fn wanted(head: &Head<'_>) -> Wanted {
    let mut form = None;
    let mut buckets = false;
    for pair in head.query.unwrap_or_default().split(|byte| *byte == b'&') {
        match pair {
            b"format=json" => form = Some(Form::Json),
            b"format=html" => form = Some(Form::Html),
            b"format=prometheus" => form = Some(Form::Prometheus),
            b"format=openmetrics" => form = Some(Form::OpenMetrics),
            b"buckets=true" => buckets = true,
            b"buckets=false" => buckets = false,
            other if other.starts_with(b"format=") => return Wanted::Unknown,
            _ => {}
        }
    }
    match form.unwrap_or_else(|| negotiate::form(head.fields.accept.values(), &FORMS)) {
        Form::Json if buckets => Wanted::Detailed,
        form => Wanted::Form(form),
    }
}
