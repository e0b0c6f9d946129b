//! The deadlines of a connection: how long each phase may last, and what follows when it is over.

use super::context::{Context, Door};
use super::machine::{Connection, Next, Turn, WAIT};
use super::pace::time_for;
use super::phase::{Phase, Poll, Purpose};
use super::stats::Farewell;
use crate::base::Instant;
use crate::http::refusal::Refusal;
use crate::limits::{DRAIN_NEXT_REQUEST, HEAD_RATE_GRACE};
use crate::ring::Deadline;

impl Connection {
    /// Whether it waits for a request of which nothing has come, so that nothing is lost with it
    /// that cannot be asked again on another connection. Those for telemetry have places of their
    /// own.
    pub fn awaits_request(&self) -> bool {
        self.door() == Door::Site
            && matches!(self.phase, Phase::Awaiting(Purpose::Head))
            && self.input.is_empty()
            && !self.poll.has_fired()
    }

    /// Whether it is only kept in case its client asks once more, or has done so behind the last
    /// answer: all that it asked for was sent.
    pub fn is_kept_for_more(&self) -> bool {
        let lingers = matches!(self.phase, Phase::Awaiting(Purpose::Linger(_)));
        self.served > 0 && (lingers || self.awaits_request())
    }

    /// The time that what comes next has.
    pub(super) fn set_input_deadline(&mut self, cx: &mut Context<'_>) {
        let now = cx.io.now();
        let deadline = match &self.phase {
            Phase::Awaiting(Purpose::Body(_)) => {
                let until = self.request.body_begun + cx.options.body_timeout;
                (Deadline::Body, until + self.request.held_up)
            }
            // Set once, when lingering began: the client does not prolong it.
            Phase::Awaiting(Purpose::Linger(_)) => return,
            // A request may be on its way: the client was not told that the connection closes. One
            // that was never answered does not even ask again by itself.
            _ if self.input.is_empty() && cx.draining => {
                (Deadline::Idle, now + cx.options.idle_timeout.min(DRAIN_NEXT_REQUEST))
            }
            // One that was never asked anything has the time of a head: it owes us one.
            _ if self.input.is_empty() && self.served == 0 => {
                (Deadline::Idle, now + cx.options.head_timeout)
            }
            _ if self.input.is_empty() => (Deadline::Idle, now + cx.options.idle_timeout),
            _ => (Deadline::Head, self.head_until(cx)),
        };
        cx.io.deadline(Some(deadline));
    }

    /// Until when the head must be whole, going by what has come of it.
    fn head_until(&self, cx: &Context<'_>) -> Instant {
        let by_rate = match cx.options.bounds.head_rate {
            0 => cx.options.head_timeout,
            rate => HEAD_RATE_GRACE + time_for(self.input.bytes().len() as u64, rate),
        };
        self.head_begun() + by_rate.min(cx.options.head_timeout)
    }

    /// When the head began to come, without the time in which nobody could read it.
    pub(super) fn head_begun(&self) -> Instant {
        self.request.begun + self.request.held_up
    }

    /// There is something to read, and no buffer to read it to: whoever waits for it is not idle,
    /// and not slow. From the first time on it has the time of one that is starved.
    pub(super) fn waits_for_room(&mut self, cx: &mut Context<'_>) -> Next {
        // What is read away has a time of its own.
        let lingers = matches!(self.phase, Phase::Awaiting(Purpose::Linger(_)));
        if !lingers && !self.poll.is_starved() {
            let now = cx.io.now();
            self.poll = Poll::Starved(now);
            cx.io.deadline(Some((Deadline::Send, now + cx.options.send_timeout)));
        }
        WAIT
    }

    /// What there is to read is being read.
    pub(super) fn finds_room(&mut self, now: Instant) {
        if let Poll::Starved(since) = self.poll {
            self.request.held_up += now.since(since);
        }
        self.poll = Poll::No;
    }

    /// What it waits for did not come: an answer that has begun ends short, and who was told
    /// nothing yet is told to come again.
    fn gives_up_starved(&mut self, cx: &mut Context<'_>) -> Next {
        if !self.outbox.is_empty() {
            return self.cut(Farewell::Truncated, cx);
        }
        self.refuse_unasked(Refusal::Overloaded, Farewell::Closed, cx);
        Next::Again
    }

    /// A deadline has passed.
    pub(super) fn deadline(&mut self, which: Deadline, cx: &mut Context<'_>) -> Next {
        match (which, &self.phase) {
            // It may be asked in this very moment, and a plain close would answer that by a reset.
            // The end of the sending side tells the client that nothing of it was looked at, so
            // that it may ask again elsewhere (RFC 9112 section 9.3.1).
            (Deadline::Idle, Phase::Awaiting(Purpose::Head)) if cx.draining => {
                self.farewell = Some(Farewell::Shutdown);
                self.linger_for(DRAIN_NEXT_REQUEST, cx)
            }
            (Deadline::Idle, Phase::Awaiting(Purpose::Head)) => {
                Next::Rest(Turn::Finished(Farewell::Idle))
            }
            (Deadline::Head, Phase::Awaiting(Purpose::Head)) => {
                let over = cx.io.now() >= self.head_begun() + cx.options.head_timeout;
                let farewell = if over { Farewell::HeadTimeout } else { Farewell::HeadSlow };
                self.refuse_unasked(Refusal::HeadTimeout, farewell, cx);
                Next::Again
            }
            (Deadline::Body, Phase::Awaiting(Purpose::Body(_))) => {
                self.refuse_unasked(Refusal::BodyTimeout, Farewell::BodyTimeout, cx);
                Next::Again
            }
            (Deadline::Linger, _) => self.finish(),
            // The disk does not answer. What it says later finds nobody.
            (Deadline::Send, Phase::Resolving) => {
                self.refuse_unasked(Refusal::StorageUnavailable, Farewell::DiskTimeout, cx);
                Next::Again
            }
            (Deadline::Pace, Phase::Pausing) => {
                self.phase = Phase::Parsing;
                self.send(cx)
            }
            (Deadline::Send, Phase::Awaiting(Purpose::Head | Purpose::Body(_)))
                if self.poll.is_starved() =>
            {
                self.unread = true;
                self.gives_up_starved(cx)
            }
            (Deadline::Send, Phase::Starved) => match self.looks_at_pace(cx) {
                None => WAIT,
                // Its client took what it was given: what is short is the server's.
                Some(Farewell::SendTimeout) => self.gives_up_starved(cx),
                Some(farewell) => self.throw_out(farewell, cx),
            },
            (Deadline::Send, Phase::Sending(_) | Phase::Body(..) | Phase::Standing) => {
                match self.looks_at_pace(cx) {
                    None => WAIT,
                    Some(why @ Farewell::DiskTimeout) => self.give_up_the_disk(why, cx),
                    Some(farewell) => self.throw_out(farewell, cx),
                }
            }
            // The phase has changed since; its own deadline is set when it waits.
            _ => WAIT,
        }
    }
}
